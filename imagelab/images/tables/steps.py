"""Join the steps of an image's history with the layers that they made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from imagelab.core.errors import ImagelabError
from imagelab.core.model import Image, Layer
from imagelab.images.layers.cache import cached
from imagelab.images.layers.listing import layer_keys, layer_listings
from imagelab.images.tables.created_by import LAYER_MAKERS, Command, parse_created_by


def parsed(image: Image) -> list[Command]:
    """Each history entry's instruction."""
    return [parse_created_by(entry.created_by, entry.comment) for entry in image.history]


def instruction_of_layer(image: Image) -> list[str | None]:
    """The ``created_by`` of the step that made each layer; None where unknown."""
    made: list[str | None] = [None] * len(image.layers)
    indexes, _ = join_layers(image, parsed(image))
    for entry, index in zip(image.history, indexes, strict=True):
        if index is not None and index >= 0:
            made[index] = entry.created_by or (f"({entry.comment})" if entry.comment else None)
    return made


def known_layers(image: Image) -> list[Layer]:
    """The image's layers, with size and entries where a listing is at hand or costs only local reading."""
    if all(layer.size is not None for layer in image.layers):
        return list(image.layers)
    try:
        local = image.source is not None and image.source.listing_is_local
        listings = layer_listings(image) if local else dict(enumerate(map(cached, layer_keys(image))))
    except ImagelabError:  # foreign or missing layers: their history is read all the same
        listings = {}
    return [
        layer if not (listing := listings.get(index)) else replace(layer, size=listing.size, entries=listing.entries)
        for index, layer in enumerate(image.layers)
    ]


def join_layers(image: Image, commands: Sequence[Command]) -> tuple[list[int | None], str]:
    """Which layer each history entry made: its index, -1 for none, None where unknown; and how it is known.

    The config's ``empty_layer`` decides where it is there (OCI image-spec, config.md). An engine's history API
    drops it: then bytes prove a layer, BuildKit's RUN, COPY, ADD and WORKDIR always make one, and
    the classic builder's may have; an index is given where every join that fits the number of layers agrees.
    """
    entries, total = image.history, len(image.layers)
    if any(entry.empty_layer is not None for entry in entries):
        made = [not entry.empty_layer for entry in entries]
        if sum(made) != total:
            return [None] * len(entries), "mismatch"
        counter = iter(range(total))
        return [next(counter) if makes else -1 for makes in made], "config"
    surely, perhaps = [], []
    for entry, command in zip(entries, commands, strict=True):
        maker = command.instruction is None or command.instruction in LAYER_MAKERS
        by_buildkit = command.builder == "buildkit" and command.instruction is not None
        surely.append(bool(entry.size or entry.disk_usage) or (maker and by_buildkit and entry.disk_usage is None))
        # the containerd store's disk usage counts directories: there, no bytes is no layer
        perhaps.append(not surely[-1] and maker and entry.disk_usage is None)
    spare = total - sum(surely)
    if not 0 <= spare <= sum(perhaps):
        return [None] * len(entries), "mismatch" if entries else "engine"
    indexes: list[int | None] = []
    sure = maybe = 0
    for makes, may in zip(surely, perhaps, strict=True):
        lowest = sure + max(0, spare - (sum(perhaps) - maybe))
        highest = sure + min(maybe, spare)
        if makes:
            indexes.append(lowest if lowest == highest else None)
        elif may and spare:
            indexes.append(lowest if spare == sum(perhaps) else None)
        else:
            indexes.append(-1)
        sure, maybe = sure + makes, maybe + may
    return indexes, "engine"


def timestamp(value: Any) -> Any:
    """An RFC 3339 time; NaT if it is missing or not a time, such as Go's zero time (year 1)."""
    if isinstance(value, str) and value.startswith("0001-01-01T00:00:00"):
        return pd.NaT
    return pd.to_datetime(value if isinstance(value, str) else None, utc=True, errors="coerce", format="ISO8601")
