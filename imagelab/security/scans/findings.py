"""The findings table, and the ScanReport that every reader fills."""

from __future__ import annotations

import contextlib
import hashlib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from cvss import CVSS2, CVSS3, CVSS4, CVSSError

from imagelab.core.frames import make_frame
from imagelab.core.json_fields import Object, first, mapping, number, sequence, text, texts
from imagelab.core.redact import mask
from imagelab.core.terms import SEVERITIES
from imagelab.security.scans.fields import WORDS

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
    "suppressed": "string",
    "suppressed_by": "string",
}
#: The kinds of finding that a scan can count; ``package`` is an SBOM's component, ``error`` a part that was not read.
COUNTED = ("vulnerability", "misconfiguration", "secret", "license")
#: An identifier from a well-known vulnerability list; JFrog's rule ids append the package with ``_``.
VULNERABILITY_ID = (
    r"(?<![^\W_])(CVE-\d{4}-\d{4,}|GHSA(?:-[^\W_]{4}){3}|(?:PYSEC|GO|RUSTSEC|OSV|MAL|GMS|BDSA)-\d{4}-\d+"
    r"|(?:ALPINE|DEBIAN|UBUNTU)-(?:CVE-\d{4}-)?\d+|XRAY-\d+|SNYK-(?!CC-)[\w-]{1,100}?-\d{4,})(?![^\W_])"
)


#: The attributes of a report that are lists.
_LISTS = ("digests", "tags", "diff_ids")


def severity(value: Any) -> str:
    """Map a scanner's severity to one of ``SEVERITIES``."""
    return WORDS["severity"].get((text(value) or "").lower(), "unknown")


def level_severity(level: Any) -> str:
    """Map the level of a tool without severities (SARIF 3.27.10, hadolint, dockle) to one of ``SEVERITIES``."""
    return WORDS["level"].get((text(level) or "").lower(), "unknown")


@cache
def _tables() -> dict[str, dict[str, list[list[str]]]]:
    tables = tomllib.loads(Path(__file__).with_name("fields.toml").read_text("utf-8"))
    return {
        name: {column: [field.split(".") for field in fields] for column, fields in table.items()}
        for name, table in tables.items()
    }


def columns(table: str, item: Object) -> dict[str, Any]:
    """Return the columns that a table of ``fields.toml`` reads from an object."""
    row = {
        column: next((value for *folders, key in fields if (value := mapping(item, *folders).get(key))), None)
        for column, fields in _tables()[table].items()
    }
    return row | ({"severity": severity(row["severity"])} if "severity" in row else {})


def score_severity(score: float | None) -> str:
    """Rate a base score on CVSS's own scale (CVSS v3.1 specification, table 14); 0 is negligible.

    >>> score_severity(7.0), score_severity(6.9)
    ('high', 'medium')
    """
    if score is None:
        return "unknown"
    scale = {"critical": 9, "high": 7, "medium": 4, "low": 0.1}
    return first(word for word, lowest in scale.items() if score >= lowest) or "negligible"


def cvss(vector: Any, score: Any = None) -> dict[str, Any]:
    """Return the three ``cvss_`` columns; the cvss library checks the vector, and scores it if no score is given."""
    line, base = text(vector), number(score)
    if line and len(line) < 300:
        kind = CVSS4 if line.startswith("CVSS:4") else CVSS3 if line.startswith("CVSS:3") else CVSS2
        with contextlib.suppress(CVSSError, ArithmeticError, ValueError, KeyError):  # not a vector of that version
            measured = float(kind(line.strip("()")).base_score)
            version = "2.0" if kind is CVSS2 else line[5:8]
            return {"cvss_version": version, "cvss_score": measured if base is None else base, "cvss_vector": line}
    return {"cvss_version": None, "cvss_score": base, "cvss_vector": None}


def newest_cvss(candidates: list[dict[str, Any]]) -> dict[str, Any]:
    """Pick the scored candidate of the newest CVSS version."""
    scored = [candidate for candidate in candidates if candidate["cvss_score"] is not None]
    return max(scored, key=lambda candidate: candidate["cvss_version"] or "", default=cvss(None))


def check_name(name: str) -> str:
    """Normalise the id of a Trivy check: ``DS002``, ``AVD-DS-0002`` and ``DS-0002`` are the same check."""
    found = re.fullmatch(r"(?:AVD-)?([A-Z]+)-?0*(\d+)", name)
    return f"{found[1]}{found[2]}" if found else name


def masked(value: Any) -> str | None:
    """Return a field's text with secrets masked."""
    line = text(value)
    return line and mask(line).text


@dataclass
class ScanReport:
    """What a reader collects from one file; `make_scan` builds the frame.

    ``kind`` is ``scan`` (it can say that there is no finding), ``sbom`` (a list of packages), or ``unknown`` (an empty
    document that does not name its tool).
    """

    scanner: str
    format: str
    reference: str | None = None
    kind: str = "scan"
    rows: list[dict[str, Any]] = field(default_factory=list)
    attrs: dict[str, Any] = field(default_factory=dict)

    def add(self, finding: str, id: Any, **row: Any) -> None:
        """Add one finding; ``suppressed`` is the reason if the report itself does not count it.

        Without an id, its title (what the tool says) or a digest of the row names it.
        """
        aliases = row.pop("aliases", ())
        fixed, written = text(row.get("fixed_version")), (text(row.get("status")) or "").lower()
        status = WORDS["status"].get(written, written) or ("fixed" if fixed else None)
        row = {"reference": self.reference} | row
        for column in ("reference", "title", "url", "path", "target", "suppressed"):
            row[column] = masked(row.get(column))
        name = text(id) or (row["title"] or "")[:100] or f"{finding}-{_digest(row)}"
        row |= {"scanner": self.scanner, "finding": finding, "id": name, "fixed_version": fixed, "status": status}
        row["aliases"] = ", ".join(dict.fromkeys(alias for alias in aliases if alias and alias != name)) or None
        self.rows.append(row)

    def describe(self, table: str, document: Object) -> None:
        """Add to ``attrs`` what a table of ``fields.toml`` reads from the document: texts, and lists of them."""
        for name, value in columns(table, document).items():
            self.attrs[name] = texts(sequence(value) or [value]) if name in _LISTS else text(value)

    def error(self, id: str, problem: str) -> None:
        """Add a row for what the tool did not do or the reader could not read; gates refuse such a scan."""
        self.add("error", id, title=problem, severity="unknown")

    def objects(self, values: Any, what: str) -> Iterator[Object]:
        """Yield the objects of a list; anything else in it, or in its place, is an error row."""
        if not isinstance(values, list | None):
            self.error("not-read", f"{what} is {type(values).__name__}, not a list of objects")
        for value in sequence(values):
            if isinstance(value, dict):
                yield value
            else:
                self.error("not-read", f"an entry of {what} is {type(value).__name__}, not an object")


def _digest(row: dict[str, Any]) -> str:
    facts = sorted((column, value) for column, value in row.items() if isinstance(value, str))
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]


def is_counted(scan: pd.DataFrame) -> pd.Series:
    """Mark the findings that count: not suppressed, and neither packages of an SBOM nor errors."""
    return scan["finding"].isin(COUNTED) & scan["suppressed"].isna()


def make_findings(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Build a frame with ``FINDINGS_COLUMNS``."""
    readers: dict[Any, Any] = {"string": text, "Float64": number}
    columns: dict[str, Any] = {
        name: list(map(readers.get(dtype, lambda value: value), [row.get(name) for row in rows]))
        for name, dtype in FINDINGS_COLUMNS.items()
    }
    # Go writes an unknown time as year 1
    dates = [day if day and re.match(r"[1-9]\d{3}", day) else None for day in map(text, columns["published"])]
    columns["published"] = pd.to_datetime(pd.Series(dates, dtype="string"), utc=True, format="ISO8601", errors="coerce")
    return make_frame(columns, FINDINGS_COLUMNS)
