"""Recognise the package databases in a layer, and reduce each to what the package tables read.

They are captured while a layer is listed, so that snapshots and the cache contain them too.
Their places: dpkg(1) ``/var/lib/dpkg`` (distroless: ``status.d``), apk's ``lib/apk/db/installed``, Python's
"Recording installed projects" specification (``.dist-info``) and setuptools' ``.egg-info``, npm's
``package.json``, conda's ``conda-meta/*.json``, rpm's database.
"""

from __future__ import annotations

import json
import re

from imagelab.images.layers.rpm_database import rpm_packages

#: Where rpm keeps its database, in each of its forms.
RPM = r"/(?:var/lib|usr/lib/sysimage)/rpm/(?:.*/)?(?:Packages|Packages\.db|rpmdb\.sqlite)"
_RPM = re.compile(RPM.encode())
_RPM_FILES = (b"/Packages", b"/Packages.db", b"/rpmdb.sqlite")
_MAX_SIZE, _MAX_RPM = 1 << 24, 1 << 28  # bytes of one database; larger ones are listed, not captured

_NAMES = {b"status", b"installed", b"METADATA", b"RECORD", b"PKG-INFO", b"installed-files.txt", b"package.json"}
#: The path of a database ends in one of these, or contains one of those.
ENDINGS = (*(b"/" + name for name in sorted(_NAMES)), b".list", b".egg-info", *_RPM_FILES)
WITHIN = (b"/status.d/", b"conda-meta/")
_STATUS_FIELDS = (
    *(b"Package:", b"Version:", b"Status:", b"Architecture:", b"Source:", b"Installed-Size:"),
    *(b"Depends:", b"Pre-Depends:", b"Provides:", b"Essential:"),
)


def likely(name: bytes) -> bool:
    """Whether a name can belong to a database: a cheap test, before the name is cleaned to a path."""
    return name.endswith(ENDINGS) or name[-1:] == b"/" or WITHIN[0] in name or WITHIN[1] in name or b"/." in name


def wanted(path: bytes) -> bool:
    """Whether ``path`` (absolute) is a package database."""
    folder, _, name = path.rpartition(b"/")
    if name in _NAMES:
        if name == b"package.json":
            return b"/node_modules/" in path
        if name == b"status":
            return folder == b"/var/lib/dpkg"
        if name == b"installed":
            return folder.endswith(b"lib/apk/db")
        return folder.endswith((b".dist-info", b".egg-info"))
    if folder == b"/var/lib/dpkg/info":
        return name.endswith(b".list")
    if name.endswith(b".json"):
        return folder.endswith(b"/conda-meta")
    if path.endswith(_RPM_FILES):
        return bool(_RPM.fullmatch(path))
    return folder == b"/var/lib/dpkg/status.d" or (name.endswith(b".egg-info") and b"-packages" in folder)


def max_size(name: bytes) -> int:
    """The bytes up to which a database of this name is captured."""
    return _MAX_RPM if name.endswith(_RPM_FILES) else _MAX_SIZE


def reduce(path: bytes, content: bytes) -> bytes:
    """The part of a package database that the package tables read."""
    folder, _, name = path.rpartition(b"/")
    if name == b"status" or (folder.endswith(b"/status.d") and not name.endswith(b".md5sums")):
        return b"\n".join(line for line in content.split(b"\n") if not line or line.startswith(_STATUS_FIELDS))
    if name in (b"METADATA", b"PKG-INFO") or name.endswith(b".egg-info"):
        head = content.split(b"\n\n", 1)[0].split(b"\n")
        return b"\n".join(line for line in head if line.startswith((b"Name:", b"Version:")))
    if name == b"RECORD":  # path,hash,size: hashes compress badly
        return b"\n".join(line.rsplit(b",", 2)[0].strip(b'"') for line in content.splitlines())
    if name.endswith(b".md5sums"):
        return b"\n".join(line.split(None, 1)[-1] for line in content.splitlines())
    if name == b"installed":
        return b"\n".join(
            line
            for line in content.split(b"\n")
            if not line or line[:2] in (b"P:", b"V:", b"F:", b"R:", b"I:", b"o:", b"D:", b"p:")
        )
    if name == b"package.json":
        return _chosen(content, {"name": str, "version": str})
    if name.endswith(b".json"):
        return _chosen(content, {"name": str, "version": str, "files": list})
    if _RPM.fullmatch(path):
        return json.dumps(rpm_packages(content)).encode()
    return content


def _chosen(content: bytes, fields: dict[str, type]) -> bytes:
    """The fields of a JSON object that have the right type."""
    try:
        package = json.loads(content)
        kept = {key: package[key] for key, kind in fields.items() if isinstance(package.get(key), kind)}
    except (ValueError, RecursionError, AttributeError):
        kept = {}
    return json.dumps(kept).encode()
