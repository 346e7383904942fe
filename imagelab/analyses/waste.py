"""The waste ledger: bytes that every pull carries and no container sees, and whose fault that is."""

from __future__ import annotations

import pandas as pd

from imagelab.frames import make_frame
from imagelab.tables import Images, files, load_images
from imagelab.tables.filesystem import Digests

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
    """One row for each file copy whose bytes no container sees.

    Exactly: ``Σ bytes = bytes stored in all layers − bytes visible in the final filesystem``. Files without bytes
    waste none and have no row.

    Parameters
    ----------
    images : Image, reference, or iterable of them
        An engine saves the image, unless every layer was listed before.
    digests : bool or "copies"
        Compare contents (of the copies alone, or of everything: see ``il.files``), so that copies of the same
        bytes are told apart from changes.

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
    """As ``waste``, of the frame that ``il.files`` gave."""
    stored = ["reference", "path", "size", "reason", "layer_index", "instruction", "removed_layer_index"]
    lost = files.loc[files["reason"].notna() & (files["size"] > 0), stored].rename(columns={"size": "bytes"})
    lost = lost.sort_values("bytes", ascending=False, kind="stable")
    # the remover's text: that of any entry of its layer (its whiteout, or what took the place)
    told = files[["reference", "layer_index", "instruction"]].drop_duplicates(["reference", "layer_index"])
    told = told.rename(columns={"layer_index": "removed_layer_index", "instruction": "removed_instruction"})
    lost = lost.merge(told, on=["reference", "removed_layer_index"], how="left")[list(WASTE_COLUMNS)]
    for name in ("reference", "instruction", "removed_instruction"):
        if isinstance(lost[name].dtype, pd.CategoricalDtype):  # pandas' own way makes an object of every text
            texts = lost[name].cat.categories.astype(WASTE_COLUMNS[name]).array
            lost[name] = texts.take(lost[name].cat.codes.to_numpy(), allow_fill=True)
    return lost.astype({name: dtype for name, dtype in WASTE_COLUMNS.items() if dtype != "category"})


def efficiency(images: Images) -> pd.DataFrame:
    """How much of what an image stores is visible.

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
