"""Chart the claims of a course section against measurements, and advice against real savings."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from imagelab.charts import theme
from imagelab.core.frames import format_bytes
from imagelab.core.text import escape

# Colour and shape repeat each other for colour-blind readers.
VERDICT_MARKS = {
    "confirmed": (theme.STATE_COLOURS["good"], "square"),
    "partly confirmed": (theme.STATE_COLOURS["partly"], "diamond"),
    "not confirmed": (theme.STATE_COLOURS["bad"], "x"),
    "not measured": (theme.STATE_COLOURS["none"], "circle-open"),
}


def claim_tiles(claims: pd.DataFrame) -> go.Figure:
    """Draw each claim as a mark, one row per chapter, in the order of the section.

    Parameters
    ----------
    claims : pandas.DataFrame
        As `imagelab.claims` gives them.
    """
    if claims.empty:
        return theme.nothing("No claims")
    shown = claims.assign(place=claims.groupby("chapter").cumcount() + 1)
    figure = go.Figure()
    _add_marks(figure, shown, "place", "chapter", 15)
    judged = claims[claims["verdict"] != "not measured"]
    confirmed = int((judged["verdict"] == "confirmed").sum())
    figure.update_xaxes(tickvals=[1, 5, 10, 15, 20, 25], range=[0.3, shown["place"].max() + 0.7])
    figure.update_yaxes(categoryorder="array", categoryarray=list(shown["chapter"].unique())[::-1])
    figure.update_legends(y=-0.1)
    return theme.titled(
        figure,
        f"{confirmed} of the {len(judged)} measured claims are confirmed",
        "one mark per claim, in the order of the section; hover for statement, measurement and explanation",
        height=460,
    )


def claim_ratios(claims: pd.DataFrame) -> go.Figure:
    """Draw measured ÷ promised for each claim with a number, on a logarithmic axis.

    Parameters
    ----------
    claims : pandas.DataFrame
        As `imagelab.claims` gives them. Promises of 0, of cases, and sums of the section's own numbers are left out; for a
        range the nearer end counts.
    """
    number = claims["unit"].isin(["bytes", "share", "times"]) & (claims["low"] > 0) & (claims["measured"] > 0)
    shown = claims[number.fillna(False) & ~claims["claim"].str.contains("arithmetic|total|breakdown")]
    if shown.empty:
        return theme.nothing("No claim with a number was measured")
    ratio = shown["measured"] / shown["measured"].clip(shown["low"], shown["high"])
    label = [
        f"{escape(claim, 30)}: {promised}" for claim, promised in zip(shown["claim"], shown["promised"], strict=True)
    ]
    shown = shown.assign(ratio=ratio.astype("float64"), label=label).sort_values("ratio", ascending=False)
    figure = go.Figure()
    for least, most, opacity in ((0.5, 2, 0.10), (2 - 1.1, 1.1, 0.18)):
        figure.add_vrect(x0=least, x1=most, fillcolor=theme.INK, opacity=opacity, line_width=0)
    _add_marks(figure, shown, "ratio", "label", 11)
    ticks = {"tickvals": [0.1, 0.2, 0.5, 1, 2, 4], "ticktext": ["0.1×", "0.2×", "0.5×", "1×", "2×", "4×"]}
    figure.update_xaxes(ticks, type="log", title="measured ÷ promised")
    figure.update_yaxes(categoryorder="array", categoryarray=list(shown["label"])[::-1])
    figure.update_legends(y=-0.14)
    within = int((shown["verdict"] == "confirmed").sum())
    return theme.titled(
        figure,
        f"{within} of {len(shown)} numbers are within 10 % of the measurement",
        "dark band: within 10 %; light band: within a factor of two",
        height=150 + 27 * len(shown),
    )


def advice_accuracy(verified: pd.DataFrame) -> go.Figure:
    """Draw the bytes that advice predicted beside those that the rebuild saved, pair by pair.

    Parameters
    ----------
    verified : pandas.DataFrame
        As `imagelab.verify_advice` gives it; pairs with neither are left out.
    """
    shown = verified[(verified["predicted_bytes"] > 0) | (verified["measured_bytes"] > 100_000)]
    if shown.empty:
        return theme.nothing("No pair with a prediction")
    shown = shown.sort_values("measured_bytes")
    figure = go.Figure()
    for column, name, colour in (
        ("measured_bytes", "saved by the rebuild", theme.AMOUNT_COLOURS["measured"]),
        ("predicted_bytes", "predicted by the advice", theme.AMOUNT_COLOURS["predicted"]),
    ):
        texts = [
            theme.hover(row.pair, f"{name}: {format_bytes(getattr(row, column))}", *_explanation(row))
            for row in shown.itertuples()
        ]
        theme.add_bars(figure, shown["pair"], shown[column], colour, texts, name=name)
    removals = shown[shown["removal"]]
    figure.update_layout(barmode="group")
    figure.update_legends(y=-0.12)
    return theme.titled(
        figure,
        f"{int(removals['close'].sum())} of {len(removals)} predictions are right where a change only removes files",
        "file bytes; right means within 2 % or 100 kB",
        height=140 + 38 * len(shown),
        bytes_axis="x",
        top=float(shown[["measured_bytes", "predicted_bytes"]].max().max()),
    )


def _add_marks(figure: go.Figure, claims: pd.DataFrame, x: str, y: str, size: int) -> None:
    """Add a mark for each claim at the values of two columns, by verdict."""
    for name, (colour, symbol) in VERDICT_MARKS.items():
        part = claims[claims["verdict"] == name]
        marker = {"color": colour, "symbol": symbol, "size": size, "line": {"color": colour, "width": 2}}
        texts = [_claim_hover(row) for row in part.itertuples()]
        name = f"{name} ({len(part)})"
        figure.add_scatter(
            x=part[x], y=part[y], mode="markers", name=name, marker=marker, hovertext=texts, hoverinfo="text"
        )


def _explanation(row: Any) -> list[str]:
    return [] if pd.isna(row.explanation) else [escape(line, 90) for line in row.explanation.split(". ")]


def _claim_hover(row: Any) -> str:
    found = [f"found: {row.found}"] if pd.notna(row.found) else []
    return theme.hover(row.statement, f"promised: {row.promised}", *found, f"<i>{row.verdict}</i>", *_explanation(row))
