"""Read Clair v4's vulnerability report (claircore's VulnerabilityReport); ``introduced_in`` is the layer's digest."""

from __future__ import annotations

from imagelab.core.json_fields import Object, first, first_match, mapping, mappings, text, texts
from imagelab.security.scans.findings import VULNERABILITY_ID, ScanReport, columns


def is_clair(document: Object) -> bool:
    """Whether a document is Clair v4's report."""
    return {"manifest_hash", "packages", "package_vulnerabilities"} <= document.keys()


def read_clair(document: Object) -> ScanReport:
    """Read one row per package and vulnerability."""
    report = ScanReport("clair", "Clair v4 JSON")
    report.describe("clair-report", document)
    packages, vulnerabilities = mapping(document, "packages"), mapping(document, "vulnerabilities")
    for package_id, listed in mapping(document, "package_vulnerabilities").items():
        package = mapping(packages.get(package_id))
        environment = mapping(first(mappings(mapping(document, "environments").get(package_id))))
        for vulnerability_id in texts(listed):
            item = mapping(vulnerabilities.get(vulnerability_id))
            if not item:
                report.error("not-read", f"the report has no vulnerability {vulnerability_id}")
                continue
            name, fixed = text(item.get("name")), text(item.get("fixed_in_version"))
            report.add(
                "vulnerability",
                first_match(VULNERABILITY_ID, name) or name,
                aliases=[name],
                fixed_version=None if fixed == "0" else fixed,
                url=(text(item.get("links")) or "").partition(" ")[0] or None,
                **columns("clair-package", package),
                **columns("clair-environment", environment),
                **columns("clair-vulnerability", item),
            )
    return report
