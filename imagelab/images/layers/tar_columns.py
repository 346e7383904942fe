"""Parse thousands of tar headers at once into columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagelab.images.layers import package_databases
from imagelab.images.layers.blobs import LIMITS
from imagelab.images.layers.tar_headers import (
    EARLIEST,
    LATEST,
    clean_path,
    has_valid_checksum,
    header_name,
    is_whiteout,
    number,
)

KINDS = ("file", "directory", "symlink", "hardlink", "whiteout", "opaque_whiteout", "device", "fifo")
FILE, DIRECTORY, SYMLINK, HARDLINK, WHITEOUT, OPAQUE, DEVICE, FIFO = range(8)

SCHEMA = pa.schema(
    {
        "path": pa.binary(),  # absolute and clean, bytes as in the tar
        "kind": pa.uint8(),  # index into KINDS
        "size": pa.int64(),  # of regular files; 0 for everything else
        "mode": pa.uint32(),
        "uid": pa.int64(),
        "gid": pa.int64(),
        "mtime": pa.timestamp("us", tz="UTC"),
        "link_target": pa.binary(),  # hardlinks: absolute and clean like path; symlinks: unchanged
        "xattrs": pa.binary(),  # "name=hex" words
        "offset": pa.int64(),  # of the contents in the uncompressed tar; null for sparse files, whose holes are not stored
        "digest": pa.binary(32),  # SHA-256 of the contents, on request
        "content": pa.binary(),  # of package databases only, reduced to what the package tables read
    }
)

_UNKNOWN = np.iinfo(np.int64).min  # lower than any number in a header
_KIND = np.zeros(256, np.uint8)  # by type flag; other flags are regular files
_KIND[[*b"123456D"]] = HARDLINK, SYMLINK, DEVICE, DEVICE, DIRECTORY, FIFO, DIRECTORY

#: Numeric fields of a header: digits, then a NUL or space.
_FIELDS = {
    "mode": (100, 108),
    "uid": (108, 116),
    "gid": (116, 124),
    "size": (124, 136),
    "mtime": (136, 148),
    "checksum": (148, 155),
}
_FIRST, _STOP = _FIELDS["mode"][0], _FIELDS["checksum"][1]
_ENDS = np.array([stop - 1 for _, stop in _FIELDS.values()])
_USTAR = np.frombuffer(b"ustar\0", np.uint8)
_OWNER = np.repeat(list(_FIELDS), [stop - start for start, stop in _FIELDS.values()])  # the field of every byte


class BrokenTarError(Exception):
    """A damaged tar: what is wrong, at which offset, and what to do."""

    advice = "Save or copy it again."

    def __init__(self, what: str, offset: int) -> None:
        self.what, self.offset = what, offset


class OverLimitError(BrokenTarError):
    """A tar exceeds ``imagelab.LIMITS``."""

    advice = "If you trust it, raise that limit."


@dataclass
class HeaderBatch:
    """Consecutive headers with the values from their extension records and contents."""

    headers: list[bytes] = field(default_factory=list)  # 512 bytes each
    offsets: list[int] = field(default_factory=list)  # of the headers
    #: By row: the name and column values that replace those of the header.
    overrides: dict[int, dict[str, Any]] = field(default_factory=dict)
    digest: dict[int, bytes] = field(default_factory=dict)
    text: int = 0  # bytes of names, links, attributes and contents in the overrides

    def name(self, row: int) -> bytes:
        """An entry's name, from its extension records or its header."""
        header = self.headers[row]
        return self.overrides.get(row % len(self.headers), {}).get("name") or header_name(header)

    @cached_property
    def _raw(self) -> np.ndarray:
        return np.frombuffer(b"".join(self.headers), np.uint8).reshape(-1, 512)

    @cached_property
    def _names(self) -> pa.Array:
        names = _texts(self._raw[:, :100])
        prefixed = np.flatnonzero(self._raw[:, 345])
        prefixed = prefixed[(self._raw[prefixed, 257:263] == _USTAR).all(1)]  # as `header_name` has it
        if len(prefixed):
            prefixes = _texts(self._raw[prefixed, 345:500])
            names = _replaced(names, prefixed, pc.binary_join_element_wise(prefixes, names.take(prefixed), b"/"))
        named = sorted(row for row, values in self.overrides.items() if "name" in values)
        if named:
            names = _replaced(names, named, pa.array([self.overrides[row]["name"] for row in named], pa.binary()))
        return names

    @cached_property
    def _paths_and_kinds(self) -> tuple[pa.Array, np.ndarray]:
        return _paths_and_kinds(self._names, self._raw[:, 156])

    def rows_to_capture(self) -> list[int]:
        """Files that are probably package databases, so their contents are captured."""
        paths, kind = self._paths_and_kinds
        found = [pc.ends_with(paths, ending) for ending in package_databases.ENDINGS]
        text = _text(paths)[0].tobytes()
        found += [pc.match_substring(paths, part) for part in package_databases.WITHIN if part in text]
        return np.flatnonzero(reduce(pc.or_, found).to_numpy(zero_copy_only=False) & (kind == FILE)).tolist()

    def read(self) -> pa.RecordBatch:
        """The entries as columns of ``SCHEMA``.

        Raises
        ------
        BrokenTarError
            A header has a wrong checksum or an unreadable number.
        """
        raw, (path, kind) = self._raw, self._paths_and_kinds
        columns: dict[str, Any] = self._numbers(raw) | {"path": path, "kind": kind}
        columns["mode"] &= 0o7777
        in_range = (columns["mtime"] >= EARLIEST) & (columns["mtime"] <= LATEST)
        columns["mtime"] = np.where(in_range, np.where(in_range, columns["mtime"], 0) * 1_000_000, _UNKNOWN)
        columns["link_target"] = _targets(raw, kind)
        columns["offset"] = np.array(self.offsets, np.int64) + 512
        sparse: dict[str, dict[int, bytes]] = {"xattrs": {}, "content": {}, "digest": self.digest}
        for row, values in self.overrides.items():
            for name in values.keys() - {"name"}:
                if name in sparse:
                    sparse[name][row] = values[name]
                else:
                    columns[name][row] = _UNKNOWN if values[name] is None else values[name]
        columns["size"][kind != FILE] = 0
        for row in np.flatnonzero(kind == HARDLINK).tolist():
            columns["link_target"][row] = clean_path(columns["link_target"][row])
        unknown = {name: columns[name] == _UNKNOWN for name in ("mtime", "offset")}
        unknown["link_target"] = (kind != SYMLINK) & (kind != HARDLINK)
        for name, by_row in sparse.items():
            columns[name] = [by_row.get(row) for row in range(len(raw))] if by_row else pa.nulls(len(raw))
        arrays = [pa.array(columns[name], SCHEMA.field(name).type, mask=unknown.get(name)) for name in SCHEMA.names]
        return pa.record_batch(arrays, schema=SCHEMA)

    def _numbers(self, raw: np.ndarray) -> dict[str, np.ndarray]:
        """The numbers of every header, by field, after its checksum is verified.

        Fields of octal digits that end in a NUL or space are read together, unusual ones one by one. Numbers beyond
        64 bits become the nearest number that fits.
        """
        digits = raw[:, _FIRST:_STOP] - np.uint8(ord("0"))  # bytes below "0" wrap around
        fields = {}
        for name, (start, stop) in _FIELDS.items():  # digit by digit: a matrix product would start threads
            fields[name] = digits[:, start - _FIRST].astype(np.int64)
            for place in range(start + 1, stop - 1):
                fields[name] = fields[name] << 3 | digits[:, place - _FIRST]
        odd = digits > 7
        odd[:, _ENDS - _FIRST] = raw[:, _ENDS] > ord(" ")
        cells = np.flatnonzero(odd)
        unusual = set(zip((cells // odd.shape[1]).tolist(), _OWNER[cells % odd.shape[1]].tolist(), strict=True))
        # the checksum counts its own field as spaces; the sum of half a header fits 16 bits
        total = raw.reshape(-1, 2, 256).sum(2, dtype=np.uint16).sum(1, dtype=np.int64)
        total += 8 * ord(" ") - raw[:, 148:156].sum(1, dtype=np.int64)
        doubtful = {row for row, name in unusual if name == "checksum"}
        for row in sorted(doubtful.union(np.flatnonzero(fields.pop("checksum") != total).tolist())):
            if not has_valid_checksum(self.headers[row]):
                raise BrokenTarError("not a tar header (its checksum is wrong)", self.offsets[row])
        for row, name in sorted(unusual):
            if name in fields:
                try:
                    value = number(self.headers[row][slice(*_FIELDS[name])])
                except ValueError:
                    raise BrokenTarError("an unreadable number", self.offsets[row]) from None
                fields[name][row] = min(max(value, -(1 << 63)), (1 << 63) - 1)
        return fields


def _texts(field: np.ndarray) -> pa.Array:
    """A field of each header as bytes, up to the first NUL."""
    return pa.array(np.ascontiguousarray(field).view(f"S{field.shape[1]}")[:, 0], pa.binary())


def _replaced(names: pa.Array, rows: Any, values: pa.Array) -> pa.Array:
    mask = np.zeros(len(names), bool)
    mask[rows] = True
    return pc.replace_with_mask(names, pa.array(mask), values)


def _paths_and_kinds(names: pa.Array, flags: np.ndarray) -> tuple[pa.Array, np.ndarray]:
    kind = _KIND[flags]
    slash = pc.ends_with(names, "/").to_numpy(zero_copy_only=False)
    kind[slash & (flags == 0)] = DIRECTORY  # v7 has no type flag for directories
    if pc.any(pc.starts_with(names, "./")).as_py():
        names = pc.replace_substring_regex(names, r"^\./", "")
    # the ASCII kernel accepts bytes that are not UTF-8
    trimmed = pc.ascii_trim(names.view(pa.string()), characters="/").view(pa.binary())
    paths = pc.binary_join_element_wise(b"", trimmed, b"/")
    unclean = pc.starts_with(names, ".").to_numpy(zero_copy_only=False).copy()
    unclean[_rows_with_dots_or_doubled_slashes(names)] = True
    rows = np.flatnonzero(unclean)
    cleaned = []
    for row, name in zip(rows.tolist(), names.take(pa.array(rows)).to_pylist(), strict=True):
        path = clean_path(name)
        if is_whiteout(path):
            folder, _, name = path.rpartition(b"/")
            opaque = name == b".wh..wh..opq"
            path, kind[row] = (folder or b"/", OPAQUE) if opaque else (folder + b"/" + name[4:], WHITEOUT)
        cleaned.append(path)
    return pc.replace_with_mask(paths, pa.array(unclean), pa.array(cleaned, pa.binary())), kind


def _rows_with_dots_or_doubled_slashes(names: pa.Array) -> np.ndarray:
    """Rows with "/." or "//", found in the text of all names at once."""
    text, ends = _text(names)
    slash, after = text[:-1] == ord("/"), text[1:]
    places = np.flatnonzero(slash & ((after == ord(".")) | (after == ord("/"))))
    rows = np.searchsorted(ends, places, side="right")
    return rows[places + 1 < ends[rows]]  # not across the end of one name and the start of the next


def _text(names: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """All names as one text, and the end of each."""
    _, ends, text = names.buffers()
    return np.frombuffer(text or b"", np.uint8), np.frombuffer(ends, np.int32, len(names) + 1)[1:]


def _targets(raw: np.ndarray, kind: np.ndarray) -> list[bytes | None]:
    targets: list[bytes | None] = [None] * len(raw)
    for row in np.flatnonzero((kind == SYMLINK) | (kind == HARDLINK)).tolist():
        targets[row] = raw[row, 157:257].tobytes().split(b"\0", 1)[0]
    return targets


class TextBudget:
    """Counts the bytes of names, links, extended attributes and captured files against ``LIMITS.text``."""

    def __init__(self) -> None:
        self._used = 0

    def check(self, pending: int, offset: int) -> None:
        """Raise where ``pending`` bytes more are too many."""
        if self._used + pending > LIMITS.text:
            raise OverLimitError(f"more than {LIMITS.text} bytes of text (imagelab.LIMITS.text)", offset)

    def add(self, size: int, offset: int) -> None:
        """Count the text of a finished batch."""
        self._used += size
        self.check(0, offset)


def text_bytes(columns: pa.Table | pa.RecordBatch) -> int:
    """The bytes of a listing's columns of any length."""
    return sum(int(columns[name].nbytes) for name in ("path", "link_target", "xattrs", "content"))
