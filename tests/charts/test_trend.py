"""Builds over time: a panel per measure, gaps where nothing is known."""

import pandas as pd
import pytest

from imagelab import charts
from imagelab.core.errors import ImagelabError

BUILDS = pd.DataFrame(
    {
        "reference": ["v1", "v2", "<img src=x onerror=alert(1)>"],
        "size": pd.array([1_000_000, 1_500_000, 500_000], dtype="Int64"),
        "wasted": pd.array([10_000, None, 0], dtype="Int64"),
        "layers": [3, 4, 2],
        "high": pd.array([None, 2, 1], dtype="Int64"),
    }
)


def test_the_trend_says_from_where_to_where():
    figure = charts.trend(BUILDS)
    assert "−500 kB (−50%) in 3 builds: from 1 MB to 500 kB" in figure.layout.title.text.replace("<br>", " ")
    size, wasted, layers, high = figure.data
    assert list(size.y) == [1e6, 1.5e6, 5e5] and list(size.text) == ["1 MB", "1.5 MB", "500 kB"]
    assert pd.isna(wasted.y[1]) and wasted.text[1] == "" and list(layers.y) == [3, 4, 2]
    assert high.name == "high" and pd.isna(high.y[0]) and high.y[1] == 2
    assert {note.text for note in figure.layout.annotations} >= {"wasted", "layers", "findings"}
    assert "<img" not in figure.to_json().replace("\\u003c", "<")


def test_one_build_is_no_trend():
    assert "needs two builds" in charts.trend(BUILDS.head(1)).layout.title.text
    with pytest.raises(ImagelabError, match="reference"):
        charts.trend(BUILDS.drop(columns="reference"))
