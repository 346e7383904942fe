"""Heat maps of how much images share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from imagelab.charts import theme
from imagelab.core.errors import ImagelabError
from imagelab.core.frames import expect_frame, format_bytes
from imagelab.core.text import escape

# One hue, that of amounts: more is darker, on paper too.
SCALE = [[0, "rgb(238, 246, 248)"], [0.5, theme.AMOUNT_COLOURS["predicted"]], [1, theme.AMOUNT_COLOURS["measured"]]]


def sharing_heatmap(sharing: pd.DataFrame) -> go.Figure:
    """The bytes of the layers that each pair of images shares; on the diagonal, an image's own total.

    Parameters
    ----------
    sharing : pandas.DataFrame
        `imagelab.compare_layers` of two images or more: its ``identity`` and ``measure`` stand in the subtitle.
        A pair whose bytes are unknown stays empty.

    Raises
    ------
    ImagelabError
        Another frame, or fewer than two images.
    """
    expect_frame(sharing, ("reference", "other", "identity", "measure", "shared"), "il.compare_layers")
    references = list(sharing["reference"].unique())
    if len(references) < 2:
        raise ImagelabError(f"a comparison needs at least two images; this frame has {len(references)}.")
    common = sharing.set_index(["reference", "other"])["shared"].unstack().loc[references, references]
    if not (common.fillna(0) > 0).any(axis=None):
        return theme.nothing(f"No layer of {theme.quoted(references)} has a known size above zero")
    names = [escape(reference, 34) for reference in references]
    below = common.where(np.tri(len(names), k=-1, dtype=bool)).stack().dropna()
    finding = f"{theme.quoted(references)} share no layer"
    if len(below) and below.max():
        first, second = (names[references.index(name)] for name in reversed(below.idxmax()))
        finding = f"{first} and {second} share {format_bytes(below.max())} of layers"
    words = common.map(format_bytes).to_numpy()
    texts = [
        [
            f"<b>{row}</b><br>{words[down, down]} in all"
            if row == column
            else f"<b>{row}</b><br><b>{column}</b><br>{words[down, right]} in both"
            for right, column in enumerate(names)
        ]
        for down, row in enumerate(names)
    ]
    values = common.astype("float64").to_numpy()
    figure = heatmap(values, names, texts, showscale=False, gap=2, text=words, texttemplate="%{text}")
    identity, measure = sharing[["identity", "measure"]].iloc[0]
    subtitle = (
        f"Layers in both images (same {identity}); on the diagonal, all of an image's layers; {theme.SIZES[measure]}"
    )
    return theme.titled(figure, finding, subtitle, height=210 + 44 * len(names))


def heatmap(values: Any, names: list[str], texts: list[list[str]], gap: int, **more: Any) -> go.Figure:
    """Every name against every other, from the top left; ``texts`` are shown on hover."""
    places = list(range(len(names)))
    cells = {"z": values, "x": places, "y": places, "colorscale": SCALE, "xgap": gap, "ygap": gap}
    figure = go.Figure(go.Heatmap(**cells, hovertext=texts, hoverinfo="text", **more))
    ticks = {"tickvals": places, "ticktext": names, "showgrid": False}
    return figure.update_xaxes(ticks).update_yaxes(ticks | {"autorange": "reversed"})
