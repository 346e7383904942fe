"""Bounds on what a registry or an engine sends: its size, and the time that it takes as a whole."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import requests

from imagelab.core.errors import ArchiveError, ImagelabError

GRACE = 60.0  # seconds in which an answer may be as slow as it likes …
SLOWEST = 4096  # … beyond which it has to have brought so many bytes a second on average

_CHUNK = 1 << 18


def body(
    answer: requests.Response, what: str, *, limit: int | None = None, error: type[ImagelabError] = ArchiveError
) -> Iterator[bytes]:
    """The body of an answer in pieces as they arrive, `bounded`; a Content-Encoding is left as it is."""

    def pieces() -> Iterator[bytes]:
        while piece := answer.raw.read1(_CHUNK):  # read() would wait for a whole piece, however slowly it comes
            yield piece

    return bounded(pieces(), what, limit=limit, error=error)


def bounded(
    pieces: Iterable[bytes], what: str, *, limit: int | None = None, error: type[ImagelabError] = ArchiveError
) -> Iterator[bytes]:
    """The pieces of an answer, as they come.

    Raises
    ------
    ArchiveError
        There are more than ``limit`` bytes.
    error
        They come too slowly: a server that sends one byte a second would be waited for without end.
    """
    begun, done = time.monotonic(), 0
    for piece in pieces:
        done += len(piece)
        if limit is not None and done > limit:
            raise ArchiveError(f"{what} has more than {limit:,} bytes, too many for such an answer.")
        if time.monotonic() - begun > GRACE + done / SLOWEST:
            raise error(f"{what} came too slowly: {done} bytes in {time.monotonic() - begun:.0f} s. Try again later.")
        yield piece
