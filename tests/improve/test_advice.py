"""Advice on Dockerfiles: the rules, and pairs of Dockerfiles with the advice applied by hand, both built."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import tarfile
import uuid
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from imagelab.build.context import build_context
from imagelab.build.logs.read import read_build_log
from imagelab.core.errors import DockerfileError
from imagelab.improve.advice import BUILD_ADVICE_COLUMNS, advise_build
from imagelab.improve.edits import read_project
from imagelab.improve.rules import NAMES, Walk
from tests.conftest import ROOT

DATA = ROOT / "tests" / "data" / "build_advice"
PAIRS = sorted(path.parent for path in DATA.glob("*/case.json"))


def case_of(pair: Path) -> dict:
    return json.loads((pair / "case.json").read_text())


def make_context(root: Path, case: dict, version: str, edited: bool = False) -> Path:
    files = case["context"] | (case.get("context_after", {}) if version == "after" else {})
    if edited:
        files |= case["edit"] | (case.get("edit_after", {}) if version == "after" else {})
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name, size in case.get("large", {}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(bytes(size))
    root.mkdir(exist_ok=True)
    return root


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_the_rule_is_found_and_following_it_ends_it(pair, tmp_path):
    case = case_of(pair)
    for version, found in (("before", True), ("after", False)):
        context = make_context(tmp_path / version, case, version)
        advice = advise_build(pair / f"{version}.Dockerfile", context)
        assert (case["rule"] in set(advice["rule"])) is found
        assert advice.dtypes.astype(str).to_dict() == BUILD_ADVICE_COLUMNS
    before = advise_build(pair / "before.Dockerfile", tmp_path / "before").set_index("rule")
    ignore = next((path.read_text() for path in pair.glob("*.dockerignore")), None)
    if case["rule"] in NAMES:
        walk = Walk(read_project(tmp_path / "before", pair / "before.Dockerfile"), only=[case["rule"]])
        for edit, *_ in walk:
            walk.project = walk.project.apply(edit)
        assert walk.project.text == (pair / "after.Dockerfile").read_text()
        assert walk.project.ignore_text == ignore
    elif case["rule"] not in ("parallel-stages", "early-argument"):  # these say where the lines go
        written = (pair / "after.Dockerfile").read_text() + (ignore or "")
        assert set(before.loc[[case["rule"]], "suggestion"].iloc[0].splitlines()) <= set(written.splitlines())


def build(engine, dockerfile: Path, context: Path, args: list[str], log: Path) -> tuple[pd.DataFrame, dict[str, bytes]]:
    options = [part for arg in args for part in ("--build-arg", arg)]
    command = ["docker", "buildx", "build", "--network=none", "--progress=rawjson", "-o", "type=tar,dest=-", *options]
    done = subprocess.run([*command, "-f", str(dockerfile), str(context)], env=engine.env, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-600:]
    log.write_bytes(done.stderr)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        contents = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}
    return read_build_log(log), contents


@pytest.fixture(scope="module")
def installers(modern):
    modern.docker("build", "-q", "--network=none", "-t", "localhost/imagelab-installers:test", str(DATA / "installers"))
    yield
    modern.docker("rmi", "-f", "localhost/imagelab-installers:test")


def downloads(log: Path) -> int:
    """How many downloads follow one another on the longest way through a build: what it waits for, without a clock."""
    own, inputs = Counter(), {}
    for event in (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")):
        inputs |= {vertex["digest"]: vertex.get("inputs") or [] for vertex in event.get("vertexes") or []}
        for output in event.get("logs") or []:
            own[output["vertex"]] += base64.b64decode(output["data"]).count(b"download ")

    def before(vertex: str) -> int:
        return own[vertex] + max(map(before, inputs.get(vertex, [])), default=0)

    return max(map(before, inputs))


@pytest.mark.engine
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_both_built_same_contents_and_less_to_wait_for(modern, installers, pair, tmp_path):
    case, again, waits, contents = case_of(pair), {}, {}, {}
    for version in ("before", "after"):
        fresh = f"{version}-{uuid.uuid4().hex}"
        dockerfile = tmp_path / f"{fresh}.Dockerfile"
        # a cache folder of its own, so that no other run's downloads are there
        text = (pair / f"{version}.Dockerfile").read_text().replace("FRESH", fresh)
        dockerfile.write_text(text.replace("type=cache,", f"type=cache,id={fresh},"))
        for ignore in pair.glob(f"{version}.*ignore"):
            (tmp_path / f"{dockerfile.name}.dockerignore").write_text(ignore.read_text())
        context = make_context(tmp_path / fresh, case, version)
        _, contents[version] = build(modern, dockerfile, context, case.get("args", []), tmp_path / "log")
        make_context(context, case, version, edited=True)
        again[version], _ = build(modern, dockerfile, context, case.get("args_after", []), tmp_path / "log")
        waits[version] = downloads(tmp_path / "log")
        if case["rule"] == "unused-context":
            assert build_context(context, dockerfile)["ignored"].sum() == (version == "after")
    differs = tuple(path.lstrip("/") for path in case.get("differs", []))
    before, after = (
        {path: data for path, data in files.items() if not (differs and path.startswith(differs))}
        for files in contents.values()
    )
    assert before == after
    if "cached" in case:
        hits = [log.loc[log["name"].str.contains(case["cached"]), "cached"].iloc[0] for log in again.values()]
        assert hits == [False, True]
    elif case.get("faster", True):
        assert waits["after"] < waits["before"]


def test_hadolint_joins_by_line(tmp_path, monkeypatch):
    tool = tmp_path / "hadolint"
    finding = {
        "file": "Dockerfile",
        "line": 2,
        "column": 1,
        "level": "warning",
        "code": "DL3008",
        "message": "Pin versions",
    }
    other = finding | {"line": 3, "code": "DL3025", "message": "JSON"}
    tool.write_text(f"#!/bin/sh\necho '{json.dumps([finding, other])}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    advice = advise_build("FROM a@sha256:0\nRUN apt-get update && apt-get install -y gcc\nCMD run\n")
    assert advice.loc[advice["rule"] == "apt-cleanup", "hadolint"].tolist() == ["DL3008"]
    assert advice.loc[advice["rule"] == "DL3025", ["line", "what"]].to_numpy().tolist() == [[3, "JSON"]]
    monkeypatch.setenv("PATH", "/nowhere")
    assert advise_build("FROM a@sha256:0\nRUN apt-get update && apt-get install -y gcc\n")["hadolint"].isna().all()


def test_seconds_of_a_log_and_order(tmp_path):
    log = tmp_path / "log"
    log.write_text("#1 [2/4] COPY . .\n#1 DONE 0.1s\n\n#2 [3/4] RUN pip install -r r.txt\n#2 DONE 9.5s\n")
    advice = advise_build("FROM a:1\nCOPY . .\nRUN pip install -r r.txt\nRUN true\n", log=log)
    assert advice["seconds"].iloc[0] == 9.5
    assert {"copy-before-install", "cache-mount"} <= set(advice.loc[advice["seconds"] == 9.5, "rule"])
    log.write_text(log.read_text().replace("#2 [3/4]", "#2 [web made 3/4]"))  # a bake's target before the stage
    baked = advise_build("FROM a:1 AS made\nCOPY . .\nRUN pip install -r r.txt\nFROM made\nRUN true\n", log=log)
    assert baked["seconds"].iloc[0] == 9.5


def test_nothing_to_say_has_all_columns_and_secrets_are_masked(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    empty = advise_build("FROM scratch\nCOPY a.txt /\n")
    assert empty.empty and empty.dtypes.astype(str).to_dict() == BUILD_ADVICE_COLUMNS
    shown = advise_build("FROM a:1\nRUN pip install --index-url https://user:hunter2@host/ flask\n")
    assert "hunter2" not in shown.to_string()


def test_real_projects(corpus):
    total = 0
    for path in sorted((corpus / "dockerfiles/projects").iterdir()):
        if "hello-err" in path.name:
            with pytest.raises(DockerfileError):
                advise_build(path)
            continue
        total += len(advise_build(path))
    assert total > 80


def test_instructions_without_arguments_are_no_accident():
    for line in ("ARG", "COPY", "ADD", "RUN", "ENV", "USER", "WORKDIR", "RUN pip install -r reqs/"):
        assert set(advise_build(f"FROM a\n{line}\n")["rule"]) >= {"unpinned-base"}


def test_a_dockerfile_or_a_context_is_needed():
    with pytest.raises(DockerfileError, match="expected a Dockerfile or a build context"):
        advise_build()


def test_the_seconds_of_a_stage_that_stands_alone(tmp_path):
    for name, shown in (("FROM a", ""), ("FROM a AS build", "build "), ("FROM a AS build", "")):
        log = tmp_path / "log"
        log.write_text(f"#1 [{shown}2/2] RUN pip install x\n#1 DONE 3.0s\n")
        found = advise_build(f"{name}\nRUN pip install x\n", log=log).set_index("rule")
        assert found.loc["cache-mount", "seconds"] == 3.0
