"""Choose edits of a Dockerfile: the diff and the size follow, and an engine proves the choice."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import ipywidgets
import pandas as pd

from imagelab.core.errors import ImagelabError
from imagelab.core.frames import format_bytes
from imagelab.core.text import clean, escape
from imagelab.improve.answer import Improvement
from imagelab.improve.improve import improve
from imagelab.widgets.base import WIDE, Panel, Part
from imagelab.widgets.view import View, view_html

SHOWN = ["rule", "path", "line", "predicted_bytes", "measured_bytes", "measured_rebuild_seconds", "result", "why"]


class Diffs:
    """The answer in one line, each edit as a diff in colours with a button that copies it, and the whole patch.

    Parameters
    ----------
    found : Improvement
        What `imagelab.improve` or `imagelab.read_improvement` returns.
    """

    def __init__(self, found: Improvement) -> None:
        self.found = found

    def _repr_html_(self) -> str:
        data, line = diffs_data(self.found.edits, self.found.patch), escape(self.found.headline, 200)
        return f"<p><strong>{line}</strong></p>" + view_html("diffs", data, "".join(map(_plain, data["pieces"])))


def diffs_data(edits: pd.DataFrame, patch: str) -> dict[str, Any]:
    """Return what the module needs to show the diffs of edits, and a patch of all of them last."""
    pieces = [{"caption": edit_label(edit), "text": edit["diff"]} for _, edit in edits.iterrows()]
    whole = [{"caption": "The whole patch", "text": patch}] if patch else []
    return {"pieces": pieces + whole}


def edit_label(edit: pd.Series) -> str:
    """Return an edit in one line: its rule, place, result and gain."""
    gain = edit["predicted_bytes"] if pd.isna(edit["measured_bytes"]) else edit["measured_bytes"]
    parts = [f"{edit['rule']}, {edit['path']} line {edit['line']}: {edit['result']}"]
    parts += [] if pd.isna(gain) else [format_bytes(int(gain))]
    seconds = edit["measured_rebuild_seconds"]
    return clean(", ".join(parts + ([] if pd.isna(seconds) else [f"{seconds:.1f} s of a rebuild"])), 200)


def _plain(piece: dict[str, str]) -> str:
    text = "\n".join(escape(line, 2000) for line in piece["text"].split("\n"))
    return f"<p>{escape(piece['caption'], 200)}</p><pre>{text}</pre>"


class Improver(Panel):
    """Choose edits of a Dockerfile.

    Parameters
    ----------
    directory : path, optional
        The build context, as `imagelab.improve` takes it; the button proves the choice there.
    recorded : Improvement, optional
        A recorded run to show; without it, the edits are predicted.
    **options
        Further arguments of `imagelab.improve`.

    Attributes
    ----------
    boxes : list of ipywidgets.Checkbox
        One per edit.
    selected : pandas.DataFrame
        The chosen edits.
    """

    def __init__(
        self, directory: str | os.PathLike[str] | None = None, recorded: Improvement | None = None, **options: Any
    ) -> None:
        self.directory, self.options = directory, options
        if recorded is None and directory is None:
            raise ImagelabError("nothing to improve: expected a directory or a recorded run.")
        self.found: Improvement = recorded or improve(directory or ".", build=False, **options)
        self.boxes: list[ipywidgets.Checkbox] = []
        self.size, self.view, self.chosen = ipywidgets.HTML(), View(kind="diffs"), ipywidgets.VBox()
        label, layout = "Build and prove the choice", {"width": "auto"}
        self.button = ipywidgets.Button(description=label, disabled=directory is None, layout=layout)
        self.button.on_click(lambda _: self.guarded(self.prove))
        super().__init__()
        self.children = [self.chosen, self.button, self.status, self.size, self.view]
        self.offer()

    @property
    def selected(self) -> pd.DataFrame:
        return self.found.edits[[box.value for box in self.boxes]]

    def offer(self) -> None:
        """Offer the edits of the answer; those that can be part of a patch are chosen."""
        self.boxes = []
        for _, edit in self.found.edits.iterrows():
            on = edit["result"] in ("proven", "not built")
            self.boxes.append(ipywidgets.Checkbox(value=on, description=edit_label(edit), indent=False, layout=WIDE))
            self.on(self.boxes[-1], "value", self.refresh)
        self.chosen.children = self.boxes
        self.refresh()

    def prove(self) -> None:
        """Build the chosen rules' edits, and offer the answer."""
        rules = self.selected["rule"].unique().tolist()
        if self.directory is not None and rules:
            with self.working("Building each edit; this takes several builds"):
                self.found = improve(self.directory, **{**self.options, "only": rules})
            self.offer()

    def parts(self) -> Iterable[tuple[str, Part]]:
        yield self.found.headline, self.found.edits[SHOWN]

    def static_html(self) -> str:
        """Return the answer as HTML for a page without a kernel: the table and every diff."""
        return super().static_html() + Diffs(self.found)._repr_html_()

    def refresh(self) -> None:
        edits = self.selected
        self.size.value = f"<p><strong>{escape(self._words(edits), 200)}</strong></p>"
        self.view.data = diffs_data(edits, "")

    def _words(self, edits: pd.DataFrame) -> str:
        gains = edits["measured_bytes"].fillna(edits["predicted_bytes"]).fillna(0)
        total, before = int(gains[~edits["path"].str.endswith(".dockerignore")].sum()), self.found.before
        words = f"{len(edits)} edits chosen: {format_bytes(total)} less are stored"
        return (
            words if before is None else f"{words}, {format_bytes(before.size)} → {format_bytes(before.size - total)}"
        )
