"""Read the packages of an rpm database in sqlite's form (ndb and Berkeley DB are not read).

Source: rpm's "Package format" (tags and header structure).
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from typing import Any

_NAME, _VERSION, _RELEASE, _EPOCH, _ARCH, _DIR_INDEXES, _BASE_NAMES, _DIR_NAMES = (
    1000, 1001, 1002, 1003, 1022, 1116, 1117, 1118,
)  # fmt: skip
_STEPS = 10_000  # of 10,000 instructions each that sqlite may take for one database
Package = tuple[str, str, str, list[str]]  # name, [epoch:]version-release, architecture, files


def rpm_packages(content: bytes) -> list[Package] | None:
    """The packages in a database; None if its form is not known or it is damaged."""
    try:
        if content.startswith(b"SQLite format 3\0"):
            return [_package(blob) for blob in _sqlite(content)]
    except (sqlite3.Error, struct.error, ValueError, LookupError, TypeError):
        return None
    return None


def _sqlite(content: bytes) -> Iterator[bytes]:
    # bytes 18 and 19 say that it has a write-ahead log, which a database in memory cannot have
    content = content[:18] + b"\1\1" + content[20:]
    steps = iter(range(_STEPS))
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(content)
        database.execute("PRAGMA trusted_schema = OFF")
        database.set_progress_handler(lambda: next(steps, None) is None, 10_000)
        if database.execute("SELECT type FROM sqlite_master WHERE name = 'Packages'").fetchone() != ("table",):
            raise ValueError("no table of packages")
        for (blob,) in database.execute("SELECT blob FROM Packages"):
            yield bytes(blob)


def _package(blob: bytes) -> Package:
    count, size = struct.unpack_from(">II", blob)
    data = blob[8 + 16 * count :][:size]
    tags: dict[int, Any] = {}
    for entry in range(8, 8 + 16 * min(count, len(blob) // 16), 16):
        tag, kind, offset, number = struct.unpack_from(">IIII", blob, entry)
        if tag in (_EPOCH, _DIR_INDEXES) and kind == 4:
            tags[tag] = struct.unpack_from(f">{number}I", data, offset)
        elif tag in (_NAME, _VERSION, _RELEASE, _ARCH, _BASE_NAMES, _DIR_NAMES) and kind in (6, 8):
            parts = data[offset:].split(b"\0", number)[:number]
            tags[tag] = [part.decode(errors="backslashreplace") for part in parts]
    version = f"{tags[_VERSION][0]}-{tags[_RELEASE][0]}"
    if _EPOCH in tags:
        version = f"{tags[_EPOCH][0]}:{version}"
    folders, names = tags.get(_DIR_NAMES, []), tags.get(_BASE_NAMES, [])
    files = [folders[index] + name for index, name in zip(tags.get(_DIR_INDEXES, ()), names, strict=True)]
    return tags[_NAME][0], version, tags.get(_ARCH, [""])[0], files
