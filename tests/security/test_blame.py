"""Blame on real images whose layers are known because they are built here."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from imagelab.build.dockerfile.read import read_dockerfile
from imagelab.core.errors import ImagelabError
from imagelab.core.model import Image, Layer
from imagelab.images.load import load_image
from imagelab.images.tables.layers import layers
from imagelab.images.tables.packages import packages
from imagelab.security.blame import BLAME_COLUMNS, blame
from imagelab.security.origin import DockerfileLines, step_lines
from imagelab.security.scans.findings import ScanReport
from imagelab.security.scans.reader import make_scan, read_scan
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
def test_the_dockerfile_separates_base_from_own(built):
    image, _ = built
    found = blame(generated(image), image, dockerfile=DOCKERFILE)
    assert found.groupby("origin").size()["own"] == 3 and found["origin"].notna().all()


@pytest.mark.engine
def test_unknown_packages_stay_unknown(built):
    image, _ = built
    report = ScanReport("x", "x")
    report.add("vulnerability", "CVE-1", package="no-such-package", version="1", severity="high", fixed_version="2")
    found = blame(make_scan([("x", report)]), image).iloc[0]
    assert pd.isna(found["layer_index"]) and pd.isna(found["matched_by"]) and pd.isna(found["remedy"])
    empty = blame(make_scan([]), image)
    assert len(empty) == 0 and list(empty.columns)[-len(BLAME_COLUMNS) :] == list(BLAME_COLUMNS)


def test_an_image_without_files_leaves_layers_unknown():
    report = ScanReport("x", "x")
    report.add("vulnerability", "CVE-1", package="libc6", version="1", severity="high")
    found = blame(make_scan([("x", report)]), Image("registry.example/x:1", "docker", (Layer(None),)))
    assert found["layer_index"].isna().all() and "file" in found.attrs["not_listed"]


def test_the_last_writer_of_a_database_is_not_the_layer_of_all_its_packages():
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
    assert step_lines(history, text) == {2: 6, 1: 2}
    assert step_lines(history, "CMD x\nCOPY x /x\n") == {}


def test_wrong_arguments_are_refused():
    scan, image = make_scan([("x", ScanReport("trivy", "x"))]), load_image("example:base-busybox")
    for wrong in ("scan.json", layers(image)):
        with pytest.raises(ImagelabError, match=r"il\.read_scan gives"):
            blame(wrong, image)
    with pytest.raises(ImagelabError, match="was given 2"):
        blame(scan, [image, image])


@pytest.mark.parametrize("report", ["trivy.json", "syft.cdx.json"])
def test_chown_does_not_move_a_finding(field_security, report):
    image = load_image(f"docker-archive:{field_security / 'chown/image.tar'}")
    found = blame(
        read_scan(field_security / "chown" / report), image, dockerfile=field_security / "chown" / "Dockerfile"
    )
    lodash = found[found["package"] == "lodash"].iloc[0]
    assert (lodash["layer_index"], lodash["instruction"], lodash["dockerfile_line"]) == (1, "COPY", 2)
    assert (lodash["origin"], lodash["origin_confidence"]) == ("own", "likely")
    row = packages(image).set_index("name").loc["lodash"]
    assert (row["layer_index"], row["record_layer_index"]) == (1, 2)


def test_a_rewrite_with_other_bytes_or_after_a_deletion_is_the_layers_own():
    path, gone = b"app/lib/x.jar", b"app/lib/.wh.x.jar"
    versions = [[(path, "file", b"one")], [(path, "file", b"one")], [(path, "file", b"two")], [(path, "file", b"two")]]
    deleted = [[(path, "file", b"one")], [(gone, "file", b"")], [(path, "file", b"one")], [(path, "file", b"one")]]
    report = ScanReport("grype", "x")
    report.add("vulnerability", "CVE-1", package="x", type="java-archive", path="/app/lib/x.jar", severity="high")
    scan = make_scan([("x", report)])
    for contents in (versions, deleted):
        assert blame(scan, image_of([layer_tar(entries) for entries in contents]))["layer_index"].item() == 2


def test_debian_and_alpine_source_packages():
    status = (
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc\nVersion: 2.36-9\n\n"
        "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nSource: bash (5.1-2)\nVersion: 5.1-2+b1\n\n"
    )
    apk = "P:libcrypto3\nV:3.1-r0\no:openssl\nF:lib\n\n"
    image = image_of(
        [
            layer_tar([(b"var/lib/dpkg/status", "file", status.encode())]),
            layer_tar([(b"lib/apk/db/installed", "file", apk.encode())]),
        ]
    )
    assert packages(image)["source"].tolist() == ["glibc 2.36-9", "bash 5.1-2", "openssl 3.1-r0"]
    report = ScanReport("osv-scanner", "x")
    for name, version in (("glibc", "2.36-9"), ("openssl", "3.1-r0"), ("bash", "5.1-2"), ("zlib", "1")):
        report.add("vulnerability", "CVE-1", package=name, version=version, severity="high")
    found = blame(make_scan([("x", report)]), image)
    assert found["layer_index"].fillna(-1).tolist() == [0, 1, 0, -1]
    assert found["matched_by"].fillna("").tolist() == ["source_package", "source_package", "package", ""]


def test_the_exact_version_of_a_source_precedes_another_version_of_the_name():
    """openssl 1 is installed; libssl3 is built from openssl 2, in a later layer."""
    stanza = "Package: {}\nStatus: install ok installed\nArchitecture: amd64\n{}Version: {}\n\n"
    status = [stanza.format("libssl3", "Source: openssl\n", n) + stanza.format("openssl", "", 1) for n in (1, 2)]
    image = image_of([layer_tar([(b"var/lib/dpkg/status", "file", text.encode())]) for text in status])
    report = ScanReport("x", "x")
    for version in ("1", "2"):
        report.add("vulnerability", "CVE-1", package="openssl", version=version, type="deb", severity="high")
    found = blame(make_scan([("x", report)]), image)
    assert found["layer_index"].tolist() == [0, 1] and found["matched_by"].tolist() == ["package", "source_package"]


@pytest.mark.parametrize("inside", [":BOOT-INF/lib/x.jar", "/BOOT-INF/lib/x.jar", "!/BOOT-INF/lib/x.jar", ""])
def test_a_jar_in_an_archive_is_the_archives(inside):
    image = image_of([layer_tar([(b"app/app.jar", "file", b"one")]), layer_tar([(b"app/app.jar", "file", b"two")])])
    report = ScanReport("grype", "x")
    report.add(
        "vulnerability", "CVE-1", package="x", type="java-archive", path=f"/app/app.jar{inside}", severity="high"
    )
    assert blame(make_scan([("x", report)]), image)["layer_index"].item() == 1


STAGES = """\
FROM golang AS deps
RUN go install example.com/tool
FROM deps AS build
RUN apk add git
RUN go build -o /app
FROM scratch
COPY --from=build /app /usr/bin/app
COPY x /x
"""


def test_copy_from_names_the_builders_run():
    lines = DockerfileLines(read_dockerfile(STAGES), {0: 7, 1: 8})
    assert lines.change_line(7, "stdlib", "go") == 5
    assert lines.change_line(7, "git", "apk") == 4
    assert lines.change_line(7, "unknown", None) == 7  # several RUNs, and none names it
    assert lines.change_line(8, "x", "npm") == 8
    single = read_dockerfile("FROM a AS b\nRUN make\nFROM b AS c\nCOPY --from=0 /x /x\nFROM d\nCOPY --from=c /x /x\n")
    assert DockerfileLines(single, {}).change_line(6, "x", None) == 2


def test_a_finding_that_names_its_line_keeps_it():
    report = ScanReport("hadolint", "x")
    report.add("misconfiguration", "DL3008", path="build/Dockerfile:14", severity="medium")
    report.add("secret", "key", path="/app/notes.txt:3", severity="high")
    found = blame(make_scan([("x", report)]), image_of([layer_tar([(b"app/notes.txt", "file", b"x")])]))
    assert found["dockerfile_line"].fillna(0).tolist() == [14, 0]
    assert found["matched_by"].tolist() == ["line", "path"]


@pytest.mark.engine
@pytest.mark.parametrize("kind", ["modern", "classic"])
def test_a_base_without_cmd_is_recognised_in_the_engine(request, kind, tmp_path, monkeypatch):
    engine = request.getfixturevalue(kind)
    for name, value in engine.env.items():
        monkeypatch.setenv(name, value)
    metadata = "Metadata-Version: 2.1\\nName: {}\\nVersion: {}\\n"
    folder = "/usr/lib/python3/dist-packages"
    old, new = (f"printf '{metadata.format('requests', version)}' > {folder}/requests-{version}.dist-info/METADATA"
                for version in ("2.25.0", "2.31.0"))  # fmt: skip
    tag = f"security-{kind}"
    for name, text in (
        (f"{tag}-base:1", f"FROM localhost/busybox:static\nRUN mkdir -p {folder}/requests-2.25.0.dist-info && {old}\n"),
        (f"{tag}-chown:1", f"FROM {tag}-base:1\nENV A=b\nRUN chown -R 1000 {folder}\nUSER 1000\n"),
        (
            f"{tag}-upgrade:1",
            f"FROM {tag}-base:1\nRUN rm -r {folder}/requests-* && mkdir {folder}/requests-2.31.0.dist-info && {new}\n",
        ),
    ):
        engine.docker("build", "-q", "--network=none", "-t", name, "-", input=text)
    report = ScanReport("grype", "x")
    for version in ("2.25.0", "2.31.0"):
        path = f"{folder}/requests-{version}.dist-info/METADATA"
        report.add("vulnerability", "CVE-1", package="requests", version=version, type="python", path=path,
                   severity="high", fixed_version="9")  # fmt: skip
    scan = make_scan([("x", report)])
    moved = blame(scan.head(1), f"docker-daemon:{tag}-chown:1")
    upgraded = blame(scan.tail(1), f"docker-daemon:{tag}-upgrade:1")
    for name in ("chown", "upgrade", "base"):
        engine.docker("rmi", "-f", f"{tag}-{name}:1")
    assert (moved["layer_index"].item(), moved["origin"].item()) == (1, "base")
    assert (upgraded["layer_index"].item(), upgraded["origin"].item()) == (2, "own")
    assert {moved["origin_confidence"].item(), upgraded["origin_confidence"].item()} == {"exact"}


BUILDER = """\
FROM localhost/busybox:static AS build
RUN mkdir -p /out && echo go build > /out/app && echo jar > /out/x.jar
RUN echo unrelated
FROM {base}
COPY --from=build /out/app /usr/local/bin/app
COPY --from=build /out/x.jar /app/lib/x.jar
RUN chmod -R a+r /app && chown -R 1000 /usr/local/bin
"""


@pytest.mark.engine
@pytest.mark.parametrize("kind", ["modern", "classic"])
def test_binaries_and_jars_of_a_builder_stage(request, kind, monkeypatch):
    engine = request.getfixturevalue(kind)
    for name, value in engine.env.items():
        monkeypatch.setenv(name, value)
    tag = f"security-{kind}-builder"
    dockerfile = BUILDER.format(base="localhost/busybox:static")
    engine.docker("build", "-q", "--network=none", "-t", f"{tag}:1", "-", input=dockerfile)
    report = ScanReport("grype", "x")
    for package, type_, path in (
        ("stdlib", "go-module", "/usr/local/bin/app"),
        ("x", "java-archive", "/app/lib/x.jar"),
    ):
        report.add("vulnerability", "CVE-1", package=package, version="1", type=type_, path=path, severity="high",
                   fixed_version="2")  # fmt: skip
    found = blame(make_scan([("x", report)]), f"docker-daemon:{tag}:1", dockerfile=dockerfile)
    engine.docker("rmi", "-f", f"{tag}:1")
    assert found["layer_index"].tolist() == [1, 2] and set(found["origin"]) == {"own"}
    assert found["dockerfile_line"].tolist() == [5, 6]
    assert found["change_line"].tolist() == [2, 2]


def test_the_dockerfile_in_the_provenance_names_the_builders_run():
    image = load_image(Path(__file__).resolve().parents[1] / "data/images/provenance-max.oci.tar")
    report = ScanReport("x", "x")
    for path in ("/out", "/a", "/base"):
        report.add("secret", path, path=path, severity="high")
    found = blame(make_scan([("x", report)]), image).set_index("path")
    assert found["origin"].to_dict() == {"/out": "own", "/a": "own", "/base": "base"}
    assert set(found["origin_confidence"]) == {"exact"}
    assert found.loc[["/out", "/a"], "dockerfile_line"].tolist() == [15, 11]
    assert found.loc[["/out", "/a"], "change_line"].tolist() == [3, 11]  # COPY --from: the builder's RUN
