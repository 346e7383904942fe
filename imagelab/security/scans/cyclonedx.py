"""Read CycloneDX JSON, 1.2 to 1.7: components as packages, and vulnerabilities (since 1.4) with what they affect.

Fields as in CycloneDX's JSON schemas; layers and paths from the properties that Trivy and Syft add.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from imagelab.core.json_fields import Object, first, first_match, mapping, mappings, text, texts
from imagelab.core.terms import SEVERITIES
from imagelab.security.scans.fields import WORDS, best_link, parse_purl
from imagelab.security.scans.findings import ScanReport, columns, cvss, newest_cvss, score_severity, severity

#: Component types (schema: type) that are software; files, data and models are not packages.
PACKAGE_TYPES = WORDS["cyclonedx"]["packages"].split()
#: Rating methods (schema: scoreMethod) that are CVSS, each with its version.
_CVSS_METHODS = {"CVSSv2": "2.0", "CVSSv3": "3.0", "CVSSv31": "3.1", "CVSSv4": "4.0"}
#: Analysis states of a vulnerability that does not apply (schema: impactAnalysisState).
_HARMLESS = [state for state, status in WORDS["cyclonedx_state"].items() if status != "affected"]


def read_cyclonedx(document: Object) -> ScanReport:
    """Read one row per component (finding ``package``), and one per vulnerability and affected component."""
    metadata, root = mapping(document, "metadata"), mapping(document, "metadata", "component")
    tool, properties = _tool(metadata.get("tools")), _properties(root)
    report = ScanReport(
        (text(tool.get("name")) or "cyclonedx").lower(),
        " ".join(texts(["CycloneDX", document.get("specVersion")])),
        text(root.get("name")),
    )
    # an application's version is not a digest
    digests = texts([properties.get("aquasecurity:trivy:RepoDigest"), root.get("version")])
    report.attrs = {
        "scanner_version": text(tool.get("version")),
        "scanned": text(metadata.get("timestamp")),
        "image_id": properties.get("aquasecurity:trivy:ImageID"),
        "digests": [digest for digest in digests if "sha256:" in digest],
        "tags": texts([properties.get("aquasecurity:trivy:RepoTag")]),
    }
    components = {text(root.get("bom-ref")): _package(root)}
    pending = [document.get("components"), root.get("components")]
    while pending:
        for component in report.objects(pending.pop(0), "components"):
            pending.append(component.get("components"))
            package = components[text(component.get("bom-ref"))] = _package(component)
            kind = text(component.get("type"))
            reason = None if kind in (None, *PACKAGE_TYPES) else f"a component of type {kind}, not a package"
            name, title = package["purl"] or package["package"], _licenses(component)
            report.add("package", name, title=title, suppressed=reason, **package)
    components[None] = {}  # nothing refers to a component without bom-ref
    for item in report.objects(document.get("vulnerabilities"), "vulnerabilities"):
        affected = [text(entry.get("ref")) for entry in mappings(item.get("affects"))]
        for ref in affected or [text(item.get("bom-ref"))]:  # Xray uses the package's bom-ref
            local = unquote((ref or "").rpartition("#")[2])  # the end of a BOM-Link (urn:cdx:serial/version#ref)
            package = components.get(ref) or components.get(local) or {}
            purl = parse_purl(ref) or parse_purl(local)  # a reference to a component outside the file is often a purl
            if purl and not package:
                package = _package({**purl.to_dict(), "purl": str(purl)})
            _vulnerability(report, item, package)
    report.kind = "scan" if any(row["finding"] == "vulnerability" for row in report.rows) else "sbom"
    return report


def _tool(tools: Any) -> Object:
    """The first of a list (before 1.5), of ``tools.components`` or of ``tools.services``."""
    inside = mapping(tools)
    return first(mappings(tools) or mappings(inside.get("components")) or mappings(inside.get("services"))) or {}


def _licenses(component: Object) -> str:
    choices = [(mapping(choice, "license"), choice.get("expression")) for choice in mappings(component.get("licenses"))]
    return ", ".join(texts([license.get("id") or license.get("name") or expression for license, expression in choices]))


def _properties(component: Object) -> dict[str, str | None]:
    return {str(pair.get("name")): text(pair.get("value")) for pair in reversed(mappings(component.get("properties")))}


def _package(component: Object) -> Object:
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


def _vulnerability(report: ScanReport, item: Object, package: Object) -> None:
    analysis, source = mapping(item, "analysis"), mapping(item, "source")
    state = text(analysis.get("state"))
    analysed = ", ".join(texts([state, analysis.get("justification"), analysis.get("detail")]))
    ratings = mappings(item.get("ratings"))
    rating = _rating(ratings, source.get("name"))
    measured = newest_cvss([_measured(entry) for entry in ratings if _version(entry)])
    epss = [
        entry for entry in ratings if mapping(entry, "source").get("name") in ("FIRST", "EPSS") and not _version(entry)
    ]
    # Trivy's source is the URL of a whole database
    links = [source.get("url"), *(entry.get("url") for entry in mappings(item.get("advisories")))]
    report.add(
        "vulnerability",
        aliases=texts([entry.get("id") for entry in mappings(item.get("references"))]),
        fixed_version=_fixed(item.get("recommendation"), package) or _properties(item).get("grype:fixed_versions"),
        status=state,
        severity=severity(rating["severity"]) if rating else score_severity(measured["cvss_score"]),
        severity_source=mapping(rating, "source").get("name") or source.get("name"),
        epss=epss[0].get("score") if epss else None,
        url=best_link(item.get("id"), links),
        **columns("cyclonedx", item),
        suppressed=f"analysis in the report: {analysed}" if state in _HARMLESS else None,
        **package,
        **measured,
    )


def _rating(ratings: list[Object], source: Any) -> Object:
    """The rating of the vulnerability's own source, else NVD's, else the highest."""

    def rank(entry: Object) -> tuple[bool, bool, int]:
        name = mapping(entry, "source").get("name")
        return name != source, (text(name) or "").lower() != "nvd", -SEVERITIES.index(severity(entry.get("severity")))

    return min((entry for entry in ratings if entry.get("severity")), key=rank, default={})


def _version(rating: Object) -> str | None:
    """The CVSS version of a rating; None if its method is not CVSS."""
    vector = text(rating.get("vector")) or ""
    return vector[5:8] if vector.startswith("CVSS:") else _CVSS_METHODS.get(text(rating.get("method")) or "")


def _measured(rating: Object) -> Object:
    """A rating's CVSS; many tools omit the vector's prefix, which the method names."""
    version, vector = _version(rating), text(rating.get("vector"))
    if vector and version != "2.0" and not vector.startswith("CVSS:"):
        vector = f"CVSS:{version}/{vector}"
    measured = cvss(vector, rating.get("score"))
    return measured | {"cvss_version": measured["cvss_version"] or version}


def _fixed(recommendation: Any, package: Object) -> str | None:
    """The version to upgrade to. Trivy writes the advice for all affected packages in one line."""
    advice = (text(recommendation) or "").split("; Upgrade ")
    if len(advice) > 1:
        name = package.get("package") or ""
        advice = [line for line in advice if line.removeprefix("Upgrade ").partition(" ")[0].replace(":", "/") == name]
    return first_match(r"\bto (?:versions? )?(\S.*?)(?: or (?:higher|later|newer|above))?\.?$", *advice)
