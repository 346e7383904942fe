"""Read the bytes of blobs: windows on files and streams, and decompression."""

from __future__ import annotations

import bz2
import io
import itertools
import lzma
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
from isal import isal_zlib

from imagelab.core.errors import ArchiveError

_STEP = 1 << 20  # bytes inflated at a time
_PIECE = 1 << 18  # bytes of one file read at a time
# Bytes to fetch in sequential reading, and after a jump; a gap of up to _NEAR bytes counts as sequential.
_RUN, _JUMP, _NEAR = 1 << 16, 1 << 12, 1 << 13


@dataclass
class Limits:
    """Bounds that stop decompression bombs; assign to ``imagelab.LIMITS`` to raise one."""

    entries: int = 20_000_000
    name: int = 1 << 16  # bytes of one path
    record: int = 1 << 20  # bytes of one PAX or GNU long-name record
    text: int = 1 << 28  # bytes of an image's names, links, extended attributes and package databases
    file_size: int = 1 << 42  # bytes of one sparse file, holes included
    ratio: int = 400  # decompressed bytes per compressed byte …
    slack: int = 1 << 28  # … beyond this many


LIMITS = Limits()


class FileWindow:
    """Random access to a tar in a file, or in a part of one."""

    rewinds = True

    def __init__(self, path: str | Path, start: int, length: int) -> None:
        self.fd, self.start, self.length = os.open(path, os.O_RDONLY), start, length
        self._chunk, self._begin, self._end = b"", 0, 0  # the last fetched chunk and its offsets

    def fetch(self, offset: int, least: int = _JUMP) -> bytes:
        """The bytes from ``offset`` on: many in sequential reading, few after a jump."""
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
        """Nothing to drain."""

    def close(self) -> None:
        os.close(self.fd)


class StreamWindow:
    """Forward-only access to a tar that arrives in chunks."""

    rewinds = False

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks: Iterator[bytes] = filter(None, chunks)  # an empty chunk does not mean the end
        self._chunk, self._start = b"", 0  # the current chunk and its offset

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
        """Whether the stream has at least ``offset`` bytes; reads on to there."""
        while self._start + len(self._chunk) < offset:
            self._start += len(self._chunk)
            self._chunk = next(self._chunks, b"")
            if not self._chunk:
                return False
        return True

    def finish(self) -> None:
        """Read to the end, where the checksum of a compressed stream is verified."""
        for _ in self._chunks:
            pass

    def close(self) -> None:
        self._chunks = iter(())


Window = FileWindow | StreamWindow


def decompressed(chunks: Iterable[bytes], name: str = "layer", *, oci: bool = False) -> Iterator[bytes]:
    """Decompress the chunks of a gzip, zstd, xz or bzip2 stream; plain chunks pass unchanged. The first bytes decide.

    Parameters
    ----------
    oci : bool
        Refuse xz and bzip2, which Docker loads from its own archives, but which are not layers to the OCI image-spec.

    Raises
    ------
    ArchiveError
        Damaged or truncated data, an unsupported compression, or more output than ``LIMITS`` allows.
    """
    chunks = filter(None, chunks)
    head = b""
    while len(head) < 6 and (more := next(chunks, b"")):
        head += more
    whole = filter(None, itertools.chain([head], chunks))
    if oci:
        refuse_in_oci(head, name)
    what = _compression(head)
    return _bounded(whole, _DECOMPRESS[what], name) if what else whole


_MAGICS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
_MAGICS |= {bytes([first, 0x2A, 0x4D, 0x18]): "zstd" for first in range(0x50, 0x60)}  # a skippable frame first


def refuse_in_oci(head: bytes, name: str) -> None:
    """Refuse a layer of an OCI image whose first bytes are those of xz or bzip2."""
    what = _compression(head)
    if what in ("xz", "bzip2"):
        raise ArchiveError(
            f"{name} is compressed with {what}; an OCI layer is plain, gzip or zstd. Recompress it first."
        )


def is_compressed(head: bytes) -> bool:
    """Whether a blob with these first bytes is compressed."""
    return _compression(head) is not None


def _compression(head: bytes) -> str | None:
    return next((what for magic, what in _MAGICS.items() if head.startswith(magic)), None)


_Inflate = Callable[[Iterator[bytes]], Iterator[bytes]]


def _bounded(chunks: Iterator[bytes], inflate: _Inflate, name: str) -> Iterator[bytes]:
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
        lzma.LZMAError,
        OSError,
        EOFError,
    ) as error:
        raise ArchiveError(
            f"{name}: damaged or truncated compressed data after {given} bytes ({error}). Save or copy it again."
        ) from error


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    inflater = isal_zlib.decompressobj(wbits=31)
    for chunk in chunks:
        full = False  # the output reached its bound: more may follow without more input
        while chunk or full:
            if inflater.eof:  # the next member (estargz writes one per file), or padding
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
    # Arrow's reader notices a truncated frame; others do not
    reader = pa.CompressedInputStream(pa.PythonFile(_Reader(chunks), mode="r"), "zstd")
    while piece := reader.read(_STEP):
        yield piece


def _streams(
    new: Callable[[], lzma.LZMADecompressor | bz2.BZ2Decompressor], chunks: Iterator[bytes]
) -> Iterator[bytes]:
    """Decompress one or several streams in a row, as pbzip2 and pixz write."""
    inflater = new()
    for chunk in chunks:
        while chunk or not (inflater.eof or inflater.needs_input):
            if inflater.eof:
                chunk = chunk.lstrip(b"\0")  # padding between xz streams
                if not chunk:
                    break
                inflater = new()
            yield inflater.decompress(chunk, _STEP)
            chunk = inflater.unused_data if inflater.eof else b""
    if not inflater.eof:
        raise EOFError("the compressed stream ends early")


_unbz2 = partial(_streams, bz2.BZ2Decompressor)
_unxz = partial(_streams, partial(lzma.LZMADecompressor, memlimit=1 << 28))  # xz -9 needs a quarter of it
_DECOMPRESS: dict[str, _Inflate] = {"gzip": _gunzip, "zstd": _unzstd, "xz": _unxz, "bzip2": _unbz2}


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
