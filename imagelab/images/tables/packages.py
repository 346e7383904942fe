"""What is installed, by the package managers' own records in the image (``imagelab.images.layers.package_databases``)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from imagelab.core.frames import make_frame
from imagelab.core.memory import Memory
from imagelab.core.model import Image
from imagelab.images.layers.links import follow_links
from imagelab.images.layers.listing import layer_keys, layer_listings
from imagelab.images.layers.package_databases import RPM
from imagelab.images.tables.dependencies import dependents
from imagelab.images.tables.files import files
from imagelab.images.tables.images import Images, load_images
from imagelab.images.tables.package_records import Package, apk, conda, databases, distroless, dpkg, npm, python, rpm

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


_Records = tuple[list[Package], list[str], dict[str, int], pd.DataFrame]
_records: Memory[_Records] = Memory(4)


def _recent_or_read(image: Image) -> _Records:
    """The records of an image, read once for all verbs: they depend on the layers only."""
    key = (image.reference, *layer_keys(image))
    found = _records.get(key) or _recorded(image)
    _records.keep(key, found)
    return found


def _owned(found: list[Package], seen: pd.DataFrame) -> pd.DataFrame:
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
    rpm_files = live["path"][live["path"].str.fullmatch(RPM)]
    unread = [path for path in rpm_files if path not in final or json.loads(final[path][0]) is None]
    found = [
        *databases("dpkg", "/var/lib/dpkg/status", captured, final, at, dpkg),
        *distroless(final),
        *(package for path in sorted(final) if path.endswith("lib/apk/db/installed")
          for package in databases("apk", path, captured, final, at, apk)),
        *(package for path in rpm_files if path not in unread
          for package in databases("rpm", path, captured, final, at, rpm)),
        *python(final),
        *conda(final),
        *npm(final, live),
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
