"""Where an image's bytes live: layers of several images, the size hierarchy, growth from base to final image."""

from __future__ import annotations

import textwrap
from string import ascii_uppercase
from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go

from imagelab.charts.theme import (
    INK,
    INSTRUCTION_COLOURS,
    NODE_COLOURS,
    OUTLINE,
    bytes_ticks,
    hover,
    instruction_kind,
    known_size,
    legend_swatches,
    quoted,
    share,
    step_label,
    text_on,
    titled,
)
from imagelab.display import escape
from imagelab.errors import ImagelabError
from imagelab.frames import format_bytes

Shape = Literal["treemap", "icicle"]


def one_image(frame: pd.DataFrame) -> str:
    """The frame's only reference; an error that names them where it holds several."""
    references = list(frame["reference"].unique())
    if len(references) != 1:
        raise ImagelabError(
            f"this chart shows one image and was given {len(references)} ({', '.join(map(str, references[:5]))}): "
            "keep one with frame[frame.reference == ...]"
        )
    return references[0]


def nothing(finding: str) -> go.Figure:
    """An empty figure whose title says why."""
    return titled(go.Figure(), finding, "", height=150).update_layout(xaxis_visible=False, yaxis_visible=False)


def layer_bars(layers: pd.DataFrame) -> go.Figure:
    """Layers of one or several images as stacked bars, base first; a layer in several images has one letter.

    Parameters
    ----------
    layers : pandas.DataFrame
        `imagelab.layers` of one or many images. Of the three sizes the first that all rows know is drawn.

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
    rows["letter"] = [letters.get(name, "") for name in rows[key]]
    totals = rows.groupby("reference", sort=False)["bytes"].sum()
    top = float(totals.max()) if len(totals) else 0.0
    if not top:
        return nothing(f"No layer of {quoted(totals.index)} has a known size above zero")

    alone = len(totals) == 1
    ticks = {reference: escape(reference, 44) for reference in totals.index}
    figure = go.Figure()
    for kind, colour in INSTRUCTION_COLOURS.items():
        for shared in (False, True):
            part = rows[(rows["kind"] == kind) & (rows["shared"] == shared) & rows["bytes"].gt(0)]
            if part.empty:
                continue
            figure.add_bar(
                y=part["reference"].map(ticks),
                x=part["bytes"],
                base=part["start"],
                orientation="h",
                name=f"{kind}, in several images" if shared else kind,
                marker={
                    "color": colour,
                    "line": {"color": "rgba(255,255,255,0.85)", "width": 1},
                    # Lines over the colour, so that shared layers show without colour vision and in print.
                    "pattern": {
                        "shape": "/" if shared else "",
                        "bgcolor": colour,
                        "fgcolor": "rgba(255,255,255,0.4)",
                        "size": 8,
                    },
                },
                text=[
                    f"<b>{row.letter}</b>" if row.letter else format_bytes(row.bytes) if alone else ""
                    for row in part.itertuples()
                ],
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                textfont={"size": 14, "color": text_on(colour)},
                hovertext=[_layer_hover(row, holders, key, measure) for row in part.to_dict("records")],
                hoverinfo="text",
            )
    figure.add_scatter(
        y=[ticks[reference] for reference in totals.index],
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
        largest = rows.loc[rows["bytes"].idxmax()]
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
    figure.update_layout(barmode="overlay", yaxis={"autorange": "reversed"}, legend={"y": 1, "yanchor": "bottom"})
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


def _layer_hover(row: dict[str, Any], holders: pd.Series, key: str, measure: str) -> str:
    lines = [
        f"{format_bytes(row['bytes'])} ({measure})",
        f"layer {row['layer_index']} of {escape(row['reference'], 60)}",
    ]
    if row["shared"]:
        lines.append(f"layer {row['letter']}: in {holders[row[key]]} of these images (same {key})")
    return hover(row["created_by"] if pd.notna(row["created_by"]) else "unknown instruction", *lines)


def size_tree(history: pd.DataFrame, shape: Shape = "treemap") -> go.Figure:
    """The size hierarchy: image, base or own, instruction, layer; area is bytes.

    Parameters
    ----------
    history : pandas.DataFrame
        `imagelab.history` of one or many images.
    shape : {"treemap", "icicle"}
    """
    column, measure = known_size(history)
    rows = history.assign(bytes=history[column].fillna(0).astype("int64"))
    rows = rows[rows["bytes"] > 0]
    if rows.empty:
        return nothing(f"No step of {quoted(history['reference'].unique())} has a known size above zero")
    rows["kind"] = rows["instruction"].map(instruction_kind)
    rows["origin"] = rows["from_base"].map({True: "base", False: "own"}).astype(object).fillna("base or own unknown")
    total = int(rows["bytes"].sum())
    images = rows["reference"].nunique()
    nodes = [("", "", f"{images} images", total, hover(f"{images} images"), "directory")] if images > 1 else []
    for depth, keys in enumerate((["reference"], ["reference", "origin"], ["reference", "origin", "kind"])):
        for names, size in rows.groupby(keys, sort=False)["bytes"].sum().items():
            parts = names if isinstance(names, tuple) else (names,)
            words = escape(parts[-1], 60)
            kind = "FROM" if depth == 1 and parts[-1] == "base" else parts[-1] if depth == 2 else "directory"
            nodes.append(("\n".join(parts), "\n".join(parts[:-1]), words, size, hover(parts[-1]), kind))
    for row in rows.to_dict("records"):
        parent = "\n".join((row["reference"], row["origin"], row["kind"]))
        words = step_label(row["created_by"], 66)
        text = hover(row["created_by"] or row["comment"] or "no history", f"step {row['step']}")
        nodes.append((f"{parent}\n{row['step']}", parent, words, row["bytes"], text, row["kind"]))
    by_origin = rows.groupby("origin")["bytes"].sum()
    if "own" in by_origin and "base" in by_origin:
        finding = f"{share(by_origin['own'], total)} of {format_bytes(total)} is the image's own, the rest is its base"
    else:
        biggest = rows.groupby("kind")["bytes"].sum()
        finding = (
            f"{share(biggest.max(), total)} of {format_bytes(total)} was brought by {biggest.idxmax()} instructions"
        )
    if images == 1:
        finding = f"{escape(rows['reference'].iloc[0], 44)}: {finding}"
    figure = go.Figure(
        _tree_trace(nodes, shape, [INSTRUCTION_COLOURS.get(node[5]) or NODE_COLOURS[node[5]] for node in nodes])
    )
    legend_swatches(
        figure, [(kind, colour) for kind, colour in INSTRUCTION_COLOURS.items() if kind in set(rows["kind"])]
    )
    return titled(
        figure, finding, f"Image, base or own, instruction, layer; area is {measure}. Click to zoom", height=540
    )


def _tree_trace(nodes: list[tuple[str, str, str, int, str, str]], shape: Shape, colours: list[str]) -> Any:
    """A treemap or icicle of (id, parent, label, bytes, hover, kind)."""
    if shape not in ("treemap", "icicle"):
        raise ImagelabError(f"a tree is drawn as 'treemap' or 'icicle', not {shape!r}")
    ids = {node[0]: str(place) for place, node in enumerate(nodes)}
    whole = nodes[0][3] or 1
    parents = {node[1] for node in nodes}
    trace = {
        "ids": [ids[node[0]] for node in nodes],
        "parents": [ids.get(node[1], "") if node[0] != nodes[0][0] else "" for node in nodes],
        "labels": ["<br>".join(_lines(node[2], shape, node[0] not in parents)) for node in nodes],
        "values": [node[3] for node in nodes],
        "text": [format_bytes(node[3]) for node in nodes],
        "hovertext": [f"{node[4]}<br>{format_bytes(node[3])}, {share(node[3], whole)}" for node in nodes],
        "hoverinfo": "text",
        "textinfo": "label+text",
        "branchvalues": "total",
        "sort": True,
        "textfont": {"color": [text_on(colour) for colour in colours]},
        "pathbar": {"visible": True, "thickness": 22, "textfont": {"color": INK}},
        "marker": {"colors": colours, "line": {"width": 1, "color": "rgba(255,255,255,0.7)"}},
        "domain": {"x": [0, 1], "y": [0, 1]},
    }
    if shape == "icicle":
        return go.Icicle(**trace, leaf={"opacity": 1})
    trace["marker"]["pad"] = {"t": 22, "l": 3, "r": 3, "b": 3}
    return go.Treemap(**trace, tiling={"packing": "squarify", "pad": 2})


def _lines(label: str, shape: Shape, leaf: bool) -> list[str]:
    """A leaf's label in lines that a rectangle can hold; entities stay whole."""
    return textwrap.wrap(label, 22, break_long_words=False)[: 3 if shape == "treemap" else 2] if leaf else [label]


def growth(history: pd.DataFrame) -> go.Figure:
    """A waterfall from the base to the final image, a bar for each instruction; small steps are added up.

    Parameters
    ----------
    history : pandas.DataFrame
        `imagelab.history` of one image.
    """
    reference = one_image(history)
    column, measure = known_size(history)
    rows = history.assign(bytes=history[column].fillna(0).astype("int64"))
    total = int(rows["bytes"].sum())
    if not total:
        return nothing(f"No step of {escape(reference, 60)} has a known size above zero")
    base = int(rows.loc[rows["from_base"].fillna(False).astype(bool), "bytes"].sum())
    own = rows[~rows["from_base"].fillna(False).astype(bool) & rows["bytes"].gt(0)]
    large = own[own["bytes"].ge(total * 0.004)].nlargest(14, "bytes").sort_index()
    small = own.drop(large.index)
    steps = [("base image", base, "FROM", hover("base image"))] if base else []
    for row in large.to_dict("records"):
        text = hover(row["created_by"] or "no history", f"step {row['step']}")
        steps.append((step_label(row["created_by"]), row["bytes"], instruction_kind(row["instruction"]), text))
    if len(small):
        steps.append(
            (f"{len(small)} smaller steps", int(small["bytes"].sum()), "unknown", hover(f"{len(small)} smaller steps"))
        )
    biggest = own.loc[own["bytes"].idxmax()] if len(own) else None
    finding = f"{escape(reference, 44)} is {format_bytes(total)}"
    if base:
        finding = f"{escape(reference, 44)} grows from {format_bytes(base)} to {format_bytes(total)}"
    if biggest is not None:
        finding += f"; most comes from {step_label(biggest['created_by'], 50)}: +{format_bytes(biggest['bytes'])}"
    figure = waterfall(steps, "final image", signed_first=not base)
    return titled(figure, finding, f"Steps from base to final image, in {measure}", height=150 + 34 * (len(steps) + 1))


def waterfall(steps: list[tuple[str, int, str, str]], last: str, *, signed_first: bool = False) -> go.Figure:
    """Bars that start where the one above ends, from (label, bytes, instruction kind, hover), and a total."""
    labels = [f"{label}<span style='font-size:1px'>{' ' * place}</span>" for place, (label, *_) in enumerate(steps)]
    sizes = [size for _, size, *_ in steps]
    ends = [sum(sizes[: place + 1]) for place in range(len(sizes))]
    starts = [0, *ends[:-1]]
    words = [
        f"{size:+d}" and ("" if not place and not signed_first else "+" if size >= 0 else "−") + format_bytes(abs(size))
        for place, size in enumerate(sizes)
    ]
    low, top = min(0, *ends), max(*ends, *starts, 1)
    figure = go.Figure()
    figure.add_bar(
        y=[*labels, f"<b>{last}</b>"],
        x=[*(abs(size) for size in sizes), ends[-1]],
        base=[*(min(pair) for pair in zip(starts, ends, strict=True)), 0],
        orientation="h",
        showlegend=False,
        marker={
            "color": [*(INSTRUCTION_COLOURS[kind] for *_, kind, _ in steps), INK],
            "line": {"color": OUTLINE, "width": 1},
        },
        hovertext=[
            *(f"{text}<br>{word}" for (*_, text), word in zip(steps, words, strict=True)),
            format_bytes(ends[-1]),
        ],
        hoverinfo="text",
    )
    figure.add_scatter(
        y=[*labels, f"<b>{last}</b>"],
        x=[*(max(pair) for pair in zip(starts, ends, strict=True)), ends[-1]],
        mode="text",
        text=[*(f" {word}" for word in words), f" <b>{format_bytes(ends[-1])}</b>"],
        textposition="middle right",
        showlegend=False,
        hoverinfo="skip",
        cliponaxis=False,
    )
    figure.update_layout(yaxis={"autorange": "reversed", "showgrid": False}, bargap=0.35)
    figure.update_xaxes(bytes_ticks(float(top), float(low)))
    return figure.update_xaxes(range=[low * 1.12, top * 1.16])
