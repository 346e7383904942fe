"""Charts draw the frame's own numbers, say them in their titles, and never let an image's text act."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import imagelab as il
from imagelab import charts
from imagelab.charts.trees import fold, join_chains
from imagelab.core.errors import ImagelabError
from imagelab.core.frames import format_bytes

HOSTILE = "<img src=x onerror=alert(1)>$\\alpha$ %{x} {{7*7}} \x1b[2J\u202e " + "é" * 100_000


def title(figure):
    return figure.layout.title.text.replace("<br>", " ")


def test_layer_bars_draw_every_byte_and_mark_shared_layers(layers):
    figure = charts.layer_bars(layers)
    bars = [trace for trace in figure.data if trace.type == "bar"]
    drawn = pd.concat([pd.DataFrame({"place": trace.y, "bytes": trace.x}) for trace in bars])
    totals = layers.groupby("reference", sort=False)["size"].sum()
    assert list(drawn.groupby("place")["bytes"].sum()) == list(totals)
    for total in totals:
        assert format_bytes(total) in title(figure)
    shared = [trace for trace in bars if trace.marker.pattern.shape]
    assert [list(trace.text) for trace in shared] == [["<b>A</b>", "<b>A</b>"]]  # the base of both, one letter
    assert "diff_id" in figure.layout.title.subtitle.text


def test_bars_have_one_height_whichever_rows_a_trace_has():
    figure = charts.layer_bars(
        il.layers(["example:apt-cache-before", "example:apt-cache-after", "example:base-debian"])
    )
    assert {trace.width for trace in figure.data if trace.type == "bar"} == {0.7}


def test_layer_bars_frame_the_marked_layer(layers):
    figure = charts.layer_bars(layers, layers["diff_id"].iloc[1])
    widths = [width for trace in figure.data if trace.type == "bar" for width in trace.marker.line.width]
    assert widths.count(4) == 1


@pytest.mark.parametrize("shape", ["treemap", "icicle"])
def test_size_tree_adds_up(history, shape):
    figure = charts.size_tree(history, shape)
    tree = figure.data[0]
    assert tree.type == shape
    nodes = pd.DataFrame({"id": tree.ids, "parent": tree.parents, "bytes": tree["values"]})
    assert nodes["bytes"].iloc[0] == history["size"].sum()
    inside = nodes[nodes["parent"] != ""].groupby("parent")["bytes"].sum()
    assert inside.eq(nodes.set_index("id")["bytes"].reindex(inside.index)).all()
    assert len(set(tree.ids)) == len(tree.ids)


def test_unknown_shape_is_refused(history):
    with pytest.raises(ImagelabError, match="treemap"):
        charts.size_tree(history, "pie")


def test_growth_ends_at_the_image_s_size(history):
    one = history[history["reference"].eq(history["reference"].iloc[0])]
    figure = charts.growth(one)
    bars = figure.data[0]
    assert bars.x[-1] == one["size"].sum() and bars.base[-1] == 0
    assert bars.x[:-1] == pytest.approx(list(one.loc[one["size"].gt(0), "size"]))
    assert list(bars.base[1:-1]) == pytest.approx(list(np.cumsum(bars.x[:-2])))
    assert format_bytes(one["size"].sum()) in title(figure)


def test_several_images_get_a_menu(history):
    figure = charts.growth(history)
    (menu,) = figure.layout.updatemenus
    assert [button.label for button in menu.buttons] == list(history["reference"].unique())
    for button in menu.buttons:
        visible, changes = button.args
        assert sum(visible["visible"]) == 2 and button.label in changes["title"]["text"]
    assert [bool(trace.visible) for trace in figure.data] == list(menu.buttons[0].args[0]["visible"])


def test_size_difference_names_the_instruction_to_blame(history):
    figure = charts.size_difference(history)
    totals = history.groupby("reference", sort=False)["size"].sum()
    assert figure.data[0].x[0] == totals.iloc[0] and figure.data[0].x[-1] == totals.iloc[1]
    assert format_bytes(totals.iloc[0] - totals.iloc[1]) + " smaller" in title(figure)
    assert "RUN chmod" in title(figure) or "COPY" in title(figure)
    with pytest.raises(ImagelabError, match="two images"):
        charts.size_difference(history[history["reference"].eq(history["reference"].iloc[0])])


def test_size_difference_of_an_image_with_itself(history):
    one = history[history["reference"].eq(history["reference"].iloc[0])]
    figure = charts.size_difference(pd.concat([one, one.assign(reference="again")]))
    assert "the same size" in title(figure) and not figure.data


def test_sharing_heatmap_draws_the_numbers_of_compare_layers(sharing):
    figure = charts.sharing_heatmap(sharing)
    grid = np.array(figure.data[0].z)
    names = list(sharing["reference"].unique())
    for row in sharing.itertuples():
        assert grid[names.index(row.reference), names.index(row.other)] == row.shared
    assert format_bytes(grid[0, 1]) in title(figure)
    with pytest.raises(ImagelabError, match="at least two"):
        charts.sharing_heatmap(sharing[sharing["reference"].eq(sharing["reference"].iloc[0])])
    with pytest.raises(ImagelabError, match=r"il\.compare_layers gives"):
        charts.sharing_heatmap(sharing.drop(columns="identity"))


def test_waste_bars_draw_the_ledger(images):
    ledger = il.waste(images[0], digests=True)
    figure = charts.waste_bars(ledger)
    drawn = sum(sum(trace.x) for trace in figure.data if trace.type == "bar")
    assert drawn == ledger["bytes"].sum() and format_bytes(drawn) in title(figure)
    assert "No wasted bytes" in title(charts.waste_bars(ledger.head(0)))


def test_file_tree_is_the_final_filesystem_or_one_layer(files):
    tree = charts.file_tree(files).data[0]
    assert tree["values"][0] == files.loc[files["visible"] & files["kind"].eq("file"), "size"].sum()
    layer = charts.file_tree(files, "icicle", layer_index=2).data[0]
    assert layer["values"][0] == files.loc[files["layer_index"].eq(2) & files["kind"].eq("file"), "size"].sum()
    assert "has no bytes" in title(charts.file_tree(files.head(0)))


NAMES = st.lists(st.sampled_from(["a", "b", "lib", "x y", "é", "other"]), min_size=1, max_size=5).map(
    lambda parts: "/" + "/".join(parts)
)


@settings(max_examples=60)
@given(st.dictionaries(NAMES, st.integers(0, 10**9), max_size=30), st.sampled_from([0.0, 0.01, 0.3]))
@example({"/a/b": 40_000, "/b/other/c": 390, "/b/other/d": 390, "/b/e/f": 5}, 0.01)
def test_folding_keeps_every_byte(sizes, smallest):
    # A path that is also a directory of another cannot be a file.
    folders = {path.rsplit("/", depth)[0] for path in sizes for depth in range(1, path.count("/"))}
    sizes = {path: size for path, size in sizes.items() if path not in folders}
    tree = fold(pd.Series(list(sizes), dtype="str"), pd.Series(list(sizes.values()), dtype="int64"), smallest)
    assert tree["bytes"].iloc[0] == sum(sizes.values()) and tree["id"].is_unique
    inside = tree[tree["parent"].ne("")].groupby("parent")["bytes"].sum()
    assert inside.eq(tree.set_index("id")["bytes"].reindex(inside.index)).all()
    joined = join_chains(tree)
    inside = joined[joined["parent"].ne("")].groupby("parent")["bytes"].sum()
    assert inside.eq(joined.set_index("id")["bytes"].reindex(inside.index)).all()
    files = [frame.loc[frame["kind"].eq("file"), "path"].tolist() for frame in (tree, joined)]
    assert files[0] == files[1] and set(joined["parent"]) <= {"", *joined["id"]}


def test_groups_colour_what_has_most_of_their_bytes():
    paths = pd.Series(["/usr/lib/a", "/usr/lib/b", "/usr/lib/c", "/usr/bin/d", "/usr/bin/e"])
    sizes, groups = pd.Series([500, 3, 2, 300, 1]), pd.Series(["one", "two", "one", "two", "two"])
    tree, plain = fold(paths, sizes, 0.01, groups=groups), fold(paths, sizes, 0.01)
    pd.testing.assert_frame_equal(tree.drop(columns="group"), plain.drop(columns="group"))
    main = tree.set_index("path")["group"]
    assert main["/usr/lib/a"] == "one" and main["/usr/bin/d"] == "two"
    assert main["/usr/lib (other)"] == "two" and main["/usr/bin (other)"] == "two"


@pytest.mark.parametrize("by", ["layer", "waste", "package"])
def test_file_tree_is_coloured_by(files, by):
    packages = pd.Series("dpkg:<b>", index=files["path"].unique())
    tree, *legend = charts.file_tree(files, by=by, packages=packages).data
    drawn = files["kind"].eq("file") & (files["visible"] | (by == "waste"))
    assert tree["values"][0] == files.loc[drawn, "size"].sum()
    colours = {trace.name: trace.marker.color for trace in legend}
    assert set(tree.marker.colors) <= {*colours.values(), charts.theme.NODE_COLOURS["directory"], charts.theme.REST}
    assert len(set(tree.marker.colors)) > 1 and "<b>" not in "".join(colours)


def test_a_chain_of_directories_is_one_node():
    paths = pd.Series(["/opt/venv/lib/a/x", "/opt/venv/lib/b/y", "/opt/venv/lib/b/z"])
    joined = join_chains(fold(paths, pd.Series([50, 30, 20])))
    assert joined["label"].tolist() == ["/opt/venv/lib", "a", "b", "x", "y", "z"]
    assert joined["path"].iloc[0] == "/opt/venv/lib"


def test_a_million_files_are_folded_to_what_can_be_seen():
    place = np.arange(1_000_000)
    paths = pd.Series(place).map(lambda number: f"/srv/d{number % 97}/s{number % 1009}/f{number}.txt")
    files = pd.DataFrame({"reference": "big", "path": paths, "kind": "file", "size": place % 5000, "visible": True})
    figure = charts.file_tree(files)
    assert len(figure.data[0].ids) < 3000 and len(figure.to_json()) < 1_000_000


def test_hostile_text_stays_text_and_short(history, layers, files, sharing):
    names = dict(zip(sharing["reference"].unique(), [HOSTILE, "b"], strict=True))
    hostile_sharing = sharing.assign(reference=sharing["reference"].map(names), other=sharing["other"].map(names))
    ledger = il.waste(il.load_image("example:chmod-in-layer-before"))
    texts = {"reference": HOSTILE, "created_by": "RUN /bin/sh -c " + HOSTILE, "arguments": HOSTILE}
    figures = [
        charts.layer_bars(layers.assign(**{key: texts[key] for key in ("reference", "created_by")})),
        charts.size_tree(history.assign(**texts)),
        charts.growth(history.assign(**texts).drop_duplicates("step")),
        charts.waste_bars(ledger.assign(reference=HOSTILE, instruction=HOSTILE)),
        charts.file_tree(files.assign(reference=HOSTILE, path="/" + HOSTILE.replace("/", "") + files["path"])),
        charts.sharing_heatmap(hostile_sharing),
    ]
    for figure in figures:
        figure.update_traces(customdata=None, selector={"type": "bar"})  # for a page's script, never drawn
        text = json.dumps(figure.to_dict(), default=str, ensure_ascii=False)
        assert len(text) < 400_000
        assert not any(mark in text for mark in ("<img", "\x1b", "\u202e", "$\\alpha"))
        figure.to_json().encode()


def test_unknown_sizes_are_said_not_drawn(history, layers, sharing):
    unknown = {"size": pd.NA, "content_size": pd.NA, "disk_usage": pd.NA}
    assert "known size" in title(charts.layer_bars(layers.assign(**unknown)))
    assert "known size" in title(charts.size_tree(history.assign(**unknown)))
    assert "known size" in title(charts.sharing_heatmap(sharing.assign(shared=pd.NA)))
    published = il.layers("example:published-python-3.10-2023")
    assert "compressed" in charts.layer_bars(published).layout.title.subtitle.text
