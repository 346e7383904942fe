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

from imagelab.core.errors import ArchiveError
from imagelab.images.layers import package_databases as package_files
from imagelab.images.layers.blobs import LIMITS, Window
from imagelab.images.layers.tar_columns import SCHEMA, BrokenTarError, HeaderBatch, OverLimitError
from imagelab.images.layers.tar_headers import (
    clean_path,
    has_valid_checksum,
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
        return int(self.table.num_rows)

    def without_digests(self) -> LayerListing:
        place = self.table.schema.get_field_index("digest")
        blank = pa.nulls(self.entries, self.table.schema.field(place).type)
        return LayerListing(self.table.set_column(place, self.table.schema.field(place), blank))

    @property
    def size(self) -> int:
        """Sum of the regular files' bytes."""
        return pa.compute.sum(self.table["size"]).as_py() or 0


_BATCH = 4096  # headers read together
_END = bytes(512)
# What a type flag means to the walk: contents, none whatever the size says, a sparse file, what follows described.
_CONTENTS, _HEADER_ONLY, _DESCRIBING, _EXTENSION = range(4)
_ROLE = bytearray(256)
for _flags, _role in ((b"123456", _HEADER_ONLY), (b"S", _DESCRIBING), (b"xXgLK", _EXTENSION)):
    for _flag in _flags:
        _ROLE[_flag] = _role


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
    passing = digests or (capture and not window.rewinds)
    try:
        for batch in _walk(window, passing, digests, capture):
            entries += len(batch.headers)
            if entries > LIMITS.entries:
                raise OverLimitError(f"more than {LIMITS.entries} entries (imagelab.LIMITS.entries)", batch.offsets[-1])
            if capture and not passing:
                for row in batch.rows_to_capture():
                    _keep(window, batch, row, digests, capture)
            batches.append(batch.read())
        window.finish()
    except BrokenTarError as error:
        raise ArchiveError(f"{name}: {error.what} at offset {error.offset} of the tar. {error.advice}") from None
    return LayerListing(pa.Table.from_batches(batches, SCHEMA), digests)


def _walk(window: Window, passing: bool, digests: bool, capture: bool) -> Iterator[HeaderBatch]:
    """The loop over headers: in it is what finding the next one needs; the rest is read in batches. ``passing``:
    contents are looked at now, since there is no way back to them or since all are."""
    fetch = window.fetch
    chunk, start, at, stop = b"", 0, 0, 0  # the chunk begins at start, the next header at ``at`` in it
    pax: dict[bytes, bytes] = {}  # records of the next entry …
    pax_global: dict[bytes, bytes] = {}  # … of all that follow …
    records: dict[bytes, bytes] = {}  # … and both
    batch = HeaderBatch()
    headers, offsets = batch.headers, batch.offsets
    try:
        while True:
            header = chunk[at : at + 512]
            if len(header) < 512:
                start, at = start + at, 0
                chunk = fetch(start)
                header = chunk[:512]
                if not header and not window.reaches(stop):
                    text = batch.name(-1).decode(errors="replace")[:200]
                    raise BrokenTarError(f"the archive is cut off in the contents of {text!r}", start)
                if not header and not pax:
                    break  # some writers leave out the closing zero blocks
                if len(header) < 512:
                    raise BrokenTarError("the archive is cut off in a header", start)
                if len(headers) >= _BATCH:
                    yield batch
                    batch = HeaderBatch()
                    headers, offsets = batch.headers, batch.offsets
            offset = start + at
            stop, role = offset + 512, _ROLE[header[156]]
            try:
                size = int(header[124:135], 8)
            except ValueError:  # also the zeros at the end
                size = -1
            if role >= _DESCRIBING or size < 0 or header[135] > 32 or records:
                if header == _END:
                    break
                if not has_valid_checksum(header):
                    raise BrokenTarError("not a tar header (its checksum is wrong)", offset)
                size = _checked(number, header[124:136], offset, "a size")
                if size < 0:
                    raise BrokenTarError(f"a negative size ({size})", offset)
                if role == _EXTENSION:
                    at = _extension(window, header[156], size, offset, pax, pax_global) - start
                    records = pax_global | pax
                    continue
                size, stop, batch.overrides[len(headers)] = _described(window, header, size, offset, records)
                pax.clear()
                records = pax_global
            headers.append(header)
            offsets.append(offset)
            if role != _HEADER_ONLY:
                stop += size
                if passing:
                    _keep(window, batch, len(headers) - 1, digests, capture)
            at = (stop + 511 & ~511) - start
    except BrokenTarError:
        yield batch  # a header that misled the walk is found when it is read
        raise
    yield batch


def _keep(window: Window, batch: HeaderBatch, row: int, digests: bool, capture: bool) -> None:
    """Hash the contents of one entry, and keep those of a package manager's file."""
    header, said = batch.headers[row], batch.overrides.get(row, {})
    name = said.get("name") or header_name(header)
    if not (digests or package_files.likely(name)):
        return
    path, flag, data = clean_path(name), header[156], said.get("offset", batch.offsets[row] + 512)
    folder = flag == ord("D") or (name[-1:] == b"/" and flag in b"0\0")
    if data is None or folder or _ROLE[flag] == _HEADER_ONLY or is_whiteout(path):
        return
    size = said["size"] if "size" in said else _checked(number, header[124:136], data - 512, "a size")
    if capture and size <= package_files.MAX_SIZE and package_files.wanted(path):
        content = _contents(window, data, size, data)
        batch.overrides[row] = said | {"content": package_files.reduce(path, content)}
        if digests:
            batch.digest[row] = hashlib.sha256(content).digest()
    elif digests:
        batch.digest[row] = _hashed(window, data, size, data)


def _extension(
    window: Window, flag: int, size: int, offset: int, pax: dict[bytes, bytes], pax_global: dict[bytes, bytes]
) -> int:
    """Take in a header that only describes what follows; where the next header is."""
    if size > LIMITS.record:
        raise OverLimitError(f"a header record of {size} bytes, over imagelab.LIMITS.record", offset)
    record = _contents(window, offset + 512, size, offset)
    if flag in b"LK":
        pax[b"path" if flag == ord("L") else b"linkpath"] = record.split(b"\0", 1)[0]
    else:
        (pax_global if flag == ord("g") else pax).update(_checked(pax_records, record, offset, "a PAX record"))
    return offset + 512 + (size + 511 & ~511)


def _described(
    window: Window, header: bytes, size: int, offset: int, records: dict[bytes, bytes]
) -> tuple[int, int, dict[str, Any]]:
    """What a header says together with the records before it: the bytes stored and where, the name, and the columns'
    values that are not the header's. The offset is None where a sparse file's holes are left out."""
    data, shown = offset + 512, size  # shown: the file's size, where it is not what the tar stores
    holes = header[156] == ord("S") or any(key.startswith(b"GNU.sparse.") for key in records)
    if header[156] == ord("S"):
        shown, data = _sparse(window, header[482:495], data, offset)
    name = records.get(b"GNU.sparse.name") or records.get(b"path") or header_name(header)
    if len(name) > LIMITS.name:
        raise OverLimitError(f"a path of {len(name)} bytes, over imagelab.LIMITS.name", offset)
    if 0 in name:
        raise BrokenTarError("a path with a NUL", offset)
    # an empty value takes a record back (POSIX, pax)
    if records.get(b"size"):
        size = shown = _checked(whole, records[b"size"], offset, "a PAX size")
    for key in (b"GNU.sparse.size", b"GNU.sparse.realsize"):
        shown = _checked(whole, records.get(key) or shown, offset, "a sparse size")
    if size < 0 or not 0 <= shown <= max(size, LIMITS.file_size):
        raise BrokenTarError(f"an impossible size ({shown})", offset)
    said: dict[str, Any] = {"name": name, "size": shown, "offset": None if holes else data}
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
    return size, data, said


def _checked(convert: Callable[[Any], Any], value: object, offset: int, what: str) -> Any:
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
        raise OverLimitError(f"a sparse file that claims {shown} bytes, over imagelab.LIMITS.file_size", offset)
    extended = tail[0]
    while extended:
        block = _contents(window, data, 512, offset)
        extended, data = block[504], data + 512
    return shown, data
