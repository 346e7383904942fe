"""A layer's tar → columns. The one place written for speed: headers only, hopping over contents.

Formats: v7, ustar, GNU (long names, base-256 numbers, sparse) and PAX (local and global records), as
``tar(5)`` of libarchive and POSIX.1-2001 ``pax`` describe them. Whiteouts are the OCI image-spec's
(``layer.md``, "Whiteouts"). Names are bytes; a whiteout's path is that of the file it removes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from imagelab import package_files
from imagelab.blobs import LIMITS, Window
from imagelab.errors import ArchiveError
from imagelab.tar_columns import SCHEMA, BrokenTarError, HeaderBatch
from imagelab.tar_headers import (
    checksum_holds,
    clean_path,
    header_name,
    is_whiteout,
    microseconds,
    number,
    pax_records,
    whole,
)


@dataclass(frozen=True, slots=True)
class LayerListing:
    """What one layer's tar holds: a table under ``SCHEMA``, in the tar's own order."""

    table: pa.Table
    digests: bool = False

    @property
    def entries(self) -> int:
        return self.table.num_rows

    @property
    def size(self) -> int:
        """Sum of the regular files' bytes."""
        return pa.compute.sum(self.table["size"]).as_py() or 0


_BATCH = 4096  # headers read together
_END = bytes(512)
_EXTENSIONS = frozenset(b"xXgLK")  # these only describe what follows
_DESCRIBING = _EXTENSIONS | frozenset(b"S")
_HEADER_ONLY = frozenset(b"123456")  # nothing is stored behind these, whatever their size says
_NO_FILE = _HEADER_ONLY | frozenset(b"D")


def list_tar(window: Window, *, name: str = "layer", digests: bool = False, capture: bool = True) -> LayerListing:
    """Every entry of one tar, in its order.

    Parameters
    ----------
    window : FileWindow or StreamWindow
        The uncompressed tar.
    name : str
        How errors call it.
    digests : bool
        Also hash the regular files' contents.
    capture : bool
        Keep the contents of the package managers' own small files (``package_files``).

    Raises
    ------
    ArchiveError
        With ``name`` and the offset, where the tar is corrupt, truncated or beyond ``LIMITS``.
    """
    batches: list[pa.RecordBatch] = []
    entries = 0
    try:
        for batch in _walk(window, digests, capture):
            entries += len(batch.headers)
            if entries > LIMITS.entries:
                raise BrokenTarError(f"more than {LIMITS.entries} entries (imagelab.LIMITS.entries)", batch.offsets[-1])
            batches.append(batch.read())
        window.finish()
    except BrokenTarError as error:
        raise ArchiveError(f"{name}: {error.what} at offset {error.offset} of the tar") from None
    return LayerListing(pa.Table.from_batches(batches, SCHEMA), digests)


def _walk(window: Window, digests: bool, capture: bool) -> Iterator[HeaderBatch]:
    """The loop over headers: in it is what finding the next one needs; the rest is read in batches."""
    fetch, tails, endings = window.fetch, package_files.LAST_FOUR, package_files.ENDINGS
    folders = package_files.STATUS_FOLDERS
    chunk, start, offset, stop = b"", 0, 0, 0  # the chunk begins at start; stop: where the last contents end
    pax: dict[bytes, bytes] = {}  # records of the next entry …
    pax_global: dict[bytes, bytes] = {}  # … of all that follow …
    records: dict[bytes, bytes] = {}  # … and both
    batch, name = HeaderBatch(), b""
    try:
        while True:
            header = chunk[offset - start : offset - start + 512]
            if len(header) < 512:
                if len(batch.headers) >= _BATCH:
                    yield batch
                    batch = HeaderBatch()
                chunk, start = fetch(offset), offset
                header = chunk[:512]
                if not header and not window.reaches(stop):
                    text = name.decode(errors="replace")[:200]
                    raise BrokenTarError(f"the archive is cut off in the contents of {text!r}", offset)
                if not header and not pax:
                    break  # some writers leave out the closing zero blocks
                if len(header) < 512:
                    raise BrokenTarError("the archive is cut off in a header", offset)
            flag, data, holes = header[156], offset + 512, False
            try:
                size = int(header[124:135], 8)
                name = header[: header.index(0, 0, 100)]  # a name of 100 bytes has none: the long way below
                if header[345]:
                    name = header_name(header)
            except ValueError:  # also the zeros at the end
                size = -1
            if size < 0 or header[135] > 32 or flag in _DESCRIBING or records:
                if header == _END:
                    break
                if not checksum_holds(header):
                    raise BrokenTarError("not a tar header (its checksum is wrong)", offset)
                size = _checked(number, header[124:136], offset, "a size")
                if size < 0:
                    raise BrokenTarError(f"a negative size ({size})", offset)
                if flag in _EXTENSIONS:
                    offset = _extension(window, flag, size, offset, pax, pax_global)
                    records = pax_global | pax
                    continue
                name, size, data, holes, batch.said[len(batch.names)] = _described(
                    window, header, size, offset, records
                )
                pax.clear()
                records = pax_global
            if flag in _HEADER_ONLY:
                size = 0
            elif not holes and (digests or (name[-4:] in tails and name.endswith(endings)) or name.startswith(folders)):
                _keep(window, batch, flag, name, data, size, digests, capture)
            batch.headers.append(header)
            batch.names.append(name)
            batch.offsets.append(offset)
            stop = data + size
            offset = stop + 511 & ~511
    except BrokenTarError:
        yield batch  # a header that misled the walk is found when it is read
        raise
    yield batch


def _keep(
    window: Window, batch: HeaderBatch, flag: int, name: bytes, data: int, size: int, digests: bool, capture: bool
) -> None:
    """Hash the contents of the batch's next entry, and keep those of a package manager's file."""
    path, row = clean_path(name), len(batch.names)
    if flag in _NO_FILE or (name[-1:] == b"/" and flag in b"0\0") or is_whiteout(path):
        return
    if capture and size <= package_files.MAX_SIZE and package_files.wanted(path):
        content = _contents(window, data, size, data)
        batch.content[row] = package_files.reduce(path, content)
        if digests:
            batch.digest[row] = hashlib.sha256(content).digest()
    elif digests:
        batch.digest[row] = _hashed(window, data, size, data)


def _extension(
    window: Window, flag: int, size: int, offset: int, pax: dict[bytes, bytes], pax_global: dict[bytes, bytes]
) -> int:
    """Take in a header that only describes what follows; where the next header is."""
    if size > LIMITS.record:
        raise BrokenTarError(f"a header record of {size} bytes, over imagelab.LIMITS.record", offset)
    record = _contents(window, offset + 512, size, offset)
    if flag in b"LK":
        pax[b"path" if flag == ord("L") else b"linkpath"] = record.split(b"\0", 1)[0]
    else:
        (pax_global if flag == ord("g") else pax).update(_checked(pax_records, record, offset, "a PAX record"))
    return offset + 512 + (size + 511 & ~511)


def _described(
    window: Window, header: bytes, size: int, offset: int, records: dict[bytes, bytes]
) -> tuple[bytes, int, int, bool, dict[str, Any]]:
    """What a header says together with the records before it: the name, the bytes stored and where, whether these
    leave out a sparse file's holes, and the columns' values that are not the header's."""
    data, shown = offset + 512, size  # shown: the file's size, where it is not what the tar stores
    holes = header[156] == ord("S") or any(key.startswith(b"GNU.sparse.") for key in records)
    if header[156] == ord("S"):
        shown, data = _sparse(window, header[482:495], data, offset)
    name = records.get(b"GNU.sparse.name") or records.get(b"path") or header_name(header)
    if len(name) > LIMITS.name or 0 in name:
        raise BrokenTarError(f"a path of {len(name)} bytes, over imagelab.LIMITS.name, or with a NUL", offset)
    # an empty value takes a record back (POSIX, pax)
    if records.get(b"size"):
        size = shown = _checked(whole, records[b"size"], offset, "a PAX size")
    for key in (b"GNU.sparse.size", b"GNU.sparse.realsize"):
        shown = _checked(whole, records.get(key) or shown, offset, "a sparse size")
    if size < 0 or not 0 <= shown <= max(size, LIMITS.file_size):
        raise BrokenTarError(f"an impossible size ({shown})", offset)
    said: dict[str, Any] = {"size": shown, "offset": None if holes else data}
    for column in ("uid", "gid"):
        if text := records.get(column.encode()):
            said[column] = _checked(whole, text, offset, f"a PAX {column}")
    if records.get(b"mtime"):
        said["mtime"] = microseconds(_checked(float, records[b"mtime"], offset, "a PAX time"))
    if records.get(b"linkpath"):
        said["link_target"] = records[b"linkpath"]
    xattrs = [
        key.removeprefix(b"SCHILY.xattr.") + b"=" + value.hex().encode()
        for key, value in sorted(records.items())
        if key.startswith(b"SCHILY.xattr.")
    ]
    said["xattrs"] = b" ".join(xattrs) or None
    return name, size, data, holes, said


def _checked(convert: Callable, value: object, offset: int, what: str):
    try:
        return convert(value)
    except (ValueError, TypeError, OverflowError):
        raise BrokenTarError(f"{what} that cannot be read", offset) from None


def _contents(window: Window, data: int, size: int, offset: int) -> bytes:
    try:
        return b"".join(window.contents(data, size))
    except EOFError:
        raise BrokenTarError("the archive is cut off", offset) from None


def _hashed(window: Window, data: int, size: int, offset: int) -> bytes:
    state = hashlib.sha256()
    try:
        for chunk in window.contents(data, size):
            state.update(chunk)
    except EOFError:
        raise BrokenTarError("the archive is cut off", offset) from None
    return state.digest()


def _sparse(window: Window, tail: bytes, data: int, offset: int) -> tuple[int, int]:
    """An old GNU sparse header's real size, and where the data starts behind its extension blocks."""
    shown = _checked(number, tail[1:], offset, "a sparse size")
    if not 0 <= shown <= LIMITS.file_size:
        raise BrokenTarError(f"a sparse file that claims {shown} bytes, over imagelab.LIMITS.file_size", offset)
    extended = tail[0]
    while extended:
        block = _contents(window, data, 512, offset)
        extended, data = block[504], data + 512
    return shown, data
