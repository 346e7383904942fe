"""Count the findings that a gate is about, and refuse scans that cannot answer."""

from __future__ import annotations

import pandas as pd

from imagelab.core.errors import ImagelabError, ScanFormatError
from imagelab.core.frames import expect_frame
from imagelab.core.terms import SEVERITIES
from imagelab.security.scans.findings import FINDINGS_COLUMNS, is_counted


def is_sbom(scan: pd.DataFrame) -> bool:
    """Whether a scan lists packages only, so that it says nothing about findings."""
    kinds = {report.get("kind") for report in scan.attrs.get("reports", [])}
    return kinds == {"sbom"} or bool(len(scan) and scan["finding"].eq("package").all())


def expect_complete(scan: pd.DataFrame) -> None:
    """Raise ScanFormatError unless every scan ran, names its tool, and was read completely."""
    expect_frame(scan, FINDINGS_COLUMNS, "il.read_scan")
    reports = scan.attrs.get("reports", [])
    problems = [str(title) for title in scan.loc[scan["finding"] == "error", "title"].unique()]
    problems += [
        f"{report.get('file')} is empty and does not name its tool: {report.get('format')}; SARIF names it"
        for report in reports
        if report.get("kind") == "unknown"
    ]
    if scan.empty and not reports:
        problems.append("the table is empty and does not say which report it was read from")
    if problems:
        raise ScanFormatError(f"the scan is not complete: {'; '.join(problems[:5])}. Scan again, then check.")


def count_findings(
    scan: pd.DataFrame,
    fail_on: str | None = None,
    *,
    only_fixed: bool = False,
    known_exploited: bool = False,
    epss: float | None = None,
    own: bool = False,
) -> int:
    """Count the findings that meet all the conditions; suppressed findings do not count.

    Parameters
    ----------
    scan : pandas.DataFrame
        From `read_scan`; for ``own`` from `blame`.
    fail_on : str, optional
        The lowest severity that counts; every one by default.
    only_fixed, known_exploited : bool
        Count only findings with a fixed version, or only those known to be exploited.
    epss : float, optional
        The lowest probability of exploitation that counts, 0 to 1.
    own : bool
        Leave out the base image's findings. Findings of unknown or guessed origin count.

    Raises
    ------
    ScanFormatError
        A scan that failed, an SBOM, or a scanner that does not report what a condition needs.
    ImagelabError
        ``fail_on`` is not a severity, or ``epss`` is not a probability.
    """
    if fail_on is not None and fail_on not in SEVERITIES:
        raise ImagelabError(f"{fail_on!r} is not a severity; expected one of {', '.join(SEVERITIES)}.")
    if epss is not None and not 0 <= epss <= 1:
        raise ImagelabError(f"epss is {epss}; expected a probability from 0 to 1.")
    expect_complete(scan)
    sboms = [report["file"] for report in scan.attrs.get("reports", []) if report.get("kind") == "sbom"]
    if sboms or is_sbom(scan):
        named = ", ".join(map(str, sboms)) or "the scan"
        raise ScanFormatError(f"{named} lists packages (an SBOM) and no findings; give a vulnerability scan.")
    findings = scan[is_counted(scan)]
    if only_fixed:
        findings = findings[findings["fixed_version"].notna() | findings["status"].eq("fixed").fillna(False)]
    for column, wanted in (("known_exploited", known_exploited), ("epss", epss is not None)):
        vulnerable = findings["finding"] == "vulnerability"
        if wanted and vulnerable.any() and findings.loc[vulnerable, column].isna().all():
            raise ScanFormatError(f"the scan does not report {column}; Grype's JSON does (`grype -o json`).")
    if fail_on is not None:
        findings = findings[findings["severity"] >= fail_on]
    if known_exploited:
        findings = findings[findings["known_exploited"].fillna(False)]
    if epss is not None:
        findings = findings[(findings["epss"] >= epss).fillna(False)]
    if own:
        expect_frame(findings, ("origin", "origin_confidence"), "il.blame")
        of_base = findings["origin"].eq("base") & findings["origin_confidence"].ne("possible")
        findings = findings[~of_base.fillna(False)]
    return len(findings)
