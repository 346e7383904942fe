"""Remove what a run of improve made, however the run ends.

Run as a process of its own: it reads lines until its standard input closes, which happens even where the run is
killed. Then it ends the run's Docker clients (they share its process group) and deletes the containers and images with
the run's label, the run's folder, and the build cache records that appeared since it started and that belong to one of
the commands that it read. The engine's copies of the context stay until the engine's own garbage collection.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from datetime import UTC, datetime

LABEL = "imagelab.improve"


def _docker(*args: str) -> str:
    done = subprocess.run(["docker", *args], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.stdout


def _records(start: str) -> dict[str, tuple[str, set[str]]]:
    """The build cache's records since ``start``: id → description, and the ids of the records that it continues."""
    answer = ""
    for _ in range(10):  # while another build unpacks a layer, the engine cannot count it
        if answer := _docker("system", "df", "-v", "--format", "{{json .BuildCache}}"):
            break
        time.sleep(1)
    try:
        records = json.loads(answer or "[]") or []
        return {
            record["ID"]: (record["Description"], set(re.findall(r"\w+", record["Parent"])))
            for record in records
            if record["CreatedAt"].replace(" ", "T") >= start
        }
    except (ValueError, KeyError, TypeError):
        return {}


def _own(records: dict[str, tuple[str, set[str]]], run: str, commands: Collection[str]) -> set[str]:
    """The records of the run's commands and cache mounts, and those that they continue or that continue them."""
    own = {name for name, (text, _) in records.items() if run in text or any(command in text for command in commands)}
    while True:
        more = {name for name, (_, parents) in records.items() if parents & own}
        more |= {parent for name in own for parent in records[name][1] if parent in records}
        if more <= own:
            return own
        own |= more


def main(run: str, folder: str) -> None:
    """Wait for the run's end, then clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    now = _docker("info", "--format", "{{.SystemTime}}").strip()  # the engine's, which may be another machine's
    start = datetime.fromisoformat(now).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S") if now else ""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    commands = {json.loads(line) for line in sys.stdin}
    with contextlib.suppress(OSError):
        os.killpg(0, signal.SIGTERM)
    label = f"label={LABEL}={run}"
    if containers := _docker("ps", "-aq", "--filter", label).split():
        _docker("rm", "-f", "-v", *containers)
    for _ in range(5):  # an engine can finish a build whose client has gone
        if images := _docker("images", "-q", "--no-trunc", "--filter", label).split():
            _docker("rmi", "-f", *dict.fromkeys(images))
        time.sleep(0.1)
    if own := _own(_records(start), run, commands):
        _docker("builder", "prune", "-af", "--filter", f"id=/^({'|'.join(own)})$/")
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
