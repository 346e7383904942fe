"""Summarise an image: how big, how much waste, how slow, how bad, what to do next."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from imagelab.build.logs.cost import build_cost, timed_rows
from imagelab.core.frames import format_bytes, make_frame
from imagelab.core.model import Image
from imagelab.core.terms import SEVERITIES
from imagelab.images.tables.files import files
from imagelab.images.tables.images import Images, load_images
from imagelab.images.tables.layers import layers
from imagelab.security.hardening.check import check_hardening
from imagelab.security.scans.findings import is_counted
from imagelab.size.advice import advise
from imagelab.size.waste import ledger

OVERVIEW_COLUMNS = {"reference": "str", "question": "str", "answer": "string", "detail": "str"}
NO_LOG = "no build log: record one with docker buildx build --progress=rawjson, then imagelab report --log build.log"
NO_SCAN = "no scan: run trivy, grype or another scanner, then imagelab report --scan scan.json"
NOT_LISTED = "this source has no list of the files"

Answer = tuple[str | None, str]


def overview(
    images: Images,
    *,
    logs: Mapping[str, pd.DataFrame] | None = None,
    scans: Mapping[str, pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """Answer the first five questions about each image.

    Parameters
    ----------
    images : Image, reference, or iterable of them
        Files are listed: an engine saves the image for it, unless it was listed before.
    logs : mapping, optional
        Maps an image's ``reference`` to the log of its build (`read_build_log`).
    scans : mapping, optional
        Maps an image's ``reference`` to its scan (`read_scan`).

    Returns
    -------
    pandas.DataFrame
        ``OVERVIEW_COLUMNS``, five rows per image in this order: ``question`` (how big, how much waste, how slow, how
        bad, what next), ``answer`` (a number with its unit, ``<NA>`` where it is unknown) and ``detail`` (its parts; or
        which input is missing and how to give it). "How slow" is the ``elapsed`` of `build_cost`.
    """
    rows = []
    for image in load_images(images):
        log, scan = (logs or {}).get(image.reference), (scans or {}).get(image.reference)
        answers = {
            "how big": _size(image),
            "how much waste": _waste(image) if image.listed else (None, NOT_LISTED),
            "how slow": (None, NO_LOG) if log is None else _seconds(log),
            "how bad": _findings(scan, image),
            "what next": _next(image) if image.listed else (None, NOT_LISTED),
        }
        rows += [
            {"reference": image.reference, "question": question, "answer": answer, "detail": detail}
            for question, (answer, detail) in answers.items()
        ]
    return make_frame(rows, OVERVIEW_COLUMNS)


def _size(image: Image) -> Answer:
    frame = layers(image)
    sizes = {"size": "of files", "content_size": "as stored and sent", "disk_usage": "on the engine's disk"}
    known = [(format_bytes(frame[name].sum()), words) for name, words in sizes.items() if frame[name].notna().all()]
    count = f"{len(frame)} {'layer' if len(frame) == 1 else 'layers'}"
    if not known:
        return None, f"{count}, not all of known size"
    others = "".join(f"; {value} {words}" for value, words in known[1:])
    if len(known) == len(sizes):
        unpacked, compressed = (int(frame[name].sum()) for name in ("disk_usage", "content_size"))
        both = f"{format_bytes(unpacked)} unpacked + {format_bytes(compressed)} compressed"
        others = f"; docker images shows {format_bytes(unpacked + compressed)} = {both}"
    return known[0][0], f"{known[0][1]} in {count}{others}"


def _waste(image: Image) -> Answer:
    stored = files(image)
    lost, total = ledger(stored), stored["size"].sum()
    part = f"{100 * lost['bytes'].sum() / total:.2g}% of what is stored, " if len(lost) else ""
    return format_bytes(lost["bytes"].sum()), f"{part}{len(lost):,} file copies that containers cannot see"


def _seconds(log: pd.DataFrame) -> Answer:
    cost, steps = build_cost(log), timed_rows(log).dropna(subset="step")
    failed = "failed; " if log["status"].eq("error").any() else ""
    detail = f"{failed}{cost['steps']:.0f} steps, {cost['cached']:.0f} from the cache"
    if len(steps):
        slowest = steps.loc[steps["duration"].idxmax()]
        words = f"{slowest['instruction']} {slowest['arguments']}"
        detail += f"; {cost['seconds']:.3g} s in all steps and tasks; the slowest, {slowest['duration']:.3g} s, is "
        detail += words if len(words) <= 60 else words[:59] + "…"
    return None if pd.isna(cost["elapsed"]) else f"{cost['elapsed']:.3g} s", detail


def _findings(scan: pd.DataFrame | None, image: Image) -> Answer:
    rules = check_hardening(image)
    count = rules.loc[rules["result"].eq("failed"), "rule"].nunique()
    hardening = f"{count} hardening {'rule' if count == 1 else 'rules'} failed"
    if scan is None:
        return None, f"{NO_SCAN}; {hardening}"
    found = scan[is_counted(scan)]
    counts = found["severity"].value_counts()
    severities = [f"{counts[name]} {name}" for name in SEVERITIES[::-1] if counts.get(name)]
    fixed = f"; {found['fixed_version'].notna().sum()} have a fix" if len(found) else ""
    answer = f"{len(found)} {'finding' if len(found) == 1 else 'findings'}"
    return answer, f"{', '.join(severities) or 'no findings'}{fixed}; {hardening}"


def _next(image: Image) -> Answer:
    advice = advise(image)
    if advice.empty:
        return "nothing", "nothing removable found"
    first = advice.iloc[0]
    return f"{format_bytes(first['bytes'])} of {first['what']}", f"{first['confidence']}: {first['suggestion']}"
