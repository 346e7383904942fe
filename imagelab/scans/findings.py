"""What every reader of a report fills: rows of findings, and what was set aside and why."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from cvss import CVSS2, CVSS3, CVSS4, CVSSError
from packageurl import PackageURL

from imagelab.frames import make_frame
from imagelab.redact import mask

SEVERITIES = ("unknown", "negligible", "low", "medium", "high", "critical")
SEVERITY = pd.CategoricalDtype(list(SEVERITIES), ordered=True)
FINDINGS_COLUMNS: dict[str, Any] = {
    "scanner": "string",
    "reference": "string",
    "target": "string",
    "finding": "string",
    "id": "string",
    "aliases": "string",
    "package": "string",
    "version": "string",
    "purl": "string",
    "type": "string",
    "path": "string",
    "fixed_version": "string",
    "status": "string",
    "severity": SEVERITY,
    "severity_source": "string",
    "cvss_version": "string",
    "cvss_score": "Float64",
    "cvss_vector": "string",
    "epss": "Float64",
    "known_exploited": "boolean",
    "title": "string",
    "url": "string",
    "published": "datetime64[us, UTC]",
    "diff_id": "string",
    "layer_digest": "string",
}
LONGEST = 10_000
_SEVERITY_WORDS = {
    **{severity: severity for severity in SEVERITIES},
    "moderate": "medium",
    "important": "high",
    "info": "negligible",
    "none": "negligible",
}
_STATUS_WORDS = {
    "not-fixed": "affected",
    "wont-fix": "will_not_fix",
    "in_triage": "under_investigation",
    "exploitable": "affected",
}
_INVISIBLE = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    for code in (*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F)
} | dict.fromkeys((9, 10, 13), " ")


def text(value: Any) -> str | None:
    """A field as one line of text: control characters shown as ``\\xNN``, at most 10,000 characters.

    What is empty, or no text or number, is None.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if not isinstance(value, str):
        try:
            return f"{value}"
        except ValueError:  # an integer of more digits than Python prints
            return None
    if len(value) > LONGEST:
        value = value[:LONGEST] + "…"
    if not value.isprintable():
        value = value.encode("utf-8", "backslashreplace").decode().translate(_INVISIBLE)
    return value.strip() or None


def number(value: Any) -> float | None:
    """A finite number, given as one or as its text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        value = float(value)
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def mapping(value: Any) -> dict[str, Any]:
    """The value, or an empty dict where it is none."""
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    """The value, or an empty list where it is none."""
    return value if isinstance(value, list) else []


def texts(values: Any) -> list[str]:
    """The texts of a list."""
    return [line for value in sequence(values) if (line := text(value))]


def best_link(name: Any, links: Any) -> str | None:
    """The first link that has the finding's name in it, else the first."""
    known, name = texts(links), (text(name) or "").lower()
    return next((link for link in known if name in link.lower()), next(iter(known), None))


def severity(value: Any) -> str:
    """A scanner's word in the six words of ``SEVERITIES``."""
    return _SEVERITY_WORDS.get((text(value) or "").lower(), "unknown")


def score_severity(score: float | None) -> str:
    """CVSS's own scale of a base score (CVSS v3.1 specification, table 14); 0 is negligible."""
    if score is None:
        return "unknown"
    return next(
        word
        for least, word in ((9, "critical"), (7, "high"), (4, "medium"), (0.1, "low"), (-1e9, "negligible"))
        if score >= least
    )


def cvss(vector: Any, score: Any = None) -> dict[str, Any]:
    """The three ``cvss_`` columns of a vector, checked and where needed scored by the cvss library."""
    line = text(vector)
    if line and len(line) < 300:
        kind = CVSS4 if line.startswith("CVSS:4") else CVSS3 if line.startswith("CVSS:3") else CVSS2
        try:
            parsed = kind(line.strip("()"))
            version = "2.0" if kind is CVSS2 else line[5:8]
            base = number(score)
            base = float(parsed.base_score) if base is None else base
            return {"cvss_version": version, "cvss_score": base, "cvss_vector": line}
        except (CVSSError, ArithmeticError, ValueError, KeyError):
            pass  # no vector of that version
    return {"cvss_version": None, "cvss_score": number(score), "cvss_vector": None}


def newest_cvss(candidates: list[dict[str, Any]]) -> dict[str, Any]:
    """The one of the newest CVSS version that has a vector, else any that has a score."""
    known = [one for one in candidates if one["cvss_score"] is not None]
    return max(known, key=lambda one: one["cvss_version"] or "", default=cvss(None))


def check_name(name: str) -> str:
    """One of the three names of Trivy's checks: ``DS002``, ``AVD-DS-0002``, ``DS-0002`` (of today's) are one."""
    found = re.fullmatch(r"(?:AVD-)?([A-Z]+)-?0*(\d+)", name)
    return f"{found[1]}{found[2]}" if found else name


def parse_purl(value: Any) -> PackageURL | None:
    """The package URL, or None where the value is none."""
    line = text(value)
    try:
        return PackageURL.from_string(line) if line else None
    except ValueError:
        return None


@dataclass
class Report:
    """What a reader collects from one file; ``read_scan`` makes the frame of it."""

    scanner: str
    format: str
    reference: str | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    set_aside: list[dict[str, Any]] = field(default_factory=list)
    attrs: dict[str, Any] = field(default_factory=dict)

    def add(self, finding: str, id: Any, **row: Any) -> None:
        """One finding. Without an id there is nothing to call it by: it is set aside."""
        name = text(id)
        if name is None:
            self.skip("has no id", finding=finding, package=text(row.get("package")))
            return
        aliases = row.pop("aliases", ())
        fixed, status = text(row.get("fixed_version")), text(row.get("status"))
        status = _STATUS_WORDS.get((status or "").lower(), (status or "").lower()) or ("fixed" if fixed else None)
        row = {"reference": self.reference} | row
        for column in ("reference", "title", "url", "path", "target"):
            row[column] = _masked(row.get(column))
        row |= {"scanner": self.scanner, "finding": finding, "id": name, "fixed_version": fixed, "status": status}
        row["aliases"] = ", ".join(dict.fromkeys(alias for alias in aliases if alias and alias != name)) or None
        self.rows.append(row)

    def skip(self, reason: str, **what: Any) -> None:
        """One finding of the file that makes no row."""
        self.set_aside.append({key: _masked(value) for key, value in (what | {"reason": reason}).items()})

    def objects(self, values: Any, finding: str) -> Iterator[dict[str, Any]]:
        """The objects of a list; anything else in it is set aside."""
        for value in sequence(values):
            if isinstance(value, dict):
                yield value
            else:
                self.skip(f"is {type(value).__name__}, not an object", finding=finding)


def _masked(value: Any) -> str | None:
    line = text(value)
    return line and mask(line).text


def make_findings(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """A frame under ``FINDINGS_COLUMNS``; severity becomes an ordered categorical."""
    texts_of = [name for name, dtype in FINDINGS_COLUMNS.items() if dtype == "string"]
    columns: dict[str, Any] = {name: [text(row.get(name)) for row in rows] for name in texts_of}
    for name in ("cvss_score", "epss"):
        columns[name] = [number(row.get(name)) for row in rows]
    columns["known_exploited"] = [row.get("known_exploited") for row in rows]
    columns["severity"] = [row.get("severity") for row in rows]
    # Go writes an unknown time as the year 1.
    dates = [None if (day := text(row.get("published"))) and day.startswith("0001-") else day for row in rows]
    columns["published"] = pd.to_datetime(pd.Series(dates, dtype="string"), utc=True, format="ISO8601", errors="coerce")
    return make_frame(columns, FINDINGS_COLUMNS)


def first_match(pattern: str, *lines: Any) -> str | None:
    """The first group of the first line that matches."""
    for line in lines:
        if isinstance(line, str) and (match := re.search(pattern, line[:LONGEST], re.M | re.I)):
            return match[1].strip() or None
    return None
