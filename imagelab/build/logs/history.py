"""List and export the builds in the build history of ``docker buildx``."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from imagelab.core.errors import DaemonUnavailable, DockerfileError
from imagelab.core.frames import make_frame

BUILDS_COLUMNS = {
    "build": "string",
    "name": "string",
    "status": "string",
    "created": "datetime64[us, UTC]",
    "duration": "Float64",
    "steps": "Int64",
    "cached": "Int64",
}


def builds() -> pd.DataFrame:
    """List the engine's build history, newest first.

    Returns
    -------
    DataFrame
        `BUILDS_COLUMNS`: ``build`` is the ID; ``@ID`` in `read_build_log` and `explain_build` reads that build, ``last``
        the newest completed one. ``duration`` in seconds; ``steps`` and ``cached`` as BuildKit counts them.

    Raises
    ------
    DaemonUnavailable
        docker, buildx or the engine is missing, or is older than the build history (buildx 0.22).

    Notes
    -----
    Runs ``docker buildx history ls``.
    """
    found = [json.loads(line) for line in _history("ls", "--format", "json").splitlines() if line.startswith("{")]
    keys = {"created": "created_at", "steps": "total_steps", "cached": "cached_steps"}
    rows = [item | {name: item.get(key) for name, key in keys.items()} | {"duration": None} for item in found]
    frame = make_frame(rows, BUILDS_COLUMNS)
    frame["build"] = pd.Series([item.get("ref", "").rpartition("/")[2] for item in found], dtype="string")
    ended = pd.to_datetime(pd.Series([item.get("completed_at") for item in found], dtype="object"), utc=True)
    frame["duration"] = (ended - frame["created"]).dt.total_seconds().astype("Float64")
    return frame.sort_values("created", ascending=False, ignore_index=True)


@contextmanager
def exported(name: str) -> Iterator[Path]:
    """A temporary ``.dockerbuild`` file of the build ``@ID``, or of the newest completed one (``last``)."""
    build = name.removeprefix("@")
    if name == "last":
        completed = builds().query("status == 'Completed'")
        if completed.empty:
            raise DockerfileError("The build history has no completed build; give the path of a log or record.")
        build = completed["build"].iloc[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{build}.dockerbuild"
        _history("export", "-o", str(path), build)
        yield path


def is_history_name(name: object) -> bool:
    """Whether ``name`` is ``last`` or ``@ID``."""
    return isinstance(name, str) and (name == "last" or re.fullmatch(r"@[a-z0-9]{6,64}", name) is not None)


def _history(*words: str) -> str:
    try:
        command = ["docker", "buildx", "history", *words]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        why = f"docker buildx history cannot run ({error}); give the path of a log or record."
        raise DaemonUnavailable(why) from error
    if done.returncode:
        why = "needs buildx 0.22 or later" if "Usage:" in done.stderr else f"failed: {done.stderr.strip()[-300:]}"
        raise DaemonUnavailable(f"docker buildx history {words[0]} {why}")
    return done.stdout
