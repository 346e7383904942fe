"""Recognise formats that are not supported, and name the export to use instead (``refused.toml``)."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from imagelab.core.json_fields import first, mapping, sequence
from imagelab.security.scans.gitlab import scan_type

Refusal = tuple[str, str]
"""What the file is, and the export to use instead."""


@cache
def _table() -> dict[str, list[dict[str, Any]]]:
    return tomllib.loads(Path(__file__).with_name("refused.toml").read_text("utf-8"))


def _answer(entry: dict[str, Any]) -> Refusal:
    return entry["name"], entry["instead"]


def name_text(head: str) -> Refusal | None:
    """What a text that is not JSON looks like; None if it is unknown."""
    start = head.lstrip("\ufeff \t\r\n")
    for entry in _table()["text"]:
        # ^ means the start of the text for markup, which may contain anything, and of any line for the rest
        pattern = entry["pattern"]
        if re.search(pattern, start, re.I | (re.S if pattern.startswith("^<") else re.M)):
            return _answer(entry)
    return None


def name_document(document: Any) -> Refusal | None:
    """What a JSON document without a reader looks like; a list by its first object."""
    document = mapping(first(document) if isinstance(document, list) else document)
    if document.get("apiVersion") and document.get("kind"):
        return (
            f"a Kubernetes object ({document['kind']})",
            "Trivy's own JSON of the image (`trivy image --format json`)",
        )
    for entry in _table()["object"]:
        if document.keys() >= set(entry["keys"]):
            return _answer(entry)
    for entry in _table()["inside"]:
        if mapping(first(sequence(document.get(entry["list"])))).keys() >= set(entry["keys"]):
            return _answer(entry)
    for entry in _table()["key"]:
        if any(re.match(entry["pattern"], str(key)) for key in document):
            return _answer(entry)
    if "modules" in mapping(document, "report"):
        return "a NeuVector report", "the image scanned with Trivy or Grype as JSON"
    if (scan := scan_type(document)) and "vulnerabilities" in document:
        instead = "GitLab's container-scanning report (gl-container-scanning-report.json)"
        return f"a GitLab report of type {scan}", instead
    return None
