"""Build an answer to an exercise on the engine, run a bounded container of it, and collect what there is to judge."""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tqdm.auto import tqdm

from imagelab.core.errors import ImagelabError
from imagelab.core.model import Image
from imagelab.images.load import load_image

LABEL = "imagelab.exercise"
PORT = 8000
_BOUNDS = ("--memory=1g", "--pids-limit=256", "--cap-drop=ALL", "--security-opt=no-new-privileges", f"--label={LABEL}")
_PROBE = f"""
import sys, time, urllib.error, urllib.request
for _ in range(40):
    try:
        print(urllib.request.urlopen("http://127.0.0.1:{PORT}" + sys.argv[1], timeout=5).status)
        break
    except urllib.error.HTTPError as error:
        print(error.code)
        break
    except OSError:
        time.sleep(0.25)
"""
# What builders print if a base image cannot be pulled: no fault of the Dockerfile.
_NO_BASE = (
    "failed to resolve",
    "pull access denied",
    "no such host",
    "i/o timeout",
    "connection refused",
    "TLS handshake",
)


class NotBuilt(ImagelabError):
    """The answer does not build; the message says what to change."""


class NoBase(ImagelabError):
    """A base image cannot be pulled, so nothing can be judged."""


class Run(NamedTuple):
    """What a container did: HTTP status of its port (empty if nothing answered), output, users of its processes."""

    status: str
    output: str
    users: frozenset[str] = frozenset()
    writes_etc: bool = False


class Trial(NamedTuple):
    """An answer as built: its image, the image after an edit of src, the runs, and what the last rebuild printed."""

    image: Image
    edited: Image
    start: Run
    run: Run
    requirements: list[str]
    printed: str


def docker(*words: str, limit: float = 60) -> subprocess.CompletedProcess[str]:
    """Run Docker's CLI; the exit code is for the caller to judge."""
    # No attestations: an engine without the containerd store cannot store an index.
    environment = os.environ | {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    try:
        return subprocess.run(
            ["docker", *words], capture_output=True, text=True, errors="replace", env=environment, timeout=limit
        )
    except OSError as error:
        raise ImagelabError(
            f"docker cannot be run: {error}. Leave out engine=True, or install Docker's CLI."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise NotBuilt(f"It took more than {limit:.0f} seconds (`docker {words[0]}`) and was stopped.") from error


def engine_answers() -> bool:
    try:
        return docker("version", "--format", "{{.Server.Version}}", limit=15).returncode == 0
    except ImagelabError:
        return False


def build(context: Path, tag: str, options: list[str], limit: float) -> str:
    """Build a context and return what its commands printed."""
    done = docker("build", "--progress=plain", f"--label={LABEL}", "-t", tag, *options, str(context), limit=limit)
    if done.returncode == 0:
        return done.stdout + done.stderr
    if any(sign in done.stderr for sign in _NO_BASE):
        raise NoBase(
            "A base image cannot be pulled, so nothing was built. Choose one that your engine has or can pull."
        )
    raise NotBuilt(explain(done.stderr, [path.name for path in context.iterdir()]))


def explain(log: str, names: list[str]) -> str:
    """Say in a sentence why a build failed and what to change."""
    if missing := re.search(r'"/?([^"\s]+)": not found', log):
        near = difflib.get_close_matches(missing[1], names, 1)
        guess = f" Do you mean {near[0]}?" if near else f" It has {', '.join(sorted(names))}."
        return f"It does not build: {missing[1]} is not in the build context.{guess}"
    if unknown := re.search(r"parse error.* line (\d+): unknown instruction: (\S+)", log):
        return (
            f"It does not build: line {unknown[1]} starts with {unknown[2]}, which is not an instruction. Is a backslash "
            "missing at the end of the line above, or a line break before it?"
        )
    if user := re.search(r"unable to find user (\S+?):", log):
        return f"It does not build: the user {user[1]} does not exist. Create it with useradd, or use a number."
    if program := re.search(r"(?:/bin/sh: \d+: |exec: \"|sh: )([\w./-]+)\W.*not found", log):
        return f"It does not build: the command {program[1]} is not in the image at this step."
    # What the failed command printed says more than the builder's summary.
    printed = re.findall(r"^#\d+ \d+\.\d+ (.*\S.*)$", log, re.MULTILINE) if "did not complete" in log else []
    summary = re.findall(r"^.*(?:ERROR|error:).*$", log, re.MULTILINE)
    last = (printed[-1:] or summary[-1:] or log.splitlines()[-1:] or ["no message"])[0]
    return f"It does not build: {last.strip()[:300]}"


@contextmanager
def container(image: str, command: list[str], *options: str) -> Iterator[tuple[str, str]]:
    """Start a bounded container without network; yield its name and the engine's refusal, and remove it."""
    name = f"imagelab-exercise-{uuid.uuid4().hex[:12]}"
    words = [f"--entrypoint={command[0]}", image, *command[1:]] if command else [image]
    try:
        started = docker("run", "-d", "--network=none", f"--name={name}", *_BOUNDS, *options, *words)
        yield name, started.stderr if started.returncode else ""
    finally:
        docker("rm", "-f", "-v", name)


def run(image: str, command: list[str], path: str, prober: str) -> Run:
    """Run an image (with its own command if none is given) and ask it for a path on `PORT`.

    The question comes from a container of the image ``prober`` in the same network: the answer's own programs cannot fake it.
    """
    with container(image, command) as (name, refusal):
        if refusal:
            return Run("", refusal)
        network = f"--network=container:{name}"
        asked = docker("run", "--rm", network, *_BOUNDS, "--entrypoint=python3", prober, "-c", _PROBE, path)
        users = docker("top", name, "-eo", "pid,user").stdout.split("\n")[1:]
        writes = docker("exec", name, "touch", "/etc/imagelab-exercise").returncode == 0
        logs = docker("logs", name)
    return Run(
        asked.stdout.strip(), logs.stdout + logs.stderr, frozenset(line.split()[-1] for line in users if line), writes
    )


@contextmanager
def tried(
    answer: Path, begin: Path, probed: str, path: str, own_command: bool, options: list[str], limit: float
) -> Iterator[Trial]:
    """Build the start and the answer, the answer again after edits, and run both; remove everything at the end.

    ``probed`` is the Dockerfile for the rebuild after an edit of requirements.txt, ``""`` for none.
    """
    listed = answer / "requirements.txt"
    requirements = (
        re.findall(r"^([\w.-]+)", listed.read_text(encoding="utf-8"), re.MULTILINE) if listed.is_file() else []
    )
    tag = f"imagelab-exercise:{uuid.uuid4().hex[:12]}"
    tags = {part: f"{tag}-{part}" for part in ("start", "answer", "edited", "again")}
    bar = tqdm(total=5, desc="build the start", leave=False)
    try:
        build(begin, tags["start"], options, limit)
        _next(bar, "build the answer")
        build(answer, tags["answer"], options, limit)
        image = load_image(f"docker-daemon:{tags['answer']}")
        _next(bar, "build it after an edit of src")
        for source in (answer / "src").rglob("*.py"):
            source.write_text(source.read_text(encoding="utf-8") + f"\n# {tag}\n", encoding="utf-8")
        build(answer, tags["edited"], options, limit)
        _next(bar, "build it after an edit of requirements.txt")
        if probed:
            listed.write_text(listed.read_text(encoding="utf-8") + f"\n# {tag}\n", encoding="utf-8")
            (answer / "Dockerfile").write_text(probed, encoding="utf-8")
        printed = build(answer, tags["again"], options, limit) if probed else ""
        _next(bar, "run containers")
        inspected = json.loads(docker("image", "inspect", tags["start"]).stdout)[0]["Config"]
        command = (inspected.get("Entrypoint") or []) + (inspected.get("Cmd") or [])
        begun = run(tags["start"], [], path, tags["start"])
        ran = run(tags["answer"], [] if own_command else command, path, tags["start"])
        yield Trial(image, load_image(f"docker-daemon:{tags['edited']}"), begun, ran, requirements, printed)
    finally:
        bar.close()
        docker("image", "rm", "-f", *tags.values())


def _next(bar: tqdm, what: str) -> None:
    bar.update()
    bar.set_description(what)
