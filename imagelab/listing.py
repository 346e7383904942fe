"""The files of an image's layers, each read once: from the user's cache, else from the image's source."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import platformdirs
import pyarrow as pa
import pyarrow.parquet as pq

from imagelab.errors import ArchiveError
from imagelab.layer_tar import SCHEMA, LayerListing
from imagelab.model import Image
from imagelab.sources.archive import check_listable
from imagelab.sources.snapshot import write_atomically

FORMAT = b"1"  # of a cached listing; another one is not read
_DIFF_ID = re.compile(r"sha256:[0-9a-f]{64}")


def cache_dir() -> Path | None:
    """Where listings are kept; ``IMAGELAB_CACHE_DIR`` moves it, and turns it off where it is empty."""
    configured = os.environ.get("IMAGELAB_CACHE_DIR")
    if configured == "":
        return None
    return Path(configured) if configured else platformdirs.user_cache_path("imagelab") / "layers"


def layer_listings(image: Image, wanted: Iterable[int] | None = None, *, digests: bool = False) -> dict[int, LayerListing]:
    """The listing of each wanted layer (default: all), by layer_index.

    A layer is immutable, so its listing is cached by diff_id and read from the source only once. Where
    the source is an engine and a layer is not known yet, the engine saves the image.

    Raises
    ------
    ArchiveError
        A layer cannot be listed: damaged, foreign, or a source without files.
    """
    wanted = list(range(len(image.layers)) if wanted is None else wanted)
    found = {index: listing for index in wanted if (listing := cached(image.layers[index].diff_id, digests=digests))}
    if len(found) == len(wanted):
        return found
    if image.source is None:
        raise ArchiveError(f"{image.reference} has no listing of its files: its source holds only the config and history.")
    missing: dict[str | int, list[int]] = {}
    for index in wanted:
        if index not in found:
            check_listable(image.layers[index], image.reference)
            missing.setdefault(image.layers[index].diff_id or index, []).append(index)
    firsts = {indexes[0]: indexes for indexes in missing.values()}  # a diff_id can stand twice
    for first, listing in image.source.read_layers(image, firsts, digests=digests):
        if image.transport != "snapshot":
            store(image.layers[first].diff_id, listing)
        found |= dict.fromkeys(firsts[first], listing)
    return found


def cached(diff_id: str | None, *, digests: bool = False) -> LayerListing | None:
    """The listing of a layer seen before, or None; a damaged entry is dropped, to be made again."""
    path = _path(diff_id)
    if path is None or not path.exists():
        return None
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        metadata = table.schema.metadata or {}
        if metadata.get(b"imagelab.format") != FORMAT or table.schema.remove_metadata() != SCHEMA:
            return None
        listing = LayerListing(table.replace_schema_metadata(None), metadata.get(b"imagelab.digests") == b"1")
        return listing if listing.digests or not digests else None
    except (OSError, pa.ArrowException):
        path.unlink(missing_ok=True)
        return None


def store(diff_id: str | None, listing: LayerListing) -> None:
    """Keep a listing. A cache that cannot be written is no error: the next look reads the layer again."""
    path = _path(diff_id)
    if path is None:
        return
    table = listing.table.replace_schema_metadata({"imagelab.format": FORMAT, "imagelab.digests": b"1" if listing.digests else b"0"})
    try:
        write_atomically(path, lambda file: pq.write_table(table, file, compression="zstd", write_page_checksum=True))
    except OSError:
        return


def cache_info() -> tuple[Path | None, int, int]:
    """The cache's folder, how many listings it holds, and their bytes."""
    folder = cache_dir()
    files = [] if folder is None else list(folder.glob("*.parquet"))
    return folder, len(files), sum(file.stat().st_size for file in files)


def clear_cache() -> int:
    """Forget every listing; how many there were."""
    folder = cache_dir()
    files = [] if folder is None else list(folder.glob("*.parquet"))
    for file in files:
        file.unlink(missing_ok=True)
    return len(files)


def _path(diff_id: str | None) -> Path | None:
    folder = cache_dir()
    if folder is None or diff_id is None or not _DIFF_ID.fullmatch(diff_id):
        return None
    return folder / f"{diff_id.removeprefix('sha256:')}.parquet"
