"""Build an answer to an exercise on the engine, run a bounded container of it, and collect what there is to judge."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tqdm.auto import tqdm

from imagelab.core.errors import ImagelabError
from imagelab.core.model import Image
from imagelab.core.resources import data_path
from imagelab.course import answers
from imagelab.course.dockerfile_rules import Answer, with_cache_probe
from imagelab.images.load import load_image

LABEL = "imagelab.exercise"
_BOUNDS = (
    # A set-user-id program must show whose process it is; without capabilities root is bounded too.
    *("--memory=1g", "--pids-limit=256", "--cap-drop=ALL", f"--label={LABEL}"),
    *("--log-driver=json-file", "--log-opt=max-size=1m"),  # a program may print without end
)


class NotBuilt(ImagelabError):
    """The answer does not build; the message says what to change."""


class NotJudged(ImagelabError):
    """A base image cannot be pulled, or the engine does not build, so nothing can be judged."""


class Run(NamedTuple):
    """What a container did: HTTP status of its port (empty if nothing answered), output, pages, users of its processes."""

    status: str
    output: str
    body: str = ""
    users: frozenset[str] = frozenset()
    writes_etc: bool = False


class Trial(NamedTuple):
    """The start and an answer as built, and what containers of the start and of the edited answer did."""

    base: Image | None
    begun: Image
    image: Image
    edited: Image  # after an edit of src
    edit: Callable[[str], Image]  # builds it after one more edit
    probed: Image  # with the marks of `with_cache_probe`; the answer itself where pip keeps nothing
    start: Run  # with the proofs that the edited answer's pages must have
    run: Run
    requirements: dict[str, str]  # name → pinned version, or ""
    sources: dict[str, str]  # digest → path of each file of src
    printed: str


def docker(*words: str, limit: float = 300) -> subprocess.CompletedProcess[str]:
    """Run Docker's CLI; the exit code is for the caller to judge, unless the engine is at fault."""
    # No attestations: an engine without the containerd store cannot store an index.
    environment = os.environ | {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    try:
        done = subprocess.run(
            ["docker", *words], capture_output=True, text=True, errors="replace", env=environment, timeout=limit
        )
    except OSError as error:
        raise ImagelabError(
            f"docker cannot be run: {error}. Leave out engine=True, or install Docker's CLI."
        ) from error
    except subprocess.TimeoutExpired as error:
        # Only the build's time is the answer's: a busy engine takes long for anything.
        slow = NotBuilt if words[0] == "build" else NotJudged
        raise slow(f"It took more than {limit:.0f} seconds (`docker {words[0]}`) and was stopped.") from error
    if done.returncode and re.search(answers.data()["no_engine"], done.stderr):
        raise NotJudged(f"The engine cannot build or run anything now. It says: {done.stderr.strip()[-200:]}")
    return done


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
    dockerfile = context / "Dockerfile"
    text = dockerfile.read_text(encoding="utf-8")
    pulled = re.findall(r"(?:metadata for|config for|FROM) (?:docker\.io/(?:library/)?)?(\S+?):\s", done.stderr)
    if not re.search(answers.data()["no_base"], done.stderr):
        raise NotBuilt(explain(done.stderr, [path.name for path in context.iterdir()], text))
    syntax = re.match(r"(?i)\s*#\s*syntax\s*=.*\n", text)
    if syntax and pulled and pulled[-1].startswith("docker/dockerfile"):
        # The frontend of a syntax line cannot be pulled: the engine's own one builds most Dockerfiles too.
        dockerfile.write_text(text[syntax.end() :], encoding="utf-8")
        return build(context, tag, options, limit)
    raise NotJudged(
        f"{pulled[-1] if pulled else 'A base image'} cannot be pulled, so nothing was built. If you mean a stage, is its name "
        "right? Otherwise choose a base that your engine has or can pull."
    )


def explain(log: str, names: list[str], dockerfile: str = "") -> str:
    """Say in a sentence why a build failed and what to change."""
    if "unknown instruction" in log and "<<" in dockerfile:
        return "It does not build: this engine's builder does not know here-documents. Use && between the commands."
    if missing := re.search(r'"/?([^"\s]+)": not found', log):
        near = difflib.get_close_matches(missing[1], names, 1)
        guess = f" Do you mean {near[0]}?" if near else f" It has {', '.join(sorted(names))}."
        return f"It does not build: {missing[1]} is not in the build context.{guess}"
    if words := answers.known_error(log):
        return f"It does not build: {words}"
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


def run(image: str, command: list[str], asked: str, prober: str) -> Run:
    """Run an image (with its own command if none is given) and ask it on port 8000: a token, then paths.

    The question comes from a container of the image ``prober`` in the same network: the answer's own programs cannot fake it.
    """
    with container(image, command) as (name, refusal):
        if refusal:
            return Run("", refusal)
        network = f"--network=container:{name}"
        ask = ("-c", data_path("exercises/ask.py").read_text(encoding="utf-8"), "8000", *asked.split())
        words = ("--rm", network, *_BOUNDS, "--entrypoint=python3", prober, *ask)
        status, _, page = docker("run", *words).stdout.strip().partition(" ")
        processes = docker("top", name, "-eo", "pid,user").stdout.split("\n")[1:]
        users = frozenset(line.split()[-1] for line in processes if line)
        writes = docker("exec", name, "touch", "/etc/imagelab-exercise").returncode == 0
        logs = docker("logs", name)
    return Run(status, logs.stdout + logs.stderr, page, users, writes)


@contextmanager
def tried(answer: Answer, begin: Path, exercise: dict[str, Any], options: list[str], limit: float) -> Iterator[Trial]:
    """Build the start and the answer, the answer again after an edit, and run both; remove everything at the end."""
    context = answer.context
    mark, token = uuid.uuid4().hex[:12], uuid.uuid4().hex
    tags = {part: f"imagelab-exercise:{mark}-{part}" for part in ("start", "answer", "base", "edited", "probed")}
    requirements, sources = _requirements(context), _digests(context / "src")
    bar = tqdm(desc="build the start", leave=False, bar_format="{desc} {elapsed}")

    def edited(key: str) -> Image:
        _prove(context / "src", key)
        build(context, tags["edited"], options, limit)
        return load_image(f"docker-daemon:{tags['edited']}")

    try:
        build(begin, tags["start"], options, limit)
        bar.set_description_str("build the answer")
        build(context, tags["answer"], options, limit)
        bar.set_description_str("build it after an edit of src")
        after = edited(mark)
        bar.set_description_str("look into the cache mounts")
        twice = "cache_mount" in exercise["checks"]
        probed = "no_pip_cache" in exercise["checks"] and (twice or answer.caching(final=False) != [])
        printed = _probe_caches(answer, tags["probed"], mark, options, limit, twice) if probed else ""
        bar.set_description_str("run containers")
        begun, image = (load_image(f"docker-daemon:{tags[part]}") for part in ("start", "answer"))
        command = [] if answer.lines("CMD") or answer.lines("ENTRYPOINT") else begun.config["config"]["Cmd"]
        asked = f"{token} {exercise['probe']}"
        started = run(tags["start"], [], asked, tags["start"])
        started = started._replace(body=re.sub(r"(?m)-$", token + mark, started.body))
        ran = run(tags["edited"], command, asked, tags["start"])
        marks = image if not probed else load_image(f"docker-daemon:{tags['probed']}")
        base = _base(answer, begin, tags["base"], options, limit)
        yield Trial(base, begun, image, after, edited, marks, started, ran, requirements, sources, printed)
    finally:
        bar.close()
        docker("image", "rm", "-f", *tags.values())


def _base(answer: Answer, folder: Path, tag: str, options: list[str], limit: float) -> Image | None:
    """Return the base image, built as it is: a builder pulls one without listing it. None is scratch."""
    (folder / "Dockerfile").write_text(f"FROM {answer.base()}\n", encoding="utf-8")
    try:
        build(folder, tag, options, limit)
        return load_image(f"docker-daemon:{tag}")
    except ImagelabError:
        return None


def _requirements(context: Path) -> dict[str, str]:
    listed = context / "requirements.txt"
    text = listed.read_text(encoding="utf-8") if listed.is_file() else ""
    return dict(re.findall(r"^([\w.-]+)(?:==(\S+))?", text, re.MULTILINE))


def _digests(folder: Path) -> dict[str, str]:
    return {
        f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}": path.relative_to(folder.parent).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _prove(folder: Path, key: str) -> None:
    """Edit the program so that each page which it makes shows the key, behind the token of the request."""
    above, below = (text.replace("KEY", key) for text in answers.data()["proof"].values())
    for path in folder.rglob("*.py"):
        path.write_text(above + path.read_text(encoding="utf-8") + below, encoding="utf-8")


def _probe_caches(answer: Answer, tag: str, mark: str, options: list[str], limit: float, twice: bool) -> str:
    """Build with marks in the caches, ``twice`` with an edit of requirements.txt between; return what the last build printed.

    A mark that is gone is looked for once more: an engine that is short of space prunes its cache.
    """
    dockerfile, listed = answer.context / "Dockerfile", answer.context / "requirements.txt"
    text, printed = dockerfile.read_text(encoding="utf-8"), ""
    for number in range(1 + 2 * twice):
        dockerfile.write_text(with_cache_probe(answer, f"{mark}-{number}"), encoding="utf-8")
        printed = build(answer.context, tag, options, limit)
        dockerfile.write_text(text, encoding="utf-8")
        listed.write_text(f"{listed.read_text(encoding='utf-8')}\n# {number}\n", encoding="utf-8")
        if number and "|usable||" not in printed:
            break
    return printed
