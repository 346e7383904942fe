"""Grading: answers are read and checked again; outputs and states in a notebook count for nothing."""

import json

import pytest
from typer.testing import CliRunner

from imagelab.cli import lab  # noqa: F401  # registers its verbs
from imagelab.cli.app import app
from imagelab.core.errors import ImagelabError
from imagelab.course import exercises
from imagelab.course.grading import GRADED_COLUMNS, grade


def hand_in(path, answers):
    """Write a notebook whose every output claims that the answer is right."""
    output = {"output_type": "stream", "name": "stdout", "text": ["Right. passed 1.0"]}
    cells = [
        {"cell_type": "code", "id": f"{name}-answer", "metadata": {}, "source": [source], "outputs": [output]}
        for name, source in answers.items()
    ]
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))


@pytest.fixture
def folder(tmp_path):
    right = {name: exercises.solution(name) for name in ("late-cleanup", "find-waste", "non-root")}
    hand_in(tmp_path / "ada.ipynb", {name: f"{name.replace('-', '_')} = {value!r}" for name, value in right.items()})
    hand_in(
        tmp_path / "ben.ipynb",
        {
            "late-cleanup": "late_cleanup = True",
            "find-waste": "find_waste = il.waste('example:chmod-in-layer-before', digests=True)['bytes'].sum()",
            "non-root": 'non_root = exercises.start("non-root")',
            "smallest-base": "smallest_base = None",
            "investigate": "import os; os._exit(3)",
            "unknown": "x = 1",
        },
    )
    return tmp_path


def test_answers_are_checked_again(folder):
    graded = grade(folder, engine=False)
    assert {name: str(dtype) for name, dtype in graded.dtypes.items()} == GRADED_COLUMNS
    states = graded.set_index(["notebook", "exercise"])["state"]
    assert states["ada.ipynb"].to_dict() == {
        "late-cleanup": "passed",
        "find-waste": "passed",
        "non-root": "judged without building",
    }
    assert states["ben.ipynb"].to_dict() == {
        "late-cleanup": "tried",
        "find-waste": "not graded",
        "non-root": "tried",
        "smallest-base": "tried",
        "investigate": "not graded",
    }


def test_expressions_run_only_on_request(folder):
    graded = grade(folder, engine=False, run_code=True).set_index(["notebook", "exercise"])
    assert graded.loc[("ben.ipynb", "find-waste"), "state"] == "passed"
    assert graded.loc[("ben.ipynb", "investigate"), "state"] == "not graded"  # no assignment: nothing is run


def test_the_command_sums_points_by_notebook(folder):
    done = CliRunner().invoke(app, ["course", "grade", str(folder), "--no-engine", "--json"])
    assert done.exit_code == 0, done.output
    points = {row["notebook"]: row["points"] for row in json.loads(done.stdout)["points"]}
    assert points["ada.ipynb"] >= 2 and points["ben.ipynb"] < 1


def test_what_is_no_notebook_is_named(tmp_path):
    with pytest.raises(ImagelabError, match="has no notebook"):
        grade(tmp_path)
    (tmp_path / "a.ipynb").write_text("{}")
    with pytest.raises(ImagelabError, match="cannot be read as a notebook"):
        grade(tmp_path)
