"""Compare the claims of a course section with what the recorded data show."""

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
    "statement": "str",
    "promised": "str",
    "found": "string",
    "verdict": "category",
    "explanation": "str",
    "method": "string",
    "recorded": "string",
    "command": "string",
    "unit": "str",
    "low": "Float64",
    "high": "Float64",
    "measured": "Float64",
}
VERDICTS = ("confirmed", "partly confirmed", "not confirmed", "not measured")
UNITS = ("bytes", "share", "times", "seconds", "number", "cases")


def verdict(low: float, high: float, measured: float | None) -> str:
    """Judge a measured number: within 10 % of the promise it is confirmed, within a factor of two partly.

    >>> [verdict(50, 100, found) for found in (47, 130, 300, None)]
    ['confirmed', 'partly confirmed', 'not confirmed', 'not measured']
    """
    if measured is None or pd.isna(measured):
        return VERDICTS[3]
    for tolerance, word in ((1.1, VERDICTS[0]), (2.0, VERDICTS[1])):
        # 0.9 · low, not low / 1.1: the tolerance is 10 % of the promise on both sides.
        if max(low * (2 - tolerance), low / 2) <= measured <= high * tolerance:
            return word
    return VERDICTS[2]


def claims() -> pd.DataFrame:
    """List every claim of the section that can be checked, with what the recorded data show.

    Returns
    -------
    pandas.DataFrame
        ``CLAIMS_COLUMNS``, one row per claim, in the section's order. ``statement`` is the claim in our words, with a
        promise from ``low`` to ``high`` in ``unit``: bytes, share (of 1), times, seconds, number, or cases (the share
        of the recorded cases in which the statement is true). ``measured`` is in the same unit, ``<NA>`` where the
        recorded data cannot show it; ``command`` then measures it elsewhere. ``promised`` and ``found`` are the same
        as text. ``method`` is what is measured, ``recorded`` the images, logs, scans or Dockerfiles that it is measured
        on. ``verdict`` is that of `verdict`, and ``explanation`` gives the reason.
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
    measured = None if name is None else float(MEASURES[name].function(*of))
    return {
        "claim": entry["id"],
        "chapter": entry["chapter"],
        "section": entry["section"],
        "statement": entry["statement"],
        "promised": _words(low, unit) if low == high else f"{_words(low, unit)} to {_words(high, unit)}",
        "found": None if measured is None else _words(measured, unit),
        "verdict": verdict(low, high, measured),
        "explanation": entry["explanation"],
        "method": None if name is None else MEASURES[name].method,
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
