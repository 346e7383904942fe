"""Compare scans: what an update changed, and where scanners disagree."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from imagelab.core.errors import ScanFormatError
from imagelab.core.frames import expect_frame, make_frame
from imagelab.core.terms import SEVERITIES
from imagelab.security.gate import expect_complete, is_sbom
from imagelab.security.scans.fields import parse_purl
from imagelab.security.scans.findings import COUNTED, FINDINGS_COLUMNS, SEVERITY, check_name

COMPARISON_COLUMNS: dict[str, Any] = {
    "change": pd.CategoricalDtype(["new", "changed", "persisting", "fixed"]),
    "finding": "string",
    "id": "string",
    "aliases": "string",
    "package": "string",
    "version_before": "string",
    "version_after": "string",
    "severity_before": SEVERITY,
    "severity_after": SEVERITY,
    "changed": "string",
    "fixed_version": "string",
    "path": "string",
    "count_before": "int64",
    "count_after": "int64",
    "title": "string",
    "url": "string",
}
AGREEMENT_COLUMNS: dict[str, Any] = {
    "finding": "string",
    "id": "string",
    "aliases": "string",
    "package": "string",
    "version": "string",
    "found_by": "string",
    "missed_by": "string",
    "severity": SEVERITY,
    "severities": "string",
    "severity_differs": "bool",
    "why": "string",
}
#: Ids of a single vulnerability. Advisories (RHSA, DSA, USN, ALAS …) cover several, so they do not join findings.
_ONE_VULNERABILITY = re.compile(r"(?:CVE|GHSA|PYSEC|GO|RUSTSEC|OSV|GMS|MAL|SNYK|BDSA|XRAY)-", re.I)
_SCOPED = ("composer", "golang", "maven", "npm", "swift")

Key = tuple[str, str, str]  # kind of finding, its canonical name, its package or file
Summaries = dict[Key, dict[str, Any]]


def compare_scans(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """List what changed between two scans, such as before and after an update.

    Two findings are the same if their kind, their vulnerability (by id or any alias) and their package (by its purl
    without version, else its name) are equal. Secrets and misconfigurations are compared by id and file. Suppressed
    findings are left out.

    Parameters
    ----------
    before, after : pandas.DataFrame
        From `read_scan`: two scans, or two SBOMs.

    Returns
    -------
    pandas.DataFrame
        ``COMPARISON_COLUMNS``, one row per finding: ``change`` is new, changed (``changed`` says what: severity,
        version), persisting or fixed; ``count_before`` and ``count_after`` count its rows (a package can be in several
        places). Worst first.

    Raises
    ------
    ScanFormatError
        A scan that failed or was not read completely, or an SBOM and a scan.
    """
    for frame in (before, after):
        expect_complete(frame)
    if is_sbom(before) != is_sbom(after):
        raise ScanFormatError("compare_scans was given an SBOM and a scan; it compares two scans, or two SBOMs.")
    kinds = ("package",) if is_sbom(before) else COUNTED
    names = names_of([before, after])
    sides = [_summaries(frame, names, kinds) for frame in (before, after)]
    rows = []
    for key in dict.fromkeys([*sides[1], *sides[0]]):
        old, new = (side.get(key, {}) for side in sides)
        differs = [what for what in ("severity", "version") if old and new and old[what] != new[what]]
        row = (new or old) | {
            "change": "fixed" if not new else "new" if not old else "changed" if differs else "persisting",
            "changed": ", ".join(differs) or None,
        }
        for when, side in (("before", old), ("after", new)):
            row |= {f"{what}_{when}": side.get(what) for what in ("version", "severity")}
            row[f"count_{when}"] = side.get("count", 0)
        rows.append(row)
    frame = make_frame(rows, COMPARISON_COLUMNS)
    worst = frame["severity_after"].fillna(frame["severity_before"]).cat.codes
    order = frame.assign(worst=-worst).sort_values(["change", "worst", "id"], kind="stable").index
    return frame.loc[order].reset_index(drop=True)


def compare_scanners(scans: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """List which scanner found what, where severities differ, and why if the reports show it.

    Parameters
    ----------
    scans : sequence of pandas.DataFrame
        From `read_scan`, of one image by several scanners. Suppressed findings and components of an SBOM are left out.

    Returns
    -------
    pandas.DataFrame
        ``AGREEMENT_COLUMNS``, one row per finding over all scans, aliases joined: ``found_by`` and ``missed_by``
        list scanners, ``severity`` is the highest, ``severities`` lists each scanner's; ``why`` explains a difference
        by the sources of the severities, or a miss by what the other scanner reports of the vulnerability or package.

    Raises
    ------
    ScanFormatError
        Fewer than two scans.
    """
    if len(scans) < 2:
        raise ScanFormatError(f"compare_scanners was given {len(scans)} scans; expected two or more of one image.")
    names = names_of(scans)
    labels: list[str] = []
    for n, scan in enumerate(scans):
        label = " + ".join(scan["scanner"].dropna().unique()) or f"scan {n + 1}"
        labels.append(label if label not in labels else f"{label} {n + 1}")
    sides = dict(zip(labels, (_summaries(scan, names, COUNTED) for scan in scans), strict=True))
    rows = []
    for key in dict.fromkeys(key for side in sides.values() for key in side):
        found = {label: side[key] for label, side in sides.items() if key in side}
        missed = [label for label in labels if label not in found]
        severities = {label: summary["severity"] or "unknown" for label, summary in found.items()}
        differs = len(set(severities.values())) > 1
        why = [_why_severity(found)] if differs else []
        highest = max(severities.values(), key=SEVERITIES.index)
        why += [_why_missed(key, highest, label, sides[label]) for label in missed if key[0] == "vulnerability"]
        rows.append(
            next(iter(found.values()))
            | {
                "found_by": ", ".join(found),
                "missed_by": ", ".join(missed) or None,
                "severity": highest,
                "severities": ", ".join(f"{label}: {word}" for label, word in severities.items()),
                "severity_differs": differs,
                "why": "; ".join(why) or None,
            }
        )
    frame = make_frame(rows, AGREEMENT_COLUMNS)
    return frame.sort_values(["severity", "id"], ascending=[False, True], kind="stable", ignore_index=True)


def plain_rows(frame: pd.DataFrame) -> Any:
    """The frame's rows as tuples, with None for unknown values."""
    return frame.astype(object).where(frame.notna(), None).itertuples(index=False)


def package_key(purl: Any, package: Any) -> str:
    """A package's name in one spelling for all scanners: lower case, one separator, the namespace if it matters."""
    name = "" if package is None or package is pd.NA else str(package)
    if parsed := parse_purl(purl):
        name = f"{parsed.namespace}/{parsed.name}" if parsed.namespace and parsed.type in _SCOPED else parsed.name
    return re.sub(r"[-_.]+", "-", name.lower().replace(":", "/"))


def _aliases(row: Any) -> list[str]:
    return row.aliases.split(", ") if row.aliases else []


def _own_name(row: Any) -> str:
    """The row's id; for an advisory of a single vulnerability, that vulnerability."""
    named = [alias for alias in _aliases(row) if _ONE_VULNERABILITY.match(alias)]
    return row.id if _ONE_VULNERABILITY.match(row.id) or len(named) != 1 else named[0]


def names_of(frames: Sequence[pd.DataFrame]) -> dict[str, str]:
    """Map each id and alias to one canonical name: the first CVE if there is one."""
    for frame in frames:
        expect_frame(frame, FINDINGS_COLUMNS, "il.read_scan")
    parents: dict[str, str] = {}

    def root(name: str) -> str:
        while parents.setdefault(name, name) != name:
            parents[name] = parents[parents[name]]
            name = parents[name]
        return name

    for frame in frames:
        ids = frame.loc[frame["finding"] == "vulnerability", ["id", "aliases"]].drop_duplicates()
        for row in plain_rows(ids):
            if _ONE_VULNERABILITY.match(row.id):
                same = {root(name) for name in [row.id, *filter(_ONE_VULNERABILITY.match, _aliases(row))]}
                first, *others = sorted(same, key=lambda name: (not name.startswith("CVE-"), name))
                parents.update(dict.fromkeys(others, first))
    return {name: root(name) for name in list(parents)}


def finding_key(row: Any, names: dict[str, str]) -> Key:
    """What makes two findings the same: their kind, canonical id, and package or file."""
    package = package_key(row.purl, row.package)
    if row.finding == "vulnerability":
        return (row.finding, names.get(_own_name(row), _own_name(row)), package)
    if row.finding == "package":
        return (row.finding, package, "")
    return (row.finding, check_name(row.id), package or re.sub(r":\d+$", "", row.path or ""))


def _summaries(frame: pd.DataFrame, names: dict[str, str], kinds: Sequence[str]) -> Summaries:
    """One entry per finding that is not suppressed, with its rows merged."""
    entries: Summaries = {}
    shown = frame["suppressed"].isna() & frame["finding"].isin(kinds)
    for row in plain_rows(frame.loc[shown, list(FINDINGS_COLUMNS)]):
        key = finding_key(row, names)
        entry = entries.setdefault(key, row._asdict() | {"count": 0, "versions": set(), "names": set()})
        entry["count"] += 1
        entry["names"] |= {row.id, *_aliases(row)}
        entry["versions"] |= {row.version} - {None}
        entry["severity"] = max(entry["severity"], row.severity, key=_rank)
    for (finding, name, _), entry in entries.items():
        entry["id"] = name if finding == "vulnerability" else entry["id"]
        entry["aliases"] = ", ".join(sorted(entry["names"] - {entry["id"]})) or None
        entry["version"] = ", ".join(sorted(entry["versions"])) or None
    return entries


def _rank(severity: str | None) -> int:
    return -1 if severity is None else SEVERITIES.index(severity)


def _why_severity(found: dict[str, dict[str, Any]]) -> str:
    for column, start, shown in (
        ("severity_source", "severity from", "{}"),
        ("cvss_version", "rated by", "CVSS {}"),
        ("cvss_score", "scored", "{}"),
    ):
        values = {label: summary[column] for label, summary in found.items() if summary[column] is not None}
        if len(set(values.values())) > 1:
            return f"{start} " + ", ".join(f"{shown.format(value)} ({label})" for label, value in values.items())
    return "the reports do not name the sources of their severities"


def _why_missed(key: Key, severity: str, label: str, side: Summaries) -> str:
    elsewhere = sorted({other[2] for other in side if other[:2] == key[:2]})
    if elsewhere:
        return f"{label} reports it for another package: {', '.join(elsewhere[:3])}"
    words = {summary["severity"] for summary in side.values() if summary["finding"] == "vulnerability"} - {None}
    lowest = min(words, key=SEVERITIES.index, default="unknown")
    if _rank(severity) < _rank(lowest):
        return f"{label}'s report lists nothing below {lowest}"
    if any(other[2] == key[2] for other in side):
        return f"{label} reports other vulnerabilities of the package"
    return f"{label} reports nothing for this package"
