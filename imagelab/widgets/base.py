"""What every widget is: one look, one way to choose images, errors shown in place, and a static sibling."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from typing import Any

import ipywidgets
import pandas as pd
import plotly.graph_objects as go
import traitlets
from itables.widget import ITable

import imagelab as il
from imagelab.charts.theme import CONFIG, figure_html
from imagelab.core.errors import ImagelabError
from imagelab.core.model import Image
from imagelab.core.text import clean, escape
from imagelab.widgets.controls import Status
from imagelab.widgets.display import caption_of, in_report, show, table_options

WIDE = {"width": "100%"}


def wide(rem: int) -> dict[str, str]:
    """The layout of a control that is so wide where there is room."""
    return {"width": f"{rem}rem", "max_width": "100%"}


def row(*controls: ipywidgets.Widget) -> ipywidgets.HBox:
    """Controls side by side, and below each other where there is no room."""
    return ipywidgets.HBox(controls, layout={"flex_flow": "row wrap", **WIDE})


class Panel(ipywidgets.VBox):
    """Base of the widgets: controls above, what they show below.

    Attributes
    ----------
    images : list of Image
        What is shown. Takes references too (`imagelab.load_image`); one that does not load is named in the
        widget, and the others stay.
    diff_id : str
        The layer chosen, empty where none is. `link` carries it from widget to widget.
    busy : bool
        True while images are read.
    error : str
        What went wrong last, shown in the widget; empty where nothing did.
    selected : pandas.DataFrame
        What the widget shows now, as a frame (a property).
    """

    charts: Sequence[Chart] = ()
    tables: Sequence[Rows] = ()
    images: Any = traitlets.List()
    diff_id = traitlets.Unicode()
    busy = traitlets.Bool()
    error = traitlets.Unicode()

    def __init__(self, images: Any = (), **traits: Any) -> None:
        self.status = Status()
        self.asked: dict[str, str] = {}  # an image's reference → how it was asked for
        super().__init__(layout=WIDE, **traits)
        self.add_class("imagelab")
        self.images = images

    @property
    def selected(self) -> pd.DataFrame:
        raise NotImplementedError

    def parts(self) -> Iterable[tuple[str, go.Figure | pd.DataFrame]]:
        """What the static sibling shows: (caption, figure or frame)."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Draw again what depends on ``images``."""
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
    def _shown(self, change: Any = None) -> None:
        with self.working("Reading layers"):
            self.guarded(self.refresh)

    def on(self, control: Any, name: str, action: Callable[[], Any]) -> None:
        """Do it when a control changes by someone's hand: not while the widget itself sets its controls."""
        control.observe(lambda change: None if self.busy else self.guarded(action), name)

    def draw_parts(self) -> None:
        """Put the figures and frames of `parts` into ``charts`` and ``tables``, in their order."""
        charts, tables = iter(self.charts), iter(self.tables)
        for caption, part in self.parts():
            if isinstance(part, go.Figure):
                next(charts).draw(part)
            else:
                next(tables).fill(part, caption)
        for chart in charts:
            chart.set_trait("outputs", ())

    def guarded(self, action: Callable[[], Any]) -> None:
        """Do it; an error of imagelab's is shown in the widget."""
        try:
            action()
        except ImagelabError as error:
            self.error = str(error)

    @contextmanager
    def working(self, words: str) -> Any:
        """Show ``words`` and that the widget is busy."""
        outer, self.busy = self.busy, True
        self.status.value = f'<p role="status">⏳ {escape(words)} …</p>'
        try:
            yield
        finally:
            self.busy = outer
            self._tell()

    @traitlets.observe("error")
    def _tell(self, change: Any = None) -> None:
        words = escape(self.error, 1200).replace("\\n", "<br>")
        self.status.value = f'<p role="alert"><strong>⚠ {words}</strong></p>' if words else ""

    def static_html(self) -> str:
        """The sibling for a page without a kernel: the same default view, as a chart and tables."""
        html: list[str] = []
        try:
            html.extend(self._part_html(caption, part) for caption, part in self.parts())
        except ImagelabError as error:
            self.error = str(error)
        return self.status.value + "".join(html)

    def _part_html(self, caption: str, part: go.Figure | pd.DataFrame) -> str:
        if isinstance(part, go.Figure):
            return figure_html(part) if in_report() else ""
        if in_report():
            return show(part, caption).to_html()
        return f"<p>{escape(caption_of(part, caption, 20))}</p>{table_options(part, rows=20)[0].to_html(index=False)}"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        return {**data, "text/html": self.static_html()}


class Chart(ipywidgets.Output):
    """A figure inside a widget, drawn by JupyterLab's own plotly renderer."""

    def draw(self, figure: go.Figure) -> None:
        # Not responsive: JupyterLab's renderer follows the window itself, and both at once leave no height.
        data = json.loads(figure.to_json()) | {"config": CONFIG}
        mime = {"application/vnd.plotly.v1+json": data, "text/plain": "a chart"}
        self.outputs = ({"output_type": "display_data", "data": mime, "metadata": {}},)


class Rows(ipywidgets.VBox):
    """A frame inside a widget: sorts, searches, pages; a chosen row calls back with its place in the frame."""

    def __init__(self, chosen: Callable[[int], Any] | None = None) -> None:
        self.heading = ipywidgets.HTML()
        self.table = ITable(pd.DataFrame({"": []}), select="single" if chosen else False, allow_html=False)
        super().__init__([self.heading, self.table], layout=WIDE)
        if chosen:
            self.table.observe(lambda change: [chosen(row) for row in change["new"][:1]], "selected_rows")

    def fill(self, frame: pd.DataFrame, caption: str, rows: int = 1000) -> None:
        shown, options = table_options(frame, rows=rows)
        self.heading.value = f"<p><strong>{escape(caption_of(frame, caption, rows))}</strong></p>"
        self.table.update(shown, selected_rows=[], **options)


def link(*panels: Panel) -> None:
    """Choosing a layer in one of the widgets chooses it in the others, wherever they hold its diff_id."""
    for panel in panels[1:]:
        traitlets.link((panels[0], "diff_id"), (panel, "diff_id"))
