"""The files of an image's layers, each read once: from the user's cache, else from the image's source."""

from __future__ import annotations

from collections.abc import Iterable

from imagelab.core.errors import ArchiveError
from imagelab.core.model import Image, Layer
from imagelab.images.layers.cache import cached, store
from imagelab.images.layers.tar import LayerListing


def layer_listings(
    image: Image, wanted: Iterable[int] | None = None, *, digests: bool = False
) -> dict[int, LayerListing]:
    """The listing of each wanted layer (default: all), by layer_index.

    A layer is immutable, so its listing is cached by diff_id and read from the source only once. Archives only say which
    diff_id a layer has: what was listed of one is no answer for an engine or a registry, which verify it, unless its
    bytes have that digest. Where the source is an engine and a layer is not known yet, the engine saves the image.

    Raises
    ------
    ArchiveError
        A layer cannot be listed: damaged, foreign, or a source without files.
    """
    wanted = list(range(len(image.layers)) if wanted is None else wanted)
    verified = image.source is not None and image.source.verifies
    known = ((index, cached(image.layers[index].diff_id, digests=digests, verified=verified)) for index in wanted)
    found = {index: listing for index, listing in known if listing}
    if len(found) == len(wanted):
        return found
    if image.source is None:
        raise ArchiveError(
            f"{image.reference} has no listing of its files: its source holds only the config and history."
        )
    missing: dict[str | int, list[int]] = {}
    for index in wanted:
        if index not in found:
            check_listable(image.layers[index], image.reference)
            missing.setdefault(image.layers[index].diff_id or index, []).append(index)
    regions = image.source.regions() if not verified else []
    firsts = {indexes[0]: indexes for indexes in missing.values()}  # a diff_id can stand twice
    for first, listing in image.source.read_layers(image, firsts, digests=digests):
        if image.source.contents:
            origin = regions[first] if regions else None
            store(image.layers[first].diff_id, listing, verified=verified, origin=origin)
        found |= dict.fromkeys(firsts[first], listing)
    return found


def check_listable(layer: Layer, reference: str, *, present: bool = True) -> None:
    """Refuse layers that are not a tar that can be read: encrypted ones, other media types, and foreign or
    non-distributable ones whose bytes are not ``present`` in the source."""
    kind = layer.media_type or ""
    for word in ("encrypted",) if present else ("encrypted", "foreign", "nondistributable"):
        if word in kind:
            why = "" if word == "encrypted" else ": its bytes are not in the image"
            raise ArchiveError(
                f"{reference}: layer {layer.digest} ({kind}) is {word}{why}. Its history is read, its files are not."
            )
    if not holds_files(kind):
        raise ArchiveError(
            f"{reference}: layer {layer.digest} is of media type {kind}, which holds no files that are read here."
        )


def holds_files(kind: str) -> bool:
    return not kind or any(word in kind for word in ("tar", "layer", "diff"))
