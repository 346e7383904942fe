"""Read a small text file, packed with gzip or not."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from imagelab.core.errors import ImagelabError


def read_packed(path: Path, limit: int, error: type[ImagelabError], expected: str) -> bytes:
    """The bytes of a file, unpacked if it is a gzip file.

    Raises
    ------
    error
        The file cannot be read as what is ``expected``, or has more than ``limit`` bytes unpacked.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            data = gzip.GzipFile(fileobj=file).read(limit + 1) if packed else file.read(limit + 1)
    except (OSError, ValueError, EOFError, zlib.error) as problem:
        raise error(f"{str(path)[:200]} cannot be read as {expected}: {problem}.") from problem
    if len(data) > limit:
        raise error(f"{path}: more than {limit:,} bytes unpacked, too many for {expected}.")
    return data
