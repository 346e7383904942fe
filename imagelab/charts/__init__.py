"""Charts: each function takes a frame and returns a plain plotly Figure, and nothing else happens."""

from imagelab.charts.bars import layer_bars, waste_bars
from imagelab.charts.sharing import sharing_heatmap
from imagelab.charts.trees import file_tree, size_tree
from imagelab.charts.waterfalls import growth, size_difference

__all__ = ["file_tree", "growth", "layer_bars", "sharing_heatmap", "size_difference", "size_tree", "waste_bars"]
