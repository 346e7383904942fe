"""Regions of files that contain layers, and comparing bytes in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from typing import NamedTuple

import numpy as np

from imagelab.core.errors import ArchiveError
from imagelab.images.layers.blobs import FileWindow


class Region(NamedTuple):
    """A part of a file."""

    path: str
    start: int
    length: int

    def head(self) -> bytes:
        """The first bytes, which identify the compression."""
        with closing(FileWindow(*self)) as window:
            return window.fetch(0, 6)[:6]

    def chunks(self) -> Iterator[bytes]:
        with closing(FileWindow(*self)) as window, suppress(EOFError):  # what reads them notices an early end
            yield from window.contents(0, self.length)


Places = tuple[np.ndarray, np.ndarray]  # the number of a region, and an offset in it


def same_bytes(regions: list[Region], left: Places, right: Places, size: np.ndarray) -> np.ndarray:
    """Compare pairs of places: whether their ``size`` bytes are equal.

    Raises
    ------
    ArchiveError
        A file is missing or too short.
    """
    # reading, not mapping: a file that gets shorter meanwhile would kill the process
    try:
        with ExitStack() as stack:
            windows = [stack.enter_context(closing(FileWindow(*region))) for region in regions]
            sides = [zip(number.tolist(), offset.tolist(), strict=True) for number, offset in (left, right)]
            pairs = zip(*sides, size.tolist(), strict=True)
            return np.array([_equal(windows[a], at, windows[b], to, n) for (a, at), (b, to), n in pairs], bool)
    except EOFError:
        names = ", ".join(sorted({region.path for region in regions}))
        raise ArchiveError(f"{names} is cut off. Save or copy it again.") from None
    except OSError as error:
        raise ArchiveError(
            f"{error.filename} cannot be read any more ({error.strerror}). Save or copy it again."
        ) from error


def _equal(left: FileWindow, at: int, right: FileWindow, to: int, size: int) -> bool:
    if at + size > left.length or to + size > right.length:
        raise EOFError
    return size == 0 or all(map(bytes.__eq__, left.contents(at, size), right.contents(to, size)))
