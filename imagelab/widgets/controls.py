"""Controls missing from ipywidgets: a labelled slider and a status for screen readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets

STATIC = Path(__file__).with_name("static")


class Slider(anywidget.AnyWidget):
    """An integer from 0 to ``max`` in the browser's own slider, for mouse and keyboard.

    Attributes
    ----------
    value, max : int
        ``value`` changes when the handle is released, and is at most ``max``.
    description : str
        The label.
    """

    _esm = STATIC / "slider.js"
    value = traitlets.Int().tag(sync=True)
    max = traitlets.Int().tag(sync=True)
    description = traitlets.Unicode().tag(sync=True)

    @traitlets.validate("value")
    def _within(self, proposal: Any) -> int:
        return int(min(max(proposal["value"], 0), self.max))

    @traitlets.observe("max")
    def _shorter(self, change: Any) -> None:
        self.value = min(self.value, self.max)


class Status(anywidget.AnyWidget):
    """What a widget does, and its last error, as ``value``: safe HTML. It also keeps keys for the controls.

    JupyterLab's shortcuts take arrows, Space and letters from lists, check boxes and sliders. Its commands skip a focused
    element with the attribute ``data-lm-suppress-shortcuts`` (Lumino's CommandRegistry).
    """

    _esm = STATIC / "status.js"
    value = traitlets.Unicode().tag(sync=True)
