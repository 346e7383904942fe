"""Exercises: every solution passes, every start does not, and the checker judges by what a Dockerfile does."""

import contextlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import imagelab as il
from imagelab.core.errors import DockerfileError, ImagelabError
from imagelab.core.resources import data_path
from imagelab.course import exercises
from imagelab.course.exercise_rules import ANSWERS, CHECKS

TASKS = exercises.tasks()
DOCKERFILES = list(TASKS.loc[TASKS["kind"] == "dockerfile", "exercise"])
VALUES = list(TASKS.loc[TASKS["kind"] == "value", "exercise"])


def wrong(name, text):
    """What is asked for and not there, by the model."""
    checked = exercises.check(name, dockerfile=text, engine=False)
    assert (checked["judged_by"] == "model").all()
    asked = {rule.asked: key for key, rule in CHECKS.items()}
    return {asked[row.asked] for row in checked.itertuples() if not row.passed}


def test_five_exercises_and_five_questions():
    assert list(TASKS["section"]) == [f"{kind} {n}" for kind in ("Exercise", "Question") for n in range(1, 6)]
    assert {str(dtype) for dtype in TASKS.dtypes} <= {"str", "int64"} and (TASKS["hints"] >= 1).all()
    for name in TASKS["exercise"]:
        assert exercises.task(name)
        assert all(exercises.hint(name, step) for step in range(1, TASKS.set_index("exercise").loc[name, "hints"] + 1))


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_solution_passes_and_the_start_does_not(name):
    assert wrong(name, exercises.solution(name)) == set()
    assert wrong(name, exercises.start(name))


@pytest.mark.parametrize("name", VALUES)
def test_a_solution_is_right_and_another_value_is_not(name):
    assert exercises.check(name, exercises.solution(name))["passed"].all()
    for other in (None, "", 0, 1, True, [], "nonsense"):
        if other is not exercises.solution(name):
            assert not exercises.check(name, other)["passed"].any(), other


def test_every_rule_and_answer_is_asked_for():
    known = exercises._read().values()
    assert {rule for one in known for rule in one.get("checks", ())} == set(CHECKS)
    assert {one["right"] for one in known if "right" in one} == set(ANSWERS)


GOOD = """ARG BASE=python:3.10-slim
FROM ${BASE} AS builder
COPY requirements.txt .
RUN python3 -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir -r requirements.txt
FROM ${BASE}
COPY --from=builder /opt/venv /opt/venv
COPY src /app/src
"""


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (("", ""), set()),
        (("python:3.10-slim", "python:3.10-alpine"), set()),
        (("python:3.10-slim", "python:3.10"), {"small_base"}),
        (("FROM ${BASE}\n", "FROM python:3.10\n"), {"small_base"}),
        (("FROM ${BASE}\n", "FROM builder\n"), set()),
        (("COPY src", "RUN apt-get update && apt-get install -y gcc && rm -rf /var/lib/apt/lists/*\nCOPY src"), {"no_compiler"}),
        (("COPY src", "RUN apt-get update && apt-get install -y curl\nCOPY src"), {"no_lists"}),
        (("COPY requirements.txt .", "COPY . ."), {"install_stays_cached"}),
        (("--from=builder /opt/venv /opt/venv", "--from=builder /opt/venv/lib/python3.10/site-packages /x"), {"commands_arrive"}),
        (("COPY --from=builder /opt/venv /opt/venv\n", ""), {"commands_arrive"}),
        (("FROM ${BASE}\nCOPY --from=builder /opt/venv /opt/venv\n", "RUN pip install -r requirements.txt\n"), {"no_pip_cache"}),
    ],
)  # fmt: skip
def test_one_fault_is_one_finding(change, found):
    assert wrong("optimise-size", GOOD.replace(*change)) == found


def test_a_mount_that_is_left_empty_or_elsewhere_is_none():
    good = exercises.solution("cache-mount")
    assert wrong("cache-mount", good.replace("pip install -r", "pip install --no-cache-dir -r")) == {"cache_mount"}
    assert "cache_mount" in wrong("cache-mount", good.replace("/root/.cache/pip", "/var/cache/apt"))
    assert "cache_mount" in wrong("cache-mount", good.replace("type=cache", "type=tmpfs"))


@pytest.mark.parametrize(("user", "passed"), [("1000", True), ("app:app", True), ("root", False), ("0:0", False)])
def test_users(user, passed):
    text = f"FROM python:3.10-slim\nCOPY --chown=1000 src /app\nUSER {user}\n"
    assert (wrong("non-root", text) == set()) == passed
    assert wrong("non-root", text + "RUN chown -R 1000 /app\n") >= {"no_chown_again"}


def test_bad_input_is_named(tmp_path):
    with pytest.raises(ImagelabError, match=r"Similar names: .*fix-dockerfile"):
        exercises.check("fix-dockerfil", dockerfile="FROM x\n")
    with pytest.raises(ImagelabError, match="asks for dockerfile"):
        exercises.check("fix-dockerfile", 3)
    with pytest.raises(ImagelabError, match="asks for value"):
        exercises.check("find-waste", dockerfile="FROM x\n")
    with pytest.raises(ImagelabError, match="hints 1 to 2"):
        exercises.hint("find-waste", 3)
    for text in ("", "\n", "ARG A\n", "# nothing\n", "FROM\n", "NONSENSE\n"):
        with pytest.raises(ImagelabError):
            exercises.check("fix-dockerfile", dockerfile=text, engine=False)
    with pytest.raises(DockerfileError, match="line 2"):
        exercises.check("fix-dockerfile", dockerfile="FROM x\nimport sys\n", engine=False)
    for text in (
        "FROM ${NOTHING}\n",
        "FROM scratch\n",
        "FROM b AS b\nFROM b AS b\nFROM B\n",
        "FROM a AS b\nFROM b AS c\nFROM c\n",
        "FROM x\nRUN \x1b\u202e\n",
    ):
        with contextlib.suppress(DockerfileError):
            assert wrong("fix-dockerfile", text)


def test_without_an_engine_the_model_judges(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    checked = exercises.check("non-root", dockerfile=exercises.solution("non-root"))
    assert checked["passed"].all() and set(checked["judged_by"]) == {"model"}
    with pytest.raises(ImagelabError, match="docker cannot be run"):
        exercises.check("non-root", dockerfile=exercises.solution("non-root"), engine=True)


@pytest.mark.engine
def test_with_an_engine_the_answer_is_built_and_measured(modern, monkeypatch):
    for key, value in modern.env.items():
        monkeypatch.setenv(key, value)
    options = ["--network=none", "--build-arg=BASE=localhost/busybox:static"]
    good = "ARG BASE=x\nFROM ${BASE}\nCOPY --chown=1000:1000 src /app/src\nUSER 1000:1000\n"
    checked = exercises.check("non-root", dockerfile=good, options=options)
    assert checked["passed"].all() and list(checked["judged_by"]) == ["model", "model", "engine", "engine"]
    assert checked["said"].iloc[2] == "1.98 MB of files; 1.98 MB at the start"
    broken = exercises.check("non-root", dockerfile=good + "RUN false\n", options=options)
    assert not broken["passed"].iloc[-1] and broken["said"].iloc[-1].startswith("it does not build")
    absent = exercises.check("non-root", dockerfile=good, options=["--build-arg=BASE=localhost/nowhere:1"])
    assert absent["passed"].all() and set(absent["judged_by"]) == {"model, since a base image cannot be had"}
    for tag in ("non-root", "non-root-start"):
        modern.docker("rmi", "-f", f"imagelab-exercise:{tag}")


def build_locally(engine, *techniques):
    """Recipes on stand-ins for the base images, which are made where missing."""
    command = [sys.executable, data_path("make.py"), "--local", "--no-record", *techniques]
    subprocess.run(command, env=engine.env, check=True, capture_output=True)


@pytest.fixture(scope="module")
def with_python(debian):
    """An engine that has python:3.10-slim, and the same as python:3.10: stand-ins, so that nothing is pulled."""
    build_locally(debian, "non-root")
    names = "python:3.10-slim", "python:3.10"
    for name in names:
        debian.docker("tag", "localhost/python:slim", name)
    yield debian
    for name in DOCKERFILES:
        debian.docker("rmi", "-f", f"imagelab-exercise:{name}", f"imagelab-exercise:{name}-start")
    debian.docker("rmi", *names)


WHOLE_VENV = "COPY --from=builder /opt/venv /opt/venv"
WRONG = {
    "optimise-size": ((WHOLE_VENV, "COPY --from=builder /opt/venv/lib/python3.11/site-packages /opt/lib"), "commands included"),
    "cache-mount": (("pip install -r", "pip install --no-cache-dir -r"), "cache mount"),
    "non-root": (("USER appuser", "USER root"), "user is not root"),
    "fix-dockerfile": (("COPY src src", "COPY source src"), "It builds"),
}  # fmt: skip


@pytest.mark.engine
@pytest.mark.parametrize("name", DOCKERFILES)
def test_on_an_engine_a_solution_passes_and_a_wrong_answer_does_not(name, with_python, monkeypatch):
    for key, value in with_python.env.items():
        monkeypatch.setenv(key, value)
    good, (change, asked) = exercises.solution(name), WRONG[name]
    checked = exercises.check(name, dockerfile=good, options=["--network=host"])
    assert checked["passed"].all() and checked["judged_by"].iloc[-1] == "engine" and checked["said"].notna().all()
    wrong_answer = exercises.check(name, dockerfile=good.replace(*change), options=["--network=host"])
    failed = wrong_answer[~wrong_answer["passed"]]
    assert failed["asked"].str.contains(asked).any() and (failed["said"] != "Right.").all()


@pytest.mark.engine
def test_what_is_really_wasted_is_the_same_on_an_engine(modern, monkeypatch):
    """Exercise 2, built: the answer is no property of the recording."""
    for key, value in modern.env.items():
        monkeypatch.setenv(key, value)
    build_locally(modern, "chmod-in-layer")
    wasted = il.waste("docker-daemon:recipe/chmod-in-layer:before", digests=True)["bytes"].sum()
    assert exercises.check("find-waste", int(wasted))["passed"].all()
    assert not exercises.check("find-waste", 25_200_000)["passed"].any()


def test_answers_as_pandas_and_numpy_give_them():
    wasted = il.efficiency("example:chmod-in-layer-before")["wasted"]
    assert exercises.check("find-waste", wasted.iloc[0])["passed"].all()
    assert exercises.check("late-cleanup", np.bool_(False))["passed"].all()
    assert exercises.check("requirements-first", pd.Series(exercises.solution("requirements-first")))["passed"].all()
    for other in (wasted, pd.NA, pd.DataFrame(), np.nan, object(), {}):
        assert not exercises.check("find-waste", other)["passed"].any()


def test_options_as_docker_takes_them(monkeypatch):
    monkeypatch.setenv("BASE", "python:3.10")
    asked = exercises.CHECKS["small_base"].asked
    for options, passed in (("--build-arg=BASE=python:3.10-alpine", True), (["--build-arg=BASE"], False)):
        checked = exercises.check("optimise-size", dockerfile=GOOD, engine=False, options=options)
        assert checked.set_index("asked").loc[asked, "passed"] == passed
    with pytest.raises(ImagelabError, match="hints 1 to"):
        exercises.hint("cache-mount", "first")
