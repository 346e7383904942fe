"""Plans without an engine: reasons, prices, choices, errors."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagelab.build.cache.plan import PLAN_COLUMNS, plan_build, plan_cost
from imagelab.build.logs.cost import critical_steps
from imagelab.build.logs.read import read_build_log
from imagelab.core.errors import DockerfileError, ImagelabError

STAGES = """FROM busybox AS docs
COPY docs /docs
RUN make docs
FROM busybox AS app
ARG MODE=fast
COPY app.py /
RUN make app
FROM busybox AS unneeded
RUN make unneeded
FROM busybox
WORKDIR /srv
COPY --from=docs /docs .
COPY --from=app /app.py .
RUN finish
"""
LOG = """#1 [docs 2/3] COPY docs /docs
#1 DONE 0.1s

#2 [docs 3/3] RUN make docs
#2 DONE 8.0s

#3 [app 2/3] COPY app.py /
#3 DONE 0.1s

#4 [app 3/3] RUN make app
#4 DONE 3.0s

#5 [stage-3 2/5] WORKDIR /srv
#5 CACHED

#6 [stage-3 5/5] RUN finish
#6 DONE 1.0s
"""


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "project"
    (root / "docs").mkdir(parents=True)
    (root / "docs/index.md").write_text("x")
    (root / "app.py").write_text("x")
    (root / "Dockerfile").write_text(STAGES)
    return root


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log"
    path.write_text(LOG)
    return path


def by_step(plan):
    return {f"{row.stage}:{row.step}": row for row in plan.itertuples()}


def test_reasons_name_what_changed(project):
    plan = by_step(plan_build(project, ["app.py"]))
    assert not any(name.startswith("unneeded") for name in plan)
    assert plan["app:2"].reason == "app.py changed"
    assert plan["app:3"].reason == "follows COPY in line 6, which runs again"
    assert plan["docs:3"].hit and plan["docs:3"].reason == "unchanged"
    assert plan["stage-3:4"].reason == "/app.py of stage app is rebuilt by RUN in line 7"
    assert plan["stage-3:3"].needs == "docs:3 stage-3:2"
    plan = by_step(plan_build(project, args_after={"MODE": "slow"}))
    assert plan["app:3"].reason == "ARG MODE changed"


def test_what_a_run_writes_again_is_the_callers_choice(project):
    (project / "Dockerfile").write_text(STAGES.replace("/app.py .", "/built ."))
    uncertain = by_step(plan_build(project, ["app.py"]))
    assert not uncertain["stage-3:4"].hit and not uncertain["stage-3:4"].certain
    assert "same_results" in uncertain["stage-3:4"].reason
    for choice in (True, ["app"]):
        chosen = by_step(plan_build(project, ["app.py"], same_results=choice))
        assert chosen["stage-3:4"].hit and chosen["stage-3:5"].hit and not chosen["stage-3:5"].certain
        assert "although that stage runs again" in chosen["stage-3:4"].reason
    with pytest.raises(DockerfileError, match="same_results contains nope"):
        plan_build(project, same_results=["nope"])


def test_prices_and_the_critical_path(project, log):
    plan = plan_build(project, ["docs", "app.py"], log=log)
    cost = plan_cost(plan)
    assert cost["again"] == pytest.approx(12.2) and cost["saved"] == 0 and cost["unpriced"] == 2
    assert cost["critical"] == pytest.approx(9.1)
    assert [f"{r.stage}:{r.step}" for r in plan[plan["critical"]].itertuples()] == [
        "docs:2", "docs:3", "stage-3:3", "stage-3:4", "stage-3:5"
    ]  # fmt: skip
    unchanged = plan_cost(plan_build(project, log=read_build_log(log)))
    assert unchanged["again"] == 0 and unchanged["saved"] == pytest.approx(12.2)
    assert plan_build(project)["seconds"].isna().all() and plan_build(project)["critical"].isna().all()
    assert plan.dtypes.astype(str).to_dict() == PLAN_COLUMNS


def test_a_log_in_which_nothing_ran_prices_nothing(project, log):
    cached = read_build_log(log).assign(status="cached")
    assert plan_build(project, ["docs"], log=cached)["seconds"].isna().all()


def test_a_step_whose_own_line_is_edited(project):
    plan = by_step(plan_build(project, ["Dockerfile:7"]))
    assert plan["app:2"].hit and plan["app:3"].reason == "its own line changed"
    with pytest.raises(DockerfileError, match="no step in line 5"):
        plan_build(project, ["Dockerfile:5"])


def test_what_is_wrong_is_named(project, tmp_path):
    with pytest.raises(DockerfileError, match=r"'ap.py' is not a path in .* app\.py"):
        plan_build(project, ["ap.py"])
    with pytest.raises(DockerfileError, match="changes and after exclude"):
        plan_build(project, ["app.py"], after=project)
    with pytest.raises(DockerfileError, match="neither in"):
        plan_build(project, dockerfile="Nope")
    (project / "Dockerfile").write_text("FROM a\nWORKDIR ${X:?gone}\n")
    with pytest.raises(DockerfileError, match=r"line 2: .*gone"):
        plan_build(project)
    (project / "Dockerfile").write_text("FROM a\nCOPY nothing /\n")
    plan = plan_build(project)
    assert not plan["hit"][0] and "no path of the context matches nothing" in plan["reason"][0]


def test_another_base_and_removed_files(project, tmp_path):
    other = tmp_path / "other"
    (other / "docs").mkdir(parents=True)
    (other / "app.py").write_text("x")
    (other / "Dockerfile").write_text(STAGES.replace("FROM busybox AS docs", "FROM debian AS docs"))
    plan = by_step(plan_build(project, after=other))
    assert "docs/index.md was removed" in plan["docs:2"].reason
    (other / "docs/index.md").write_text("x")
    plan = by_step(plan_build(project, after=other))
    assert plan["docs:2"].reason == "its base changed: debian"
    assert plan["app:3"].hit


def test_the_critical_path_of_a_log(log, tmp_path):
    frame = read_build_log(log)
    assert frame.loc[critical_steps(frame), "vertex"].tolist() == ["1", "2"]
    loop = [{"digest": a, "name": a, "inputs": [b], "started": "2024-01-01T00:00:00Z", "completed": "2024-01-01T00:00:02Z"}
            for a, b in (("a", "b"), ("b", "a"))]  # fmt: skip
    path = tmp_path / "loop"
    path.write_text(json.dumps({"vertexes": loop}))
    assert critical_steps(read_build_log(path)).any()


STEPS = ["RUN a", "RUN b", "COPY app.py /", "COPY docs /d/", "ENV A=1", "WORKDIR /w", "LABEL x=y", "COPY . /all"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(STEPS), min_size=1, max_size=8), st.sampled_from(["app.py", "docs/index.md", None]))
def test_nothing_changed_hits_all_and_a_miss_is_never_followed_by_a_hit(tmp_path_factory, steps, change):
    root = tmp_path_factory.mktemp("plan")
    (root / "docs").mkdir()
    (root / "docs/index.md").write_text("x")
    (root / "app.py").write_text("x")
    (root / "Dockerfile").write_text("FROM a\n" + "\n".join(steps) + "\nRUN end\n")
    hits = plan_build(root, [change] if change else [])["hit"].tolist()
    assert hits == sorted(hits, reverse=True)
    assert all(hits) or change


@pytest.mark.parametrize("line", ["COPY", "COPY x", "ADD x"])
def test_copies_without_a_destination_are_refused(tmp_path, line):
    (tmp_path / "Dockerfile").write_text(f"FROM busybox\n{line}\n")
    with pytest.raises(DockerfileError, match=r"line 2: .* requires at least two arguments"):
        plan_build(tmp_path)


def test_stages_that_share_a_name_are_refused(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM busybox AS b\nRUN x\nFROM b AS B\nRUN y\n")
    with pytest.raises(DockerfileError, match="several stages are named 'b'"):
        plan_build(tmp_path)


def test_frames_of_other_verbs_are_refused():
    for verb, maker in ((plan_cost, "plan_build"), (critical_steps, "read_build_log")):
        with pytest.raises(ImagelabError, match=rf"il\.{maker} gives"):
            verb(pd.DataFrame({"x": [1]}))


def test_changes_are_paths_too(project):
    pd.testing.assert_frame_equal(plan_build(project, [Path("app.py")]), plan_build(project, "app.py"))


@pytest.mark.parametrize(("command", "hit"), [("cat <<-X", False), ("<<-X", True)])
def test_a_documents_leading_tabs_count_where_the_shell_takes_them_off(tmp_path, command, hit):
    for name, tabs in (("one", "\t"), ("two", "\t\t")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile").write_text(f"FROM a\nRUN {command}\n{tabs}true\nX\n")
    assert plan_build(tmp_path / "one", after=tmp_path / "two")["hit"].tolist() == [hit]


@pytest.mark.parametrize(
    ("copy", "fails"), [("nothing", True), ("nothing*", False), ("--exclude=** docs", False), (".", False)]
)
def test_only_a_name_that_matches_nothing_makes_the_build_fail(project, copy, fails):
    (project / "Dockerfile").write_text(f"FROM a\nCOPY {copy} /d/\n")
    assert plan_build(project)["reason"].str.contains("the build fails here")[0] == fails


def test_a_named_context_has_only_its_own_dockerignore(tmp_path):
    for folder, text in (("before", "1"), ("after", "2")):
        root = tmp_path / folder
        (root / "lib").mkdir(parents=True)
        (root / "Dockerfile").write_text("FROM busybox\nCOPY --from=lib f /f\nCOPY --from=lib . /d/\n")
        for name, words in ("f", text), ("log", text), (".dockerignore", "log\n"), ("Dockerfile.dockerignore", "f\n"):
            (root / "lib" / name).write_text(words)
    contexts = {
        name: {"lib": str(tmp_path / folder / "lib")}
        for name, folder in (("contexts", "before"), ("contexts_after", "after"))
    }
    reasons = plan_build(tmp_path / "before", after=tmp_path / "after", **contexts)["reason"].tolist()
    assert reasons == ["lib:f changed", "lib:f changed"]


def test_an_unknown_name_in_from_may_be_a_named_context(project):
    (project / "Dockerfile").write_text("FROM a\nCOPY --from=assets f /d/\nRUN x\nCOPY --from=alpine:3 /f /d/\n")
    plan = plan_build(project)
    assert plan["hit"].all() and not plan["certain"].any()
    assert "whether assets is an image, or a named context" in plan["reason"][0]
    assert plan["reason"][1].endswith("it depends on a step before it")
    (project / "f").write_text("1")
    assert plan_build(project, contexts={"assets": str(project)})["certain"].all()


def test_a_change_that_keeps_size_and_time_may_not_be_noticed(project, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(project, other)
    times = (project / "app.py").stat()
    (other / "app.py").write_text("y" * times.st_size)
    os.utime(other / "app.py", ns=(times.st_atime_ns, times.st_mtime_ns))
    step = by_step(plan_build(project, after=other))["app:2"]
    assert not step.hit and not step.certain and "whether BuildKit notices the change of app.py" in step.reason
    os.utime(other / "app.py", ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert by_step(plan_build(project, after=other))["app:2"].certain


@pytest.mark.parametrize(
    ("syntax", "frontend", "error"),
    [
        ("", "1.19", "--parents needs Dockerfile frontend 1.20, not 1.19"),
        ("", "1.20", None),
        ("# syntax=docker/dockerfile:1.7\n", "1.20", "needs Dockerfile frontend 1.20, not 1.7"),
        ("# syntax=docker/dockerfile:1.7-labs\n", "1.19", None),
        ("# syntax=docker/dockerfile:1\n", "1.19", None),
    ],
)
def test_parents_depends_on_the_frontend(project, syntax, frontend, error):
    (project / "Dockerfile").write_text(syntax + "FROM a\nCOPY --parents docs/./**/*.md /d/\nRUN x\n")
    if error:
        with pytest.raises(DockerfileError, match=error):
            plan_build(project, frontend=frontend)
    else:
        assert not plan_build(project, ["docs/index.md"], frontend=frontend)["hit"].any()
        assert plan_build(project, ["app.py"], frontend=frontend)["hit"].all()
