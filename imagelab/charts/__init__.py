"""Charts: each function takes a frame and returns a plain plotly Figure, and nothing else happens."""

from imagelab.charts.files import file_tree
from imagelab.charts.sizes import growth, layer_bars, size_tree

__all__ = ["file_tree", "growth", "layer_bars", "size_tree"]
