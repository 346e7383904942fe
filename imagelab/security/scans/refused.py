"""Formats that are known by sight and not read, each with the export to ask for instead."""

from __future__ import annotations

import re
from typing import Any

from imagelab.core.json_fields import first, mapping, sequence
from imagelab.security.scans.gitlab import scan_type

_TRIVY = "Trivy's own JSON of the image (`trivy image --format json`)"
_GRYPE = "Grype's JSON (`grype -o json`)"
_SCOUT = "SARIF (`docker scout cves --format sarif`)"

#: What the beginning of a text that is no JSON holds, in this order.
_TEXTS = {
    r"^<[^>]*>?.*cyclonedx\.org/schema/bom": (
        "CycloneDX XML",
        "CycloneDX as JSON (`-o cyclonedx-json` with Syft or Grype)",
    ),
    r"^<.*<testsuite": ("JUnit XML", _TRIVY),
    r"docker scout|scout\.docker\.com|quickview|packages indexed|Base image +│": (
        "Docker Scout's text or Markdown",
        _SCOUT,
    ),
    r"^Target +│|^ *digest +│": ("Docker Scout's text", _SCOUT),
    r"^<": ("XML or HTML", "the scanner's JSON or SARIF"),
    r"^SPDXVersion:": ("SPDX tag-value", "SPDX as JSON (`-o spdx-json` with Syft, `--format spdx-json` with Trivy)"),
    r"^(?:hadolint:)?\S+:\d+:? (?:DL|SC)\d{4}|\"(?:patternId|check_name)\": ?\"(?:DL|SC)\d{4}\"": (
        "hadolint's text, or its list for Codacy or Code Climate",
        "its JSON or SARIF (`hadolint -f json`, `hadolint -f sarif`)",
    ),
    r"\APK\x03\x04": ("a zip archive", "the report that is in it"),
    r"\A(?:BZh|\ufffd7zXZ|\(\ufffd/\ufffd)": ("a compressed file", "the report unpacked, or packed with gzip"),
    r"\A(?=[^\n]*[,;][^\n]*[,;])[^\n{]*\bseverity\b": ("a scanner's CSV", "its JSON or SARIF"),
    r"^NAME +INSTALLED|^No vulnerabilities found": ("Grype's table", _GRYPE),
    r"[┌│]|^Total: \d": ("a scanner's table for people", "its JSON (`--format json` with Trivy, `-o json` with Grype)"),
}


def name_text(head: str) -> tuple[str, str] | None:
    """What a text that is no JSON looks like, and what to ask for; None where it is unknown."""
    start = head.lstrip("\ufeff \t\r\n")
    for pattern, answer in _TEXTS.items():
        # ^ is the text's start for markup, which may hold anything further down, and any line's start for the rest
        if re.search(pattern, start, re.I | (re.S if pattern.startswith("^<") else re.M)):
            return answer
    return None


def name_document(document: Any) -> tuple[str, str] | None:
    """What a JSON document that no reader takes looks like, and what to ask for; a list by its first object."""
    document = mapping(first(document) if isinstance(document, list) else document)
    kind, group = str(document.get("kind", "")), str(document.get("apiVersion", ""))
    items = str(document.get("items"))[:2000] if kind == "List" else ""
    if group.startswith("aquasecurity.github.io/") or "aquasecurity" in items:
        return f"a trivy-operator report ({kind})", _TRIVY
    if group and kind:
        return f"a Kubernetes object ({kind})", _TRIVY
    for keys, answer in _OBJECTS:
        if keys <= document.keys():
            return answer
    for key, keys, answer in _INSIDE:
        if keys <= mapping(first(sequence(document.get(key)))).keys():
            return answer
    for pattern, answer in _KEYS.items():
        if any(re.match(pattern, str(key)) for key in document):
            return answer
    if "modules" in mapping(document, "report"):
        return "a NeuVector report", _OTHER
    if (scan := scan_type(document)) and "vulnerabilities" in document:
        instead = "GitLab's container-scanning report (gl-container-scanning-report.json)"
        return f"a GitLab report of type {scan}", instead
    return None


_OTHER = "the image scanned with Trivy or Grype as JSON"
_SNYK = ("Snyk's JSON", "SARIF (`snyk container test IMAGE --sarif`)")
_ANCHORE = ("an Anchore Enterprise or Anchore Engine report", f"{_GRYPE}, which has the same database")
_AQUA = ("an Aqua report", _TRIVY)
_CLAIR = ("a Clair report", _OTHER)
_HARBOR = ("a Harbor report", "the report of Harbor's scanner itself: " + _TRIVY)
_JFROG = ("a JFrog Xray report", "SARIF (`jf docker scan --format sarif`)")
_PRISMA = ("a Prisma Cloud (Twistlock) report", _OTHER)
_OSV = ("OSV-Scanner's JSON", "SARIF (`osv-scanner --format sarif`)")
_CHECKOV = ("Checkov's JSON", "SARIF (`checkov -o sarif`)")
_OBJECTS: list[tuple[set[str], tuple[str, str]]] = [
    ({"ClusterName"}, ("Trivy's Kubernetes report", _TRIVY)),
    ({"SummaryControls"}, ("Trivy's compliance report", _TRIVY)),
    ({"ID", "Title", "Results"}, ("Trivy's compliance report", _TRIVY)),
    ({"detector", "manifests"}, ("a GitHub dependency snapshot", _TRIVY)),
    ({"vulnerabilities", "packageManager"}, _SNYK),
    ({"vulnerabilities", "ok", "dependencyCount"}, _SNYK),
    (
        {"artifacts", "artifactRelationships"},
        ("Syft's own JSON (packages, no findings)", "CycloneDX (`syft -o cyclonedx-json`), or Grype's JSON"),
    ),
    ({"imageDigest", "vulnerability_type"}, _ANCHORE),
    ({"imageDigest", "vulnerabilities"}, _ANCHORE),
    ({"securityEvaluation"}, _ANCHORE),
    ({"unapproved", "vulnerabilities"}, _CLAIR),
    ({"LayerCount", "Vulnerabilities"}, _CLAIR),
    ({"manifest_hash", "vulnerabilities"}, _CLAIR),
    ({"Layer"}, _CLAIR),
    ({"dockerbenchsecurity"}, ("a docker-bench-security report", "`imagelab harden`, which checks the image itself")),
    ({"summary", "details"}, ("dockle's JSON", "SARIF (`dockle -f sarif`)")),
    ({"image_assurance_results"}, _AQUA),
    ({"resources", "vulnerability_summary"}, _AQUA),
    ({"cves"}, _AQUA),
    ({"pagesize", "result"}, _AQUA),
    ({"panels", "schedule"}, ("a Sysdig report", _OTHER)),
    ({"data", "page"}, ("a page of an API (Sysdig, Quay or Docker Hub)", _OTHER)),
    ({"Findings"}, ("AWS Security Hub findings", _TRIVY)),
    ({"imageScanFindings"}, ("an Amazon ECR report", _OTHER)),
    ({"consoleURL", "results"}, _PRISMA),
    ({"generated_at", "scanner", "vulnerabilities"}, _HARBOR),
    ({"total_rows", "rows"}, _JFROG),
    ({"policyId", "evaluations"}, _ANCHORE),
    ({"check_type", "results"}, _CHECKOV),
    ({"results", "errors", "paths"}, ("Semgrep's JSON", "SARIF (`semgrep --sarif`)")),
    ({"auditReportVersion", "vulnerabilities"}, ("npm's audit report", _TRIVY)),
    ({"dependencies", "fixes"}, ("pip-audit's JSON", "CycloneDX (`pip-audit -f cyclonedx-json`)")),
    ({"reportSchema", "scanInfo"}, ("an OWASP Dependency-Check report", "SARIF (`--format SARIF`)")),
    ({"payloadType", "payload"}, ("a signed attestation (DSSE)", "what it holds (`jq -r .payload FILE | base64 -d`)")),
    ({"@context", "statements"}, ("an OpenVEX document", "`il.suppress(scan, file)`, which applies it to a scan")),
    ({"vuln", "feed"}, _ANCHORE),
    ({"check_name", "fingerprint", "location"}, ("GitLab's code-quality report", "the scanner's own JSON, or SARIF")),
    ({"finalAction"}, _ANCHORE),
    ({"image_name", "results"}, _AQUA),
    ({"RuleID", "StartLine"}, ("gitleaks' JSON", "SARIF (`gitleaks --report-format sarif`)")),
    ({"scan_id", "component_id"}, _JFROG),
    ({"ProductArn"}, ("AWS Security Hub findings", _TRIVY)),
    ({"Id", "RepoTags"}, ("the output of `docker inspect`", "a scanner's report")),
    ({"Config", "Layers"}, ("an image's manifest.json", "a scanner's report")),
    ({"document", "product_tree"}, ("a CSAF advisory", "OpenVEX for `il.suppress`, or a scanner's report")),
]
#: What tells itself by the form of a key.
_KEYS = {r"application/vnd\..*(?:harbor|vuln)": _HARBOR, "sha256:": _ANCHORE}
#: What tells itself only by the first object in one of its lists.
_INSIDE: list[tuple[str, set[str], tuple[str, str]]] = [
    ("results", {"vulnerabilityDistribution"}, _PRISMA),
    ("results", {"source", "packages"}, _OSV),
    ("resources", {"resource", "vulnerabilities"}, _AQUA),
    ("artifacts", {"general"}, _JFROG),
    ("issues", {"engineId", "ruleId"}, ("SonarQube's list of external issues", "the scanner's own JSON, or SARIF")),
]
