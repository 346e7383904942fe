"""The rows of builds: cached and critical steps, causes, what the log recorded, predicted builds."""

from __future__ import annotations

import base64
import json

import pandas as pd
import pytest

import imagelab as il
from imagelab.build.cache.plan import plan_build
from imagelab.build.logs.read import read_build_log
from imagelab.widgets.steps import TASKS, BuildSteps
from tests.conftest import ROOT

LOG = """#1 [internal] load build context
#1 DONE 0.2s

#2 [<b>one</b> 2/3] COPY a /
#2 CACHED

#3 [<b>one</b> 3/3] RUN make
#3 0.512 compiling <i>main</i>
#3 1.204 export TOKEN=ghp_16C7e42F292c6912E7710c838347Ae178B4a
#3 DONE 4.0s

#4 [two 2/2] RUN other
#4 DONE 1.0s
"""


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log"
    path.write_text(LOG)
    return read_build_log(path)


def test_a_row_a_step_with_what_its_command_printed(log):
    data = BuildSteps(log).data
    (build,) = data["builds"]
    assert [row["number"] for row in build["steps"]] == [TASKS, "<b>one</b> 2", "<b>one</b> 3", "two 2"]
    assert [row["start"] for row in build["steps"]] == [0, 0, 0, 0]  # no timestamps: stages begin at 0
    assert [row["cached"] for row in build["steps"]] == [False, True, False, False]
    assert [row["critical"] for row in build["steps"]] == [False, False, True, False]
    assert build["title"] == (
        "This build took 4.0 s, 5.2 s in all steps and tasks; 1 of 3 steps from the cache; 4.0 s in RUN make"
    )
    assert "compiling <i>main</i>" in build["steps"][2]["log"] and "ghp_16C7" not in build["steps"][2]["log"]
    assert "no timestamps" in data["note"]
    assert (
        "<b>one" not in BuildSteps(log)._repr_html_().replace("\\u003c", "&lt;").partition('<script type="module"')[0]
    )


def test_cached_steps_stand_in_the_order_of_the_dockerfile(tmp_path):
    path = tmp_path / "log"
    names = ("[3/4] RUN b", "[2/4] COPY a /", "[1/4] FROM x")
    path.write_text("\n".join(f"#{place} {name}\n#{place} CACHED\n" for place, name in enumerate(names, 1)))
    (build,) = BuildSteps(read_build_log(path)).data["builds"]
    assert [step["number"] for step in build["steps"]] == ["2", "3"]
    assert "; 2 of 2 steps from the cache" in build["title"]  # FROM is not judged


def test_output_of_raw_logs_is_decoded_and_bounded(tmp_path):
    vertex = {
        "digest": "sha256:a",
        "name": "[2/2] RUN make",
        "started": "2026-01-01T00:00:00Z",
        "completed": "2026-01-01T00:00:02Z",
    }
    lines = [
        {"vertex": "sha256:a", "data": base64.b64encode(f"line {number}\n".encode() * 200).decode()}
        for number in range(99)
    ]
    damaged = {"vertex": "sha256:a", "data": "%%%"}
    path = tmp_path / "log.rawjson"
    path.write_text("\n".join(json.dumps(event) for event in ({"vertexes": [vertex]}, {"logs": [*lines, damaged]})))
    output = read_build_log(path)["output"].iloc[0]
    assert output.endswith("line 98\n") and len(output) == 4000


def test_tasks_that_take_no_time_are_left_out_and_builds_without_times_show_nothing(log):
    short = log.assign(duration=log["duration"].where(log["step"].notna(), 0.01))
    assert len(BuildSteps(short).data["builds"][0]["steps"]) == 3
    empty = BuildSteps(log.assign(duration=pd.NA))
    assert empty.data["builds"] == [] and "data-empty" in empty._repr_html_()


def test_the_last_build_shows_the_cause_of_each_first_miss():
    folder = il.data_path("build/explained")
    sides = [folder / f"argument-{side}.rawjson.gz" for side in ("before", "after")]
    files = [[log, log.with_name(log.name.replace("rawjson", "provenance.json"))] for log in sides]
    explained = il.explain_build(*files)
    before, after = BuildSteps(
        dict(zip(("before", "after"), map(il.read_build_log, sides), strict=True)), explained
    ).data["builds"]
    assert not any(row["cause"] for row in before["steps"]) and "lost" not in before["title"]
    lost = sum(
        row["seconds"] for row in after["steps"] if row["key"][1] and not row["cached"] and row["kind"] != "FROM"
    )
    assert after["title"].endswith(f"; {lost:.1f} s lost in steps that ran again") and lost > 0
    causes = [row["cause"].partition(":")[0] for row in after["steps"] if row["cause"]]
    assert causes == explained.loc[explained["cause"].notna() & explained["cause"].ne("parent"), "cause"].to_list()


def test_a_build_without_seconds_has_no_picture_and_no_other_build_gets_its_causes(log):
    untimed = log.assign(duration=pd.NA)
    explained = il.explain_build(log, untimed)
    (before,) = BuildSteps({"before": log, "after": untimed}, explained).data["builds"]
    assert "lost" not in before["title"] and not any(row["cause"] for row in before["steps"])


def test_the_chart_and_the_table_of_a_build_have_the_same_seconds():
    for name in ("bake.plain", "bake.rawjson.gz"):
        log = il.read_build_log(ROOT / "tests/data/build" / name)
        (build,) = BuildSteps(log).data["builds"]
        cost = il.build_cost(log)
        assert f"took {cost['elapsed']:.1f} s, {cost['seconds']:.1f} s in all steps and tasks" in build["title"]
        assert max(row["start"] + row["seconds"] for row in build["steps"]) == pytest.approx(cost["elapsed"], abs=0.05)


def test_predicted_builds_are_shown_one_at_a_time(tmp_path):
    (tmp_path / "Dockerfile").write_text(
        "FROM x AS one\nCOPY a.py /\nRUN make '<b>'\nFROM x\nCOPY --from=one /a.py /\n"
    )
    (tmp_path / "a.py").write_text("x")
    log = tmp_path / "log"
    log.write_text("#1 [one 2/3] COPY a.py /\n#1 DONE 1.0s\n\n#2 [one 3/3] RUN make\n#2 DONE 4.0s\n")
    plans = {
        name: plan_build(tmp_path, changes, log=log) for name, changes in (("nothing", []), ("edit a.py", ["a.py"]))
    }
    data = BuildSteps.planned(plans).data
    assert data["choose"] and [build["name"] for build in data["builds"]] == ["nothing", "edit a.py"]
    nothing, edit = data["builds"]
    assert nothing["title"] == "nothing: 0 of 3 steps run again, 0.0 s; 5.0 s come from the cache"
    assert edit["title"].startswith("edit a.py: 3 of 3 steps run again, 5.0 s")
    assert [row["start"] for row in edit["steps"]] == [0, 1, 5]
    assert all(row["cause"] for row in edit["steps"]) and not any(row["cause"] for row in nothing["steps"])
