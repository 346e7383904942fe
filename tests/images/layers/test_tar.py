"""The tar reader, held against Python's tarfile, GNU tar and bsdtar; damage and bombs end in ArchiveError."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import itertools
import lzma
import os
import shutil
import struct
import subprocess
import tarfile
import zlib

import pytest
import zstandard
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from imagelab.core.errors import ArchiveError
from imagelab.images.layers.blobs import LIMITS, StreamWindow, decompressed
from imagelab.images.layers.tar import list_tar, walk_members
from imagelab.images.layers.tar_headers import ExtensionRecords
from tests.conftest import missing
from tests.support.tars import END, by_file, by_stream, by_tarfile, chunked, header, make_tar, padded, pax, rows

RELAXED = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])

SEGMENT = st.one_of(
    st.sampled_from([b"a", b"b", b".", b"..", b".wh.a", b".wh..wh..opq", b".wh.", b"etc", b"\xff\xfe",
                     b"x y", b"\xc3\xa9", b"..a", b".b"]),
    st.binary(min_size=1, max_size=160).map(lambda data: data.translate(None, b"\0/") or b"z"),
)  # fmt: skip
NAME = st.builds(
    lambda start, parts, end: start + b"/".join(parts) + end,
    st.sampled_from([b"", b"./", b"/", b"../"]),
    st.lists(SEGMENT, min_size=1, max_size=4),
    st.just(b""),
)
TYPES = st.sampled_from(
    [
        tarfile.REGTYPE,
        tarfile.AREGTYPE,
        tarfile.DIRTYPE,
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.FIFOTYPE,
    ]
)
XATTR = st.dictionaries(st.sampled_from(["user.x", "security.capability"]), st.text("ab =\n", max_size=9), max_size=2)
ENTRY = st.fixed_dictionaries(
    {
        "name": NAME,
        "type": TYPES,
        "link": NAME,
        "data": st.binary(max_size=1500),
        "mode": st.integers(0, 0o7777),
        "uid": st.one_of(st.integers(0, 2000), st.integers(0, 2**40)),
        "gid": st.integers(0, 2**31),
        "mtime": st.one_of(
            st.integers(0, 2**33), st.integers(-(2**33), 2**36), st.floats(0, 2**31).map(lambda t: round(t, 3))
        ),
        "xattrs": XATTR,
    }
)
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def write(entries, format: int, pax_global: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format, pax_headers=pax_global) as archive:
        for fields in entries:
            entry = tarfile.TarInfo(os.fsdecode(fields["name"]))
            entry.type, entry.linkname = fields["type"], os.fsdecode(fields["link"])
            entry.mode, entry.uid, entry.gid, entry.mtime = (fields[key] for key in ("mode", "uid", "gid", "mtime"))
            entry.size = len(fields["data"]) if entry.type in (tarfile.REGTYPE, tarfile.AREGTYPE) else 0
            if format == tarfile.PAX_FORMAT:
                entry.pax_headers = {f"SCHILY.xattr.{key}": value for key, value in fields["xattrs"].items()}
            elif isinstance(entry.mtime, float):
                entry.mtime = int(entry.mtime)
            archive.addfile(entry, io.BytesIO(fields["data"]))
    return buffer.getvalue()


def same(ours: list[dict], theirs: list[dict]) -> None:
    assert len(ours) == len(theirs)
    for own, other in zip(ours, theirs, strict=True):
        for key in ("path", "kind", "size", "mode", "uid", "gid", "link_target"):
            assert own[key] == other[key], (key, own["path"])
        seconds = other["mtime"]
        if -62_135_596_800 <= seconds <= 253_402_300_799:
            assert abs(own["mtime"].timestamp() - seconds) < 0.000_002
        else:
            assert own["mtime"] is None
        written = dict(word.split(b"=") for word in (own["xattrs"] or b"").split())
        assert {key: bytes.fromhex(value.decode()) for key, value in written.items()} == other["xattrs"]
        if "digest" in other:
            assert own["digest"] == other["digest"]


@pytest.mark.parametrize("format", FORMATS)
@RELAXED
@given(st.lists(ENTRY, max_size=6), st.dictionaries(st.sampled_from(["comment", "x.y"]), st.just("z"), max_size=1),
       st.lists(st.integers(1, 2000), min_size=1, max_size=4), st.booleans(), st.binary(max_size=600))  # fmt: skip
def test_equals_tarfile(tmp_path, format, entries, pax_global, sizes, digests, around):
    try:
        data = write(entries, FORMATS[format], pax_global if format == "pax" and entries else {})
    except (ValueError, struct.error, OverflowError):
        assume(False)  # what a format cannot hold
    expected = by_tarfile(data, digests=digests)
    in_file = by_file(tmp_path / "x.tar", data, before=around, after=around, digests=digests)
    same(rows(in_file), expected)
    streamed = by_stream(data, sizes, digests=digests)
    assert streamed.table.equals(in_file.table)
    assert in_file.size == sum(row["size"] for row in expected)
    for row in rows(in_file):
        if row["kind"] == "file":
            contents = data[row["offset"] : row["offset"] + row["size"]]
            assert not digests or hashlib.sha256(contents).digest() == row["digest"]


TREE = {
    "plain": b"x" * 700, "empty": b"", "deep/" + "d" * 90 + "/" + "e" * 90 + "/" + "f" * 90: b"long",
    "caf\u00e9": b"utf-8", "dir/.wh.gone": b"", "dir/.wh..wh..opq": b"",
}  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    for name, data in TREE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    with open(os.fsencode(root) + b"/\xff\xfe.txt", "wb") as file:
        file.write(b"bytes")
    os.symlink("plain", root / "sym")
    os.symlink("t" * 150, root / "longsym")
    os.link(root / "plain", root / "hard")
    os.mkfifo(root / "fifo")
    for count, name in ((3, "holes3"), (60, "holes60")):
        with open(root / name, "wb") as file:
            for turn in range(count):
                file.seek(turn * 1_000_000)
                file.write(b"data" * 1024)
            file.truncate(count * 1_000_000 + 1)
    return root


WRITERS = {
    "gnu-v7": "tar --format=v7 --exclude=deep --exclude=longsym --exclude=fifo -cf {out} -C {tree} .",
    "gnu-ustar": "tar --format=ustar --exclude=longsym --exclude=deep -cf {out} -C {tree} .",
    "gnu-gnu": "tar --format=gnu -cf {out} -C {tree} .",
    "gnu-oldgnu": "tar --format=oldgnu -cf {out} -C {tree} .",
    "gnu-pax": "tar --format=pax --xattrs -cf {out} -C {tree} .",
    "gnu-sparse": "tar --format=gnu --sparse -cf {out} -C {tree} .",
    "oldgnu-sparse": "tar --format=oldgnu --sparse -cf {out} -C {tree} .",
    "pax-sparse-0.0": "tar --format=pax --sparse --sparse-version=0.0 -cf {out} -C {tree} .",
    "pax-sparse-0.1": "tar --format=pax --sparse --sparse-version=0.1 -cf {out} -C {tree} .",
    "pax-sparse-1.0": "tar --format=pax --sparse --sparse-version=1.0 -cf {out} -C {tree} .",
    "gnu-global": "tar --format=pax --pax-option=globexthdr.name=g,comment=hello,uid=77 -cf {out} -C {tree} .",
    "bsd-ustar": "bsdtar --format=ustar --exclude longsym -cf {out} -C {tree} .",
    "bsd-pax": "bsdtar --format=pax -cf {out} -C {tree} .",
    "bsd-gnutar": "bsdtar --format=gnutar -cf {out} -C {tree} .",
    "bsd-v7": "bsdtar --format=v7tar --exclude deep --exclude longsym --exclude fifo -cf {out} -C {tree} .",
}


@pytest.mark.parametrize("writer", WRITERS)
def test_equals_tarfile_on_what_real_tars_write(tree, tmp_path, writer):
    command = WRITERS[writer].format(out=tmp_path / "out.tar", tree=tree)
    if not shutil.which(command.split()[0]):
        missing(f"{command.split()[0]} is not on this machine")
    done = subprocess.run(command.split(), capture_output=True, env=os.environ | {"LC_ALL": "C.UTF-8"})
    assert done.returncode == 0 or writer.startswith("bsd"), done.stderr
    data = (tmp_path / "out.tar").read_bytes()
    expected = by_tarfile(data)
    assert len(expected) > 5
    listed = by_file(tmp_path / "x.tar", data)
    same(rows(listed), expected)
    assert by_stream(data, [100, 7, 4096]).table.equals(listed.table)


def test_sparse_contents_have_no_place_and_no_digest(tree, tmp_path):
    """What is stored is not the file's bytes: neither to be read back nor to be compared."""
    for version in ("--format=gnu --sparse", "--format=pax --sparse --sparse-version=1.0"):
        command = f"tar {version} -cf {tmp_path / 'out.tar'} -C {tree} holes3 plain"
        subprocess.run(command.split(), check=True)
        sparse, plain = rows(by_file(tmp_path / "x.tar", (tmp_path / "out.tar").read_bytes(), digests=True))
        assert (sparse["size"], sparse["offset"], sparse["digest"]) == (3_000_001, None, None)
        assert plain["digest"] == hashlib.sha256(TREE["plain"]).digest()


def test_v7_by_hand(tmp_path):
    data = header(b"dir/", magic=b"", flag=b"\0") + header(b"dir/f", size=3, magic=b"", flag=b"\0") + padded(b"abc")
    data += header(b"l", magic=b"", flag=b"2", link=b"dir/f") + END
    assert [(row["path"], row["kind"], row["size"]) for row in rows(by_file(tmp_path / "x", data))] == [
        (b"/dir", "directory", 0), (b"/dir/f", "file", 3), (b"/l", "symlink", 0)]  # fmt: skip
    with_flag = rows(by_file(tmp_path / "x", header(b"dir/", size=3) + padded(b"abc") + END))
    assert [(row["path"], row["kind"], row["size"]) for row in with_flag] == [(b"/dir", "file", 3)]  # as Go reads it


@pytest.mark.parametrize(
    ("data", "paths"),
    [
        (header(b"caf\xe9\xff", signed=True), [b"/caf\xe9\xff"]),  # old Sun tars sum signed bytes
        (header(b"name" + b"\0" + b"g" * 95), [b"/name"]),  # garbage behind the NUL
        (header(b"f", tail=b"\0\0" + bytes(78) + b"pre/fix" + bytes(148)), [b"/pre/fix/f"]),
        (header(b"f", magic=b"ustar\0  ", tail=bytes(80) + b"pre"), [b"/pre/f"]),  # any version
        (header(b"f", magic=b"ustar  \0", tail=bytes(80) + b"12345670123"), [b"/f"]),  # GNU keeps times there
        (pax({b"path": b"a"}) + header(b"z") + header(b"b"), [b"/a", b"/b"]),
        (pax({b"path": b""}) + header(b"z"), [b"/z"]),  # an empty value takes the record back
        (pax({b"uid": b"", b"size": b"", b"mtime": b""}) + header(b"z"), [b"/z"]),
        (pax({b"uid": b"5"}, b"g") + header(b"z"), [b"/z"]),
        (header(b"././@LongLink", size=9, flag=b"L") + padded(b"long\0junk") + header(b"x"), [b"/long"]),
        (header(b"x") + bytes(512) + header(b"behind the end"), [b"/x"]),
        (header(b"no end"), [b"/no end"]),
        (header(b""), [b"/"]),
        (header(b"////"), [b"/"]),
        (header(b"a/../../b/./c/"), [b"/b/c"]),
        (b"", []),
        (END, []),
    ],
)  # fmt: skip
def test_odd_headers(tmp_path, data, paths):
    assert [row["path"] for row in rows(by_file(tmp_path / "x", data))] == paths
    assert by_stream(data, [300]).table["path"].to_pylist() == paths


def test_numbers_that_tables_cannot_hold(tmp_path):
    """Absurd owners and times are refused or unknown, never another error."""
    for records in (
        {b"uid": b"9" * 30},
        {b"gid": b"-" + b"9" * 30},
        {b"size": b"-1"},
        {b"size": b"1e5"},
        {b"uid": b"x"},
    ):
        with pytest.raises(ArchiveError, match="offset"):
            by_file(tmp_path / "x", pax(records) + header(b"f") + END)
    for value in (b"1e400", b"nan", b"-1e300", b"99999999999999"):
        assert rows(by_file(tmp_path / "x", pax({b"mtime": value}) + header(b"f") + END))[0]["mtime"] is None
    late = header(b"f")
    late = late[:136] + b"777777777777" + late[148:]
    late = late[:148] + b"%06o\0 " % (sum(late[:148]) + 8 * 32 + sum(late[156:])) + late[156:]
    assert rows(by_file(tmp_path / "x", late))[0]["mtime"].timestamp() == 8**12 - 1


@pytest.fixture(scope="module")
def varied() -> bytes:
    entries = [("a", b"x" * 600), ("d", None), ("d/" + "n" * 150, b"y" * 10), ("s", "->a"), ("h", "=>a"), ("e", b"")]
    return make_tar(entries)


def test_truncated_anywhere(tmp_path, varied):
    """Cut inside a header, a record or contents it is an error; between entries it is a shorter tar, as writers that
    leave out the closing blocks make it. Nothing else, at no offset."""
    with tarfile.open(fileobj=io.BytesIO(varied)) as archive:
        spans = [(entry.offset, entry.offset_data, entry.size if entry.isfile() else 0) for entry in archive]
        end = archive.offset  # of the last entry: there begin the closing blocks
    for cut in [*range(0, len(varied), 64), *(span[0] + 1 for span in spans), *(span[1] - 1 for span in spans)]:
        data = varied[:cut]
        broken = end < cut < end + 512 or any(
            start < cut < body or body < cut < body + size or (size and cut == body) for start, body, size in spans
        )
        whole = sum(body + size <= cut for _, body, size in spans)
        for read in (lambda data=data: by_file(tmp_path / "x", data, after=b"B" * 5000, name="L"),
                     lambda data=data: by_stream(data, [100], name="L")):  # fmt: skip
            if broken:
                with pytest.raises(ArchiveError, match=r"L: .*offset \d+"):
                    read()
            else:
                assert read().entries == whole


def outcome(read):
    try:
        return read().table
    except ArchiveError as error:
        assert "offset" in str(error)
        return None


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_flipped_bytes_end_in_a_listing_or_an_archive_error(tmp_path, data):
    plain = make_tar([("a", b"x" * 600), ("d/" + "n" * 150, b"y" * 10), ("h", "=>a")])
    varied = plain if data.draw(st.booleans()) else (
        pax({b"GNU.sparse.major": b"1", b"GNU.sparse.realsize": b"99", b"mtime": b"1.5"}) + header(b"f", size=9)
        + padded(b"1\n0\n9\n") + header(b"s", flag=b"S", tail=bytes(217) + b"\1") + bytes(512) + header(b"z") + END)  # fmt: skip
    damaged = bytearray(varied)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # with the checksums right again, so that what lies deeper is tried too
        for at in range(0, len(damaged) - 511, 512):
            if varied[at + 257 : at + 262] == b"ustar":
                block = damaged[at : at + 148] + b" " * 8 + damaged[at + 156 : at + 512]
                damaged[at + 148 : at + 156] = b"%06o\0 " % sum(block)
    damaged = bytes(damaged)
    in_file = outcome(lambda: by_file(tmp_path / "x", damaged))
    streamed = outcome(lambda: by_stream(damaged, [700]))
    assert (in_file is None) == (streamed is None)
    assert in_file is None or in_file.equals(streamed)


@pytest.mark.parametrize("block", [b"x" * 512, b"\xff" * 512, b"\0" * 511 + b"\1", b"PK\3\4" + bytes(508)])
def test_an_invalid_tar_is_reported_with_its_offset(tmp_path, block):
    with pytest.raises(ArchiveError, match=r"sha256:ab.*checksum.*offset 512"):
        by_file(tmp_path / "x", header(b"f") + block, name="sha256:ab")


@pytest.mark.parametrize(
    ("limit", "value", "data"),
    [
        ("entries", 3, b"".join(header(b"f%d" % number) for number in range(5))),
        ("name", 50, pax({b"path": b"n" * 60}) + header(b"x")),
        ("record", 100, pax({b"comment": b"c" * 200}) + header(b"x")),
        ("record", 100, header(b"L", size=1 << 32, flag=b"L") + header(b"x")),
        ("file_size", 1000, pax({b"GNU.sparse.major": b"1", b"GNU.sparse.realsize": b"2000"}) + header(b"x")),
        ("file_size", 1000, header(b"x", flag=b"S", tail=bytes(218) + b"00000007777\0")),
    ],
)
def test_bombs_are_stopped_by_a_named_limit(tmp_path, monkeypatch, limit, value, data):
    by_file(tmp_path / "x", data) if limit not in ("record",) else None
    monkeypatch.setattr(LIMITS, limit, value)
    for read in (lambda: by_file(tmp_path / "x", data), lambda: by_stream(data, [512])):
        with pytest.raises(ArchiveError, match=rf"LIMITS\.{limit}.*offset|impossible size.*offset"):
            read()


def test_a_record_of_many_small_ones_is_read(tmp_path):
    """In work that grew with their square this would take minutes."""
    body = b"".join(b"14 k%05d=abc\n" % number for number in range(70_000))
    assert len(body) < LIMITS.record
    assert by_file(tmp_path / "x", header(b"p", size=len(body), flag=b"x") + padded(body) + header(b"f")).entries == 1


def test_captured_files_are_small_whatever_their_headers_say(tmp_path):
    """A sparse file can claim to be small and store much."""
    data = pax({b"GNU.sparse.major": b"1", b"GNU.sparse.realsize": b"9"})
    data += header(b"var/lib/dpkg/status", size=20_000_000) + padded(bytes(20_000_000))
    assert rows(by_file(tmp_path / "x", data))[0]["content"] is None


@pytest.mark.parametrize("limit", [1 << 14, 1 << 16])
@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_decompression_bombs(monkeypatch, pack, limit):
    monkeypatch.setattr(LIMITS, "slack", limit)
    bomb = pack(bytes(200_000_000))
    given_out = 0
    with pytest.raises(ArchiveError, match=r"blob: .*LIMITS\.ratio"):
        for piece in decompressed([bomb], "blob"):
            given_out += len(piece)
    assert given_out <= limit + 400 * len(bomb) + (1 << 21)
    monkeypatch.setattr(LIMITS, "ratio", 1 << 20)
    assert sum(map(len, decompressed([bomb], "blob"))) == 200_000_000


def members(pack, data: bytes, cuts: list[int]) -> bytes:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return b"".join(pack(data[start:end]) for start, end in itertools.pairwise(places))


SKIPPABLE = b"\x50\x2a\x4d\x18\x05\0\0\0hello"


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@RELAXED
@given(st.integers(0, 3000), st.lists(st.integers(0, 10**6), max_size=4), st.lists(st.integers(1, 300), min_size=1, max_size=3),
       st.integers(0, 40))  # fmt: skip
@example(0, [], [1], 0)
@example(3000, [0, 0, 1], [1], 30)
def test_members_frames_and_padding_in_any_chunks(kind, size, cuts, sizes, padding):
    """estargz makes a gzip member for each file, zstd:chunked a frame; some writers pad the end with zeros."""
    data = make_tar([("f", os.urandom(size)), ("g", bytes(size))])
    if kind == "gzip":
        packed = members(gzip.compress, data, cuts) + bytes(padding)
    else:
        pack = zstandard.ZstdCompressor().compress
        packed = (SKIPPABLE if padding else b"") + members(pack, data, cuts) + (SKIPPABLE if padding % 2 else b"")
    assert b"".join(decompressed(chunked(packed, sizes))) == data
    listing = list_tar(StreamWindow(decompressed(chunked(packed, sizes))))
    assert listing.table["path"].to_pylist() == [b"/f", b"/g"]


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_truncated_compressed_data_is_noticed_at_every_length(kind):
    data = make_tar([(f"f{number}", os.urandom(4000)) for number in range(4)])
    pack = gzip.compress if kind == "gzip" else zstandard.ZstdCompressor().compress
    packed = members(pack, data, [9000]) if kind == "gzip" else pack(data)
    first = len(gzip.compress(data[:9000]))
    for cut in [*range(7, 40), *range(40, len(packed), 997), *range(len(packed) - 10, len(packed))]:
        if kind == "gzip" and cut == first:
            continue  # between two members
        with pytest.raises(ArchiveError, match=r"blob: .*truncated"):
            for _ in decompressed(chunked(packed[:cut], [512]), "blob"):
                pass


@settings(max_examples=150)
@given(st.data())
def test_flipped_compressed_bytes(data):
    tar = make_tar([("f", b"text " * 500), ("g", bytes(300))])
    packed = bytearray(
        data.draw(
            st.sampled_from(
                [
                    gzip.compress(tar),
                    zstandard.ZstdCompressor(write_checksum=True).compress(tar),
                    zlib.compress(tar, wbits=31),
                ]
            )
        )
    )
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        window = StreamWindow(decompressed(chunked(bytes(packed), [100]), "blob"))
        list_tar(window, name="blob")
        window.close()
    except ArchiveError as error:
        assert "blob" in str(error)


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_bzip2_and_xz(pack):
    data = make_tar([("f", b"x" * 3000)])
    packed = pack(data)
    assert b"".join(decompressed(chunked(packed, [100]), "blob")) == data
    for cut in (7, len(packed) // 2, len(packed) - 1):
        with pytest.raises(ArchiveError, match=r"blob: .*truncated"):
            list(decompressed(chunked(packed[:cut], [100]), "blob"))


XATTR_RECORD = {b"SCHILY.xattr.user.x": b"v" * 1000}


@pytest.mark.parametrize(
    "data",
    [
        pax(XATTR_RECORD, b"g") + header(b"f") * 60,  # one record, for every entry that follows
        (pax(XATTR_RECORD) + header(b"f")) * 60,
        b"".join(pax({b"path": b"%0500d" % number}) + header(b"f") for number in range(250)),
        b"".join(pax({b"linkpath": b"%0500d" % number}) + header(b"f", flag=b"2") for number in range(250)),
        b"".join(pax({b"comment.%d" % number: b"v" * 1000}, b"g") for number in range(120)) + header(b"f"),
        b"".join(pax({b"comment.%d" % number: b"v" * 1000}) for number in range(120)) + header(b"f"),
        b"".join(
            header(b"var/lib/dpkg/info/%d.list" % number, size=2000) + padded(b"x" * 2000) for number in range(60)
        ),
        b"".join(header(b"%099d" % number) for number in range(5000)),
    ],
    ids=["global", "local", "names", "links", "pending global", "pending local", "captured", "header names"],
)
def test_text_is_bounded_in_bytes(tmp_path, monkeypatch, data):
    assert by_file(tmp_path / "x", data + END).entries
    monkeypatch.setattr(LIMITS, "text", 100_000)
    for read in (lambda: by_file(tmp_path / "x", data), lambda: by_stream(data, [4096])):
        with pytest.raises(ArchiveError, match=r"LIMITS\.text.*offset.*raise that limit"):
            read()


def test_global_pax_records_are_stored_once():
    """The attributes of all entries are one object until the column is made."""
    records = ExtensionRecords()
    records.add(ord("g"), b"30 SCHILY.xattr.user.x=abcdef\n")
    first = records.xattrs
    records.forget_local()
    assert records.xattrs is first == b"user.x=616263646566"
    records.add(ord("x"), b"25 SCHILY.xattr.user.y=b\n")
    assert records.xattrs == b"user.x=616263646566 user.y=62"
    records.forget_local()
    assert records.xattrs is first and records.size == 30


@pytest.mark.parametrize("size", [b"\x80" + b"\xff" * 11, b"\xff" * 12, b"\x80" + bytes(2) + b"\xff" * 9])
def test_sizes_beyond_any_file_are_refused(tmp_path, size):
    block = header(b"f")
    block = block[:124] + size + block[136:]
    block = block[:148] + b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:])) + block[156:]
    for read in (lambda: by_file(tmp_path / "x", block + END), lambda: by_stream(block + END, [300]),
                 lambda: list(walk_members(StreamWindow([block + END]), "x"))):  # fmt: skip
        with pytest.raises(ArchiveError, match=r"impossible size.*offset 0"):
            read()


def test_members_are_those_of_tarfile(varied):
    data = varied
    window = StreamWindow(chunked(data, [100, 7]))
    found = []
    for member in walk_members(window, "x"):
        contents = b"".join(window.contents(member.offset, member.size))
        found.append((member.name.rstrip(b"/"), bytes([member.flag]), member.link, contents))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert found == [
            (os.fsencode(entry.name), entry.type, os.fsencode(entry.linkname),
             archive.extractfile(entry).read() if entry.isfile() else b"")
            for entry in archive
        ]  # fmt: skip


def test_members_of_a_truncated_archive(varied):
    whole = len(list(walk_members(StreamWindow([varied]), "x")))
    for cut in range(1, len(varied) - 1024, 97):
        try:
            assert len(list(walk_members(StreamWindow([varied[:cut]]), "x"))) <= whole
        except ArchiveError as error:
            assert "offset" in str(error)
