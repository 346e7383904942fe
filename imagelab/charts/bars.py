"""Stacked bars: the layers of images, and what was stored in vain, by instruction."""

from __future__ import annotations

from string import ascii_uppercase
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from imagelab.charts.menu import per_image
from imagelab.charts.theme import (
    INK,
    INSTRUCTION_COLOURS,
    OUTLINE,
    REASON_COLOURS,
    hover,
    instruction_kind,
    known_size,
    nothing,
    quoted,
    share,
    step_label,
    text_on,
    titled,
)
from imagelab.display import escape
from imagelab.frames import format_bytes


def layer_bars(layers: pd.DataFrame, mark: str | None = None) -> go.Figure:
    """Layers of one or several images as stacked bars, base first; a layer in several images has one letter.

    Parameters
    ----------
    layers : pandas.DataFrame
        `imagelab.layers` of one or many images. Of the three sizes the first that all rows know is drawn.
    mark : str, optional
        A diff_id: its layer is framed wherever it stands.

    Returns
    -------
    plotly.graph_objects.Figure
    """
    column, measure = known_size(layers)
    rows = layers.assign(
        bytes=layers[column].fillna(0).astype("int64"), kind=layers["instruction"].map(instruction_kind)
    )
    rows["start"] = rows.groupby("reference", sort=False)["bytes"].cumsum() - rows["bytes"]
    key = next((name for name in ("chain_id", "diff_id", "digest") if rows[name].notna().all()), "chain_id")
    holders = rows.groupby(key)["reference"].nunique()
    rows["shared"] = rows[key].map(holders).fillna(1).gt(1)
    names = rows.loc[rows["shared"] & rows["bytes"].gt(0), key].drop_duplicates()
    letters = dict(zip(names, (_letter(place) for place in range(len(names))), strict=True))
    rows["marked"] = rows["diff_id"].eq(mark or "").fillna(False)
    rows["letter"] = [letters.get(name, "") for name in rows[key]]
    totals = rows.groupby("reference", sort=False)["bytes"].sum()
    top = float(totals.max()) if len(totals) else 0.0
    if not top:
        return nothing(f"No layer of {quoted(totals.index)} has a known size above zero")

    alone = len(totals) == 1
    places = {reference: place for place, reference in enumerate(totals.index)}
    figure = go.Figure()
    for kind, colour in INSTRUCTION_COLOURS.items():
        for shared in (False, True):
            part = rows[(rows["kind"] == kind) & (rows["shared"] == shared) & rows["bytes"].gt(0)]
            if part.empty:
                continue
            figure.add_bar(
                y=part["reference"].map(places),
                x=part["bytes"],
                base=part["start"],
                orientation="h",
                name=f"{kind}, in several images" if shared else kind,
                marker={
                    "color": colour,
                    "line": {
                        "color": [INK if marked else "rgba(255,255,255,0.85)" for marked in part["marked"]],
                        "width": [4 if marked else 1 for marked in part["marked"]],
                    },
                    # Lines over the colour, so that shared layers show without colour vision and in print.
                    "pattern": {
                        "shape": "/" if shared else "",
                        "bgcolor": colour,
                        "fgcolor": "rgba(255,255,255,0.4)",
                        "size": 8,
                    },
                },
                text=[
                    f"<b>{row['letter']}</b>" if row["letter"] else format_bytes(row["bytes"]) if alone else ""
                    for row in part.to_dict("records")
                ],
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                textfont={"size": 14, "color": text_on(colour)},
                hovertext=[_layer_hover(row, holders, key, measure) for row in part.to_dict("records")],
                hoverinfo="text",
            )
    figure.add_scatter(
        y=list(places.values()),
        x=totals,
        mode="text",
        showlegend=False,
        hoverinfo="skip",
        text=[f" <b>{format_bytes(total)}</b>" for total in totals],
        textposition="middle right",
        cliponaxis=False,
    )
    common = rows[rows["shared"]].drop_duplicates(key)["bytes"].sum()
    if alone:
        largest = rows.nlargest(1, "bytes").iloc[0]
        finding = (
            f"{escape(totals.index[0], 44)}: {format_bytes(top)} in {len(rows)} layers, "
            f"{share(largest['bytes'], top)} of it in {step_label(largest['created_by'], 50)}"
        )
    else:
        finding = (
            f"{format_bytes(totals.min())} to {format_bytes(top)}: {escape(totals.idxmax(), 44)} is the biggest; "
            + (f"layers of {format_bytes(common)} are shared" if common else "no layer is shared")
        )
    same = f"; the same letter is the same layer (by {key})" if letters else ""
    figure.update_layout(barmode="overlay", legend={"y": 1, "yanchor": "bottom"})
    figure.update_yaxes(
        tickvals=list(places.values()),
        ticktext=[escape(reference, 44) for reference in places],
        range=[len(places) - 0.4, -0.6],
        showgrid=False,
    )
    titled(
        figure,
        finding,
        f"Layers, base first, in {measure}{same}",
        height=170 + 46 * len(totals),
        bytes_axis="x",
        top=top,
    )
    figure.update_xaxes(range=[0, top * 1.14])
    return figure.update_layout(margin_t=figure.layout.margin.t + 26)


def _letter(place: int) -> str:
    return ascii_uppercase[place % 26] + (str(place // 26) if place >= 26 else "")


def _layer_hover(row: dict[Any, Any], holders: pd.Series, key: str, measure: str) -> str:
    lines = [
        f"{format_bytes(row['bytes'])} ({measure})",
        f"layer {row['layer_index']} of {escape(row['reference'], 60)}",
    ]
    if row["shared"]:
        lines.append(f"layer {row['letter']}: in {holders[row[key]]} of these images (same {key})")
    return hover(row["created_by"] if pd.notna(row["created_by"]) else "unknown instruction", *lines)


@per_image
def waste_bars(waste: pd.DataFrame) -> go.Figure:
    """Bytes stored in vain by the instruction that stored them, and why they are in vain.

    Parameters
    ----------
    waste : pandas.DataFrame
        The ledger (`imagelab.waste`) of one image; of several, a menu chooses.
    """
    if waste.empty:
        return nothing("Nothing was stored in vain: every byte of every layer is in the final filesystem")
    name, total = escape(waste["reference"].iloc[0], 44), int(waste["bytes"].sum())
    blamed = waste["instruction"].fillna("").astype("str")
    rows = (
        waste.assign(label=blamed)
        .groupby(["layer_index", "label", "reason"], observed=True, as_index=False)["bytes"]
        .sum()
    )
    order = rows.groupby(["layer_index", "label"])["bytes"].sum().sort_values(ascending=False)
    shown = list(order.index[:15])
    places = {key: place for place, key in enumerate(shown)}
    figure = go.Figure()
    for reason, colour in REASON_COLOURS.items():
        part = [
            row
            for row in rows[rows["reason"].eq(reason)].to_dict("records")
            if (row["layer_index"], row["label"]) in places
        ]
        if not part:
            continue
        figure.add_bar(
            y=[places[row["layer_index"], row["label"]] for row in part],
            x=[row["bytes"] for row in part],
            orientation="h",
            name=reason.replace("_", ", "),
            marker={"color": colour, "line": {"color": OUTLINE, "width": 1}},
            hovertext=[
                hover(
                    row["label"] or "unknown instruction",
                    f"layer {row['layer_index']}",
                    f"{format_bytes(row['bytes'])} {reason}",
                )
                for row in part
            ],
            hoverinfo="text",
        )
    figure.add_scatter(
        y=list(places.values()),
        x=order.iloc[:15],
        mode="text",
        text=[f" {format_bytes(size)}" for size in order.iloc[:15]],
        textposition="middle right",
        hoverinfo="skip",
        showlegend=False,
    )
    (_, worst), most = shown[0], int(order.iloc[0])
    finding = f"{name}: {format_bytes(total)} in vain, {share(most, total)} by {step_label(worst, 50)}"
    left = f"; {len(order) - 15} smaller ones are not shown" if len(order) > 15 else ""
    figure.update_layout(barmode="stack", legend={"y": 1, "yanchor": "bottom"})
    measure = f"Bytes of files that no one sees, by the instruction that stored them and why{left}"
    titled(figure, finding, measure, height=170 + 32 * len(places), bytes_axis="x", top=most)
    figure.update_xaxes(range=[0, most * 1.18])
    figure.update_yaxes(
        tickvals=list(places.values()),
        ticktext=[f"{step_label(label)}  <i>layer {layer}</i>" for layer, label in shown],
        range=[len(places) - 0.4, -0.6],
        showgrid=False,
    )
    return figure.update_layout(margin_t=figure.layout.margin.t + 26)
