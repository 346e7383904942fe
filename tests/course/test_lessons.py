"""The lessons' order: file numbers, "Next" links, the README's table and the teaching plan agree."""

import ast
import json
import re
import subprocess
import sys

import pandas as pd
import pytest

import imagelab as il
from imagelab.core.resources import data_path, notebook_paths
from tests.conftest import ROOT

LESSONS = [path for path in notebook_paths() if path.stem[:2].isdigit()]
NAMES = [path.stem for path in LESSONS]


def test_numbers_run_without_a_gap():
    assert [int(name[:2]) for name in NAMES] == list(range(len(NAMES)))


def test_each_lesson_links_to_the_next():
    linked = []
    for path in LESSONS:
        last = json.loads(path.read_text(encoding="utf-8"))["cells"][-1]
        assert last["cell_type"] == "markdown"
        linked.append(re.search(r"\]\((\S+)\.ipynb\)", "".join(last["source"]))[1])
    assert linked == [*NAMES[1:], NAMES[0]]


def test_every_link_between_lessons_leads_somewhere():
    for path in LESSONS:
        for target in re.findall(r"\]\((\w+\.ipynb)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).is_file(), f"{path.name} links to {target}"


def test_the_readme_lists_the_lessons_in_order():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[\d\d .+?\]\(notebooks/(\w+)\.ipynb\)", text, re.MULTILINE) == NAMES


def test_the_teaching_plan_lists_the_lessons_in_order():
    text = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\d\d_\w+)` \|", text, re.MULTILINE) == NAMES


def test_claims_and_exercises_work_without_docstrings():
    code = (
        "import imagelab as il; from imagelab.course import exercises; "
        "print(int(il.claims()['method'].isna().sum()), int(il.claims()['command'].notna().sum()), "
        "exercises.check('non-root', dockerfile=exercises.solution('non-root'), engine=False)['asked'].str.len().min())"
    )
    done = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True, check=True)
    without_method, with_command, shortest = map(int, done.stdout.split())
    assert without_method == with_command and shortest > 10


def test_code_cells_are_python_without_functions():
    for path in LESSONS:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                tree = ast.parse("".join(cell["source"]))
                defined = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
                assert not defined and not cell["outputs"], f"{path.name}: {cell['id']}"


def test_each_lesson_has_a_goal_a_guess_and_a_picture():
    for path in LESSONS:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = {cell["id"]: "".join(cell["source"]) for cell in cells}
        assert "In this notebook, we will" in next(iter(text.values())), path.name
        code = " ".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        assert re.search(r"\bcharts\.|\bpx\.|_chart|claim_tiles|BuildSteps", code), f"{path.name} has no picture"
        if path.stem != "11_exercises":
            assert text["guess"].startswith("guess = None") and "Your guess" in text["guess-check"], path.name
            assert any("**Guess first.**" in words for words in text.values()), path.name


def stored(name):
    return il.efficiency(f"example:{name}")["stored"].iloc[0]


def published(name):
    return il.layers(f"example:published-{name}-2023")["content_size"].sum()


def most_likely_over_least():
    """The largest ratio of EPSS between two findings of one severity."""
    found = il.read_scan(data_path("scans/busybox-1.32.1.grype.json")).groupby("severity", observed=True)["epss"]
    return (found.max() / found.min()).max()


def debian_packages(name):
    return il.packages(f"example:{name}").query("manager == 'dpkg'")["name"].nunique()


# What the lessons' prose says in numbers, and what the data give.
PROSE = [
    ("01", "352 MB", lambda: published("python-3.10") / 1e6, 0.5),
    ("04", "8 MiB", lambda: il.waste("example:whiteout-before")["bytes"].sum() / 2**20, 0),
    (
        "05",
        "43 pairs",
        lambda: (
            pd.read_csv(data_path("build/explained.csv"))["pair"]
            .str.contains(", (?:local|registry|inline) cache")
            .sum()
        ),
        0,
    ),
    ("07", "fifty-fold", most_likely_over_least, 1),
    (
        "09",
        "quarter of the Debian packages",
        lambda: debian_packages("service-distroless") / debian_packages("service-slim"),
        0.05,
    ),
    ("11", "836 MB", lambda: stored("service-full") / 1e6, 0.5),
    ("11", "302 MB", lambda: stored("service-multistage") / 1e6, 0.5),
    ("11", "25.2 MB", lambda: il.dive_efficiency("example:chmod-in-layer-before")["wasted_bytes"].iloc[0] / 1e6, 0.05),
    ("11", "12,600,000 bytes", lambda: il.efficiency("example:chmod-in-layer-before")["wasted"].iloc[0], 0),
    (
        "11",
        "50 MB",
        lambda: il.load_image("example:published-python-3.10-alpine-2023").provenance["virtual_size"] / 1e6,
        0.5,
    ),
    ("11", "19 MB", lambda: published("python-3.10-alpine") / 1e6, 0.5),
    ("11", "682 MB", lambda: stored("fix-dockerfile-before") / 1e6, 0.5),
    ("11", "151 MB", lambda: stored("fix-dockerfile-after") / 1e6, 0.5),
    ("11", "872 MB", lambda: stored("multi-stage-before") / 1e6, 0.5),
]
QUOTED = {"917 MB", "100 MB", "12 MB", "5 MB", "0 bytes", "10 %"}  # the section's, examples, and the rule of verdicts


@pytest.mark.parametrize(("lesson", "words", "measure", "allowed"), PROSE, ids=[f"{row[0]}-{row[1]}" for row in PROSE])
def test_a_number_in_a_lesson_is_that_of_the_data(lesson, words, measure, allowed):
    number = {"fifty-fold": 50, "quarter of the Debian packages": 0.25}.get(words)
    wanted = float(words.split()[0].replace(",", "")) if number is None else number
    assert words in prose(lesson) and abs(measure() - wanted) <= allowed


def prose(lesson):
    cells = json.loads(next(path for path in LESSONS if path.stem.startswith(lesson)).read_text(encoding="utf-8"))[
        "cells"
    ]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def test_no_other_amount_stands_in_a_lesson():
    known = {words for _, words, *_ in PROSE} | QUOTED
    for path in LESSONS:
        found = set(re.findall(r"(?<![\w.:/-])\d[\d,.]* (?:[kMG]i?B|%|bytes|pairs)\b|\d+ %", prose(path.stem[:2])))
        assert found <= known, f"{path.name}: {found - known}"
