"""The user's cache: listings of layers by diff_id, and the configs of images that an engine saved. Both are
immutable, so that a layer is read once, whichever image it is seen in."""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs
import pyarrow as pa
from isal import isal_zlib

from imagelab.core.atomic import write_atomically
from imagelab.core.errors import ArchiveError
from imagelab.images.layers.blobs import decompressed
from imagelab.images.layers.regions import Region
from imagelab.images.layers.tar import LayerListing
from imagelab.images.layers.tar_columns import SCHEMA

FORMAT = b"3"  # of a cached listing: a checksum, then an Arrow file; another one is not read
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def cache_dir() -> Path | None:
    """Where listings are kept; ``IMAGELAB_CACHE_DIR`` moves it, and turns it off where it is empty."""
    configured = os.environ.get("IMAGELAB_CACHE_DIR")
    if configured == "":
        return None
    return Path(configured).expanduser() if configured else platformdirs.user_cache_path("imagelab") / "layers"


def cached(diff_id: str | None, *, digests: bool = False, verified: bool = False) -> LayerListing | None:
    """The listing of a layer seen before, or None; a damaged entry is dropped, to be made again.

    With ``verified``, one of an archive's layer counts only if the layer's bytes, hashed now, have the digest that the
    archive claimed.
    """
    path = _path(diff_id)
    if path is None or not path.exists():
        return None
    try:
        entry = memoryview(path.read_bytes())
        if entry[:4] != _checksum(entry[4:]):
            raise pa.ArrowInvalid("damaged")
        table = pa.ipc.open_file(pa.py_buffer(entry[4:])).read_all()
        metadata = table.schema.metadata or {}
        if metadata.get(b"imagelab.format") != FORMAT or table.schema.remove_metadata() != SCHEMA:
            return None
        listing = LayerListing(table.replace_schema_metadata(None), metadata.get(b"imagelab.digests") == b"1")
        if digests != listing.digests:
            if digests:
                return None
            listing = listing.without_digests()  # what a verb says must not depend on what was asked before
        if verified and (claim := json.loads(metadata[b"imagelab.claim"])) is not None:
            if not _holds(claim, diff_id):
                return None
            store(diff_id, listing, verified=True)
        return listing
    except (OSError, pa.ArrowException):
        with suppress(OSError):
            path.unlink()
        return None


def store(diff_id: str | None, listing: LayerListing, *, verified: bool = False, origin: Region | None = None) -> None:
    """Keep a listing. A cache that cannot be written is no error: the next look reads the layer again.

    Without ``verified`` the diff_id is only claimed; ``origin`` is where the layer lies.
    """
    path = _path(diff_id)
    if path is None:
        return
    claim = None if verified else origin or ()
    table = listing.table.combine_chunks().replace_schema_metadata(
        {"imagelab.format": FORMAT, "imagelab.digests": b"1" if listing.digests else b"0"}
        | {"imagelab.claim": json.dumps(claim)}
    )
    entry = pa.BufferOutputStream()
    with pa.ipc.new_file(entry, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    body = entry.getvalue()
    try:
        write_atomically(path, lambda file: file.writelines((_checksum(body), body)))
    except OSError:
        return


def _holds(claim: list[Any], diff_id: str | None) -> bool:
    """Whether what lies where an archive's layer was has the digest that was claimed for it."""
    state = hashlib.sha256()
    try:
        for chunk in decompressed(Region(*claim).chunks()) if claim else ():
            state.update(chunk)
    except (OSError, ArchiveError):
        return False
    return f"sha256:{state.hexdigest()}" == diff_id


def link_digest(digest: str | None, diff_id: str | None) -> None:
    """A blob of this digest holds the layer of this diff_id: what is kept of it is found by either."""
    path, target = _path(digest), _path(diff_id)
    if path is None or target is None or path == target or path.is_symlink():
        return
    try:
        path.symlink_to(target.name)
    except OSError:
        return


_remembered: dict[str, dict[str, Any]] = {}  # in this process, also where the cache is turned off


def recall_config(image_id: str) -> dict[str, Any] | None:
    """What was remembered of an engine's image, or None."""
    path = _path(image_id, "json")
    try:
        return _remembered.get(image_id) or (json.loads(path.read_bytes()) if path else None)
    except (OSError, ValueError):
        return None


def remember_config(image_id: str, facts: dict[str, Any]) -> None:
    """Keep what a save told of an image (secrets masked): its history API tells less."""
    _remembered[image_id] = facts
    path = _path(image_id, "json")
    if path is not None:
        try:
            write_atomically(path, lambda file: file.write(json.dumps(facts).encode()))
        except OSError:
            return


def cache_info() -> tuple[Path | None, int, int]:
    """The cache's folder, how many entries it holds, and their bytes."""
    files = _entries()
    return cache_dir(), len(files), sum(file.stat().st_size for file in files)


def clear_cache() -> int:
    """Forget everything; how many entries there were."""
    files = _entries()
    for file in files:
        file.unlink(missing_ok=True)
    return len(files)


def _entries() -> list[Path]:
    folder = cache_dir()
    return [] if folder is None else [*folder.glob("*.arrow"), *folder.glob("*.json")]


def _checksum(data: memoryview | pa.Buffer) -> bytes:
    return isal_zlib.crc32(data).to_bytes(4)


def _path(digest: str | None, kind: str = "arrow") -> Path | None:
    folder = cache_dir()
    if folder is None or digest is None or not _DIGEST.fullmatch(digest):
        return None
    return folder / f"{digest.removeprefix('sha256:')}.{kind}"
