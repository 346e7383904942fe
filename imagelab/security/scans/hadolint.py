"""Read hadolint's JSON: one object per broken rule."""

from __future__ import annotations

from typing import Any

from imagelab.core.json_fields import mappings, text
from imagelab.security.scans.fields import at_line
from imagelab.security.scans.findings import ScanReport, columns, level_severity


def is_hadolint(document: Any) -> bool:
    """Whether the document is a list of hadolint's objects."""
    rules = mappings(document)
    return bool(rules) and all({"code", "level", "line"} <= rule.keys() for rule in rules)


def read_hadolint(document: list[Any]) -> ScanReport:
    """Read the broken rules, each with the Dockerfile's line in its path."""
    report = ScanReport("hadolint", "hadolint JSON")
    for item in report.objects(document, "the list"):
        code = text(item.get("code")) or ""
        report.add(
            "misconfiguration",
            code,
            type="dockerfile",
            path=at_line(item.get("file"), item.get("line")),
            status="affected",
            severity=level_severity(item.get("level")),
            severity_source="level",
            **columns("hadolint", item),
            url=f"https://github.com/hadolint/hadolint/wiki/{code}" if code.startswith("DL") else None,
        )
    return report
