"""Convert SPDX 2 tag-value text to the JSON form, which `spdx` reads."""

from __future__ import annotations

import re
from typing import Any

from imagelab.security.scans.fields import WORDS

_PACKAGE = WORDS["spdx_tags"]


def spdx_from_tags(content: str) -> dict[str, Any]:
    """The document as JSON has it; sections of files and snippets are left out."""
    document: dict[str, Any] = {"packages": [], "relationships": [], "creationInfo": {"creators": []}}
    section: dict[str, Any] = {}
    for tag, long, short in re.findall(r"^(\w+):[ \t]*(?:<text>(.*?)</text>|([^\n]*))", content, re.M | re.S):
        value = (long or short).strip()
        if tag == "PackageName":
            section = {"name": value, "externalRefs": [], "annotations": []}
            document["packages"].append(section)
        elif tag in ("FileName", "SnippetSPDXID"):
            section = {}
        elif tag == "Relationship" and len(parts := value.split()) == 3:
            names = ("spdxElementId", "relationshipType", "relatedSpdxElement")
            document["relationships"].append(dict(zip(names, parts, strict=True)))
        elif tag == "ExternalRef" and section and len(parts := value.split(maxsplit=2)) == 3:
            names = ("referenceCategory", "referenceType", "referenceLocator")
            section["externalRefs"].append(dict(zip(names, parts, strict=True)))
        elif tag == "AnnotationComment" and section:
            section["annotations"].append({"comment": value})
        elif tag in _PACKAGE and section:
            section[_PACKAGE[tag]] = value
        elif tag == "Creator":
            document["creationInfo"]["creators"].append(value)
        elif tag == "Created":
            document["creationInfo"]["created"] = value
        elif tag in ("SPDXVersion", "DocumentName"):
            document[{"SPDXVersion": "spdxVersion", "DocumentName": "name"}[tag]] = value
    return document
