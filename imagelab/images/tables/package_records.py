"""Packages as each manager records them: dpkg, apk, rpm, pip, conda and npm."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd

from imagelab.core.json_fields import mapping, string, strings
from imagelab.images.layers.package_databases import reduce

Final = dict[str, tuple[bytes, int]]
"""Path → content in the final filesystem, and the layer that first brought it."""


class Record(NamedTuple):
    version: str
    files: list[str] | None
    source: str | None
    requires: tuple[str, ...] | None = None  # None: the manager does not record it
    provides: tuple[str, ...] = ()


@dataclass
class Package:
    manager: str
    name: str
    version: str | None
    layer_index: int
    path: str  # of the record
    files: list[str] | None = field(default=None, repr=False)  # absolute; None: the record names none
    source: str | None = None  # the source package, "name version"
    requires: tuple[str, ...] | None = None
    provides: tuple[str, ...] = ()


def databases(
    manager: str,
    path: str,
    captured: list[dict[str, bytes]],
    final: Final,
    written: dict[str, int],
    parse: Callable[[bytes, Final], dict[str, Record]],
) -> Iterator[Package]:
    """Packages of a database that every installing layer writes anew: the layer is the first that has this
    version and from which on it stays."""
    if path not in final:
        return
    since: dict[str, tuple[str, int]] = {}
    records: dict[str, Record] = {}
    for layer, contents in enumerate(captured[: written[path] + 1]):
        if path in contents:
            records = parse(contents[path], final)
            since = {
                name: since[name] if name in since and since[name][0] == record.version else (record.version, layer)
                for name, record in records.items()
            }
    for name, record in records.items():
        yield Package(manager, name.partition(":")[0], record.version, since[name][1], path, *record[1:])


def _lines(record: tuple[bytes, int]) -> list[str]:
    return record[0].decode(errors="backslashreplace").splitlines()


def dpkg(content: bytes, final: Final) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for fields in paragraphs(content):
        name, architecture = fields.get("Package"), fields.get("Architecture", "")
        if not name or "installed" not in fields.get("Status", "").split()[-1:]:
            continue
        lists = (f"/var/lib/dpkg/info/{name}{suffix}.list" for suffix in (f":{architecture}", ""))
        lines = next((_lines(final[path]) for path in lists if path in final), None)
        requires = dependencies(fields.get("Pre-Depends"), fields.get("Depends"))
        provides = dependencies(fields.get("Provides"))
        found[f"{name}:{architecture}"] = Record(
            fields.get("Version", ""), lines, source_package(fields), requires, provides
        )
    return found


def distroless(final: Final) -> Iterator[Package]:
    """Distroless images keep one file per package, with its checksums beside it."""
    for path in sorted(final):
        if posixpath.dirname(path) != "/var/lib/dpkg/status.d" or path.endswith(".md5sums"):
            continue
        for fields in paragraphs(final[path][0]):
            if name := fields.get("Package"):
                sums = final.get(f"{path}.md5sums")
                listed = ["/" + line for line in _lines(sums)] if sums else None
                yield Package("dpkg", name, fields.get("Version"), final[path][1], path, listed, source_package(fields))


def apk(content: bytes, final: Final) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for block in content.decode(errors="replace").split("\n\n"):
        fields: dict[str, str] = {}
        listed: list[str] = []
        folder = ""
        for line in block.splitlines():
            key, value = line[:2], line[2:]
            if key == "F:":
                folder = "/" + value
            elif key == "R:":
                listed.append(posixpath.join(folder or "/", value))
            else:
                fields[key] = value
        if name := fields.get("P:"):
            version = fields.get("V:", "")
            requires, provides = (apk_names(fields.get(key, "")) for key in ("D:", "p:"))
            found[name] = Record(version, listed, f"{fields.get('o:') or name} {version}", requires, provides)
    return found


def rpm(content: bytes, final: Final) -> dict[str, Record]:
    packages = json.loads(content) or []
    return {
        f"{name}:{architecture}:{version}": Record(version, files, None)
        for name, version, architecture, files in packages
        if name != "gpg-pubkey"  # a key that was imported
    }


def conda(final: Final) -> Iterator[Package]:
    for path in sorted(final):
        folder = posixpath.dirname(path)
        if path.endswith(".json") and posixpath.basename(folder) == "conda-meta":
            fields = mapping(json.loads(final[path][0]))
            prefix = posixpath.dirname(folder)
            if name := string(fields.get("name")):
                listed = [posixpath.normpath(posixpath.join(prefix, file)) for file in strings(fields.get("files"))]
                yield Package("conda", name, string(fields.get("version")), final[path][1], path, listed)


def python(final: Final) -> Iterator[Package]:
    for path in sorted(final):
        folder, name = posixpath.split(path)
        metadata = name == "METADATA" and folder.endswith(".dist-info")
        legacy = name == "PKG-INFO" and folder.endswith(".egg-info")
        if not (metadata or legacy or name.endswith(".egg-info")):
            continue
        content, layer = final[path]
        fields = dict(line.split(": ", 1) for line in content.decode(errors="replace").splitlines() if ": " in line)
        record = final.get(posixpath.join(folder, "RECORD" if metadata else "installed-files.txt"))
        start = posixpath.dirname(folder) if metadata else folder
        listed = None
        if record is not None and (metadata or legacy):
            listed = [posixpath.normpath(posixpath.join(start, line)) for line in _lines(record) if line]
        if fields.get("Name"):
            yield Package("python", fields["Name"], fields.get("Version"), layer, path, listed)


def npm(final: Final, live: pd.DataFrame) -> Iterator[Package]:
    found = []
    folders: dict[str, list[str]] = {}
    for path in sorted(final):
        folder = posixpath.dirname(path)
        parts = folder.split("/")
        if posixpath.basename(path) != "package.json" or not _is_module(parts):
            continue
        fields = json.loads(reduce(path.encode(), final[path][0]))  # again: a snapshot may hold anything
        if fields.get("name"):
            listed = folders[folder] = []
            found.append(Package("npm", fields["name"], fields.get("version"), final[path][1], path, listed))
    if folders:
        inside = live["path"][live["path"].str.contains("/node_modules/", regex=False)]
        for path in inside:
            if owner := _owner(path, folders):
                folders[owner].append(path)
    yield from found


def _is_module(parts: Iterable[str]) -> bool:
    *_, third, second, _ = ("", "", *parts)
    return second == "node_modules" or (third == "node_modules" and second.startswith("@"))


def _owner(path: str, folders: Container[str]) -> str | None:
    while "/node_modules/" in path:
        path = posixpath.dirname(path)
        if path in folders:
            return path
    return None


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
