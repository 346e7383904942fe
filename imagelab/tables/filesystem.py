"""Every file of every layer, and the filesystem that they make."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from imagelab.errors import ArchiveError, ImageNotFound
from imagelab.listing import layer_listings
from imagelab.model import Image
from imagelab.overlay import ALIVE, DELETED, NOT_WASTED, OVERWRITTEN, UNCHANGED, Overlay, overlay
from imagelab.sources.snapshot import SnapshotSource
from imagelab.tables.config import Images, instruction_of_layer, load_images
from imagelab.tar_columns import FILE, HARDLINK, KINDS, SYMLINK
from imagelab.tar_headers import clean_path

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
        Also hash contents: every file is read; with ``"copies"`` only files that another of the same path and
        size replaced, which is what tells a rewrite from a change (where layers are compressed, all).

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
    frames = [_files(image, digests) for image in load_images(images)]
    if len(frames) == 1:
        return frames[0]
    if not frames:
        return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in FILES_COLUMNS.items()})
    joined = pd.concat(
        [frame.astype({"reference": "str", "instruction": "str"}) for frame in frames], ignore_index=True
    )
    return joined.astype({"reference": "category", "instruction": "category"})


def _files(image: Image, digests: Digests) -> pd.DataFrame:
    source = image.source
    # where layers are compressed, one pass over everything is cheaper than going back for some of it
    plain = all(layer.digest is not None and layer.digest == layer.diff_id for layer in image.layers)
    copies = digests == "copies" and source is not None and source.listing_is_local and plain
    listings = layer_listings(image, digests=bool(digests) and not copies)
    counts = [listings[index].entries for index in range(len(image.layers))]
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    tables = [listings[index].table for index in range(len(image.layers))]
    if not tables:
        return files([])
    table = pa.concat_tables(tables).combine_chunks()
    del listings, tables  # the table is a copy: memory of the largest images
    columns = {name: _single(table[name]) for name in table.column_names if name != "content"}
    kinds = columns["kind"].to_numpy()
    state = overlay(columns["path"], kinds, columns["link_target"], starts)
    size = columns["size"].to_numpy()
    layer_index = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    if copies and columns["digest"].null_count and not isinstance(source, SnapshotSource):
        columns["digest"] = _copies_hashed(image, state, layer_index, kinds, columns)
    reason, removed = _wasted(state, kinds, size, columns["digest"])
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
    return pd.DataFrame(frame, copy=False)


def _instructions(image: Image, layer_index: np.ndarray) -> pd.Categorical:
    made_by = instruction_of_layer(image)
    names = list(dict.fromkeys(name for name in made_by if name is not None))
    codes = np.array([-1 if name is None else names.index(name) for name in made_by], np.int32)
    return pd.Categorical.from_codes(codes[layer_index], pd.Index(names, dtype="str"))


def _wasted(state: Overlay, kinds: np.ndarray, size: np.ndarray, digest: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Why and by which layer each regular file's bytes were lost."""
    removed, last = state.bytes_gone()
    wasted = (kinds == FILE) & (removed != ALIVE) & (removed >= 0)
    by_whiteout = state.deleted[np.maximum(last, 0)]
    reason = np.where(wasted, np.where(by_whiteout, DELETED, OVERWRITTEN), NOT_WASTED).astype(np.int8)
    if digest.null_count < len(digest):
        rows, successors = _rewritten(state, kinds, size)
        own, other = digest.take(pa.array(rows)), digest.take(pa.array(successors))
        same = pa.compute.equal(own, other).fill_null(False).to_numpy(zero_copy_only=False)
        reason[rows[same]] = UNCHANGED
    return reason, removed


def _rewritten(state: Overlay, kinds: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lost files whose path was taken by a file of the same size, and the rows of those files."""
    removed, last = state.bytes_gone()
    last = np.maximum(last, 0)
    taken = state.replaced_by[last]
    successor = state.inode[np.maximum(taken, 0)]
    lost = (kinds == FILE) & (removed != ALIVE) & (removed >= 0) & ~state.deleted[last]
    rows = np.flatnonzero(lost & (taken >= 0) & (successor >= 0))
    rows = rows[size[rows] == size[successor[rows]]]
    return rows, successor[rows]


def _copies_hashed(
    image: Image, state: Overlay, layer_index: np.ndarray, kinds: np.ndarray, columns: dict[str, pa.Array]
) -> pa.Array:
    """Digests of the files that ``_rewritten`` names, and of no others."""
    assert image.source is not None
    size = columns["size"].to_numpy()
    stored = columns["offset"].is_valid().to_numpy(zero_copy_only=False)  # a sparse file's contents are in pieces
    offset = columns["offset"].fill_null(0).to_numpy()
    digests: list[bytes | None] = [None] * len(size)
    wanted = np.unique(np.concatenate(_rewritten(state, kinds, size)))
    wanted = wanted[stored[wanted]]
    for layer in np.unique(layer_index[wanted]).tolist():
        rows = wanted[layer_index[wanted] == layer]  # in the tar's order: offsets ascend
        ranges = list(zip(offset[rows].tolist(), size[rows].tolist(), strict=True))
        for row, chunks in zip(rows.tolist(), image.source.read_ranges(image, layer, ranges), strict=True):
            state_of_hash = hashlib.sha256()
            for chunk in chunks:
                state_of_hash.update(chunk)
            digests[row] = state_of_hash.digest()
    return pa.array(digests, pa.binary(32))


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
    first = frame.groupby("reference", observed=True, sort=False).ngroup()
    offset = first.map(
        first.value_counts().sort_index().cumsum().shift(fill_value=0)
    ).to_numpy()  # of each image's first row
    seen = frame[frame["visible"]].copy()
    holder = seen["inode"] + offset[frame["visible"].to_numpy()]
    named = holder.notna()
    bearer = ~holder[named].duplicated()
    sizes = frame["size"].to_numpy()[holder[named].astype("int64").to_numpy()]
    seen.loc[named, "size"] = np.where(bearer, sizes, 0)
    if "digest" in seen:
        linked = named & (seen["kind"] == KINDS[HARDLINK])
        seen.loc[linked, "digest"] = frame["digest"].to_numpy()[holder[linked].astype("int64").to_numpy()]
    return seen.reset_index(drop=True)


def read_file(image: Image | str, path: str | bytes, layer_index: int | None = None, *, limit: int = 1 << 24) -> bytes:
    """The bytes of one regular file, as the container sees it or as one layer stored it.

    Parameters
    ----------
    image : Image or reference
    path : str or bytes
        Symbolic links are followed in the final filesystem.
    layer_index : int, optional
        The copy that this layer stored, wasted or not.
    limit : int
        A larger file is refused (bytes).

    Raises
    ------
    ImageNotFound
        No regular file of that name.
    ArchiveError
        Too large, or a source without contents (a snapshot).
    """
    (image,) = load_images(image)
    listings = layer_listings(image, None if layer_index is None else [layer_index])
    wanted = clean_path(path.encode() if isinstance(path, str) else path)
    if layer_index is None:
        counts = [listings[index].entries for index in range(len(image.layers))]
        table = pa.concat_tables([listings[index].table for index in range(len(image.layers))]).combine_chunks()
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        kinds = table["kind"].to_numpy()
        state = overlay(_single(table["path"]), kinds, _single(table["link_target"]), starts)
        row = _followed(table, kinds, state, wanted)
    else:
        table = listings[layer_index].table
        starts = np.array([0])
        same = pa.compute.and_(pa.compute.equal(table["path"], wanted), pa.compute.equal(table["kind"], FILE))
        rows = np.flatnonzero(same.to_numpy())
        row = int(rows[-1]) if len(rows) else -1
    if row < 0:
        place = "the image" if layer_index is None else f"layer {layer_index}"
        raise ImageNotFound(
            f"{place} of {image.reference} holds no regular file {wanted.decode(errors='backslashreplace')}."
        )
    layer = layer_index if layer_index is not None else int(np.searchsorted(starts, row, "right")) - 1
    size, offset = table["size"][row].as_py(), table["offset"][row].as_py()
    if size > limit:
        raise ArchiveError(
            f"{wanted.decode(errors='backslashreplace')} has {size} bytes, over the limit of {limit}. Raise limit=."
        )
    if offset is None:
        raise ArchiveError(
            f"{wanted.decode(errors='backslashreplace')} is stored without its holes (a sparse file), which is not read back."
        )
    if image.source is None:
        raise ArchiveError(f"{image.reference} has no contents: its source holds only the config and history.")
    return b"".join(chunk for chunks in image.source.read_ranges(image, layer, [(offset, size)]) for chunk in chunks)


def _followed(table: pa.Table, kinds: np.ndarray, state: Any, path: bytes) -> int:
    """The row of the regular file at ``path`` in the final filesystem, symbolic links followed; -1 for none."""
    seen = np.flatnonzero(state.visible)
    rows = dict(zip(table["path"].take(pa.array(seen)).to_pylist(), seen.tolist(), strict=True))
    for _ in range(40):  # as many as Linux follows
        parts, at = path.strip(b"/").split(b"/"), b""
        for number, part in enumerate(parts):
            at += b"/" + part
            row = rows.get(at)
            if row is not None and kinds[row] == SYMLINK:
                target = table["link_target"][row].as_py()
                start = target if target.startswith(b"/") else at.rpartition(b"/")[0] + b"/" + target
                path = clean_path(b"/".join([start, *parts[number + 1 :]]))
                break
        else:
            row = rows.get(path)
            return -1 if row is None else int(state.inode[row])
    return -1


def _single(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


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


def _hex(column: pa.Array) -> Any:
    if column.null_count == len(column):
        return pd.Series(np.full(len(column), None, object), dtype="str")
    known = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    flat = np.frombuffer(b"".join(column.drop_null().to_pylist()), np.uint8).reshape(-1, 32)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.empty((len(flat), 71), np.uint8)
    text[:, :7] = np.frombuffer(b"sha256:", np.uint8)
    text[:, 7::2], text[:, 8::2] = digits[flat >> 4], digits[flat & 15]
    result = np.full(len(column), None, object)
    result[known] = text.view("S71").ravel().astype("U71")
    return pd.Series(result, dtype="str")
