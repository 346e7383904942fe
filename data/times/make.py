"""Record how long builds take: each case with a control, three runs each, on the engine that Docker's CLI talks to.

    python data/make.py --local --no-record stand-ins     # makes localhost/python:slim, the base image here
    python data/times/make.py                             # times.csv and pip.csv; needs buildx and the host's network
    python data/make.py registry

pip downloads from an index on loopback that sends the caching header of the public index (`serve.py` of the recipe
`no-cache-dir`): without that header, pip keeps nothing. A download from loopback takes almost no time, so these
recordings show which downloads are repeated, not how many seconds a slow network would add.
"""

from __future__ import annotations

import base64
import csv
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imagelab as il

HERE = Path(__file__).resolve().parent
DATA = HERE.parent
RUNS = 3
PYTHON = "imagelab-times/python"
#: What pip downloads: the requirements of every context below, and the package that an edit adds.
REQUIREMENTS = ["flask==3.0.3", "requests==2.32.3", "docopt==0.6.2", "tqdm==4.67.1", "setuptools", "wheel"]
INDEX = """FROM localhost/python:slim
ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=http://127.0.0.1:8123/ PIP_TRUSTED_HOST=127.0.0.1
"""


@contextmanager
def index(requirements: list[str]) -> Iterator[None]:
    """Serve the requirements' wheels on loopback, and make the base image whose pip reads that index."""
    serve = DATA / "recipes" / "no-cache-dir" / "context" / "serve.py"
    with tempfile.TemporaryDirectory() as wheels:
        download = ["docker", "run", "--rm", "--network=host", f"--volume={wheels}:/wheels", "localhost/python:slim"]
        subprocess.run([*download, "pip", "wheel", "-q", "-w", "/wheels", *requirements], check=True)
        subprocess.run(["docker", "build", "-q", "-t", PYTHON, "-"], input=INDEX, text=True, check=True)
        server = subprocess.Popen([sys.executable, serve, wheels], stderr=subprocess.DEVNULL)
        try:
            time.sleep(2)
            yield
        finally:
            server.kill()
            server.wait()


def build(context: Path, *options: str) -> tuple[dict[str, float], str]:
    """Build once; return its seconds and what its commands printed."""
    command = ["docker", "buildx", "build", "--progress=rawjson", "--network=host", *options, str(context)]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    wall = time.monotonic() - started
    if done.returncode:
        raise SystemExit(f"{context.name}: {done.stderr[-1500:]}")
    log = context.parent / f"{uuid.uuid4().hex}.rawjson"
    log.write_text(done.stderr)
    steps = il.read_build_log(log).dropna(subset="step")
    ran = steps[~steps["cached"].fillna(False) & (steps["instruction"] != "FROM")]
    span = (ran["completed"].max() - ran["started"].min()).total_seconds() if len(ran) else 0.0
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    printed = b"".join(base64.b64decode(part["data"]) for event in events for part in event.get("logs") or ())
    return {"wall": wall, "steps": float(ran["duration"].sum()), "span": span}, printed.decode(errors="replace")


def fresh(name: str, folder: Path, *, mount: bool = True) -> Path:
    """Copy a context of `data/build`, with a cache mount of its own or none."""
    context = Path(shutil.copytree(DATA / "build" / name, folder / uuid.uuid4().hex))
    text = (context / "Dockerfile").read_text()
    text = text.replace("type=cache,", f"type=cache,id={context.name},") if mount else re.sub(r"--mount=\S+ ", "", text)
    (context / "Dockerfile").write_text(text)
    return context


def append(path: Path, line: str) -> None:
    path.write_text(path.read_text() + line)


def edited(name: str, what: str, line: str, folder: Path, **options: bool) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Build, add a line to a file that no earlier build had, and build again."""
    context = fresh(name, folder, **options)
    base = f"--build-arg=BASE={PYTHON}"
    cold = build(context, base, "--no-cache")
    append(context / what, f"{line}# {uuid.uuid4().hex}\n")  # never edited like this before
    return cold, build(context, base)


def cases(folder: Path) -> Iterator[tuple[str, str, dict[str, float], str]]:
    """Yield case, variant, seconds and printed text of one run of everything."""
    for variant, mount in (("mount", True), ("control", False)):
        cold, again = edited("cache-mount", "requirements.txt", "tqdm==4.67.1\n", folder, mount=mount)
        yield "cache-mount", f"{variant}-cold", *cold
        yield "cache-mount", variant, *again
    for variant, name in (("bad", "order-bad"), ("good", "order-good")):
        yield "order", variant, *edited(name, "app.py", "# one line more\n", folder)[1]
    for variant, name in (("one file", "order-good"), ("split", "split-requirements")):
        yield "split", variant, *edited(name, "requirements.txt", "tqdm==4.67.1\n", folder)[1]
    for name in ("sequential", "parallel"):
        yield "stages", name, *build(fresh(name, folder), "--build-arg=BASE=localhost/busybox:static", "--no-cache")
    sys.path.insert(0, str(DATA))
    import make

    for variant in ("before", "after"):
        context = folder / uuid.uuid4().hex
        make.make_context(DATA / "recipes" / "dockerignore" / variant / "Dockerfile", context)
        yield "context", variant, *build(context, "--build-arg=BASE=localhost/busybox:static", "--no-cache")


def main() -> None:
    engine = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}"], check=True, capture_output=True, text=True
    ).stdout.strip()
    times, words = [], []
    with index(REQUIREMENTS):
        for run in range(1, RUNS + 1):
            with tempfile.TemporaryDirectory() as folder:
                for case, variant, seconds, printed in cases(Path(folder)):
                    times.append([case, variant, run, *(round(value, 3) for value in seconds.values()), engine])
                    print(*times[-1])
                    # pip's own words: one line per package that it fetched or found
                    lines = re.findall(r"^\s*((?:Downloading|Using cached) \S+\.whl)\b", printed, re.MULTILINE)
                    words += [[case, variant, run, line.replace("http://127.0.0.1:8123/", "")] for line in lines]
    for name, head, rows in (
        ("times", ["case", "variant", "run", "wall", "steps", "span", "engine"], times),
        ("pip", ["case", "variant", "run", "line"], words),
    ):
        with (HERE / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([head, *rows])


if __name__ == "__main__":
    main()
