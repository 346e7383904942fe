"""Compute dive's own numbers (wagoodman/dive, ``filetree/efficiency.go``), for people who compare tools.

They differ from the ledger. dive counts paths, not bytes: of a path that occurs twice it counts every copy, the kept one
too. A removed directory is a path whose size is what it contained, and the removed files themselves count as nothing.
dive ignores opaque whiteouts, and a whiteout of a missing path ends its walk of that layer.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
import pandas as pd

from imagelab.core.frames import make_frame
from imagelab.images.tables.files import files
from imagelab.images.tables.images import Images, load_images

DIVE_COLUMNS = {"reference": "str", "efficiency": "float64", "wasted_bytes": "int64", "user_wasted_ratio": "float64"}


def dive_efficiency(images: Images) -> pd.DataFrame:
    """Compute what ``dive`` prints for each image. Reads the layers: an engine saves the image.

    Returns
    -------
    pandas.DataFrame
        ``DIVE_COLUMNS``, a row per image: ``efficiency`` (over the leaves of all layers, Σ smallest size of each path ÷
        Σ all its sizes), ``wasted_bytes`` (all copies of paths that occur more than once), and ``user_wasted_ratio``
        (wasted bytes ÷ bytes of all layers but the first; ``inf`` or NaN where those have none, as dive prints).
    """
    measured = ((image.reference, *_measure(files(image), len(image.layers))) for image in load_images(images))
    return make_frame([dict(zip(DIVE_COLUMNS, row, strict=True)) for row in measured], DIVE_COLUMNS)


def _measure(frame: pd.DataFrame, layers: int) -> tuple[float, int, float]:
    frame = frame[frame["path"] != "/"]
    tree = _Tree(frame["path"])
    layer_of = frame["layer_index"].to_numpy()
    whiteout = (frame["kind"] == "whiteout").to_numpy()
    opaque = (frame["kind"] == "opaque_whiteout").to_numpy()  # ignored, but for the directory that it stands in
    directory = (frame["kind"] == "directory").to_numpy()
    sizes = frame["size"].to_numpy()

    unseen = np.iinfo(np.int64).max
    smallest = np.full(tree.size, unseen)
    total = np.zeros(tree.size, np.int64)
    times = np.zeros(tree.size, np.int64)
    missed = np.zeros(tree.size, bool)  # where dive gave up on a layer: -1 byte in its sum, if seen nowhere else
    stacked_size = np.zeros(tree.size, np.int64)  # the tree of the layers below
    stacked = np.zeros(tree.size, bool)
    stacked_directory = np.zeros(tree.size, bool)
    user_bytes = 0
    for layer in range(layers):
        rows = np.flatnonzero(layer_of == layer)
        removed = np.unique(tree.nodes[rows[whiteout[rows]]])
        own = rows[~whiteout[rows] & ~opaque[rows]]
        nodes = tree.nodes[own]
        size_here, directory_here = np.zeros(tree.size, np.int64), np.zeros(tree.size, bool)
        size_here[nodes], directory_here[nodes] = sizes[own], directory[own]  # the later of two counts
        present = tree.with_ancestors(tree.nodes[rows[~whiteout[rows]]])
        marked = tree.with_ancestors(removed, itself=False)  # a whiteout is a node of its own, below these
        if layer:
            user_bytes += int(sizes[rows].sum())
        else:  # dive looks for what the first layer's whiteouts remove in that layer itself
            stacked, stacked_size, stacked_directory = present | marked, size_here, directory_here
        inner = np.zeros(tree.size, bool)
        inner[tree.parents[np.concatenate([np.flatnonzero(present | marked), removed])]] = True
        leaves = np.flatnonzero((present | marked) & ~inner)
        weight = np.zeros(len(removed), np.int64)
        for place, node in enumerate(removed):
            if stacked[node] and stacked_directory[node]:
                below = slice(node, tree.ends[node])
                weight[place] = stacked_size[below][stacked[below]].sum()
        seen = np.concatenate([leaves, removed])
        size_seen = np.concatenate([size_here[leaves], weight])
        missing = removed[~stacked[removed]]
        if len(missing):  # dive stops there, in the order of names in which it walks
            order = tree.walk_order(leaves, removed)
            stop = order[len(leaves) :][~stacked[removed]].min()
            missed[seen[order == stop]] = True
            kept = order < stop
            seen, size_seen = seen[kept], size_seen[kept]
        np.add.at(total, seen, size_seen)
        np.add.at(times, seen, 1)
        np.minimum.at(smallest, seen, size_seen)
        for node in removed:
            stacked[node : tree.ends[node]] = False
        stacked |= present
        stacked_size[present], stacked_directory[present] = size_here[present], directory_here[present]
    everything = int(total.sum())
    wasted = int(total[times > 1].sum())
    known = smallest < unseen
    least = int(smallest[known].sum()) - int((missed & ~known).sum())
    score = least / everything if everything else 1.0
    if not user_bytes:  # as Go divides
        return score, wasted, np.inf if wasted else np.nan
    return score, wasted, wasted / user_bytes


class _Tree:
    """Every path and every directory above one, ordered so that everything below a path follows it.

    A path is the name of its last part and its parent: whole names would grow with the square of the depth.
    """

    def __init__(self, paths: pd.Series) -> None:
        self._names, parents = [""], [0]  # 0 is the root
        numbers: dict[tuple[int, str], int] = {}

        def child(parent: int, name: str) -> int:
            number = numbers.setdefault((parent, name), len(parents))
            if number == len(parents):
                parents.append(parent)
                self._names.append(name)
            return number

        folders, found = {"": 0}, {}
        for path in paths.unique():
            folder, _, name = path.rpartition("/")
            if folder not in folders:
                folders[folder] = reduce(child, folder.split("/")[1:], 0)
            found[path] = child(folders[folder], name)
        children: list[list[int]] = [[] for _ in parents]
        by_name = sorted(
            range(1, len(parents)), key=lambda number: self._names[number].encode(errors="surrogateescape")
        )
        for number in reversed(by_name):
            children[parents[number]].append(number)
        order, waiting = [], [0]
        while waiting:
            order.append(waiting.pop())
            waiting += children[order[-1]]
        self.size = len(order)
        place = np.empty(self.size, np.int64)
        place[order] = np.arange(self.size)
        self._names = [self._names[number] for number in order]
        self.nodes = place[paths.map(found).to_numpy(np.int64)]
        self.parents = place[np.array(parents)[order]]
        self.ends = np.arange(1, self.size + 1)
        for node in range(self.size - 1, 0, -1):
            self.ends[self.parents[node]] = max(self.ends[self.parents[node]], self.ends[node])

    def with_ancestors(self, nodes: np.ndarray, *, itself: bool = True) -> np.ndarray:
        marked = np.zeros(self.size + 1, np.int64)
        marked[1 + (nodes if itself else self.parents[nodes])] = 1
        before = np.cumsum(marked)  # marked nodes before each
        found = before[self.ends] > before[:-1]  # itself, or something below it
        found[0] = False
        return found

    def walk_order(self, leaves: np.ndarray, removed: np.ndarray) -> np.ndarray:
        """Ranks of these in dive's walk: by the names of siblings, where a whiteout still has its prefix."""
        names = [self._parts(node) for node in leaves]
        names += [[*(parts := self._parts(node))[:-1], ".wh." + parts[-1]] for node in removed]
        ranks = np.empty(len(names), np.int64)
        ranks[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
        return ranks

    def _parts(self, node: int) -> list[str]:
        parts = []
        while node:
            parts.append(self._names[node])
            node = self.parents[node]
        return parts[::-1]
