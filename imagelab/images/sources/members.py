"""Where an image's blobs lie: a tar file, a directory, or a tar that streams by. Nothing is extracted.

Each archive names its members, reads small ones whole, and lists layers; what they mean is
``sources.archive``'s business.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Protocol, TypeVar

from imagelab.core.errors import ArchiveError
from imagelab.core.memory import Memory
from imagelab.images.layers.blobs import FileWindow, StreamWindow, decompressed, is_compressed
from imagelab.images.layers.cache import file_key
from imagelab.images.layers.links import follow_links
from imagelab.images.layers.regions import Region
from imagelab.images.layers.tar import LayerListing, list_tar
from imagelab.images.layers.tar_columns import FILE, HARDLINK, SYMLINK, TextBudget
from imagelab.images.layers.tar_headers import clean_path, is_tar, text_of

_T = TypeVar("_T")
JSON_LIMIT = 1 << 23  # bytes of one manifest, index or config; moby allows 8 MiB too


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
        region = self.region(member)
        if region.length > JSON_LIMIT:
            raise ArchiveError(f"{self.name}: {member} has {region.length} bytes, too many for a manifest or config.")
        return b"".join(region.chunks())

    def region(self, member: str) -> Region:
        try:
            return self._regions[member]
        except KeyError:
            raise incomplete_archive(self.name, member) from None

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
        budget = TextBudget()

        def listed(member: str) -> tuple[str, LayerListing]:
            with closing(self._window(member)) as window:
                name = f"{self.name}: layer {member}"
                return member, list_tar(window, name=name, digests=digests, budget=budget)

        # inflating and hashing release the interpreter's lock; reading headers does not
        heavy = [member for member in members if digests or self._is_compressed(member)]
        yield from map(listed, set(members) - set(heavy))
        if heavy:
            with ThreadPoolExecutor(min(os.cpu_count() or 1, len(heavy))) as pool:
                yield from pool.map(listed, sorted(heavy, key=lambda member: -self.region(member).length))


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
            member = text_of(path_bytes)[1:]
            if kind == FILE and offset is not None:
                self._regions[member] = Region(str(path), offset, size)
            elif kind in (SYMLINK, HARDLINK):
                links["/" + member] = text_of(target)
        add_links(self._regions, links)


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


def read_range(window: FileWindow | StreamWindow, name: str, offset: int, size: int) -> Iterator[bytes]:
    try:
        yield from window.contents(offset, size)
    except EOFError:
        raise ArchiveError(f"{name} is cut off at offset {offset}. Save or copy it again.") from None


def incomplete_archive(name: str, member: str) -> ArchiveError:
    return ArchiveError(f"{name} holds no {member}: the image is incomplete. Save or copy it again.")


def member_name(name: str) -> str:
    """A path in an archive as members are called: clean, and not absolute."""
    return text_of(clean_path(name.encode(errors="surrogateescape")))[1:]


def add_links(members: dict[str, _T], links: dict[str, str]) -> None:
    """Add the links of an archive to its members: `docker save` stores a repeated layer as a link to the first.

    A layout can also keep its blobs in another folder, to which ``blobs`` or ``blobs/sha256`` is a link.
    """
    for link in links:
        if (target := follow_links(link, links)[1:]) in members:
            members[link[1:]] = members[target]
    for folder in {"/blobs", "/blobs/sha256"} & set(links):
        target = follow_links(folder, links)[1:] + "/"
        below = [member for member in members if member.startswith(target)]
        members |= {f"{folder[1:]}/{member.removeprefix(target)}": members[member] for member in below}


_opened_archives: Memory[Archive] = Memory(4)


def open_archive(path: Path) -> Archive:
    """Open the archive at ``path``, plain or compressed as a whole. A file that did not change is opened once.

    Raises
    ------
    ArchiveError
        Unreadable, or not a tar.
    """
    try:
        if path.is_dir():
            return FolderArchive(path)
        key = (str(path), file_key(path) or "")
        archive = _opened_archives.get(key) or _opened(path)
        if key == (str(path), file_key(path)):
            _opened_archives.keep(key, archive)
        return archive
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read: {error.strerror}.") from error


def _opened(path: Path) -> Archive:
    from imagelab.images.sources.streams import StreamArchive  # it builds on this module

    with path.open("rb") as file:
        head = file.read(512)
    if is_compressed(head):
        whole = Region(str(path), 0, path.stat().st_size)
        return StreamArchive(str(path), lambda: decompressed(whole.chunks(), str(path)))
    if not is_tar(head):
        raise ArchiveError(f"{path} is not a tar: an image archive is what `docker save` or `skopeo copy` writes.")
    return TarArchive(path)
