"""List the files of an image's layers: from the cache if they are known, else from the image's source."""

from __future__ import annotations

from collections.abc import Iterable

from imagelab.core.errors import ArchiveError
from imagelab.core.model import Image, Layer
from imagelab.images.layers.blobs import LIMITS
from imagelab.images.layers.cache import cached, store
from imagelab.images.layers.tar import LayerListing
from imagelab.images.layers.tar_columns import text_bytes


def layer_listings(
    image: Image, wanted: Iterable[int] | None = None, *, digests: bool = False
) -> dict[int, LayerListing]:
    """The listing of each wanted layer (default: all), by layer_index.

    Listings are kept by what identifies the bytes of a layer (``Source.layer_keys``), so a layer is read from its
    source once. If the source is an engine and a layer is not known yet, the engine saves the image.

    Raises
    ------
    ArchiveError
        A layer cannot be listed: it is damaged, foreign, too large, or the source has no files.
    """
    wanted = list(range(len(image.layers)) if wanted is None else wanted)
    for index in wanted:
        check_listable(image.layers[index], image.reference)
    keys = layer_keys(image)
    known = ((index, cached(keys[index], digests=digests)) for index in wanted)
    found = {index: listing for index, listing in known if listing}
    if len(found) < len(wanted):
        found |= _read(image, [index for index in wanted if index not in found], keys, digests)
    if sum(text_bytes(found[index].table) for index in found) > LIMITS.text:
        raise ArchiveError(
            f"{image.reference}: the names and attributes of its files have more than {LIMITS.text} bytes. "
            "If you trust it, raise imagelab.LIMITS.text."
        )
    return found


def layer_keys(image: Image) -> list[str]:
    """What identifies the bytes of each layer: its source's key, or else the source itself."""
    keys = image.source.layer_keys(image) if image.source else [None] * len(image.layers)
    return [key or f"object:{id(image.source)}:{index}" for index, key in enumerate(keys)]


def _read(image: Image, missing: list[int], keys: list[str], digests: bool) -> dict[int, LayerListing]:
    if image.source is None:
        raise ArchiveError(f"{image.reference} has no list of files: its source has only the config and the history.")
    same: dict[str, list[int]] = {}
    for index in missing:
        same.setdefault(keys[index], []).append(index)
    found: dict[int, LayerListing] = {}
    firsts = {indexes[0]: indexes for indexes in same.values()}  # an image can contain a layer twice
    for first, listing in image.source.read_layers(image, firsts, digests=digests):
        key, layer = keys[first], image.layers[first]
        if key.startswith("sha256:") and listing.diff_id not in (None, key):
            raise ArchiveError(f"{image.reference}: layer {first} should be {layer.diff_id}, but is {listing.diff_id}.")
        found |= dict.fromkeys(firsts[first], listing)
        if layer_keys(image)[first] == key:  # else the file was changed meanwhile
            store(key, listing, owner=image.source)
    return found


def check_listable(layer: Layer, reference: str, *, present: bool = True) -> None:
    """Refuse layers that are not a tar that can be read: encrypted ones, other media types, and foreign or
    non-distributable ones whose bytes are not ``present`` in the source."""
    kind = layer.media_type or ""
    foreign = not present and ("foreign" in kind or "nondistributable" in kind)
    if foreign or "encrypted" in kind:
        why = "foreign: its bytes are not in the image" if foreign else "encrypted"
        raise ArchiveError(
            f"{reference}: layer {layer.digest} ({kind}) is {why}. Its history is read, its files are not."
        )
    if not holds_files(kind):
        raise ArchiveError(
            f"{reference}: layer {layer.digest} is of media type {kind}, which holds no files that are read here."
        )


def holds_files(kind: str) -> bool:
    return not kind or any(word in kind for word in ("tar", "layer", "diff"))
