"""CycloneDX JSON, 1.2 to 1.7: components as packages, and vulnerabilities (since 1.4) with what they affect.

Fields as in CycloneDX's JSON schemas; layers and paths from the properties that Trivy and Syft add.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from imagelab.scans.findings import (
    SEVERITIES,
    Report,
    best_link,
    cvss,
    first_match,
    mapping,
    newest_cvss,
    number,
    parse_purl,
    score_severity,
    sequence,
    severity,
    text,
    texts,
)

PACKAGE_TYPES = (
    "application",
    "container",
    "device",
    "device-driver",
    "firmware",
    "framework",
    "library",
    "operating-system",
    "platform",
)
#: Rating methods (schema: scoreMethod) that are CVSS, each with its version.
_CVSS_METHODS = {"CVSSv2": "2.0", "CVSSv3": "3.0", "CVSSv31": "3.1", "CVSSv4": "4.0"}
#: Analysis states that say: not a problem here (schema: impactAnalysisState).
_HARMLESS = ("not_affected", "false_positive", "resolved", "resolved_with_pedigree")


def read_cyclonedx(document: dict[str, Any]) -> Report:
    """One row per component (finding ``package``) and one per vulnerability and component that it affects."""
    metadata = mapping(document.get("metadata"))
    root = mapping(metadata.get("component"))
    report = Report(
        _tool(metadata.get("tools")) or "cyclonedx",
        f"CycloneDX {text(document.get('specVersion')) or ''} JSON".replace("  ", " "),
    )
    report.reference = text(root.get("name"))
    properties = _properties(root)
    report.attrs = {
        "scanner_version": _tool(metadata.get("tools"), "version"),
        "scanned": text(metadata.get("timestamp")),
        "image_id": properties.get("aquasecurity:trivy:ImageID"),
        "digests": [
            digest
            for digest in texts([properties.get("aquasecurity:trivy:RepoDigest"), root.get("version")])
            if "sha256:" in digest  # an application's version is none
        ],
        "tags": texts([properties.get("aquasecurity:trivy:RepoTag")]),
    }
    components = {text(root.get("bom-ref")): _package(root)}
    pending = [document.get("components"), root.get("components")]
    while pending:
        for component in report.objects(pending.pop(0), "package"):
            pending.append(component.get("components"))
            row = _package(component)
            components[text(component.get("bom-ref"))] = row
            if text(component.get("type")) in (None, *PACKAGE_TYPES):
                licenses = [mapping(one) for one in sequence(component.get("licenses"))]
                names = texts(
                    [
                        mapping(one.get("license")).get("id")
                        or mapping(one.get("license")).get("name")
                        or one.get("expression")
                        for one in licenses
                    ]
                )
                report.add("package", row["purl"] or row["package"], title=", ".join(names), **row)
            else:
                report.skip(
                    f"a component of type {text(component.get('type'))}, not a package",
                    finding="package",
                    id=component.get("name"),
                )
    components[None] = {}  # what has no name is referred to by nothing
    for item in report.objects(document.get("vulnerabilities"), "vulnerability"):
        affected = [text(mapping(one).get("ref")) for one in sequence(item.get("affects"))]
        affected = affected or [text(item.get("bom-ref"))]  # Xray gives it the package's own
        for ref in affected:
            package = components.get(ref) or components.get(_local(ref))
            purl = parse_purl(ref) or parse_purl(_local(ref))  # a reference to what is not in the file is often one
            _vulnerability(report, item, package or (_package({**purl.to_dict(), "purl": str(purl)}) if purl else {}))
    return report


def _local(ref: str | None) -> str:
    """The bom-ref at the end of a BOM-Link (``urn:cdx:serial/version#ref``)."""
    return unquote((ref or "").rpartition("#")[2])


def _tool(tools: Any, key: str = "name") -> str | None:
    """Of a list (before 1.5) or of ``tools.components``."""
    listed = sequence(tools) or sequence(mapping(tools).get("components")) or sequence(mapping(tools).get("services"))
    found = text(mapping(next(iter(listed), None)).get(key))
    return found.lower() if found and key == "name" else found


def _properties(component: dict[str, Any]) -> dict[str, str | None]:
    pairs = [mapping(one) for one in sequence(component.get("properties"))]
    return {str(pair.get("name")): text(pair.get("value")) for pair in reversed(pairs)}


def _package(component: dict[str, Any]) -> dict[str, Any]:
    properties, purl = _properties(component), text(component.get("purl"))
    parsed = parse_purl(purl)
    name, group = text(component.get("name")), text(component.get("group"))
    return {
        "package": f"{group}/{name}" if group and name else name,
        "version": component.get("version"),
        "purl": purl,
        "type": properties.get("syft:package:type")
        or properties.get("aquasecurity:trivy:PkgType")
        or (parsed.type if parsed else component.get("type")),
        "path": properties.get("aquasecurity:trivy:FilePath") or properties.get("syft:location:0:path"),
        "diff_id": properties.get("aquasecurity:trivy:LayerDiffID") or properties.get("syft:location:0:layerID"),
        "layer_digest": properties.get("aquasecurity:trivy:LayerDigest"),
    }


def _vulnerability(report: Report, item: dict[str, Any], package: dict[str, Any]) -> None:
    analysis, source = mapping(item.get("analysis")), mapping(item.get("source"))
    ratings = [mapping(one) for one in sequence(item.get("ratings"))]
    scored = [one for one in ratings if _version(one)]
    epss = [
        one.get("score")
        for one in ratings
        if mapping(one.get("source")).get("name") in ("FIRST", "EPSS") and one not in scored
    ]
    said = [one for one in ratings if one.get("severity")]
    said.sort(
        key=lambda one: (
            mapping(one.get("source")).get("name") != source.get("name"),
            (text(mapping(one.get("source")).get("name")) or "").lower() != "nvd",
            -SEVERITIES.index(severity(one.get("severity"))),
        )
    )
    rating = said[0] if said else {}
    state = text(analysis.get("state"))
    if state in _HARMLESS:
        why = ", ".join(texts([state, analysis.get("justification"), analysis.get("detail")]))
        report.skip(
            f"analysis in the report: {why}", finding="vulnerability", id=item.get("id"), package=package.get("package")
        )
        return
    references = [mapping(one) for one in sequence(item.get("references"))]
    # Trivy's source is a whole database
    links = [source.get("url"), *(mapping(one).get("url") for one in sequence(item.get("advisories")))]
    measured = newest_cvss([_measured(one) for one in scored])
    report.add(
        "vulnerability",
        item.get("id"),
        aliases=texts([one.get("id") for one in references]),
        fixed_version=_fixed(item.get("recommendation"), package) or _properties(item).get("grype:fixed_versions"),
        status=state,
        severity=severity(rating["severity"]) if rating else score_severity(measured["cvss_score"]),
        severity_source=mapping(rating.get("source")).get("name") or source.get("name"),
        epss=number(next(iter(epss), None)),
        title=item.get("description") or item.get("detail"),
        url=best_link(item.get("id"), links),
        published=item.get("published"),
        **package,
        **measured,
    )


def _version(rating: dict[str, Any]) -> str | None:
    """The CVSS version of a rating; None where it is no CVSS."""
    vector = text(rating.get("vector")) or ""
    return vector[5:8] if vector.startswith("CVSS:") else _CVSS_METHODS.get(text(rating.get("method")) or "")


def _measured(rating: dict[str, Any]) -> dict[str, Any]:
    """A rating's CVSS; many tools write the vector without its beginning, which the method tells."""
    version, vector = _version(rating), text(rating.get("vector"))
    if vector and version != "2.0" and not vector.startswith("CVSS:"):
        vector = f"CVSS:{version}/{vector}"
    measured = cvss(vector, rating.get("score"))
    return measured | {"cvss_version": measured["cvss_version"] or version}


def _fixed(recommendation: Any, package: dict[str, Any]) -> str | None:
    """The version to upgrade to. Trivy recommends for all affected packages in one line."""
    advice = (text(recommendation) or "").split("; Upgrade ")
    if len(advice) > 1:
        name = package.get("package") or ""
        advice = [line for line in advice if line.removeprefix("Upgrade ").partition(" ")[0].replace(":", "/") == name]
    return first_match(r"\bto (?:versions? )?(\S.*?)(?: or (?:higher|later|newer|above))?\.?$", *advice)
