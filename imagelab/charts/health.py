"""Draw containers' health over time."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from imagelab.charts import theme
from imagelab.core.frames import expect_frame
from imagelab.core.text import escape

HEALTH_COLOURS = {
    health: theme.STATE_COLOURS[state]
    for health, state in (("none", "none"), ("starting", "partly"), ("healthy", "good"), ("unhealthy", "bad"))
}
STATES = ("image", "from", "to", "program", "health")
CHECKS = ("image", "seconds", "exit_code", "output")


def health_timeline(states: pd.DataFrame, checks: pd.DataFrame) -> go.Figure:
    """A row per container: its health over time, and each check that ran.

    Parameters
    ----------
    states : pandas.DataFrame
        A row per span without a change: ``image``, ``from`` and ``to`` in seconds since the start, ``program`` (answers or
        hangs), and ``health`` (none, starting, healthy or unhealthy).
    checks : pandas.DataFrame
        A row per check: ``image``, ``seconds`` since its start, ``exit_code`` and ``output``.
    """
    expect_frame(states, STATES, "data/runs/states.csv")
    expect_frame(checks, CHECKS, "data/runs/checks.csv")
    if states.empty:
        return theme.nothing("No container was observed")
    names = {image: escape(image, 44) for image in dict.fromkeys(states["image"])}
    figure = go.Figure()
    for health, colour in HEALTH_COLOURS.items():
        part = states[states["health"] == health]
        theme.add_bars(
            figure,
            part["image"].map(names),
            part["to"] - part["from"],
            colour,
            [
                theme.hover(image, f"{health}, {begun:.1f} to {end:.1f} s", f"the program {escape(program)}")
                for image, begun, end, program in part[["image", "from", "to", "program"]].itertuples(index=False)
            ],
            base=part["from"],
            width=0.5,
            name="no health check" if health == "none" else health,
            marker={"line": {"color": theme.text_on(colour), "width": 0.5}},
        )
    passed = checks["exit_code"].eq(0)
    for name, part, symbol, ink, edge in (
        ("check passed", checks[passed], "circle", "#ffffff", "#111111"),
        ("check failed", checks[~passed], "x", "#111111", "#ffffff"),
    ):
        figure.add_scatter(
            y=part["image"].map(names),
            x=part["seconds"],
            mode="markers",
            name=name,
            marker={"symbol": symbol, "size": 9, "color": ink, "line": {"color": edge, "width": 1}},
            hovertext=[
                theme.hover(row.image, f"at {row.seconds:.1f} s: exit code {row.exit_code}", escape(row.output, 90))
                for row in part.itertuples()
            ],
            hoverinfo="text",
        )
    hanging = states[states["program"] == "hangs"]
    late = hanging.groupby("image").agg(first=("health", "first"), last=("health", "last"))
    noticed = int((late["last"].eq("unhealthy") & late["first"].eq("healthy")).sum())
    if not hanging.empty:
        figure.add_vline(hanging["from"].min(), line={"color": theme.INK, "dash": "dash", "width": 2})
    title = f"{noticed} of {len(late)} containers became unhealthy when their program hung"
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(title="seconds since the container's start", range=[0, float(states["to"].max())])
    figure.update_yaxes(categoryorder="array", categoryarray=list(names.values())[::-1])
    figure.update_legends(y=-0.42)
    return theme.titled(
        figure,
        title if len(late) else "No program hung",
        "Dashed line: the programs are paused, their processes keep running",
        height=205 + 60 * len(names),
    )
