"""Read scanners' reports into one findings table."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from imagelab.core.errors import ScanFormatError
from imagelab.core.json_fields import Object, mapping, text
from imagelab.core.packed import read_packed
from imagelab.security.scans import (  # fmt: skip
    clair,
    cyclonedx,
    dockle,
    gitlab,
    grype,
    hadolint,
    inspector,
    kubernetes,
    osv,
    refused,
    sarif,
    snyk,
    spdx,
    trivy,
    xray,
)
from imagelab.security.scans.cyclonedx_xml import cyclonedx_from_xml
from imagelab.security.scans.findings import ScanReport, make_findings, masked
from imagelab.security.scans.spdx_tags import spdx_from_tags

MAX_BYTES = 512 * 1024 * 1024
KNOWN = (
    "JSON of Trivy (also Kubernetes), Grype, Snyk, OSV-Scanner, govulncheck, Amazon Inspector, Clair v4, Xray, dockle and "
    "hadolint; SARIF (Docker Scout and others); GitLab container scanning; CycloneDX and SPDX; each also gzip'd"
)


def read_scan(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], *, max_bytes: int = MAX_BYTES
) -> pd.DataFrame:
    """Read scanners' reports into one tidy frame; the format is recognised from the content.

    Parameters
    ----------
    paths : path, or several
        Files in any of the formats of ``KNOWN``.
    max_bytes : int
        Limit for a file's unpacked size.

    Returns
    -------
    pandas.DataFrame
        ``FINDINGS_COLUMNS``, one row per finding: scanner, reference (the image, as the report calls it), target
        (the part of it), finding (vulnerability, misconfiguration, secret, license; package for an SBOM's
        components, which have no severity), id, aliases (comma-separated), package, version, purl, type, path
        (``file:line`` where the line is known), fixed_version, status (fixed: a fix exists; affected, will_not_fix,
        fix_deferred, end_of_life, under_investigation), severity (ordered categorical), severity_source,
        cvss_version, cvss_score, cvss_vector, epss (probability), known_exploited, title, url, published (UTC),
        diff_id, layer_digest, suppressed (why a finding does not count; ``<NA>`` for those that count),
        suppressed_by (the file of that decision). Unknown is ``<NA>``. A row with finding ``error`` is a scan that
        failed or an entry that cannot be read: `check_limits` and `compare_scans` refuse such a scan.
        ``attrs["reports"]``: provenance of each file (file, format, kind, scanner, scanner_version, database_built,
        image_id, digests … if the report has them).

    Raises
    ------
    ScanFormatError
        Damaged, too large, unknown, or a recognised format that is not supported: the message names the export to
        use instead.
    """
    listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not listed:
        raise ScanFormatError("no file given; read_scan expects one path of a report, or several.")
    reports = []
    for path in [os.fspath(path) for path in listed]:
        data = read_packed(Path(path), max_bytes, ScanFormatError, "a scanner's report (max_bytes raises the limit)")
        reports.append((path, parse_report(data, path)))
    return make_scan(reports)


def make_scan(reports: list[tuple[str, ScanReport]]) -> pd.DataFrame:
    """Build the findings table from reports and the names of their files."""
    rows = [
        row | {"suppressed_by": name if row["suppressed"] else None} for name, report in reports for row in report.rows
    ]
    frame = make_findings(rows)
    known = dict.fromkeys(("scanner_version", "scanned", "database_built", "image_id")) | {"digests": [], "tags": []}
    reports_read = [
        {"file": name, "format": report.format, "kind": report.kind, "scanner": report.scanner}
        | {"reference": masked(report.reference)}
        | known
        | report.attrs
        for name, report in reports
    ]
    frame.attrs = {"reports": reports_read}
    return frame


def parse_report(data: bytes, name: str) -> ScanReport:
    """Parse the report in ``data``; ``name`` is for messages."""
    if not data.strip():
        raise ScanFormatError(f"{name}: the file is empty; the scan wrote no report.")
    try:
        return _dispatch(_load(data, name), name)
    except RecursionError:
        raise ScanFormatError(f"{name}: nested too deeply for a scanner's report.") from None


def _load(data: bytes, name: str) -> Any:
    """The JSON document; CycloneDX XML and SPDX tag-value become their JSON forms."""
    try:
        return _documents(data)
    except ValueError as error:
        head = data[:20_000].decode("utf-8", "replace")
        if re.match(r"\ufeff?\s*<[^>]*>?.*cyclonedx\.org/schema/bom", head, re.S):
            return cyclonedx_from_xml(data, name)
        if re.search(r"^SPDXVersion:", head, re.M):
            return spdx_from_tags(data.decode("utf-8", "replace"))
        if known := refused.name_text(head):
            raise _refusal(name, known) from None
        if "Extra data" in str(error):
            raise ScanFormatError(
                f"{name}: several JSON documents in one file. Write each report to its own file; "
                "read_scan takes several files."
            ) from None
        raise ScanFormatError(f"{name}: not a known report, and not JSON: {error}. Known: {KNOWN}.") from None


def _documents(data: bytes) -> Any:
    """The JSON document; the streams of Grype (one match a line) and govulncheck (messages) become lists."""
    try:
        return json.loads(data)
    except ValueError:
        content, decoder, at = data.decode("utf-8-sig", "replace").strip(), json.JSONDecoder(), 0
        documents = []
        while at < len(content):
            document, end = decoder.raw_decode(content, at)
            documents.append(document)
            at = end + len(content[end:]) - len(content[end:].lstrip())
            if not (grype.is_match(documents[0]) or osv.is_govulncheck(documents[:1])):
                raise
        return documents


#: Formats that are JSON objects: how to recognise each, and its reader.
_OBJECTS: tuple[tuple[Callable[[Object], bool], Callable[[Object], ScanReport]], ...] = (
    (trivy.is_trivy, trivy.read_trivy),
    (grype.is_match, lambda document: grype.read_grype({"matches": [document]})),
    (grype.is_grype, grype.read_grype),
    (lambda document: isinstance(document.get("runs"), list), sarif.read_sarif),
    (lambda document: document.get("bomFormat") == "CycloneDX", cyclonedx.read_cyclonedx),
    (lambda document: str(document.get("spdxVersion")).startswith("SPDX-2"), spdx.read_spdx),
    (spdx.is_spdx3, spdx.read_spdx3),
    (gitlab.is_gitlab, gitlab.read_gitlab),
    (snyk.is_snyk, snyk.read_snyk),
    (osv.is_osv, osv.read_osv),
    (inspector.is_inspector, inspector.read_inspector),
    (clair.is_clair, clair.read_clair),
    (xray.is_xray, xray.read_xray),
    (dockle.is_dockle, dockle.read_dockle),
    (kubernetes.is_cluster_report, kubernetes.read_cluster_report),
)
#: Formats that are lists.
_ARRAYS: tuple[tuple[Callable[[list[Any]], bool], Callable[[list[Any]], ScanReport]], ...] = (
    (trivy.is_trivy, trivy.read_trivy),
    (hadolint.is_hadolint, hadolint.read_hadolint),
    (lambda document: all(map(grype.is_match, document)), lambda document: grype.read_grype({"matches": document})),
    (osv.is_govulncheck, osv.read_govulncheck),
    (snyk.is_snyk, snyk.read_snyk),
    (xray.is_xray, xray.read_xray),
)


def _dispatch(document: Any, name: str) -> ScanReport:
    if document == []:
        return ScanReport("unknown", "an empty list, as from hadolint or gitleaks", kind="unknown")
    if document is None:
        return trivy.read_trivy(document)
    formats: Any = _OBJECTS if isinstance(document, dict) else _ARRAYS if isinstance(document, list) else ()
    for recognises, read in formats:
        if recognises(document):
            report: ScanReport = read(document)
            return report
    # wrappers of a report: an in-toto statement, Trivy's cosign-vuln, GitHub's SBOM export
    for keys in (("predicate",), ("scanner", "result"), ("sbom",)):
        if inner := mapping(document, *keys):
            kind = text(document.get("predicateType"))
            return _dispatch(inner, f"{name}: in {kind}" if kind else name)
    if known := refused.name_document(document):
        raise _refusal(name, known)
    shape = f"a {type(document).__name__}"
    if isinstance(document, dict):
        shape = f"an object with {', '.join(list(document)[:8]) or 'nothing in it'}"
    raise ScanFormatError(f"{name}: JSON, but not a known scanner's report: {shape[:300]}. Known: {KNOWN}.")


def _refusal(name: str, known: tuple[str, str]) -> ScanFormatError:
    return ScanFormatError(
        f"{name}: this is {known[0]}, which is not supported. Use {known[1]} instead. Known: {KNOWN}."
    )
