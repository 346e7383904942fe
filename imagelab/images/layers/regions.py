"""Regions of files that contain layers, and comparing bytes in them."""

from __future__ import annotations

from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from imagelab.core.errors import ArchiveError

_CHUNK = 1 << 18
_PIECE = 1 << 16


class Region(NamedTuple):
    """A part of a file."""

    path: str
    start: int
    length: int

    def head(self) -> bytes:
        """The first bytes, which identify the compression."""
        with open(self.path, "rb") as file:
            file.seek(self.start)
            return file.read(min(6, self.length))

    def chunks(self) -> Iterator[bytes]:
        with open(self.path, "rb") as file:
            file.seek(self.start)
            rest = self.length
            while rest > 0 and (chunk := file.read(min(_CHUNK, rest))):
                yield chunk
                rest -= len(chunk)


Places = tuple[np.ndarray, np.ndarray]  # the number of a region, and an offset in it


def same_bytes(regions: list[Region], one: Places, other: Places, size: np.ndarray) -> np.ndarray:
    """Compare pairs of places: whether their ``size`` bytes are equal.

    Raises
    ------
    ArchiveError
        A file is missing or too short.
    """
    files = {path: _mapped(path) for path in {regions[number].path for number in np.union1d(one[0], other[0])}}
    file_of = [files.get(region.path, pa.py_buffer(b"")) for region in regions]
    start = np.array([region.start for region in regions])
    end = np.minimum(start + [region.length for region in regions], list(map(len, file_of)))
    sides: list[list[Any]] = []
    for number, offset in (one, other):
        place = start[number] + offset
        if len(beyond := np.flatnonzero(place + size > end[number])):
            path = regions[number[beyond[0]]].path
            raise ArchiveError(f"{path} is cut off before offset {(place + size)[beyond[0]]}. Save or copy it again.")
        sides += [[file_of[region] for region in number.tolist()], place.tolist()]
    pairs = zip(*sides, size.tolist(), strict=True)
    return np.array([a.slice(at, length).equals(b.slice(to, length)) for a, at, b, to, length in pairs], bool)


def _mapped(path: str) -> pa.Buffer:
    # mapped memory: reading would copy bytes that are used once, and takes twice the time
    try:
        with open(path, "rb") as file:
            return pa.py_buffer(mmap(file.fileno(), 0, access=ACCESS_READ))
    except (OSError, ValueError) as error:  # ValueError: an empty file
        raise ArchiveError(f"{path} cannot be read any more ({error}). Save or copy it again.") from error
