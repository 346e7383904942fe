"""What every reader of a report fills: rows of findings, and what was set aside and why."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from cvss import CVSS2, CVSS3, CVSS4, CVSSError

from imagelab.core.frames import make_frame
from imagelab.core.json_fields import Object, first, number, sequence, text
from imagelab.core.redact import mask
from imagelab.core.terms import SEVERITIES

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
#: One vulnerability's name in any of the well-known lists; ``_`` joins it to a package in JFrog's rules.
VULNERABILITY_ID = (
    r"(?<![^\W_])(CVE-\d{4}-\d{4,}|GHSA(?:-[^\W_]{4}){3}|(?:PYSEC|GO|RUSTSEC|OSV|MAL|GMS|BDSA)-\d{4}-\d+"
    r"|(?:ALPINE|DEBIAN|UBUNTU)-(?:CVE-\d{4}-)?\d+|XRAY-\d+|SNYK-(?!CC-)[\w-]{1,100}?-\d{4,})(?![^\W_])"
)
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


def severity(value: Any) -> str:
    """A scanner's word in the six words of ``SEVERITIES``."""
    return _SEVERITY_WORDS.get((text(value) or "").lower(), "unknown")


def score_severity(score: float | None) -> str:
    """CVSS's own scale of a base score (CVSS v3.1 specification, table 14); 0 is negligible."""
    if score is None:
        return "unknown"
    scale = {"critical": 9, "high": 7, "medium": 4, "low": 0.1}
    return first(word for word, least in scale.items() if score >= least) or "negligible"


def cvss(vector: Any, score: Any = None) -> dict[str, Any]:
    """The three ``cvss_`` columns of a vector, checked and where needed scored by the cvss library."""
    line, base = text(vector), number(score)
    if line and len(line) < 300:
        kind = CVSS4 if line.startswith("CVSS:4") else CVSS3 if line.startswith("CVSS:3") else CVSS2
        with contextlib.suppress(CVSSError, ArithmeticError, ValueError, KeyError):  # no vector of that version
            measured = float(kind(line.strip("()")).base_score)
            version = "2.0" if kind is CVSS2 else line[5:8]
            return {"cvss_version": version, "cvss_score": measured if base is None else base, "cvss_vector": line}
    return {"cvss_version": None, "cvss_score": base, "cvss_vector": None}


def newest_cvss(candidates: list[dict[str, Any]]) -> dict[str, Any]:
    """The one of the newest CVSS version that has a vector, else any that has a score."""
    known = [one for one in candidates if one["cvss_score"] is not None]
    return max(known, key=lambda one: one["cvss_version"] or "", default=cvss(None))


def check_name(name: str) -> str:
    """One of the three names of Trivy's checks: ``DS002``, ``AVD-DS-0002``, ``DS-0002`` (of today's) are one."""
    found = re.fullmatch(r"(?:AVD-)?([A-Z]+)-?0*(\d+)", name)
    return f"{found[1]}{found[2]}" if found else name


def masked(value: Any) -> str | None:
    """A field's text without the secrets in it."""
    line = text(value)
    return line and mask(line).text


@dataclass
class Report:
    """What a reader collects from one file; ``read_scan`` makes the frame of it."""

    scanner: str
    format: str
    reference: str | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    suppressed: list[dict[str, Any]] = field(default_factory=list)
    attrs: dict[str, Any] = field(default_factory=dict)

    def add(self, finding: str, id: Any, **row: Any) -> None:
        """One finding. Without an id there is nothing to call it by: it is set aside."""
        name = text(id)
        if name is None:
            self.skip("has no id", finding=finding, package=text(row.get("package")))
            return
        aliases = row.pop("aliases", ())
        fixed, said = text(row.get("fixed_version")), (text(row.get("status")) or "").lower()
        status = _STATUS_WORDS.get(said, said) or ("fixed" if fixed else None)
        row = {"reference": self.reference} | row
        for column in ("reference", "title", "url", "path", "target"):
            row[column] = masked(row.get(column))
        row |= {"scanner": self.scanner, "finding": finding, "id": name, "fixed_version": fixed, "status": status}
        row["aliases"] = ", ".join(dict.fromkeys(alias for alias in aliases if alias and alias != name)) or None
        self.rows.append(row)

    def skip(self, reason: str, **what: Any) -> None:
        """One finding of the file that makes no row."""
        self.suppressed.append({key: masked(value) for key, value in (what | {"reason": reason}).items()})

    def objects(self, values: Any, finding: str) -> Iterator[Object]:
        """The objects of a list; anything else in it is set aside."""
        for value in sequence(values):
            if isinstance(value, dict):
                yield value
            else:
                self.skip(f"is {type(value).__name__}, not an object", finding=finding)


def make_findings(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """A frame under ``FINDINGS_COLUMNS``; severity becomes an ordered categorical."""
    readers: dict[Any, Any] = {"string": text, "Float64": number}
    columns: dict[str, Any] = {
        name: list(map(readers.get(dtype, lambda value: value), [row.get(name) for row in rows]))
        for name, dtype in FINDINGS_COLUMNS.items()
    }
    # Go writes an unknown time as the year 1
    dates = [day if day and re.match(r"[1-9]\d{3}", day) else None for day in map(text, columns["published"])]
    columns["published"] = pd.to_datetime(pd.Series(dates, dtype="string"), utc=True, format="ISO8601", errors="coerce")
    return make_frame(columns, FINDINGS_COLUMNS)
