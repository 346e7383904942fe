"""Run the cells of a notebook in this process, as IPython does, and collect what a page shows of their outputs."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Type
from traitlets.config import Config

from imagelab.core.errors import ImagelabError
from imagelab.core.model import Image
from imagelab.core.text import clean
from imagelab.widgets.tables import show
from imagelab.widgets.view import begin_report, chart_html

CELL_SECONDS = 1800  # after which a cell ends with an error
# What a page shows of an output, best first: no live views, no scripts of their own.
OUTPUTS = ("text/html", "image/svg+xml", "image/png", "image/jpeg", "text/markdown", "text/plain")
WIDGET = "application/vnd.jupyter.widget-view+json"
PLOTLY = "application/vnd.plotly.v1+json"

_outputs: list[tuple[str, str]] = []  # (MIME type, content) of the current cell


def _collect(data: Mapping[str, Any]) -> None:
    if PLOTLY in data:
        data = {"text/html": chart_html(data[PLOTLY])}
    # a live view without a static sibling has only a text that says nothing
    for kind in OUTPUTS[: -1 if WIDGET in data else None]:
        if kind in data:
            _outputs.append((kind, str(data[kind])))
            return


class _Hook(DisplayHook):
    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: Mapping[str, Any], md_dict: Any = None) -> None:
        _collect(format_dict)

    def finish_displayhook(self) -> None:
        pass


class _Publisher(DisplayPublisher):
    def publish(self, data: Any, metadata: Any = None, source: Any = None, **more: Any) -> None:
        _collect(data)


class _Shell(InteractiveShell):
    displayhook_class = Type(_Hook)
    display_pub_class = Type(_Publisher)

    failed: BaseException | None = None

    def showtraceback(self, exc_tuple: Any = None, *args: Any, **more: Any) -> None:
        """Keep the error, which becomes that of the page: IPython goes on after one of a ``_repr_html_``."""
        self.failed = (exc_tuple or sys.exc_info())[1]

    def showsyntaxerror(self, *args: Any, **more: Any) -> None:  # the result of the cell has it
        pass


class _Printed(io.TextIOBase):
    """Standard output as outputs of the cell, in order with what it displays."""

    def write(self, text: str) -> int:
        safe = "\n".join(clean(line, 10_000) for line in text.split("\n"))
        if _outputs and _outputs[-1][0] == "stream":
            _outputs[-1] = ("stream", _outputs[-1][1] + safe)
        else:
            _outputs.append(("stream", safe))
        return len(text)


def execute(
    cells: Sequence[dict[str, Any]], name: str, folder: str | Path, done: Callable[[], Any]
) -> list[dict[str, str]]:
    """Run cells in place: each code cell gets ``outputs``. Returns the images among the notebook's variables.

    Raises
    ------
    ImagelabError
        A cell failed or took longer than ``CELL_SECONDS``; with its error and its code.
    """
    os.chdir(folder)
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    begin_report()
    # for `figure.show()`; figures as results do not load plotly's renderers, which takes a second (they import nbformat)
    os.environ["PLOTLY_RENDERER"] = "plotly_mimetype"
    config = Config({"HistoryManager": {"enabled": False}, "InteractiveShell": {"cache_size": 0, "colors": "nocolor"}})
    shell = _Shell.instance(config=config)
    assert shell.display_formatter is not None
    figures = shell.display_formatter.ipython_display_formatter
    figures.for_type(go.Figure, lambda figure: _outputs.append(("text/html", chart_html(figure))))
    html = shell.display_formatter.formatters["text/html"]
    html.for_type(pd.DataFrame, lambda frame: show(frame.reset_index() if frame.index.name else frame).to_html())
    with contextlib.redirect_stdout(_Printed()), contextlib.redirect_stderr(io.StringIO()):
        for cell in cells:
            if cell["cell_type"] == "code":
                _run(shell, cell, name)
            done()
    return images_of(shell.user_ns)


def _run(shell: _Shell, cell: dict[str, Any], name: str) -> None:
    _outputs.clear()
    shell.failed = None
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, _stop)
        signal.alarm(CELL_SECONDS)
    run_cell: Any = shell.run_cell
    result = run_cell(cell["source"], store_history=True)
    if hasattr(signal, "SIGALRM"):
        signal.alarm(0)
    error = result.error_before_exec or result.error_in_exec or shell.failed
    if error is not None:
        code = "\n".join(f"    {line}" for line in cell["source"].splitlines())
        raise ImagelabError(f"{name}: a cell failed with {type(error).__name__}: {error}\n\n{code}") from error
    cell["outputs"] = list(_outputs)


def _stop(*signalled: Any) -> None:
    raise TimeoutError(f"the cell ran for more than {CELL_SECONDS / 60:.0f} minutes")


def images_of(namespace: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return reference, platform and digest of the images among a notebook's variables, for the head of its page."""
    found: dict[str, Image] = {}
    for value in list(namespace.values()):
        members = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        for member in members:
            if isinstance(member, Image):
                found.setdefault(member.reference, member)  # the first one: a build before has the same name
    return [
        {
            "reference": clean(image.reference, 120),
            "platform": clean(image.platform or "", 40),
            "digest": clean(image.image_id or image.manifest_digest or image.index_digest or "digest unknown", 80),
        }
        for image in found.values()
    ]
