"""Read the fields that several scan formats share."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from packageurl import PackageURL

from imagelab.core.json_fields import first, text, texts

#: Other tools' words for ours, by kind of word.
WORDS: dict[str, dict[str, str]] = tomllib.loads(Path(__file__).with_name("words.toml").read_text("utf-8"))


def best_link(name: Any, links: Any) -> str | None:
    """The first link that contains the finding's name, else the first."""
    known, name = texts(links), (text(name) or "").lower()
    return first(link for link in known if name in link.lower()) or first(known)


def first_cve(names: list[str]) -> str | None:
    """The first CVE of several identifiers, else the first identifier."""
    return first(name for name in names if name.startswith("CVE-")) or first(names)


def at_line(path: Any, line: Any) -> str | None:
    """``path:line``, or the path alone if the line is unknown."""
    place = text(path)
    return f"{place}:{line}" if place and line and type(line) is int else place


def parse_purl(value: Any) -> PackageURL | None:
    """The package URL, or None if the value is not one."""
    line = text(value)
    try:
        return PackageURL.from_string(line) if line else None
    except ValueError:
        return None
