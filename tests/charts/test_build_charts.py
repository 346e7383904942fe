"""Charts of builds: lanes, hollow and outlined bars, hits and misses, the context's area."""

from __future__ import annotations

import pandas as pd
import pytest

import imagelab as il
from imagelab.build.cache.plan import plan_build
from imagelab.build.context import build_context
from imagelab.build.logs.read import read_build_log
from imagelab.charts.build import CRITICAL, OWN_WORK, build_gantt, context_treemap, rebuild_gantt, stage_graph
from imagelab.charts.theme import INSTRUCTION_COLOURS

LOG = """#1 [internal] load build context
#1 DONE 0.2s

#2 [<b>one</b> 2/3] COPY a /
#2 CACHED

#3 [<b>one</b> 3/3] RUN make
#3 DONE 4.0s

#4 [two 2/2] RUN other
#4 DONE 1.0s
"""


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log"
    path.write_text(LOG)
    return read_build_log(path)


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "project"
    (root / "big").mkdir(parents=True)
    (root / "big/data").write_bytes(bytes(9000))
    (root / "a.py").write_bytes(bytes(1000))
    (root / ".dockerignore").write_text("big\n")
    (root / "Dockerfile").write_text("FROM x AS one\nCOPY a.py /\nRUN make '<b>'\nFROM x\nCOPY --from=one /a.py /\n")
    return root


def test_gantt_lanes_hollow_and_critical(log):
    figure = build_gantt(log)
    bars = figure.data[0]
    assert list(bars.y) == [OWN_WORK, "&lt;b&gt;one&lt;/b&gt;", "&lt;b&gt;one&lt;/b&gt;", "two"]
    assert list(bars.base) == [0, 0, 0, 0]  # no timestamps: lanes begin at 0
    assert bars.marker.color[1] == "rgba(0,0,0,0)" and bars.marker.color[2] == INSTRUCTION_COLOURS["RUN"]
    assert [colour == CRITICAL for colour in bars.marker.line.color] == [False, False, True, False]
    assert "took 4.0 s, 1 step cached" in figure.layout.title.text
    assert "no timestamps" in figure.layout.title.subtitle.text
    assert "<b>one</b>" not in "".join(bars.hovertext).replace("<b>[", "")


def test_two_builds_share_an_axis(log):
    figure = build_gantt({"before": log, "after": log})
    assert [trace.xaxis for trace in figure.data[:2]] == ["x", "x2"]
    assert figure.layout.xaxis.matches == "x2"
    assert "before took" in figure.layout.title.text and "after took" in figure.layout.title.text


def test_nothing_to_draw(log):
    assert "no durations" in build_gantt(log.assign(duration=pd.NA)).layout.title.text
    assert "no steps" in stage_graph(plan_of_nothing()).layout.title.text


def plan_of_nothing():
    from imagelab.build.cache.plan import PLAN_COLUMNS
    from imagelab.core.frames import make_frame

    return make_frame([], PLAN_COLUMNS)


def test_stage_graph_tells_hits_from_misses(project):
    (project / "Dockerfile").write_text((project / "Dockerfile").read_text() + "RUN '<i>'\n")
    figure = stage_graph(plan_build(project, ["Dockerfile:3"]))
    hits, misses = figure.data[1:3]
    assert (hits.marker.symbol, misses.marker.symbol) == ("circle-open", "square")
    assert len(hits.x) + len(misses.x) == 4 and len(misses.x) >= 1
    assert "<i>" not in "".join(misses.hovertext) + "".join(hits.hovertext) + "".join(hits.text) + "".join(misses.text)


def test_treemap_adds_up_and_folds(project):
    figure = context_treemap(build_context(project))
    tree = figure.data[0]
    sizes = dict(zip(tree.labels, tree.values, strict=True))
    total = sum(path.stat().st_size for path in project.rglob("*") if path.is_file())
    assert sizes["context"] == total
    assert sizes["big"] == 9000
    top = sum(size for size, parent in zip(tree.values, tree.parents, strict=True) if parent == tree.ids[0])
    assert top == total
    assert ".dockerignore excludes" in figure.layout.title.text
    empty = project / "empty"
    empty.mkdir()
    assert "is empty" in context_treemap(build_context(empty)).layout.title.text


def test_a_rebuild_marks_the_first_misses_with_their_cause():
    folder = il.data_path("build/explained")
    before, after = (il.read_build_log(folder / f"argument-{side}.rawjson.gz") for side in ("before", "after"))
    files = [
        [folder / f"argument-{side}.{kind}" for kind in ("rawjson.gz", "provenance.json.gz")]
        for side in ("before", "after")
    ]
    explained = il.explain_build(*files)
    figure = rebuild_gantt(explained, before, after)
    marks = [note.text for note in figure.layout.annotations if note.text in ("argument", "stage result", "parent")]
    assert sorted(marks) == ["argument", "stage result"]
    lost = explained.loc[~explained["hit"], "seconds"].sum()
    assert f"{lost:.1f} s in steps that ran again" in figure.layout.title.text
    lanes = {lane for trace in figure.data if trace.type == "bar" and trace.y is not None for lane in trace.y}
    assert any("builder 3 RUN" in str(lane) for lane in lanes) and not any("FROM" in str(lane) for lane in lanes)
    assert "no steps" in rebuild_gantt(explained, before.assign(step=pd.NA), after).layout.title.text
