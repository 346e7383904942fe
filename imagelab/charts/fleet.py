"""A fleet at a glance: which images are alike, and which bases they stand on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from imagelab.charts import theme
from imagelab.charts.sharing import heatmap
from imagelab.core.frames import format_bytes
from imagelab.core.text import escape

MOST = 60  # images in one heat map
#: Bases from the largest; the rest and the unknown are grey. Told apart as the instructions' colours are.
BASE_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#5b6472")
OTHER = "#c9ced6"


def similarity_heatmap(similarity: pd.DataFrame) -> go.Figure:
    """How much of their bytes each two images share, alike ones side by side.

    Parameters
    ----------
    similarity : pandas.DataFrame
        `imagelab.query_fleet`'s answer to ``similarity``. Of more than 60 images, those that have most in common with others
        are shown. Where the bytes of layers are unknown, so is the similarity: such cells stay empty.
    """
    pairs = similarity.groupby(["reference", "other"])[["similarity", "shared"]].max()
    table = pairs["similarity"].astype("float64").unstack(fill_value=0.0)
    if len(table) < 2:
        return theme.nothing("Similarity is between images, and here are fewer than two")
    kept = table.sum().nlargest(MOST).index
    kept = kept[_alike(table.loc[kept, kept].fillna(0).to_numpy())]
    matrix = table.loc[kept, kept].to_numpy()
    common = pairs["shared"].unstack(fill_value=0).loc[kept, kept].to_numpy()
    names = [escape(name.removeprefix("docker://"), 34) for name in kept]
    own = np.where(matrix <= 0.9995, matrix, 0)  # neither an image itself nor one of the same bytes is news
    one, other = np.unravel_index(own.argmax(), own.shape)
    finding = "No two images share a layer with bytes"
    if own.max() > 0:
        finding = f"Most alike: {names[one]} and {names[other]}, {own.max():.0%} of the bytes that either has"
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
    left = f"; {len(table) - MOST} further images are left out" if len(table) > MOST else ""
    theme.titled(figure, finding, f"Bytes that both have ÷ bytes that either has{left}", height=300 + 22 * len(names))
    return figure.update_xaxes(tickangle=60, tickfont_size=11).update_yaxes(tickfont_size=11)


def base_map(sharing: pd.DataFrame) -> go.Figure:
    """The images of a fleet by the base that they stand on; areas are bytes.

    Parameters
    ----------
    sharing : pandas.DataFrame
        `imagelab.query_fleet`'s answer to ``sharing``.
    """
    known = sharing[sharing["total"].fillna(0) > 0]
    if known.empty:
        return theme.nothing("No image of this fleet has a known size above zero")
    bases = known.groupby("base")["total"].agg(["sum", "size"]).sort_values("sum", ascending=False)
    colours = dict(zip(bases.index, BASE_COLOURS, strict=False))
    shown = known.sort_values("total", ascending=False).groupby("base").head(MOST)
    painted = [colours.get(base, OTHER) for base in [*bases.index, *shown["base"]]]
    names = [*bases.index, *(name.removeprefix("docker://") for name in shown["reference"])]
    stems = [
        theme.hover(base.Index, f"{base.size} images, together {format_bytes(base.sum)}") for base in bases.itertuples()
    ]
    leaves = [
        theme.hover(row.reference, f"{format_bytes(row.total)}, {format_bytes(row.unique)} of them its own alone")
        for row in shown.itertuples()
    ]
    figure = go.Figure(
        go.Treemap(
            ids=[*(f"base {base}" for base in bases.index), *(f"image {image}" for image in shown["image"])],
            labels=[escape(name, 40) for name in names],
            parents=[*[""] * len(bases), *(f"base {base}" for base in shown["base"])],
            values=[*shown.groupby("base")["total"].sum()[bases.index], *shown["total"]],
            branchvalues="total",
            marker={"colors": painted, "line": {"color": "rgba(255,255,255,0.65)", "width": 1}},
            hovertext=[*stems, *leaves],
            hoverinfo="text",
            textfont={"color": [theme.text_on(colour) for colour in painted]},
            tiling={"pad": 2},
        )
    )
    first = bases["size"].idxmax()
    finding = f"{theme.quoted([first])} is the base of {bases['size'].max()} of {len(known)} images"
    measure = f"Images by base, areas are {theme.SIZES[known['measure'].iloc[0]]}"
    return theme.titled(figure, finding, measure, height=520)


def _alike(matrix: np.ndarray) -> np.ndarray:
    """An order in which neighbours are alike: from the image most like all others, always on to the nearest left."""
    order = [int(matrix.sum(axis=0).argmax())]
    free = np.ones(len(matrix), bool)
    free[order[0]] = False
    while free.any():
        nearest = int(np.where(free, matrix[order[-1]], -1).argmax())
        if matrix[order[-1], nearest] == 0:  # nothing is like the last: whoever is most like any of those placed
            nearest = int(np.where(free, matrix[order].max(axis=0), -1).argmax())
        order.append(nearest)
        free[nearest] = False
    return np.array(order)
