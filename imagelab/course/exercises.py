"""The course section's exercises and questions, with a checker, hints in steps, and solutions that pass.

>>> from imagelab import exercises
>>> exercises.check("late-cleanup", False)["passed"].all()
np.True_
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from imagelab.build.dockerfile.read import read_dockerfile
from imagelab.build.dockerfile.syntax import read_text
from imagelab.core.errors import DockerfileError, ImagelabError, similar_names
from imagelab.core.frames import format_bytes, make_frame
from imagelab.core.resources import data_path
from imagelab.course.exercise_rules import ANSWERS, CHECKS, Handed
from imagelab.security.hardening.check import check_hardening
from imagelab.size.waste import efficiency

TASKS_COLUMNS = {"exercise": "str", "section": "str", "kind": "str", "task": "str", "hints": "int64"}
CHECKED_COLUMNS = {"asked": "str", "passed": "bool", "said": "str", "judged_by": "str"}
# What builders say when a base image cannot be had: no fault of the Dockerfile.
_NO_BASE = (
    "failed to resolve",
    "pull access denied",
    "no such host",
    "i/o timeout",
    "connection refused",
    "TLS handshake",
)


def tasks() -> pd.DataFrame:
    """What there is to do.

    Returns
    -------
    pandas.DataFrame
        ``TASKS_COLUMNS``: the name that the other functions take, where it stands in the section, what is handed in
        (``kind``: dockerfile or value), the task, and how many hints there are.
    """
    rows = [
        {key: one[key] for key in ("section", "kind", "task")} | {"exercise": name, "hints": len(one["hints"])}
        for name, one in _read().items()
    ]
    return make_frame(rows, TASKS_COLUMNS)


def task(name: str) -> str:
    """What is asked."""
    return str(_exercise(name)["task"])


def start(name: str) -> str:
    """The Dockerfile that the learner begins with; empty where a value is asked for."""
    one = _exercise(name)
    if one["kind"] == "value":
        return ""
    # A recipe's comments tell what is wrong with it.
    lines = data_path(one["start"]).read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#"))


def hint(name: str, step: int = 1) -> str:
    """One hint more with each step."""
    hints = _exercise(name)["hints"]
    if step not in range(1, len(hints) + 1):
        raise ImagelabError(f"{name} has hints 1 to {len(hints)}, not {step}.")
    return str(hints[int(step) - 1])


def solution(name: str) -> Any:
    """An answer that passes: a Dockerfile's text, or a value."""
    one = _exercise(name)
    if one["kind"] == "dockerfile":
        return data_path(one["solution"]).read_text(encoding="utf-8")
    return one["solution"]


def check(
    name: str,
    answer: Any = None,
    *,
    dockerfile: str | os.PathLike[str] | None = None,
    engine: bool | None = None,
    options: Sequence[str] = (),
) -> pd.DataFrame:
    """Judge an answer.

    Parameters
    ----------
    name : str
        As `tasks` lists them.
    answer : optional
        Where a value is asked for; None counts as not answered yet.
    dockerfile : path, or text with a line break; optional
        Where a Dockerfile is asked for.
    engine : bool, optional
        Build it and the Dockerfile to start from, on the engine that Docker's CLI talks to, and measure both. If None:
        where an engine answers, and the Dockerfile is not the start unchanged. Else, and where the base images cannot
        be had, the Dockerfile is judged by imagelab's model of builds alone (`read_dockerfile`, `plan_build`,
        `advise_build`).
    options : sequence of str
        More options of ``docker build``, one text each, such as ``--build-arg=BASE=my/python:slim`` or
        ``--network=host``.

    Returns
    -------
    pandas.DataFrame
        ``CHECKED_COLUMNS``, a row per thing asked for: whether it ``passed``, what is to be ``said`` about it, and
        ``judged_by``: engine, model (with why, where an engine could not), or data (recorded here).

    Raises
    ------
    ImagelabError
        No such exercise, or an answer of the other kind.
    DockerfileError
        The Dockerfile cannot be read, with the line.
    """
    one = _exercise(name)
    if (one["kind"] == "dockerfile") != (dockerfile is not None) or (dockerfile is not None and answer is not None):
        wanted = "dockerfile=…, its text or path" if one["kind"] == "dockerfile" else "the answer as a value"
        raise ImagelabError(f"{name} asks for {one['kind']}: give check({name!r}, …) {wanted}.")
    if dockerfile is None:
        return make_frame([_value(one, answer)], CHECKED_COLUMNS)
    more = [options] if isinstance(options, str) else list(options)
    return make_frame(_dockerfile(name, one, read_text(dockerfile), engine, more), CHECKED_COLUMNS)


@cache
def _read() -> dict[str, dict[str, Any]]:
    return tomllib.loads(data_path("exercises/exercises.toml").read_text(encoding="utf-8"))


def _exercise(name: str) -> dict[str, Any]:
    known = _read()
    if name not in known:
        raise ImagelabError(f"there is no exercise {name!r}. {similar_names(name, known)}")
    return known[name]


def _value(one: dict[str, Any], answer: Any) -> dict[str, Any]:
    right = ANSWERS[one["right"]]()
    passed = _plain(answer) == _plain(right)
    said = "Right." if passed else "Not answered yet." if answer is None else "Not yet: ask for a hint."
    return {"asked": one["task"], "passed": passed, "said": said, "judged_by": "data"}


def _plain(value: Any) -> Any:
    """Upper or lower case, a list or a tuple, Python's or numpy's and pandas': no matter. True is no 1."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, str):
        return value.strip().casefold()
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return (type(value) is bool, value) if isinstance(value, int | float) else None


def _dockerfile(
    name: str, one: dict[str, Any], text: str, engine: bool | None, options: list[str]
) -> list[dict[str, Any]]:
    given = [
        option.removeprefix("--build-arg=").partition("=") for option in options if option.startswith("--build-arg=")
    ]
    # a name alone takes its value from the environment, as for Docker's CLI
    arguments = {name: value if equals else os.environ.get(name, "") for name, equals, value in given}
    read = read_dockerfile(text if "\n" in text else text + "\n", arguments)
    if read.stages.empty:
        raise DockerfileError("Dockerfile: no FROM, so there is nothing to build. Begin with the lines of start(…).")
    with tempfile.TemporaryDirectory() as folder:
        context = Path(shutil.copytree(data_path(one["context"]), Path(folder) / "context"))
        (context / "Dockerfile").write_text(text, encoding="utf-8")
        handed = Handed(read, context, one["edits"])
        rows = []
        for check_name in one["checks"]:
            rule = CHECKS[check_name]
            wrong = rule.fault(handed)
            rows.append({"asked": rule.asked, "passed": wrong is None, "said": wrong or "Right.", "judged_by": "model"})
        if engine or (engine is None and text != start(name) and _engine_answers()):
            built = _build(name, one, context, options)
            alone = {"judged_by": "model, since a base image cannot be had"}
            rows = [row | alone for row in rows] if built is None else rows + built
    return rows


def _engine_answers() -> bool:
    try:
        done = subprocess.run(["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, timeout=15)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _build(name: str, one: dict[str, Any], context: Path, options: list[str]) -> list[dict[str, Any]] | None:
    """Both Dockerfiles, built and measured; None where a base image cannot be had."""
    begun = context.parent / "start"
    shutil.copytree(context, begun)
    (begun / "Dockerfile").write_text(start(name), encoding="utf-8")
    tags = f"imagelab-exercise:{name}", f"imagelab-exercise:{name}-start"
    for tag, folder in zip(tags, (context, begun), strict=True):
        command = ["docker", "build", "-q", "-t", tag, *options, str(folder)]
        # No attestations: not every engine can hold an index.
        environment = os.environ | {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment)
        except OSError as error:
            raise ImagelabError(
                f"docker cannot be run: {error}. Leave out engine=True, or install Docker's CLI."
            ) from error
        if done.returncode:
            if any(sign in done.stderr for sign in _NO_BASE):
                return None
            last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no message").strip()
            said = f"it does not build: {last[:300]}"
            return [{"asked": "It builds.", "passed": False, "said": said, "judged_by": "engine"}]
    sizes = [int(efficiency(f"docker-daemon:{tag}")["stored"].iloc[0]) for tag in tags]
    adds_user = "other_user" in one["checks"]  # which takes a few files
    asked = f"The image is not {'a megabyte ' if adds_user else ''}larger than at the start."
    passed = sizes[0] <= sizes[1] + (1_000_000 if adds_user else 0)
    said = f"{format_bytes(sizes[0])} of files; {format_bytes(sizes[1])} at the start"
    rows = [{"asked": asked, "passed": passed, "said": said, "judged_by": "engine"}]
    if adds_user:
        rule = check_hardening(f"docker-daemon:{tags[0]}").set_index("rule").loc["run as another user than root"]
        passed = rule["result"] == "passed"
        said = "Right." if passed else rule["evidence"]
        rows.append({"asked": "The image's user is not root.", "passed": passed, "said": said, "judged_by": "engine"})
    return rows
