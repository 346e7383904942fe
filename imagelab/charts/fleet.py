"""Fleets: similar images, bases, and the space that deleting an image frees."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from imagelab.charts import theme
from imagelab.charts.sharing import heatmap
from imagelab.charts.trees import Node, tree_trace
from imagelab.core.frames import format_bytes
from imagelab.core.text import escape

MOST = 60  # images in one heat map


def similarity_heatmap(similarity: pd.DataFrame) -> go.Figure:
    """Draw the share of bytes that each pair of images has in common, similar images side by side.

    Parameters
    ----------
    similarity : pandas.DataFrame
        `imagelab.query_fleet` of ``similarity``. Of more than 60 images, those with most in common are shown. Cells with
        layers of unknown size stay empty.
    """
    pairs = similarity.groupby(["reference", "other"])[["similarity", "shared"]].max()
    table = pairs["similarity"].astype("float64").unstack(fill_value=0.0)
    if len(table) < 2:
        return theme.nothing("Similarity needs at least two images")
    kept = table.sum().nlargest(MOST).index
    kept = kept[_similar_order(table.loc[kept, kept].fillna(0).to_numpy())]
    matrix = table.loc[kept, kept].to_numpy()
    common = pairs["shared"].unstack(fill_value=0).loc[kept, kept].to_numpy()
    names = [escape(name.removeprefix("docker://"), 34) for name in kept]
    own = np.where(matrix <= 0.9995, matrix, 0)  # without an image itself and copies of it
    upper, lower = np.unravel_index(own.argmax(), own.shape)
    finding = "No two images share a layer with bytes"
    if own.max() > 0:
        finding = f"Most similar: {names[upper]} and {names[lower]} share {own.max():.0%} of their bytes"
    texts = [
        [
            f"<b>{names[down]}</b><br><b>{names[over]}</b><br>"
            + ("unknown: not all layers have a size" if np.isnan(part) else f"{part:.0%}, {format_bytes(size)}")
            for over, (part, size) in enumerate(zip(*row, strict=True))
        ]
        for down, row in enumerate(zip(matrix, common, strict=True))
    ]
    bar = {"tickformat": ".0%", "thickness": 12, "tickfont": {"color": theme.INK}}
    figure = heatmap(matrix, names, texts, gap=1, zmin=0, zmax=1, colorbar=bar)
    left = f"; {len(table) - MOST} more images are not shown" if len(table) > MOST else ""
    theme.titled(figure, finding, f"Shared bytes ÷ bytes of both together{left}", height=300 + 22 * len(names))
    return figure.update_xaxes(tickangle=60, tickfont_size=11).update_yaxes(tickfont_size=11)


def fleet_sharing(sharing: pd.DataFrame) -> go.Figure:
    """Draw for each image the bytes that are unique to it and those that it shares with others.

    Parameters
    ----------
    sharing : pandas.DataFrame
        `imagelab.query_fleet` of ``sharing``. Of more than 60 images, those with most unique bytes are shown.
    """
    known = sharing.dropna(subset=["unique", "shared"])
    if not known["total"].sum():
        return theme.nothing("No image of this fleet has a known size above zero")
    shown = known.sort_values(["unique", "total"], ascending=False, kind="stable").head(MOST)
    names = [escape(name.removeprefix("docker://"), 34) for name in shown["reference"]]
    figure, places = go.Figure(), list(range(len(shown)))
    for column, colour in (("unique", theme.AMOUNT_COLOURS["amount"]), ("shared", theme.REST)):
        texts = [
            theme.hover(name, f"{format_bytes(size)} {column}")
            for name, size in zip(shown["reference"], shown[column], strict=True)
        ]
        theme.add_bars(figure, places, shown[column], colour, texts, name=column)
    theme.label_ends(figure, shown["total"], [format_bytes(size) for size in shown["unique"]])
    finding = f"Deleting {names[0]} frees the most space: {format_bytes(shown['unique'].iloc[0])}"
    figure.update_layout(barmode="stack")
    top, measure = float(shown["total"].max()), theme.SIZES[shown["measure"].iloc[0]]
    left = f"; {len(known) - MOST} more images are not shown" if len(known) > MOST else ""
    theme.titled(
        figure,
        finding,
        f"Unique bytes are the space freed; {measure}{left}",
        height=170 + 26 * len(shown),
        bytes_axis="x",
        top=top,
    )
    theme.label_rows(figure, names)
    return theme.legend_above(figure.update_xaxes(range=[0, top * 1.14]))


def base_map(sharing: pd.DataFrame) -> go.Figure:
    """Draw the images of a fleet by their base; the area is bytes.

    Parameters
    ----------
    sharing : pandas.DataFrame
        `imagelab.query_fleet` of ``sharing``.
    """
    known = sharing[sharing["total"].fillna(0) > 0]
    if known.empty:
        return theme.nothing("No image of this fleet has a known size above zero")
    bases = known.groupby("base")["total"].agg(["sum", "size"]).sort_values("sum", ascending=False)
    colours = dict(zip(bases.index, theme.GROUP_COLOURS, strict=False))
    shown = known.sort_values("total", ascending=False).groupby("base").head(MOST)
    whole = f"{len(known)} images"
    nodes = [Node("", "", whole, int(bases["sum"].sum()), theme.hover(whole), theme.NODE_COLOURS["directory"])]
    for base in bases.itertuples():
        text = theme.hover(base.Index, f"{base.size} images")
        nodes.append(
            Node(f"base {base.Index}", "", escape(base.Index, 40), base.sum, text, colours.get(base.Index, theme.REST))
        )
    for row in shown.itertuples():
        name, text = row.reference.removeprefix("docker://"), f"{format_bytes(row.unique)} unique to it"
        colour = colours.get(row.base, theme.REST)
        nodes.append(
            Node(f"image {row.image}", f"base {row.base}", escape(name, 40), row.total, theme.hover(name, text), colour)
        )
    figure = go.Figure(tree_trace(nodes, "treemap"))
    first = bases["size"].idxmax()
    finding = f"{theme.quoted([first])} is the base of {bases['size'].max()} of {len(known)} images"
    measure = f"Images by base; the area is {theme.SIZES[known['measure'].iloc[0]]}"
    return theme.titled(figure, finding, measure, height=520)


def _similar_order(matrix: np.ndarray) -> np.ndarray:
    """Order images by similarity: start with the one most similar to all, then always take the nearest one left."""
    order = [int(matrix.sum(axis=0).argmax())]
    free = np.ones(len(matrix), bool)
    free[order[0]] = False
    while free.any():
        nearest = int(np.where(free, matrix[order[-1]], -1).argmax())
        if matrix[order[-1], nearest] == 0:  # nothing in common with the last one: take the nearest to any placed one
            nearest = int(np.where(free, matrix[order].max(axis=0), -1).argmax())
        order.append(nearest)
        free[nearest] = False
    return np.array(order)
