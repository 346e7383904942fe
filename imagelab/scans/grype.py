"""Grype's JSON, from 0.7 (flat CVSS fields) to database schema 6 (EPSS, known exploited).

Fields as in Grype's ``grype/presenter/models``. A location's ``layerID`` is the layer's diff_id
(stereoscope fills it from the uncompressed tar; so do the configs inside the reports say).
"""

from __future__ import annotations

import re
from typing import Any

from imagelab.scans.findings import Report, cvss, mapping, newest_cvss, sequence, severity, text, texts


def read_grype(document: dict[str, Any]) -> Report:
    """Rows of the matches; ignored matches are set aside with their rule."""
    report = Report("grype", "Grype JSON")
    source, descriptor = mapping(document.get("source")), mapping(document.get("descriptor"))
    target = mapping(source.get("target"))
    database = mapping(descriptor.get("db"))
    database = mapping(database.get("status")) or database
    schema = re.search(r"\d{1,9}", text(database.get("schemaVersion")) or "")
    digests = texts([target.get("manifestDigest"), *sequence(target.get("repoDigests"))])
    distribution = mapping(document.get("distro"))
    report.reference = text(target.get("userInput") or source.get("target"))
    report.attrs = {
        "scanner_version": text(descriptor.get("version")),
        "scanned": text(descriptor.get("timestamp")),
        "database_built": text(database.get("built")),
        "image_id": text(target.get("imageID")),
        "digests": digests,
        "tags": texts(target.get("tags")),
        "diff_ids": texts([mapping(layer).get("digest") for layer in sequence(target.get("layers"))]),
        "distribution": " ".join(texts([distribution.get("name"), distribution.get("version")])) or None,
    }
    for match in report.objects(document.get("matches"), "vulnerability"):
        _match(report, match, bool(schema and int(schema[0]) >= 6))
    for match in report.objects(document.get("ignoredMatches"), "vulnerability"):
        rules = [mapping(rule) for rule in sequence(match.get("appliedIgnoreRules"))]
        why = ["; ".join(f"{key} {text(value)}" for key, value in rule.items() if text(value)) for rule in rules]
        report.skip(
            "ignored by Grype: " + " | ".join(why),
            finding="vulnerability",
            id=mapping(match.get("vulnerability")).get("id"),
            package=mapping(match.get("artifact")).get("name"),
            severity=mapping(match.get("vulnerability")).get("severity"),
        )
    return report


def is_match(document: Any) -> bool:
    """Whether an object is one of Grype's matches, as its list of 2020 and its ``-o jsonl`` hold them."""
    return {"vulnerability", "artifact"} <= mapping(document).keys()


def _match(report: Report, match: dict[str, Any], knows_exploited: bool) -> None:
    vulnerability, artifact = mapping(match.get("vulnerability")), mapping(match.get("artifact"))
    related = [mapping(one) for one in sequence(match.get("relatedVulnerabilities"))]
    advisories = [mapping(one).get("id") for one in sequence(vulnerability.get("advisories"))]
    fix = mapping(vulnerability.get("fix"))
    fixed = texts(fix.get("versions")) or texts([vulnerability.get("fixedInVersion")])
    location = mapping(next(iter(sequence(artifact.get("locations"))), None))
    everywhere = [vulnerability, *related]
    scores = [newest_cvss(_scores(one)) for one in everywhere]
    epss = [mapping(score).get("epss") for one in everywhere for score in sequence(one.get("epss"))]
    exploited = any(sequence(one.get("knownExploited")) for one in everywhere)
    report.add(
        "vulnerability",
        vulnerability.get("id"),
        aliases=texts([*(one.get("id") for one in related), *advisories]),
        package=artifact.get("name"),
        version=artifact.get("version"),
        purl=artifact.get("purl"),
        type=artifact.get("type"),
        path=location.get("path"),
        fixed_version=", ".join(fixed),
        status=fix.get("state"),
        severity=severity(vulnerability.get("severity")),
        severity_source=vulnerability.get("namespace"),
        epss=next(iter(epss), None),
        known_exploited=exploited if exploited or knows_exploited or "risk" in vulnerability else None,
        title=vulnerability.get("description")
        or next((one["description"] for one in related if one.get("description")), None),
        url=vulnerability.get("dataSource") or next(iter(texts(vulnerability.get("links"))), None),
        diff_id=location.get("layerID"),
        **next((one for one in scores if one["cvss_score"] is not None), cvss(None)),
    )


def _scores(vulnerability: dict[str, Any]) -> list[dict[str, Any]]:
    """The list of today, or the two fields of Grype 0.7."""
    flat = [mapping(vulnerability.get(key)) for key in ("cvssV2", "cvssV3")]
    listed = [mapping(one) for one in sequence(vulnerability.get("cvss"))]
    return [cvss(one.get("vector"), one.get("baseScore")) for one in flat] + [
        cvss(one.get("vector"), mapping(one.get("metrics")).get("baseScore")) for one in listed
    ]
