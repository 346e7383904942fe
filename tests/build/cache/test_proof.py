"""The cache's model against BuildKit: every case is built twice, and the second build's log is compared step by step."""

from __future__ import annotations

import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from imagelab.build.cache.plan import plan_build
from imagelab.build.logs.read import read_build_log
from tests.build.cache.cache_cases import CASES, Case, generated

SEEDS = range(93)
MODERN = [*CASES, *(generated(seed) for seed in SEEDS)]
CLASSIC = [case for case in CASES if case.classic][::3]


def write(root: Path, case: Case, fresh: str, second: bool) -> None:
    files: dict[str, str | None] = {**case.files, "Dockerfile": case.dockerfile}
    if second:
        files |= {**case.edit, "Dockerfile": case.dockerfile_after or case.dockerfile}
    root.mkdir(parents=True)
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is not None and text.startswith("-> "):
            path.symlink_to(text[3:])
        elif text is not None:
            path.write_text(text.replace("FRESH", fresh))
    for name, mode in case.modes.items() if second else ():
        (root / name).chmod(mode)


def build(engine, root: Path, case: Case, args: dict[str, str], network: str, log: Path) -> pd.DataFrame:
    secret = root.parent / "secret"
    secret.write_text(uuid.uuid4().hex)
    options = [option.replace("SECRET", str(secret)) for option in case.options]
    options += [part for key, value in args.items() for part in ("--build-arg", f"{key}={value}")]
    options += [part for key, value in case.contexts.items() for part in ("--build-context", f"{key}={root / value}")]
    options += ["--target", case.target] if case.target else []
    command = ["docker", "buildx", "build", "--progress=rawjson", "--output=type=cacheonly"]
    if engine.kind == "classic":
        command = ["docker", "build", "--progress=plain"]
    done = subprocess.run(
        [*command, f"--network={network}", *options, str(root)],
        env=engine.env | {"DOCKER_BUILDKIT": "1"},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()[-800:]
    log.write_bytes(done.stderr)
    return read_build_log(log)


def run(engine, case: Case, home: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The plan, and the second build's log."""
    # BuildKit reuses what it received from a directory of the same name; these names are used once
    fresh = uuid.uuid4().hex
    before, after = home / f"before-{fresh}", home / f"after-{fresh}"
    write(before, case, fresh, second=False)
    write(after, case, fresh, second=True)
    again = case.args if case.args_after is None else case.args_after
    options = {"args": case.args, "args_after": again, "target": case.target, "same_results": case.same_results}
    options |= {"network": case.network, "network_after": case.network_after}
    named = {
        name: {key: str(root / value) for key, value in case.contexts.items()}
        for name, root in (("contexts", before), ("contexts_after", after))
    }
    plan = plan_build(before, after=after, **options, **named)
    edits = [path for path, text in case.edit.items() if text is not None and path in case.files]
    if (
        not case.contexts
        and not case.modes
        and not case.dockerfile_after
        and edits == list(case.edit)
        and ".dockerignore" not in edits
    ):
        edited = [path for path in edits if case.edit[path] != case.files[path]]
        assert plan_build(before, edited, **options)["hit"].tolist() == plan["hit"].tolist()
    build(engine, before, case, case.args, case.network, home / "first.log")
    return plan, build(engine, after, case, again, case.network_after, home / "second.log")


def disagreements(built) -> list[str]:
    """Steps of which the plan says other than the log."""
    if isinstance(built, BaseException):
        raise built
    plan, log = built
    steps = log[log["step"].notna() & ~log["instruction"].isin(["FROM", "LINK"])]
    alone = plan["stage"].nunique() == 1
    seen = {(plan["stage"][0] if alone else row.stage, row.step): row.cached for row in steps.itertuples()}
    found = []
    for row in plan.itertuples():
        twins = plan[(plan["instruction"] == row.instruction) & (plan["arguments"] == row.arguments)]
        keys = [(row.stage, row.step), *zip(twins["stage"], twins["step"], strict=True)]
        actual = next((seen[key] for key in keys if key in seen), None)
        if actual != row.hit and row.certain:
            found.append(
                f"{row.stage} {row.step} {row.instruction} {row.arguments}: plan {row.hit} ({row.reason}), log {actual}"
            )
    return found


def run_all(engine, cases: list[Case], home: Path) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    with ThreadPoolExecutor(3) as pool:
        jobs = {case.name: pool.submit(run, engine, case, home / str(n)) for n, case in enumerate(cases)}
        return {name: job.exception() or job.result() for name, job in jobs.items()}


@pytest.fixture(scope="module")
def on_modern(modern, tmp_path_factory):
    return run_all(modern, MODERN, tmp_path_factory.mktemp("modern"))


@pytest.fixture(scope="module")
def on_classic(classic, tmp_path_factory):
    return run_all(classic, CLASSIC, tmp_path_factory.mktemp("classic"))


@pytest.mark.engine
@pytest.mark.parametrize("name", [case.name for case in MODERN])
def test_engine_28_does_what_the_plan_says(on_modern, name):
    assert disagreements(on_modern[name]) == []


@pytest.mark.engine
@pytest.mark.parametrize("name", [case.name for case in CLASSIC])
def test_20_10_does_what_the_plan_says(on_classic, name):
    assert disagreements(on_classic[name]) == []


@pytest.mark.engine
def test_reasons_are_never_empty(on_modern):
    plans = pd.concat([plan for plan, _ in on_modern.values()])
    assert len(plans) > 200
    assert plans["reason"].str.len().min() > 5
