"""Widgets driven from Python: what they show is what the tables say."""

import pandas as pd
import pytest

import imagelab as il
from imagelab import widgets
from imagelab.widgets import view
from imagelab.widgets.tables import table_data

BEFORE, AFTER = "example:chmod-in-layer-before", "example:chmod-in-layer-after"
PLOTLY = "application/vnd.plotly.v1+json"


def chart_title(chart):
    return chart.outputs[0]["data"][PLOTLY]["layout"]["title"]["text"] if chart.outputs else ""


def table_rows(rows):
    return rows.data["rows"]


@pytest.fixture
def picker():
    return widgets.ImagePicker([BEFORE], choices=[BEFORE, AFTER, "./nowhere.tar"])


@pytest.fixture
def explorer():
    return widgets.LayerExplorer([BEFORE, AFTER])


def test_picker_shows_the_layers_of_what_is_chosen(picker):
    assert [image.reference for image in picker.images] == [il.load_image(BEFORE).reference]
    pd.testing.assert_frame_equal(picker.selected, il.layers(BEFORE))
    assert "chmod-in-layer-before" in chart_title(picker.chart)
    assert len(table_rows(picker.table)) == len(il.layers(BEFORE))


def test_picker_follows_the_list_and_python_alike(picker):
    picker.choice.value = tuple(value for _, value in picker.choice.options[:2])
    assert len(picker.images) == 2 and len(table_rows(picker.table)) == len(il.layers([BEFORE, AFTER]))
    picker.images = [AFTER]
    assert picker.selected["reference"].unique().tolist() == [il.load_image(AFTER).reference]
    assert picker.choice.value == (AFTER,) and [value for _, value in picker.choice.options] == picker.choices
    assert picker.choices == [BEFORE, AFTER, "./nowhere.tar"]


def test_picker_adds_any_reference(picker, corpus):
    archive = str(corpus / "archives" / "dive-test-docker-image.tar")
    picker.other.value = archive
    assert len(picker.images) == 2 and picker.images[1].transport == "docker-archive"
    assert picker.other.value == "" and not picker.error and not picker.busy


def test_an_error_is_shown_in_the_widget_and_the_others_stay(picker):
    picker.images = [BEFORE, "./nowhere.tar", "./<script>.tar"]
    assert len(picker.images) == 1
    assert "nowhere.tar" in picker.error and 'role="alert"' in picker.status.value
    assert "<script>" not in picker.status.value
    picker.images = [BEFORE, AFTER]
    assert picker.error == "" and picker.status.value == ""


def test_explorer_shows_what_each_layer_did(explorer):
    files = il.files(BEFORE)
    for index in range(len(explorer.images[0].layers)):
        explorer.layer_index = index
        layer = files[files["layer_index"].eq(index)]
        assert sorted(explorer.selected["path"]) == sorted(layer["path"])
        assert f"Layer {index} " in explorer.step.value
        assert f"{len(layer):,} entries" in explorer.table.data["caption"]
        assert explorer.diff_id == explorer.images[0].layers[index].diff_id


def test_explorer_filters(explorer):
    files = il.files(BEFORE)
    explorer.layer_index = 1
    explorer.text.value = "STATIC/1"
    layer = files[files["layer_index"].eq(1)]
    assert len(explorer.selected) == layer["path"].str.contains("static/1").sum() > 0
    explorer.text.value = ""
    explorer.least.value = 10_000
    assert len(explorer.selected) == layer["size"].ge(10_000).sum() > 0
    explorer.kind.value = "directory"
    assert len(explorer.selected) == 0
    explorer.least.value = 0
    assert set(explorer.selected["kind"]) == {"directory"}
    explorer.kind.value = "all kinds"
    explorer.change.value = "removed"
    assert len(explorer.selected) == layer["change"].eq("removed").sum()


def test_a_wasted_file_leads_to_the_instruction_that_stored_it(explorer):
    explorer.layer_index = 0
    wasted = il.waste(BEFORE).sort_values("bytes", ascending=False, ignore_index=True)
    assert len(wasted) > 2
    explorer.wasted.selected = 2
    assert explorer.layer_index == wasted["layer_index"][2]
    assert wasted["path"][2] in set(explorer.selected["path"])
    assert "COPY app /app" in explorer.step.value


def test_no_other_filter_hides_the_wasted_file(explorer):
    explorer.least.value, explorer.kind.value, explorer.change.value = 100_000_000, "directory", "removed"
    explorer.wasted.selected = 0
    assert il.waste(BEFORE)["path"][0] in set(explorer.selected["path"])


def test_the_waste_fits_the_page_with_its_instructions_as_written(explorer):
    shown = dict(explorer.parts())[explorer._waste_caption()]
    assert list(shown) == ["path", "bytes", "reason", "layer_index", "instruction", "removed_instruction"]
    assert {row[4] for row in table_rows(explorer.wasted)} == {"COPY app /app"}


def test_steps_are_shown_as_in_the_dockerfile_and_as_text():
    step = "RUN /bin/sh -c make && rm '*.o' # buildkit"
    frame = pd.DataFrame({"instruction": [step, None], "removed_instruction": ["", "COPY . /"]})
    assert table_data(frame)["rows"] == [["RUN make && rm '*.o'", "(no command recorded)"], [None, "COPY . /"]]


def test_what_is_counted_is_what_is_there(explorer, monkeypatch):
    explorer.text.value = explorer.selected["path"][0]
    assert len(explorer.selected) == 1 and "Layer 0: 1 entry, " in explorer.table.data["caption"]
    many = pd.DataFrame({"path": ["a"] * 4750})
    explorer.table.fill(many, "Layer 0: 4,750 entries")
    assert "Layer 0: 4,750 entries (the first 1,000 of 4,750 rows)" in explorer.table.data["caption"]
    assert "Files (the first 20 of 4,750 rows)" in explorer._part_html("Files", many)


def test_another_image_is_opened(explorer):
    explorer.image.index = 1
    assert sorted(explorer.selected["path"]) == sorted(il.files(AFTER).query("layer_index == 0")["path"])
    explorer.images = []
    assert explorer.selected.empty


def test_linked_widgets_choose_the_same_layer(picker, explorer):
    widgets.link(explorer, picker)
    explorer.layer_index = 1
    assert picker.diff_id == il.layers(BEFORE)["diff_id"][1]
    widths = [
        width
        for trace in picker.chart.outputs[0]["data"][PLOTLY]["data"]
        for width in (trace.get("marker", {}).get("line", {}).get("width") or [])
    ]
    assert widths.count(4) == 1
    picker.diff_id = il.layers(BEFORE)["diff_id"][2]
    assert explorer.layer_index == 2


@pytest.mark.parametrize(
    "make", [lambda: widgets.ImagePicker([BEFORE], choices=[]), lambda: widgets.LayerExplorer([BEFORE])]
)
def test_the_sibling_shows_the_same_default_view(make, monkeypatch):
    widget = make()
    bundle = widget._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "<table" in bundle["text/html"] and len(bundle["text/html"]) < 700_000
    monkeypatch.setattr(view, "_in_report", True)
    html = widget.static_html()
    kinds = [html.count(f'kind="{kind}"') for kind in ("table", "chart", "tree")]
    assert kinds[0] >= 1 and kinds[1] + kinds[2] == 1 and '<script type="module' not in html


def test_nothing_chosen_is_no_error():
    assert widgets.ImagePicker(choices=[]).selected.empty
    assert "No image" in widgets.LayerExplorer().static_html()
