"""What each step of an image's history did, joined with the layer that it made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from imagelab.core.errors import ImagelabError
from imagelab.core.frames import first_known, make_frame
from imagelab.core.model import Image
from imagelab.images.tables.base_image import find_base
from imagelab.images.tables.created_by import Command
from imagelab.images.tables.images import Images, Reference, load_images, one_image
from imagelab.images.tables.provenance import Attested, image_provenance, join_provenance
from imagelab.images.tables.steps import join_layers, known_layers, parsed, timestamp

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
    "base": "string",
    "line": "Int64",
    "end_line": "Int64",
    "layer_join": "str",
}


def history(images: Images, *, base: Reference | None = None) -> pd.DataFrame:
    """What each instruction did, oldest first; joined with the layer it made.

    Parameters
    ----------
    images : Image, reference, or iterable of them
        An engine is not asked to save anything.
    base : Image or reference, optional
        The base that they were built from; where its layers do not begin theirs, and without one, the base is
        recognised (``imagelab.images.tables.base_image``).

    Returns
    -------
    pandas.DataFrame
        ``HISTORY_COLUMNS``. ``step`` counts from 0, ``size`` (files' bytes), ``content_size`` (stored or sent)
        and ``disk_usage`` (in the engine's store) are bytes, ``created`` is UTC. ``builder`` is ``buildkit``,
        ``classic`` or ``unknown``. ``from_base``: the step is the base image's; ``base_rule`` says how that is known:
        ``given``, ``provenance`` (BuildKit's attestation in an archive or registry), ``label``, ``prefix`` (its layers
        begin those of this image), ``shape`` (of the history) or ``unknown``. ``base``: the base's name if it is known,
        with the exact digest (``NAME@sha256:…``) from a provenance. ``line`` to ``end_line``: the step's lines in the
        Dockerfile, from a provenance with ``mode=max``. ``layer_join``: how ``layer_index`` is known, from the ``config``
        (which marks empty layers) or from the ``engine``'s history (``<NA>`` where several joins fit); ``mismatch``: history
        and layers do not add up, and nothing is joined.
        An overlay2 engine's ``size`` is its own count until the layer's listing was read once.
    """
    rows: list[dict[str, Any]] = []
    loaded = load_images(images)
    given = None if base is None else one_image(base, like=loaded[0] if len(loaded) == 1 else None)
    for image in loaded:
        commands = parsed(image)
        indexes, join = join_layers(image, commands)
        layers = known_layers(image)
        attested = _attested(image, commands)
        found = find_base(image, commands, indexes, given, loaded, attested)
        for step, (entry, command, index) in enumerate(zip(image.history, commands, indexes, strict=True)):
            layer = None if index is None or index < 0 else layers[index]
            empty = True if index == -1 else None if layer is None else False
            size, disk_usage = entry.size, entry.disk_usage  # the engine's own, whichever layer it is
            content_size = None if layer is None else layer.content_size
            if empty:
                size = content_size = disk_usage = 0
            elif layer is not None:
                size, disk_usage = first_known(layer.size, size), first_known(layer.disk_usage, disk_usage)
            rows.append(
                asdict(entry)
                | command._asdict()
                | {
                    "reference": image.reference,
                    "step": step,
                    "created": timestamp(entry.created),
                    "empty_layer": empty if join != "mismatch" else entry.empty_layer,
                    "layer_index": None if layer is None else index,
                    "diff_id": layer and layer.diff_id,
                    "size": size,
                    "content_size": content_size,
                    "disk_usage": disk_usage,
                    "from_base": None if found.steps is None else step < found.steps,
                    "base_rule": found.rule,
                    "base": attested.base if found.steps and attested.base else found.name,
                    "line": attested.lines.get(step, (None, None))[0],
                    "end_line": attested.lines.get(step, (None, None))[1],
                    "layer_join": join,
                }
            )
    return make_frame(rows, HISTORY_COLUMNS)


def _attested(image: Image, commands: Sequence[Command]) -> Attested:
    try:
        provenance = image_provenance(image)
    except (ImagelabError, ValueError):  # a history needs none; ValueError: damaged base64
        return Attested()
    return join_provenance(provenance, [command.instruction for command in commands])
