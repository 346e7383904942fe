"""Query a folder of snapshots; the answer is a chart and a table."""

from __future__ import annotations

import os
from collections.abc import Iterable

import ipywidgets
import pandas as pd

from imagelab.charts.fleet import fleet_sharing, similarity_heatmap
from imagelab.core.frames import make_frame
from imagelab.core.text import clean
from imagelab.fleet.query import query_fleet
from imagelab.fleet.questions import QUESTIONS
from imagelab.widgets.base import Chart, Panel, Part, Rows, row, wide

CHARTS = {"similarity": similarity_heatmap, "sharing": fleet_sharing}


class FleetExplorer(Panel):
    """Ask questions about a fleet, one at a time, with a field for the name of a package or file.

    Parameters
    ----------
    folder : path
        The folder that `imagelab.index_images` wrote.

    Attributes
    ----------
    question, pattern : ipywidgets.Dropdown, ipywidgets.Text
        The question and its name pattern.
    selected : pandas.DataFrame
        The answer of `imagelab.query_fleet`.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder, self._answer = folder, pd.DataFrame()
        choices = [(clean(f"{name}: {question.text}", 110), name) for name, question in QUESTIONS.items()]
        self.question = ipywidgets.Dropdown(
            options=choices, description="Question", value="similarity", layout=wide(40)
        )
        words = "package or file; * matches any text"
        self.pattern = ipywidgets.Text(description="Name", placeholder=words, continuous_update=False, layout=wide(26))
        self.charts, self.tables = [self.chart], [self.table] = [Chart()], [Rows()]
        super().__init__()
        self.children = [row(self.question, self.pattern), self.status, self.chart, self.table]
        self.on(self.question, "value", self.refresh)
        self.on(self.pattern, "value", self.refresh)
        self.guarded(self.refresh)

    @property
    def selected(self) -> pd.DataFrame:
        return self._answer

    def parts(self) -> Iterable[tuple[str, Part]]:
        question = self.question.value
        if question in CHARTS and len(self._answer):
            yield QUESTIONS[question].text, CHARTS[question](self._answer)
        yield f"{QUESTIONS[question].text}: {len(self._answer):,} rows", self._answer

    def refresh(self) -> None:
        question = QUESTIONS[self.question.value]
        self.pattern.disabled = not question.pattern
        self.error = ""
        with self.working("Querying the fleet"):
            self._answer = make_frame([], question.columns)
            pattern = self.pattern.value.strip() or None if question.pattern else None
            if pattern or self.question.value != "where":
                self._answer = query_fleet(self.folder, self.question.value, pattern)
        self.draw_parts()
