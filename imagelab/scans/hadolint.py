"""hadolint's JSON: one object per broken rule."""

from __future__ import annotations

from typing import Any

from imagelab.scans.findings import Report, text

#: hadolint's levels in our words.
_LEVELS = {"error": "high", "warning": "medium", "info": "low", "style": "negligible"}


def read_hadolint(document: list[Any]) -> Report:
    """Rows of the rules broken, each with the Dockerfile's line in its path."""
    report = Report("hadolint", "hadolint JSON")
    for item in report.objects(document, "misconfiguration"):
        file, line = text(item.get("file")), item.get("line")
        code = text(item.get("code")) or ""
        report.add(
            "misconfiguration",
            item.get("code"),
            reference=file,
            target=file,
            type="dockerfile",
            path=f"{file}:{line}" if file and isinstance(line, int) else file,
            status="affected",
            severity=_LEVELS.get(str(item.get("level")), "unknown"),
            severity_source="level",
            title=item.get("message"),
            url=f"https://github.com/hadolint/hadolint/wiki/{code}" if code.startswith("DL") else None,
        )
    return report


def is_hadolint(document: Any) -> bool:
    """Whether the document is a list of hadolint's objects."""
    return (
        isinstance(document, list)
        and bool(document)
        and all(isinstance(item, dict) and {"code", "level", "line"} <= item.keys() for item in document)
    )
