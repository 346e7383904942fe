"""List the entries of a layer's tar as columns. Reads headers only and skips contents: the one place written for speed.

Formats: v7, ustar, GNU (long names, base-256 numbers, sparse) and PAX (local and global records), as
``tar(5)`` of libarchive and POSIX.1-2001 ``pax`` describe them. Whiteouts follow the OCI image-spec
(``layer.md``, "Whiteouts"). Names are bytes. The path of a whiteout is the path that it removes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa

from imagelab.core.errors import ArchiveError
from imagelab.images.layers import package_databases
from imagelab.images.layers.blobs import LIMITS, Window
from imagelab.images.layers.tar_columns import (
    SCHEMA,
    BrokenTarError,
    HeaderBatch,
    OverLimitError,
    TextBudget,
    text_bytes,
)
from imagelab.images.layers.tar_headers import (
    ExtensionRecords,
    clean_path,
    has_valid_checksum,
    header_name,
    is_whiteout,
    microseconds,
    number,
    whole,
)


@dataclass(frozen=True, slots=True)
class LayerListing:
    """The entries of one layer: a table of ``SCHEMA``, in tar order.

    ``diff_id`` is the digest of the bytes that were listed, if they were hashed on the way, and ``digest`` that of the
    blob as stored.
    """

    table: pa.Table
    digests: bool = False
    diff_id: str | None = None
    digest: str | None = None

    @property
    def entries(self) -> int:
        return int(self.table.num_rows)

    def without_digests(self) -> LayerListing:
        place = self.table.schema.get_field_index("digest")
        blank = pa.nulls(self.entries, self.table.schema.field(place).type)
        return replace(self, table=self.table.set_column(place, self.table.schema.field(place), blank), digests=False)

    @property
    def size(self) -> int:
        """Sum of the regular files' bytes."""
        return pa.compute.sum(self.table["size"]).as_py() or 0


_BATCH = 4096  # headers parsed together
_END = bytes(512)
# What follows a header of a type flag: contents; nothing, whatever its size; a sparse file; records for the next entry.
_CONTENTS, _HEADER_ONLY, _SPARSE, _EXTENSION = range(4)
_ROLE = bytearray(256)
for _flags, _role in ((b"123456", _HEADER_ONLY), (b"S", _SPARSE), (b"xXgLK", _EXTENSION)):
    for _flag in _flags:
        _ROLE[_flag] = _role


def list_tar(
    window: Window,
    *,
    name: str = "layer",
    digests: bool = False,
    capture: bool = True,
    budget: TextBudget | None = None,
) -> LayerListing:
    """List every entry of one tar, in tar order.

    Parameters
    ----------
    window : FileWindow or StreamWindow
        The uncompressed tar.
    name : str
        The name in errors.
    digests : bool
        Also hash the contents of regular files.
    capture : bool
        Also keep the contents of package databases.
    budget : TextBudget, optional
        Shared by all layers of an image; a budget of its own by default.

    Raises
    ------
    ArchiveError
        The tar is corrupt, truncated or exceeds ``LIMITS``; with ``name`` and the offset.
    """
    batches: list[pa.RecordBatch] = []
    entries = 0
    passing = digests or (capture and not window.rewinds)
    budget = TextBudget() if budget is None else budget
    try:
        for batch in _walk(window, passing, digests, capture, budget):
            entries += len(batch.headers)
            if entries > LIMITS.entries:
                raise OverLimitError(f"more than {LIMITS.entries} entries (imagelab.LIMITS.entries)", batch.offsets[-1])
            if capture and not passing:
                for row in batch.rows_to_capture():
                    _keep(window, batch, row, digests, capture, budget)
            batches.append(batch.read())
            budget.add(text_bytes(batches[-1]), batch.offsets[-1] if batch.offsets else 0)
        window.finish()
    except BrokenTarError as error:
        raise ArchiveError(f"{name}: {error.what} at offset {error.offset} of the tar. {error.advice}") from None
    return LayerListing(pa.Table.from_batches(batches, SCHEMA), digests)


def _walk(window: Window, passing: bool, digests: bool, capture: bool, budget: TextBudget) -> Iterator[HeaderBatch]:
    """Find the headers; batches parse the rest. With ``passing``, contents are read on the way: all of them are
    wanted, or the window cannot go back."""
    fetch = window.fetch
    chunk, start, at, stop = b"", 0, 0, 0  # offset of the chunk, and of the next header in it
    records = ExtensionRecords()
    described = False  # whether the next entry has extension records
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
                if not header and not records.local:
                    break  # some writers omit the closing zero blocks
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
            except ValueError:  # also the zeros at the end of the tar
                size = -1
            if role >= _SPARSE or size < 0 or header[135] > 32 or described:
                if header == _END:
                    break
                if not has_valid_checksum(header):
                    raise BrokenTarError("not a tar header (its checksum is wrong)", offset)
                size = _checked(number, header[124:136], offset, "a size")
                _check_size(size, offset)
                if role == _EXTENSION:
                    at, described = _read_extension(window, header[156], size, offset, records) - start, True
                    budget.check(batch.text + records.size, offset)
                    continue
                size, stop, values = _described(window, header, size, offset, records)
                batch.text += len(values["name"]) + len(values["xattrs"] or b"") + len(values.get("link_target", b""))
                budget.check(batch.text, offset)
                batch.overrides[len(headers)] = values
                records.forget_local()
                described = bool(records.following)
            headers.append(header)
            offsets.append(offset)
            if role != _HEADER_ONLY:
                stop += size
                if passing:
                    _keep(window, batch, len(headers) - 1, digests, capture, budget)
            at = (stop + 511 & ~511) - start
    except OverLimitError:
        raise
    except BrokenTarError:
        yield batch  # parsing it finds an earlier header that is damaged
        raise
    yield batch


def _keep(window: Window, batch: HeaderBatch, row: int, digests: bool, capture: bool, budget: TextBudget) -> None:
    """Hash the contents of one entry; keep those of a package database."""
    header, values = batch.headers[row], batch.overrides.get(row, {})
    name = values.get("name") or header_name(header)
    if not (digests or package_databases.likely(name)):
        return
    path, flag, data = clean_path(name), header[156], values.get("offset", batch.offsets[row] + 512)
    folder = flag == ord("D") or (name[-1:] == b"/" and flag == 0)
    if data is None or folder or _ROLE[flag] == _HEADER_ONLY or is_whiteout(path):
        return
    size = values["size"] if "size" in values else _checked(number, header[124:136], data - 512, "a size")
    if capture and size <= package_databases.max_size(path) and package_databases.wanted(path):
        content = _contents(window, data, size, data)
        batch.overrides[row] = values | {"content": package_databases.reduce(path, content)}
        batch.text += len(batch.overrides[row]["content"])
        budget.check(batch.text, data)
        if digests:
            batch.digest[row] = hashlib.sha256(content).digest()
    elif digests:
        state = hashlib.sha256()
        for piece in _pieces(window, data, size, data):
            state.update(piece)
        batch.digest[row] = state.digest()


def _read_extension(window: Window, flag: int, size: int, offset: int, records: ExtensionRecords) -> int:
    """Add the records of an extension header; returns the offset of the next header."""
    if size > LIMITS.record:
        raise OverLimitError(f"a header record of {size} bytes, over imagelab.LIMITS.record", offset)
    _checked(partial(records.add, flag), _contents(window, offset + 512, size, offset), offset, "a PAX record")
    return offset + 512 + (size + 511 & ~511)


def _described(
    window: Window, header: bytes, size: int, offset: int, records: ExtensionRecords
) -> tuple[int, int, dict[str, Any]]:
    """An entry with extension records, or a sparse one: the bytes stored, their offset, and the values that replace
    those of the header. The value of the offset is None for sparse files, whose holes are not stored."""
    data, shown = offset + 512, size  # shown: the size of the file, which differs from the stored size if it is sparse
    is_sparse = header[156] == ord("S") or records.is_sparse
    if header[156] == ord("S"):
        shown, data = _sparse(window, header[482:495], data, offset)
    name = records.get(b"GNU.sparse.name") or records.get(b"path") or header_name(header)
    if len(name) > LIMITS.name:
        raise OverLimitError(f"a path of {len(name)} bytes, over imagelab.LIMITS.name", offset)
    if 0 in name:
        raise BrokenTarError("a path with a NUL", offset)
    if stored := records.get(b"size"):
        size = shown = _checked(whole, stored, offset, "a PAX size")
    for key in (b"GNU.sparse.size", b"GNU.sparse.realsize"):
        shown = _checked(whole, records.get(key) or shown, offset, "a sparse size")
    _check_size(size, offset)
    if not 0 <= shown <= max(size, LIMITS.file_size):
        raise BrokenTarError(f"an impossible size ({shown})", offset)
    values: dict[str, Any] = {"name": name, "size": shown, "offset": None if is_sparse else data}
    for column in ("uid", "gid"):
        if text := records.get(column.encode()):
            values[column] = _checked(whole, text, offset, f"a PAX {column}")
    if time := records.get(b"mtime"):
        values["mtime"] = microseconds(_checked(float, time, offset, "a PAX time"))
    if target := records.get(b"linkpath"):
        values["link_target"] = target
    values["xattrs"] = records.xattrs
    return size, data, values


def _check_size(size: int, offset: int) -> None:
    if not 0 <= size < 1 << 62:  # so that an offset after it still fits 64 bits
        raise BrokenTarError(f"an impossible size ({size})", offset)


def _checked(convert: Callable[[Any], Any], value: object, offset: int, what: str) -> Any:
    try:
        return convert(value)
    except (ValueError, TypeError, OverflowError):
        raise BrokenTarError(f"{what} that cannot be parsed", offset) from None


def _contents(window: Window, data: int, size: int, offset: int) -> bytes:
    return b"".join(_pieces(window, data, size, offset))


def _pieces(window: Window, data: int, size: int, offset: int) -> Iterator[bytes]:
    try:
        yield from window.contents(data, size)
    except EOFError:
        raise BrokenTarError("the archive is cut off", offset) from None


def _sparse(window: Window, tail: bytes, data: int, offset: int) -> tuple[int, int]:
    """The size of an old GNU sparse file, and the offset of its data after the extension blocks."""
    shown = _checked(number, tail[1:], offset, "a sparse size")
    if not 0 <= shown <= LIMITS.file_size:
        raise OverLimitError(f"a sparse file that claims {shown} bytes, over imagelab.LIMITS.file_size", offset)
    extended = tail[0]
    while extended:
        block = _contents(window, data, 512, offset)
        extended, data = block[504], data + 512
    return shown, data


class Member(NamedTuple):
    """One entry of an archive: its name, type flag and link target as stored, and the place of its contents."""

    name: bytes
    flag: int
    link: bytes
    offset: int
    size: int


def walk_members(window: Window, name: str) -> Iterator[Member]:
    """The entries of an archive, one at a time: the caller may read the contents of one before it asks for the next.

    Raises
    ------
    ArchiveError
        As `list_tar`.
    """
    offset, records = 0, ExtensionRecords()
    try:
        while (header := window.fetch(offset)[:512]) and header != _END:
            if len(header) < 512:
                raise BrokenTarError("the archive is cut off in a header", offset)
            if not has_valid_checksum(header):
                raise BrokenTarError("not a tar header (its checksum is wrong)", offset)
            size, role = _checked(number, header[124:136], offset, "a size"), _ROLE[header[156]]
            _check_size(size, offset)
            if role == _EXTENSION:
                offset = _read_extension(window, header[156], size, offset, records)
                continue
            stored, data, values = _described(window, header, size, offset, records)
            records.forget_local()
            link = values.get("link_target") or header[157:257].partition(b"\0")[0]
            stored = 0 if role == _HEADER_ONLY else stored
            yield Member(values["name"], header[156], link, data, stored)
            if not window.reaches(data + stored):
                raise BrokenTarError(f"the archive is cut off in the contents of {values['name'][:200]!r}", data)
            offset = data + (stored + 511 & ~511)
        window.finish()
    except BrokenTarError as error:
        raise ArchiveError(f"{name}: {error.what} at offset {error.offset} of the tar. {error.advice}") from None
