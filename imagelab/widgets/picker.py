"""Select images from an engine, an archive or a snapshot, and see their layers side by side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import ipywidgets
import pandas as pd

import imagelab as il
from imagelab.charts import layer_bars
from imagelab.core.errors import ImagelabError
from imagelab.core.text import clean
from imagelab.widgets.base import Chart, Panel, Part, Rows, row, wide


class ImagePicker(Panel):
    """A list of images, a field for another one, and the layers of the selected images.

    Parameters
    ----------
    images : references or images
        Selected at the start.
    choices : list of str, optional
        References in the list. Default: the embedded examples and the images of an engine, if one answers.

    Attributes
    ----------
    images, diff_id, busy, error
        As in `Panel`: ``il.history(picker.images)`` continues with the selected images.
    selected : pandas.DataFrame
        `imagelab.layers` of the selected images.
    """

    def __init__(self, images: Any = (), choices: Iterable[str] | None = None) -> None:
        self.choice = ipywidgets.SelectMultiple(options=[], description="Images", rows=6, layout=wide(32))
        words = "name, archive, layout or snapshot"
        self.other = ipywidgets.Text(description="Another", placeholder=words, continuous_update=False, layout=wide(26))
        self.add = ipywidgets.Button(description="Add", tooltip="Add this image", icon="plus", layout={"width": "5rem"})
        self.charts, self.tables = [self.chart], [self.table] = [Chart()], [Rows()]
        self.choices = list(known_references() if choices is None else choices)
        super().__init__(images)
        controls = row(self.choice, ipywidgets.HBox([self.other, self.add]))
        self.children = [controls, self.status, self.chart, self.table]
        self.on(self.choice, "value", lambda: self.set_trait("images", list(self.choice.value)))
        self.on(self.other, "value", self._add)
        self.on(self, "diff_id", self._refresh)
        self.add.on_click(lambda button: self._add())

    @property
    def selected(self) -> pd.DataFrame:
        return il.layers(self.images)

    def parts(self) -> Iterable[tuple[str, Part]]:
        layers = self.selected
        if self.images:
            yield "Layers", layer_bars(layers, self.diff_id or None)
        yield f"{len(layers)} layers of {len(self.images)} image{'s' * (len(self.images) != 1)}", layers[SHOWN]

    def refresh(self) -> None:
        references = [self.asked[image.reference] for image in self.images]
        self.choices += [reference for reference in references if reference not in self.choices]
        self.choice.options = [(clean(reference, 90), reference) for reference in self.choices]
        self.choice.value = tuple(references)
        self.draw_parts()

    def _add(self) -> None:
        reference = self.other.value.strip()
        if reference:
            self.other.value = ""
            self.images = [*self.images, reference]


SHOWN = ["reference", "layer_index", "size", "content_size", "disk_usage", "instruction", "created_by", "diff_id"]


def known_references() -> list[str]:
    """Return the embedded examples, and the images of an engine if one answers."""
    examples = [f"example:{name}" for name in il.examples()]
    try:
        return examples + list(il.list_images()["reference"])
    except ImagelabError:
        return examples
