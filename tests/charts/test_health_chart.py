"""The picture of containers' health: what an engine says, second by second."""

import pandas as pd
import pytest

import imagelab as il
from imagelab import charts
from imagelab.core.errors import ImagelabError


@pytest.fixture(scope="module")
def recorded():
    return [pd.read_csv(il.data_path(f"runs/{name}.csv"), keep_default_na=False) for name in ("states", "checks")]


def test_spans_and_checks_are_all_there(recorded):
    states, checks = recorded
    figure = charts.health_timeline(states, checks)
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert sum(map(sum, (trace.x for trace in bars))) == pytest.approx((states["to"] - states["from"]).sum())
    marks = {trace.name: len(trace.x) for trace in figure.data if trace.type == "scatter"}
    assert marks == {"check passed": (checks["exit_code"] == 0).sum(), "check failed": (checks["exit_code"] != 0).sum()}
    assert "1 of 3 containers" in figure.layout.title.text
    assert list(figure.layout.yaxis.categoryarray) == list(states["image"].unique())[::-1]


def test_text_is_safe_and_nothing_is_said(recorded):
    states, checks = recorded
    hostile = charts.health_timeline(states.assign(image="<script>"), checks.assign(image="<script>", output="<img>"))
    assert "<script" not in hostile.to_json() and "<img" not in hostile.to_json()
    assert charts.health_timeline(states[:0], checks[:0]).layout.title.text
    assert charts.health_timeline(states[states["program"] == "answers"], checks[:0]).data
    with pytest.raises(ImagelabError, match="this one has no column health"):
        charts.health_timeline(states.drop(columns="health"), checks)
