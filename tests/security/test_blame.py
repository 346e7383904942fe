"""Finding → layer → instruction, on real images whose layers are known because they were made here."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pandas as pd
import pytest

from imagelab.core.errors import ImagelabError
from imagelab.core.model import Image, Layer
from imagelab.images.load import load_image
from imagelab.images.tables.layers import layers
from imagelab.images.tables.packages import packages
from imagelab.security.blame import BLAME_COLUMNS, _lines, blame
from imagelab.security.scans.findings import ScanReport
from imagelab.security.scans.reader import make_scan
from tests.support.images import image_of, layer_tar, sha256

NAME = "imagelab/blame:1"

TYPES = {"dpkg": ("deb", "debian"), "python": ("pypi", ""), "npm": ("npm", "")}
DOCKERFILE = """\
FROM localhost/debian:minbase
RUN mkdir -p /opt/lib/python3/site-packages /opt/node_modules/left-pad
COPY demo_lib-1.2.dist-info /opt/lib/python3/site-packages/demo_lib-1.2.dist-info
COPY package.json /opt/node_modules/left-pad/package.json
ENV A=b
COPY key.pem /app/key.pem
"""
#: The last three layers' instructions, by what they brought.
LINES = {"demo-lib": 3, "left-pad": 4, "/app/key.pem": 6}


@pytest.fixture(scope="module")
def built(modern, corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("blame")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    metadata = folder / "demo_lib-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: demo-lib\nVersion: 1.2\n\n")
    (folder / "package.json").write_text('{"name": "left-pad", "version": "1.3.0"}')
    (folder / "key.pem").write_text("x")
    subprocess.run([corpus.parent / "engine/base", "debian"], env=modern.env, check=True, capture_output=True)
    modern.docker("build", "--network=none", "-t", NAME, str(folder))
    path = folder / "image.tar"
    modern.docker("save", NAME, "-o", str(path))
    base = folder / "base.tar"
    modern.docker("save", "localhost/debian:minbase", "-o", str(base))
    modern.docker("rmi", NAME)
    return load_image(f"docker-archive:{path}"), f"docker-archive:{base}"


def generated(image, fixed=lambda name: "9.9"):
    """A report of one finding for each of the image's packages, as a scanner without layers writes it."""
    report = ScanReport("trivy", "made of il.packages", reference=image.reference)
    for row in packages(image).itertuples():
        kind, namespace = TYPES[row.manager]
        version = str(row.version).partition(":")[2] or row.version  # a purl keeps Debian's epoch apart
        purl = f"pkg:{kind}/{namespace + '/' if namespace else ''}{row.name}@{version}"
        report.add(
            "vulnerability",
            f"CVE-{row.Index}",
            package=row.name,
            version=version,
            purl=purl,
            severity="high",
            fixed_version=fixed(row.name),
        )
    report.add("secret", "private-key", path="/app/key.pem:1", severity="critical")
    return make_scan([("report", report)])


@pytest.mark.engine
def test_by_package_and_by_file(built):
    image, base = built
    scan = generated(image, fixed=lambda name: None if name == "bash" else "9.9")
    found = blame(scan, image, base=base, dockerfile=DOCKERFILE)
    assert list(found.columns) == [*scan.columns, *BLAME_COLUMNS] and len(found) == len(scan)
    assert found["layer_index"].notna().all()
    debian = found[found["purl"].str.startswith("pkg:deb/").fillna(False)]
    assert len(debian) > 50 and set(debian["layer_index"]) == {0} and set(debian["origin"]) == {"base"}
    assert set(debian["matched_by"]) == {"package"} and debian["dockerfile_line"].isna().all()
    for name, line in LINES.items():
        row = found[(found["package"] == name) | (found["path"] == name + ":1").fillna(False)].iloc[0]
        assert row["dockerfile_line"] == line and row["origin"] == "own" and row["instruction"] == "COPY"
        assert row["remedy"] == "change own lines"
        assert DOCKERFILE.splitlines()[line - 1].split()[1] in row["created_by"]
    assert found.loc[found["path"].notna(), "matched_by"].item() == "path"
    assert found.loc[found["package"] == "bash", "remedy"].item() == "no fix known"
    assert found["remedy"].value_counts().to_dict() == {
        "update the base": len(debian) - 1,
        "change own lines": 3,
        "no fix known": 1,
    }


@pytest.mark.engine
def test_by_diff_id_and_by_digest(built):
    image, base = built
    rows = layers(image)
    report = ScanReport("trivy", "x")
    for row in rows.itertuples():
        report.add("vulnerability", f"CVE-{row.Index}", diff_id=row.diff_id, severity="low")
        report.add("vulnerability", f"GHSA-{row.Index}", layer_digest=row.digest, severity="low")
    found = blame(make_scan([("x", report)]), image, base=base)
    assert list(found["layer_index"]) == [index for index in rows["layer_index"] for _ in range(2)]
    assert set(found["matched_by"]) == {"diff_id", "layer_digest"}
    assert list(found.drop_duplicates("layer_index")["origin"]) == ["base", *["own"] * (len(rows) - 1)]


@pytest.mark.engine
def test_the_dockerfile_alone_tells_base_from_own(built):
    image, _ = built
    found = blame(generated(image), image, dockerfile=DOCKERFILE)
    assert found.groupby("origin").size()["own"] == 3 and found["origin"].notna().all()


@pytest.mark.engine
def test_what_cannot_be_known_stays_unknown(built):
    image, _ = built
    report = ScanReport("x", "x")
    report.add("vulnerability", "CVE-1", package="no-such-package", version="1", severity="high", fixed_version="2")
    found = blame(make_scan([("x", report)]), image).iloc[0]
    assert pd.isna(found["layer_index"]) and pd.isna(found["matched_by"]) and pd.isna(found["remedy"])
    empty = blame(make_scan([]), image)
    assert len(empty) == 0 and list(empty.columns)[-len(BLAME_COLUMNS) :] == list(BLAME_COLUMNS)


def test_an_image_without_files_leaves_unknown_what_they_would_tell():
    report = ScanReport("x", "x")
    report.add("vulnerability", "CVE-1", package="libc6", version="1", severity="high")
    found = blame(make_scan([("x", report)]), Image("registry.example/x:1", "docker", (Layer(None),)))
    assert found["layer_index"].isna().all() and "file" in found.attrs["not_listed"]


def test_the_layer_that_wrote_a_record_last_is_not_the_layer_of_all_its_packages():
    record, rpm = b"lib/apk/db/installed", b"var/lib/rpm/rpmdb.sqlite"
    packages = [b"P:musl\nV:1\nF:lib\n\n", b"P:curl\nV:8\nF:usr/bin\n\n"]
    first = layer_tar([(record, "file", packages[0]), (rpm, "file", b"1")])
    tars = [first, layer_tar([(record, "file", b"".join(packages)), (rpm, "file", b"2")])]
    made = image_of(tars)
    image = replace(made, layers=tuple(Layer(sha256(tar)) for tar in tars))
    base = replace(image, layers=image.layers[:1], history=image.history[:1])
    report = ScanReport("grype", "x")
    for name, kind, path, layer in (
        ("musl", "apk", record, 1),
        ("curl", "apk", record, 1),
        ("bash", "rpm", rpm, 1),
        ("zlib", "rpm", rpm, 0),
    ):
        digest = image.layers[layer].diff_id
        report.add("vulnerability", "CVE-1", package=name, type=kind, path=f"/{path.decode()}", diff_id=digest)
    found = blame(make_scan([("x", report)]), image, base=base)
    assert found["layer_index"].fillna(-1).tolist() == [0, 1, -1, 0]
    assert found["matched_by"].fillna("").tolist() == ["package", "package", "", "diff_id"]
    assert found["origin"].fillna("").tolist() == ["base", "own", "", "base"]


def test_lines_of_stages_that_share_a_name():
    history = pd.DataFrame({"step": [0, 1, 2], "instruction": ["CMD", "COPY", "RUN"]})
    text = "FROM a AS b\nCOPY x /x\nFROM c AS d\nRUN no\nFROM B AS b\nRUN y\n"
    assert _lines(history, text).to_dict() == {2: 6, 1: 2}
    assert _lines(history, "CMD x\nCOPY x /x\n").empty


def test_what_is_no_scan_and_what_is_no_image():
    scan, image = make_scan([("x", ScanReport("trivy", "x"))]), load_image("example:base-busybox")
    for wrong in ("scan.json", layers(image)):
        with pytest.raises(ImagelabError, match=r"il\.read_scan gives"):
            blame(wrong, image)
    with pytest.raises(ImagelabError, match="was given 2"):
        blame(scan, [image, image])
