"""Find the packages that depend on each package, from the records of dpkg and apk."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Protocol


class Recorded(Protocol):
    """A package with the names that it requires and provides; None if its manager does not record them."""

    manager: str
    name: str
    requires: tuple[str, ...] | None
    provides: tuple[str, ...]


def dependents(found: Iterable[Recorded]) -> dict[tuple[str, str], str]:
    """(manager, name) → the packages that depend on it, by name or by what it provides, separated by spaces.

    Empty if no record has a dependency: snapshots of older versions left them out.
    """
    providers: defaultdict[str, set[str]] = defaultdict(set)
    found = list(found)
    for package in found:
        for name in (package.name, *package.provides):
            providers[name].add(package.name)
    needing: defaultdict[str, set[str]] = defaultdict(set)
    for package in found:
        for name in package.requires or ():
            for provider in providers[name] - {package.name}:
                needing[provider].add(package.name)
    recorded = [package for package in found if package.requires is not None and needing]
    return {(package.manager, package.name): " ".join(sorted(needing[package.name])) for package in recorded}


def dependencies(*fields: str | None) -> tuple[str, ...]:
    """The names in dpkg's fields: ``a (>= 1), b:any | c``."""
    parts = re.split(r"[,|]", ",".join(filter(None, fields)))
    return tuple(words[0].partition(":")[0] for part in parts if (words := part.split()))


def apk_names(field: str) -> tuple[str, ...]:
    """The names in apk's fields: ``so:libc.so.6=1 cmd:x a>2 !b``."""
    return tuple(re.split(r"[=<>~]", name, maxsplit=1)[0] for name in field.split() if not name.startswith("!"))


def paragraphs(content: bytes) -> Iterator[dict[str, str]]:
    for block in content.decode(errors="replace").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if fields:
            yield fields


def source_package(fields: dict[str, str]) -> str:
    """The source package and its version: the ``Source`` field, which leaves out what equals the binary's."""
    name, _, version = fields.get("Source", fields.get("Package", "")).partition(" ")
    return f"{name} {version.strip('()') or fields.get('Version', '')}"
