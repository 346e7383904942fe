"""The course section's exercises and questions: tasks, hints, solutions, and a checker that builds and runs answers.

>>> from imagelab import exercises
>>> exercises.check("late-cleanup", "False")["passed"].all()
np.True_
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from imagelab.build.dockerfile.read import read_dockerfile
from imagelab.build.dockerfile.syntax import read_text
from imagelab.core.errors import DockerfileError, ImagelabError, similar_names
from imagelab.core.frames import make_frame
from imagelab.core.resources import data_path
from imagelab.course import answers, dockerfile_rules, image_rules
from imagelab.course.trial import NotBuilt, NotJudged, engine_answers, tried

TASKS_COLUMNS = {"exercise": "str", "section": "str", "kind": "str", "task": "str", "hints": "int64"}
CHECKED_COLUMNS = {"asked": "str", "passed": "bool", "message": "str", "judged_by": "str"}
PROGRESS_COLUMNS = {
    "exercise": "str", "section": "str", "state": "str", "points": "float64", "attempts": "int64", "hints": "int64"
}  # fmt: skip
NOT_JUDGED = "not judged"
WITHOUT_BUILDING = "model, without building"

_attempts: dict[str, list[pd.DataFrame]] = {}
_hints: dict[str, set[int]] = {}


def tasks() -> pd.DataFrame:
    """List the exercises.

    Returns
    -------
    pandas.DataFrame
        ``TASKS_COLUMNS``: the name that the other functions take, the place in the section or the lesson, what is handed in
        (``kind``: dockerfile or value), the task, and the number of hints.
    """
    rows = [
        {key: exercise[key] for key in ("section", "kind", "task")}
        | {"exercise": name, "hints": len(exercise["hints"])}
        for name, exercise in answers.data()["exercise"].items()
    ]
    return make_frame(rows, TASKS_COLUMNS)


def task(name: str) -> str:
    """Return the task's text."""
    return str(_exercise(name)["task"])


def start(name: str) -> str:
    """Return the Dockerfile that the learner begins with; ``""`` where a value is asked for."""
    path = _exercise(name).get("start")
    # The comments of a recipe say what is wrong with it.
    lines = data_path(path).read_text(encoding="utf-8").splitlines(keepends=True) if path else []
    return "".join(line for line in lines if not line.startswith("#"))


def hint(name: str, step: int = 1) -> str:
    """Return a hint; each step says more."""
    hints = _exercise(name)["hints"]
    if step not in range(1, len(hints) + 1):
        raise ImagelabError(f"{name} has hints 1 to {len(hints)}, not {step}.")
    _hints.setdefault(name, set()).add(step)
    return str(hints[int(step) - 1])


def solution(name: str) -> Any:
    """Return an answer that passes: a Dockerfile's text, or a value computed from the recorded data."""
    exercise = _exercise(name)
    if exercise["kind"] == "value":
        return answers.compute(exercise["solution"])
    return data_path(exercise["solution"]).read_text(encoding="utf-8")


def check(
    name: str,
    answer: Any = None,
    *,
    dockerfile: str | os.PathLike[str] | None = None,
    engine: bool | None = None,
    options: Sequence[str] = (),
    limit: float = 600,
) -> pd.DataFrame:
    """Judge an answer.

    Where an engine answers, a Dockerfile is built and what was built is judged: its layers, its packages, a rebuild after
    an edit, and a container without network that must answer as the start's does. Images and containers are removed
    afterwards. Without an engine the Dockerfile alone is judged, and nothing passes that only a build can show.

    Parameters
    ----------
    name : str
        A name of `tasks`.
    answer : optional
        The value, in any form that people type: ``"12.6 MB"``, ``"12,600,000"``, ``"C"``, ``"alpine"``.
    dockerfile : path, or text with a line break; optional
        The Dockerfile.
    engine : bool, optional
        Whether to build. If None: if an engine answers and the Dockerfile differs from the start.
    options : sequence of str
        More options of ``docker build``, such as ``--build-arg=BASE=my/python:slim`` or ``--network=host``.
    limit : float
        Seconds that one build may take.

    Returns
    -------
    pandas.DataFrame
        ``CHECKED_COLUMNS``, a row per thing asked for: whether it ``passed``, a ``message`` that says what is missing, and
        ``judged_by``: engine, model (without building), data (recorded here), or not judged.

    Raises
    ------
    ImagelabError
        No such exercise, or an answer of the other kind.
    """
    exercise = _exercise(name)
    if exercise["kind"] == "value":
        if dockerfile is not None:
            raise ImagelabError(f"{name} asks for a value: check({name!r}, VALUE).")
        rows = [_row(exercise["task"], answers.judge(exercise, answer), "data")]
    elif dockerfile is None or answer is not None:
        raise ImagelabError(f"{name} asks for a Dockerfile: check({name!r}, dockerfile=…) takes its text or path.")
    else:
        rows = _dockerfile(name, dockerfile, engine, [options] if isinstance(options, str) else list(options), limit)
    checked = make_frame(rows, CHECKED_COLUMNS)
    if dockerfile is not None or answer is not None:
        _attempts.setdefault(name, []).append(checked)
    return checked


def progress() -> pd.DataFrame:
    """List the exercises with what was reached since Python started.

    Returns
    -------
    pandas.DataFrame
        ``PROGRESS_COLUMNS``: ``state`` is passed, judged without building (nothing wrong is visible), tried, or open;
        ``points`` is the share of the things asked for that the last attempt passed, 0 to 1.
    """
    rows = []
    for name, exercise in answers.data()["exercise"].items():
        tried = _attempts.get(name, [])
        reached = {"state": state(tried[-1] if tried else None), "points": tried[-1]["passed"].mean() if tried else 0}
        counts = {"attempts": len(tried), "hints": len(_hints.get(name, ()))}
        rows.append({"exercise": name, "section": exercise["section"]} | reached | counts)
    return make_frame(rows, PROGRESS_COLUMNS)


def score() -> str:
    """Return the points reached so far, of all exercises."""
    points = progress()["points"]
    return f"{points.sum():.1f} of {len(points)} points"


def state(checked: pd.DataFrame | None) -> str:
    """Name the state of an exercise after a check."""
    if checked is None:
        return "open"
    if checked["passed"].all():
        return "passed"
    wrong = checked[~checked["passed"]]
    return "judged without building" if wrong["judged_by"].eq(NOT_JUDGED).all() else "tried"


def _exercise(name: str) -> dict[str, Any]:
    known: dict[str, dict[str, Any]] = answers.data()["exercise"]
    if name not in known:
        raise ImagelabError(f"there is no exercise {name!r}. {similar_names(name, known)}")
    return known[name]


def _row(asked: str, fault: str, judged_by: str) -> dict[str, Any]:
    return {"asked": asked, "passed": not fault, "message": fault or "Right.", "judged_by": judged_by}


def _dockerfile(
    name: str, dockerfile: str | os.PathLike[str], engine: bool | None, options: list[str], limit: float
) -> list[dict[str, Any]]:
    text, exercise, asked = read_text(dockerfile), _exercise(name), answers.data()["asked"]
    try:
        read = read_dockerfile(_plain(text), _arguments(options))
        if read.stages.empty:
            raise DockerfileError("It has no FROM. Begin with the lines of the start.")
    except DockerfileError as error:
        return [_row("It is a Dockerfile.", answers.known_error(str(error)) or str(error), "model")]
    with tempfile.TemporaryDirectory() as folder:
        context, begin = (
            Path(shutil.copytree(data_path(exercise["context"]), Path(folder) / part)) for part in ("context", "start")
        )
        (context / "Dockerfile").write_text(text, encoding="utf-8")
        (begin / "Dockerfile").write_text(start(name), encoding="utf-8")
        answer = dockerfile_rules.Answer(read, context, exercise["edits"])
        if engine or (engine is None and text != start(name) and engine_answers()):
            try:
                with tried(answer, begin, exercise, options, limit) as trial:
                    return [
                        _row(asked[rule], getattr(image_rules, rule)(trial), "engine") for rule in exercise["checks"]
                    ]
            except NotJudged as error:
                return [_row("It builds.", str(error), NOT_JUDGED)]
            except NotBuilt as error:
                return [_row("It builds.", str(error), "engine")]
        faults = {rule: getattr(dockerfile_rules, rule, dockerfile_rules.unseen)(answer) for rule in exercise["checks"]}
    return [
        _row(asked[rule], fault, NOT_JUDGED if fault is dockerfile_rules.UNSEEN else WITHOUT_BUILDING)
        for rule, fault in faults.items()
    ]


def _plain(text: str) -> str:
    """Return a Dockerfile's text; name what is pasted along with it or lost on the way."""
    if words := answers.known_error(text, "typed"):
        raise DockerfileError(words)
    return text if text.endswith("\n") else text + "\n"


def _arguments(options: list[str]) -> dict[str, str]:
    given = [
        option.removeprefix("--build-arg=").partition("=") for option in options if option.startswith("--build-arg=")
    ]
    # A name without a value takes it from the environment, as in Docker's CLI.
    return {name: value if equals else os.environ.get(name, "") for name, equals, value in given}
