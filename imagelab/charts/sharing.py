"""How much images have in common, as a heat map."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from imagelab.charts import theme
from imagelab.core.errors import ImagelabError
from imagelab.core.frames import format_bytes
from imagelab.core.text import escape

# One hue from the ground to RUN's blue: more is darker, on paper too.
SCALE = [[0, "#eef3f8"], [0.5, "#6baed6"], [1, "#08519c"]]


def sharing_heatmap(layers: pd.DataFrame) -> go.Figure:
    """For each pair of images, the bytes of the layers that both have; on the diagonal an image's own total.

    Parameters
    ----------
    layers : pandas.DataFrame
        `imagelab.layers` of several images. The same layer means chain_id (storage in an engine), or diff_id or
        digest where that is all that every row has; the subtitle says which.
    """
    references = list(layers["reference"].unique())
    if len(references) < 2:
        raise ImagelabError(f"sharing is between images, and the frame holds {len(references)}: give at least two")
    rows, measure = theme.sized(layers)
    key = next((name for name in ("chain_id", "diff_id", "digest") if rows[name].notna().all()), "diff_id")
    held = rows.dropna(subset=[key]).drop_duplicates(["reference", key])[["reference", key, "bytes"]]
    pairs = held.merge(held[["reference", key]], on=key).groupby(["reference_x", "reference_y"])["bytes"].sum()
    common = [[int(pairs.get((one, other), 0)) for other in references] for one in references]
    if not any(map(any, common)):
        return theme.nothing(f"No layer of {theme.quoted(references)} has a known size above zero")
    names = [escape(reference, 34) for reference in references]
    most, one, other = max((common[up][left], up, left) for up in range(len(names)) for left in range(up))
    finding = f"{theme.quoted(references)} share no layer"
    if most:
        finding = f"{names[other]} and {names[one]} share {format_bytes(most)} of layers"
    texts = [
        [
            f"<b>{names[down]}</b>{'' if down == over else f'<br><b>{names[over]}</b>'}"
            f"<br>{'' if down == over else 'both have '}{format_bytes(size)}"
            for over, size in enumerate(row)
        ]
        for down, row in enumerate(common)
    ]
    words = [[format_bytes(size) for size in row] for row in common]
    figure = heatmap(common, names, texts, showscale=False, gap=2, text=words, texttemplate="%{text}")
    subtitle = f"Layers that both have (same {key}), on the diagonal all of an image's, in {measure}"
    return theme.titled(figure, finding, subtitle, height=210 + 44 * len(names))


def heatmap(values: Any, names: list[str], texts: list[list[str]], gap: int, **more: Any) -> go.Figure:
    """Every name against every other, from the top left; ``texts`` are shown on hover."""
    places = list(range(len(names)))
    cells = {"z": values, "x": places, "y": places, "colorscale": SCALE, "xgap": gap, "ygap": gap}
    figure = go.Figure(go.Heatmap(**cells, hovertext=texts, hoverinfo="text", **more))
    ticks = {"tickvals": places, "ticktext": names, "showgrid": False}
    return figure.update_xaxes(ticks).update_yaxes(ticks | {"autorange": "reversed"})
