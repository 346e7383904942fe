"""Read OSV-Scanner's JSON (with image layers since 2.0) and govulncheck's stream of messages.

Fields as in the OSV schema, OSV-Scanner's ``pkg/models`` and govulncheck's ``internal/govulncheck``.
"""

from __future__ import annotations

from typing import Any

from imagelab.core.json_fields import Object, first, mapping, mappings, number, text, texts
from imagelab.security.scans.fields import first_cve
from imagelab.security.scans.findings import ScanReport, columns, cvss, newest_cvss, score_severity, severity


def is_osv(document: Object) -> bool:
    """Whether a document is OSV-Scanner's."""
    known = {"experimental_config", "image_metadata"} & document.keys()
    results = mappings(document.get("results"))
    return "results" in document and (
        bool(known) or (bool(results) and all({"source", "packages"} <= item.keys() for item in results))
    )


def read_osv(document: Object) -> ScanReport:
    """Read one row per package and group of aliases, as OSV-Scanner counts them."""
    report = ScanReport("osv-scanner", "OSV-Scanner JSON")
    layers = mappings(mapping(document, "image_metadata").get("layer_metadata"))
    for result in report.objects(document.get("results"), "results"):
        path = text(mapping(result, "source").get("path"))
        for item in report.objects(result.get("packages"), "packages"):
            package, entries = mapping(item, "package"), mappings(item.get("vulnerabilities"))
            index = mapping(package, "image_origin_details").get("index")
            layer = layers[index] if type(index) is int and 0 <= index < len(layers) else {}
            by_id = {text(entry.get("id")): entry for entry in entries}
            groups = mappings(item.get("groups")) or [{"ids": [entry.get("id")]} for entry in entries]
            for group in groups:
                members = [by_id[name] for name in texts(group.get("ids")) if name in by_id]
                score = number(group.get("max_severity"))
                facts = _entry(first(members) or {}, package, score)
                names = [*texts(group.get("ids")), *texts(group.get("aliases")), *facts.pop("aliases")]
                where = path.partition(":")[2] or path if path and path.startswith("lockfile:") else path
                report.add(
                    "vulnerability",
                    first_cve(names),
                    aliases=names,
                    **columns("osv-package", package),
                    type=(text(package.get("ecosystem")) or "").partition(":")[0] or None,
                    path=where,
                    diff_id=layer.get("diff_id"),
                    **facts,
                )
    return report


def is_govulncheck(document: Any) -> bool:
    """Whether a list of messages is govulncheck's."""
    return "protocol_version" in mapping(first(mappings(document)), "config")


def read_govulncheck(messages: list[Any]) -> ScanReport:
    """Read one row per vulnerability and module; an ``osv`` message without finding is not one."""
    report = ScanReport("govulncheck", "govulncheck JSON")
    report.describe("govulncheck-report", mapping(first(mappings(messages))))
    entries = {
        text(mapping(message, "osv").get("id")): mapping(message, "osv")
        for message in mappings(messages)
        if "osv" in message
    }
    seen = set()
    for message in report.objects(messages, "the stream"):
        finding = mapping(message, "finding")
        frame = mapping(first(mappings(finding.get("trace"))))
        key = (text(finding.get("osv")), text(frame.get("module")), text(frame.get("version")))
        if not finding or key in seen:
            continue
        seen.add(key)
        facts = _entry(entries.get(key[0], {}), {"name": key[1]}, None)
        names = [name for name in [key[0], *facts.pop("aliases")] if name]
        facts["fixed_version"] = finding.get("fixed_version")
        report.add(
            "vulnerability", first_cve(names), aliases=names, package=key[1], version=key[2], type="golang", **facts
        )
    return report


def _entry(entry: Object, package: Object, score: float | None) -> Object:
    """The columns of an OSV entry, for one package."""
    affected = [
        item for item in mappings(entry.get("affected")) if mapping(item, "package").get("name") == package.get("name")
    ]
    events = [
        event
        for item in affected
        for interval in mappings(item.get("ranges"))
        for event in mappings(interval.get("events"))
    ]
    measured = newest_cvss([cvss(item.get("score")) for item in mappings(entry.get("severity"))])
    word = severity(mapping(entry, "database_specific").get("severity"))
    score = measured["cvss_score"] if score is None else score
    return (
        columns("osv", entry)
        | measured
        | {
            "aliases": [*texts(entry.get("aliases")), *texts(entry.get("upstream"))],
            "fixed_version": ", ".join(dict.fromkeys(texts([event.get("fixed") for event in events]))),
            "severity": score_severity(score) if score is not None else word,
            "url": first(texts([item.get("url") for item in mappings(entry.get("references"))])),
        }
    )
