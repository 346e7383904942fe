"""What every verb is given, images or references to them, as images; and the engine's list of its own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import pandas as pd

from imagelab.core.errors import ImagelabError
from imagelab.core.frames import make_frame
from imagelab.core.model import Image
from imagelab.images.load import load_image

Reference = Image | str | os.PathLike[str]
Images = Reference | Iterable[Reference]

IMAGES_COLUMNS = {
    "reference": "str",
    "image_id": "string",
    "index_digest": "string",
    "platforms": "string",
    "created": "datetime64[us, UTC]",
    "size": "Int64",
    "content_size": "Int64",
    "disk_usage": "Int64",
}


def load_images(images: Images) -> list[Image]:
    """One image or many, references loaded, each under a reference of its own.

    Frames are grouped by ``reference``. Where several images share one (a tag that was built again, another platform),
    the later ones get what tells them apart in brackets: ``app:v2 (linux/arm64)``, ``app:v2 (2)``.
    """
    platforms: dict[str, list[str | None]] = {}
    apart = []
    for image in _loaded(images):
        earlier = platforms.setdefault(image.reference, [])
        earlier.append(image.platform)
        if len(earlier) > 1:
            word = len(earlier) if image.platform in earlier[:-1] else image.platform
            image = replace(image, reference=f"{image.reference} ({word})")
        apart.append(image)
    return apart


def one_image(image: Reference, *, like: Image | None = None) -> Image:
    """The one image that is asked for: of several platforms, that of ``like`` (for a base, or an earlier build).

    Raises
    ------
    ImagelabError
        None or several were given, or it cannot be loaded.
    """
    if like is not None and isinstance(image, str | os.PathLike):
        return load_image(image, platform=like.platform)
    loaded = load_images(image)
    if len(loaded) != 1:
        raise ImagelabError(f"expected one image or reference, and was given {len(loaded)}. Name one.")
    return loaded[0]


def _loaded(images: Images) -> Iterator[Image]:
    if isinstance(images, Image):
        yield images
    elif isinstance(images, str | os.PathLike):
        yield load_image(images)
    elif isinstance(images, Iterable) and not isinstance(images, pd.DataFrame | Mapping):
        for item in images:
            yield from _loaded(item)
    else:
        raise ImagelabError(f"expected an image, a reference or a list of them, not {type(images).__name__}.")


def list_images() -> pd.DataFrame:
    """The engine's images, newest first: a row for each name.

    Returns
    -------
    pandas.DataFrame
        ``IMAGES_COLUMNS``; sizes in bytes. An overlay2 store tells ``size``; the containerd store ``content_size``
        and ``disk_usage``, without attestations.

    Raises
    ------
    DaemonUnavailable
    """
    from imagelab.images.sources.daemon_images import image_rows

    frame = make_frame(image_rows(), IMAGES_COLUMNS)
    return frame.sort_values(["created", "reference"], ascending=[False, True], ignore_index=True)
