"""Read JFrog Xray's JSON (``jf docker scan --format json``): one object per scan, each issue with its components."""

from __future__ import annotations

from typing import Any

from imagelab.core.json_fields import Object, first, first_match, mapping, mappings, sequence, text, texts
from imagelab.security.scans.fields import first_cve
from imagelab.security.scans.findings import ScanReport, columns, cvss, newest_cvss


def is_xray(document: Any) -> bool:
    """Whether a document (or the first of a list) is Xray's."""
    keys = mapping(first(document) if isinstance(document, list) else document).keys()
    return {"scan_id", "component_id"} <= keys or {"scan_id", "vulnerabilities", "status"} <= keys


def read_xray(document: Any) -> ScanReport:
    """Read one row per issue and component."""
    scans = mappings(document) if isinstance(document, list) else [mapping(document)]
    report = ScanReport(
        "xray", "JFrog Xray JSON", (text(scans[0].get("component_id")) or "").partition("://")[2] or None
    )
    for scan in scans:
        if (status := text(scan.get("status"))) not in (None, "completed"):
            report.error("scan-failed", f"Xray's status is {status}")
        for issue in report.objects(
            [*mappings(scan.get("vulnerabilities")), *mappings(scan.get("violations"))], "issues"
        ):
            for name, component in mapping(issue, "components").items() or [("", {})]:
                _add(report, issue, name, mapping(component))
    return report


def _add(report: ScanReport, issue: Object, name: str, component: Object) -> None:
    kind, _, rest = name.partition("://")
    *start, version = rest.split(":")
    package = start[-1] if start and kind in ("alpine", "deb", "rpm") else ":".join(start)
    cves = mappings(issue.get("cves"))
    names = [*texts([entry.get("cve") for entry in cves]), *texts([issue.get("issue_id")])]
    places = [part.get("component_id") for path in sequence(component.get("impact_paths")) for part in mappings(path)]
    digest = first_match(r"sha256(?::|__)([0-9a-f]{64})", *places)
    report.add(
        "license" if issue.get("type") == "license" else "vulnerability",
        first_cve(names),
        aliases=names,
        package=package,
        version=version,
        type="apk" if kind == "alpine" else kind or None,
        fixed_version=", ".join(line.strip("[]()") for line in texts(component.get("fixed_versions"))),
        url=first(texts(issue.get("references"))),
        layer_digest=digest and f"sha256:{digest}",
        **columns("xray", issue),
        **newest_cvss([cvss(entry.get("cvss_v3_vector"), entry.get("cvss_v3_score")) for entry in cves]),
    )
