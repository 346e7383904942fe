"""Trivy's JSON: the bare list of before schema 2, ``null`` for nothing found, and SchemaVersion 2.

Fields as in Trivy's ``pkg/types`` (report.go, vulnerability.go, misconfiguration.go, finding.go).
"""

from __future__ import annotations

from typing import Any

from imagelab.scans.findings import (
    Report,
    best_link,
    cvss,
    first_match,
    mapping,
    newest_cvss,
    sequence,
    severity,
    text,
    texts,
)


def read_trivy(document: Any) -> Report:
    """Rows of every result; a suppressed finding or a passed check is set aside."""
    report = Report("trivy", "Trivy JSON" if isinstance(document, dict) else "Trivy JSON (before SchemaVersion 2)")
    document, results = (document, document.get("Results")) if isinstance(document, dict) else ({}, document)
    metadata = mapping(document.get("Metadata"))
    tags, digests = texts(metadata.get("RepoTags")), texts(metadata.get("RepoDigests"))
    # before schema 2 only the target of the system's packages names the image: "image (family release)"
    targets = [mapping(result).get("Target") for result in sequence(results)]
    named = text(document.get("ArtifactName")) or next(iter(tags), None)
    report.reference = named or first_match(r"^(\S+) \([\w-]+ [^)]+\)$", *targets)
    report.attrs = {
        "scanner_version": text(mapping(document.get("Trivy")).get("Version")),
        "scanned": text(document.get("CreatedAt")),
        "image_id": text(metadata.get("ImageID")),
        "digests": digests,
        "tags": tags,
        "diff_ids": texts(metadata.get("DiffIDs")),
        "distribution": " ".join(texts(list(mapping(metadata.get("OS")).values())[:2])) or None,
    }
    for result in report.objects(results, "result"):
        for name, add in _LISTS.items():
            for item in report.objects(result.get(name), name):
                add(report, result, item)
        for modified in report.objects(result.get("ExperimentalModifiedFindings"), "modified finding"):
            item = mapping(modified.get("Finding"))
            why = [text(modified.get(key)) for key in ("Status", "Statement", "Source")]
            report.skip(
                "suppressed by Trivy: " + ", ".join(line for line in why if line),
                finding=modified.get("Type"),
                id=item.get("VulnerabilityID") or item.get("ID") or item.get("RuleID") or item.get("Name"),
                package=item.get("PkgName"),
                severity=item.get("Severity"),
            )
    return report


def _common(result: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    layer = mapping(item.get("Layer"))
    return {
        "target": result.get("Target"),
        "type": result.get("Type"),
        "severity": severity(item.get("Severity")),
        "title": item.get("Title"),
        "diff_id": layer.get("DiffID"),
        "layer_digest": layer.get("Digest"),
    }


def _vulnerability(report: Report, result: dict[str, Any], item: dict[str, Any]) -> None:
    purl = text(mapping(item.get("PkgIdentifier")).get("PURL")) or text(item.get("PkgRef") or item.get("Ref"))
    report.add(
        "vulnerability",
        item.get("VulnerabilityID"),
        aliases=texts(item.get("VendorIDs")),
        package=item.get("PkgName"),
        version=item.get("InstalledVersion"),
        purl=purl if purl and purl.startswith("pkg:") else None,
        path=item.get("PkgPath"),
        fixed_version=item.get("FixedVersion"),
        status=item.get("Status"),
        severity_source=item.get("SeveritySource"),
        url=item.get("PrimaryURL") or best_link(item.get("VulnerabilityID"), item.get("References")),
        published=item.get("PublishedDate"),
        **_common(result, item) | {"title": item.get("Title") or item.get("Description")},
        **_scores(mapping(item.get("CVSS")), text(item.get("SeveritySource"))),
    )


def _scores(by_source: dict[str, Any], severity_source: str | None) -> dict[str, Any]:
    """The source that gave the severity speaks first, then NVD, then whoever has a score."""
    for source in dict.fromkeys([severity_source, "nvd", *sorted(by_source)]):
        given = mapping(by_source.get(source or ""))
        chosen = newest_cvss([cvss(given.get(f"{v}Vector"), given.get(f"{v}Score")) for v in ("V2", "V3", "V40")])
        if chosen["cvss_score"] is not None:
            return chosen
    return cvss(None)


def _lines(path: Any, item: dict[str, Any]) -> str | None:
    start = item.get("StartLine")
    return f"{text(path) or ''}:{start}" if isinstance(start, int) and start else text(path)


def _misconfiguration(report: Report, result: dict[str, Any], item: dict[str, Any]) -> None:
    status = text(item.get("Status")) or "FAIL"
    if status != "FAIL":
        report.skip(f"check did not fail: {status}", finding="misconfiguration", id=item.get("ID"))
        return
    titles = [line for line in (text(item.get("Title")), text(item.get("Message"))) if line]
    report.add(
        "misconfiguration",
        item.get("ID") or item.get("AVDID"),
        aliases=texts([item.get("AVDID")]),
        path=_lines(result.get("Target"), mapping(item.get("CauseMetadata"))),
        status="affected",
        url=item.get("PrimaryURL"),
        **_common(result, item) | {"title": ": ".join(dict.fromkeys(titles))},
    )


def _secret(report: Report, result: dict[str, Any], item: dict[str, Any]) -> None:
    report.add(
        "secret",
        item.get("RuleID"),
        path=_lines(result.get("Target"), item),
        **_common(result, item) | {"type": item.get("Category")},
    )


def _license(report: Report, result: dict[str, Any], item: dict[str, Any]) -> None:
    report.add(
        "license",
        item.get("Name"),
        package=item.get("PkgName"),
        path=item.get("FilePath"),
        url=item.get("Link"),
        **_common(result, item) | {"type": item.get("Category"), "title": item.get("Text")},
    )


_LISTS = {
    "Vulnerabilities": _vulnerability,
    "Misconfigurations": _misconfiguration,
    "Secrets": _secret,
    "Licenses": _license,
}


def is_trivy(document: Any) -> bool:
    """Whether a JSON document is one of Trivy's."""
    if isinstance(document, dict):
        return "SchemaVersion" in document and bool({"ArtifactName", "Results", "Metadata"} & document.keys())
    rows = sequence(document)
    return bool(rows) and all(isinstance(row, dict) and "Target" in row for row in rows)
