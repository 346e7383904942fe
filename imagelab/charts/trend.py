"""Builds of one image over time: a panel for each measure, one below the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from imagelab.charts import theme
from imagelab.charts.waterfalls import signed
from imagelab.core.frames import expect_frame, format_bytes
from imagelab.core.text import BYTE_COLUMN, escape

PANEL = 165  # pixels
LABELLED = 12  # builds whose points say their value


def trend(builds: pd.DataFrame) -> go.Figure:
    """Draw size, waste, layers and findings, build by build.

    Parameters
    ----------
    builds : pandas.DataFrame
        A row per build, oldest first: ``reference``, one or more of the three sizes (the first that all rows have is
        drawn), and any of ``wasted``, ``layers``, ``rules_failed``, and a count of findings under each severity's
        name. An unknown value leaves a gap.
    """
    expect_frame(builds, ("reference",), "il.layers or il.efficiency")
    size, measure = theme.known_size(builds)
    if builds[size].notna().sum() < 2:
        return theme.nothing("A trend needs two builds with a known size")
    severities, lines = (
        [name for name in names if name in builds and builds[name].notna().any()]
        for names in (theme.SEVERITY_COLOURS, (size, "wasted", "layers", "rules_failed"))
    )
    titles = [measure if name == size else name.replace("_", " ") for name in lines]
    titles += ["findings"] * bool(severities)
    panels = len(titles)
    figure = make_subplots(panels, 1, shared_xaxes=True, vertical_spacing=0.32 / panels, subplot_titles=titles)
    colours = {"wasted": theme.REASON_COLOURS["deleted"]}
    for row, name in enumerate(lines, 1):
        _line(figure, row, builds, name, colours.get(name, theme.AMOUNT_COLOURS["amount"]))
    for name in severities:
        bar = {"color": theme.SEVERITY_COLOURS[name], "line": {"color": theme.OUTLINE, "width": 1}}
        texts = _hovers(builds, name, lambda count: f"{count:,.0f}")
        counts = builds[name].astype("float64")
        figure.add_bar(x=list(range(len(builds))), y=counts, name=name, marker=bar, hovertext=texts, hoverinfo="text",
                       row=panels, col=1)  # fmt: skip
    first, last = (builds[size].dropna().iloc[at] for at in (0, -1))
    change = signed(last - first) + (f" ({100 * (last - first) / first:+.0f}%)".replace("-", "−") if first else "")
    finding = f"{change} in {len(builds)} builds: from {format_bytes(first)} to {format_bytes(last)}"
    theme.titled(figure, finding, "Builds in their order; an unknown value is a gap", height=170 + PANEL * panels)
    legend = {"y": 0, "yanchor": "bottom", "yref": "container"}
    figure.update_layout(barmode="stack", bargap=0.6, showlegend=bool(severities), legend=legend)
    figure.update_annotations(x=0, xanchor="left", font_size=13)
    ticks = {"tickvals": list(range(len(builds))), "ticktext": [escape(name, 30) for name in builds["reference"]]}
    figure.update_xaxes(ticks | {"range": [-0.5, len(builds) - 0.5], "showgrid": False})
    if severities:
        figure.update_yaxes(row=panels, col=1, rangemode="tozero")
    return figure.update_layout(margin={"t": 112, "b": 60, "r": 40})


def _line(figure: go.Figure, row: int, builds: pd.DataFrame, name: str, colour: str) -> None:
    values = builds[name].astype("float64")
    words = format_bytes if BYTE_COLUMN.search(name) else lambda value: f"{value:,.0f}"
    figure.add_scatter(
        x=list(range(len(builds))),
        y=values,
        mode="lines+markers+text" if len(builds) <= LABELLED else "lines+markers",
        line={"color": colour, "width": 2.5},
        marker={"size": 9},
        text=[words(value) if pd.notna(value) else "" for value in values],
        textposition="top center",
        cliponaxis=False,
        showlegend=False,
        hovertext=_hovers(builds, name, words),
        hoverinfo="text",
        row=row,
        col=1,
    )
    top = max(values.max(), 1.0)
    ticks: dict[str, Any] = {"nticks": 4}
    if BYTE_COLUMN.search(name):  # a panel is low: every other tick
        ticks = {key: values[::2] for key, values in theme.bytes_ticks(top).items()}
    figure.update_yaxes(ticks | {"range": [0, top * 1.35]}, row=row, col=1)


def _hovers(builds: pd.DataFrame, name: str, words: Callable[[float], str]) -> list[str]:
    values = zip(builds["reference"], builds[name].astype("float64"), strict=True)
    return [theme.hover(build, f"{words(value)} {name.replace('_', ' ')}") for build, value in values]
