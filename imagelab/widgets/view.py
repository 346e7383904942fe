"""Views that need script: one ES module serves the live widget and the HTML of a page or a notebook's output alike."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from html import unescape
from pathlib import Path
from typing import Any

import anywidget
import plotly.graph_objects as go
import plotly.io as pio
import traitlets

MODULE = Path(__file__).with_name("static") / "imagelab.js"
EMPTY = " data-empty"
CONTENTS = ("rows", "builds", "pieces")  # of a table, of builds, of diffs
_in_report = False


class View(anywidget.AnyWidget):
    """A table, a file tree, builds or diffs inside a widget.

    Attributes
    ----------
    kind : str
        ``table``, ``tree``, ``build`` or ``diffs``.
    data : dict
        What `tables.table_data`, `tree.tree_data`, `steps.BuildSteps.data` or `improver.diffs_data` has; empty shows nothing.
    selects : bool
        Whether a row of the table can be selected.
    selected : int
        The selected row as a position in the data; -1 without one.
    """

    _esm = MODULE
    kind = traitlets.Unicode("table").tag(sync=True)
    data = traitlets.Dict().tag(sync=True)
    selects = traitlets.Bool().tag(sync=True)
    selected = traitlets.Int(-1).tag(sync=True)


def view_html(kind: str, data: Any, fallback: str = "", image: str | None = None) -> str:
    """Return the HTML of a view: its data, the ``fallback`` for readers without script, and the module.

    Each output carries the module, which defines its element once a page: outputs can be run, cleared, saved and opened
    in any order. A report's page contains the module itself. A view of one ``image`` is shown while that image is chosen.
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    shown_for = f' data-image="{image}"' if image else ""
    shown_for += EMPTY if [] in map(data.get, CONTENTS) or data.get("layout", {}).get("meta") == "empty" else ""
    view = f'<imagelab-view kind="{kind}"{shown_for}><script type="application/json">{text}</script>{fallback}</imagelab-view>'
    return view if _in_report else f"{view}{module_html()}"


def is_empty(html: str) -> bool:
    """Return whether the HTML is a view without content: a table without rows, a chart that draws nothing, no build or diff."""
    return EMPTY in html[:200].partition(">")[0]


def chart_html(figure: go.Figure | Mapping[str, Any]) -> str:
    """Return a figure's HTML for a page with plotly's code."""
    return view_html("chart", _chart_data(figure))


def _chart_data(figure: go.Figure | Mapping[str, Any]) -> dict[str, Any]:
    """Return what the module needs to show a figure; the title becomes the caption, which wraps at any width."""
    parts = json.loads(pio.to_json(figure, validate=False))
    layout = parts["layout"]
    for menu in layout.get("updatemenus", []):
        for button in menu["buttons"]:
            button["caption"] = _caption(button["args"][1])
    return {"data": parts["data"], "layout": layout, "caption": _caption(layout)}


class ChartChoice:
    """Figures of which a page shows one, with a list to choose another; JupyterLab shows the first.

    Parameters
    ----------
    label : str
        What is chosen.
    figures : mapping of name to plotly.graph_objects.Figure
    """

    def __init__(self, label: str, figures: Mapping[str, go.Figure]) -> None:
        self.label, self.figures = label, dict(figures)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        if not _in_report:
            return next(iter(self.figures.values()))._repr_mimebundle_(include, exclude)
        choices = [{"name": name, **_chart_data(figure)} for name, figure in self.figures.items()]
        return {"text/html": view_html("chart", {"choose": self.label, "choices": choices})}


def _caption(layout: Mapping[str, Any]) -> list[str]:
    """Return title and subtitle as plain text."""
    title = layout.get("title") or {}
    texts = [title.get("text") or "", (title.get("subtitle") or {}).get("text") or ""]
    return [unescape(re.sub(r"<[^>]*>", "", text.replace("<br>", " "))) for text in texts]


def join_views(views: Iterable[str]) -> str:
    """Join the HTML of views, with the module once."""
    module = module_html()
    joined = "".join(views)
    return joined.replace(module, "") + module if module in joined else joined


def module_html() -> str:
    """Return the module as an inline script."""
    return f'<script type="module">{MODULE.read_text(encoding="utf-8")}</script>'


def begin_report() -> None:
    """Make views leave the module to the page."""
    global _in_report
    _in_report = True


def in_report() -> bool:
    """Return whether views are made for a report's page."""
    return _in_report
