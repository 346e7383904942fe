"""Stacked bars: the layers of images, and wasted bytes by instruction."""

from __future__ import annotations

from itertools import product
from string import ascii_uppercase
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from imagelab.charts import theme
from imagelab.charts.menu import per_image
from imagelab.core.frames import format_bytes
from imagelab.core.text import escape
from imagelab.size.compare import IDENTITIES

MOST = 15  # instructions whose waste is shown


def layer_bars(layers: pd.DataFrame, mark: str | None = None) -> go.Figure:
    """Draw the layers of one or several images as stacked bars, base first; a shared layer has one letter.

    Parameters
    ----------
    layers : pandas.DataFrame
        `imagelab.layers` of one or many images. The bars show the first of the three sizes that all rows have.
    mark : str, optional
        A diff_id: this layer is outlined in every image.

    Returns
    -------
    plotly.graph_objects.Figure
    """
    rows, measure = theme.sized(layers)
    rows, key = _lettered(rows)
    rows["kind"] = rows["instruction"].map(theme.instruction_kind)
    rows["start"] = rows.groupby("reference", sort=False)["bytes"].cumsum() - rows["bytes"]
    rows["marked"] = rows["diff_id"].eq(mark or "").fillna(False)
    totals = rows.groupby("reference", sort=False)["bytes"].sum()
    top = float(totals.max()) if len(totals) else 0.0
    if not top:
        return theme.nothing(f"No layer of {theme.quoted(totals.index)} has a known size above zero")

    alone = len(totals) == 1
    rows["place"] = rows["reference"].map({reference: place for place, reference in enumerate(totals.index)})
    figure = go.Figure()
    for (kind, colour), shared in product(theme.INSTRUCTION_COLOURS.items(), (False, True)):
        part = rows[(rows["kind"] == kind) & (rows["shared"] == shared) & rows["bytes"].gt(0)]
        if part.empty:
            continue
        line = {
            "color": [theme.INK if marked else "rgba(255,255,255,0.85)" for marked in part["marked"]],
            "width": [4 if marked else 1 for marked in part["marked"]],
        }
        # Lines over the colour, so that shared layers show without colour vision and in print.
        lines = {"shape": "/" if shared else "", "bgcolor": colour, "fgcolor": "rgba(255,255,255,0.4)", "size": 8}
        sizes = [format_bytes(size) if alone else "" for size in part["bytes"]]
        theme.add_bars(
            figure,
            part["place"],
            part["bytes"],
            colour,
            [_layer_hover(row, key, measure) for row in part.to_dict("records")],
            base=part["start"],
            width=0.7,  # else plotly takes it from the distance of the rows that a trace has
            customdata=theme.layer_of(part),
            name=f"{kind}, shared" if shared else kind,
            marker={"line": line, "pattern": lines},
            text=[f"<b>{letter}</b>" if letter else size for letter, size in zip(part["letter"], sizes, strict=True)],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            textfont={"size": 14, "color": theme.text_on(colour)},
        )
    theme.label_ends(figure, totals, [f"<b>{format_bytes(total)}</b>" for total in totals])
    if alone:
        largest = rows.nlargest(1, "bytes").iloc[0]
        part, step = theme.share(largest["bytes"], top), theme.step_label(largest["created_by"], 50)
        finding = f"{escape(totals.index[0], 44)}: {format_bytes(top)} in {len(rows)} layers, {part} from {step}"
    else:
        common = rows[rows["shared"]].drop_duplicates(key)["bytes"].sum()
        finding = f"{format_bytes(totals.min())} to {format_bytes(top)}, {escape(totals.idxmax(), 44)} is the biggest; "
        finding += f"shared layers: {format_bytes(common)}" if common else "no shared layer"
    same = f"; the same letter is the same layer (by {key})" if rows["letter"].any() else ""
    figure.update_layout(barmode="overlay")
    theme.label_rows(figure, [escape(reference, 44) for reference in totals.index])
    measure = f"Layers, base first, in {measure}{same}"
    theme.titled(figure, finding, measure, height=170 + 46 * len(totals), bytes_axis="x", top=top)
    return theme.legend_above(figure.update_xaxes(range=[0, top * 1.14]))


def _lettered(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Add the number of ``images`` with each layer and the ``letter`` of shared ones; return the identity too."""
    key = next((name for name in IDENTITIES if rows[name].notna().all()), IDENTITIES[0])
    images = rows[key].map(rows.groupby(key)["reference"].nunique()).fillna(1).astype("int64")
    names = rows.loc[images.gt(1) & rows["bytes"].gt(0), key].drop_duplicates()
    letters = {name: ascii_uppercase[place % 26] + str(place // 26 or "") for place, name in enumerate(names)}
    letter = [letters.get(name, "") for name in rows[key]]
    return rows.assign(images=images, shared=images.gt(1), letter=letter), key


def _layer_hover(row: dict[Any, Any], key: str, measure: str) -> str:
    lines = [
        f"{format_bytes(row['bytes'])} ({measure})",
        f"layer {row['layer_index']} of {escape(row['reference'], 60)}",
    ]
    if row["shared"]:
        lines.append(f"layer {row['letter']}: in {row['images']} of these images (same {key})")
    return theme.hover(row["created_by"] if pd.notna(row["created_by"]) else "unknown instruction", *lines)


@per_image
def waste_bars(waste: pd.DataFrame) -> go.Figure:
    """Draw wasted bytes by the instruction that stored them, and why they are wasted.

    Parameters
    ----------
    waste : pandas.DataFrame
        `imagelab.waste` of one image; for several images, a menu selects one.
    """
    if waste.empty:
        return theme.nothing("No wasted bytes: every byte of every layer is in the final filesystem")
    name, total = escape(waste["reference"].iloc[0], 44), int(waste["bytes"].sum())
    rows = waste.assign(label=waste["instruction"].fillna("").astype("str"))
    rows = rows.groupby(["layer_index", "label", "reason"], observed=True, as_index=False)["bytes"].sum()
    order = rows.groupby(["layer_index", "label"])["bytes"].sum().sort_values(ascending=False)
    shown = order.iloc[:MOST]
    places = {key: place for place, key in enumerate(shown.index)}
    rows["place"] = [places.get(key) for key in zip(rows["layer_index"], rows["label"], strict=True)]
    rows = rows.dropna(subset="place").astype({"place": "int64"})
    figure = go.Figure()
    for reason, colour in theme.REASON_COLOURS.items():
        part = rows[rows["reason"].eq(reason)]
        if part.empty:
            continue
        texts = [
            theme.hover(
                row.label or "unknown instruction", f"layer {row.layer_index}", f"{format_bytes(row.bytes)} {reason}"
            )
            for row in part.itertuples()
        ]
        clicked = theme.layer_of(part.assign(reference=waste["reference"].iloc[0]))
        theme.add_bars(
            figure, part["place"], part["bytes"], colour, texts, customdata=clicked, name=reason.replace("_", ", ")
        )
    theme.label_ends(figure, shown, map(format_bytes, shown))
    (_, worst), most = shown.index[0], int(shown.iloc[0])
    finding = f"{name}: {format_bytes(total)} wasted, {theme.share(most, total)} by {theme.step_label(worst, 50)}"
    left = f"; {len(order) - MOST} smaller ones are not shown" if len(order) > MOST else ""
    figure.update_layout(barmode="stack")
    measure = f"Bytes hidden from containers, by the instruction that stored them and why{left}"
    theme.titled(figure, finding, measure, height=170 + 32 * len(shown), bytes_axis="x", top=most)
    theme.label_rows(figure, [f"{theme.step_label(label)}  <i>layer {layer}</i>" for layer, label in shown.index])
    return theme.legend_above(figure.update_xaxes(range=[0, most * 1.18]))


@per_image
def size_outlook(layers: pd.DataFrame, advice: pd.DataFrame) -> go.Figure:
    """Draw how big an image is and how much of it the advice removes, by confidence.

    Parameters
    ----------
    layers : pandas.DataFrame
        `imagelab.layers` of one image; for several images, a menu selects one.
    advice : pandas.DataFrame
        `imagelab.advise` of the same images.
    """
    rows, measure = theme.sized(layers)
    name, total = rows["reference"].iloc[0], int(rows["bytes"].sum())
    counted = advice[advice["reference"].eq(name) & ~advice["accepted"]]
    sums = counted.groupby("confidence")["bytes"].sum()
    saved = {word: int(sums[word]) for word in theme.CONFIDENCE_COLOURS if sums.get(word)}
    left = max(total - sum(saved.values()), 0)
    figure, start = go.Figure(), 0
    colours = {"stays": theme.INSTRUCTION_COLOURS["FROM"]} | theme.CONFIDENCE_COLOURS
    for word, size in {"stays": left, **saved}.items():
        label = word if word == "stays" else f"{word} saving"
        words = f"{format_bytes(size)} {label}"
        font = {"size": 14, "color": theme.text_on(colours[word])}
        theme.add_bars(figure, [0], [size], colours[word], [words], base=[start], name=label, width=0.8, textangle=0,
                       text=[words if size > total / 12 else ""], textposition="inside", insidetextanchor="middle",
                       textfont=font)  # fmt: skip
        start += size
    found = ", ".join(f"{format_bytes(size)} {word}" for word, size in saved.items())
    finding = f"{escape(name, 44)} is {format_bytes(total)}"
    finding += f" and could be {format_bytes(left)}: {found}" if found else ": nothing removable found"
    theme.titled(
        figure, finding, f"{measure.capitalize()}; savings by confidence, proven only after a rebuild", height=230
    )
    figure.update_layout(barmode="overlay").update_yaxes(visible=False)
    return theme.legend_above(figure.update_xaxes(theme.bytes_ticks(total) | {"range": [0, total or 1]}))
