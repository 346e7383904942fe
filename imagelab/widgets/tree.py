"""The file tree of an image: sizes, what each layer added, changed and removed, and wasted files."""

from __future__ import annotations

from html import unescape
from typing import Any

import pandas as pd

from imagelab.charts.theme import step_label
from imagelab.core.frames import expect_frame, format_bytes
from imagelab.core.text import clean, escape
from imagelab.widgets.view import join_views, view_html

MOST = 4000  # entries of a page's tree; smaller files of a directory are added up


def tree_data(files: pd.DataFrame, most: int = MOST) -> dict[str, Any]:
    """Return what the module needs to show the files of one image as a tree.

    The ``most`` largest entries have a line each; the others are added up by directory, layer and change.
    """
    stored = files[files["kind"].ne("directory")]
    rows = pd.DataFrame({"path": stored["path"].astype("str"), "size": stored["size"].fillna(0).astype("int64"),
                         "layer": stored["layer_index"].astype("int64"), "change": stored["change"].astype("str"),
                         "wasted": ~stored["visible"].astype("bool") & stored["size"].gt(0)})  # fmt: skip
    order = rows["size"].sort_values(ascending=False, kind="stable").index
    single, rest = rows.loc[order[:most]], rows.loc[order[most:]]
    folded = _fold(rest, most) if len(rest) else rest
    steps = files.drop_duplicates("layer_index").set_index("layer_index")["instruction"].astype("object")
    count = int(files["layer_index"].max()) + 1 if len(files) else 0
    labels = [step_label(steps.get(index), 70) for index in range(count)]
    entries = pd.concat([single, folded]).sort_values("path", kind="stable")
    image = clean(files["reference"].iloc[0], 120) if len(files) else ""
    return {
        "caption": f"Files of {image}" if image else "No files",
        "image": image,
        "layers": [f"Layer {index}: {unescape(label)}" for index, label in enumerate(labels)],  # set as text
        "entries": [[clean(path), *values] for path, *values in entries.itertuples(index=False, name=None)],
        "folded": f"{len(rest):,} smaller entries are added up by directory." if len(rest) else "",
    }


def _fold(rest: pd.DataFrame, most: int) -> pd.DataFrame:
    """Add up entries by directory, with directories as deep as gives at most ``most`` rows."""
    keys = ["path", "layer", "change", "wasted"]
    folder = rest["path"].str.replace(r"/[^/]*$", "", regex=True)
    for depth in (8, 6, 4, 3, 2, 1):
        cut = folder.str.extract(rf"^((?:/[^/]*){{0,{depth}}})")[0]
        grouped = rest.assign(path=cut).groupby(keys, as_index=False, sort=False)["size"].agg(["sum", "count"])
        if len(grouped) <= most:
            break
    name = grouped["path"] + "/… " + grouped["count"].map("{:,} smaller".format)
    return grouped.assign(path=name, size=grouped["sum"])[rest.columns]


class FileTree:
    """A file tree for a notebook's output or a report's page, without a kernel.

    Parameters
    ----------
    files : pandas.DataFrame
        `imagelab.files` of one or several images.
    """

    def __init__(self, files: pd.DataFrame) -> None:
        expect_frame(files, ("reference", "layer_index", "path", "change", "visible"), "il.files")
        self.files = files

    def _repr_html_(self) -> str:
        trees = (tree_data(rows) for _, rows in self.files.groupby("reference", sort=False, observed=True))
        return join_views(view_html("tree", data, _plain(data), escape(data["image"], 120)) for data in trees)


def _plain(data: dict[str, Any], most: int = 30) -> str:
    """Return the largest files as a plain list, for readers without script."""
    largest = sorted(data["entries"], key=lambda entry: -entry[1])[:most]
    rows = "".join(f"<li>{escape(path)} {format_bytes(size)}</li>" for path, size, *_ in largest)
    return f"<p><strong>Largest files of {escape(data['image'], 120)}</strong></p><ul>{rows}</ul>"
