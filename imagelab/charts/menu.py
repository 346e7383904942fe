"""One figure for several images, with a menu that works without a kernel."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from imagelab.charts import theme
from imagelab.core.text import clean, escape

# The parts of the layout that the menu changes.
MENU = 34  # pixels of the menu
CHANGED = ("title", "height", "xaxis", "yaxis", "margin", "showlegend", "barmode")


def per_image(chart: Callable[..., go.Figure]) -> Callable[..., go.Figure]:
    """Let a chart of one image take a frame of several images: a menu selects the image."""

    @wraps(chart)
    def several(frame: pd.DataFrame, *args: Any, **kwargs: Any) -> go.Figure:
        references = list(frame["reference"].unique())
        if len(references) < 2:
            return chart(frame, *args, **kwargs)
        figures = {
            reference: chart(frame[frame["reference"].eq(reference)], *args, **kwargs) for reference in references
        }
        return choose(figures)

    return several


def choose(figures: dict[str, go.Figure]) -> go.Figure:
    """Join figures into one with a menu of their names; the first is visible."""
    joined, shown = go.Figure(layout=next(iter(figures.values())).layout), []
    for name, figure in figures.items():
        joined.add_traces(figure.data)
        shown += [name] * len(figure.data)
    buttons = []
    for name, figure in figures.items():
        layout = figure.layout.to_plotly_json()
        changes = {key: layout.get(key) for key in CHANGED} | {"height": layout["height"] + MENU}
        changes["margin"] = {**layout["margin"], "t": layout["margin"]["t"] + MENU}
        buttons.append(
            {
                "label": escape(name, 60),
                "name": clean(name, 120),
                "method": "update",
                "args": [{"visible": [holder == name for holder in shown]}, changes],
            }
        )
    joined.update_layout(buttons[0]["args"][1])
    for trace, holder in zip(joined.data, shown, strict=True):
        trace.visible = holder == shown[0]
    menu = {"buttons": buttons, "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom", "pad": {"b": 30}}
    return joined.update_layout(
        updatemenus=[menu | {"bgcolor": theme.REST, "font": {"color": theme.text_on(theme.REST)}}]
    )
