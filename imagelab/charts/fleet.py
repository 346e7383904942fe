"""A fleet at a glance: which images are alike, and which bases they stand on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from imagelab.charts.sharing import SCALE
from imagelab.charts.theme import INK, SIZES, hover, nothing, quoted, text_on, titled
from imagelab.display import escape
from imagelab.frames import format_bytes

MOST = 60  # images in one heat map
#: Bases from the largest; the rest and the unknown are grey. Told apart as the instructions' colours are.
BASE_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#5b6472")
OTHER = "#c9ced6"


def likeness_heatmap(likeness: pd.DataFrame) -> go.Figure:
    """How much of their bytes each two images share, alike ones side by side.

    Parameters
    ----------
    likeness : pandas.DataFrame
        `imagelab.query_fleet`'s answer to ``likeness``. Of more than 60 images, those that have most in common with others
        are shown. Where the bytes of layers are unknown, so is the likeness: such cells stay empty.
    """
    unknown = likeness.assign(unknown=likeness["likeness"].isna())
    unknown = unknown.pivot_table(index="reference", columns="other", values="unknown", aggfunc="min", fill_value=False)
    likeness = likeness.fillna({"likeness": 0, "shared": 0}).astype({"likeness": "float64"})
    table = likeness.pivot_table(index="reference", columns="other", values="likeness", aggfunc="max", fill_value=0.0)
    if len(table) < 2:
        return nothing("Likeness is between images, and here are fewer than two")
    kept = table.sum().nlargest(MOST).index
    matrix = table.loc[kept, kept].to_numpy()
    order = _alike(matrix)
    matrix, names = matrix[np.ix_(order, order)], [escape(kept[place].removeprefix("docker://"), 34) for place in order]
    bytes_of = likeness.pivot_table(index="reference", columns="other", values="shared", aggfunc="max", fill_value=0)
    common = bytes_of.loc[kept[order], kept[order]].to_numpy()
    untold = unknown.loc[kept[order], kept[order]].to_numpy(bool)
    own = np.where(matrix > 0.9995, 0, matrix)  # neither an image itself nor one of the same bytes is news
    one, other = np.unravel_index(own.argmax(), own.shape)
    finding = "No two images share a layer with bytes"
    if own.max() > 0:
        finding = f"Most alike: {names[one]} and {names[other]}, {own.max():.0%} of the bytes that either has"
    places = list(range(len(names)))
    figure = go.Figure(
        go.Heatmap(
            z=np.where(untold, np.nan, matrix),
            x=places,
            y=places,
            zmin=0,
            zmax=1,
            colorscale=SCALE,
            colorbar={"tickformat": ".0%", "thickness": 12, "tickfont": {"color": INK}},
            xgap=1,
            ygap=1,
            hovertext=[
                [f"<b>{names[down]}</b><br><b>{names[over]}</b><br>"
                 + ("unknown: not all layers have a size" if untold[down, over]
                    else f"{matrix[down, over]:.0%}, {format_bytes(common[down, over])}")
                 for over in places] for down in places
            ],
            hoverinfo="text",
        )
    )  # fmt: skip
    left = f"; {len(table) - MOST} further images are left out" if len(table) > MOST else ""
    titled(figure, finding, f"Bytes that both have ÷ bytes that either has{left}", height=300 + 22 * len(names))
    ticks = {"tickvals": places, "ticktext": names, "showgrid": False, "tickfont": {"size": 11}}
    return figure.update_xaxes(ticks, tickangle=60).update_yaxes(ticks | {"autorange": "reversed"})


def base_map(sharing: pd.DataFrame) -> go.Figure:
    """The images of a fleet by the base that they stand on; areas are bytes.

    Parameters
    ----------
    sharing : pandas.DataFrame
        `imagelab.query_fleet`'s answer to ``sharing``.
    """
    known = sharing[sharing["total"].fillna(0) > 0]
    if known.empty:
        return nothing("No image of this fleet has a known size above zero")
    totals = known.groupby("base")["total"].sum().sort_values(ascending=False)
    counts = known.groupby("base").size()
    colours = dict(zip(totals.index, BASE_COLOURS, strict=False))
    shown = known.sort_values("total", ascending=False).groupby("base").head(MOST)
    leaves = [
        hover(row.reference, f"{format_bytes(row.total)}, {format_bytes(row.unique)} of them its own alone")
        for row in shown.itertuples()
    ]
    stems = [hover(base, f"{counts[base]} images, together {format_bytes(totals[base])}") for base in totals.index]
    painted = [colours.get(base, OTHER) for base in [*totals.index, *shown["base"]]]
    figure = go.Figure(
        go.Treemap(
            ids=[*(f"base {base}" for base in totals.index), *(f"image {image}" for image in shown["image"])],
            labels=[
                *(escape(base, 40) for base in totals.index),
                *(escape(name.removeprefix("docker://"), 40) for name in shown["reference"]),
            ],
            parents=[*[""] * len(totals), *(f"base {base}" for base in shown["base"])],
            values=[*(int(shown.loc[shown["base"] == base, "total"].sum()) for base in totals.index), *shown["total"]],
            branchvalues="total",
            marker={
                "colors": painted,
                "line": {"color": "rgba(255,255,255,0.65)", "width": 1},
            },
            hovertext=[*stems, *leaves],
            hoverinfo="text",
            textfont={"color": [text_on(colour) for colour in painted]},
            tiling={"pad": 2},
        )
    )
    first = counts.idxmax()
    finding = f"{quoted([first])} is the base of {counts[first]} of {len(known)} images"
    measure = f"Images by base, areas are {SIZES[known['measure'].iloc[0]]}"
    return titled(figure, finding, measure, height=520)


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
