"""The base of the widgets: choose images, show errors in place, and a static sibling for pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import ipywidgets
import pandas as pd
import plotly.graph_objects as go
import traitlets

import imagelab as il
from imagelab.charts.theme import CONFIG
from imagelab.core.errors import ImagelabError
from imagelab.core.model import Image
from imagelab.core.text import clean, escape
from imagelab.widgets.controls import Status
from imagelab.widgets.steps import BuildSteps
from imagelab.widgets.tables import show, table_data
from imagelab.widgets.tree import FileTree
from imagelab.widgets.view import View, chart_html, in_report, join_views

WIDE = {"width": "100%"}
Part: TypeAlias = go.Figure | pd.DataFrame | FileTree | BuildSteps


def wide(rem: int) -> dict[str, str]:
    """Return the layout of a control of this width, or narrower where the page is."""
    return {"width": f"{rem}rem", "max_width": "100%"}


def row(*controls: ipywidgets.Widget) -> ipywidgets.HBox:
    """Put controls side by side; they wrap on a narrow page."""
    return ipywidgets.HBox(controls, layout={"flex_flow": "row wrap", **WIDE})


class Panel(ipywidgets.VBox):
    """Base of the widgets: controls above, what they show below.

    Attributes
    ----------
    images : list of Image
        The images shown. References are loaded (`imagelab.load_image`); the widget shows the error of one that fails and
        keeps the others.
    diff_id : str
        The selected layer, or empty. `link` shares it between widgets.
    busy : bool
        True while images are read.
    error : str
        The last error, which the widget shows, or empty.
    selected : pandas.DataFrame
        The rows that the widget shows now (a property).
    """

    charts: Sequence[Chart] = ()
    tables: Sequence[Rows] = ()
    images: Any = traitlets.List()
    diff_id = traitlets.Unicode()
    busy = traitlets.Bool()
    error = traitlets.Unicode()

    def __init__(self, images: Any = (), **traits: Any) -> None:
        self.status = Status()
        self.asked: dict[str, str] = {}  # an image's reference → the reference as given
        super().__init__(layout=WIDE, **traits)
        self.add_class("imagelab")
        self.images = images

    @property
    def selected(self) -> pd.DataFrame:
        raise NotImplementedError

    def parts(self) -> Iterable[tuple[str, Part]]:
        """Yield the parts of the static sibling: (caption, figure, frame, tree or steps)."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Redraw what depends on ``images``."""
        raise NotImplementedError

    @traitlets.validate("images")
    def _load(self, proposal: Any) -> list[Image]:
        given = [proposal["value"]] if isinstance(proposal["value"], str | Image) else list(proposal["value"])
        known = {self.asked[image.reference]: image for image in self.images}
        loaded, failed = [], []
        with self.working("Reading " + ", ".join(clean(item, 60) for item in given if isinstance(item, str))):
            for item in given:
                try:
                    image = item if isinstance(item, Image) else known.get(item) or il.load_image(item)
                    loaded.append(image)
                    self.asked.setdefault(image.reference, item if isinstance(item, str) else image.reference)
                except ImagelabError as error:
                    failed.append(str(error))
        self.error = "\n".join(failed)
        return loaded

    @traitlets.observe("images")
    def _refresh(self, change: Any = None) -> None:
        with self.working("Reading layers"):
            self.guarded(self.refresh)

    def on(self, control: Any, name: str, action: Callable[[], Any]) -> None:
        """Call ``action`` when the user changes a control, not when the widget sets it."""
        control.observe(lambda change: None if self.busy else self.guarded(action), name)

    def draw_parts(self) -> None:
        """Show the figures and frames of `parts` in ``charts`` and ``tables``, in order."""
        charts, tables = iter(self.charts), iter(self.tables)
        for caption, part in self.parts():
            if isinstance(part, go.Figure):
                next(charts).draw(part)
            else:
                next(tables).fill(part, caption)
        for chart in charts:
            chart.set_trait("outputs", ())

    def guarded(self, action: Callable[[], Any]) -> None:
        """Call ``action`` and show an ImagelabError in the widget."""
        try:
            action()
        except ImagelabError as error:
            self.error = str(error)

    @contextmanager
    def working(self, words: str) -> Any:
        """Show ``words`` while the widget is busy."""
        outer, self.busy = self.busy, True
        self.status.value = f'<p role="status">⏳ {escape(words)} …</p>'
        try:
            yield
        finally:
            self.busy = outer
            self._show_error()

    @traitlets.observe("error")
    def _show_error(self, change: Any = None) -> None:
        words = escape(self.error, 1200).replace("\\n", "<br>")
        self.status.value = f'<p role="alert"><strong>⚠ {words}</strong></p>' if words else ""

    def static_html(self) -> str:
        """Return the default view as HTML for a page without a kernel."""
        html: list[str] = []
        try:
            html.extend(self._part_html(caption, part) for caption, part in self.parts())
        except ImagelabError as error:
            self.error = str(error)
        return self.status.value + join_views(html)

    def _part_html(self, caption: str, part: Part) -> str:
        if isinstance(part, pd.DataFrame):
            return show(part, caption, rows=1000 if in_report() else 20).to_html()
        if isinstance(part, go.Figure):
            return chart_html(part) if in_report() else ""
        return part._repr_html_()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        return {**data, "text/html": self.static_html()}


class Chart(ipywidgets.Output):
    """A figure inside a widget, drawn by JupyterLab's plotly renderer."""

    def draw(self, figure: go.Figure) -> None:
        # Not responsive: JupyterLab's renderer resizes the chart itself; both at once leave it without height.
        data = json.loads(figure.to_json()) | {"config": CONFIG}
        mime = {"application/vnd.plotly.v1+json": data, "text/plain": "a chart"}
        self.outputs = ({"output_type": "display_data", "data": mime, "metadata": {}},)


class Rows(View):
    """A frame inside a widget: sorts, searches, pages and downloads; a selected row calls ``chosen`` with its position."""

    def __init__(self, chosen: Callable[[int], Any] | None = None) -> None:
        super().__init__(selects=chosen is not None)
        if chosen:
            self.observe(lambda change: change["new"] >= 0 and chosen(change["new"]), "selected")

    def fill(self, frame: pd.DataFrame, caption: str) -> None:
        self.selected, self.data = -1, table_data(frame, caption)


def link(*panels: Panel) -> None:
    """Link widgets: a layer selected in one is selected in the others that have its diff_id."""
    for panel in panels[1:]:
        traitlets.link((panels[0], "diff_id"), (panel, "diff_id"))
