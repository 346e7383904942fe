"""Real scanners on archives made here: what needs no vulnerability database."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from imagelab.core.errors import ImagelabError, ScanFormatError
from imagelab.images.tables.layers import layers
from imagelab.security.blame import blame
from imagelab.security.run import TOOLS, run_scan
from imagelab.security.scans.findings import ScanReport
from imagelab.security.scans.reader import make_scan
from tests.conftest import missing

TOKEN = "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"


@pytest.fixture(autouse=True)
def tools_on_the_path(monkeypatch):
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))


def need(tool):
    if shutil.which(TOOLS[tool].command[0]) is None:
        missing(f"{tool} is not installed: {TOOLS[tool].get}")


@pytest.fixture(scope="module")
def saved(modern, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scanned")
    (folder / "config.txt").write_text(f"token = {TOKEN}\n")
    package = folder / "demo-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nLicense: GPL-3.0-only\n\n")
    (folder / "Dockerfile").write_text(
        f"FROM localhost/busybox:static\nENV GITHUB_TOKEN={TOKEN}\nCOPY config.txt /app/\n"
        "COPY demo-1.0.dist-info /usr/lib/python3/site-packages/demo-1.0.dist-info\n"
    )
    modern.docker("build", "--network=none", "-t", "imagelab/scanned:1", str(folder))
    path = folder / "image.tar"
    modern.docker("save", "imagelab/scanned:1", "-o", str(path))
    modern.docker("rmi", "imagelab/scanned:1")
    return path


@pytest.mark.engine
def test_trivy_finds_secrets_misconfigurations_and_licenses(saved):
    need("trivy")
    options = [
        "--scanners",
        "secret,license",
        "--image-config-scanners",
        "misconfig,secret",
        "--skip-check-update",
        "--offline-scan",
        "--skip-db-update",
    ]
    scan = run_scan(saved, "trivy", *options)
    kinds = scan["finding"].value_counts()
    assert kinds["secret"] >= 1 and kinds["license"] >= 1 and kinds["misconfiguration"] >= 1
    in_file = scan[(scan["finding"] == "secret") & scan["path"].str.contains("config.txt", na=False)].iloc[0]
    layer = layers(f"docker-archive:{saved}").set_index("diff_id").loc[in_file["diff_id"]]
    assert layer["instruction"] == "COPY" and "config.txt" in layer["created_by"]
    assert TOKEN not in scan.to_csv()
    assert scan.attrs["reports"][0]["scanner_version"] and set(scan["scanner"]) == {"trivy"}


@pytest.mark.engine
def test_syft_lists_packages(saved):
    need("syft")
    scan = run_scan(f"docker-archive:{saved}", "syft")
    demo = scan[scan["package"] == "demo"].iloc[0]
    assert (demo["finding"], demo["version"], demo["purl"]) == ("package", "1.0", "pkg:pypi/demo@1.0")
    rows = layers(f"docker-archive:{saved}").set_index("diff_id")
    assert "demo-1.0" in rows.loc[demo["diff_id"], "created_by"]


def test_hadolint_reads_a_dockerfile(tmp_path):
    need("hadolint")
    path = tmp_path / "Dockerfile"
    path.write_text("FROM debian\nRUN apt-get update\nRUN cd /x && sudo make\n")
    scan = run_scan(path, "hadolint")
    assert {"DL3006", "DL3004"} <= set(scan["id"]) and set(scan["finding"]) == {"misconfiguration"}
    assert scan["path"].str.endswith(":1").any()


def test_what_cannot_run_says_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(ImagelabError, match="expected one of trivy"):
        run_scan("x", "clair")
    with pytest.raises(ScanFormatError, match=r"grype cannot read snapshot|not an image"):
        monkeypatch.setitem(TOOLS, "fake", TOOLS["grype"]._replace(command=("true",)))
        run_scan("docker-daemon:--help", "fake")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImagelabError, match=r"not on the PATH. Get it"):
        run_scan("x", "grype")


def test_failures_are_shown(tmp_path, monkeypatch):
    script = tmp_path / "grype"
    script.write_text('#!/bin/sh\necho \'{"matches": []}\'\n[ -e "$4" ] || { echo no such image >&2; exit 3; }\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))
    with pytest.raises(ImagelabError, match="exit code 3:\nno such image"):
        run_scan("docker://host/x:1", "grype")
    script.write_text("#!/bin/sh\necho nonsense\n")
    with pytest.raises(ScanFormatError, match="not JSON"):
        run_scan("x", "grype")
    script.write_text("#!/bin/sh\nsleep 30\n")
    with pytest.raises(ImagelabError, match="was stopped"):
        run_scan("x", "grype", timeout=0.3)


#: Layers that chown, rewrite, delete, upgrade and copy through a stage, over a base.
LAYERED = """\
FROM localhost/debian:minbase AS build
RUN mkdir -p /stage/left-pad && printf '{"name": "left-pad", "version": "1.3.0"}' > /stage/left-pad/package.json
FROM localhost/debian:minbase
COPY --from=build /stage /srv/node_modules
COPY METADATA /usr/lib/python3/dist-packages/demo-1.2.dist-info/METADATA
COPY METADATA /usr/lib/python3/dist-packages/other-1.2.dist-info/METADATA
RUN chown -R 1000 /srv/node_modules && chmod -R a+rX /usr/lib/python3/dist-packages
RUN cp /srv/node_modules/left-pad/package.json /x && cp /x /srv/node_modules/left-pad/package.json
RUN sed -i 's/1.2$/1.3/' /usr/lib/python3/dist-packages/demo-1.2.dist-info/METADATA
RUN sed -i '/^Package: tar$/,/^$/ s/^Version: .*/Version: 9.9-1/' /var/lib/dpkg/status
RUN sed -i '/^Package: gzip$/,/^$/d' /var/lib/dpkg/status
COPY --from=build --chown=1:1 /stage /opt/node_modules
RUN rm -r /usr/lib/python3/dist-packages/other-1.2.dist-info
"""


@pytest.mark.engine
def test_blame_finds_the_layers_that_trivy_names(debian, tmp_path):
    """Trivy's list of packages has the layer of each; blame gets the list without the layers."""
    need("trivy")
    (tmp_path / "METADATA").write_text("Metadata-Version: 2.1\nName: demo\nVersion: 1.2\n\n")
    (tmp_path / "Dockerfile").write_text(LAYERED)
    image, tag = tmp_path / "image.tar", "security-trivy-layers"
    debian.docker("build", "-q", "--network=none", "-t", tag, str(tmp_path))
    debian.docker("save", tag, "-o", str(image))
    debian.docker("rmi", tag)
    options = [
        "--quiet",
        "--format=json",
        "--list-all-pkgs",
        "--scanners=license",
        "--offline-scan",
        "--skip-db-update",
    ]
    document = json.loads(subprocess.check_output(["trivy", "image", *options, f"--input={image}"]))
    report, named = ScanReport("other", "other"), []
    for result in document["Results"]:
        for package in result.get("Packages", []):
            version = "-".join(filter(None, [package["Version"], package.get("Release")]))
            report.add("vulnerability", "CVE-1", package=package["Name"], version=version, type=result["Type"],
                       purl=package["Identifier"]["PURL"], path=package.get("FilePath"), severity="high")  # fmt: skip
            named.append(document["Metadata"]["DiffIDs"].index(package["Layer"]["DiffID"]))
    found = blame(make_scan([("list", report)]), f"docker-archive:{image}")
    assert found["layer_index"].tolist() == named and len(set(named)) == 5 and len(named) > 50
