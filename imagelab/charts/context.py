"""The build context by directory: what .dockerignore leaves out."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from imagelab.build.context import context_sizes
from imagelab.charts import theme
from imagelab.charts.trees import draw_tree, fold
from imagelab.core.frames import format_bytes


def context_treemap(context: pd.DataFrame) -> go.Figure:
    """Draw the build context by directory; the area is bytes, ignored paths are grey."""
    sizes = context_sizes(context).iloc[0]
    total, ignored = int(sizes["total"]), int(sizes["ignored"])
    if not total:
        return theme.nothing("The build context is empty")
    files = context[context["kind"] != "directory"]
    groups = files["ignored"].astype(bool).map({True: "ignored", False: "sent"})
    nodes = fold("/" + files["path"], files["size"], groups=groups)
    nodes.loc[0, "label"] = "context"
    figure = draw_tree(nodes, "treemap", {"sent": theme.NODE_COLOURS["file"], "ignored": theme.REST})
    finding = (
        f".dockerignore excludes {theme.share(ignored, total)} of the context: "
        f"{format_bytes(total - ignored)} of {format_bytes(total)} remain"
    )
    return theme.titled(figure, finding, "Bytes of files, uncompressed", height=460)
