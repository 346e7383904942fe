"""Keep the listings of layers, in memory and in the user's cache folder, and the configs of images that an engine saved.

A key identifies bytes. It is the diff_id of a layer whose bytes were hashed, or the identity of the file that the
layer is read from (``file_key``): a diff_id that an archive only claims is not a key.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs
import pyarrow as pa
from isal import isal_zlib

from imagelab.core.atomic import leftovers, write_atomically
from imagelab.core.errors import ImagelabError
from imagelab.core.memory import Memory, forget
from imagelab.images.layers.tar import LayerListing
from imagelab.images.layers.tar_columns import SCHEMA

FORMAT = b"6"  # of a stored listing: a checksum, then an Arrow file; other formats are not read
DEFAULT_SIZE = 1 << 30  # bytes of the cache folder
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def cache_dir() -> Path | None:
    """The cache folder. ``IMAGELAB_CACHE_DIR`` moves it; an empty value turns it off."""
    configured = os.environ.get("IMAGELAB_CACHE_DIR")
    if configured == "":
        return None
    return Path(configured).expanduser() if configured else platformdirs.user_cache_path("imagelab") / "layers"


def cache_size() -> int:
    """The most bytes that the folder keeps: ``IMAGELAB_CACHE_SIZE``, or 1 GiB."""
    configured = os.environ.get("IMAGELAB_CACHE_SIZE") or str(DEFAULT_SIZE)
    if not configured.isdecimal():
        raise ImagelabError(f"IMAGELAB_CACHE_SIZE is {configured!r}; expected a number of bytes, such as 500000000.")
    return int(configured)


def file_key(path: str | os.PathLike[str], part: str = "") -> str | None:
    """The key of a part of a file: its device, inode, size and modification time. None if it is not a regular file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return f"file:{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{part}"


_listings: Memory[tuple[LayerListing, object]] = Memory(1 << 28)  # bytes


def cached(key: str | None, *, digests: bool = False) -> LayerListing | None:
    """The listing of a layer that was listed before, or None. Damaged entries are dropped and made again."""
    if key is None:
        return None
    listing, owner = _listings.get(key) or (None, None)
    if listing is None:
        listing = _read_listing(key)
    if listing is None or (digests and not listing.digests):
        return None
    keep_in_memory(key, listing, owner)
    return listing if digests or not listing.digests else listing.without_digests()


def store(key: str, listing: LayerListing, owner: object = None) -> None:
    """Keep a listing. A folder that cannot be written is not an error: the layer is read again next time.

    ``owner`` stays alive as long as the listing is in memory; a key made of its ``id`` needs that.
    """
    keep_in_memory(key, listing, owner)
    path = _path(key)
    if path is None:
        return
    metadata = {"imagelab.format": FORMAT, "imagelab.digests": b"1" if listing.digests else b"0"}
    table = listing.table.combine_chunks().replace_schema_metadata(metadata)
    entry = pa.BufferOutputStream()
    with pa.ipc.new_file(entry, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    body = entry.getvalue()
    _write(path, _checksum(body), body)


def keep_in_memory(key: str, listing: LayerListing, owner: object) -> None:
    _listings.keep(key, (listing, owner), listing.table.nbytes)


def _read_listing(key: str) -> LayerListing | None:
    path = _path(key)
    try:
        entry = memoryview(_read(path) if path else b"")
        if not entry:
            return None
        if entry[:4] != _checksum(entry[4:]):
            raise pa.ArrowInvalid("wrong checksum")
        table = pa.ipc.open_file(pa.py_buffer(entry[4:])).read_all()
        metadata = table.schema.metadata or {}
        if metadata.get(b"imagelab.format") != FORMAT or table.schema.remove_metadata() != SCHEMA:
            return None
        assert path is not None
        with suppress(OSError):
            os.utime(path)  # now the last to be evicted
        diff_id = "sha256:" + path.resolve().stem if key.startswith("sha256:") else None
        has_digests = metadata.get(b"imagelab.digests") == b"1"
        return LayerListing(table.replace_schema_metadata(None), has_digests, diff_id)
    except (OSError, pa.ArrowException):
        with suppress(OSError):
            path.unlink()  # type: ignore[union-attr]  # a failure had a path
        return None


def link_digest(digest: str | None, diff_id: str | None) -> None:
    """Find the layer of this diff_id under the digest of its blob too. The caller has hashed both."""
    path, target = _path(digest), _path(diff_id)
    if path is None or target is None or path == target or path.is_symlink():
        return
    with suppress(OSError):
        path.symlink_to(target.name)


#: The kind of a stored config: configs that an earlier version masked are not read.
_CONFIG = f"{FORMAT.decode()}.json"
_remembered: Memory[dict[str, Any]] = Memory(10_000)  # also where the folder is turned off


def recall_config(image_id: str) -> dict[str, Any] | None:
    """What was remembered of an engine's image, or None."""
    path = _path(image_id, _CONFIG)
    try:
        return _remembered.get(image_id) or (json.loads(_read(path)) if path else None)
    except (OSError, ValueError, RecursionError):
        return None


def remember_config(image_id: str, facts: dict[str, Any]) -> None:
    """Keep what a save shows of an image beyond the history API (secrets masked)."""
    _remembered.keep(image_id, facts)
    path = _path(image_id, _CONFIG)
    if path is not None:
        _write(path, json.dumps(facts).encode())


def cache_info() -> tuple[Path | None, int, int]:
    """The folder, the number of its entries, and their bytes. Leftovers of interrupted writes count."""
    entries = _entries()
    return cache_dir(), len(entries), sum(size for _, size, _ in entries)


def clear_cache() -> int:
    """Delete all entries, in memory too; returns the number of deleted files."""
    forget()
    entries = _entries()
    for _, _, path in entries:
        path.unlink(missing_ok=True)
    return len(entries)


def _entries() -> list[tuple[float, int, Path]]:
    """Last use, size and path of every file that imagelab wrote to the folder; other things in it are ignored."""
    folder = cache_dir()
    found = []
    for path in () if folder is None else (*folder.glob("*.arrow"), *folder.glob("*.json"), *leftovers(folder)):
        with suppress(OSError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                found.append((status.st_mtime, status.st_size, path))
    return found


def _read(path: Path) -> bytes:
    """A regular file's bytes; empty if there is none. Opening a FIFO must not wait for a writer."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        return file.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""


def _write(path: Path, *parts: bytes | pa.Buffer) -> None:
    """Write an entry for this user alone, and evict those that were not used for the longest time."""
    limit = cache_size()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.parent.chmod(0o700)
        write_atomically(path, lambda file: file.writelines(parts))
        entries = _entries()
        size = sum(entry_size for _, entry_size, _ in entries)
        for _, entry_size, oldest in sorted(entries):
            if size <= limit:
                break
            oldest.unlink(missing_ok=True)
            size -= entry_size


def _checksum(data: memoryview | pa.Buffer) -> bytes:
    return isal_zlib.crc32(data).to_bytes(4)


def _path(key: str | None, kind: str = "arrow") -> Path | None:
    folder = cache_dir()
    if folder is None or key is None:
        return None
    if key.startswith("file:"):
        return folder / f"{hashlib.sha256(key.encode(errors='surrogateescape')).hexdigest()}.{kind}"
    return folder / f"{key.removeprefix('sha256:')}.{kind}" if _DIGEST.fullmatch(key) else None
