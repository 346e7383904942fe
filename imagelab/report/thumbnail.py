"""A small picture of a page for the card that leads to it: the rectangles of its first chart, as SVG."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from imagelab.charts.theme import AMOUNT_COLOURS, REST

WIDTH, HEIGHT, MOST = 240, 90, 120  # pixels, and rectangles
_VIEW = re.compile(
    r'<imagelab-view kind="(chart|build)"[^>]*><script type="application/json">(.*?)</script>', re.DOTALL
)
_COLOUR = re.compile(r"#[0-9a-f]{6}|transparent")
Rectangle = tuple[float, float, float, float, str]  # left, top, width, height (of the whole), colour


def thumbnail(html: str) -> str:
    """Return the SVG of a page's first chart of bars, areas or lines; of a page without one, that of a table."""
    found = [(column / 3, row / 5, 0.3, 0.1, REST) for column in range(3) for row in range(5)]
    for kind, text in _VIEW.findall(html):
        data = json.loads(text)
        data = data.get("choices", [data])[0]
        if drawn := list(_steps(data) if kind == "build" else _traces(data)):
            found = sorted(drawn, key=lambda one: -one[2] * one[3])[:MOST]
            break
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none"'
    return f'<svg {size} aria-hidden="true">{"".join(map(_rectangle, found))}</svg>'


def _rectangle(one: Rectangle) -> str:
    left, top, width, height, colour = one
    fill = colour if _COLOUR.fullmatch(colour) else AMOUNT_COLOURS["amount"]
    box = f'x="{left * WIDTH:.1f}" y="{top * HEIGHT:.1f}" width="{max(width * WIDTH, 1):.1f}" height="{height * HEIGHT:.1f}"'
    return f'<rect {box} fill="{fill}"/>'


def _steps(data: dict[str, Any]) -> Iterator[Rectangle]:
    steps, colours = [step for build in data["builds"][:1] for step in build["steps"]], data["colours"]
    end = max((step["start"] + step["seconds"] for step in steps), default=0) or 1
    for row, step in enumerate(steps):
        yield step["start"] / end, row / len(steps), step["seconds"] / end, 0.7 / len(steps), colours[step["kind"]]


def _traces(data: dict[str, Any]) -> Iterator[Rectangle]:
    traces = [trace for trace in data.get("data", ()) if trace.get("visible", True) is True]
    for trace in traces[:1]:
        if trace["type"] in ("treemap", "icicle"):  # the areas side by side, the largest first
            sizes = zip(trace["ids"], _list(trace["values"]), trace["marker"]["colors"], strict=True)
            leaves = sorted(
                ((size, colour) for name, size, colour in sizes if name not in trace["parents"]), reverse=True
            )
            traces = [_bar([size for size, _ in leaves], [""] * len(leaves), [colour for _, colour in leaves])]
        if "lines" in trace.get("mode", ""):  # a bar for each build
            amounts = [size if size == size else 0 for size in _list(trace["y"])]
            traces = [_bar(amounts, range(len(amounts)), trace["line"]["color"])]
    yield from _bars([trace for trace in traces if trace["type"] == "bar" and trace.get("orientation") == "h"])


def _bar(sizes: Sequence[float], rows: Sequence[Any], colour: Any) -> dict[str, Any]:
    return {"type": "bar", "orientation": "h", "x": sizes, "y": rows, "marker": {"color": colour}}


def _bars(traces: Sequence[dict[str, Any]]) -> Iterator[Rectangle]:
    bars: list[tuple[Any, ...]] = []
    ends: dict[Any, float] = {}
    for trace in traces:
        sizes, rows, colour = _list(trace["x"]), _list(trace["y"]), trace.get("marker", {}).get("color", "")
        starts = _list(trace["base"]) if "base" in trace else [ends.get(row, 0.0) for row in rows]
        for place, (row, start, size) in enumerate(zip(rows, starts, sizes, strict=True)):
            bars.append(
                (row, start, size, colour if isinstance(colour, str) else colour[place], trace.get("opacity", 1))
            )
            ends[row] = max(ends.get(row, 0.0), start + size)
    names, whole = list(dict.fromkeys(row for row, *_ in bars)), max(ends.values(), default=0) or 1
    for row, start, size, colour, opacity in bars:
        if opacity:
            yield max(start, 0) / whole, names.index(row) / len(names), size / whole, 0.72 / len(names), colour


def _list(values: Any) -> list[Any]:
    """Return the values of a trace, which plotly writes as a list or as the bytes of an array."""
    if isinstance(values, dict):
        return list(np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"]).tolist())
    return list(values)
