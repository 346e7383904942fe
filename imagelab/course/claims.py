"""The ledger of claims: what a course section promises, beside what the recorded data say."""

from __future__ import annotations

import tomllib
from typing import Any

import pandas as pd

from imagelab.core.errors import ImagelabError
from imagelab.core.frames import format_bytes, make_frame
from imagelab.core.resources import data_path
from imagelab.course.measures import MEASURES

CLAIMS_COLUMNS = {
    "claim": "str",
    "chapter": "str",
    "section": "str",
    "says": "str",
    "promised": "str",
    "found": "string",
    "verdict": "category",
    "why": "str",
    "how": "string",
    "recorded": "string",
    "command": "string",
    "unit": "str",
    "low": "Float64",
    "high": "Float64",
    "measured": "Float64",
}
VERDICTS = ("holds", "holds in part", "does not hold", "not measurable here")
UNITS = ("bytes", "share", "times", "seconds", "number", "cases")


def verdict(low: float, high: float, measured: float | None) -> str:
    """One rule for every claim: within a tenth of the promise it holds, within a factor of two in part.

    >>> [verdict(50, 100, found) for found in (47, 130, 300, None)]
    ['holds', 'holds in part', 'does not hold', 'not measurable here']
    """
    if measured is None or pd.isna(measured):
        return VERDICTS[3]
    for tolerance, word in ((1.1, VERDICTS[0]), (2.0, VERDICTS[1])):
        # 0.9 · low, and not low / 1.1: a tenth of the promise on both sides
        if max(low * (2 - tolerance), low / 2) <= measured <= high * tolerance:
            return word
    return VERDICTS[2]


def claims() -> pd.DataFrame:
    """Every claim of the section that can be checked, with what is measured now in the recorded data.

    Returns
    -------
    pandas.DataFrame
        ``CLAIMS_COLUMNS``, one row per claim, in the section's order. ``says`` is the claim in our words, from ``low``
        to ``high`` in ``unit``: bytes, share (of 1), times, seconds, number, or cases (the share of the cases looked
        at in which it is so). ``measured`` is in the same unit, ``<NA>`` where nothing recorded can tell: then
        ``command`` measures it elsewhere. ``promised`` and ``found`` are the same in words. ``how`` it is measured, on
        which ``recorded`` images, logs, scans or Dockerfiles. ``verdict`` (`verdict`) and ``why``.
    """
    entries = tomllib.loads(data_path("claims.toml").read_text(encoding="utf-8"))["claim"]
    frame = make_frame([_row(entry) for entry in entries], CLAIMS_COLUMNS)
    frame["verdict"] = frame["verdict"].cat.set_categories(VERDICTS, ordered=True)
    return frame


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    low, high = entry["promised"] if isinstance(entry["promised"], list) else [entry["promised"]] * 2
    unit, name, of = entry["unit"], entry.get("measure"), entry.get("of", [])
    if unit not in UNITS or (name is None) != ("command" in entry) or (name is not None and name not in MEASURES):
        raise ImagelabError(
            f"claim {entry['id']!r}: expected one of the units {', '.join(UNITS)}, and either a command or one of the "
            f"measures {', '.join(sorted(MEASURES))}."
        )
    measured = None if name is None else float(MEASURES[name](*of))
    return {
        "claim": entry["id"],
        "chapter": entry["chapter"],
        "section": entry["section"],
        "says": entry["says"],
        "promised": _words(low, unit) if low == high else f"{_words(low, unit)} to {_words(high, unit)}",
        "found": None if measured is None else _words(measured, unit),
        "verdict": verdict(low, high, measured),
        "why": entry["why"],
        "how": None if name is None else (MEASURES[name].__doc__ or "").split("\n")[0],
        "recorded": " ".join(map(str, of)) if name is not None else None,
        "command": entry.get("command"),
        "unit": unit,
        "low": low,
        "high": high,
        "measured": measured,
    }


def _words(value: float, unit: str) -> str:
    if unit == "cases":
        return {0.0: "no", 1.0: "yes"}.get(value, f"in {value:.0%} of cases")
    if unit == "bytes":
        return format_bytes(value)
    return f"{value:.0%}" if unit == "share" else f"{value:.3g}" + {"times": "×", "seconds": " s", "number": ""}[unit]
