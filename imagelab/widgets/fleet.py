"""Ask a folder of snapshots, and see the answer as a chart and a table."""

from __future__ import annotations

import os
from collections.abc import Iterable

import ipywidgets
import pandas as pd
import plotly.graph_objects as go

from imagelab.charts.fleet import fleet_sharing, similarity_heatmap
from imagelab.core.frames import make_frame
from imagelab.core.text import clean
from imagelab.fleet.query import query_fleet
from imagelab.fleet.questions import QUESTIONS
from imagelab.widgets.base import Chart, Panel, Rows, row, wide

CHARTS = {"similarity": similarity_heatmap, "sharing": fleet_sharing}


class FleetExplorer(Panel):
    """The questions over a fleet, one at a time, with a field for a package's or file's name.

    Parameters
    ----------
    folder : path
        What `imagelab.index_images` wrote.

    Attributes
    ----------
    question, pattern : ipywidgets.Dropdown, ipywidgets.Text
        What is asked.
    selected : pandas.DataFrame
        `imagelab.query_fleet`'s answer.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder, self._answer = folder, pd.DataFrame()
        choices = [(clean(f"{name}: {question.text}", 110), name) for name, question in QUESTIONS.items()]
        self.question = ipywidgets.Dropdown(
            options=choices, description="Question", value="similarity", layout=wide(40)
        )
        words = "of a package or file; * is any text"
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

    def parts(self) -> Iterable[tuple[str, go.Figure | pd.DataFrame]]:
        question = self.question.value
        if question in CHARTS and len(self._answer):
            yield QUESTIONS[question].text, CHARTS[question](self._answer)
        yield f"{QUESTIONS[question].text}: {len(self._answer):,} rows", self._answer

    def refresh(self) -> None:
        asked = QUESTIONS[self.question.value]
        self.pattern.disabled = not asked.pattern
        self.error = ""
        with self.working("Asking the fleet"):
            self._answer = make_frame([], asked.columns)
            pattern = self.pattern.value.strip() or None if asked.pattern else None
            if pattern or self.question.value != "where":
                self._answer = query_fleet(self.folder, self.question.value, pattern)
        self.draw_parts()
