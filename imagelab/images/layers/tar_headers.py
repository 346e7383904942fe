"""Parse tar header fields: checksums, numbers, names and PAX records (``tar(5)``, POSIX ``pax``)."""

from __future__ import annotations

from array import array
from zlib import adler32

EARLIEST, LATEST = -62_135_596_800, 253_402_300_799  # seconds of the years 1 and 9999, the range of a timestamp


def is_tar(head: bytes) -> bool:
    """Whether 512 bytes are the first block of a tar: a header with a correct checksum, or zeros (an empty tar)."""
    if not head.strip(b"\0"):
        return True
    return len(head) == 512 and has_valid_checksum(head)


def has_valid_checksum(header: bytes) -> bool:
    """Whether the bytes of a header add up to its checksum: as unsigned bytes, or as signed ones (some old tars)."""
    summed = header[:148] + b" " * 8 + header[156:]
    try:
        stated = int(header[148:156].split(b"\0", 1)[0], 8)
    except ValueError:
        return False
    # the low half of adler32 is 1 + the sum of the bytes, modulo 65521: the sum at C speed
    return (stated + 1 - (adler32(summed) & 0xFFFF)) % 65521 == 0 or stated == sum(array("b", summed))


def header_name(header: bytes) -> bytes:
    """An entry's name in its header. ustar can store the start of a long name in a separate field."""
    name = header[:100].partition(b"\0")[0]
    if header[345] and header[257:263] == b"ustar\0":
        return header[345:500].partition(b"\0")[0] + b"/" + name
    return name


def clean_path(name: bytes) -> bytes:
    """``name`` as an absolute path without ``.``, ``..``, doubled or trailing slashes, kept below the root."""
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if parts:
                parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/" + b"/".join(parts)


def text_of(path: bytes) -> str:
    """A path as text, from which the exact bytes can be made again."""
    return path.decode(errors="surrogateescape")


def is_whiteout(path: bytes) -> bool:
    """Whether a clean path is a whiteout or an opaque whiteout (OCI image-spec, layer.md, "Whiteouts")."""
    name = path.rpartition(b"/")[2]
    return name[:4] == b".wh." and len(name) > 4


def number(field: bytes) -> int:
    """The number in a header field: octal digits, or base-256 where the first bit is set (GNU)."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False) & ((1 << (8 * len(field) - 1)) - 1)
        return value - (1 << (8 * len(field) - 1)) if field[0] & 0x40 else value
    text = field.split(b"\0", 1)[0].strip()
    return int(text, 8) if text else 0


def pax_records(data: bytes) -> dict[bytes, bytes]:
    """Parse the records of a PAX header: ``LENGTH KEY=VALUE`` lines."""
    records, at, end = {}, 0, len(data.rstrip(b"\0"))
    while at < end:
        space = data.index(b" ", at, at + 20)
        after = at + int(data[at:space])
        if not space + 2 < after <= len(data) or data[after - 1 : after] != b"\n":
            raise ValueError("the length of a PAX record is wrong")
        key, equals, value = data[space + 1 : after - 1].partition(b"=")
        if not equals:
            raise ValueError("a PAX record without '='")
        records[key], at = value, after
    return records


def whole(text: bytes | int) -> int:
    """A decimal number that fits a 64-bit column."""
    value = int(text)
    if not -(1 << 63) <= value < 1 << 63:
        raise OverflowError
    return value


def microseconds(seconds: float) -> int | None:
    """Microseconds, or None where a timestamp cannot store them: PAX and base-256 allow absurd times."""
    return int(seconds * 1_000_000) if EARLIEST <= seconds <= LATEST else None


class ExtensionRecords:
    """PAX and GNU records: ``local`` ones apply to the next entry, ``following`` ones to all entries from here on.

    The following ones are stored once, so that an entry costs the same however many there are.
    """

    def __init__(self) -> None:
        self.local: dict[bytes, bytes] = {}
        self.following: dict[bytes, bytes] = {}
        self.size = 0  # bytes of all records
        self._following_size = 0
        self._following_xattrs: dict[bytes, bytes] = {}
        self._following_words: bytes | None = None
        self._following_sparse = False

    def add(self, flag: int, record: bytes) -> None:
        """Parse the contents of an extension header of this type flag."""
        self.size += len(record)
        if flag in b"LK":
            self.local[b"path" if flag == ord("L") else b"linkpath"] = record.split(b"\0", 1)[0]
        elif flag == ord("g"):
            added = pax_records(record)
            self.following |= added
            self._following_size += len(record)
            self._following_xattrs |= _xattrs(added)
            self._following_words = _words(self._following_xattrs)
            self._following_sparse |= _is_sparse(added)
        else:
            self.local |= pax_records(record)

    def forget_local(self) -> None:
        self.local.clear()
        self.size = self._following_size

    def get(self, key: bytes) -> bytes:
        """The value for the next entry; empty if there is none, or if a later record cancels it (POSIX, pax)."""
        return self.local.get(key, self.following.get(key, b""))

    @property
    def is_sparse(self) -> bool:
        return self._following_sparse or _is_sparse(self.local)

    @property
    def xattrs(self) -> bytes | None:
        """The extended attributes of the next entry as ``name=hex`` words."""
        local = _xattrs(self.local)
        return _words(self._following_xattrs | local) if local else self._following_words


def _xattrs(records: dict[bytes, bytes]) -> dict[bytes, bytes]:
    prefix = b"SCHILY.xattr."
    return {key.removeprefix(prefix): value for key, value in records.items() if key.startswith(prefix)}


def _words(xattrs: dict[bytes, bytes]) -> bytes | None:
    return b" ".join(name + b"=" + value.hex().encode() for name, value in sorted(xattrs.items())) or None


def _is_sparse(records: dict[bytes, bytes]) -> bool:
    return any(key.startswith(b"GNU.sparse.") for key in records)
