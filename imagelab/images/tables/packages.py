"""What is installed, by the package managers' own records in the image (``imagelab.images.layers.package_databases``)."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from imagelab.core.frames import make_frame
from imagelab.core.json_fields import mapping, string, strings
from imagelab.core.memory import Memory
from imagelab.core.model import Image
from imagelab.images.layers.links import follow_links
from imagelab.images.layers.listing import layer_keys, layer_listings
from imagelab.images.layers.package_databases import RPM, reduce
from imagelab.images.tables.dependencies import apk_names, dependencies, dependents, paragraphs, source_package
from imagelab.images.tables.files import files
from imagelab.images.tables.images import Images, load_images

PACKAGES_COLUMNS = {
    "reference": "str",
    "manager": "str",
    "name": "str",
    "version": "string",
    "size": "Int64",
    "files": "Int64",
    "layer_index": "int64",
    "path": "str",
    "record_layer_index": "int64",
    "source": "string",
    "needed_by": "string",
}


_Final = dict[str, tuple[bytes, int]]
"""Path → content in the final filesystem, and the layer that first brought it."""


class _Record(NamedTuple):
    version: str
    files: list[str] | None
    source: str | None
    requires: tuple[str, ...] | None = None  # None: the manager does not record it
    provides: tuple[str, ...] = ()


@dataclass
class _Package:
    manager: str
    name: str
    version: str | None
    layer_index: int
    path: str  # of the record
    files: list[str] | None = field(default=None, repr=False)  # absolute; None: the record names none
    source: str | None = None  # the source package, "name version"
    requires: tuple[str, ...] | None = None
    provides: tuple[str, ...] = ()


def packages(images: Images) -> pd.DataFrame:
    """The packages that an image's final filesystem holds, as their managers recorded them.

    Parameters
    ----------
    images : Image, reference, or iterable of them
        An engine saves the image, unless every layer was listed before.

    Returns
    -------
    pandas.DataFrame
        ``PACKAGES_COLUMNS``: ``manager`` is dpkg, apk, rpm, python, conda or npm; ``size`` the bytes of the package's files that
        are still there and ``files`` their number (``<NA>`` where the record names no files); ``layer_index`` the layer
        that first brought this version, whoever rewrote it unchanged (``chown -R``); ``path`` the record and
        ``record_layer_index`` the layer that wrote it last; ``source`` the source package of dpkg and apk and its version,
        joined by a space; ``needed_by`` the packages of dpkg and apk that depend on it. ``attrs["unread"]`` lists databases
        that are not read: damaged ones, and rpm's Berkeley DB where there is no ``rpm`` command.
    """
    rows: list[dict[str, Any]] = []
    unread: list[str] = []
    for image in load_images(images):
        found, databases = _of_image(image)
        unread += databases
        rows += found
    frame = make_frame(rows, PACKAGES_COLUMNS)
    frame.attrs["unread"] = unread
    return frame


def package_files(image: Image) -> pd.DataFrame:
    """Which package each visible file belongs to: ``path``, ``manager``, ``package`` (a file of two is listed
    twice)."""
    found, _, _, owned = _recent_or_read(image)
    owners = [found[owner] for owner in owned["owner"]]
    names = {"manager": [one.manager for one in owners], "package": [one.name for one in owners]}
    return pd.DataFrame({"path": owned["path"], **names}, dtype="str")


def _of_image(image: Image) -> tuple[list[dict[str, Any]], list[str]]:
    found, unread, written, owned = _recent_or_read(image)
    seen = files(image)
    live = seen.loc[seen["visible"] & seen["inode"].notna(), ["path", "inode"]].drop_duplicates("path")
    owned = owned.merge(live, on="path")
    count = owned.groupby("owner").size()
    owned = owned.drop_duplicates(["owner", "inode"])  # bytes count once in a package, whatever their names
    size = owned["inode"].map(seen["size"]).groupby(owned["owner"]).sum()
    rows, needed_by = [], dependents(found)
    for owner, package in enumerate(found):
        known = package.files is not None
        rows.append(
            vars(package)
            | {
                "reference": image.reference,
                "size": int(size.get(owner, 0)) if known else None,
                "files": int(count.get(owner, 0)) if known else None,
                "record_layer_index": written[package.path],
                "needed_by": needed_by.get((package.manager, package.name)),
            }
        )
    return rows, unread


_Records = tuple[list[_Package], list[str], dict[str, int], pd.DataFrame]
_records: Memory[_Records] = Memory(4)


def _recent_or_read(image: Image) -> _Records:
    """The records of an image, read once for all verbs: they depend on the layers only."""
    key = (image.reference, *layer_keys(image))
    found = _records.get(key) or _recorded(image)
    _records.keep(key, found)
    return found


def _owned(found: list[_Package], seen: pd.DataFrame) -> pd.DataFrame:
    """The files that records name: ``owner`` (a place in ``found``) and ``path``, as it is stored."""
    owner = np.repeat(np.arange(len(found)), [len(package.files or ()) for package in found])
    paths = pd.Series([path for package in found for path in package.files or ()], dtype="str")
    return pd.DataFrame({"owner": owner, "path": _stored(paths, seen)})


def _stored(paths: pd.Series, seen: pd.DataFrame) -> pd.Series:
    """Package lists name ``/lib/x`` where ``/lib`` is a link to ``usr/lib``: the paths as they are stored."""
    if paths.empty:
        return paths
    linked = seen[seen["visible"] & (seen["kind"] == "symlink")]
    links = dict(zip(linked["path"], linked["link_target"], strict=True))
    folders = paths.str.rpartition("/")
    followed = {folder: follow_links(folder, links).rstrip("/") for folder in folders[0].unique()}
    return folders[0].map(followed) + "/" + folders[2]


def _recorded(image: Image) -> _Records:
    """The packages, the databases that are not read, the layer that wrote each record last, and who owns which file."""
    listings = layer_listings(image)
    captured: list[dict[str, bytes]] = []  # of each layer, in order
    for index in range(len(image.layers)):
        table = listings[index].table.select(["path", "content"]).filter(pc.is_valid(listings[index].table["content"]))
        texts = [path.decode(errors="backslashreplace") for path in table["path"].to_pylist()]
        captured.append(dict(zip(texts, table["content"].to_pylist(), strict=True)))
    every = files(image)
    live = every[every["visible"]]
    wanted = {path for layer in captured for path in layer}
    holders = live[live["path"].isin(wanted)]
    at = dict(zip(holders["path"], holders["layer_index"], strict=True))
    rewritten = every[every["path"].isin(wanted) & (every["change"] == "modified")]
    replaced = set(zip(rewritten["path"], rewritten["layer_index"], strict=True))
    final = {
        path: (captured[layer][path], _brought(path, layer, captured, replaced))
        for path, layer in at.items()
        if path in captured[layer]
    }
    rpm = live["path"][live["path"].str.fullmatch(RPM)]
    unread = [path for path in rpm if path not in final or json.loads(final[path][0]) is None]
    found = [
        *_databases("dpkg", "/var/lib/dpkg/status", captured, final, at, _dpkg),
        *_distroless(final),
        *(package for path in sorted(final) if path.endswith("lib/apk/db/installed")
          for package in _databases("apk", path, captured, final, at, _apk)),
        *(package for path in rpm if path not in unread
          for package in _databases("rpm", path, captured, final, at, _rpm)),
        *_python(final),
        *_conda(final),
        *_npm(final, live),
    ]  # fmt: skip
    return found, [f"{image.reference}: {path}" for path in unread], at, _owned(found, every)


def _brought(path: str, layer: int, captured: list[dict[str, bytes]], replaced: set[tuple[str, int]]) -> int:
    """The layer that first brought the content which ``path`` has in ``layer``."""
    while (path, layer) in replaced:
        below = next((lower for lower in range(layer - 1, -1, -1) if path in captured[lower]), None)
        if below is None or captured[below][path] != captured[layer][path]:
            break
        layer = below
    return layer


def _databases(
    manager: str,
    path: str,
    captured: list[dict[str, bytes]],
    final: _Final,
    written: dict[str, int],
    parse: Callable[[bytes, _Final], dict[str, _Record]],
) -> Iterator[_Package]:
    """Packages of a database that every installing layer writes anew: the layer is the first that has this
    version and from which on it stays."""
    if path not in final:
        return
    since: dict[str, tuple[str, int]] = {}
    records: dict[str, _Record] = {}
    for layer, contents in enumerate(captured[: written[path] + 1]):
        if path in contents:
            records = parse(contents[path], final)
            since = {
                name: since[name] if name in since and since[name][0] == record.version else (record.version, layer)
                for name, record in records.items()
            }
    for name, record in records.items():
        yield _Package(manager, name.partition(":")[0], record.version, since[name][1], path, *record[1:])


def _lines(record: tuple[bytes, int]) -> list[str]:
    return record[0].decode(errors="backslashreplace").splitlines()


def _dpkg(content: bytes, final: _Final) -> dict[str, _Record]:
    found: dict[str, _Record] = {}
    for fields in paragraphs(content):
        name, architecture = fields.get("Package"), fields.get("Architecture", "")
        if not name or "installed" not in fields.get("Status", "").split()[-1:]:
            continue
        lists = (f"/var/lib/dpkg/info/{name}{suffix}.list" for suffix in (f":{architecture}", ""))
        lines = next((_lines(final[path]) for path in lists if path in final), None)
        requires = dependencies(fields.get("Pre-Depends"), fields.get("Depends"))
        provides = dependencies(fields.get("Provides"))
        found[f"{name}:{architecture}"] = _Record(
            fields.get("Version", ""), lines, source_package(fields), requires, provides
        )
    return found


def _distroless(final: _Final) -> Iterator[_Package]:
    """Distroless images keep one file per package, with its checksums beside it."""
    for path in sorted(final):
        if posixpath.dirname(path) != "/var/lib/dpkg/status.d" or path.endswith(".md5sums"):
            continue
        for fields in paragraphs(final[path][0]):
            if name := fields.get("Package"):
                sums = final.get(f"{path}.md5sums")
                listed = ["/" + line for line in _lines(sums)] if sums else None
                yield _Package(
                    "dpkg", name, fields.get("Version"), final[path][1], path, listed, source_package(fields)
                )


def _apk(content: bytes, final: _Final) -> dict[str, _Record]:
    found: dict[str, _Record] = {}
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
            found[name] = _Record(version, listed, f"{fields.get('o:') or name} {version}", requires, provides)
    return found


def _rpm(content: bytes, final: _Final) -> dict[str, _Record]:
    packages = json.loads(content) or []
    return {
        f"{name}:{architecture}:{version}": _Record(version, files, None)
        for name, version, architecture, files in packages
        if name != "gpg-pubkey"  # a key that was imported
    }


def _conda(final: _Final) -> Iterator[_Package]:
    for path in sorted(final):
        folder = posixpath.dirname(path)
        if path.endswith(".json") and posixpath.basename(folder) == "conda-meta":
            fields = mapping(json.loads(final[path][0]))
            prefix = posixpath.dirname(folder)
            if name := string(fields.get("name")):
                listed = [posixpath.normpath(posixpath.join(prefix, file)) for file in strings(fields.get("files"))]
                yield _Package("conda", name, string(fields.get("version")), final[path][1], path, listed)


def _python(final: _Final) -> Iterator[_Package]:
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
            yield _Package("python", fields["Name"], fields.get("Version"), layer, path, listed)


def _npm(final: _Final, live: pd.DataFrame) -> Iterator[_Package]:
    found = []
    for path in sorted(final):
        folder = posixpath.dirname(path)
        parts = folder.split("/")
        if posixpath.basename(path) != "package.json" or not _is_module(parts):
            continue
        fields = json.loads(reduce(path.encode(), final[path][0]))  # again: a snapshot may hold anything
        if fields.get("name"):
            found.append(_Package("npm", fields["name"], fields.get("version"), final[path][1], path, []))
    folders = {posixpath.dirname(package.path): package for package in found}
    if folders:
        inside = live["path"][live["path"].str.contains("/node_modules/", regex=False)]
        for path in inside:
            if owner := _owner(path, folders):
                owner.files.append(path)
    yield from found


def _is_module(parts: Iterable[str]) -> bool:
    *_, third, second, _ = ("", "", *parts)
    return second == "node_modules" or (third == "node_modules" and second.startswith("@"))


def _owner(path: str, folders: dict[str, _Package]) -> Any:
    while "/node_modules/" in path:
        path = posixpath.dirname(path)
        if path in folders:
            return folders[path]
    return None
