"""Archives that cannot be read twice, in temporary files: standard input, named pipes, and what podman or skopeo export."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import IO

from imagelab.core.errors import ArchiveError, ImageNotFound

_TIMEOUT = 3600  # seconds for podman or skopeo to export an image
_ROOM = "The temporary folder (TMPDIR) needs space for the whole archive."


@lru_cache  # it can be read only once
def spool_stdin() -> Path:
    """The archive on standard input, in a temporary file that is deleted at exit."""
    return spool(sys.stdin.buffer, "stdin")


def spool_pipe(path: Path) -> Path:
    """The archive that a named pipe delivers, in a temporary file that is deleted at exit."""
    try:
        with path.open("rb") as pipe:
            return spool(pipe, path.name)
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read: {error.strerror}. {_ROOM}") from error


def spool_storage(name: str) -> Path:
    """The image of podman's and skopeo's local storage, exported by whichever is installed.

    Raises
    ------
    ImageNotFound
        Neither is installed, or the storage has no such image.
    """
    path = _temporary("storage")
    exports = {
        "podman": ["podman", "save", "--quiet", "--format=oci-archive", f"--output={path}", name],
        "skopeo": ["skopeo", "copy", "--quiet", f"containers-storage:{name}", f"oci-archive:{path}"],
    }
    command = next((command for tool, command in exports.items() if shutil.which(tool)), None)
    if command is None or name.startswith("-"):
        raise ImageNotFound(
            f"containers-storage:{name} is read through podman or skopeo: install one, or check the name."
        )
    path.unlink()  # skopeo writes into a new file only
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT)
        message = done.stderr.decode(errors="replace").strip()[-500:]
    except (OSError, subprocess.SubprocessError) as error:
        message = str(error)
    if not path.is_file():
        raise ImageNotFound(f"{command[0]} cannot export {name} from containers-storage: {message}")
    return path


def spool(stream: IO[bytes], name: str) -> Path:
    """Write a stream into a temporary file that is deleted at exit."""
    path = _temporary(name)
    try:
        with path.open("wb") as spool:
            shutil.copyfileobj(stream, spool, 1 << 20)
    except OSError as error:
        raise ArchiveError(f"{name} cannot be read: {error.strerror}. {_ROOM}") from error
    return path


def _temporary(name: str) -> Path:
    handle, path = tempfile.mkstemp(prefix=f"imagelab-{name}-", suffix=".tar")
    os.close(handle)
    atexit.register(Path(path).unlink, missing_ok=True)
    return Path(path)
