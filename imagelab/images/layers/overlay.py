"""Apply the layers of an image: which entries are visible in the end, and what hid each of the others.

The rules are those of the OCI image-spec (layer.md, "Applying Changesets") as containerd's ``archive.Apply``
implements them. Whiteouts affect only lower layers, wherever they are in their tar. A file that replaces a
directory removes everything below it. An entry below a path that is not a directory replaces that path by a directory.
If a tar contains a path twice, the later entry counts. The code is vectorised: its steps are per layer, not per file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagelab.images.layers.tar_columns import DIRECTORY, FILE, HARDLINK, OPAQUE, WHITEOUT

ALIVE = np.iinfo(np.int32).max  # higher than any layer index

ADDED, MODIFIED, REMOVED, NO_CHANGE = 0, 1, 2, -1
DELETED, OVERWRITTEN, UNCHANGED, NOT_WASTED = 0, 1, 2, -1


@dataclass(frozen=True)
class Overlay:
    """The fate of each entry, in order.

    Attributes
    ----------
    gone : int32
        The layer that made the name invisible; ``ALIVE`` if none did, -1 for whiteouts.
    deleted : bool
        Whether a whiteout made it invisible, not an entry of the same path or of a parent.
    replaced_by : int64
        The entry of the same path that replaced it; -1 if none.
    inode : int64
        The regular file whose bytes the name refers to (itself, or the target of a hardlink); -1 for other kinds.
    change : int8
        ``ADDED``, ``MODIFIED`` (a lower layer has the path), ``REMOVED`` or ``NO_CHANGE``.
    """

    gone: np.ndarray
    deleted: np.ndarray
    replaced_by: np.ndarray
    inode: np.ndarray
    change: np.ndarray

    @cached_property
    def visible(self) -> np.ndarray:
        alive: np.ndarray = self.gone == ALIVE
        return alive

    @cached_property
    def bytes_gone(self) -> tuple[np.ndarray, np.ndarray]:
        """For regular files: the layer that made the bytes invisible (``ALIVE``: none) by removing their last
        name, and the entry of that name."""
        names = np.flatnonzero(self.inode >= 0)
        last = np.full(len(self.gone), -1, np.int64)
        # among names removed by one layer, the file's own is sorted last, and the last write wins
        order = names[np.lexsort((self.inode[names] == names, self.gone[names]))]
        last[self.inode[order]] = order
        return np.where(last >= 0, self.gone[last], -1), last


def overlay(paths: pa.Array, kinds: np.ndarray, links: pa.Array, starts: np.ndarray) -> Overlay:
    """Apply the layers.

    Parameters
    ----------
    paths, links : binary arrays
        Absolute clean paths, and the targets of hardlinks (null for other kinds): layer by layer, in tar order.
    kinds : uint8 array
        Indices into ``tar_columns.KINDS``.
    starts : int array
        The first entry of each layer, and the total.
    """
    total = len(paths)
    gone = np.full(total, ALIVE, np.int32)
    deleted = np.zeros(total, bool)
    replaced_by = np.full(total, -1, np.int64)
    change = np.full(total, NO_CHANGE, np.int8)
    pointer = np.where(kinds == FILE, np.arange(total), -1)
    tree = _Tree(paths, kinds, links)
    nodes = tree.nodes
    current = np.full(tree.size, -1, np.int64)  # the live entry of each path
    marker = (kinds == WHITEOUT) | (kinds == OPAQUE)
    gone[marker] = -1

    for layer in range(len(starts) - 1):
        start, stop = starts[layer], starts[layer + 1]
        entries = np.arange(start, stop)
        real = entries[~marker[start:stop]]
        at = nodes[real]
        before = current[at]
        links_here = real[kinds[real] == HARDLINK]
        lower_targets = current[tree.targets[links_here]]

        # 1. whiteouts remove entries of lower layers
        removing = entries[marker[start:stop]]
        if len(removing):
            low = nodes[removing] + (kinds[removing] == OPAQUE)  # a whiteout removes the path itself too
            high = tree.ends[nodes[removing]]
            cover = np.zeros(tree.size + 1, np.int32)
            np.add.at(cover, low, 1)
            np.add.at(cover, high, -1)
            covered = np.cumsum(cover[:-1]) > 0
            live = np.cumsum(np.concatenate([[0], covered & (current >= 0)]))
            change[removing] = np.where((kinds[removing] == WHITEOUT) | (live[high] > live[low]), REMOVED, NO_CHANGE)
            victims = current[covered & (current >= 0)]
            gone[victims], deleted[victims] = layer, True
            current[covered] = -1

        # 2. entries replace those of the same path; the last in a tar wins
        lower = current[at]
        current[at] = real
        winner = current[at]
        _replace(gone, replaced_by, lower[lower >= 0], winner[lower >= 0], layer)
        twice = winner != real
        _replace(gone, replaced_by, real[twice], winner[twice], layer)
        change[real] = np.where(before >= 0, MODIFIED, ADDED)
        pointer[links_here] = _link_targets(tree, links_here, lower_targets, current, real, at, start)

        # 3. paths that are both a directory and something else
        if tree.conflicts:
            order = np.argsort(at, kind="stable")
            for node, end in tree.conflicts:
                first, below, last = np.searchsorted(at[order], (node, node + 1, end))
                if first < last:
                    _settle(node, end, real[order[first:below]], real[order[below:last]], layer, kinds, current, gone)

    # follow hardlinks to hardlinks until the file
    for _ in range(64):
        further = np.where((pointer >= 0) & (kinds == HARDLINK), pointer[pointer], pointer)
        if np.array_equal(further, pointer):
            break
        pointer = further
    pointer[(pointer >= 0) & (kinds[pointer] != FILE)] = -1
    return Overlay(gone, deleted, replaced_by, pointer, change)


def _replace(gone: np.ndarray, replaced_by: np.ndarray, old: np.ndarray, new: np.ndarray, layer: int) -> None:
    gone[old], replaced_by[old] = layer, new


def _link_targets(
    tree: _Tree,
    links: np.ndarray,
    lower: np.ndarray,
    current: np.ndarray,
    real: np.ndarray,
    at: np.ndarray,
    start: int,
) -> np.ndarray:
    """The entry that each hardlink of a layer refers to: an earlier one in its tar, else one in a lower layer, else
    a later one in its tar."""
    wanted = tree.targets[links]
    here = current[wanted]
    inside = here >= start
    target = np.where(inside & (here < links), here, np.where(lower >= 0, lower, np.where(inside, here, -1)))
    if len(later := np.flatnonzero(inside & (here >= links))):  # a repeated path, or a link before its target
        keys = np.sort(at * len(tree.nodes) + real)
        found = np.searchsorted(keys, wanted[later] * len(tree.nodes) + links[later]) - 1
        earlier = keys[np.maximum(found, 0)]
        fits = (found >= 0) & (earlier // len(tree.nodes) == wanted[later])
        target[later[fits]] = earlier[fits] % len(tree.nodes)
    return target


def _settle(
    node: int,
    end: int,
    own: np.ndarray,
    below: np.ndarray,
    layer: int,
    kinds: np.ndarray,
    current: np.ndarray,
    gone: np.ndarray,
) -> None:
    """Apply one layer's entries of a path (``own``) and of the paths below it (``below``), where the path is a
    directory in some layers and something else in others."""
    own = own[kinds[own] != DIRECTORY]
    if len(own):  # removes the earlier entries below it
        tree = current[node + 1 : end]
        victims = (tree >= 0) & (tree < own[-1])
        gone[tree[victims]] = layer
        tree[victims] = -1
    occupant = current[node]
    if occupant >= 0 and kinds[occupant] != DIRECTORY and (below > occupant).any():
        gone[occupant] = layer
        current[node] = -1


class _Tree:
    """All paths of an image, sorted so that everything below a path follows it directly.

    With ``/`` replaced by NUL (the lowest byte, and never in a name) this is the byte order. Sorting
    ``path \\x01`` with the paths finds the end of each subtree.
    """

    def __init__(self, paths: pa.Array, kinds: np.ndarray, links: pa.Array) -> None:
        linked = np.flatnonzero(kinds == HARDLINK)
        both = pa.concat_arrays([paths, links.take(pa.array(linked)).fill_null(b"/")]) if len(linked) else paths
        _, offsets, data = both.buffers()  # all names as one buffer: much faster than one by one
        text = np.frombuffer(data or b"", np.uint8)
        text = pa.py_buffer(text * (text != ord("/")))
        encoded = pa.Array.from_buffers(
            both.type, len(both), [None, offsets, text], offset=both.offset
        ).dictionary_encode()
        keys = encoded.dictionary
        order = pc.sort_indices(keys).to_numpy()
        place = np.empty(len(keys), np.int64)
        place[order] = np.arange(len(keys))
        nodes = place[encoded.indices.to_numpy()]
        self.size = len(keys)
        self.nodes = nodes[: len(paths)]
        self.targets = np.zeros(len(paths), np.int64)
        self.targets[linked] = nodes[len(paths) :]
        self._keys = keys.take(pa.array(order))
        self.ends = self._ends(np.unique(self.nodes[(kinds == WHITEOUT) | (kinds == OPAQUE)]))
        self.conflicts = self._conflicts(kinds)

    def _ends(self, nodes: np.ndarray) -> np.ndarray:
        """The end of the subtree of each of these paths; it starts right after the path."""
        high = np.zeros(self.size, np.int64)
        if len(nodes):
            chosen = self._keys.take(pa.array(nodes))
            # the key of the root is the separator alone
            stems = pc.if_else(pc.equal(chosen, pa.scalar(b"\0", chosen.type)), pa.scalar(b"", chosen.type), chosen)
            bounds = pc.binary_join_element_wise(stems, pa.scalar(b"\1", chosen.type), pa.scalar(b"", chosen.type))
            # a path can equal a bound (a name may end in \x01) and must follow it: bounds first, the sort is stable
            order = pc.sort_indices(pa.concat_arrays([bounds, self._keys])).to_numpy()
            rank = np.empty(len(order), np.int64)
            rank[order] = np.cumsum(order >= len(nodes))  # number of paths before it
            high[nodes] = rank[: len(nodes)]
        return high

    def _conflicts(self, kinds: np.ndarray) -> list[tuple[int, int]]:
        """Paths that are not a directory in some layer but have paths below them in another, with the subtree's end."""
        flat = np.zeros(self.size, bool)
        flat[self.nodes[(kinds != DIRECTORY) & (kinds != WHITEOUT) & (kinds != OPAQUE)]] = True
        offsets = np.frombuffer(self._keys.buffers()[1], np.int32)[self._keys.offset :][: self.size + 1]
        data = np.frombuffer(self._keys.buffers()[2] or b"", np.uint8)
        lengths = np.diff(offsets)
        candidates = np.flatnonzero(flat[:-1] & (lengths[1:] > lengths[:-1] + 1))
        # a separator in the next path where this one ends: almost always a child
        candidates = candidates[data[offsets[candidates + 1] + lengths[candidates]] == 0]
        texts, following = (self._keys.take(pa.array(places)).to_pylist() for places in (candidates, candidates + 1))
        found = [
            node
            for node, own, after in zip(candidates.tolist(), texts, following, strict=True)
            if after.startswith(own + b"\0")
        ]
        ends = self._ends(np.array(found, np.int64))
        return [(node, int(ends[node])) for node in found]
