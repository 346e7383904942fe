"""GitLab's container-scanning report (security-report-schemas 2 to 15, container-scanning-report-format.json)."""

from __future__ import annotations

import re
from typing import Any

from imagelab.scans.findings import Report, cvss, first_match, mapping, newest_cvss, sequence, severity, text, texts
from imagelab.scans.sarif import VULNERABILITY_ID


def read_gitlab(document: dict[str, Any]) -> Report:
    """Rows of the vulnerabilities."""
    scan = mapping(document.get("scan"))
    scanner = mapping(scan.get("scanner"))
    report = Report("gitlab", "GitLab container scanning JSON")
    report.attrs = {"scanner_version": text(scanner.get("version")), "scanned": text(scan.get("end_time"))}
    own = mapping(mapping(next(iter(sequence(document.get("vulnerabilities"))), None)).get("scanner"))
    report.scanner = (text(scanner.get("id") or scanner.get("name") or own.get("id")) or "gitlab").lower()
    if scan.get("status") == "failure":
        report.skip("the scan failed; there may be more to find", finding="scan", id=scanner.get("id"))
    for item in report.objects(document.get("vulnerabilities"), "vulnerability"):
        location = mapping(item.get("location"))
        dependency = mapping(location.get("dependency"))
        # Trivy's template writes "Unknown" for none
        known = (text(location.get(key)) for key in ("image", "operating_system"))
        image, system = (None if name == "Unknown" else name for name in known)
        # a weakness is no name: many vulnerabilities share it
        identifiers = [one for one in map(mapping, sequence(item.get("identifiers"))) if one.get("type") != "cwe"]
        identifiers.sort(key=lambda one: one.get("type") != "cve")
        names = texts([one.get("value") or one.get("name") for one in identifiers])
        labels = texts([one.get("name") or one.get("value") for one in identifiers])
        urls = texts([one.get("url") for one in [*identifiers, *map(mapping, sequence(item.get("links")))]])
        solution = first_match(r"^Upgrade (?:.+? )?to (?:versions? )?(.+?)(?: or above)?\.?$", item.get("solution"))
        report.add(
            "vulnerability",
            next(iter(names if identifiers and identifiers[0].get("type") == "cve" else ()), None)
            or first_match(VULNERABILITY_ID, *names, item.get("cve"))
            or first_match(f"^{VULNERABILITY_ID}$", item.get("name"))
            or next(iter(labels), None)
            or item.get("cve")
            or item.get("id"),
            aliases=[name for name in names if re.fullmatch(r"[A-Z]+-[\w:.-]+", name)],
            reference=image,
            target=system,
            package=mapping(dependency.get("package")).get("name"),
            version=dependency.get("version"),
            path=location.get("file"),
            fixed_version=solution,
            severity=severity(item.get("severity")),
            severity_source="report",
            title=item.get("name") or item.get("message") or item.get("description"),
            url=next(iter(urls), None),
            **newest_cvss([cvss(mapping(one).get("vector")) for one in sequence(item.get("cvss_vectors"))]),
        )
    return report


def scan_type(document: dict[str, Any]) -> str | None:
    """Of a GitLab report: the scan's type, which before ``scan`` stood in each vulnerability."""
    first = mapping(next(iter(sequence(document.get("vulnerabilities"))), None))
    return text(mapping(document.get("scan")).get("type") or ("identifiers" in first and first.get("category")))


def is_gitlab(document: dict[str, Any]) -> bool:
    """Whether the document is a GitLab report of packages in images."""
    kind = scan_type(document)
    if kind is not None:
        return kind in ("container_scanning", "cluster_image_scanning", "dependency_scanning")
    first = mapping(next(iter(sequence(document.get("vulnerabilities"))), None))
    if "version" not in document or not ("remediations" in document or "identifiers" in first):
        return False
    return not document.get("vulnerabilities") or "dependency" in mapping(first.get("location"))
