"""Advise which stored bytes can be left out, with a confidence and a suggestion for the Dockerfile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from imagelab.core.frames import make_frame
from imagelab.core.model import Image
from imagelab.core.terms import LIKELY
from imagelab.images.tables.files import files
from imagelab.images.tables.history import history
from imagelab.images.tables.images import Images, Reference, load_images
from imagelab.images.tables.packages import package_files
from imagelab.size import advice_rules as rules
from imagelab.size.accepted import in_force, reasons

ADVICE_COLUMNS = {
    "reference": "str",
    "rule": "str",
    "what": "str",
    "bytes": "int64",
    "files": "int64",
    "layer_index": "int64",
    "instruction": "string",
    "from_base": "boolean",
    "suggestion": "str",
    "confidence": "str",
    "paths": "str",
    "accepted": "bool",
    "accepted_reason": "string",
}

_READ = ["path", "size", "layer_index", "instruction", "visible", "reason", "removed_layer_index", "digest"]
Findings = Iterator[tuple[rules.Rule, pd.DataFrame]]


def advise(
    images: Images,
    *,
    digests: bool = False,
    base: Reference | None = None,
    accepted: pd.DataFrame | str | os.PathLike[str] | None = None,
) -> pd.DataFrame:
    """List what can be left out of an image, largest first.

    A stored byte belongs to at most one row, so the sum is an upper bound of what can be saved. A row is about one rule
    in one layer, so that it names one instruction; accepted files have a row of their own.

    Parameters
    ----------
    images : Image, reference, or iterable of them
        An engine saves the image, unless every layer was listed before.
    digests : bool
        Also compare contents, which finds duplicates and rewrites of the same bytes.
    base : Image or reference, optional
        The base image, as in ``il.history``.
    accepted : path or frame, optional
        Findings that are accepted (``il.read_accepted``).

    Returns
    -------
    pandas.DataFrame
        ``ADVICE_COLUMNS``: ``what`` the files are; ``bytes`` and number of ``files`` that can be left out; ``layer_index``
        and ``instruction`` that stored them; ``from_base``: the layer belongs to the base image, so its maintainer has to
        act; ``suggestion``;
        ``confidence``: ``exact`` (the ledger counts the bytes: containers cannot see them, or they are a cache), ``likely``,
        or ``possible`` (look first); ``paths``: the five largest, one a line; ``accepted`` and ``accepted_reason``.
    """
    rows: list[dict[str, Any]] = []
    entries = in_force(accepted)
    loaded = load_images(images)
    every_step = history(loaded, base=base)
    for image in loaded:
        steps = every_step[every_step["reference"] == image.reference]
        known = steps.dropna(subset="layer_index").set_index("layer_index")["from_base"]
        for rule, found in _findings(image, steps, digests):
            if found.empty:
                continue
            rows += [
                {
                    "reference": image.reference,
                    "rule": rule.name,
                    "what": rule.what,
                    "bytes": group["size"].sum(),
                    "files": len(group),
                    "layer_index": layer_index,
                    "instruction": group["instruction"].iloc[0],
                    "from_base": known.get(layer_index),
                    "suggestion": rule.suggestion,
                    "confidence": rule.confidence,
                    "paths": "\n".join(group["path"].iloc[np.argsort(-group["size"], kind="stable")[:5]]),
                    "accepted": pd.notna(reason),
                    "accepted_reason": reason,
                }
                for (layer_index, reason), group in found.groupby(
                    ["layer_index", reasons(rule.name, found, entries)], dropna=False
                )
            ]
    frame = make_frame(rows, ADVICE_COLUMNS)
    return frame.sort_values(["reference", "bytes"], ascending=[True, False], kind="stable", ignore_index=True)


def _findings(image: Image, steps: pd.DataFrame, digests: bool) -> Findings:
    """Yield each rule with the stored files that it claims; a file belongs to the first rule that fits."""
    stored = files(image, digests=digests)
    left = stored.loc[(stored["kind"] == "file") & (stored["size"] > 0), _READ]
    yield from _ledger_findings(left[left["reason"].notna()], stored)
    # bytes that a container still sees through a hardlink belong to no rule, though their own name is gone
    left = left.loc[left["reason"].isna() & left["visible"]]
    tools, copied = _build_tools(image), _context_layers(steps)
    left = left.assign(tool=[path in tools for path in left["path"]])
    # one pass with all patterns leaves few files for the pass of each rule
    candidates = left[left["path"].str.contains(rules.ANY_PATH) | left["tool"]]
    links = stored[stored["visible"] & (stored["kind"] == "hardlink") & stored["inode"].isin(candidates.index)]
    links = links.assign(tool=[path in tools for path in links["path"]])
    base = steps.loc[steps["from_base"].fillna(False), "layer_index"].dropna()
    claimed = []
    for rule in rules.RULES:
        # bytes stay while another of their names does; an inode is the row of its file
        kept = links.loc[~_fits(rule, links), "inode"]
        fits = _fits(rule, candidates) & ~candidates.index.isin(kept)
        if rule.only_copy:
            fits &= candidates["layer_index"].isin(copied)
        found, candidates = candidates[fits], candidates[~fits]
        claimed += [found.index]
        if rule is rules.BUILD_TOOLS:
            in_base = found["layer_index"].isin(base)
            yield rules.HEAVY_BASE, found[in_base]
            found = found[~in_base]
        yield rule, found
    if digests:
        left = left.drop(index=np.concatenate(claimed))
        yield rules.DUPLICATED, left[left["digest"].notna() & left.duplicated("digest")]


def _fits(rule: rules.Rule, entries: pd.DataFrame) -> np.ndarray:
    # pandas reads the pattern anew each time, and takes Python's slower matcher where a path is not ASCII
    found: Any = pc.match_substring_regex(pa.array(entries["path"], pa.string()), rule.paths)
    return np.asarray(entries["tool"] if rule is rules.BUILD_TOOLS else found, bool)


def _build_tools(image: Image) -> set[str]:
    """Paths of the packages that compile and link."""
    owned = package_files(image)
    owned = owned[owned["manager"].isin(["dpkg", "apk"])]
    packages = owned["package"].drop_duplicates()
    tools = packages[packages.str.contains(rules.BUILD_PACKAGES) & ~packages.str.contains(rules.RUNTIME_PACKAGES)]
    return set(owned.loc[owned["package"].isin(tools), "path"])


def _context_layers(steps: pd.DataFrame) -> pd.Series:
    """Layers that a COPY or ADD made from the build context. BuildKit leaves ``--from`` out of the history, so a source
    that starts at the root counts as another stage's."""
    own = steps[steps["instruction"].isin(["COPY", "ADD"]) & ~steps["from_base"].fillna(False)]
    staged = own["arguments"].str.contains(r"^(?:--\S+\s+)*/|--from=").fillna(False)
    return own.loc[~staged, "layer_index"].dropna()


def _ledger_findings(lost: pd.DataFrame, stored: pd.DataFrame) -> Findings:
    remover = stored.drop_duplicates("layer_index").set_index("layer_index")["instruction"].astype("string")
    by = remover.reindex(lost["removed_layer_index"].astype("int64")).set_axis(lost.index).fillna("")
    unchanged = (lost["reason"] == "rewritten_unchanged") | (
        (lost["reason"] == "overwritten") & lost["digest"].isna() & by.str.contains(r"\bch(?:mod|own|grp)\b")
    )
    deleted = lost["reason"] == "deleted"
    compared = lost["digest"].notna().all()
    yield rules.DELETED, lost[deleted]
    yield rules.REWRITTEN if compared else rules.REWRITTEN._replace(confidence=LIKELY), lost[unchanged]
    yield rules.OVERWRITTEN, lost[~deleted & ~unchanged]
