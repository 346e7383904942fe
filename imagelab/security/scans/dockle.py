"""Read dockle's JSON: one object per checkpoint that did not pass."""

from __future__ import annotations

from imagelab.core.json_fields import Object, mapping, text, texts
from imagelab.security.scans.findings import ScanReport, level_severity


def is_dockle(document: Object) -> bool:
    """Whether a document is dockle's."""
    return "details" in document and {"fatal", "pass"} <= mapping(document, "summary").keys()


def read_dockle(document: Object) -> ScanReport:
    """Read the checkpoints; those that dockle skipped or ignored are suppressed rows."""
    report = ScanReport("dockle", "dockle JSON", text(document.get("image")))
    for item in report.objects(document.get("details"), "details"):
        level = text(item.get("level")) or ""
        report.add(
            "misconfiguration",
            item.get("code"),
            severity=level_severity(level),
            severity_source="level",
            title=": ".join(texts([item.get("title"), "; ".join(texts(item.get("alerts")))])),
            suppressed=None if level in ("FATAL", "WARN", "INFO") else f"dockle's level: {level}",
        )
    return report
