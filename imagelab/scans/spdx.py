"""SPDX as JSON: 2.2 and 2.3 (packages, and advisories where a package names them), 3.0 (also its security profile).

Fields as in the SPDX specifications, 2.3 annex F (external references) and the 3.0 model's Security profile.
"""

from __future__ import annotations

from typing import Any

from imagelab.scans.findings import (
    Report,
    cvss,
    first_match,
    mapping,
    newest_cvss,
    parse_purl,
    sequence,
    severity,
    text,
    texts,
)
from imagelab.scans.sarif import VULNERABILITY_ID


def read_spdx(document: dict[str, Any]) -> Report:
    """SPDX 2: a row per package, and per security advisory that a package refers to."""
    creation = mapping(document.get("creationInfo"))
    tool = first_match(r"^Tool: (.+?)(?:-v?\d\S*|-dev)?$", *sequence(creation.get("creators"))) or "spdx"
    report = Report(tool.lower(), f"{text(document.get('spdxVersion')) or 'SPDX-2'} JSON")
    report.reference = text(document.get("name"))
    report.attrs = {
        "scanned": text(creation.get("created")),
        "scanner_version": first_match(r"^Tool: .+?-(v?\d\S*|dev)$", *sequence(creation.get("creators"))),
    }
    described = set(texts(document.get("documentDescribes")))
    described |= {
        str(one.get("relatedSpdxElement"))
        for one in map(mapping, sequence(document.get("relationships")))
        if one.get("relationshipType") == "DESCRIBES" and one.get("spdxElementId") == "SPDXRef-DOCUMENT"
    }
    for item in report.objects(document.get("packages"), "package"):
        name = text(item.get("name"))
        notes = [mapping(one).get("comment") for one in sequence(item.get("annotations"))]
        if len(described) == 1 and item.get("SPDXID") in described:
            report.attrs |= {
                "image_id": first_match(r"^ImageID: (\S+)$", *notes),
                "digests": texts([first_match(r"^RepoDigest: (\S+)$", *notes)]),
                "tags": texts([first_match(r"^RepoTag: (\S+)$", *notes)]),
            }
            report.skip("what the document describes, not a package in it", finding="package", id=name)
            continue
        references = [mapping(one) for one in sequence(item.get("externalRefs"))]
        purl = next(
            (text(one.get("referenceLocator")) for one in references if one.get("referenceType") == "purl"), None
        )
        parsed = parse_purl(purl)
        row = {
            "package": name,
            "version": item.get("versionInfo"),
            "purl": purl,
            "type": first_match(r"^PkgType: (.+)$", *notes) or (parsed.type if parsed else None),
            "path": first_match(r": (/\S+)$", item.get("sourceInfo")) or item.get("packageFileName"),
            "diff_id": first_match(r"^LayerDiffID: (\S+)$", *notes),
            "layer_digest": first_match(r"^LayerDigest: (\S+)$", *notes),
        }
        declared = text(item.get("licenseConcluded")), text(item.get("licenseDeclared"))
        report.add(
            "package",
            purl or name,
            title=next((one for one in declared if one not in (None, "NOASSERTION", "NONE")), None),
            **row,
        )
        for one in references:
            locator = one.get("referenceLocator")
            if one.get("referenceCategory") == "SECURITY" and one.get("referenceType") in ("advisory", "url"):
                report.add(
                    "vulnerability",
                    first_match(VULNERABILITY_ID, locator) or locator,
                    url=locator,
                    title=one.get("comment"),
                    severity="unknown",
                    **row,
                )
    return report


def read_spdx3(document: dict[str, Any]) -> Report:
    """SPDX 3: a row per package, and per package and vulnerability that a relationship joins."""
    report = Report("spdx", "SPDX-3 JSON")
    graph = list(report.objects(document.get("@graph"), "element"))
    kinds: dict[str, list[dict[str, Any]]] = {}
    for element in graph:
        kinds.setdefault(_kind(element), []).append(element)
    tools = texts([one.get("name") for one in kinds.get("Tool", [])])
    report.scanner = (first_match(r"^(.+?)(?:-v?\d\S*|-dev)?$", *tools) or "spdx").lower()
    report.reference = next((text(one.get("name")) for one in kinds.get("SpdxDocument", [])), None)
    report.attrs = {
        "scanned": next((text(one.get("created")) for one in kinds.get("CreationInfo", [])), None),
        "scanner_version": first_match(r"-(v?\d\S*|dev)$", *tools),
    }
    # an SBOM's root is the image; without other packages it is all there is
    roots = {name for one in kinds.get("Sbom", []) for name in texts(one.get("rootElement"))}
    packages, vulnerabilities = {}, {}
    for item in kinds.get("Package", []):
        purl = text(item.get("software_packageUrl")) or _identifier(item, "packageUrl", "purl")
        parsed = parse_purl(purl)
        row = {
            "package": item.get("name"),
            "version": item.get("software_packageVersion"),
            "purl": purl,
            "type": parsed.type if parsed else None,
            "path": first_match(r": (/\S+)$", item.get("software_sourceInfo")),
        }
        packages[_id(item)] = row
        if roots == {_id(item)} and len(kinds["Package"]) > 1:
            report.skip("what the document describes, not a package in it", finding="package", id=item.get("name"))
        else:
            report.add("package", purl or item.get("name"), **row)
    for item in kinds.get("Vulnerability", []):
        vulnerabilities[_id(item)] = {
            "id": _identifier(item, "cve", "securityOther") or text(item.get("name")),
            "title": item.get("description") or item.get("summary"),
            "published": item.get("security_publishedTime"),
        }
    pairs: dict[tuple[str, str], dict[str, Any]] = {}
    scores: dict[str, list[dict[str, Any]]] = {}
    for relation in graph:
        kind, ends = _kind(relation), [str(one) for one in sequence(relation.get("to"))] or [""]
        start = str(relation.get("from"))
        if kind == "Relationship" and relation.get("relationshipType") == "hasAssociatedVulnerability":
            for end in ends:
                pairs.setdefault((end, start), {})
        elif kind.startswith("Vex"):
            for end in ends:
                pairs.setdefault((start, end), {})["status"] = _VEX.get(kind)
                pairs[start, end]["why"] = relation.get("security_justificationType") or relation.get(
                    "security_impactStatement"
                )
        elif kind.startswith("Cvss"):
            measured = cvss(relation.get("security_vectorString"), relation.get("security_score"))
            scores.setdefault(start, []).append(measured | {"severity": severity(relation.get("security_severity"))})
        elif kind.startswith("Epss"):
            vulnerabilities.get(start, {})["epss"] = relation.get("security_probability")
        elif kind.startswith("ExploitCatalog"):
            vulnerabilities.get(start, {})["known_exploited"] = relation.get("security_exploited") is True
    joined = {vulnerability for vulnerability, _ in pairs}
    pairs |= {(vulnerability, ""): {} for vulnerability in vulnerabilities if vulnerability not in joined}
    for (vulnerability, package), said in pairs.items():
        facts, where = vulnerabilities.get(vulnerability, {"id": vulnerability}), packages.get(package, {})
        if said.get("status") in ("not_affected", "fixed"):
            report.skip(
                f"VEX in the report: {', '.join(texts([said['status'], said['why']]))}",
                finding="vulnerability",
                id=facts["id"],
                package=where.get("package"),
            )
            continue
        best = {"severity": "unknown"} | newest_cvss(scores.get(vulnerability, []))
        report.add("vulnerability", status=said.get("status"), **facts, **where, **best)
    return report


_VEX = {
    "VexAffectedVulnAssessmentRelationship": "affected",
    "VexFixedVulnAssessmentRelationship": "fixed",
    "VexNotAffectedVulnAssessmentRelationship": "not_affected",
    "VexUnderInvestigationVulnAssessmentRelationship": "under_investigation",
}


def _kind(element: dict[str, Any]) -> str:
    return str(element.get("type") or element.get("@type")).rpartition("_")[2]


def _id(element: dict[str, Any]) -> str:
    return str(element.get("spdxId") or element.get("@id"))


def _identifier(element: dict[str, Any], *kinds: str) -> str | None:
    listed = [mapping(one) for one in sequence(element.get("externalIdentifier"))]
    return next((text(one.get("identifier")) for one in listed if one.get("externalIdentifierType") in kinds), None)
