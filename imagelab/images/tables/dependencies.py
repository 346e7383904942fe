"""Find the packages that depend on each package, from the records of dpkg and apk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from imagelab.images.tables.package_records import Package


def dependents(found: Iterable[Package]) -> dict[tuple[str, str], str]:
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
