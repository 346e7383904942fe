"""Compare the claims of a course section with what the recorded data show."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pandas as pd

from imagelab.core.frames import format_bytes, make_frame
from imagelab.core.resources import data_path
from imagelab.course import measures
from imagelab.course.answers import evaluate

CLAIMS_COLUMNS = {
    "claim": "str",
    "chapter": "str",
    "section": "str",
    "statement": "str",
    "promised": "str",
    "found": "string",
    "spread": "string",
    "verdict": "category",
    "basis": "str",
    "explanation": "str",
    "method": "string",
    "code": "string",
    "command": "string",
    "unit": "str",
    "low": "Float64",
    "high": "Float64",
    "measured": "Float64",
}
CONFIRMED, PARTLY, NOT_CONFIRMED, NOT_MEASURED = VERDICTS = (
    "confirmed",
    "partly confirmed",
    "not confirmed",
    "not measured",
)
#: Unit of a promise → the value that means "no effect"; None where every value says something.
UNITS = {"bytes": None, "share": 0.0, "times": 1.0, "seconds": None, "number": None, "cases": None}


def verdict(low: float, high: float, measured: float | None) -> str:
    """Judge a measured number: within 10 % of the promise it is confirmed, within a factor of two partly.

    >>> [verdict(50, 100, found) for found in (47, 130, 300, None)]
    ['confirmed', 'partly confirmed', 'not confirmed', 'not measured']
    """
    if measured is None or pd.isna(measured):
        return NOT_MEASURED
    for tolerance, word in ((1.1, CONFIRMED), (2.0, PARTLY)):
        # 0.9 · low, not low / 1.1: the tolerance is 10 % of the promise on both sides.
        if max(low * (2 - tolerance), low / 2) <= measured <= high * tolerance:
            return word
    return NOT_CONFIRMED


def claims() -> pd.DataFrame:
    """List every claim of the section that can be checked, with what the recorded data show.

    Returns
    -------
    pandas.DataFrame
        ``CLAIMS_COLUMNS``, one row per claim, in the section's order. ``statement`` is the claim in our words, with a
        promise from ``low`` to ``high`` in ``unit``: bytes, share (of 1), times, seconds, number, or cases (the share
        of the recorded cases in which the statement is true). ``measured`` is in the same unit; of several runs it is the
        median, and ``spread`` the least and the most, or "one value". ``<NA>``: the recorded data cannot show it, and ``command``
        measures it elsewhere. ``promised`` and ``found`` are the same as text. ``method`` says what is measured,
        ``code`` is the expression that measures it (see `imagelab.course.measures`), and ``basis`` where it was recorded,
        or by which published source or whose numbers it is judged. ``verdict`` is that of `verdict`, and not measured
        if the spread includes "no effect" and the promise does not; ``explanation`` gives the reason.
    """
    entries = tomllib.loads(data_path("claims.toml").read_text(encoding="utf-8"))["claim"]
    frame = make_frame([_row(entry) for entry in entries], CLAIMS_COLUMNS)
    frame["verdict"] = frame["verdict"].cat.set_categories(VERDICTS, ordered=True)
    return frame


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    low, high = entry["promised"] if isinstance(entry["promised"], list) else [entry["promised"]] * 2
    unit, code = entry["unit"], entry.get("code")
    value = entry.get("value") if code is None else evaluate(code, vars(measures) | {"re": re})
    runs = pd.Series([] if value is None else value, dtype=float)
    measured = None if runs.empty else float(runs.median())
    least, most, none, single = runs.min(), runs.max(), UNITS[unit], None if runs.empty else "one value"
    no_effect = len(runs) > 1 and none is not None and least <= none <= most and not low <= none <= high
    return {
        key: entry.get(key) for key in ("chapter", "section", "statement", "basis", "explanation", "method", "command")
    } | {
        "claim": entry["id"],
        "promised": _words(low, unit) if low == high else f"{_words(low, unit)} to {_words(high, unit)}",
        "found": None if measured is None else _words(measured, unit),
        "spread": f"{_words(least, unit)} to {_words(most, unit)} in {len(runs)} runs" if len(runs) > 1 else single,
        "verdict": NOT_MEASURED if no_effect else verdict(low, high, measured),
        "code": code,
        "unit": unit,
        "low": low,
        "high": high,
        "measured": measured,
    }


def _words(value: float, unit: str) -> str:
    if unit == "cases":
        return {0.0: "no", 1.0: "yes"}.get(value, f"in {value:.0%} of cases")
    if unit == "bytes":
        return format_bytes(value) if value >= 0 else f"−{format_bytes(-value)}"
    return f"{value:.0%}" if unit == "share" else f"{value:.3g}" + {"times": "×", "seconds": " s", "number": ""}[unit]
