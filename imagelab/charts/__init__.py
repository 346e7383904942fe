"""Charts: each function takes a DataFrame and returns a plain plotly Figure, without side effects."""

from imagelab.core.extras import require

require("notebook", "plotly")

from imagelab.charts.bars import layer_bars, size_outlook, waste_bars
from imagelab.charts.claims import advice_accuracy, claim_ratios, claim_tiles
from imagelab.charts.context import context_treemap
from imagelab.charts.fleet import base_map, fleet_sharing, similarity_heatmap
from imagelab.charts.health import health_timeline
from imagelab.charts.security import (
    epss_cvss,
    fixable_bars,
    remediation_waterfall,
    scan_flow,
    scanner_agreement,
    severity_bars,
)
from imagelab.charts.sharing import sharing_heatmap
from imagelab.charts.trees import file_tree, size_tree
from imagelab.charts.trend import trend
from imagelab.charts.waterfalls import growth, improvement_waterfall, size_difference

__all__ = [
    "advice_accuracy",
    "base_map",
    "claim_ratios",
    "claim_tiles",
    "context_treemap",
    "epss_cvss",
    "file_tree",
    "fixable_bars",
    "fleet_sharing",
    "growth",
    "health_timeline",
    "improvement_waterfall",
    "layer_bars",
    "remediation_waterfall",
    "scan_flow",
    "scanner_agreement",
    "severity_bars",
    "sharing_heatmap",
    "similarity_heatmap",
    "size_difference",
    "size_outlook",
    "size_tree",
    "trend",
    "waste_bars",
]
