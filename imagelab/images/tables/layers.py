"""The layers of images, base first."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pandas as pd

from imagelab.core.frames import first_known, make_frame
from imagelab.images.tables.images import Images, load_images
from imagelab.images.tables.steps import join_layers, known_layers, parsed

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
                asdict(layer)
                | {
                    "reference": image.reference,
                    "layer_index": index,
                    "chain_id": chain_id,
                    "size": first_known(layer.size, entry.size if entry else None),
                    "disk_usage": first_known(layer.disk_usage, entry.disk_usage if entry else None),
                    "instruction": None if step is None else commands[step].instruction,
                    "created_by": entry.created_by if entry else None,
                }
            )
    return make_frame(rows, LAYERS_COLUMNS)
