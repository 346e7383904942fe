"""Widgets: charts and tables with controls, each with a static sibling for pages without a kernel."""

from imagelab.widgets.base import Panel, link
from imagelab.widgets.explorer import LayerExplorer
from imagelab.widgets.picker import ImagePicker

__all__ = ["ImagePicker", "LayerExplorer", "Panel", "link"]
