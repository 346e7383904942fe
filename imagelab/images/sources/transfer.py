"""Bounds on what a registry or an engine sends: the size of a body, and the time that an answer takes as a whole."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from http.client import HTTPResponse
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from imagelab.core.errors import ArchiveError, ImagelabError

GRACE = 60.0  # seconds, from the first byte of an answer, in which it may be as slow as it likes …
SLOWEST = 4096  # … beyond which it has to bring so many bytes a second on average

_CHUNK = 1 << 18


class PacedAdapter(HTTPAdapter):
    """Connections whose answers, headers included, must not come slower than ``SLOWEST``: else they raise ``error``.

    A timeout alone bounds the time between two bytes: a server that sends one byte a second would keep a client forever.
    """

    def __init__(self, error: type[ImagelabError]) -> None:
        self._error: Any = error
        super().__init__()

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        pool = super().get_connection_with_tls_context(*args, **options)
        pool.ConnectionCls = paced(type(pool).ConnectionCls, self._error)
        return pool


@lru_cache
def paced(connection: Any, error: Any) -> Any:
    """A class of connections like ``connection``, whose answers are read at the pace of `PacedAdapter`."""

    class Paced(connection):  # type: ignore[misc]
        @property
        def response_class(self) -> Any:
            return partial(_PacedResponse, f"the answer of {self.host}", error)

    return Paced


class _PacedResponse(HTTPResponse):
    def __init__(self, what: str, error: type[ImagelabError], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fp: Any = io.BufferedReader(_PacedReader(self.fp.detach(), what, error))


class _PacedReader(io.RawIOBase):
    def __init__(self, raw: Any, what: str, error: type[ImagelabError]) -> None:
        self._raw, self._what, self._error = raw, what, error
        self._begun, self._done = 0.0, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self._raw.readinto(buffer)
        self._begun, self._done = self._begun or time.monotonic(), self._done + count
        if (seconds := time.monotonic() - self._begun) > GRACE + self._done / SLOWEST:
            raise self._error(f"{self._what} came too slowly: {self._done} bytes in {seconds:.0f} s. Try again later.")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def body(answer: requests.Response, what: str, *, limit: int | None = None) -> Iterator[bytes]:
    """The body of an answer in pieces as they arrive, `bounded`; a Content-Encoding is left as it is."""

    def pieces() -> Iterator[bytes]:
        while piece := answer.raw.read1(_CHUNK):  # read() would wait for a whole piece, however slowly it comes
            yield piece

    return bounded(pieces(), what, limit)


def bounded(pieces: Iterable[bytes], what: str, limit: int | None) -> Iterator[bytes]:
    """The pieces, as they come.

    Raises
    ------
    ArchiveError
        There are more than ``limit`` bytes.
    """
    done = 0
    for piece in pieces:
        done += len(piece)
        if limit is not None and done > limit:
            raise ArchiveError(f"{what} has more than {limit:,} bytes, too many for such an answer.")
        yield piece
