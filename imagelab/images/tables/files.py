"""Every file of every layer, and the filesystem that they make."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from imagelab.core.memory import Memory
from imagelab.core.model import Image
from imagelab.images.layers.blobs import is_compressed
from imagelab.images.layers.cache import keep_in_memory
from imagelab.images.layers.listing import layer_keys, layer_listings
from imagelab.images.layers.overlay import ALIVE, DELETED, NOT_WASTED, OVERWRITTEN, UNCHANGED, Overlay, overlay
from imagelab.images.layers.regions import Region, same_bytes
from imagelab.images.layers.tar import LayerListing
from imagelab.images.layers.tar_columns import FILE, HARDLINK, KINDS, SCHEMA
from imagelab.images.tables.images import Images, load_images
from imagelab.images.tables.steps import instruction_of_layer

CHANGES = ("added", "modified", "removed")
REASONS = ("deleted", "overwritten", "rewritten_unchanged")

FILES_COLUMNS = {
    "reference": "category",
    "layer_index": "int32",
    "instruction": "category",
    "path": "str",
    "path_raw": "object",
    "kind": "category",
    "size": "int64",
    "mode": "uint32",
    "uid": "int64",
    "gid": "int64",
    "mtime": "datetime64[us, UTC]",
    "link_target": "str",
    "xattrs": "str",
    "change": "category",
    "visible": "bool",
    "reason": "category",
    "removed_layer_index": "Int32",
    "inode": "Int64",
    "digest": "str",
}


Digests = bool | Literal["copies"]


def files(images: Images, *, digests: Digests = False) -> pd.DataFrame:
    """Every entry of every layer, in the order of the layers and of their tars.

    An engine saves the image, unless every layer was listed before.

    Parameters
    ----------
    images : Image, reference, or iterable of them
    digests : bool or "copies"
        Also hash contents: every file is read. With ``"copies"`` only files that another of the same path and size
        replaced are, and compared, which tells a rewrite from a change (where layers are compressed, all are hashed).

    Returns
    -------
    pandas.DataFrame
        ``FILES_COLUMNS``. ``instruction``: the ``created_by`` of the step that made the layer, ``<NA>`` where unknown.
        ``path`` is absolute, bytes that are no UTF-8 as ``\\xNN`` (then ``path_raw`` has the exact
        bytes); a whiteout's is that of what it removes, an opaque whiteout's its directory. ``kind``: file,
        directory, symlink, hardlink, whiteout, opaque_whiteout, device, fifo. ``size``: bytes, of regular files
        only (a hardlink's bytes stand with its target). ``change``: added, modified, removed. ``visible``: the name is in
        the final filesystem. ``reason``: why a regular file's bytes are wasted (deleted, overwritten, or
        rewritten_unchanged where digests were compared), by ``removed_layer_index``; ``<NA>`` where they are not.
        ``inode``: the row (within the image) of the regular file that a name's bytes are of. ``digest``:
        ``sha256:…``, ``<NA>`` where it was not asked for.

    Raises
    ------
    ArchiveError
        A damaged, foreign or missing layer.
    """
    frames = [_recent_or_made(image, digests) for image in load_images(images)]
    if len(frames) == 1:
        return frames[0]
    if not frames:
        return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in FILES_COLUMNS.items()})
    joined = pd.concat(
        [frame.astype({"reference": "str", "instruction": "str"}) for frame in frames], ignore_index=True
    )
    return joined.astype({"reference": "category", "instruction": "category"})


_frames: Memory[tuple[pd.DataFrame, list[LayerListing]]] = Memory(4)


def _recent_or_made(image: Image, digests: Digests) -> pd.DataFrame:
    """The frame of an image, made once for all verbs: its rows depend on the layers and on the history only."""
    layers = layer_keys(image)
    key = (image.reference, *layers, *instruction_of_layer(image), digests)
    frame, listings = _frames.get(key) or _files(image, digests)
    _frames.keep(key, (frame, listings))
    for layer, listing in zip(layers, listings, strict=True):  # tables of layers take their exact sizes from these
        keep_in_memory(layer, listing, image.source)
    return frame.copy(deep=False)  # pandas copies what is written to


def _files(image: Image, digests: Digests) -> tuple[pd.DataFrame, list[LayerListing]]:
    # where layers are compressed, one pass over everything is cheaper than going back for some of it
    regions = _plain_regions(image) if digests == "copies" else []
    listings = layer_listings(image, digests=bool(digests) and not regions)
    table, starts = stacked(listings)
    columns = {name: table[name].chunk(0) for name in table.column_names if name != "content"}
    kinds = columns["kind"].to_numpy()
    state = overlay(columns["path"], kinds, columns["link_target"], starts)
    size = columns["size"].to_numpy()
    layer_index = np.repeat(np.arange(len(image.layers), dtype=np.int32), np.diff(starts))
    reason, removed = _wasted(state, kinds, size, columns["digest"])
    if regions and columns["digest"].null_count:
        reason[_rewritten_in_place(regions, state, layer_index, reason, columns)] = UNCHANGED
    path, raw = _decoded(columns["path"])
    target, _ = _decoded(columns["link_target"])
    has_bytes = state.inode >= 0
    frame = {
        "reference": pd.Categorical.from_codes(np.zeros(len(kinds), np.int8), pd.Index([image.reference])),
        "layer_index": layer_index,
        "instruction": _instructions(image, layer_index),
        "path": path,
        "path_raw": raw,
        "kind": pd.Categorical.from_codes(kinds.astype(np.int8), pd.Index(KINDS)),
        "size": size,
        "mode": columns["mode"].to_numpy(),
        "uid": columns["uid"].to_numpy(),
        "gid": columns["gid"].to_numpy(),
        "mtime": columns["mtime"].to_pandas(),
        "link_target": target,
        "xattrs": columns["xattrs"].cast(pa.string()).to_pandas().astype("str"),
        "change": pd.Categorical.from_codes(state.change, pd.Index(CHANGES)),
        "visible": state.visible,
        "reason": pd.Categorical.from_codes(reason, pd.Index(REASONS)),
        "removed_layer_index": pd.array(np.where(reason >= 0, removed, 0), dtype="Int32"),
        "inode": pd.array(np.where(has_bytes, state.inode, 0), dtype="Int64"),
        "digest": _hex(columns["digest"]),
    }
    frame["removed_layer_index"][reason < 0] = pd.NA
    frame["inode"][~has_bytes] = pd.NA
    return pd.DataFrame(frame, copy=False), [listings[index] for index in range(len(image.layers))]


def _plain_regions(image: Image) -> list[Region]:
    """Where the layers' tars lie in files as they are; none where one is compressed or elsewhere."""
    regions = image.source.regions() if image.source else []
    plain = [region for region in regions if region and not is_compressed(region.head())]
    return plain if len(plain) == len(regions) else []


def stacked(listings: dict[int, LayerListing]) -> tuple[pa.Table, np.ndarray]:
    """The entries of all layers as one table, and where each layer's begin in it, and end."""
    tables = [listings[index].table for index in sorted(listings)]
    starts = np.cumsum([0, *map(len, tables)], dtype=np.int64)
    return pa.concat_tables(tables or [SCHEMA.empty_table()]).combine_chunks(), starts


def _instructions(image: Image, layer_index: np.ndarray) -> pd.Categorical:
    made_by = instruction_of_layer(image)
    names = list(dict.fromkeys(name for name in made_by if name is not None))
    codes = np.array([-1 if name is None else names.index(name) for name in made_by], np.int32)
    return pd.Categorical.from_codes(codes[layer_index], pd.Index(names, dtype="str"))


def _wasted(state: Overlay, kinds: np.ndarray, size: np.ndarray, digest: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Why and by which layer each regular file's bytes were lost."""
    removed, last = state.bytes_gone
    wasted = (kinds == FILE) & (removed != ALIVE) & (removed >= 0)
    reason = np.where(wasted, np.where(state.deleted[last], DELETED, OVERWRITTEN), NOT_WASTED).astype(np.int8)
    if digest.null_count < len(digest):
        rows, successors = _rewritten(state, reason, size)
        own, other = digest.take(pa.array(rows)), digest.take(pa.array(successors))
        same = pa.compute.equal(own, other).fill_null(False).to_numpy(zero_copy_only=False)
        reason[rows[same]] = UNCHANGED
    return reason, removed


def _rewritten(state: Overlay, reason: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Overwritten files whose path was taken by a file of the same size, and the rows of those files."""
    _, last = state.bytes_gone
    lost = np.flatnonzero(reason == OVERWRITTEN)
    taken = state.replaced_by[last[lost]]
    successor = np.where(taken >= 0, state.inode[taken], -1)
    fits = (successor >= 0) & (size[lost] == size[successor])
    return lost[fits], successor[fits]


def _rewritten_in_place(
    regions: list[Region], state: Overlay, layer_index: np.ndarray, reason: np.ndarray, columns: dict[str, pa.Array]
) -> np.ndarray:
    """Of the files that ``_rewritten`` names, those whose bytes the other copy has too: compared, since a hash of
    both costs more."""
    size = columns["size"].to_numpy()
    stored = columns["offset"].is_valid().to_numpy(zero_copy_only=False)  # a sparse file's contents are in pieces
    offset = columns["offset"].fill_null(0).to_numpy()
    rows, others = _rewritten(state, reason, size)
    both = stored[rows] & stored[others]
    rows, others = rows[both], others[both]
    left, right = ((layer_index[copies], offset[copies]) for copies in (rows, others))
    unchanged: np.ndarray = rows[same_bytes(regions, left, right, size[rows])]
    return unchanged


def squash(images: Images, *, digests: bool = False) -> pd.DataFrame:
    """The final filesystem of each image: what a container of it sees.

    Returns
    -------
    pandas.DataFrame
        The visible rows of ``il.files``. A file's bytes stand with one of its visible names, so that the
        sum of ``size`` is what is visible, hardlinks and all.
    """
    return squashed(files(images, digests=digests))


def squashed(frame: pd.DataFrame) -> pd.DataFrame:
    """As ``squash``, of the frame that ``il.files`` gave."""
    # inodes are rows within their image: each image's first row is added
    first = np.maximum.accumulate(np.where(frame["reference"].duplicated(), 0, np.arange(len(frame))))
    seen = frame[frame["visible"]].copy()
    holder = seen["inode"] + first[frame["visible"].to_numpy()]
    named = holder.notna()
    bearer = ~holder[named].duplicated()
    sizes = frame["size"].to_numpy()[holder[named].astype("int64").to_numpy()]
    seen.loc[named, "size"] = np.where(bearer, sizes, 0)
    if "digest" in seen:
        linked = named & (seen["kind"] == KINDS[HARDLINK])
        seen.loc[linked, "digest"] = frame["digest"].to_numpy()[holder[linked].astype("int64").to_numpy()]
    return seen.reset_index(drop=True)


def _decoded(column: pa.Array) -> tuple[pd.Series, np.ndarray]:
    """Bytes as text, and the exact bytes of those that are no UTF-8."""
    exact = np.full(len(column), pd.NA, object)
    try:
        return column.cast(pa.string()).to_pandas().astype("str"), exact
    except pa.ArrowInvalid:
        values = column.to_pylist()
    texts = [None if value is None else value.decode(errors="backslashreplace") for value in values]
    for place, (value, text) in enumerate(zip(values, texts, strict=True)):
        if text is not None and value != text.encode():
            exact[place] = value
    return pd.Series(texts, dtype="str"), exact


def _hex(column: pa.Array) -> pd.Series:
    values = () if column.null_count == len(column) else column.to_pylist()
    return pd.Series([value and f"sha256:{value.hex()}" for value in values] or [None] * len(column), dtype="str")
