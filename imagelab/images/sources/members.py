"""Where an image's blobs lie: a tar file, a directory, or a tar that streams by. Nothing is extracted.

Each archive names its members, reads small ones whole, and lists layers; what they mean is
``sources.archive``'s business.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Protocol

from imagelab.core.errors import ArchiveError
from imagelab.images.layers.blobs import FileWindow, StreamWindow, chunk_reader, decompressed, is_compressed
from imagelab.images.layers.regions import Region
from imagelab.images.layers.tar import LayerListing, list_tar
from imagelab.images.layers.tar_columns import FILE, HARDLINK, SYMLINK
from imagelab.images.layers.tar_headers import is_tar

JSON_LIMIT = 1 << 23  # bytes of one manifest, index or config; moby allows 8 MiB too
_SMALL_LIMIT = 1 << 28  # bytes of all that a streamed archive holds
_CHUNK = 1 << 18


class Archive(Protocol):
    """Members by name, with forward slashes and no leading ``./``."""

    name: str

    @property
    def sizes(self) -> dict[str, int]:
        """Of every member that is a file; a link has its target's."""
        ...

    def read(self, member: str) -> bytes:
        """A small member's bytes."""
        ...

    def list_layers(self, members: Collection[str], *, digests: bool) -> Iterator[tuple[str, LayerListing]]:
        """List layer tars, whatever their compression, in no particular order."""
        ...

    def read_range(self, member: str, offset: int, size: int) -> Iterator[bytes]:
        """The chunks of a part of one layer's uncompressed tar."""
        ...

    def region(self, member: str) -> Region | None:
        """Where a member lies in a file, if it does."""
        ...


class _Files:
    """Members that are regions of files: read in place, several layers at a time."""

    name: str
    _regions: dict[str, Region]

    @property
    def sizes(self) -> dict[str, int]:
        return {member: length for member, (_, _, length) in self._regions.items()}

    def read(self, member: str) -> bytes:
        path, start, length = self.region(member)
        if length > JSON_LIMIT:
            raise ArchiveError(f"{self.name}: {member} has {length} bytes, too many for a manifest or config.")
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(length)

    def region(self, member: str) -> Region:
        try:
            return self._regions[member]
        except KeyError:
            raise _incomplete(self.name, member) from None

    def read_range(self, member: str, offset: int, size: int) -> Iterator[bytes]:
        with closing(self._window(member)) as window:
            yield from read_range(window, f"{self.name}: layer {member}", offset, size)

    def _window(self, member: str) -> FileWindow | StreamWindow:
        region = self.region(member)
        if self._is_compressed(member):
            oci = "manifest.json" not in self._regions
            return StreamWindow(decompressed(region.chunks(), f"{self.name}: {member}", oci=oci))
        return FileWindow(*region)

    def _is_compressed(self, member: str) -> bool:
        return is_compressed(self.region(member).head())

    def list_layers(self, members: Collection[str], *, digests: bool) -> Iterator[tuple[str, LayerListing]]:
        def one(member: str) -> tuple[str, LayerListing]:
            with closing(self._window(member)) as window:
                return member, list_tar(window, name=f"{self.name}: layer {member}", digests=digests)

        # inflating and hashing let go of the interpreter's lock; hopping over headers does not
        heavy = [member for member in members if digests or self._is_compressed(member)]
        yield from map(one, set(members) - set(heavy))
        if heavy:
            with ThreadPoolExecutor(min(os.cpu_count() or 1, len(heavy))) as pool:
                yield from pool.map(one, sorted(heavy, key=lambda member: -self.region(member).length))


class TarArchive(_Files):
    """An archive in one uncompressed tar."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        with closing(FileWindow(path, 0, path.stat().st_size)) as window:
            table = list_tar(window, name=self.name, capture=False).table
        columns = (table[column].to_pylist() for column in ("path", "kind", "size", "offset", "link_target"))
        links: dict[str, str] = {}
        self._regions = {}
        for path_bytes, kind, size, offset, target in zip(*columns, strict=True):
            member = _text(path_bytes)[1:]
            if kind == FILE and offset is not None:
                self._regions[member] = Region(str(path), offset, size)
            elif kind in (SYMLINK, HARDLINK):
                links[member] = _link(member, _text(target), hard=kind == HARDLINK)
        for member in links:  # docker save stores a repeated layer as a link to the first
            if (target := _follow(member, links)) in self._regions:
                self._regions[member] = self._regions[target]


class FolderArchive(_Files):
    """An unpacked archive: an OCI image layout, a docker-archive, or skopeo's ``dir:``, whose blobs lie flat."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._regions = {}
        if not any((path / name).is_file() for name in ("index.json", "manifest.json", "oci-layout")):
            # perhaps a whole disk, so nothing more is looked at
            raise ArchiveError(f"{path} is a folder, but not an image: it has no index.json and no manifest.json.")
        root = os.path.realpath(path)
        for folder, folders, files in os.walk(path, followlinks=True):
            inside = [name for name in folders if _is_below(os.path.join(folder, name), root)]
            # a link to a folder above would be walked without end
            folders[:] = [
                name for name in inside if not _is_below(folder, os.path.realpath(os.path.join(folder, name)))
            ]
            for file in files:
                full = os.path.join(folder, file)
                if os.path.isfile(full) and _is_below(full, root):
                    region = Region(full, 0, os.path.getsize(full))
                    self._regions[Path(full).relative_to(path).as_posix()] = region
                    if folder == str(path) and (flat := re.fullmatch(r"([0-9a-f]{64})(\.manifest\.json)?", file)):
                        self._regions[f"blobs/sha256/{flat[1]}"] = region
        if "index.json" not in self._regions and "manifest.json" in self._regions:
            manifest = hashlib.sha256(self.read("manifest.json")).hexdigest()
            self._regions[f"blobs/sha256/{manifest}"] = self._regions["manifest.json"]

    def region(self, member: str) -> Region:
        if member not in self._regions and os.path.lexists(os.path.join(self.name, member)):
            raise ArchiveError(
                f"{self.name}: {member} is a symbolic link that leads out of the folder, or is not a file. Copy the image "
                "again, with the files that the links lead to."
            )
        return super().region(member)


def _is_below(path: str, root: str) -> bool:
    return os.path.commonpath([os.path.realpath(path), root]) == root


class StreamArchive:
    """A tar that can only be read from its start: a compressed archive, or what an engine saves.

    Opening reads it once, for its small members; listing layers reads it again. With ``known``, which gives the
    listing of a member seen before, both happen in one pass (the engine is asked once).
    """

    def __init__(
        self,
        name: str,
        chunks: Callable[[], Iterable[bytes]],
        *,
        known: Callable[[str], LayerListing | None] | None = None,
        digests: bool = False,
    ) -> None:
        self.name = name
        self._chunks = chunks
        self.sizes: dict[str, int] = {}
        self._small: dict[str, bytes] = {}
        self._listed: dict[str, LayerListing] = {}
        links: dict[str, str] = {}
        held = 0
        for member, entry, read in self._members():
            if entry.issym() or entry.islnk():
                links[member] = _link(member, entry.linkname, hard=entry.islnk())
            elif entry.isfile():
                self.sizes[member] = entry.size
                head = read(512)
                if is_compressed(head) or is_tar(head):
                    if known is not None:
                        self._listed[member] = known(member) or self._list(member, _joined(head, read), digests)
                elif entry.size <= JSON_LIMIT and head.lstrip()[:1] in (b"{", b"["):
                    self._small[member] = head + read(JSON_LIMIT)
                    held += len(self._small[member])
                    if held > _SMALL_LIMIT:
                        raise ArchiveError(
                            f"{name} holds more than {_SMALL_LIMIT:,} bytes of JSON: no image archive does."
                        )
        for member in links:
            if (target := _follow(member, links)) in self.sizes:
                self.sizes[member] = self.sizes[target]
                if target in self._listed:
                    self._listed[member] = self._listed[target]
        self._links = links

    def read(self, member: str) -> bytes:
        try:
            return self._small[member]
        except KeyError:
            raise _incomplete(self.name, member) from None

    def list_layers(self, members: Collection[str], *, digests: bool) -> Iterator[tuple[str, LayerListing]]:
        wanted: dict[str, list[str]] = {}
        for member in members:
            if member in self._listed and (self._listed[member].digests or not digests):
                yield member, self._listed[member]
            else:
                wanted.setdefault(_follow(member, self._links), []).append(member)
        if not wanted:
            return
        found = set()
        for member, _, read in self._members():
            if member in wanted:
                found.add(member)
                listing = self._list(member, _joined(b"", read), digests)
                for alias in wanted[member]:
                    yield alias, listing
        if missing := sorted(wanted.keys() - found):
            raise _incomplete(self.name, missing[0])

    def read_range(self, member: str, offset: int, size: int) -> Iterator[bytes]:
        target = _follow(member, self._links)
        for name, _, read in self._members():
            if name == target:
                window = StreamWindow(decompressed(_joined(b"", read), f"{self.name}: {member}"))
                yield from read_range(window, f"{self.name}: layer {member}", offset, size)
                return
        raise _incomplete(self.name, member)

    def region(self, member: str) -> None:
        """Nothing lies still in a stream."""

    def _list(self, member: str, chunks: Iterator[bytes], digests: bool) -> LayerListing:
        name = f"{self.name}: layer {member}"
        with closing(StreamWindow(decompressed(chunks, name))) as window:
            return list_tar(window, name=name, digests=digests)

    def _members(self) -> Iterator[tuple[str, tarfile.TarInfo, Callable[[int], bytes]]]:
        # few members, so the standard library's reader will do
        try:
            with tarfile.open(fileobj=chunk_reader(_ending(self._chunks())), mode="r|", bufsize=_CHUNK) as archive:
                for entry in archive:
                    if entry.size < 0:
                        raise tarfile.ReadError(f"a negative size ({entry.size})")
                    file = archive.extractfile(entry) if entry.isfile() else None
                    yield _member(entry.name), entry, file.read if file else bytes
        except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:  # of hostile headers
            raise ArchiveError(f"{self.name} is not a complete tar: {error}. Save or download it again.") from error


def read_range(window: FileWindow | StreamWindow, name: str, offset: int, size: int) -> Iterator[bytes]:
    try:
        yield from window.contents(offset, size)
    except EOFError:
        raise ArchiveError(f"{name} is cut off at offset {offset}. Save or copy it again.") from None


def _incomplete(name: str, member: str) -> ArchiveError:
    return ArchiveError(f"{name} holds no {member}: the image is incomplete. Save or copy it again.")


def _ending(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks, the end that a reader finds, and an error for a header's size that leads far beyond it."""
    yield from filter(None, chunks)
    yield from [b""] * 4
    raise EOFError("it ends in the contents of a member")


def _joined(head: bytes, read: Callable[[int], bytes]) -> Iterator[bytes]:
    if head:
        yield head
    while chunk := read(_CHUNK):
        yield chunk


def _text(path: bytes) -> str:
    return path.decode(errors="surrogateescape")


def _member(name: str) -> str:
    return PurePosixPath("/" + name).as_posix().lstrip("/").removeprefix("./")


def _link(member: str, target: str, *, hard: bool) -> str:
    return _member(target if hard else os.path.normpath(os.path.join(os.path.dirname(member), target)))


def _follow(member: str, links: dict[str, str]) -> str:
    for _ in range(40):  # as many as Linux follows
        if member not in links:
            break
        member = links[member]
    return member


def open_archive(path: Path) -> Archive:
    """The archive at ``path``, plain or compressed as a whole.

    Raises
    ------
    ArchiveError
        Unreadable, or not a tar.
    """
    try:
        if path.is_dir():
            return FolderArchive(path)
        with path.open("rb") as file:
            compressed = is_compressed(file.read(6))
        if compressed:
            whole = Region(str(path), 0, path.stat().st_size)
            return StreamArchive(str(path), lambda: decompressed(whole.chunks(), str(path)))
        with path.open("rb") as file:
            if not is_tar(file.read(512)):
                raise ArchiveError(
                    f"{path} is not a tar: an image archive is what `docker save` or `skopeo copy` writes."
                )
        return TarArchive(path)
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read: {error.strerror}.") from error
