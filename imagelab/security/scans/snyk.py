"""Read Snyk's JSON of an image or project (``snyk container test --json``): one object, or a list."""

from __future__ import annotations

from typing import Any

from imagelab.core.json_fields import Object, first, mapping, mappings, text, texts
from imagelab.security.scans.fields import first_cve
from imagelab.security.scans.findings import ScanReport, columns, cvss


def is_snyk(document: Any) -> bool:
    """Whether a document (or the first of a list) is Snyk's; a failed test has ``ok``, ``error`` and ``path``."""
    keys = mapping(first(document) if isinstance(document, list) else document).keys()
    return {"vulnerabilities", "packageManager"} <= keys or {"ok", "error", "path"} <= keys


def read_snyk(document: Any) -> ScanReport:
    """Read one row per vulnerability and package; Snyk repeats it for each dependency path."""
    projects = mappings(document) if isinstance(document, list) else [mapping(document)]
    report = ScanReport("snyk", "Snyk JSON", text(projects[0].get("path")) if projects else None)
    projects += [project for parent in projects for project in mappings(parent.get("applications"))]
    for project in projects:
        if project.get("error"):
            report.error("scan-failed", f"Snyk reports: {text(project['error'])}")
        seen: set[Any] = set()
        for item in report.objects(project.get("vulnerabilities"), "vulnerabilities"):
            _add(report, project, item, seen, None)
        for item in mappings(mapping(project, "filtered").get("ignore")):
            _add(report, project, item, seen, "ignored by Snyk's policy")
    return report


def _add(report: ScanReport, project: Object, item: Object, seen: set[Any], suppressed: str | None) -> None:
    key = tuple(text(item.get(name)) for name in ("id", "name", "version"))
    if key in seen:
        return
    seen.add(key)
    manager, identifiers = text(project.get("packageManager")), mapping(item, "identifiers")
    name = text(item.get("name")) or text(item.get("packageName")) or ""
    names = [*texts(identifiers.get("CVE")), *texts([item.get("id")]), *texts(identifiers.get("GHSA"))]
    report.add(
        "license" if item.get("type") == "license" else "vulnerability",
        first_cve(names),
        aliases=names,
        target=project.get("displayTargetFile") or project.get("targetFile"),
        package=name.rpartition("/")[2] if manager in ("deb", "apk", "rpm") else name,  # source/binary
        type=manager,
        fixed_version=item.get("nearestFixedInVersion") or ", ".join(texts(item.get("fixedIn"))),
        suppressed=suppressed,
        **columns("snyk", item),
        **cvss(item.get("CVSSv3"), item.get("cvssScore")),
    )
