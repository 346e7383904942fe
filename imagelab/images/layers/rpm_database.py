"""Read the packages of an rpm database: sqlite and ndb, and Berkeley DB through an ``rpm`` command where there is one.

Sources: rpm's "Package format" (tags and header structure) and its ``lib/backend/ndb/rpmpkg.c`` (ndb's slots and blobs).
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from imagelab.images.layers.blobs import LIMITS

_NAME, _VERSION, _RELEASE, _EPOCH, _ARCH, _DIR_INDEXES, _BASE_NAMES, _DIR_NAMES = (
    1000, 1001, 1002, 1003, 1022, 1116, 1117, 1118,
)  # fmt: skip
_STEPS = 10_000  # of 10,000 instructions each that sqlite may take for one database
_BERKELEY = (b"\x61\x15\x06\0", b"\0\x06\x15\x61")  # at offset 12: a hash, in either byte order
_QUERY = r"%{NAME}\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\t%{ARCH}\n[\t%{FILENAMES}\n]"
_TIMEOUT = 60  # seconds
Package = tuple[str, str, str, list[str]]  # name, [epoch:]version-release, architecture, files


def rpm_packages(content: bytes) -> list[Package] | None:
    """The packages in a database; None if its form is not known or it is damaged."""
    try:
        if content.startswith(b"SQLite format 3\0"):
            return [_package(blob) for blob in _sqlite(content)]
        if content.startswith(b"RpmP"):
            return [_package(blob) for blob in _ndb(content)]
        if content[12:16] in _BERKELEY and shutil.which("rpm"):
            return _by_rpm(content)
    except (sqlite3.Error, struct.error, ValueError, LookupError, TypeError, OSError, subprocess.SubprocessError):
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


def _ndb(content: bytes) -> Iterator[bytes]:
    """The blobs to which the slots in the first pages point; offsets count in blocks of 16 bytes."""
    _, _, _, pages = struct.unpack_from("<4I", content)
    for slot in range(32, min(pages * 4096, len(content)), 16):
        magic, number, block, _ = struct.unpack_from("<4s3I", content, slot)
        if magic != b"Slot":
            raise ValueError("a damaged slot")
        if number and block:
            head, owner, _, size = struct.unpack_from("<4s3I", content, block * 16)
            if (head, owner) != (b"BlbS", number):
                raise ValueError("a damaged blob")
            yield content[block * 16 + 16 :][:size]


def _by_rpm(content: bytes) -> list[Package]:
    with tempfile.TemporaryDirectory(prefix="imagelab-rpm-") as folder:
        Path(folder, "Packages").write_bytes(content)
        query = ["--dbpath", folder, "--nosignature", "--nodigest", "-qa", "--qf", _QUERY]
        blocks = str(LIMITS.text // 512)  # the unit of ulimit -f
        command = ["sh", "-c", 'ulimit -f "$0" && exec rpm "$@"', blocks, *query]
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": folder, "LC_ALL": "C.UTF-8"}
        with Path(folder, "answer").open("wb") as file:
            subprocess.run(
                command, stdout=file, stderr=subprocess.DEVNULL, env=environment, timeout=_TIMEOUT, check=True
            )
        answer = Path(folder, "answer").read_text(errors="backslashreplace", encoding="utf-8")
    packages: list[Package] = []
    for line in answer.split("\n")[:-1]:
        if line.startswith("\t"):
            packages[-1][3].append(line[1:])
        else:
            name, version, architecture = line.split("\t")
            packages.append((name, version, architecture, []))
    return packages


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
    indexes = tags.get(_DIR_INDEXES, ())
    if sum(len(folders[index]) for index in indexes) > LIMITS.text:
        raise ValueError("a folder with a long name, many times")
    files = [folders[index] + name for index, name in zip(indexes, names, strict=True)]
    return tags[_NAME][0], version, tags.get(_ARCH, [""])[0], files
