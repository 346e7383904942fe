"""Read SPDX JSON: 2.2 and 2.3 (packages, and the advisories that they name), 3.0 (also its security profile).

Fields as in the SPDX specifications, 2.3 annex F (external references) and the 3.0 model's Security profile.
"""

from __future__ import annotations

from collections import defaultdict

from imagelab.core.json_fields import Object, first, first_match, mapping, mappings, sequence, text, texts
from imagelab.security.scans.fields import WORDS, parse_purl
from imagelab.security.scans.findings import VULNERABILITY_ID, ScanReport, columns, cvss, newest_cvss, severity

_ROOT = "the subject of the document, not a package in it"
_VEX = WORDS["spdx_vex"]


def read_spdx(document: Object) -> ScanReport:
    """Read SPDX 2: a row per package, and per security advisory that a package refers to."""
    creation = mapping(document, "creationInfo")
    report = ScanReport(
        "spdx", f"{text(document.get('spdxVersion')) or 'SPDX-2'} JSON", text(document.get("name")), kind="sbom"
    )
    _name_tool(report, first_match(r"^Tool: (.+)$", *sequence(creation.get("creators"))))
    report.attrs["scanned"] = text(creation.get("created"))
    described = set(texts(document.get("documentDescribes"))) | {
        str(entry.get("relatedSpdxElement"))
        for entry in mappings(document.get("relationships"))
        if entry.get("relationshipType") == "DESCRIBES" and entry.get("spdxElementId") == "SPDXRef-DOCUMENT"
    }
    for item in report.objects(document.get("packages"), "packages"):
        notes = [entry.get("comment") for entry in mappings(item.get("annotations"))]
        if described == {text(item.get("SPDXID"))}:
            report.attrs |= {
                "image_id": first_match(r"^ImageID: (\S+)$", *notes),
                "digests": texts([first_match(r"^RepoDigest: (\S+)$", *notes)]),
                "tags": texts([first_match(r"^RepoTag: (\S+)$", *notes)]),
            }
            report.add("package", item.get("name"), suppressed=_ROOT)
            continue
        references = mappings(item.get("externalRefs"))
        purl = first(
            text(entry.get("referenceLocator")) for entry in references if entry.get("referenceType") == "purl"
        )
        row = {
            **columns("spdx-package", item),
            "purl": purl,
            "type": first_match(r"^PkgType: (.+)$", *notes) or _type(purl),
            "path": first_match(r": (/\S+)$", item.get("sourceInfo")) or item.get("packageFileName"),
            "diff_id": first_match(r"^LayerDiffID: (\S+)$", *notes),
            "layer_digest": first_match(r"^LayerDigest: (\S+)$", *notes),
        }
        licenses = texts([item.get("licenseConcluded"), item.get("licenseDeclared")])
        title = first(entry for entry in licenses if entry not in ("NOASSERTION", "NONE"))
        report.add("package", purl or item.get("name"), title=title, **row)
        for entry in references:
            if entry.get("referenceCategory") == "SECURITY" and entry.get("referenceType") in ("advisory", "url"):
                url = entry.get("referenceLocator")
                name = first_match(VULNERABILITY_ID, url) or url
                report.add("vulnerability", name, url=url, title=entry.get("comment"), severity="unknown", **row)
    return report


def is_spdx3(document: Object) -> bool:
    """Whether a document is SPDX 3."""
    return isinstance(document.get("@graph"), list) and "spdx-context" in str(document.get("@context"))


def read_spdx3(document: Object) -> ScanReport:
    """Read SPDX 3: a row per package (also AI models and data sets), and per pair of package and vulnerability."""
    report = ScanReport("spdx", "SPDX-3 JSON")
    graph = list(report.objects(document.get("@graph"), "@graph"))
    kinds: dict[str, list[Object]] = defaultdict(list)
    for element in graph:
        kinds[_kind(element)].append(element)
    _name_tool(report, first(texts([entry.get("name") for entry in kinds["Tool"]])))
    report.reference = first(text(entry.get("name")) for entry in kinds["SpdxDocument"])
    report.attrs["scanned"] = first(text(entry.get("created")) for entry in kinds["CreationInfo"])
    # an SBOM's root is the image, unless it is the only package
    roots = {name for entry in kinds["Sbom"] for name in texts(entry.get("rootElement"))}
    packages: dict[str, Object] = {}
    packaged = [*kinds["Package"], *kinds["AIPackage"], *kinds["DatasetPackage"]]
    for item in packaged:
        purl = text(item.get("software_packageUrl")) or _identifier(item, "packageUrl", "purl")
        row = packages[_id(item)] = {
            **columns("spdx3-package", item),
            "purl": purl,
            "type": _type(purl),
            "path": first_match(r": (/\S+)$", item.get("software_sourceInfo")),
        }
        is_root = roots == {_id(item)} and len(packaged) > 1
        report.add("package", purl or item.get("name"), suppressed=_ROOT if is_root else None, **row)
    vulnerabilities: dict[str, Object] = {
        _id(item): {
            **columns("spdx3-vulnerability", item),
            "id": _identifier(item, "cve", "securityOther") or text(item.get("name")),
        }
        for item in kinds["Vulnerability"]
    }
    pairs, scores = _assessments(graph, vulnerabilities)
    for (vulnerability, package), assessment in pairs.items():
        facts, where = vulnerabilities.get(vulnerability, {"id": vulnerability}), packages.get(package, {})
        status, reason = assessment.get("status"), None
        if status in ("not_affected", "fixed"):
            reason = "VEX in the report: " + ", ".join(texts([status, assessment["why"]]))
        rating = {"severity": "unknown"} | newest_cvss(scores[vulnerability])
        report.add("vulnerability", status=status, suppressed=reason, **facts, **where, **rating)
    report.kind = "scan" if pairs else "sbom"
    return report


def _assessments(
    graph: list[Object], vulnerabilities: dict[str, Object]
) -> tuple[dict[tuple[str, str], Object], dict[str, list[Object]]]:
    """The assessment of each vulnerability in each package, and its scores; EPSS and exploits go to the vulnerability."""
    pairs: dict[tuple[str, str], Object] = {}
    scores: dict[str, list[Object]] = defaultdict(list)
    for relation in graph:
        kind, start = _kind(relation), str(relation.get("from"))
        ends = [str(entry) for entry in sequence(relation.get("to"))] or [""]
        if kind == "Relationship" and relation.get("relationshipType") == "hasAssociatedVulnerability":
            for end in ends:
                pairs.setdefault((end, start), {})
        elif kind in _VEX:
            why = relation.get("security_justificationType") or relation.get("security_impactStatement")
            pairs |= {(start, end): {"status": _VEX[kind], "why": why} for end in ends}
        elif kind.startswith("Cvss"):
            measured = cvss(relation.get("security_vectorString"), relation.get("security_score"))
            scores[start].append(measured | {"severity": severity(relation.get("security_severity"))})
        elif kind.startswith("Epss"):
            vulnerabilities.get(start, {})["epss"] = relation.get("security_probability")
        elif kind.startswith("ExploitCatalog"):
            vulnerabilities.get(start, {})["known_exploited"] = relation.get("security_exploited") is True
    joined = {vulnerability for vulnerability, _ in pairs}
    return pairs | {(name, ""): {} for name in vulnerabilities if name not in joined}, scores


def _name_tool(report: ScanReport, tool: str | None) -> None:
    """Set the scanner's name and version, which SPDX joins with a dash."""
    report.scanner = (first_match(r"^(.+?)(?:-v?\d\S*|-dev)?$", tool) or report.scanner).lower()
    report.attrs["scanner_version"] = first_match(r"-(v?\d\S*|dev)$", tool)


def _type(purl: str | None) -> str | None:
    parsed = parse_purl(purl)
    return parsed.type if parsed else None


def _kind(element: Object) -> str:
    return str(element.get("type") or element.get("@type")).rpartition("_")[2]


def _id(element: Object) -> str:
    return str(element.get("spdxId") or element.get("@id"))


def _identifier(element: Object, *kinds: str) -> str | None:
    listed = mappings(element.get("externalIdentifier"))
    return first(text(entry.get("identifier")) for entry in listed if entry.get("externalIdentifierType") in kinds)
