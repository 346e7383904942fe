"""Headers of a tar, thousands at a time → columns: what is the same for every entry is done to all at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagelab.tar_headers import EARLIEST, LATEST, checksum_holds, clean_path, is_whiteout, number

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
        "link_target": pa.binary(),  # hardlinks: absolute and clean like path; symlinks: to the letter
        "xattrs": pa.binary(),  # "name=hex" words
        "offset": pa.int64(),  # of the contents in the uncompressed tar; null where holes are left out (sparse files)
        "digest": pa.binary(32),  # SHA-256 of the contents, where asked for
        "content": pa.binary(),  # of the few files that package_files wants, reduced to what it needs
    }
)

_UNKNOWN = np.iinfo(np.int64).min  # no number of a header is as low
_KIND = np.zeros(256, np.uint8)  # by type flag; a regular file where nothing else is said
_KIND[[*b"123456D"]] = HARDLINK, SYMLINK, DEVICE, DEVICE, DIRECTORY, FIFO, DIRECTORY


class BrokenTarError(Exception):
    """What is wrong with a tar, and at which offset."""

    def __init__(self, what: str, offset: int) -> None:
        self.what, self.offset = what, offset


@dataclass
class HeaderBatch:
    """Consecutive headers, and what the records before them and the contents behind them say."""

    headers: list[bytes] = field(default_factory=list)  # 512 bytes each
    names: list[bytes] = field(default_factory=list)  # as the header or its records have them
    offsets: list[int] = field(default_factory=list)  # of the headers
    said: dict[int, dict[str, Any]] = field(default_factory=dict)  # by row: columns' values that are not the header's
    digest: dict[int, bytes] = field(default_factory=dict)
    content: dict[int, bytes] = field(default_factory=dict)

    def read(self) -> pa.RecordBatch:
        """The columns under ``SCHEMA``.

        Raises
        ------
        BrokenTarError
            A header with a wrong checksum, or with a number that is none.
        """
        raw = np.frombuffer(b"".join(self.headers), np.uint8).reshape(-1, 512)
        self._check(raw)
        path, kind = _paths_and_kinds(pa.array(self.names, pa.binary()), raw[:, 156])
        seconds = self._numbers(raw, 136, 148)
        in_range = (seconds >= EARLIEST) & (seconds <= LATEST)
        columns: dict[str, Any] = {
            "path": path,
            "kind": kind,
            "size": self._numbers(raw, 124, 136),
            "mode": self._numbers(raw, 100, 108) & 0o7777,
            "uid": self._numbers(raw, 108, 116),
            "gid": self._numbers(raw, 116, 124),
            "mtime": np.where(in_range, np.where(in_range, seconds, 0) * 1_000_000, _UNKNOWN),
            "link_target": _targets(raw, kind),
            "xattrs": [None] * len(raw),
            "offset": np.array(self.offsets, np.int64) + 512,
            "digest": list(map(self.digest.get, range(len(raw)))),
            "content": list(map(self.content.get, range(len(raw)))),
        }
        for row, values in self.said.items():
            for name, value in values.items():
                columns[name][row] = _UNKNOWN if value is None and name in ("mtime", "offset") else value
        columns["size"][kind != FILE] = 0
        for row in np.flatnonzero(kind == HARDLINK).tolist():
            columns["link_target"][row] = clean_path(columns["link_target"][row])
        unknown = {name: columns[name] == _UNKNOWN for name in ("mtime", "offset")}
        unknown["link_target"] = (kind != SYMLINK) & (kind != HARDLINK)
        arrays = [pa.array(columns[name], SCHEMA.field(name).type, mask=unknown.get(name)) for name in SCHEMA.names]
        return pa.record_batch(arrays, schema=SCHEMA)

    def _check(self, raw: np.ndarray) -> None:
        """The sum of a header's bytes, its own field taken as spaces: six octal digits, as nearly all writers have it."""
        total = raw.sum(1, dtype=np.int64) - raw[:, 148:156].sum(1, dtype=np.int64) + 8 * ord(" ")
        stated, odd = _octal(raw[:, 148:155])
        for row in np.flatnonzero(odd | (stated != total)).tolist():
            if not checksum_holds(self.headers[row]):
                raise BrokenTarError("not a tar header (its checksum is wrong)", self.offsets[row])

    def _numbers(self, raw: np.ndarray, start: int, stop: int) -> np.ndarray:
        """A number of every header; those that no column holds as the nearest that one does."""
        values, odd = _octal(raw[:, start:stop])
        for row in np.flatnonzero(odd).tolist():
            try:
                value = number(self.headers[row][start:stop])
            except ValueError:
                raise BrokenTarError("a number that cannot be read", self.offsets[row]) from None
            values[row] = min(max(value, -(1 << 63)), (1 << 63) - 1)
        return values


def _octal(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Octal digits up to a NUL or space in the last place, as usual; and where it is unusual."""
    digits = field[:, :-1] - np.uint8(ord("0"))  # what is below wraps around
    powers = 8 ** np.arange(digits.shape[1] - 1, -1, -1, dtype=np.int64)
    return digits @ powers, (digits > 7).any(1) | (field[:, -1] > ord(" "))


def _paths_and_kinds(names: pa.Array, flags: np.ndarray) -> tuple[pa.Array, np.ndarray]:
    kind = _KIND[flags]
    slash = pc.ends_with(names, "/").to_numpy(zero_copy_only=False)
    kind[slash & ((flags == ord("0")) | (flags == 0))] = DIRECTORY  # v7 has no type for directories
    # bytes all the way: the kernels for ASCII do not look at more than that
    trimmed = pc.ascii_trim(names.view(pa.string()), characters="/").view(pa.binary())
    paths = pc.binary_join_element_wise(b"", trimmed, b"/")
    unclean = pc.or_(pc.match_substring(names, "/."), pc.match_substring(names, "//"))
    unclean = pc.or_(unclean, pc.starts_with(names, "."))
    rows = np.flatnonzero(unclean.to_numpy(zero_copy_only=False))
    cleaned = []
    for row, name in zip(rows.tolist(), names.take(pa.array(rows)).to_pylist(), strict=True):
        path = clean_path(name)
        if is_whiteout(path):
            folder, _, name = path.rpartition(b"/")
            opaque = name == b".wh..wh..opq"
            path, kind[row] = (folder or b"/", OPAQUE) if opaque else (folder + b"/" + name[4:], WHITEOUT)
        cleaned.append(path)
    return pc.replace_with_mask(paths, unclean, pa.array(cleaned, pa.binary())), kind


def _targets(raw: np.ndarray, kind: np.ndarray) -> list[bytes | None]:
    targets: list[bytes | None] = [None] * len(raw)
    for row in np.flatnonzero((kind == SYMLINK) | (kind == HARDLINK)).tolist():
        targets[row] = raw[row, 157:257].tobytes().split(b"\0", 1)[0]
    return targets
