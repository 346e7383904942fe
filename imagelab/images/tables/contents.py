"""One file's bytes, out of whichever layer holds them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagelab.core.errors import ArchiveError, ImageNotFound, similar_names
from imagelab.images.layers.links import follow_links
from imagelab.images.layers.listing import layer_listings
from imagelab.images.layers.overlay import Overlay, overlay
from imagelab.images.layers.tar_columns import FILE, SYMLINK
from imagelab.images.layers.tar_headers import clean_path, text_of
from imagelab.images.tables.files import stacked
from imagelab.images.tables.images import Reference, one_image


def read_file(image: Reference, path: str | bytes, layer_index: int | None = None, *, limit: int = 1 << 24) -> bytes:
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
    image = one_image(image)
    if layer_index is not None and not 0 <= layer_index < len(image.layers):
        raise ImageNotFound(
            f"{image.reference} has {len(image.layers)} layers, counted from 0: no layer {layer_index}."
        )
    wanted = clean_path(path.encode() if isinstance(path, str) else path)
    shown = wanted.decode(errors="backslashreplace")
    table, starts = stacked(layer_listings(image, None if layer_index is None else [layer_index]))
    if layer_index is None:
        kinds = table["kind"].to_numpy()
        state = overlay(table["path"].combine_chunks(), kinds, table["link_target"].combine_chunks(), starts)
        row = _followed(table, kinds, state, wanted)
    else:
        same = pc.and_(pc.equal(table["path"], wanted), pc.equal(table["kind"], FILE))
        rows = np.flatnonzero(same.to_numpy())
        row = int(rows[-1]) if len(rows) else -1
    if row < 0:
        place = image.reference if layer_index is None else f"layer {layer_index} of {image.reference}"
        raise ImageNotFound(f"{place} holds no regular file {shown}.{_hint(table, starts, wanted, layer_index)}")
    layer = layer_index if layer_index is not None else int(np.searchsorted(starts, row, "right")) - 1
    size, offset = table["size"][row].as_py(), table["offset"][row].as_py()
    if size > limit:
        raise ArchiveError(f"{shown} has {size} bytes, over the limit of {limit}. Raise limit=.")
    if offset is None:
        raise ArchiveError(f"{shown} is stored without its holes (a sparse file), which is not read back.")
    if image.source is None:
        raise ArchiveError(f"{image.reference} has no contents: its source holds only the config and history.")
    return b"".join(image.source.read_range(image, layer, offset, size))


def _hint(table: pa.Table, starts: np.ndarray, wanted: bytes, layer_index: int | None) -> str:
    """Where a file that is not seen is stored nevertheless, or what is called like it."""
    paths = table["path"].combine_chunks()
    rows = np.flatnonzero(pc.and_(pc.equal(paths, wanted), pc.equal(table["kind"], FILE)).to_numpy())
    if layer_index is None and len(rows):
        layer = int(np.searchsorted(starts, rows[-1], "right")) - 1
        return f" Layer {layer} stores it, and a later one hides it: layer_index={layer}."
    beside = paths.filter(pc.starts_with(paths, pattern=wanted.rpartition(b"/")[0] + b"/")).unique()[:1000]
    names = [path.decode(errors="backslashreplace") for path in beside.to_pylist()]
    return f" {similar_names(wanted.decode(errors='backslashreplace'), names)} il.files lists every file."


def _followed(table: pa.Table, kinds: np.ndarray, state: Overlay, path: bytes) -> int:
    """The row of the regular file at ``path`` in the final filesystem, symbolic links followed; -1 for none."""
    seen = np.flatnonzero(state.visible)
    rows = dict(zip(table["path"].take(pa.array(seen)).to_pylist(), seen.tolist(), strict=True))
    linked = table.select(["path", "link_target"]).take(pa.array(seen[kinds[seen] == SYMLINK]))
    links = {text_of(link): text_of(target) for link, target in zip(*linked.to_pydict().values(), strict=True)}
    row = rows.get(follow_links(text_of(path), links).encode(errors="surrogateescape"))
    return -1 if row is None else int(state.inode[row])
