"""Grade a folder of handed-in notebooks: read the answers, trust no output, and check them again."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from imagelab.core.errors import ImagelabError
from imagelab.core.frames import make_frame
from imagelab.course import answers, exercises

GRADED_COLUMNS = {"notebook": "str", "exercise": "str", "state": "str", "points": "float64", "message": "str"}


def grade(
    folder: str | os.PathLike[str], *, engine: bool | None = None, options: Sequence[str] = (), run_code: bool = False
) -> pd.DataFrame:
    """Check the answers of every notebook below a folder.

    An answer is the value that the cell ``EXERCISE-answer`` assigns. Literals are read without running anything. Other
    code is graded only with ``run_code``; it runs in this process, so use it only for notebooks that you would run.

    Parameters
    ----------
    folder : path
    engine, options
        As for `exercises.check`.
    run_code : bool
        Whether to evaluate answers that are expressions, such as ``il.waste(…)["bytes"].sum()``.

    Returns
    -------
    pandas.DataFrame
        ``GRADED_COLUMNS``, a row per notebook and exercise: ``state`` as in `exercises.progress`, or not graded;
        ``points`` from 0 to 1; ``message`` names what is missing. Outputs in a notebook are ignored.

    Raises
    ------
    ImagelabError
        The folder has no notebook, or one of them cannot be read.
    """
    paths = sorted(Path(folder).rglob("*.ipynb"))
    if not paths:
        raise ImagelabError(f"{folder} has no notebook (*.ipynb).")
    rows = []
    for path in paths:
        for name, source in _answers(path).items():
            row = {"notebook": path.relative_to(folder).as_posix(), "exercise": name}
            rows.append(row | _graded(name, source, engine, options, run_code))
    return make_frame(rows, GRADED_COLUMNS)


def _answers(path: Path) -> dict[str, str]:
    """Return exercise → source of its answer cell."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        found = {str(cell.get("id", "")).removesuffix("-answer"): "".join(cell["source"]) for cell in cells}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImagelabError(f"{path} cannot be read as a notebook: {error}") from error
    return {name: source for name, source in found.items() if name in set(exercises.tasks()["exercise"])}


def _graded(name: str, source: str, engine: bool | None, options: Sequence[str], run_code: bool) -> dict[str, Any]:
    try:
        assigned = ast.parse(source).body[-1]
        value = assigned.value if isinstance(assigned, ast.Assign) else None
        if isinstance(value, ast.Call) and ast.unparse(value.func) == "exercises.start":
            answer = exercises.start(name)
        elif run_code and value is not None:
            answer = answers.evaluate(ast.unparse(value), {"exercises": exercises})
        else:
            answer = ast.literal_eval(value or "")
        if exercises.start(name):
            checked = exercises.check(name, dockerfile=answer, engine=engine, options=options)
        else:
            checked = exercises.check(name, answer)
    except Exception as error:  # whatever a learner wrote
        message = f"{type(error).__name__}: {error}. An expression is graded only with run_code."
        return {"state": "not graded", "points": 0.0, "message": message}
    missing = checked.loc[~checked["passed"], "message"]
    return {
        "state": exercises.state(checked),
        "points": checked["passed"].mean(),
        "message": " ".join(missing) or "Right.",
    }
