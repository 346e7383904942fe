"""Exercises: solutions pass, starts and cheats do not, and answers are read in the form that people type."""

import contextlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import imagelab as il
from imagelab.core.errors import ImagelabError
from imagelab.core.resources import data_path
from imagelab.course import answers, dockerfile_rules, exercises, image_rules, trial
from imagelab.course.trial import explain

TASKS = exercises.tasks()
DOCKERFILES = list(TASKS.loc[TASKS["kind"] == "dockerfile", "exercise"])
VALUES = list(TASKS.loc[TASKS["kind"] == "value", "exercise"])
HANDED_IN = [
    pytest.param(exercise, case, id=f"{exercise}-{name}")
    for exercise, cases in tomllib.loads(Path(__file__).with_name("handed_in.toml").read_text(encoding="utf-8")).items()
    for name, case in cases.items()
]


def faults(name, text):
    """Names of the rules that find a fault without building."""
    checked = exercises.check(name, dockerfile=text, engine=False)
    assert set(checked["judged_by"]) <= {exercises.WITHOUT_BUILDING, exercises.NOT_JUDGED}
    rules = {text: rule for rule, text in answers.data()["asked"].items()}
    return {
        rules[row.asked] for row in checked.itertuples() if not row.passed and row.judged_by != exercises.NOT_JUDGED
    }


def test_every_exercise_has_a_task_hints_and_a_place():
    section = TASKS["section"][~TASKS["section"].str.startswith("Lesson")]
    assert list(section) == [f"{kind} {n}" for kind in ("Exercise", "Question") for n in range(1, 6)]
    assert {str(dtype) for dtype in TASKS.dtypes} <= {"str", "int64"} and (TASKS["hints"] >= 2).all()
    for row in TASKS.itertuples():
        assert exercises.task(row.exercise) == row.task
        assert all(exercises.hint(row.exercise, step) for step in range(1, row.hints + 1))


def test_every_rule_is_used_and_judged_both_ways():
    known = answers.data()
    used = {rule for exercise in known["exercise"].values() for rule in exercise.get("checks", ())}
    assert used == set(known["asked"])
    for module, missing in (
        (image_rules, set()),
        (dockerfile_rules, {"no_waste", "no_second_copy", "nothing_else", "sources", "runs"}),
    ):
        assert {rule for rule in used if not callable(getattr(module, rule, None))} == missing


@pytest.mark.parametrize("name", DOCKERFILES)
def test_without_building_a_solution_has_no_fault_and_does_not_pass(name):
    checked = exercises.check(name, dockerfile=exercises.solution(name), engine=False)
    assert exercises.state(checked) == "judged without building" and not checked["passed"].all()
    assert faults(name, exercises.start(name))


@pytest.mark.parametrize(("name", "case"), HANDED_IN)
def test_without_building_no_answer_passes(name, case):
    checked = exercises.check(name, dockerfile=case["dockerfile"], engine=False)
    assert not checked["passed"].all()
    if case.get("passes"):
        # What only looks like a fault is not judged; the builder may still show the opposite of a visible one.
        assert "It is a Dockerfile." not in set(checked["asked"])


@pytest.mark.parametrize("name", VALUES)
def test_a_solution_is_right_and_another_value_is_not(name):
    solution = exercises.solution(name)
    assert exercises.check(name, solution)["passed"].all()
    for other in (None, "", 0, 1, True, [], "nonsense", object(), {}, pd.NA, pd.DataFrame(), np.nan):
        if other is not solution:
            assert not exercises.check(name, other)["passed"].any(), other


@pytest.mark.parametrize("name", [name for name in VALUES if exercises._exercise(name).get("mistakes")])
def test_a_typical_mistake_gets_words_of_its_own(name):
    for mistake in exercises._exercise(name)["mistakes"]:
        checked = exercises.check(name, answers.compute(mistake["answer"]))
        assert checked["message"].tolist() == [mistake["words"]] and not checked["passed"].any()


@pytest.mark.parametrize(
    ("name", "typed", "message"),
    [
        ("find-waste", ["12.6 MB", "12,600,000", 12_600_000, 12_600_000.0, "13 MB", "12.016 MiB", "12_600_000 bytes"], "Right."),
        ("find-waste", ["12,6 MB", "12.600.000", "12\u00a0600\u00a0000", "12600 kB", "12.6 M"], "Right."),
        ("find-waste", ["≈ 12.6 megabytes", ["12.6 MB"]], "Right."),
        ("find-waste", ["12.6", 12.6, "25.2"], "Add the unit"),
        ("find-waste", ["12.02 MB", "12.0 MB", "12.6 MiB"], "that is MiB"),
        ("find-waste", ["25.2 MB", 25_200_000], "dive's number"),
        ("find-waste", ["much", True, [1, 2], "12 or 13 MB"], "Give a number of bytes"),
        ("find-waste", ["12.6 kB", "-12.6 MB", "126 MB"], "Not yet"),
        ("smallest-base", ["alpine", "C", "c", "python:3.10-alpine", "Alpine."], "Right."),
        ("smallest-base", ["C) python:3.10-alpine", "the alpine one (50 MB)"], "Right."),
        ("smallest-base", ["slim", "B"], "the smallest with Debian"),
        ("smallest-base", ["D", "ubuntu"], "it has no Python"),
        ("smallest-base", ["alpine or slim", "C B", "python", "3.10"], "Not yet"),
        ("late-cleanup", ["False", "false.", "F", False, np.bool_(False), "No.", "False, layers are immutable"], "Right."),
        ("late-cleanup", ["True", True, "yes"], "layer of the deletion"),
        ("late-cleanup", ["True/False", 1], "Not yet"),
        ("requirements-first", [5, [5], (5,), "5", "[5]", "step 5", pd.Series([5])], "Right."),
        ("requirements-first", ["only step 5", "Step 5: COPY . .", "5.0", {5}], "Right."),
        ("requirements-first", ["4, 5", [4, 5]], "Step 4 installs"),
        ("own-share", ["55 %", "55%", 55.0, "about 55 percent"], "Right."),
        ("removed-paths", ["6,435", "6_435 paths"], "Right."),
        ("failed-rules", ["6 of 24 rules"], "Right."),
        ("security-scan", ["Werkzeug 3.1.3", "werkzeug", "Werkzeug==3.1.3"], "Right."),
        ("security-scan", ["upgrade Werkzeug to 3.1.6", "pkg:pypi/werkzeug@3.1.3"], "Right."),
        ("security-scan", ["werkzeug or flask", "3.1.3"], "Not yet"),
        ("investigate", [("build-tools", 2), "build-tools, 2", '("build-tools", 2)', "rule build-tools, layer 2"], "Right."),
        ("investigate", ["build tools in layer 2", {"rule": "build-tools", "layer_index": 2}, (2, "build-tools")], "Right."),
        ("investigate", ["build-tools 3"], "counted from 0"),
    ],
)  # fmt: skip
def test_answers_are_read_as_people_type_them(name, typed, message):
    for answer in typed:
        assert message in exercises.check(name, answer)["message"].iloc[0], answer


GOOD = """ARG BASE=python:3.10-slim
FROM ${BASE} AS builder
COPY requirements.txt .
RUN python3 -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir -r requirements.txt
FROM ${BASE}
COPY --from=builder /opt/venv /opt/venv
COPY src /app/src
"""
GCC = "RUN apt-get update && apt-get install -y gcc && rm -rf /var/lib/apt/lists/*\n"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (("", ""), set()),
        (("python:3.10-slim", "python:3.10-alpine"), set()),
        (("python:3.10-slim", "python:3.10"), {"small_base"}),
        (("FROM ${BASE}\n", "FROM builder\n"), set()),
        (("FROM ${BASE}\n", "FROM python@sha256:" + 64 * "a" + "\n"), set()),
        (("COPY src", f"{GCC}COPY src"), {"no_compiler"}),
        (("COPY src", "RUN apt-get update && apt-get install -y curl\nCOPY src"), {"no_lists"}),
        (("COPY requirements.txt .", "COPY . ."), {"install_stays_cached"}),
        (("--from=builder /opt/venv /opt/venv", "--from=builder /opt/venv/lib/python3.10/site-packages /x"), set()),
        (("COPY --from=builder /opt/venv /opt/venv\n", ""), {"installed"}),
        (("FROM ${BASE}\nCOPY --from=builder /opt/venv /opt/venv\n", "RUN pip install -r requirements.txt\n"), {"no_pip_cache"}),
    ],
)  # fmt: skip
def test_one_fault_is_one_finding(change, found):
    assert faults("optimise-size", GOOD.replace(*change)) == found


def test_a_mount_that_is_left_empty_or_missing_is_a_fault():
    good = exercises.solution("cache-mount")
    assert faults("cache-mount", good.replace("pip install -r", "pip install --no-cache-dir -r")) == {"cache_mount"}
    assert "cache_mount" in faults("cache-mount", good.replace("type=cache", "type=tmpfs"))


def probe(folder, build):
    """Write the programs of a build of the check c0ffee, with this folder in place of theirs; return the Dockerfile."""
    text = "FROM x\nENV PYTHONPATH=/p\nRUN a\nRUN <<EOF\nb\nEOF\nUSER 1000\n"
    (folder / "Dockerfile").write_text(text)
    answer = dockerfile_rules.Answer(il.read_dockerfile(text), folder, [])
    probed = dockerfile_rules.with_cache_probe(answer, f"c0ffee-{build}")
    for program in (folder / "imagelab-hook" / name for name in ("sitecustomize.py", "uv")):
        program.write_text(program.read_text().replace("/imagelab-hook", str(folder / "imagelab-hook")))
    return probed


def test_every_run_has_the_probe(tmp_path):
    read = il.read_dockerfile(probe(tmp_path, 0)).instructions
    runs = read.index[read["instruction"] == "RUN"]
    assert (read.loc[runs[::2] - 1, "arguments"] == "imagelab-hook /imagelab-hook").all()
    assert (
        len(runs) == 4
        and (read.loc[runs[1::2], "arguments"] == "cat /imagelab-hook/printed/* 2> /dev/null || true").all()
    )
    assert read.loc[runs[::2] - 2, "expanded"].str.contains("PYTHONPATH=/imagelab-hook.*:/p ").all()


@pytest.mark.parametrize(
    ("command", "folder"),
    [
        ("python -m pip install --no-index nothing", "home/.cache/pip"),
        ("PIP_CACHE_DIR=$PWD/d python -m pip install --no-index nothing", "d"),
        ("set -a; PIP_CACHE_DIR=$PWD/d; python -m pip wheel --no-index nothing", "d"),
        ("export XDG_CACHE_HOME=$PWD/d; sh -c 'python -m pip -q install --no-index nothing > /dev/null'", "d/pip"),
        ("python -m pip --cache-dir $PWD/d install --no-index nothing", "d"),
        ("python -m pip install --cache-dir=$PWD/d --no-index nothing", "d"),
        ("python -m pip config set global.cache-dir $PWD/d; python -m pip download --no-index nothing", "d"),
        ("python -m pip install --no-cache-dir --no-index nothing", None),
        ("PIP_NO_CACHE_DIR=1 python -m pip install --no-index nothing", None),
        ("python -m pip list", None),
        ("echo pip install", None),
        ("uv pip install x", "u"),
        ("UV_CACHE_DIR=$PWD/d uv sync", "d"),
        ("env uv --cache-dir $PWD/d pip install x", "d"),
        ("uv pip install --no-cache x", None),
        ("uv venv", None),
    ],
)
def test_pip_and_uv_name_their_folder_and_a_later_build_finds_the_mark(command, folder, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "uv").write_text('#!/bin/sh\n[ "$1" = cache ] && echo "${UV_CACHE_DIR:-$PWD/u}"\n')
    (tmp_path / "bin" / "uv").chmod(0o755)
    hook = tmp_path / "imagelab-hook"
    path = f"{hook}:{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {"PATH": path, "PYTHONPATH": str(hook), "HOME": str(tmp_path / "home")}
    for build, kept in enumerate(("", "kept")):
        probe(tmp_path, build)
        subprocess.run(["sh", "-c", command], cwd=tmp_path, env=env, capture_output=True, timeout=60)
        wanted = [f"imagelab-cache|{tmp_path / folder}|usable|{kept}|\n"] if folder else []
        assert [path.read_text() for path in (hook / "printed").glob(f"{build}-*")] == wanted
    marks = {path.parent.name for path in tmp_path.rglob("kept")}
    assert marks == ({"imagelab-c0ffee"} if folder else set())


@pytest.mark.parametrize(("user", "found"), [("1000", set()), ("${U}", {"other_user"}), ("0:0", {"other_user"})])
def test_users(user, found):
    text = f"FROM python:3.10-slim\nARG U=root\nCOPY --chown=1000 src /app\nUSER {user}\n"
    assert faults("non-root", text) == found


def test_a_typo_gets_a_sentence_that_helps(tmp_path):
    def message(text):
        checked = exercises.check("fix-dockerfile", dockerfile=text, engine=False)
        assert not checked["passed"].any()
        return checked["message"].iloc[0]

    assert "Leave out the Markdown fence" in message(f"```dockerfile\n{GOOD}```\n")
    assert "line break is missing before RUN" in message("FROM python:3.10-slim RUN pip install flask\n")
    assert "line break is missing before COPY" in message("FROM x\nWORKDIR /app COPY src .\n")
    assert "Leave out what belongs to the shell (cat)" in message("cat > Dockerfile <<'EOF'\nFROM x\nEOF\n")
    assert "line 2" in message("FROM x\nimport sys\n")
    for text in ("\n", "ARG A\n", "# nothing\n", "FROM\n", "NONSENSE\n", "FROM b AS b\nFROM b AS b\nFROM B\n"):
        with contextlib.suppress(ImagelabError):
            assert message(text)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ('ERROR: failed to calculate checksum of ref x::y: "/requirement.txt": not found', "Do you mean requirements.txt?"),
        ('ERROR: failed to calculate checksum of ref x::y: "/app": not found', "It has Dockerfile, requirements.txt, src."),
        ("ERROR: dockerfile parse error on line 3: unknown instruction: import", "line 3 starts with import"),
        ('ERROR: process "x" did not complete successfully: exit code: 2', "exit code: 2"),
        ('#5 0.2 error: no space\nERROR: process "x" did not complete successfully: exit code: 2', "build: error: no space"),
        ("#5 1.2 ERROR: No version satisfies the requirement COPY (from versions: none)", "missing before COPY"),
        ("#5 1.2 error: externally-managed-environment", "python3 -m venv"),
        ("", "no message"),
    ],
)  # fmt: skip
def test_a_build_error_is_explained(log, words):
    assert words in explain(log, ["Dockerfile", "requirements.txt", "src"])


def test_bad_input_is_named():
    with pytest.raises(ImagelabError, match=r"Similar names: .*fix-dockerfile"):
        exercises.check("fix-dockerfil", dockerfile="FROM x\n")
    with pytest.raises(ImagelabError, match="asks for a Dockerfile"):
        exercises.check("fix-dockerfile", 3)
    with pytest.raises(ImagelabError, match="asks for a value"):
        exercises.check("find-waste", dockerfile="FROM x\n")
    for step in (3, 0, "first"):
        with pytest.raises(ImagelabError, match="hints 1 to 2"):
            exercises.hint("find-waste", step)


def test_without_docker_the_model_judges(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    checked = exercises.check("non-root", dockerfile=exercises.solution("non-root"))
    assert exercises.state(checked) == "judged without building"
    with pytest.raises(ImagelabError, match="docker cannot be run"):
        exercises.check("non-root", dockerfile=exercises.solution("non-root"), engine=True)


def test_progress_counts_attempts_hints_and_points(monkeypatch):
    monkeypatch.setattr(exercises, "_attempts", {})
    monkeypatch.setattr(exercises, "_hints", {})
    assert exercises.progress()["state"].eq("open").all() and exercises.score().startswith("0.0 of")
    exercises.hint("find-waste", 1)
    exercises.check("find-waste", "25.2 MB")
    exercises.check("find-waste", "12.6 MB")
    exercises.check("late-cleanup", None)
    exercises.check("non-root", dockerfile=exercises.start("non-root"), engine=False)
    rows = exercises.progress().set_index("exercise")
    assert rows.loc["find-waste", ["state", "points", "attempts", "hints"]].tolist() == ["passed", 1.0, 2, 1]
    assert rows.loc["late-cleanup", "state"] == "open" and rows.loc["non-root", "state"] == "tried"
    assert exercises.score() == f"1.0 of {len(rows)} points"


def test_options_as_docker_takes_them(monkeypatch):
    monkeypatch.setenv("BASE", "python:3.10")
    asked = answers.data()["asked"]["small_base"]
    for options, passed in (("--build-arg=BASE=python:3.10-alpine", True), (["--build-arg=BASE"], False)):
        checked = exercises.check("optimise-size", dockerfile=GOOD, engine=False, options=options)
        assert checked.set_index("asked").loc[asked, "passed"] == passed


@pytest.fixture(scope="module")
def with_python(debian):
    """The modern engine with a stand-in for python:3.10-slim, whose system Python may be changed as the official one's."""
    command = [sys.executable, data_path("make.py"), "--local", "--no-record", "non-root"]
    subprocess.run(command, env=debian.env, check=True, capture_output=True)
    settings = "UV_BREAK_SYSTEM_PACKAGES=1 UV_SYSTEM_CERTS=1 UV_NATIVE_TLS=1"
    base = f"FROM localhost/python:slim\nENV {settings} SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt\n"
    debian.docker("build", "-q", "-t", "course/python:slim", "-", input=base)
    return debian


@pytest.fixture
def on_engine(with_python, monkeypatch):
    for key, value in with_python.env.items():
        monkeypatch.setenv(key, value)
    return ["--network=host", "--build-arg=BASE=course/python:slim"]


# All of them take hours on a small machine: EVERY_HAND_IN=1 builds the rest too.
BUILT = [
    answer
    for number, answer in enumerate(HANDED_IN)
    if os.environ.get("EVERY_HAND_IN")
    or "-field-" in str(answer.id)
    or (answer.values[0] == "non-root" and number % 3 == 0)
]


@pytest.mark.engine
@pytest.mark.parametrize(("name", "case"), BUILT)
def test_what_was_built_is_judged(name, case, on_engine, with_python, monkeypatch):
    calls = []
    docker = trial.docker
    monkeypatch.setattr(trial, "docker", lambda *words, **more: calls.extend(words) or docker(*words, **more))
    checked = exercises.check(name, dockerfile=case["dockerfile"], options=on_engine)
    assert checked["passed"].all() == case.get("passes", False), checked.to_string()
    if "passes" not in case:
        assert set(checked["judged_by"]) == {exercises.NOT_JUDGED}
    made = set(re.findall(r"imagelab-exercise[:-][0-9a-f]{12}[\w-]*", " ".join(calls)))
    images = with_python.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert made or not case.get("passes")  # a fence or a missing file is refused before the build
    assert made.isdisjoint([*images, *with_python.docker("ps", "-a", "--format", "{{.Names}}").split()])


WRONG = {
    "optimise-size": (("COPY src src", "COPY src elsewhere"), "answers as the start"),
    "cache-mount": (("pip install -r", "pip install --no-cache-dir -r"), "cache mount"),
    "non-root": (("USER appuser", "USER root"), "not run as root"),
    "fix-dockerfile": (("COPY src src", "COPY source src"), "It builds"),
}  # fmt: skip


@pytest.mark.engine
@pytest.mark.parametrize("name", DOCKERFILES)
def test_on_an_engine_a_solution_passes_and_a_wrong_answer_does_not(name, on_engine):
    good, (change, asked) = exercises.solution(name), WRONG[name]
    checked = exercises.check(name, dockerfile=good, options=on_engine)
    assert checked["passed"].all() and set(checked["judged_by"]) == {"engine"}, checked.to_string()
    failed = exercises.check(name, dockerfile=good.replace(*change), options=on_engine).query("not passed")
    assert failed["asked"].str.contains(asked).any() and (failed["message"] != "Right.").all()


@pytest.mark.engine
def test_a_build_that_takes_too_long_is_stopped(on_engine):
    text = exercises.solution("non-root") + "RUN sleep 60\n"
    checked = exercises.check("non-root", dockerfile=text, options=on_engine, limit=10)
    assert not checked["passed"].any() and re.search("more than 10 seconds", checked["message"].iloc[0])


@pytest.mark.engine
def test_the_waste_is_the_same_on_an_engine(modern, monkeypatch):
    """Exercise 2, built: the answer does not depend on the recording."""
    for key, value in modern.env.items():
        monkeypatch.setenv(key, value)
    command = [sys.executable, data_path("make.py"), "--local", "--no-record", "chmod-in-layer"]
    subprocess.run(command, env=modern.env, check=True, capture_output=True)
    wasted = il.waste("docker-daemon:recipe/chmod-in-layer:before", digests=True)["bytes"].sum()
    assert exercises.check("find-waste", int(wasted))["passed"].all()
