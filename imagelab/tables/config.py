"""Steps, layers and settings of images, from their configs and manifests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from imagelab.base import find_base
from imagelab.created_by import LAYER_MAKERS, Command, parse_created_by
from imagelab.errors import ImagelabError
from imagelab.frames import make_frame
from imagelab.layer_cache import cached
from imagelab.listing import layer_listings
from imagelab.model import Image, Layer
from imagelab.tables.images import Images, Reference, load_images, one_image

HISTORY_COLUMNS = {
    "reference": "str",
    "step": "int64",
    "instruction": "string",
    "arguments": "string",
    "created_by": "str",
    "comment": "str",
    "builder": "str",
    "created": "datetime64[us, UTC]",
    "empty_layer": "boolean",
    "layer_index": "Int64",
    "diff_id": "string",
    "size": "Int64",
    "content_size": "Int64",
    "disk_usage": "Int64",
    "from_base": "boolean",
    "base_rule": "str",
    "layer_join": "str",
}
LAYERS_COLUMNS = {
    "reference": "str",
    "layer_index": "int64",
    "diff_id": "string",
    "chain_id": "string",
    "digest": "string",
    "media_type": "string",
    "size": "Int64",
    "content_size": "Int64",
    "disk_usage": "Int64",
    "entries": "Int64",
    "instruction": "string",
    "created_by": "string",
}
SETTINGS_COLUMNS = {"reference": "str", "setting": "str", "name": "string", "value": "string", "redacted": "bool"}


def history(images: Images, *, base: Reference | None = None) -> pd.DataFrame:
    """What each instruction did, oldest first; joined with the layer it made.

    Parameters
    ----------
    images : Image, reference, or iterable of them
        An engine is not asked to save anything.
    base : Image or reference, optional
        The base that they were built from; where its layers do not begin theirs, and without one, the base is
        recognised (``imagelab.base``).

    Returns
    -------
    pandas.DataFrame
        ``HISTORY_COLUMNS``. ``step`` counts from 0, ``size`` (files' bytes), ``content_size`` (stored or sent)
        and ``disk_usage`` (in the engine's store) are bytes, ``created`` is UTC. ``builder`` is ``buildkit``,
        ``classic`` or ``unknown``. ``from_base``: the step is the base image's; ``base_rule`` says how that is known:
        ``given``, ``label``, ``prefix`` (its layers begin those of this image), ``shape`` (of the history) or
        ``unknown``. ``layer_join`` says how ``layer_index`` is known: ``config`` (the config marks
        empty layers), ``engine`` (deduced from what the engine's history shows; ``<NA>`` where several joins
        fit), or ``mismatch`` (history and layers do not add up: nothing is joined).
        An overlay2 engine's ``size`` is its own count until the layer's listing was read once.
    """
    rows: list[dict[str, Any]] = []
    loaded = load_images(images)
    given = None if base is None else one_image(base)
    for image in loaded:
        commands = parsed(image)
        indexes, join = join_layers(image, commands)
        layers = known_layers(image)
        found = find_base(image, commands, indexes, given, loaded)
        for step, (entry, command, index) in enumerate(zip(image.history, commands, indexes, strict=True)):
            layer = None if index is None or index < 0 else layers[index]
            empty = True if index == -1 else None if layer is None else False
            size, disk_usage = entry.size, entry.disk_usage  # the engine's own, whichever layer it is
            content_size = None if layer is None else layer.content_size
            if empty:
                size = content_size = disk_usage = 0
            elif layer is not None:
                size, disk_usage = _first(layer.size, size), _first(layer.disk_usage, disk_usage)
            rows.append(
                {
                    "reference": image.reference,
                    "step": step,
                    "instruction": command.instruction,
                    "arguments": command.arguments,
                    "created_by": entry.created_by,
                    "comment": entry.comment,
                    "builder": command.builder,
                    "created": timestamp(entry.created),
                    "empty_layer": empty if join != "mismatch" else entry.empty_layer,
                    "layer_index": None if layer is None else index,
                    "diff_id": layer and layer.diff_id,
                    "size": size,
                    "content_size": content_size,
                    "disk_usage": disk_usage,
                    "from_base": None if found.steps is None else step < found.steps,
                    "base_rule": found.rule,
                    "layer_join": join,
                }
            )
    return make_frame(rows, HISTORY_COLUMNS)


def layers(images: Images) -> pd.DataFrame:
    """The layers of each image, base first.

    Parameters
    ----------
    images : Image, reference, or iterable of them
        Local archives are listed for their sizes; an engine is not asked to save anything.

    Returns
    -------
    pandas.DataFrame
        ``LAYERS_COLUMNS``; sizes in bytes, ``<NA>`` where the source does not know them.
    """
    rows: list[dict[str, Any]] = []
    for image in load_images(images):
        commands = parsed(image)
        indexes, _ = join_layers(image, commands)
        made = {index: step for step, index in enumerate(indexes) if index is not None and index >= 0}
        for index, (layer, chain_id) in enumerate(zip(known_layers(image), image.chain_ids, strict=True)):
            step = made.get(index)
            entry = None if step is None else image.history[step]
            rows.append(
                {
                    "reference": image.reference,
                    "layer_index": index,
                    "diff_id": layer.diff_id,
                    "chain_id": chain_id,
                    "digest": layer.digest,
                    "media_type": layer.media_type,
                    "size": _first(layer.size, entry.size if entry else None),
                    "content_size": layer.content_size,
                    "disk_usage": _first(layer.disk_usage, entry.disk_usage if entry else None),
                    "entries": layer.entries,
                    "instruction": None if step is None else commands[step].instruction,
                    "created_by": entry.created_by if entry else None,
                }
            )
    return make_frame(rows, LAYERS_COLUMNS)


def settings(images: Images) -> pd.DataFrame:
    """The config's settings, one row each.

    Returns
    -------
    pandas.DataFrame
        ``SETTINGS_COLUMNS``: ``setting`` is ``user``, ``workdir``, ``entrypoint``, ``cmd``, ``shell``, ``env``, ``label``,
        ``port``, ``volume``, ``healthcheck``, ``stop_signal``, ``onbuild``, ``architecture`` …; ``name`` is the variable's,
        label's, port's or volume's; lists are JSON, as in a Dockerfile; ``redacted``: looked like a secret.
    """
    rows = []
    for image in load_images(images):
        masked = {redaction.where for redaction in image.redactions}
        for setting, name, value, where in _settings(image):
            redacted = any(place == where or place.startswith((where + "[", where + ".")) for place in masked)
            rows.append(
                {"reference": image.reference, "setting": setting, "name": name, "value": value, "redacted": redacted}
            )
    return make_frame(rows, SETTINGS_COLUMNS)


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
        listings = (
            layer_listings(image)
            if local
            else {n: cached(layer.diff_id, verified=True) for n, layer in enumerate(image.layers)}
        )
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
    """An RFC 3339 time; NaT where it is missing or no time, as Go's zero time (year 1) is none."""
    if isinstance(value, str) and value.startswith("0001-01-01T00:00:00"):
        return pd.NaT
    return pd.to_datetime(value if isinstance(value, str) else None, utc=True, errors="coerce", format="ISO8601")


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _settings(image: Image) -> Iterable[tuple[str, str | None, str | None, str]]:
    config = image.config.get("config")
    config = config if isinstance(config, dict) else {}

    def shown(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    single = {"User": "user", "WorkingDir": "workdir", "Entrypoint": "entrypoint", "Cmd": "cmd", "Shell": "shell"}
    single |= {"Healthcheck": "healthcheck", "StopSignal": "stop_signal", "StopTimeout": "stop_timeout"}
    for key in ("architecture", "os", "variant", "os.version", "os.features", "author"):
        if image.config.get(key):
            yield key, None, shown(image.config[key]), f"config.{key}"
    for key, setting in single.items():
        if config.get(key) not in (None, "", [], {}):
            yield setting, None, shown(config[key]), f"config.config.{key}"
    for item in _list(config.get("Env")):
        name, _, value = item.partition("=")
        yield "env", name, value, f"config.config.Env[{name}]"
    for name, value in _pairs(config.get("Labels")):
        yield "label", name, shown(value), f"config.config.Labels.{name}"
    for key, setting in (("ExposedPorts", "port"), ("Volumes", "volume")):
        for name, _ in _pairs(config.get(key)):
            yield setting, name, None, f"config.config.{key}.{name}"
    for item in _list(config.get("OnBuild")):
        yield "onbuild", None, item, "config.config.OnBuild"


def _list(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _pairs(value: Any) -> list[tuple[str, Any]]:
    return sorted(value.items()) if isinstance(value, dict) else []
