"""Explore what each layer added, changed and removed, and which instruction stored wasted files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import ipywidgets
import pandas as pd

import imagelab as il
from imagelab.charts.theme import step_label
from imagelab.core.frames import format_bytes
from imagelab.core.text import clean
from imagelab.widgets.base import Panel, Part, Rows, row, wide
from imagelab.widgets.controls import Slider
from imagelab.widgets.tree import FileTree, tree_data
from imagelab.widgets.view import View

CHANGES = ("added", "modified", "removed")
SIZES = (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
SHOWN = ["path", "change", "kind", "size", "mode", "uid", "gid", "link_target", "visible"]


class LayerExplorer(Panel):
    """Explore an image: a file tree, the files of a layer with filters, and the waste with its instructions.

    Parameters
    ----------
    images : references or images
        The widget opens with the first.

    Attributes
    ----------
    images, diff_id, busy, error
        As in `Panel`.
    layer_index : int
        The selected layer (a property that can be set).
    selected : pandas.DataFrame
        `imagelab.files` of the selected layer after the filters, biggest first.
    """

    def __init__(self, images: Any = ()) -> None:
        self.image = ipywidgets.Dropdown(options=[], description="Image", layout=wide(26))
        self.layer = Slider(description="Layer", layout=wide(26))
        self.text = ipywidgets.Text(description="Path", placeholder="part of a path", layout=wide(26))
        sizes = [("any size", 0), *((f"at least {format_bytes(size)}", size) for size in SIZES)]
        self.least, self.kind, self.change = (
            ipywidgets.Dropdown(options=options, description=name, layout={"width": "15rem"})
            for name, options in (("Size", sizes), ("Kind", ["all kinds"]), ("Change", ["all changes", *CHANGES]))
        )
        self.step = ipywidgets.HTML()
        self.tree, self.table, self.wasted = View(kind="tree"), Rows(), Rows(self._go_to_step)
        self._files = self._waste = pd.DataFrame()
        super().__init__(images)
        filters = [self.text, self.least, self.kind, self.change]
        self.children = [
            row(self.image, self.layer), self.step, self.status, row(*filters), self.table, self.wasted, self.tree
        ]  # fmt: skip
        self.on(self.image, "index", self._open)
        self.on(self.layer, "value", self._layer_chosen)
        self.on(self, "diff_id", self._follow)
        for control in filters:
            self.on(control, "value", self._fill)

    @property
    def layer_index(self) -> int:
        return self.layer.value

    @layer_index.setter
    def layer_index(self, index: int) -> None:
        self.layer.value = index

    @property
    def selected(self) -> pd.DataFrame:
        rows = self._files
        if rows.empty:
            return rows
        rows = rows[rows["layer_index"].eq(self.layer.value)]
        if self.text.value:
            rows = rows[rows["path"].str.contains(self.text.value, case=False, regex=False)]
        if self.least.value:
            rows = rows[rows["size"].ge(self.least.value).fillna(False)]
        if self.kind.index:
            rows = rows[rows["kind"].eq(self.kind.value)]
        if self.change.index:
            rows = rows[rows["change"].eq(self.change.value)]
        return rows.sort_values("size", ascending=False, kind="stable", ignore_index=True)

    def parts(self) -> Iterable[tuple[str, Part]]:
        if not len(self._files):
            yield "No image is selected", pd.DataFrame({"path": []})
            return
        yield self._caption(), self.selected[SHOWN]
        yield self._waste_caption(), self._waste
        yield "Files", FileTree(self._files)

    def refresh(self) -> None:
        self.image.options = [(clean(image.reference, 70), place) for place, image in enumerate(self.images)]
        self.image.index = 0 if self.images else None
        self._open()

    def _open(self) -> None:
        """Read the chosen image's files."""
        self._files = self._waste = pd.DataFrame()
        if self.image.index is None or not self.images:
            return
        image = self.images[self.image.index]
        with self.working(f"Reading the files of {clean(image.reference, 60)}"):
            self._files = il.files(image)
            self._waste = il.waste(image).drop(columns=["reference", "removed_layer_index"])
            self.kind.options = ["all kinds", *sorted(self._files["kind"].astype("str").unique())]
            self.layer.max = max(len(image.layers) - 1, 0)
            self.tree.data = tree_data(self._files)
        self._layer_chosen()

    def _layer_chosen(self) -> None:
        image = self.images[self.image.index]
        layer = il.layers(image).iloc[self.layer.value]
        size = self._files.loc[self._files["layer_index"].eq(self.layer.value), "size"].sum()
        command = step_label(layer["created_by"], 300)
        self.step.value = (
            f"<p><strong>Layer {self.layer.value} of {len(image.layers)}</strong> (0 is the base's first): "
            f"{format_bytes(size)} by <code>{command}</code></p>"
        )
        self.diff_id = layer["diff_id"] if pd.notna(layer["diff_id"]) else ""
        self._fill()
        words = "; select a row to go to the layer that stored it" if len(self._waste) else ""
        self.wasted.fill(self._waste, self._waste_caption() + words)

    def _fill(self) -> None:
        if len(self._files):
            self.table.fill(self.selected[SHOWN], self._caption())

    def _caption(self) -> str:
        rows = self.selected
        entries = "1 entry" if len(rows) == 1 else f"{len(rows):,} entries"
        return f"Layer {self.layer.value}: {entries}, {format_bytes(int(rows['size'].sum()))}"

    def _waste_caption(self) -> str:
        total = int(self._waste["bytes"].sum()) if len(self._waste) else 0
        copies = "1 file copy" if len(self._waste) == 1 else f"{len(self._waste):,} file copies"
        return f"Wasted in this image: {format_bytes(total)} in {copies}"

    def _go_to_step(self, row: int) -> None:
        """Select the layer that stored a wasted file."""
        wasted = self._waste.iloc[row]
        self.least.value, self.kind.index, self.change.index = 0, 0, 0  # a filter can hide the file
        self.layer.value = int(wasted["layer_index"])
        self.text.value = wasted["path"]

    def _follow(self) -> None:
        """Show the layer that a linked widget selected, if this image has it."""
        if self.images and self.image.index is not None:
            diff_ids = [layer.diff_id for layer in self.images[self.image.index].layers]
            if self.diff_id in diff_ids and diff_ids[self.layer.value] != self.diff_id:
                self.layer.value = diff_ids.index(self.diff_id)
