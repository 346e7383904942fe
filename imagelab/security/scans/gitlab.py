"""Read GitLab's container-scanning report (security-report-schemas 2 to 15, container-scanning-report-format.json)."""

from __future__ import annotations

import re
from typing import Any

from imagelab.core.json_fields import Object, first, first_match, mapping, mappings, sequence, text, texts
from imagelab.security.scans.findings import VULNERABILITY_ID, ScanReport, columns, cvss, newest_cvss


def scan_type(document: Object) -> str | None:
    """The scan's type of a GitLab report; older reports have it in each vulnerability."""
    vulnerability = _first_vulnerability(document)
    category = vulnerability.get("category") if "identifiers" in vulnerability else None
    return text(mapping(document, "scan").get("type") or category)


def is_gitlab(document: Object) -> bool:
    """Whether the document is a GitLab report of packages in images."""
    kind = scan_type(document)
    if kind is not None:
        return kind in ("container_scanning", "cluster_image_scanning", "dependency_scanning")
    vulnerability = _first_vulnerability(document)
    if "version" not in document or not ("remediations" in document or "identifiers" in vulnerability):
        return False
    return not document.get("vulnerabilities") or "dependency" in mapping(vulnerability, "location")


def _first_vulnerability(document: Object) -> Object:
    return mapping(first(sequence(document.get("vulnerabilities"))))


def read_gitlab(document: Object) -> ScanReport:
    """Read the vulnerabilities."""
    scan, scanner = mapping(document, "scan"), mapping(document, "scan", "scanner")
    name = scanner.get("id") or scanner.get("name") or mapping(_first_vulnerability(document), "scanner").get("id")
    report = ScanReport((text(name) or "gitlab").lower(), "GitLab container scanning JSON")
    report.describe("gitlab-report", document)
    fatal = any(message.get("level") == "fatal" for message in mappings(scan.get("messages")))
    if scan.get("status") == "failure" or fatal or document.get("vulnerabilities") is None:
        report.error("scan-failed", f"the scan failed (status {text(scan.get('status'))}); there may be more to find")
    for item in report.objects(document.get("vulnerabilities"), "vulnerabilities"):
        row = columns("gitlab", item)
        # Trivy's template writes "Unknown" for an absent value
        row |= {key: None for key in ("reference", "target") if text(row[key]) == "Unknown"}
        # a weakness (CWE) does not identify a vulnerability: many share it
        identifiers = [entry for entry in mappings(item.get("identifiers")) if entry.get("type") != "cwe"]
        identifiers.sort(key=lambda entry: entry.get("type") != "cve")
        names = texts([entry.get("value") or entry.get("name") for entry in identifiers])
        report.add(
            "vulnerability",
            _name(item, identifiers, names),
            aliases=[name for name in names if re.fullmatch(r"[A-Z]+-[\w:.-]+", name)],
            fixed_version=first_match(
                r"^Upgrade (?:.+? )?to (?:versions? )?(.+?)(?: or above)?\.?$", item.get("solution")
            ),
            severity_source="report",
            url=first(texts([entry.get("url") for entry in [*identifiers, *mappings(item.get("links"))]])),
            **row,
            **newest_cvss([cvss(entry.get("vector")) for entry in mappings(item.get("cvss_vectors"))]),
        )
    return report


def _name(item: Object, identifiers: list[Object], names: list[str]) -> Any:
    """The CVE, else another well-known identifier, else the report's own."""
    if names and identifiers[0].get("type") == "cve":
        return names[0]
    return (
        first_match(VULNERABILITY_ID, *names, item.get("cve"))
        or first_match(f"^{VULNERABILITY_ID}$", item.get("name"))
        or first(texts([entry.get("name") or entry.get("value") for entry in identifiers]))
        or item.get("cve")
        or item.get("id")
    )
