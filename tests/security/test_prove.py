"""A change is proven by a real build and a second scan.

The scanner is a stand-in for Grype, whose vulnerability database cannot be had offline: Syft really reads the packages of
the built image, and the one vulnerability of the list is that of a package made here.
"""

from __future__ import annotations

import difflib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import imagelab as il
from imagelab.core.errors import ImagelabError
from imagelab.security.prove import apply_diff

DOCKERFILE = """\
FROM localhost/python:minbase
LABEL imagelab.test=security
COPY wheels /wheels
RUN --network=none pip install --break-system-packages --no-index --find-links=/wheels \\
    imagelab-demo==1.0
RUN --network=none pip install --break-system-packages --no-index --find-links=/wheels imagelab-other==1.0
"""
STAND_IN = """\
#!{python}
import json, subprocess, sys
python = ["--override-default-catalogers", "python-installed-package-cataloger"]
syft = ["syft", "scan", "-q", *python, "-o", "cyclonedx-json", sys.argv[-1]]
done = subprocess.run(syft, capture_output=True, check=True)
matches = []
for package in json.loads(done.stdout)["components"]:
    if package["name"].startswith("imagelab-") and package.get("version", "") < "1.1":
        facts = {{"id": "CVE-2099-" + package["name"], "severity": "High", "fix": {{"state": "fixed", "versions": ["1.1"]}}}}
        artifact = {{"name": package["name"], "version": package["version"], "type": "python", "purl": package["purl"]}}
        matches.append({{"vulnerability": facts, "artifact": artifact}})
print(json.dumps({{"matches": matches, "descriptor": {{"name": "grype", "version": "0"}}, "source": {{"type": "image"}}}}))
"""


def wheel(folder, name, version):
    """A wheel without files: METADATA is all that pip and Syft read."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as made:
        made.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        made.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr(f"{info}/RECORD", "")


@pytest.mark.engine
def test_a_change_is_built_and_scanned_again(debian, corpus, tmp_path, monkeypatch):
    subprocess.run([corpus.parent / "engine/base", "python"], env=debian.env, check=True, capture_output=True)
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "grype").write_text(STAND_IN.format(python=sys.executable))
    (tools / "grype").chmod(0o755)
    for name, value in debian.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{tools}:{Path(sys.executable).parent}:{debian.env['PATH']}")
    context = tmp_path / "context"
    (context / "wheels").mkdir(parents=True)
    for name, version in (("imagelab-demo", "1.0"), ("imagelab-demo", "1.1"), ("imagelab-other", "1.0")):
        wheel(context / "wheels", name, version)
    dockerfile = context / "Dockerfile"
    dockerfile.write_text(DOCKERFILE)
    debian.docker("build", "-q", "-t", "security-prove", str(context))
    try:
        scan = il.run_scan("docker-daemon:security-prove", "grype")
        assert sorted(scan["package"]) == ["imagelab-demo", "imagelab-other"]
        changes = il.remediation(
            scan, "security-prove", dockerfile=dockerfile, base="localhost/python:minbase", prove="grype"
        ).set_index("packages")
    finally:
        debian.docker("image", "rm", "-f", "security-prove")
    assert changes.loc["imagelab-demo", "confidence"] == "proven"
    assert changes.loc["imagelab-demo", "outcome"] == "built and scanned with grype: 1 gone, 0 new"
    other = changes.loc["imagelab-other"]  # its fixed version cannot be installed
    assert other["confidence"] == "likely" and other["outcome"].startswith("not confirmed: ")
    assert "imagelab-remediation" not in debian.docker("image", "ls")


def test_a_diff_is_applied():
    before = "FROM a\nRUN x \\\n    y\nCMD z\n"
    for after in ("FROM a\nRUN x\nCMD z\n", "FROM b\nRUN x \\\n    y\nCMD zz\n"):
        diff = "".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), "a", "b", n=1))
        assert apply_diff(before, diff) == after


def test_prove_needs_the_file():
    scan = il.read_scan(il.data_path("scans/service-slim.facts.trivy.json"))
    with pytest.raises(ImagelabError, match="give dockerfile, a path"):
        il.remediation(scan, dockerfile="FROM a\n", prove="trivy")
