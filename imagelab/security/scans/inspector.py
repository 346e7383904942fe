"""Read Amazon Inspector's findings (``aws inspector2 list-findings``); ``sourceLayerHash`` is the layer's digest."""

from __future__ import annotations

from imagelab.core.json_fields import Object, first, mapping, mappings, sequence, text, texts
from imagelab.security.scans.findings import ScanReport, columns, cvss, newest_cvss


def is_inspector(document: Object) -> bool:
    """Whether a document is a list of Inspector's findings; an empty list names no tool."""
    return "findingArn" in mapping(first(sequence(document.get("findings"))))


def read_inspector(document: Object) -> ScanReport:
    """Read one row per finding and vulnerable package; closed and suppressed findings are suppressed rows."""
    report = ScanReport("inspector", "Amazon Inspector JSON")
    if document.get("nextToken"):
        report.error("not-read", "the list has further pages (nextToken); export all of them")
    for item in report.objects(document.get("findings"), "findings"):
        details = mapping(item, "packageVulnerabilityDetails")
        image = mapping(first(mappings(item.get("resources"))), "details", "awsEcrContainerImage")
        tag = first(texts(image.get("imageTags")))
        repository, status = text(image.get("repositoryName")), text(item.get("status"))
        facts = {
            "reference": f"{repository}:{tag}" if repository and tag else repository,
            **columns("inspector", item),
            "suppressed": None if status in (None, "ACTIVE") else f"Inspector's status: {status}",
        } | newest_cvss(
            [cvss(entry.get("scoringVector"), entry.get("baseScore")) for entry in mappings(details.get("cvss"))]
        )
        if not details:
            report.add("misconfiguration", item.get("type"), **facts)
        for package in mappings(details.get("vulnerablePackages")) or [{}] * bool(details):
            report.add(
                "vulnerability",
                details.get("vulnerabilityId"),
                aliases=texts(details.get("relatedVulnerabilities")),
                version="-".join(texts([package.get("version"), package.get("release")])),
                type=(text(package.get("packageManager")) or "").lower() or None,
                fixed_version=None
                if package.get("fixedInVersion") == "NotAvailable"
                else package.get("fixedInVersion"),
                **columns("inspector-package", package),
                **facts,
            )
    return report
