"""Changes: what to edit, ranked, with each finding counted once."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

import imagelab as il
from imagelab.charts import remediation_waterfall
from imagelab.core.model import HistoryEntry, Layer
from imagelab.security.remediation import NO_FIX, REMEDIATION_COLUMNS, remediation
from imagelab.security.removable import removable
from imagelab.security.scans.findings import ScanReport
from imagelab.security.scans.reader import make_scan
from tests.support.images import image_of, layer_tar, sha256

DOCKERFILE = """\
FROM example/base:1
RUN pip install flask==2.0.0 \\
    requests==2.25.0
RUN apt-get install -y libssl3
COPY key.pem /app/key.pem
"""


def blamed(scanner="trivy"):
    report = ScanReport(scanner, "x")
    own = {"purl": "pkg:pypi/requests@2.25.0", "package": "requests", "version": "2.25.0"}
    report.add("vulnerability", "CVE-1", severity="high", fixed_version="2.31.0", epss=0.5, **own)
    report.add("vulnerability", "CVE-2", severity="medium", fixed_version="2.9.0, 2.26.1", known_exploited=True, **own)
    system = {"severity": "low", "fixed_version": "3.1", "version": "3.0"}
    for name in ("libssl3", "openssl"):
        report.add("vulnerability", "CVE-3", package=name, purl=f"pkg:deb/debian/{name}@3.0", **system)
    report.add("vulnerability", "CVE-4", severity="critical", package="zlib", fixed_version="2", type="debian")
    report.add("vulnerability", "CVE-5", severity="low", package="bash", type="debian")
    report.add("secret", "private-key", severity="critical", path="/app/key.pem")
    report.add("vulnerability", "CVE-6", severity="low", package="x", suppressed="accepted")
    scan = make_scan([("x", report)])
    layer = pd.Series([1, 1, 2, 2, 0, 0, 3, 0], dtype="Int64")
    return scan.assign(
        layer_index=layer,
        change_line=layer.map({1: 2, 2: 4, 3: 5}).astype("Int64"),
        origin=layer.eq(0).map({True: "base", False: "own"}).astype("string"),
        origin_confidence="exact",
    )


def test_changes_are_ranked_and_count_each_finding_once():
    changes = remediation(blamed(), dockerfile=DOCKERFILE)
    assert list(changes.columns) == list(REMEDIATION_COLUMNS) and changes["findings"].sum() == 7
    assert changes["change"].tolist() == [
        "requests 2.25.0 → 2.31.0",
        "rebuild on a newer base image",
        "remove /app/key.pem from the image and replace the secret",
        "upgrade libssl3, openssl",
        NO_FIX,
    ]
    assert changes["line"].fillna(0).tolist() == [2, 1, 5, 4, 0]
    assert changes["remaining"].tolist() == [5, 4, 3, 1, 1]
    assert changes["known_exploited"].tolist() == [1, 0, 0, 0, 0] and changes["epss"].iloc[0] == 0.5
    assert changes["confidence"].fillna("").tolist() == ["likely"] * 4 + [""]
    assert "+    requests==2.31.0" in changes["diff"].iloc[0] and changes["diff"].iloc[1:].isna().all()


def test_a_pin_is_found_as_pip_compares_names():
    report = ScanReport("trivy", "x")
    report.add("vulnerability", "CVE-1", package="jinja2", version="2.11.2", fixed_version="2.11.3")
    report.add("vulnerability", "CVE-2", package="typing-extensions", version="4.0", fixed_version="4.1")
    scan = make_scan([("x", report)]).assign(change_line=2)
    changes = remediation(scan, dockerfile="FROM a\nRUN pip install Jinja2==2.11.2 typing_extensions==4.0\n")
    assert "Jinja2==2.11.3" in changes["diff"][0] and "typing_extensions==4.1" in changes["diff"][1]


@pytest.mark.parametrize(
    ("run", "changed"),
    [
        ("pip install 'requests[socks]==2.25.0' requests-oauth==2.25.0", "'requests[socks]==2.31.0' requests-oauth==2.25.0"),
        ("<<EOF\npip install requests==2.25.0\nEOF", "requests==2.31.0"),
        ("pip install \\\n# requests==2.25.0\n  requests==2.25.0", "+  requests==2.31.0"),
        ("go install requests@v2.25.0", "requests@v2.31.0"),
    ],
    ids=["extras", "heredoc", "comment", "v before the version"],
)  # fmt: skip
def test_a_pin_is_found_in_every_form(run, changed):
    report = ScanReport("trivy", "x")
    report.add("vulnerability", "CVE-1", package="requests", version="2.25.0", fixed_version="2.31.0")
    scan = make_scan([("x", report)]).assign(change_line=2)
    diff = remediation(scan, dockerfile=f"FROM a\nRUN {run}\nUSER 1\n")["diff"].item()
    assert changed in diff and diff.count("2.31.0") == 1


def test_two_scanners_count_a_finding_once():
    scan = blamed()
    both = pd.concat([scan, blamed("grype")], ignore_index=True)
    assert remediation(both)["findings"].sum() == remediation(scan)["findings"].sum() == 7


def test_a_guessed_base_is_possible_only():
    changes = remediation(blamed().assign(origin_confidence="possible"))
    assert set(changes["confidence"].dropna()) == {"possible"}


def test_an_embedded_scan_and_its_waterfall():
    scan = il.read_scan(il.data_path("scans/service-slim.facts.trivy.json"))
    changes = il.remediation(scan, "example:service-slim")
    assert changes["findings"].sum() == len(scan) and changes["kind"].iloc[-1] == "none"
    figure = remediation_waterfall(changes)
    drawn = {trace.name: list(trace.x) for trace in figure.data if trace.name}
    assert sum(bars[0] for bars in drawn.values()) == len(scan)
    assert sum(bars[-1] for bars in drawn.values()) == changes["findings"].iloc[-1]
    assert list(figure.data[0].x)[1:-1] == changes["remaining"].tolist()[:-1]
    assert "No findings" in remediation_waterfall(changes.head(0)).layout.title.text


def test_unblamed_and_empty_scans():
    report = ScanReport("trivy", "x")
    report.add("vulnerability", "CVE-1", package="a", version="1", fixed_version="2", severity="high")
    changes = remediation(make_scan([("x", report)]))
    assert changes["change"].tolist() == ["a 1 → 2"] and changes["confidence"].tolist() == ["possible"]
    image = image_of([layer_tar([(b"a", "file", b"x")])])
    assert il.remediation(make_scan([("x", ScanReport("trivy", "x"))]), image).empty


STATUS = """\
Package: libc6
Status: install ok installed
Version: 2.36
Architecture: amd64

"""
INSTALLED = """\
Package: curl
Status: install ok installed
Version: 7.88
Architecture: amd64
Depends: libc6 (>= 2.34), libcurl4 (= 7.88)

Package: libcurl4
Status: install ok installed
Version: 7.88
Architecture: amd64
Depends: libc6 (>= 2.34)

Package: nginx
Status: install ok installed
Version: 1.22
Architecture: amd64
Depends: libc6, httpd-common | nginx-common

Package: nginx-common
Status: install ok installed
Version: 1.22
Architecture: all

"""


def debian_image():
    status = b"var/lib/dpkg/status"
    own = [(status, "file", (STATUS + INSTALLED).encode())]
    for name in ("curl", "nginx"):
        own += [
            (f"usr/bin/{name}".encode(), "file", b"x"),
            (f"var/lib/dpkg/info/{name}.list".encode(), "file", f"/usr/bin/{name}\n".encode()),
        ]
    tars = [layer_tar([(status, "file", STATUS.encode())]), layer_tar(own)]
    steps = ("ADD rootfs.tar / # buildkit", "RUN /bin/sh -c apt-get install -y     curl=7.88     nginx # buildkit")
    diff_ids = [sha256(tar) for tar in tars]
    return dataclasses.replace(
        image_of(tars),
        layers=tuple(map(Layer, diff_ids)),
        history=tuple(HistoryEntry(None, step, empty_layer=False) for step in steps),
        config={"config": {"Cmd": ["/usr/bin/nginx", "-g", "daemon off;"]}, "rootfs": {"diff_ids": diff_ids}},
    ), dataclasses.replace(image_of(tars[:1]), layers=(Layer(diff_ids[0]),))


def test_a_program_that_a_step_runs_is_needed():
    image, _ = debian_image()
    assert "curl" in removable(image)
    for use in ("RUN curl -O x # buildkit", "RUN apt-get install -y curl && /usr/bin/curl -O x # buildkit"):
        step = HistoryEntry(None, use, empty_layer=True)
        assert "curl" not in removable(dataclasses.replace(image, history=(*image.history, step)))


def test_dependents_of_packages():
    installed = il.packages(debian_image()[0]).set_index("name")
    assert installed["needed_by"].to_dict() == {
        "libc6": "curl libcurl4 nginx",
        "curl": "",
        "libcurl4": "curl",
        "nginx": "",
        "nginx-common": "nginx",
    }


def test_records_without_dependencies_say_nothing_about_them():
    """An older snapshot has none."""
    record = STATUS + INSTALLED.replace("Depends: ", "X-Depends: ")
    program = [
        (b"usr/bin/curl", "file", b"x"),
        (b"var/lib/dpkg/info/curl.list", "file", b"/usr/bin/curl\n"),
        (b"var/lib/dpkg/status", "file", record.encode()),
    ]
    image = image_of([layer_tar([(b"var/lib/dpkg/status", "file", STATUS.encode())]), layer_tar(program)])
    assert il.packages(image)["needed_by"].isna().all() and removable(image) == {}


def test_a_program_that_nothing_needs_is_removed_with_its_libraries():
    report = ScanReport("trivy", "x")
    for name in ("curl", "libcurl4", "nginx"):
        purl = f"pkg:deb/debian/{name}@1"
        report.add("vulnerability", f"CVE-{name}", package=name, purl=purl, version="1", severity="high")
    fixable = {"package": "libcurl4", "purl": "pkg:deb/debian/libcurl4@1", "version": "1", "fixed_version": "2"}
    report.add("vulnerability", "CVE-fixed", severity="low", **fixable)
    image, base = debian_image()
    dockerfile = "FROM debian:12\nRUN apt-get install -y \\\n    curl=7.88 \\\n    nginx\n"
    changes = il.remediation(make_scan([("x", report)]), image, dockerfile=dockerfile, base=base)
    assert changes["change"].tolist() == ["remove curl: nothing needs it", NO_FIX]
    assert changes["findings"].tolist() == [3, 1] and changes["remaining"].tolist() == [1, 1]
    assert changes["confidence"].iloc[0] == "possible" and changes["packages"].iloc[0] == "curl, libcurl4"
    assert "-    curl=7.88 \\\n" in changes["diff"].iloc[0]
