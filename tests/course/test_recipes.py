"""What recipes do when they run: the recorded answers, tried again on real engines."""

import csv
import importlib.util
import itertools
import shutil
import subprocess
import sys

import pytest

from imagelab.core.resources import data_path
from tests.conftest import ROOT


@pytest.fixture
def runs():
    """data/runs/make.py as a module."""
    spec = importlib.util.spec_from_file_location("data_runs_make", ROOT / "data" / "runs" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(engine, *techniques):
    command = [sys.executable, data_path("make.py"), "--local", "--no-record", *techniques]
    subprocess.run(command, env=engine.env, check=True, capture_output=True)


def read(name):
    return list(csv.DictReader(data_path(f"runs/{name}.csv").open()))


@pytest.mark.engine
def test_recipes_end_as_recorded(engine, runs, monkeypatch):
    build(engine, "read-only", "cap-drop", "runtime-secret")
    for key, value in engine.env.items():
        monkeypatch.setenv(key, value)
    again = [runs.run(image, options) for image, options in runs.RUNS]
    recorded = read("runs")
    assert [row["exit_code"] for row in again] == [int(row["exit_code"]) for row in recorded]
    failed = [(row["options"], row["output"]) for row in again if row["exit_code"]]
    assert failed == [(row["options"], row["output"]) for row in recorded if row["exit_code"] != "0"]


@pytest.mark.engine
def test_a_health_check_tells_and_does_nothing(debian, runs, monkeypatch):
    """The recorded container again, in less time: its first check is after five seconds, whatever is asked for."""
    build(debian, "healthcheck")
    for key, value in debian.env.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(runs, "HANGS", 6.5)
    monkeypatch.setattr(runs, "ENDS", 14)
    states, checks = runs.watch("recipe/healthcheck:after")
    assert [state["health"] for state in states] == ["starting", "healthy", "healthy", "unhealthy"]
    assert [state["program"] for state in states] == ["answers", "answers", "hangs", "hangs"]
    assert {(state["container"], state["restarts"]) for state in states} == {("running", 0)}
    assert checks[0]["exit_code"] == 0 and checks[-1]["output"] == "Health check exceeded timeout (1s)"


def test_what_was_recorded_of_health_is_whole():
    for image in {row["image"] for row in read("states")}:
        spans = [row for row in read("states") if row["image"] == image]
        assert float(spans[0]["from"]) == 0 and float(spans[-1]["to"]) >= 20
        assert all(one["to"] == two["from"] for one, two in itertools.pairwise(spans))


@pytest.mark.engine
def test_an_ssh_mount_asks_for_a_key(engine, tmp_path):
    """Without one the recipe does not build, and no file of it has a key's place."""
    shutil.copy(data_path("recipes/ssh-mount/after/Dockerfile"), tmp_path)
    options = ["--network=none", "--no-cache", "--build-arg=BASE=localhost/busybox:static"]
    with pytest.raises(RuntimeError, match="ssh"):
        engine.docker("build", *options, str(tmp_path), DOCKER_BUILDKIT="1")
