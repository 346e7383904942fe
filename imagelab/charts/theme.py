"""The look of every chart: template, colours, byte axes, labels and safe text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
from plotly.colors import hex_to_rgb

from imagelab.core.errors import ImagelabError
from imagelab.core.frames import format_bytes
from imagelab.core.text import clean, escape
from imagelab.images.tables.created_by import parse_created_by

# Contrast 4.3 : 1 on white and 4.4 : 1 on JupyterLab's dark background: one figure is readable on both.
INK = "#757b84"
OUTLINE = "rgba(117,123,132,0.55)"
GRID = "rgba(128,128,128,0.25)"
FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', 'DejaVu Sans', sans-serif"

# A colour has one meaning in every chart; only this grey stands for the rest: others, unknown, unchanged. Within a palette,
# every pair is distinguishable in simulated protan, deutan and tritan vision; between palettes, in full colour vision
# (tests/charts/test_theme.py, after Machado, Oliveira and Fernandes, 2009).
REST = "#c9ced6"
# The palette of Okabe and Ito, dark grey for the base.
INSTRUCTION_COLOURS = {
    "FROM": "#5b6472",
    "RUN": "#0072b2",
    "COPY": "#e69f00",
    "ADD": "#d55e00",
    "WORKDIR": "#009e73",
    "other": "#cc79a7",
    "unknown": REST,
}
# From light to dark, so that the order is visible in a black and white print.
SEVERITY_COLOURS = {
    "unknown": "#9aa1ac",
    "negligible": "#a6c8e4",
    "low": "#f2d15c",
    "medium": "#f08a3c",
    "high": "#d0343a",
    "critical": "#8e1055",
}
#: Bytes that can go, from possible (light) to proven (dark).
CONFIDENCE_COLOURS = {"proven": "#00441b", "exact": "#1b7837", "likely": "#6abf69", "possible": "#c7e9c0"}
REASON_COLOURS = {"deleted": "#7a0f1c", "overwritten": "#e8707f", "rewritten_unchanged": "#b9a3e3"}
NODE_COLOURS = {"directory": "#7b8494", "file": "#56b4e9", "other": REST}
#: A number without a kind: of one image or build, or measured beside predicted.
AMOUNT_COLOURS = {"amount": "#2a8ea8", "measured": "#14505f", "predicted": "#8fcbd8"}
STATE_COLOURS = {"good": "#55b8a0", "partly": "#d8d174", "bad": "#aa2fa0", "none": REST}
#: The largest of several groups without an order (bases, layers, packages); the others are ``REST``.
GROUP_COLOURS = ("#332288", "#79e0dc", "#4f6a12", "#aaa03a", "#6b3e26", "#c07f98")

# The three sizes are never mixed: a chart shows the first one that every row has, and names it.
SIZES = {
    "size": "bytes of files, uncompressed",
    "content_size": "bytes as stored and sent, usually compressed",
    "disk_usage": "bytes on the engine's disk",
}

# No button sends a chart to plotly's servers.
CONFIG = {"displaylogo": False, "plotlyServerURL": ""}
# Of plotly's tool bar only the download stays: the charts show everything without zoom.
UNUSED_BUTTONS = ["zoom", "pan", "select", "lasso", "zoomin", "zoomout", "autoscale", "resetscale"]

#: Registered as ``imagelab``. Charts use it unless `plotly.io.templates.default` names another one than plotly's own.
pio.templates["imagelab"] = go.layout.Template(
    layout={
        "autosize": True,
        "bargap": 0.28,
        "colorway": list(INSTRUCTION_COLOURS.values()),
        "font": {"family": FONT, "size": 13, "color": INK},
        "hoverlabel": {"align": "left", "bgcolor": "#20242c", "font": {"color": "#f4f5f7", "family": FONT, "size": 13}},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": -0.02, "yanchor": "top", "traceorder": "normal"},
        "margin": {"l": 8, "r": 24, "t": 84, "b": 48, "autoexpand": True},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": INK, "remove": UNUSED_BUTTONS},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "separators": ".,",
        "title": {
            "x": 0,
            "xref": "container",
            "xanchor": "left",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"t": 12, "l": 8},
            "font": {"size": 17},
            "subtitle": {"font": {"size": 13}},
        },
        "xaxis": {"automargin": True, "gridcolor": GRID, "linecolor": INK, "zeroline": False},
        "yaxis": {"automargin": True, "gridcolor": GRID, "zeroline": False, "ticklabelstandoff": 6},
        "uniformtext": {"minsize": 10, "mode": "hide"},
    }
)


def instruction_kind(instruction: Any) -> str:
    """Return the key of an instruction in ``INSTRUCTION_COLOURS``."""
    if instruction is None or pd.isna(instruction) or not str(instruction).strip():
        return "unknown"
    word = str(instruction).split(maxsplit=1)[0].upper()
    return word if word in INSTRUCTION_COLOURS else "other"


def text_on(colour: str) -> str:
    """Return near-black or white, whichever has more contrast on a hexadecimal colour (WCAG 2 relative luminance)."""
    red, green, blue = (part / 255 for part in hex_to_rgb(colour))
    return "#111111" if 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.2 else "#ffffff"


def known_size(frame: pd.DataFrame) -> tuple[str, str]:
    """Return the first of the three sizes that all rows have, else the one that most rows have, and its description."""
    present = [name for name in SIZES if name in frame]
    if not present:
        raise ImagelabError(
            f"expected a frame with one of the columns {', '.join(SIZES)}, got {', '.join(frame.columns)}"
        )
    chosen = min(present, key=lambda name: frame[name].isna().sum())
    return chosen, SIZES[chosen]


def sized(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the frame with its `known_size` as ``bytes`` (unknown is 0), and the description of that size."""
    column, measure = known_size(frame)
    return frame.assign(bytes=frame[column].fillna(0).astype("int64")), measure


def step_label(created_by: Any, width: int = 46) -> str:
    """Return a step in one safe line as in its Dockerfile: without the recorded shell and build arguments."""
    command = parse_created_by("" if created_by is None or pd.isna(created_by) else str(created_by)[:4000])
    words = " ".join(f"{command.instruction or ''} {command.arguments}".split())
    return escape(words or "(no command recorded)", width)


def hover(heading: Any, *lines: str) -> str:
    """Return hover text: a heading from an image, made safe and wrapped, then our own lines."""
    wrapped = textwrap.wrap(clean(heading, 320), 72, break_long_words=True) or [""]
    return "<br>".join(["<b>" + "<br>".join(escape(line) for line in wrapped[:5]) + "</b>", *lines])


def titled(
    figure: go.Figure, finding: str, measure: str, *, height: int, bytes_axis: str = "", top: float = 0
) -> go.Figure:
    """Set the template, the finding as title, the measure as subtitle, and optionally a bytes axis."""
    chosen = pio.templates.default
    lines = textwrap.wrap(finding, 74, break_on_hyphens=False)[:3]
    figure.update_layout(
        template="imagelab" if chosen in (None, "plotly") else chosen,
        title={"text": "<b>" + "<br>".join(lines) + "</b>", "subtitle": {"text": measure}},
        height=height + 22 * (len(lines) - 1),
        margin_t=64 + 22 * len(lines),
        title_pad_t=12 + 11 * (len(lines) - 1),
    )
    if bytes_axis:
        figure.update_layout({f"{bytes_axis}axis": bytes_ticks(top)})
    return figure


def add_bars(figure: go.Figure, y: Any, x: Any, colour: Any, hovertext: list[str], **more: Any) -> None:
    """Add outlined horizontal bars with hover text."""
    marker = {"color": colour, "line": {"color": OUTLINE, "width": 1}} | more.pop("marker", {})
    figure.add_bar(y=y, x=x, orientation="h", marker=marker, hovertext=hovertext, hoverinfo="text", **more)


def label_rows(figure: go.Figure, labels: Sequence[str]) -> None:
    """Label the rows 0, 1, 2 … of bars, from the top down."""
    rows = {"tickvals": list(range(len(labels))), "ticktext": labels, "range": [len(labels) - 0.4, -0.6]}
    figure.update_yaxes(rows, showgrid=False)


def label_ends(figure: go.Figure, ends: Any, words: Iterable[str]) -> None:
    """Add a label at the end of each row of bars."""
    figure.add_scatter(
        y=list(range(len(ends))),
        x=ends,
        mode="text",
        text=[f" {word}" for word in words],
        textposition="middle right",
        hoverinfo="skip",
        showlegend=False,
        cliponaxis=False,
    )


def legend_above(figure: go.Figure) -> go.Figure:
    """Move the legend of a `titled` figure between title and plot."""
    return figure.update_layout(legend={"y": 1, "yanchor": "bottom"}, margin_t=figure.layout.margin.t + 26)


def bytes_ticks(top: float, bottom: float = 0) -> dict[str, Any]:
    """Return axis ticks at round decimal sizes from ``bottom`` to ``top`` bytes."""
    span = max(top - min(bottom, 0), 1.0)
    magnitude = 10 ** (len(str(int(span))) - 1)
    step = next(part * magnitude for part in (0.1, 0.2, 0.25, 0.5, 1.0, 2.0) if span / (part * magnitude) <= 6.5)
    step = max(step, 1)
    at = [step * count for count in range(int(bottom // step), int(top / step) + 2) if step * count <= top * 1.02]
    words = [format_bytes(value) for value in at]
    return {"tickvals": at, "ticktext": words, "range": [bottom * 1.12, top * 1.08 or 1]}


def layer_of(rows: pd.DataFrame) -> list[list[Any]]:
    """Return the image and layer of each bar; a page selects them on click."""
    layers = rows["layer_index"].astype("object").where(rows["layer_index"].notna(), None)
    return [[clean(name, 120), layer] for name, layer in zip(rows["reference"], layers, strict=True)]


def share(part: float, whole: float) -> str:
    """Return ``part`` of ``whole`` in per cent; near 0 and 100 as "under 1%" and "over 99%"."""
    per_cent = 100 * part / whole if whole else 0.0
    return "under 1%" if 0 < per_cent < 1 else "over 99%" if 99 < per_cent < 100 else f"{per_cent:.0f}%"


def quoted(names: Iterable[Any], most: int = 3, width: int = 40) -> str:
    """Return a few names for a sentence: ``a, b and 3 more``."""
    shown = [escape(name, width) for name in names]
    if len(shown) > most:
        return f"{', '.join(shown[:most])} and {len(shown) - most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def nothing(finding: str) -> go.Figure:
    """Return an empty figure with the reason as its title."""
    empty = titled(go.Figure(), finding, "", height=150)
    return empty.update_layout(xaxis_visible=False, yaxis_visible=False, meta="empty")


def legend_swatches(figure: go.Figure, colours: Sequence[tuple[str, str]]) -> None:
    """Add a legend to charts whose traces have none (treemaps, icicles)."""
    for name, colour in colours:
        marker = {"color": colour, "symbol": "square", "size": 11}
        figure.add_scatter(x=[None], y=[None], mode="markers", name=name, marker=marker)
    figure.update_layout(xaxis={"visible": False}, yaxis={"visible": False}, showlegend=True)
