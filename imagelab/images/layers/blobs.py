"""Bytes of a blob as a tar reader wants them: windows on files and streams, and the inflating between."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from isal import isal_zlib

from imagelab.core.errors import ArchiveError

_STEP = 1 << 20  # bytes inflated at a time
_PIECE = 1 << 18  # bytes of one file read at a time
# Bytes fetched of a file while reading runs on, and after a jump; what is nearer is no jump, but read across.
_RUN, _JUMP, _NEAR = 1 << 16, 1 << 12, 1 << 13


@dataclass
class Limits:
    """Bounds that stop bombs; raise one by assigning to ``imagelab.LIMITS``."""

    entries: int = 20_000_000
    name: int = 1 << 16  # bytes of one path
    record: int = 1 << 20  # bytes of one PAX or GNU long-name record
    file_size: int = 1 << 42  # bytes that one sparse file may claim
    ratio: int = 400  # decompressed bytes per compressed byte …
    slack: int = 1 << 28  # … beyond this many


LIMITS = Limits()


class FileWindow:
    """Random access to a tar in a file, or in a part of one."""

    rewinds = True

    def __init__(self, path: str | Path, start: int, length: int) -> None:
        self.fd, self.start, self.length = os.open(path, os.O_RDONLY), start, length
        self._chunk, self._begin, self._end = b"", 0, 0  # what was fetched last, and its place

    def fetch(self, offset: int, least: int = _JUMP) -> bytes:
        """What begins at ``offset``: more while reading runs on, little after a jump."""
        size = _RUN if 0 <= offset - self._end <= _NEAR else least
        if offset + size > self.length:
            size = max(self.length - offset, 0)
        self._chunk = chunk = os.pread(self.fd, size, self.start + offset)
        self._begin, self._end = offset, offset + len(chunk)
        return chunk

    def contents(self, offset: int, size: int) -> Iterable[bytes]:
        if 0 < size <= _RUN and not self._begin <= offset <= self._end - size:
            self.fetch(offset, max(size, _JUMP))
        if self._begin <= offset <= self._end - size:
            return (self._chunk[offset - self._begin : offset - self._begin + size],)
        return self._pieces(offset, size)

    def _pieces(self, offset: int, size: int) -> Iterator[bytes]:
        while size > 0:
            chunk = os.pread(self.fd, max(min(size, _PIECE, self.length - offset), 0), self.start + offset)
            if not chunk:
                raise EOFError
            yield chunk
            offset += len(chunk)
            size -= len(chunk)

    def reaches(self, offset: int) -> bool:
        return offset <= self.length

    def finish(self) -> None:
        """A file has no more to say."""

    def close(self) -> None:
        os.close(self.fd)


class StreamWindow:
    """Forward-only access to a tar that arrives in chunks."""

    rewinds = False

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks: Iterator[bytes] = filter(None, chunks)  # an empty chunk is not the end
        self._chunk, self._start = b"", 0  # the chunk at hand, and its place in the stream

    def fetch(self, offset: int) -> bytes:
        if not self.reaches(offset):
            return b""
        rest = self._chunk[offset - self._start :]
        while len(rest) < 512 and (more := next(self._chunks, b"")):
            rest += more
        self._chunk, self._start = rest, offset
        return rest

    def contents(self, offset: int, size: int) -> Iterable[bytes]:
        while size > 0:
            if not self.reaches(offset + 1):
                raise EOFError
            at = offset - self._start
            piece = self._chunk[at : at + size]
            yield piece
            offset += len(piece)
            size -= len(piece)

    def reaches(self, offset: int) -> bool:
        """Whether the stream holds at least ``offset`` bytes; moves on to there."""
        while self._start + len(self._chunk) < offset:
            self._start += len(self._chunk)
            self._chunk = next(self._chunks, b"")
            if not self._chunk:
                return False
        return True

    def finish(self) -> None:
        """Read to the end: a compressed stream's own checksum stands there."""
        for _ in self._chunks:
            pass

    def close(self) -> None:
        self._chunks = iter(())


Window = FileWindow | StreamWindow


def decompressed(chunks: Iterable[bytes], name: str = "layer") -> Iterator[bytes]:
    """The chunks of a gzip or zstd stream (or of a plain one), inflated; sniffed, never trusted by name.

    Raises
    ------
    ArchiveError
        Damaged or truncated data, an unsupported compression, or more output than ``LIMITS`` allow.
    """
    chunks = filter(None, chunks)
    head = b""
    while len(head) < 6 and (more := next(chunks, b"")):
        head += more
    whole = _chain(head, chunks)
    what = next((what for magic, what in _MAGICS.items() if head.startswith(magic)), None)
    if what == "gzip":
        return _bounded(whole, _gunzip, name)
    if what == "zstd":
        return _bounded(whole, _unzstd, name)
    if what:
        raise ArchiveError(f"{name} is compressed with {what}; plain, gzip and zstd are read. Recompress it first.")
    return whole


_MAGICS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
_MAGICS |= {bytes([first, 0x2A, 0x4D, 0x18]): "zstd" for first in range(0x50, 0x60)}  # a skippable frame first


def is_compressed(head: bytes) -> bool:
    """Whether a blob that starts so is compressed in a way that has a name here."""
    return head.startswith(tuple(_MAGICS))


def chunk_reader(chunks: Iterable[bytes]) -> io.RawIOBase:
    """Chunks as a file, for libraries that pull."""
    return _Reader(iter(chunks))


def _chain(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from rest


def _bounded(
    chunks: Iterator[bytes], inflate: Callable[[Iterator[bytes]], Iterator[bytes]], name: str
) -> Iterator[bytes]:
    taken = given = 0

    def counted() -> Iterator[bytes]:
        nonlocal taken
        for chunk in chunks:
            taken += len(chunk)
            yield chunk

    try:
        for piece in inflate(counted()):
            given += len(piece)
            if given > LIMITS.slack + LIMITS.ratio * taken:
                raise ArchiveError(
                    f"{name}: {taken} compressed bytes gave {given} bytes, more than {LIMITS.ratio} for one: "
                    "a decompression bomb? If you trust it, raise imagelab.LIMITS.ratio."
                )
            yield piece
    except (
        isal_zlib.error,  # type: ignore[misc]  # its stubs call it a plain object
        OSError,
        EOFError,
    ) as error:
        raise ArchiveError(
            f"{name}: damaged or truncated compressed data after {given} bytes ({error}). Save or copy it again."
        ) from error


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    inflater = isal_zlib.decompressobj(wbits=31)
    for chunk in chunks:
        full = False  # the output's bound was met: there may be more without more input
        while chunk or full:
            if inflater.eof:  # the next member (estargz makes one for each file), or padding
                chunk = chunk.lstrip(b"\0")
                if not chunk:
                    break
                inflater = isal_zlib.decompressobj(wbits=31)
            piece = inflater.decompress(chunk, _STEP)
            full = len(piece) == _STEP and not inflater.eof
            chunk = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            yield piece
    if not inflater.eof:
        raise EOFError("the gzip stream ends early")


def _unzstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    # Arrow's reader, as it is the one that notices a frame that is cut off
    reader = pa.CompressedInputStream(pa.PythonFile(chunk_reader(chunks), mode="r"), "zstd")
    while piece := reader.read(_STEP):
        yield piece


class _Reader(io.RawIOBase):
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not self._rest:
            self._rest = next(self._chunks, b"")
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece
