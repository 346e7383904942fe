"""The files of an image's layers, each read once: from the user's cache, else from the image's source."""

from __future__ import annotations

from collections.abc import Iterable

from imagelab.errors import ArchiveError
from imagelab.layer_cache import cached, store
from imagelab.layer_tar import LayerListing
from imagelab.model import Image
from imagelab.sources.archive import check_listable


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
        if image.transport != "snapshot":
            origin = regions[first] if regions else None
            store(image.layers[first].diff_id, listing, verified=verified, origin=origin)
        found |= dict.fromkeys(firsts[first], listing)
    return found
