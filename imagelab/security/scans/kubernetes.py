"""Read Trivy's reports on clusters: ``trivy k8s --format json``, and trivy-operator's custom resources."""

from __future__ import annotations

from typing import Any

from imagelab.core.json_fields import Object, mapping, mappings, text, texts
from imagelab.security.scans.findings import ScanReport
from imagelab.security.scans.trivy import read_results

_GROUP = "aquasecurity.github.io/"


def is_cluster_report(document: Object) -> bool:
    """Whether a document is one of Trivy's reports on a cluster."""
    items = mappings(document.get("items")) if document.get("kind") == "List" else [document]
    operator = bool(items) and all(str(item.get("apiVersion")).startswith(_GROUP) for item in items)
    return operator or {"ClusterName", "Resources"} <= document.keys()


def read_cluster_report(document: Object) -> ScanReport:
    """Read the results of every resource, with ``Kind/name`` as the reference."""
    report = ScanReport("trivy", "Trivy Kubernetes JSON")
    for item in report.objects(document.get("Resources"), "Resources"):
        report.reference = "/".join(texts([item.get("Namespace"), item.get("Kind"), item.get("Name")]))
        if error := text(item.get("Error")):
            report.error("scan-failed", f"{report.reference}: {error}")
        read_results(report, item.get("Results"))
    if "Resources" not in document:
        report.format = "trivy-operator report"
        for item in mappings(document.get("items")) or [document]:
            facts = mapping(item, "report")
            artifact = mapping(facts, "artifact")
            names = texts([artifact.get("repository"), artifact.get("tag")])
            report.reference = ":".join(names) or text(mapping(item, "metadata").get("name"))
            read_results(report, [_result(facts)])
    return report


def _result(facts: Object) -> Object:
    """A report of the operator in the form of Trivy's own result."""
    return {
        "Target": None,
        "Vulnerabilities": [
            _renamed(item, {"resource": "PkgName", "primaryLink": "PrimaryURL", "publishedDate": "PublishedDate"})
            | {"PkgIdentifier": {"PURL": item.get("packagePURL")}}
            for item in mappings(facts.get("vulnerabilities"))
        ],
        "Misconfigurations": [
            _renamed(item, {"checkID": "ID"})
            | {
                "Status": "PASS" if item.get("success") is True else "FAIL",
                "Message": "; ".join(texts(item.get("messages"))),
            }
            for item in mappings(facts.get("checks"))
        ],
        "Secrets": [_renamed(item, {"ruleID": "RuleID"}) for item in mappings(facts.get("secrets"))],
    }


def _renamed(item: Object, names: dict[str, str]) -> dict[str, Any]:
    """Fields in Trivy's spelling: the operator begins them with a small letter."""
    return {names.get(key, key[:1].upper() + key[1:]): value for key, value in item.items()}
