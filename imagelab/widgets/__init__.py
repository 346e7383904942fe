"""Widgets: charts and tables with controls, each with a static sibling for pages without a kernel."""

from imagelab.core.extras import require

require("notebook", "anywidget", "ipywidgets", "plotly")

from imagelab.widgets.base import Panel, link
from imagelab.widgets.cache import BuildCache
from imagelab.widgets.explorer import LayerExplorer
from imagelab.widgets.fleet import FleetExplorer
from imagelab.widgets.improver import Diffs, Improver
from imagelab.widgets.picker import ImagePicker
from imagelab.widgets.scan import ScanExplorer
from imagelab.widgets.steps import BuildSteps

__all__ = [
    "BuildCache",
    "BuildSteps",
    "Diffs",
    "FleetExplorer",
    "ImagePicker",
    "Improver",
    "LayerExplorer",
    "Panel",
    "ScanExplorer",
    "link",
]
