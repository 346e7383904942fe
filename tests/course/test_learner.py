"""A learner's run: every notebook from an empty home, no engine, no network, with every exercise solved."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

import imagelab as il
from imagelab.core.resources import notebook_paths
from imagelab.course import exercises
from tests.images.sources.test_registry import layout
from tests.support.registries import Registry

NOTEBOOKS = notebook_paths()
LESSONS = [path for path in NOTEBOOKS if path.stem[:2].isdigit()]


def solved(path, folder):
    """Write a copy of the notebook with its answers filled in; return its path and how many there were."""
    book = json.loads(path.read_text(encoding="utf-8"))
    count = 0
    for cell in book["cells"]:
        if "answer" in cell["metadata"].get("tags", []):
            variable, name = "".join(cell["source"]).split(" = ")[0], cell["id"].removesuffix("-answer")
            cell["source"], count = [f"{variable} = {exercises.solution(name)!r}"], count + 1
    (folder / path.name).write_text(json.dumps(book), encoding="utf-8")
    return folder / path.name, count


def alone():
    """A prefix that takes the network away, loopback apart, where one may."""
    if os.geteuid() == 0 and shutil.which("unshare") and shutil.which("ip"):
        command = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        if subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    return []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_learner_runs_it(path, tmp_path):
    book, answers = solved(path, tmp_path)
    assert answers == (0 if path not in LESSONS else 10 if path.stem == "11_exercises" else 1)
    home, page = tmp_path / "home", tmp_path / "page.html"
    home.mkdir()
    env = {key: value for key, value in os.environ.items() if not re.match("DOCKER|JUPYTER|IPYTHON|XDG|IMAGELAB", key)}
    env |= {
        "HOME": str(home),
        "DOCKER_HOST": "unix:///nowhere",
        "https_proxy": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }
    code = f"from imagelab.report.run import render; render({str(book)!r}, {{}}, {str(page)!r}, progress=False)"
    done = subprocess.run([*alone(), sys.executable, "-c", code], env=env, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    html = page.read_text(encoding="utf-8")
    assert "Not yet" not in html and "Not answered" not in html
    assert html.count("Right") >= answers


@pytest.mark.registry
def test_a_hosted_notebook_needs_no_engine(tmp_path):
    """A lesson on an image of a registry, compared with a snapshot that is kept there; no engine, no socket."""
    book, _ = solved(next(path for path in LESSONS if path.stem == "12_your_image"), tmp_path)
    served = Registry(tmp_path)
    try:
        served.copy(f"oci:{layout(tmp_path / 'small', [{'etc/a': b'a' * 5000}, {'etc/a': b'b' * 4000}])}", "small:v1")
        il.push_snapshot("example:whiteout-before", f"docker://{served.host}/snapshots/small:main")
        parameters = {
            "reference": f"docker://{served.host}/small:v1",
            "earlier": f"docker://{served.host}/snapshots/small:main",
        }
        env = {key: value for key, value in os.environ.items() if not key.startswith("DOCKER")}
        env |= {"DOCKER_HOST": "unix:///nowhere", "HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9"}
        code = f"from imagelab.report.run import render; render({str(book)!r}, {parameters!r}, 'page.html', progress=False)"
        done = subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    finally:
        served.stop()
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Right" in page and "--max-size 9450" in page  # 1.05 × (5,000 + 4,000) bytes


def test_every_lesson_has_one_exercise_of_its_own():
    tasks = exercises.tasks().set_index("exercise")["section"]
    for path in LESSONS:
        book = json.loads(path.read_text(encoding="utf-8"))
        names = [cell["id"].removesuffix("-answer") for cell in book["cells"] if cell["id"].endswith("-answer")]
        variables = [
            "".join(cell["source"]).split(" = ")[0] for cell in book["cells"] if cell["id"].endswith("-answer")
        ]
        assert len(set(variables)) == len(names)
        if path.stem != "11_exercises":
            assert [tasks[name] for name in names] == [f"Lesson {path.stem[:2]}"]
