"""Controls missing from ipywidgets: a labelled slider and a status for screen readers."""

from __future__ import annotations

from typing import Any

import anywidget
import traitlets


class Slider(anywidget.AnyWidget):
    """An integer from 0 to ``max`` in the browser's own slider, for mouse and keyboard.

    Attributes
    ----------
    value, max : int
        ``value`` changes when the handle is released, and is at most ``max``.
    description : str
        The label.
    """

    _esm = """
    export default { render({ model, el }) {
      el.classList.add("widget-inline-hbox");
      const label = document.createElement("label"), input = document.createElement("input");
      const shown = document.createElement("output");
      label.className = "widget-label";
      label.textContent = model.get("description");
      label.htmlFor = input.id = `imagelab-slider-${crypto.getRandomValues(new Uint32Array(1))}`;
      Object.assign(input, { type: "range", min: 0 });
      input.style.cssText = "flex:1;min-width:0";
      shown.style.cssText = "flex:0 0 3em;text-align:right;line-height:var(--jp-widgets-inline-height)";
      el.append(label, input, shown);
      const draw = () => {
        input.max = model.get("max");
        input.value = shown.textContent = model.get("value");
      };
      input.addEventListener("input", () => { shown.textContent = input.value; });
      input.addEventListener("change", () => { model.set("value", Number(input.value)); model.save_changes(); });
      model.on("change:value change:max", draw);
      draw();
    } }
    """
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

    _esm = """
    export default { render({ model, el }) {
      const say = () => { el.innerHTML = model.get("value"); };
      const keep = ({ target }) => { if (target.closest(".imagelab")) target.dataset.lmSuppressShortcuts = "true"; };
      el.setAttribute("aria-live", "polite");
      model.on("change:value", say);
      say();
      document.addEventListener("focusin", keep);
      return () => document.removeEventListener("focusin", keep);
    } }
    """
    value = traitlets.Unicode().tag(sync=True)
