"""The file tree's data: every byte is in it, however many files there are."""

import numpy as np
import pandas as pd
import pytest

import imagelab as il
from imagelab.core.errors import ImagelabError
from imagelab.widgets.tree import FileTree, tree_data

BEFORE = "example:chmod-in-layer-before"


@pytest.fixture(scope="module")
def files():
    return il.files(BEFORE)


@pytest.mark.parametrize("most", [10, 100, 4000])
def test_every_byte_of_every_layer_is_in_the_tree(files, most):
    data = tree_data(files, most)
    drawn = pd.DataFrame(data["entries"], columns=["path", "size", "layer", "change", "wasted"])
    stored = files[files["kind"].ne("directory")]
    assert dict(drawn.groupby("layer")["size"].sum()) == dict(stored.groupby("layer_index")["size"].sum())
    assert drawn.loc[drawn["wasted"], "size"].sum() == il.waste(BEFORE)["bytes"].sum()
    assert len(drawn) <= 2 * most and len(data["layers"]) == 3 and "COPY app /app" in data["layers"][1]


def test_a_million_files_are_a_small_tree():
    place = np.arange(1_000_000)
    paths = pd.Series(place).map(lambda number: f"/srv/d{number % 97}/s{number % 1009}/f{number}.txt")
    frame = pd.DataFrame({"reference": "big", "path": paths, "kind": "file", "size": place % 5000, "visible": True,
                          "layer_index": 0, "change": "added", "instruction": "COPY . /"})  # fmt: skip
    data = tree_data(frame)
    assert len(data["entries"]) <= 8000 and sum(entry[1] for entry in data["entries"]) == frame["size"].sum()
    assert "996,000 smaller entries" in data["folded"]


def test_another_frame_is_refused(files):
    with pytest.raises(ImagelabError, match=r"il\.files"):
        FileTree(files.drop(columns="change"))


def test_without_script_the_largest_files_are_listed(files):
    html = FileTree(files)._repr_html_()
    largest = files.loc[files["size"].idxmax(), "path"]
    assert f"<li>{largest} " in html and 'kind="tree"' in html
