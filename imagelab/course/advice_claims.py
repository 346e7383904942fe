"""Compare advice with real rebuilds: the bytes predicted for each recorded pair and the bytes saved."""

from __future__ import annotations

import tomllib

import pandas as pd

from imagelab.core.frames import make_frame
from imagelab.core.resources import data_path, examples
from imagelab.size.advice import advise
from imagelab.size.waste import efficiency

VERIFIED_COLUMNS = {
    "pair": "str",
    "rules": "str",
    "removal": "bool",
    "predicted_bytes": "int64",
    "measured_bytes": "int64",
    "error_bytes": "int64",
    "close": "bool",
    "explanation": "string",
}


def verify_advice() -> pd.DataFrame:
    """Compare what ``il.advise`` predicts for each recorded pair of images with what the rebuild saved.

    Returns
    -------
    pandas.DataFrame
        ``VERIFIED_COLUMNS``, one row per pair of ``before`` and ``after``: the ``rules`` that ``after`` follows;
        ``removal``: whether it only leaves files out; ``predicted_bytes``: the findings of these rules in ``before``,
        in layers above the base image; ``measured_bytes``: file bytes stored before minus those stored after;
        ``error_bytes``: the difference between the two; ``close``: within 2 % of the measured bytes or 100 kB;
        ``explanation``: why a prediction is off or missing.
    """
    applied = tomllib.loads(data_path("claims/advice.toml").read_text(encoding="utf-8"))
    known = set(examples())
    rows = []
    for pair in sorted({name.removesuffix("-before") for name in known if name.endswith("-before")}):
        if f"{pair}-after" not in known:
            continue
        entry = applied[pair]
        found = advise(f"example:{pair}-before", digests="rewritten-unchanged" in entry["rules"])
        # Only another base removes what the base stores.
        above_base = found["rule"].isin(entry["rules"]) & (
            ~found["from_base"].fillna(False) | (found["rule"] == "heavy-base")
        )
        before, after = efficiency([f"example:{pair}-{side}" for side in ("before", "after")])["stored"]
        predicted, measured = int(found.loc[above_base, "bytes"].sum()), int(before - after)
        rows.append(
            {
                "pair": pair,
                "rules": ", ".join(entry["rules"]),
                "removal": entry["removal"],
                "predicted_bytes": predicted,
                "measured_bytes": measured,
                "error_bytes": predicted - measured,
                "close": abs(predicted - measured) <= max(0.02 * abs(measured), 100_000),
                "explanation": entry.get("explanation"),
            }
        )
    return make_frame(rows, VERIFIED_COLUMNS)
