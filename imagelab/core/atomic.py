"""Write files so that they are complete or absent."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

_SUFFIX = ".imagelab-partial"
_ABANDONED = 3600  # seconds after which no writer is still at work


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call ``write`` with a temporary file beside ``path``, which replaces ``path`` when it is complete.

    Deletes what writers in the same folder left that were killed more than an hour ago.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for partial in leftovers(path.parent):
        with suppress(OSError):
            if partial.lstat().st_mtime < time.time() - _ABANDONED:
                partial.unlink()
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=_SUFFIX)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def leftovers(folder: Path) -> list[Path]:
    """The temporary files of writers in ``folder`` that still write or were killed."""
    return list(folder.glob(f".*{_SUFFIX}"))


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
