"""A layer's tar → columns. The one place written for speed: headers only, hopping over contents.

Formats: v7, ustar, GNU (long names, base-256 numbers, sparse) and PAX (local and global records), as
``tar(5)`` of libarchive and POSIX.1-2001 ``pax`` describe them. Whiteouts are the OCI image-spec's
(``layer.md``, "Whiteouts"). Names are bytes; a whiteout's path is that of the file it removes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from zlib import adler32

import pyarrow as pa

from imagelab import package_files
from imagelab.blobs import LIMITS, Window
from imagelab.errors import ArchiveError
from imagelab.tar_headers import checksum_holds, clean_path, microseconds, number, pax_records, whole

KINDS = ("file", "directory", "symlink", "hardlink", "whiteout", "opaque_whiteout", "device", "fifo")
FILE, DIRECTORY, SYMLINK, HARDLINK, WHITEOUT, OPAQUE, DEVICE, FIFO = range(8)

SCHEMA = pa.schema(
    {
        "path": pa.binary(),  # absolute and clean, bytes as in the tar
        "kind": pa.uint8(),  # index into KINDS
        "size": pa.int64(),  # of regular files; 0 for everything else
        "mode": pa.uint32(),
        "uid": pa.int64(),
        "gid": pa.int64(),
        "mtime": pa.timestamp("us", tz="UTC"),
        "link_target": pa.binary(),  # hardlinks: absolute and clean like path; symlinks: to the letter
        "xattrs": pa.binary(),  # "name=hex" words
        "offset": pa.int64(),  # of the contents in the uncompressed tar; null where holes are left out (sparse files)
        "digest": pa.binary(32),  # SHA-256 of the contents, where asked for
        "content": pa.binary(),  # of the few files that package_files wants, reduced to what it needs
    }
)


@dataclass(frozen=True, slots=True)
class LayerListing:
    """What one layer's tar holds: a table under ``SCHEMA``, in the tar's own order."""

    table: pa.Table
    digests: bool = False

    @property
    def entries(self) -> int:
        return self.table.num_rows

    @property
    def size(self) -> int:
        """Sum of the regular files' bytes."""
        return pa.compute.sum(self.table["size"]).as_py() or 0


# name, mode + uid + gid, size, mtime, checksum, type, link name, magic + version
_HEADER = struct.Struct("100s24s12s12s8sc100s8s")
_TYPES = {b"0": FILE, b"\0": FILE, b"7": FILE, b"S": FILE, b"1": HARDLINK, b"2": SYMLINK, b"3": DEVICE}
_TYPES |= {b"4": DEVICE, b"5": DIRECTORY, b"D": DIRECTORY, b"6": FIFO}
_HEADER_ONLY = {b"1", b"2", b"3", b"4", b"5", b"6"}
_EXTENSIONS = {b"x", b"X", b"g", b"L", b"K"}


def list_tar(window: Window, *, name: str = "layer", digests: bool = False, capture: bool = True) -> LayerListing:
    """Every entry of one tar, in its order.

    Parameters
    ----------
    window : FileWindow or StreamWindow
        The uncompressed tar.
    name : str
        How errors call it.
    digests : bool
        Also hash the regular files' contents.
    capture : bool
        Keep the contents of the package managers' own small files (``package_files``).

    Raises
    ------
    ArchiveError
        With ``name`` and the offset, where the tar is corrupt, truncated or beyond ``LIMITS``.
    """
    columns: dict[str, list] = {field: [] for field in SCHEMA.names}
    sparse: dict[str, dict[int, bytes]] = {field: {} for field in ("link_target", "xattrs", "digest", "content")}
    try:
        _walk(window, columns, sparse, digests, capture)
        window.finish()
    except _BrokenError as error:
        raise ArchiveError(f"{name}: {error.what} at offset {error.offset} of the tar") from None
    for field, values in sparse.items():
        columns[field] = list(map(values.get, range(len(columns["path"]))))
    table = pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)
    return LayerListing(table, digests)


class _BrokenError(Exception):
    def __init__(self, what: str, offset: int) -> None:
        self.what, self.offset = what, offset


def _walk(
    window: Window, columns: dict[str, list], sparse: dict[str, dict[int, bytes]], digests: bool, capture: bool
) -> None:
    """The loop over headers: what is here, and not in a function, is what every entry needs."""
    names = ("path", "kind", "size", "mode", "uid", "gid", "mtime", "offset")
    add_path, add_kind, add_size, add_mode, add_uid, add_gid, add_mtime, add_offset = (
        columns[name].append for name in names
    )
    unpack, fetch, reaches, kind_of = _HEADER.unpack_from, window.fetch, window.reaches, _TYPES.get
    view, start, end, offset, count = memoryview(b""), 0, 0, 0, 0  # the view holds [start, end) of the tar
    pax: dict[bytes, bytes] = {}  # records of the next entry
    pax_global: dict[bytes, bytes] = {}
    owners: dict[bytes, tuple[int, int, int]] = {}  # few in a layer: parsed once each
    max_entries, max_name = LIMITS.entries, LIMITS.name
    while True:
        if offset + 512 > end or offset < start:
            view, filled = fetch(offset)
            start, end = offset, offset + filled
            if filled < 512:
                if filled == 0 and not pax:
                    return  # some writers leave out the closing zero blocks
                raise _BrokenError("the archive is cut off in a header", offset)
        at = offset - start
        path, owner, size_field, mtime_field, check, flag, link, magic = unpack(view, at)
        try:
            # adler32's low half is 1 + the sum of the bytes, modulo 65521: the header's checksum at C speed
            if ((adler32(view[at : at + 512]) & 0xFFFF) + 255 - sum(check) - int(check.rstrip(b" \0"), 8)) % 65521:
                raise ValueError
        except ValueError:
            if not any(view[at : at + 512]):
                return
            if not checksum_holds(bytes(view[at : at + 512])):
                raise _BrokenError("not a tar header (its checksum is wrong)", offset) from None
        try:
            if size_field[11] > 32:
                raise ValueError
            size = int(size_field[:11], 8)
        except ValueError:
            size = _checked(number, size_field, offset, "a size")
        if size < 0:
            raise _BrokenError(f"a negative size ({size})", offset)
        data = offset + 512

        if flag in _EXTENSIONS:
            offset = _extension(window, flag, size, offset, pax, pax_global)
            continue

        if not path[99] or 0 in path:
            path = path[: path.index(0)]
        if view[at + 345] and magic[:6] == b"ustar\0":
            path = bytes(view[at + 345 : at + 500]).split(b"\0", 1)[0] + b"/" + path
        try:
            mode, uid, gid = owners[owner]
        except KeyError:
            fields = (owner[:8], owner[8:16], owner[16:])
            mode, uid, gid = owners[owner] = tuple(_checked(number, field, offset, "a number") for field in fields)
        mtime: int | None
        try:
            if mtime_field[11] > 32:
                raise ValueError
            mtime = int(mtime_field[:11], 8) * 1_000_000
        except ValueError:
            mtime = microseconds(_checked(number, mtime_field, offset, "a time"))
        shown = size  # the file's size, where it is not what the tar stores (sparse files)
        target = None
        holes = flag == b"S"  # stored without its holes: what is there is not the file's contents
        if holes:
            shown, data = _sparse(window, bytes(view[at + 482 : at + 495]), data, offset)
        if pax or pax_global:
            records = pax_global | pax
            pax.clear()
            path, size, shown, uid, gid, mtime, target, xattrs = _overridden(
                records, path, size, shown, uid, gid, mtime, offset
            )
            holes = holes or any(key.startswith(b"GNU.sparse.") for key in records)
            if xattrs:
                sparse["xattrs"][count] = xattrs

        if len(path) > max_name or 0 in path:
            raise _BrokenError(f"a path of {len(path)} bytes, over imagelab.LIMITS.name, or with a NUL", offset)
        kind = kind_of(flag, FILE)
        if path[-1:] == b"/" and (flag == b"0" or flag == b"\0"):
            kind = DIRECTORY  # v7 has no type for directories
        if b"/." in path or b"//" in path or path[:1] == b".":
            path = clean_path(path)
            folder, _, name = path.rpartition(b"/")
            if name == b".wh..wh..opq":
                path, kind = folder or b"/", OPAQUE
            elif name[:4] == b".wh." and len(name) > 4:
                path, kind = folder + b"/" + name[4:], WHITEOUT
        else:
            path = b"/" + path.strip(b"/")
        stored = 0 if flag in _HEADER_ONLY else size
        if kind == FILE and not holes:
            if capture and package_files.wanted(path) and shown <= package_files.MAX_SIZE:
                content = _contents(window, data, stored, offset)
                sparse["content"][count] = package_files.reduce(path, content)
                if digests:
                    sparse["digest"][count] = hashlib.sha256(content).digest()
            elif digests:
                sparse["digest"][count] = _hashed(window, data, stored, offset)
        elif kind != FILE:
            shown = 0
            if kind in (SYMLINK, HARDLINK):
                target = link.split(b"\0", 1)[0] if target is None else target
                sparse["link_target"][count] = clean_path(target) if kind == HARDLINK else target
        add_path(path)
        add_kind(kind)
        add_size(shown)
        add_mode(mode & 0o7777)
        add_uid(uid)
        add_gid(gid)
        add_mtime(mtime)
        add_offset(None if holes else data)
        count += 1
        if count > max_entries:
            raise _BrokenError(f"more than {max_entries} entries (imagelab.LIMITS.entries)", offset)
        offset = data + (stored + 511 & ~511)
        if offset > end and stored and not reaches(data + stored):
            raise _BrokenError(
                f"the archive is cut off in the contents of {path.decode(errors='replace')[:200]!r}", offset
            )


def _extension(
    window: Window, flag: bytes, size: int, offset: int, pax: dict[bytes, bytes], pax_global: dict[bytes, bytes]
) -> int:
    """Take in a header that only describes what follows; where the next header is."""
    if size > LIMITS.record:
        raise _BrokenError(f"a header record of {size} bytes, over imagelab.LIMITS.record", offset)
    record = _contents(window, offset + 512, size, offset)
    if flag in b"LK":
        pax[b"path" if flag == b"L" else b"linkpath"] = record.split(b"\0", 1)[0]
    else:
        (pax_global if flag == b"g" else pax).update(_checked(pax_records, record, offset, "a PAX record"))
    return offset + 512 + (size + 511 & ~511)


def _overridden(
    records: dict[bytes, bytes], path: bytes, size: int, shown: int, uid: int, gid: int, mtime: int | None, offset: int
) -> tuple[bytes, int, int, int, int, int | None, bytes | None, bytes]:
    """What PAX and long-name records say instead of the header."""
    path = records.get(b"GNU.sparse.name") or records.get(b"path") or path
    # an empty value takes a record back (POSIX, pax)
    if records.get(b"size"):
        size = shown = _checked(whole, records[b"size"], offset, "a PAX size")
    for key in (b"GNU.sparse.size", b"GNU.sparse.realsize"):
        shown = _checked(whole, records.get(key) or shown, offset, "a sparse size")
    if size < 0 or not 0 <= shown <= max(size, LIMITS.file_size):
        raise _BrokenError(f"an impossible size ({shown})", offset)
    uid = _checked(whole, records.get(b"uid") or uid, offset, "a PAX uid")
    gid = _checked(whole, records.get(b"gid") or gid, offset, "a PAX gid")
    if records.get(b"mtime"):
        mtime = microseconds(_checked(float, records[b"mtime"], offset, "a PAX time"))
    xattrs = b" ".join(
        key.removeprefix(b"SCHILY.xattr.") + b"=" + value.hex().encode()
        for key, value in sorted(records.items())
        if key.startswith(b"SCHILY.xattr.")
    )
    return path, size, shown, uid, gid, mtime, records.get(b"linkpath") or None, xattrs


def _checked(convert: Callable, value: object, offset: int, what: str):
    try:
        return convert(value)
    except (ValueError, TypeError, OverflowError):
        raise _BrokenError(f"{what} that cannot be read", offset) from None


def _contents(window: Window, data: int, size: int, offset: int) -> bytes:
    try:
        return b"".join(window.contents(data, size))
    except EOFError:
        raise _BrokenError("the archive is cut off", offset) from None


def _hashed(window: Window, data: int, size: int, offset: int) -> bytes:
    state = hashlib.sha256()
    try:
        for chunk in window.contents(data, size):
            state.update(chunk)
    except EOFError:
        raise _BrokenError("the archive is cut off", offset) from None
    return state.digest()


def _sparse(window: Window, tail: bytes, data: int, offset: int) -> tuple[int, int]:
    """An old GNU sparse header's real size, and where the data starts behind its extension blocks."""
    shown = _checked(number, tail[1:], offset, "a sparse size")
    if not 0 <= shown <= LIMITS.file_size:
        raise _BrokenError(f"a sparse file that claims {shown} bytes, over imagelab.LIMITS.file_size", offset)
    extended = tail[0]
    while extended:
        block = _contents(window, data, 512, offset)
        extended, data = block[504], data + 512
    return shown, data
