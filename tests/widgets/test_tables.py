"""Tables and text: sizes sort as bytes, unknown is empty, and nothing from an image is markup."""

import json
import re

import pandas as pd
import pytest

from imagelab.core import text
from imagelab.core.frames import format_bytes
from imagelab.widgets.tables import PLAIN_ROWS, plain_html, show, table_data
from imagelab.widgets.view import MODULE, view_html

HOSTILE = "<script>window.planted = 1</script>\x07\u202e\u2066\ud800" + "z" * 100_000


def column(data, name):
    place = [column["name"] for column in data["columns"]].index(name)
    return data["columns"][place], [row[place] for row in data["rows"]]


@pytest.mark.parametrize("value", [HOSTILE, "a\nb", None, pd.NA, 7, "\ufeffx", "x" * 401])
def test_clean_text_is_one_short_visible_line(value):
    shown = text.clean(value)
    assert len(shown) < 500 and not text.UNSEEN.search(shown)
    shown.encode()
    assert not set("<>$\"'") & set(text.escape(value))


def test_bytes_are_numbers_and_unknown_differs_from_zero():
    frame = pd.DataFrame({"reference": ["a", "b", "c"], "size": pd.array([1_000_000, None, 0], dtype="Int64")})
    kind, values = column(table_data(frame), "size")
    assert values == [1_000_000, None, 0] and kind["kind"] == "bytes" and kind["style"] == "right"
    assert "<td>1 MB</td>" in plain_html(table_data(frame)) and "<td></td>" in plain_html(table_data(frame))


def test_modes_are_octal_flags_are_words_and_times_are_text():
    when = pd.to_datetime(["2026-01-02"], utc=True)
    path = pd.Series([HOSTILE], dtype="object")  # Arrow's text has no lone surrogates
    frame = pd.DataFrame({"path": path, "mode": [0o4755], "visible": [True], "when": when})
    data = table_data(frame, HOSTILE)
    assert data["rows"][0][1:] == ["4755", "yes", "2026-01-02 00:00:00"]
    html = show(frame, HOSTILE).to_html().replace(MODULE.read_text(), "")
    assert "<script>window" not in html and len(html) < 5_000
    json.dumps(data).encode()


def test_a_long_frame_names_its_number_of_rows():
    frame = pd.DataFrame({"n": range(5000)})
    data = table_data(frame, rows=1000)
    assert len(data["rows"]) == 1000 and "the first 1,000 of 5,000 rows" in data["caption"]
    plain = plain_html(data)
    assert plain.count("<tr>") == PLAIN_ROWS + 1 and "900 more rows" in plain


def test_categories_keep_their_order_and_severities_their_colours():
    severity = pd.Categorical(["low", "high"], categories=["low", "medium", "high"], ordered=True)
    kind, values = column(table_data(pd.DataFrame({"severity": severity})), "severity")
    assert kind["order"] == ["low", "medium", "high"] and set(kind["colours"]) >= set(values) == {"low", "high"}


def test_digests_are_shortened_on_the_page_only():
    digest = "sha256:" + "ab" * 32
    kind, values = column(table_data(pd.DataFrame({"diff_id": [digest, None]})), "diff_id")
    assert kind["kind"] == "digest" and values == [digest, None]


def test_a_suggestion_keeps_its_lines_and_nothing_else_does():
    lines = "COPY a ./\nRUN b\x1b[2J"
    data = table_data(pd.DataFrame({"suggestion": [lines, None], "path": [lines, None]}))
    assert data["rows"] == [["COPY a ./\nRUN b\\x1b[2J", "COPY a ./\\nRUN b\\x1b[2J"], [None, None]]


def test_an_empty_frame_is_a_table_too():
    assert "<table" in show(pd.DataFrame({"path": pd.Series(dtype="str")})).to_html()


def test_every_output_has_the_script_and_a_plain_table_and_names_no_network():
    outputs = [show(pd.DataFrame({"a": [1]}))._repr_mimebundle_()["text/html"] for _ in range(2)]
    assert outputs[0] == outputs[1] and MODULE.read_text() in outputs[0] and "<td>1</td>" in outputs[0]
    assert not re.search(r'(src|href)="?https?:', outputs[0])


def test_the_module_is_small_and_sets_no_markup():
    module = MODULE.read_text()
    assert len(module.encode()) < 100_000
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", module)


def test_data_cannot_end_its_script():
    html = view_html("table", {"rows": [["</script><script>window.planted=1</script>"]]})
    assert html.count("</script>") == 2  # of the data and of the module


@pytest.mark.browser
def test_bytes_are_formatted_as_in_python(chromium, tmp_path):
    edges = [edge * 10**power for power in range(12) for edge in (1, 9.994, 9.995, 9.996, 1.015, 1.02, 2.125, 2.135)]
    sizes = [0, 0.5, 12.5, 102_000, 77_801_234, 999_499, 999_500, 10**14, *map(int, edges), *range(0, 10_000, 5)]
    sizes += [-size for size in sizes]
    source = re.search(r"export const formatBytes = (.*?\n};)", MODULE.read_text(), re.DOTALL)[1].rstrip(";")
    page = chromium.new_page()
    shown = page.evaluate(f"sizes => sizes.map(size => ({source})(size))", sizes)
    page.close()
    assert shown == [format_bytes(size) for size in sizes]
