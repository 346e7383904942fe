"""The code of the README runs: its names stand for embedded images, logs and scans."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import imagelab as il
from tests.conftest import ROOT

BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
NAMES = {
    "my-app:v1": "example:whiteout-before",
    "my-app:v2": "example:whiteout-after",
    "my-app:$BUILD": "example:whiteout-after",
}
ELSEWHERE = {
    "pip install": "tests/test_wheel.py",
    "docker://registry.example": "tests/images/sources/test_registry.py",
    "imagelab builds": "tests/build/test_explain.py",
    "imagelab lab build": "tests/cli/test_lab_command.py",
    "imagelab lab measure": "tests/cli/test_lab_command.py",
    "imagelab course grade": "tests/course/test_grading.py",
    "imagelab images": "tests/images/sources/test_engines.py",
    "imagelab notebooks": "tests/report/test_run.py",
    "imagelab fleet": "tests/fleet",
}
"""Lines that need an engine, a registry or minutes, and the tests that run them."""
LINES = [
    line.partition(" #")[0].strip()
    for language, text in BLOCKS
    if language == "sh" and "make report" not in text
    for line in text.splitlines()
]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with every file that the README names."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "src").mkdir()
    (folder / "src/main.py").write_text("print('hello')\n")
    (folder / "Dockerfile").write_text("FROM python:3.13-slim\nCOPY . /app\nRUN pip install flask\n")
    (folder / "accepted.toml").write_text('[[accept]]\nrule = "logs"\nreason = "small"\n')
    for folder_name in ("snapshots", "answers"):
        (folder / folder_name).mkdir()
    for name in ("before.parquet", "snapshots/main.parquet"):
        il.save_snapshot(il.load_image("example:whiteout-before"), folder / name)
    for name in ("before.rawjson", "after.rawjson", "build.rawjson", "build.log"):
        shutil.copy(il.data_path("build/logs/service-slim-cold.rawjson.gz"), folder / name)
    for name in ("before.json", "after.json", "trivy.json", "scan.json"):
        shutil.copy(il.data_path("scans/service-slim.facts.trivy.json"), folder / name)
    return folder


@pytest.mark.parametrize("line", [line for line in LINES if not any(part in line for part in ELSEWHERE)])
def test_a_command_of_the_readme_runs(line, project):
    for name, stands_for in NAMES.items():
        line = line.replace(name, stands_for)
    env = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "BUILD": "1",
        "DOCKER_HOST": "unix:///none",
    }
    done = subprocess.run(["bash", "-c", line], cwd=project, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_snippets_that_run_elsewhere_have_a_test():
    assert not [part for part, test in ELSEWHERE.items() if not (ROOT / test).exists()]
    assert not [part for part in ELSEWHERE if not any(part in line for line in LINES)]


def test_the_python_of_the_readme_runs(project, monkeypatch):
    monkeypatch.chdir(project)
    (code,) = (text for language, text in BLOCKS if language == "python")
    for name, stands_for in NAMES.items():
        code = code.replace(name, stands_for)
    exec(code, {})
