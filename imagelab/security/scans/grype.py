"""Grype's JSON, from 0.7 (flat CVSS fields) to database schema 6 (EPSS, known exploited).

Fields as in Grype's ``grype/presenter/models``. A location's ``layerID`` is the layer's diff_id
(stereoscope fills it from the uncompressed tar; so do the configs inside the reports say).
"""

from __future__ import annotations

import re
from typing import Any

from imagelab.core.json_fields import Object, first, mapping, mappings, sequence, text, texts
from imagelab.security.scans.findings import Report, cvss, newest_cvss, severity


def is_match(document: Any) -> bool:
    """Whether an object is one of Grype's matches, as its list of 2020 and its ``-o jsonl`` hold them."""
    return {"vulnerability", "artifact"} <= mapping(document).keys()


def read_grype(document: Object) -> Report:
    """Rows of the matches; ignored matches are set aside with their rule."""
    report = Report("grype", "Grype JSON")
    source, target = mapping(document, "source"), mapping(document, "source", "target")
    descriptor, distribution = mapping(document, "descriptor"), mapping(document, "distro")
    database = mapping(descriptor, "db", "status") or mapping(descriptor, "db")
    schema = re.search(r"\d{1,9}", text(database.get("schemaVersion")) or "")
    report.reference = text(target.get("userInput") or source.get("target"))
    report.attrs = {
        "scanner_version": text(descriptor.get("version")),
        "scanned": text(descriptor.get("timestamp")),
        "database_built": text(database.get("built")),
        "image_id": text(target.get("imageID")),
        "digests": texts([target.get("manifestDigest"), *sequence(target.get("repoDigests"))]),
        "tags": texts(target.get("tags")),
        "diff_ids": texts([layer.get("digest") for layer in mappings(target.get("layers"))]),
        "distribution": " ".join(texts([distribution.get("name"), distribution.get("version")])) or None,
    }
    for match in report.objects(document.get("matches"), "vulnerability"):
        _match(report, match, bool(schema and int(schema[0]) >= 6))
    for match in report.objects(document.get("ignoredMatches"), "vulnerability"):
        rules = mappings(match.get("appliedIgnoreRules"))
        why = ["; ".join(f"{key} {text(value)}" for key, value in rule.items() if text(value)) for rule in rules]
        report.skip(
            "ignored by Grype: " + " | ".join(why),
            finding="vulnerability",
            id=mapping(match, "vulnerability").get("id"),
            package=mapping(match, "artifact").get("name"),
            severity=mapping(match, "vulnerability").get("severity"),
        )
    return report


def _match(report: Report, match: Object, knows_exploited: bool) -> None:
    vulnerability, artifact = mapping(match, "vulnerability"), mapping(match, "artifact")
    related = mappings(match.get("relatedVulnerabilities"))
    everywhere = [vulnerability, *related]
    fix = mapping(vulnerability, "fix")
    location = mapping(first(sequence(artifact.get("locations"))))
    scores = [newest_cvss(_scores(one)) for one in everywhere]
    exploited = any(sequence(one.get("knownExploited")) for one in everywhere)
    report.add(
        "vulnerability",
        vulnerability.get("id"),
        aliases=texts([one.get("id") for one in [*related, *mappings(vulnerability.get("advisories"))]]),
        package=artifact.get("name"),
        version=artifact.get("version"),
        purl=artifact.get("purl"),
        type=artifact.get("type"),
        path=location.get("path"),
        fixed_version=", ".join(texts(fix.get("versions")) or texts([vulnerability.get("fixedInVersion")])),
        status=fix.get("state"),
        severity=severity(vulnerability.get("severity")),
        severity_source=vulnerability.get("namespace"),
        epss=first(score.get("epss") for one in everywhere for score in mappings(one.get("epss"))),
        known_exploited=exploited if exploited or knows_exploited or "risk" in vulnerability else None,
        title=first(one["description"] for one in everywhere if one.get("description")),
        url=vulnerability.get("dataSource") or first(texts(vulnerability.get("links"))),
        diff_id=location.get("layerID"),
        **first(one for one in scores if one["cvss_score"] is not None) or cvss(None),
    )


def _scores(vulnerability: Object) -> list[Object]:
    """The list of today, or the two fields of Grype 0.7."""
    flat, listed = [mapping(vulnerability, key) for key in ("cvssV2", "cvssV3")], mappings(vulnerability.get("cvss"))
    return [
        *(cvss(one.get("vector"), one.get("baseScore")) for one in flat),
        *(cvss(one.get("vector"), mapping(one, "metrics").get("baseScore")) for one in listed),
    ]
