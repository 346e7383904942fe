"""The waste ledger: stored bytes that containers cannot see, with the instructions that stored and hid them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from imagelab.core.frames import make_frame
from imagelab.images.tables.files import Digests, files
from imagelab.images.tables.images import Images, load_images

WASTE_COLUMNS = {
    "reference": "str",
    "path": "str",
    "bytes": "int64",
    "reason": "category",
    "layer_index": "int64",
    "instruction": "string",
    "removed_layer_index": "Int64",
    "removed_instruction": "string",
}
EFFICIENCY_COLUMNS = {
    "reference": "str",
    "stored": "int64",
    "visible": "int64",
    "wasted": "int64",
    "efficiency": "float64",
}


def waste(images: Images, *, digests: Digests = False) -> pd.DataFrame:
    """List every file copy whose bytes containers cannot see.

    The ledger is exact: ``Σ bytes = bytes stored in all layers − bytes visible in the final filesystem``. Empty files
    waste nothing and have no row. Reads the layers: an engine saves the image, unless every layer was listed before.

    Parameters
    ----------
    images : Image, reference, or iterable of them
    digests : bool or "copies"
        Compare contents (of all files, or only of files stored more than once: see ``il.files``). This separates
        copies of the same bytes from changes.

    Returns
    -------
    pandas.DataFrame
        ``WASTE_COLUMNS``, most bytes first: ``path`` and ``bytes`` of the copy, the layer and ``created_by`` that
        stored it (``instruction``) and that made it invisible (``removed_instruction``). ``reason``: ``deleted``
        (whiteouts), ``overwritten`` (also by another type, or twice in one tar), or ``rewritten_unchanged``
        (the same bytes again; only where digests were compared).
    """
    return ledger(files(images, digests=digests))


def ledger(files: pd.DataFrame) -> pd.DataFrame:
    """Make the ledger of `waste` from the frame that ``il.files`` returns."""
    size, layer = files["size"].to_numpy(), files["layer_index"].to_numpy()
    reference, instruction = (files[name].astype("category").cat for name in ("reference", "instruction"))
    rows = np.flatnonzero(files["reason"].notna() & (size > 0))
    rows = rows[np.argsort(-size[rows], kind="stable")]
    lost = files[["path", "reason", "removed_layer_index"]].take(rows)
    image, remover = reference.codes.to_numpy()[rows], lost["removed_layer_index"].to_numpy("int64")
    # the instruction of each layer, from any of its entries: a remover has at least a whiteout or a replacement
    of_layer = np.full((len(reference.categories), max(layer.max(initial=0), remover.max(initial=0)) + 1), -1)
    of_layer[reference.codes, layer] = instruction.codes

    def decode(categorical: Any, codes: np.ndarray, dtype: str) -> Any:
        return categorical.categories.astype(dtype).array.take(codes, allow_fill=True)

    columns = {
        "reference": decode(reference, image, "str"),
        "path": lost["path"].array,
        "bytes": size[rows],
        "reason": lost["reason"].array,
        "layer_index": layer[rows].astype("int64"),
        "instruction": decode(instruction, instruction.codes.to_numpy()[rows], "string"),
        "removed_layer_index": pd.array(remover, "Int64"),
        "removed_instruction": decode(instruction, of_layer[image, remover], "string"),
    }
    return pd.DataFrame(columns)


def efficiency(images: Images) -> pd.DataFrame:
    """Measure how much of what an image stores is visible. Reads the layers, as `waste` does.

    Returns
    -------
    pandas.DataFrame
        ``EFFICIENCY_COLUMNS``, a row per image: bytes ``stored`` in all layers, ``visible`` in the final filesystem,
        ``wasted`` (their difference), and ``efficiency = visible / stored`` (1.0 where nothing is stored).
    """
    rows = []
    for image in load_images(images):
        frame = files(image)
        stored, wasted = int(frame["size"].sum()), int(frame.loc[frame["reason"].notna(), "size"].sum())
        rows.append(
            {
                "reference": image.reference,
                "stored": stored,
                "visible": stored - wasted,
                "wasted": wasted,
                "efficiency": (stored - wasted) / stored if stored else 1.0,
            }
        )
    return make_frame(rows, EFFICIENCY_COLUMNS)
