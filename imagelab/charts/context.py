"""The build context by directory: what .dockerignore leaves out."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from imagelab.build.context import context_sizes
from imagelab.charts import theme
from imagelab.charts.trees import SMALLEST, Node, tree_trace
from imagelab.core.frames import format_bytes
from imagelab.core.text import escape

#: The colour for what happens to a path of the context.
FATES = {
    "sent": theme.INSTRUCTION_COLOURS["COPY"],
    "ignored": theme.NODE_COLOURS["other"],
    "partly ignored": theme.NODE_COLOURS["directory"],
}


def context_treemap(context: pd.DataFrame) -> go.Figure:
    """Draw the build context by directory; the area is bytes, ignored paths are grey."""
    sizes = context_sizes(context)
    total = int(sizes["total"].iloc[0])
    if not total:
        return theme.nothing("The build context is empty")
    least = total * SMALLEST  # smaller paths are combined into "…"
    found: dict[str, tuple[int, str]] = {}
    for row in sizes[sizes["total"] >= least].itertuples():
        fate = "ignored" if row.sent == 0 else "partly ignored" if row.ignored > 0 else "sent"
        found[row.directory] = row.total, fate
    for row in context[(context["kind"] != "directory") & (context["size"] >= least)].itertuples():
        found[row.path] = row.size, "ignored" if row.ignored else "sent"
    parents = {path: "" if path == "." else (path.rpartition("/")[0] or ".") for path in found}
    inside = pd.Series({path: size for path, (size, _) in found.items()}).groupby(parents).sum()
    for path, drawn in inside.drop("").items():
        size, fate = found[path]
        if size > drawn:
            found[f"{path}/…"], parents[f"{path}/…"] = (size - drawn, fate), path
    nodes = [
        Node(
            path,
            parents[path],
            "context" if path == "." else escape(path.rpartition("/")[2], 40),
            int(size),
            theme.hover(path, fate),
            FATES[fate],
        )
        for path, (size, fate) in found.items()
    ]
    figure = go.Figure(tree_trace(nodes, "treemap"))
    theme.legend_swatches(figure, list(zip(("sent", "ignored", "both"), FATES.values(), strict=True)))
    ignored = int(sizes["ignored"].iloc[0])
    finding = (
        f".dockerignore excludes {theme.share(ignored, total)} of the context: "
        f"{format_bytes(total - ignored)} of {format_bytes(total)} remain"
    )
    return theme.titled(figure, finding, "bytes of files, uncompressed", height=460)
