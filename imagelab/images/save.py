"""Take a snapshot: an image's config and the listing of its files, in one Parquet file, kept in a folder or a registry."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

from imagelab.core.errors import ImagelabError
from imagelab.core.model import Image
from imagelab.images.layers.listing import layer_listings
from imagelab.images.layers.tar import LayerListing
from imagelab.images.load import load_image
from imagelab.images.sources.snapshot import write_snapshot
from imagelab.images.tables.images import Reference, one_image


def save_snapshot(image: Reference, path: str | os.PathLike[str], *, digests: bool = False) -> Path:
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
        The image cannot be loaded or listed, or the file not written.
    """
    image = one_image(image)
    listings: dict[int, LayerListing] = {}
    if image.source is not None and image.source.listed:  # else the config and history alone are written
        listings = layer_listings(image, digests=digests)
        if image.source.saves:
            image = _exact(image)
        layers = enumerate(image.layers)
        listed = (replace(layer, size=listings[n].size, entries=listings[n].entries) for n, layer in layers)
        image = replace(image, layers=tuple(listed))
    try:
        return write_snapshot(image, listings, Path(path))
    except OSError as error:
        raise ImagelabError(f"{path} cannot be written: {error.strerror}. Name a file in a folder of yours.") from error


def push_snapshot(image: Reference, reference: str, *, digests: bool = False) -> str:
    """Store one image's snapshot in a registry, as an OCI artifact of its own media type.

    ``il.load_image(reference)`` reads it back: a pipeline needs no other store for the build to compare with.

    Parameters
    ----------
    image : Image or reference
    reference : str
        ``docker://HOST/REPOSITORY:TAG``. Credentials are those of ``docker login``.
    digests : bool
        Also hash the files' contents.

    Returns
    -------
    str
        The snapshot's reference by digest.

    Raises
    ------
    ImagelabError
        The image cannot be loaded or listed, or the registry refuses.
    """
    from imagelab.images.sources.registry.source import push_snapshot_file

    with tempfile.TemporaryDirectory() as folder:
        return push_snapshot_file(save_snapshot(image, Path(folder) / "snapshot.parquet", digests=digests), reference)


def _exact(image: Image) -> Image:
    """An engine's image with the exact config and the blobs' sizes, which only a save shows."""
    assert image.source is not None
    again = load_image(image.reference, platform=image.platform)
    if any(entry.empty_layer is None for entry in again.history):  # every layer was known: it was not saved
        list(image.source.read_layers(image, []))
        again = load_image(image.reference, platform=image.platform)
    # secrets that were asked to be shown stay so
    return again if again.redactions == image.redactions else image
