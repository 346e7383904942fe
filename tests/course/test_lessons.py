"""The lessons' order: file numbers, "Next" links, the README's table and the teaching plan agree."""

import ast
import json
import re
import subprocess
import sys

from imagelab.core.resources import notebook_paths
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
