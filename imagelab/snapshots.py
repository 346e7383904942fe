"""Taking a snapshot: an image's facts and the listing of its files, in one Parquet file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from imagelab.listing import layer_listings
from imagelab.model import Image
from imagelab.sources import load_image
from imagelab.sources.snapshot import SnapshotSource, write_snapshot
from imagelab.tables import one_image


def save_snapshot(image: Image | str, path: str | os.PathLike[str], *, digests: bool = False) -> Path:
    """Write one image as a snapshot, readable as ``snapshot:PATH`` and as any Parquet.

    An engine saves the image, unless every layer was listed before. Secrets stay masked, unless the
    image was loaded with ``redact=False``.

    Parameters
    ----------
    image : Image or reference
    path : path
        Written atomically.
    digests : bool
        Also hash the files' contents.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ImagelabError
        The image cannot be loaded or listed.
    """
    image = one_image(image)
    if image.source is None or (isinstance(image.source, SnapshotSource) and not image.source.listed):
        return write_snapshot(image, {}, Path(path))  # nothing lists it: its facts alone
    listings = layer_listings(image, digests=digests)
    if image.transport == "docker-daemon":
        image = _exact(image)
    layers = tuple(
        replace(layer, size=listings[index].size, entries=listings[index].entries)
        for index, layer in enumerate(image.layers)
    )
    return write_snapshot(replace(image, layers=layers), listings, Path(path))


def _exact(image: Image) -> Image:
    """An engine's image with the exact config and the blobs' sizes, which only a save tells."""
    assert image.source is not None
    again = load_image(image.reference)
    if any(entry.empty_layer is None for entry in again.history):  # every layer was known: it was not saved
        list(image.source.read_layers(image, []))
        again = load_image(image.reference)
    # secrets that were asked to be shown stay so
    return again if again.redactions == image.redactions else image
