"""Tars made by hand and by Python's tarfile, and what Python's tarfile reads in them."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path
from typing import Any

from imagelab.images.layers.blobs import FileWindow, StreamWindow
from imagelab.images.layers.tar import LayerListing, list_tar
from imagelab.images.layers.tar_columns import KINDS


def header(name: bytes, *, size: int = 0, flag: bytes = b"0", link: bytes = b"", mode: int = 0o644, uid: int = 0,
           gid: int = 0, mtime: int = 0, magic: bytes = b"ustar\x0000", tail: bytes = b"",
           signed: bool = False) -> bytes:  # fmt: skip
    """One 512-byte header with a right checksum; ``tail`` begins at byte 265, behind magic and version."""
    fields = (name.ljust(100, b"\0"), b"%07o\0" % mode, b"%07o\0" % uid, b"%07o\0" % gid, b"%011o\0" % size,
              b"%011o\0" % mtime, b" " * 8, flag, link.ljust(100, b"\0"), magic.ljust(8, b"\0"), tail)  # fmt: skip
    block = b"".join(fields).ljust(512, b"\0")
    assert len(block) == 512
    checksum = sum(byte - 256 if signed and byte > 127 else byte for byte in block)
    return block[:148] + b"%06o\0 " % checksum + block[156:]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def pax(records: dict[bytes, bytes], flag: bytes = b"x") -> bytes:
    """A PAX header with its records."""
    body = b""
    for key, value in records.items():
        rest = b" " + key + b"=" + value + b"\n"
        length = len(rest) + 1
        while len(b"%d" % length) + len(rest) != length:
            length += 1
        body += b"%d" % length + rest
    return header(b"pax", size=len(body), flag=flag) + padded(body)


END = bytes(1024)


def make_tar(entries: list[tuple[str, Any]], format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of (name, what) pairs: bytes are a file's; None a directory; ``->x`` a symbolic and ``=>x`` a hard link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for name, what in entries:
            entry = tarfile.TarInfo(name)
            if what is None:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(what, str):
                entry.type = tarfile.SYMTYPE if what.startswith("->") else tarfile.LNKTYPE
                entry.linkname = what[2:]
            else:
                entry.size = len(what)
            archive.addfile(entry, io.BytesIO(what) if isinstance(what, bytes) else None)
    return buffer.getvalue()


def by_file(path: Path, data: bytes, *, before: bytes = b"", after: bytes = b"", **options: Any) -> LayerListing:
    """List ``data`` as a region of a file."""
    path.write_bytes(before + data + after)
    window = FileWindow(path, len(before), len(data))
    try:
        return list_tar(window, **options)
    finally:
        window.close()


def by_stream(data: bytes, sizes: list[int] | None = None, **options: Any) -> LayerListing:
    """List ``data`` as it arrives in chunks of these sizes, over and over."""
    return list_tar(StreamWindow(chunked(data, sizes or [len(data) or 1])), **options)


def chunked(data: bytes, sizes: list[int]):
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        yield data[at : at + size]
        at, turn = at + size, turn + 1


def rows(listing: LayerListing) -> list[dict[str, Any]]:
    table = listing.table.to_pylist()
    for row in table:
        row["kind"] = KINDS[row["kind"]]
    return table


def clean(name: bytes) -> bytes:
    return os.path.normpath(b"/" + name.lstrip(b"/"))


KIND = {tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "symlink", tarfile.LNKTYPE: "hardlink",
        tarfile.CHRTYPE: "device", tarfile.BLKTYPE: "device", tarfile.FIFOTYPE: "fifo"}  # fmt: skip


def by_tarfile(data: bytes, *, digests: bool = False) -> list[dict[str, Any]]:
    """The same rows by the standard library's reader, whiteouts by the image-spec's words."""
    found = []
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for entry in archive:
            name, link = os.fsencode(entry.name), os.fsencode(entry.linkname)
            path = clean(name)
            kind = KIND.get(entry.type, "file")
            folder, _, last = path.rpartition(b"/")
            if last == b".wh..wh..opq":
                path, kind = folder or b"/", "opaque_whiteout"
            elif last.startswith(b".wh.") and last != b".wh.":
                path, kind = folder + b"/" + last[4:], "whiteout"
            xattrs = {
                os.fsencode(key.removeprefix("SCHILY.xattr.")): os.fsencode(value)
                for key, value in entry.pax_headers.items()
                if key.startswith("SCHILY.xattr.")
            }
            row = {
                "path": path,
                "kind": kind,
                "size": entry.size if kind == "file" else 0,
                "mode": entry.mode & 0o7777,
                "uid": entry.uid,
                "gid": entry.gid,
                "mtime": entry.mtime,
                "link_target": clean(link) if kind == "hardlink" else link if kind == "symlink" else None,
                "xattrs": xattrs,
            }
            if digests and kind == "file":
                contents = archive.extractfile(entry).read()
                row["digest"] = hashlib.sha256(contents).digest()
            found.append(row)
    return found
