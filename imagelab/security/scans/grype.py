"""Read Grype's JSON, from 0.7 (flat CVSS fields) to database schema 6 (EPSS, known exploited).

Fields as in Grype's ``grype/presenter/models``. A location's ``layerID`` is the layer's diff_id
(stereoscope fills it from the uncompressed tar; the image configs inside the reports agree).
"""

from __future__ import annotations

import re
from typing import Any

from imagelab.core.json_fields import Object, first, mapping, mappings, sequence, text, texts
from imagelab.security.scans.findings import ScanReport, columns, cvss, newest_cvss


def is_match(document: Any) -> bool:
    """Whether an object is one of Grype's matches, as in its list of 2020 and in ``-o jsonl``."""
    return {"vulnerability", "artifact"} <= mapping(document).keys()


def is_grype(document: Object) -> bool:
    """Whether a document is Grype's: other tools write ``matches`` too."""
    matches, named = sequence(document.get("matches")), mapping(document, "descriptor").get("name")
    unnamed = any(map(is_match, matches)) or (not matches and {"source", "distro"} <= document.keys())
    return "matches" in document and (named == "grype" or (named is None and unnamed))


def read_grype(document: Object) -> ScanReport:
    """Read the matches; ignored matches are suppressed rows with their rule."""
    report = ScanReport("grype", "Grype JSON")
    source, target = mapping(document, "source"), mapping(document, "source", "target")
    database = mapping(document, "descriptor", "db")
    database = mapping(database, "status") or database
    schema = re.search(r"\d{1,9}", text(database.get("schemaVersion")) or "")
    report.reference = text(target.get("userInput") or source.get("target"))
    report.describe("grype-report", document)
    report.attrs["digests"] += texts(target.get("repoDigests"))
    knows_exploited = bool(schema and int(schema[0]) >= 6)
    for match in report.objects(document.get("matches"), "matches"):
        _match(report, match, knows_exploited)
    for match in report.objects(document.get("ignoredMatches"), "ignoredMatches"):
        rules = mappings(match.get("appliedIgnoreRules"))
        why = ["; ".join(f"{key} {text(value)}" for key, value in rule.items() if text(value)) for rule in rules]
        _match(report, match, knows_exploited, "ignored by Grype: " + " | ".join(why))
    return report


def _match(report: ScanReport, match: Object, knows_exploited: bool, suppressed: str | None = None) -> None:
    vulnerability, artifact = mapping(match, "vulnerability"), mapping(match, "artifact")
    related = mappings(match.get("relatedVulnerabilities"))
    everywhere = [vulnerability, *related]
    fix = mapping(vulnerability, "fix")
    location = mapping(first(sequence(artifact.get("locations"))))
    scores = [newest_cvss(_scores(entry)) for entry in everywhere]
    exploited = any(sequence(entry.get("knownExploited")) for entry in everywhere)
    report.add(
        "vulnerability",
        aliases=texts([entry.get("id") for entry in [*related, *mappings(vulnerability.get("advisories"))]]),
        path=location.get("path"),
        fixed_version=", ".join(texts(fix.get("versions")) or texts([vulnerability.get("fixedInVersion")])),
        epss=first(score.get("epss") for entry in everywhere for score in mappings(entry.get("epss"))),
        known_exploited=exploited if exploited or knows_exploited or "risk" in vulnerability else None,
        title=first(texts([entry.get("description") for entry in everywhere])),
        url=vulnerability.get("dataSource") or first(texts(vulnerability.get("links"))),
        diff_id=location.get("layerID"),
        suppressed=suppressed,
        **columns("grype-artifact", artifact),
        **columns("grype-vulnerability", vulnerability),
        **first(entry for entry in scores if entry["cvss_score"] is not None) or cvss(None),
    )


def _scores(vulnerability: Object) -> list[Object]:
    """The list of scores, or the two fields of Grype 0.7."""
    flat, listed = [mapping(vulnerability, key) for key in ("cvssV2", "cvssV3")], mappings(vulnerability.get("cvss"))
    return [
        *(cvss(entry.get("vector"), entry.get("baseScore")) for entry in flat),
        *(cvss(entry.get("vector"), mapping(entry, "metrics").get("baseScore")) for entry in listed),
    ]
