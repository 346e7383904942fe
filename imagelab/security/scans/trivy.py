"""Read Trivy's JSON: SchemaVersion 2, and the bare list (or ``null``) that Trivy wrote before it.

Fields as in Trivy's ``pkg/types`` (report.go, vulnerability.go, misconfiguration.go, finding.go).
"""

from __future__ import annotations

from typing import Any

from imagelab.core.json_fields import Object, first, first_match, mapping, mappings, text, texts
from imagelab.security.scans.fields import at_line, best_link
from imagelab.security.scans.findings import ScanReport, columns, cvss, newest_cvss


def is_trivy(document: Any) -> bool:
    """Whether a JSON document is Trivy's."""
    if isinstance(document, dict):
        return "SchemaVersion" in document and bool({"ArtifactName", "Results", "Metadata"} & document.keys())
    results = mappings(document)
    return document is None or (bool(results) and all("Target" in result for result in results))


def read_trivy(document: Any) -> ScanReport:
    """Read every result; findings that Trivy suppressed and checks that did not fail are suppressed rows."""
    report = ScanReport("trivy", "Trivy JSON" if isinstance(document, dict) else "Trivy JSON (before SchemaVersion 2)")
    report.kind = "unknown" if document is None else "scan"
    document, results = (document, document.get("Results")) if isinstance(document, dict) else ({}, document)
    # before schema 2 only the target of the OS packages names the image: "image (family release)"
    targets = [result.get("Target") for result in mappings(results)]
    named = text(document.get("ArtifactName")) or first(texts(mapping(document, "Metadata").get("RepoTags")))
    report.reference = named or first_match(r"^(\S+) \([\w-]+ [^)]+\)$", *targets)
    report.describe("trivy-report", document)
    read_results(report, results)
    return report


def read_results(report: ScanReport, results: Any) -> None:
    """Read Trivy's results, which its reports on clusters contain too."""
    for result in report.objects(results, "Results"):
        for name, (finding, facts) in _LISTS.items():
            for item in report.objects(result.get(name), name):
                status = text(item.get("Status"))
                passed = finding == "misconfiguration" and status not in (None, "FAIL")
                reason = f"check did not fail: {status}" if passed else None
                report.add(finding, **_common(result, item) | facts(result, item), suppressed=reason)
        for modified in report.objects(result.get("ExperimentalModifiedFindings"), "modified finding"):
            item, kinds = mapping(modified, "Finding"), dict(_LISTS.values())
            reason = ", ".join(texts([modified.get(key) for key in ("Status", "Statement", "Source")]))
            finding = str(modified.get("Type"))
            row = _common(result, item) | kinds.get(finding, _vulnerability)(result, item)
            report.add(finding, **row, suppressed=f"suppressed by Trivy: {reason}")


def _common(result: Object, item: Object) -> Object:
    return {"target": result.get("Target"), "type": result.get("Type")} | columns("trivy-layer", item)


def _vulnerability(result: Object, item: Object) -> Object:
    purl = text(mapping(item, "PkgIdentifier").get("PURL")) or text(item.get("PkgRef") or item.get("Ref"))
    return {
        **columns("trivy-vulnerability", item),
        "aliases": texts(item.get("VendorIDs")),
        "purl": purl if purl and purl.startswith("pkg:") else None,
        "url": item.get("PrimaryURL") or best_link(item.get("VulnerabilityID"), item.get("References")),
    } | _scores(mapping(item, "CVSS"), text(item.get("SeveritySource")))


def _scores(by_source: Object, severity_source: str | None) -> Object:
    """Prefer the source of the severity, then NVD, then any source with a score."""
    for source in dict.fromkeys([severity_source, "nvd", *sorted(by_source)]):
        given = mapping(by_source, source or "")
        chosen = newest_cvss([cvss(given.get(f"{v}Vector"), given.get(f"{v}Score")) for v in ("V2", "V3", "V40")])
        if chosen["cvss_score"] is not None:
            return chosen
    return cvss(None)


def _misconfiguration(result: Object, item: Object) -> Object:
    return {
        "id": item.get("ID") or item.get("AVDID"),
        "aliases": texts([item.get("AVDID")]),
        "path": at_line(result.get("Target"), mapping(item, "CauseMetadata").get("StartLine")),
        "status": "affected",
        "title": ": ".join(dict.fromkeys(texts([item.get("Title"), item.get("Message")]))),
        "url": item.get("PrimaryURL"),
    }


def _secret(result: Object, item: Object) -> Object:
    path = at_line(result.get("Target"), item.get("StartLine"))
    return {"id": item.get("RuleID"), "path": path, "type": item.get("Category")}


_LISTS = {
    "Vulnerabilities": ("vulnerability", _vulnerability),
    "Misconfigurations": ("misconfiguration", _misconfiguration),
    "Secrets": ("secret", _secret),
    "Licenses": ("license", lambda _, item: columns("trivy-license", item)),
}
