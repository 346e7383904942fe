"""Advice held against real rebuilds: what it predicts for each recorded pair, and what was saved."""

from __future__ import annotations

import tomllib

import pandas as pd

from imagelab.core.frames import make_frame
from imagelab.core.resources import data_path, examples
from imagelab.course.measures import example, saved
from imagelab.size.advice import advise

VERIFIED_COLUMNS = {
    "pair": "str",
    "rules": "str",
    "removal": "bool",
    "predicted_bytes": "int64",
    "measured_bytes": "int64",
    "error_bytes": "int64",
    "close": "bool",
    "why": "string",
}


def verify_advice() -> pd.DataFrame:
    """What ``il.advise`` predicts for each recorded pair of images, and what the rebuild saved.

    Returns
    -------
    pandas.DataFrame
        ``VERIFIED_COLUMNS``, one row per pair ``before`` and ``after``: the ``rules`` that ``after`` follows;
        ``removal``: it does nothing else but leave files out; ``predicted_bytes``: those rules' findings in ``before``,
        in layers that are not the base image's; ``measured_bytes``: files' bytes stored before less those stored
        after; ``error_bytes`` between the two; ``close``: within 2% of what was measured or 100 kB; ``why`` not, or why
        nothing was predicted.
    """
    applied = tomllib.loads(data_path("claims/advice.toml").read_text(encoding="utf-8"))
    known = set(examples())
    rows = []
    for pair in sorted({name.removesuffix("-before") for name in known if name.endswith("-before")}):
        if f"{pair}-after" not in known:
            continue
        entry = applied[pair]
        found = advise(example(f"{pair}-before"), digests="rewritten-unchanged" in entry["rules"])
        # What the base stores, only another base leaves out.
        mine = found["rule"].isin(entry["rules"]) & (
            ~found["from_base"].fillna(False) | (found["rule"] == "heavy-base")
        )
        predicted, measured = found.loc[mine, "bytes"].sum(), int(saved(f"{pair}-before", f"{pair}-after"))
        rows.append(
            {
                "pair": pair,
                "rules": ", ".join(entry["rules"]),
                "removal": entry["removal"],
                "predicted_bytes": predicted,
                "measured_bytes": measured,
                "error_bytes": predicted - measured,
                "close": abs(predicted - measured) <= max(0.02 * abs(measured), 100_000),
                "why": entry.get("why"),
            }
        )
    return make_frame(rows, VERIFIED_COLUMNS)
