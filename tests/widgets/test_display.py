"""Tables and text: sizes sort as bytes, unknown is empty, and nothing from an image is markup."""

import json
import re

import pandas as pd
import pytest

from imagelab.core import text
from imagelab.core.frames import format_bytes
from imagelab.widgets import display

HOSTILE = "<script>window.planted = 1</script>\x07\u202e\u2066\ud800" + "z" * 100_000


def rows(frame, **options):
    html = display.show(frame, **options).to_html()
    return json.loads(json.loads(re.search(r'"data_json": (".*?[^\\]")', html)[1])), html


@pytest.mark.parametrize("value", [HOSTILE, "a\nb", None, pd.NA, 7, "\ufeffx", "x" * 401])
def test_clean_text_is_one_short_visible_line(value):
    shown = text.clean(value)
    assert len(shown) < 500 and not text.UNSEEN.search(shown)
    shown.encode()
    assert not set("<>$\"'") & set(text.escape(value))


def test_bytes_sort_as_numbers_and_unknown_is_apart_from_zero():
    frame = pd.DataFrame({"reference": ["a", "b", "c"], "size": pd.array([1_000_000, None, 0], dtype="Int64")})
    data, html = rows(frame)
    assert data == [["a", 1_000_000.0], ["b", "___NaN___"], ["c", 0.0]]
    assert "MB" in html and "dt-right" in html


def test_text_is_escaped_modes_are_octal_flags_are_words():
    when = pd.to_datetime(["2026-01-02"], utc=True)
    path = pd.Series([HOSTILE], dtype="object")  # Arrow's text holds no lone surrogates
    frame = pd.DataFrame({"path": path, "mode": [0o4755], "visible": [True], "when": when})
    data, html = rows(frame, caption=HOSTILE)
    assert data[0][1:] == ["4755", "yes", "2026-01-02 00:00:00"]
    assert data[0][0].startswith("&lt;script&gt;") and "<script>window" not in html and len(html) < 20_000


def test_a_long_frame_says_how_much_of_it_is_shown():
    frame = pd.DataFrame({"n": range(5000)})
    data, html = rows(frame, rows=100)
    assert len(data) == 100 and "the first 100 of 5,000 rows" in html


def test_categories_keep_their_order():
    severity = pd.Categorical(["low", "high"], categories=["low", "medium", "high"], ordered=True)
    data, _ = rows(pd.DataFrame({"severity": severity}))
    assert data == [[1], [3]]


def test_an_empty_frame_is_a_table_too():
    assert "<table" in display.show(pd.DataFrame({"path": pd.Series(dtype="str")})).to_html()


def test_the_tables_code_comes_once_and_names_no_network(monkeypatch):
    monkeypatch.setattr(display, "_bundled", False)
    first = display.show(pd.DataFrame({"a": [1]}))._repr_mimebundle_()["text/html"]
    second = display.show(pd.DataFrame({"a": [1]}))._repr_mimebundle_()["text/html"]
    assert len(first) > 500_000 > len(second)
    assert not re.search(r'(src|href)="?https?:', second)


def test_numbers_are_in_one_line():
    _, options = display.table_options(pd.DataFrame({"size": [1], "layers": [2]}))
    classes = {place: one["className"] for one in options["columnDefs"] for place in one["targets"]}
    assert all("dt-nowrap" in classes[place].split() for place in (0, 1))


@pytest.mark.browser
def test_a_tables_bytes_read_as_everywhere_else(chromium):
    edges = [edge * 10**power for power in range(12) for edge in (1, 9.994, 9.995, 9.996, 1.015, 1.02, 2.125, 2.135)]
    sizes = [0, 0.5, 12.5, 102_000, 77_801_234, 999_499, 999_500, 10**14, *map(int, edges), *range(0, 10_000, 5)]
    sizes += [-size for size in sizes]
    page = chromium.new_page()
    shown = page.evaluate(f"sizes => sizes.map(size => ({display._BYTES})(size, 'display'))", sizes)
    page.close()
    assert shown == [format_bytes(size) for size in sizes]
