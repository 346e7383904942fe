"""What holds a report, and what is none: read, or refused by its name."""

from __future__ import annotations

import gzip

import pytest

from imagelab.core.errors import ScanFormatError


def test_reports_inside_attestations_and_exports(scan_of):
    finding = {"VulnerabilityID": "CVE-2021-1000", "PkgName": "a", "Severity": "LOW"}
    trivy = {"SchemaVersion": 2, "ArtifactName": "app", "Results": [{"Target": "t", "Vulnerabilities": [finding]}]}
    vuln = {"invocation": {}, "scanner": {"uri": "pkg:github/x@1", "result": trivy}, "metadata": {}}
    for document in (vuln, {"_type": "https://in-toto.io/Statement/v1", "predicateType": "p", "predicate": vuln}):
        assert list(scan_of(document)["id"]) == ["CVE-2021-1000"]
    spdx = {"spdxVersion": "SPDX-2.3", "packages": [{"name": "a", "versionInfo": "1"}]}
    assert list(scan_of({"sbom": spdx})["package"]) == ["a"]
    with pytest.raises(ScanFormatError, match="in p: JSON, but not a known scanner's report"):
        scan_of({"predicateType": "p", "predicate": {"builder": {}}})


@pytest.mark.parametrize(
    ("document", "name"),
    [
        (b"[][{}]", "several JSON documents"),
        (b" \n", "the file is empty"),
        (b"PK\x03\x04abc", "zip archive"),
        (b"BZh91AY", "compressed file"),
        (b"\xfd7zXZ\x00", "compressed file"),
        (b"\x28\xb5\x2f\xfd\x00", "compressed file"),
        (b"Vulnerability ID,Severity,Package name\nCVE-1,Low,a\n", "scanner's CSV"),
        (b"Dockerfile:1 DL3006 warning: Always tag\n", "hadolint's text"),
        (b"hadolint:a/Dockerfile:1: SC2086 info: Double quote\n", "hadolint's text"),
        (b'{"filename":"D","patternId":"DL3006"}{"filename":"D","patternId":"DL3015"}', "Codacy"),
        (b'{"check_name":"DL3006","type":"issue"}\0{"check_name":"DL3015"}', "Code Climate"),
        ({"issues": [{"engineId": "Hadolint", "ruleId": "DL3006"}]}, "SonarQube"),
        ({"count": 0, "pagesize": 50, "result": []}, "Aqua"),
        ({"cves": []}, "Aqua"),
        ({"resources": [{"resource": None, "vulnerabilities": []}]}, "Aqua"),
        ([{"image_name": "a", "results": {}}], "Aqua"),
        ({"generated_at": "x", "scanner": {"name": "Trivy"}, "vulnerabilities": []}, "Harbor"),
        ([{"sha256:0": {}}], "Anchore"),
        ([{"detail": [], "finalAction": "stop"}], "Anchore"),
        ({"policyId": "x", "evaluations": []}, "Anchore"),
        ({"total_rows": 1, "rows": []}, "JFrog"),
        ({"artifacts": [{"general": {}, "issues": []}]}, "JFrog"),
        ({"report": {"vulnerabilities": [], "modules": []}}, "NeuVector"),
        ({"results": [{"vulnerabilityDistribution": {}}]}, "Twistlock"),
        ({"payloadType": "application/vnd.in-toto+json", "payload": "e30=", "signatures": []}, "DSSE"),
    ],
)
def test_what_is_not_read_is_called_by_its_name(scan_of, document, name):
    with pytest.raises(ScanFormatError, match=name):
        scan_of(document)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"", "is empty"),
        (b"\xff\xfe\x00\xd8", "not JSON"),
        (b"[" * 100_000, "nested"),
        (b'{"a":' * 50_000, "nested|neither"),
        (b"hello", "not JSON"),
        (b"3", "a int"),
        (b"{}", "an object with"),
        (b'{"kind": "Pod", "apiVersion": "v1"}', "Kubernetes object"),
        (b"NAME   INSTALLED  FIXED-IN\n", "Grype's table"),
        (b"No vulnerabilities found\n", "Grype's table"),
        ("┌───┬───┐\n│ Target │ Type │".encode(), "table for people"),
        (b"\n\nimage (debian 12)\nTotal: 3 (HIGH: 3)\n", "table for people"),
        (b'[{"ProductArn": "x", "SchemaVersion": "2018-10-08"}]', "Security Hub"),
        (b'{"application/vnd.security.vulnerability.report; version=1.1": {}}', "Harbor"),
        (b"<html><body>", "XML or HTML"),
        (gzip.compress(b"x" * 100, mtime=0)[:20], "cannot be read"),
        (b'{"@context": "https://openvex.dev/ns/v0.2.0", "statements": []}', "OpenVEX"),
    ],
)
def test_what_is_no_report_is_refused(scan_of, document, message):
    with pytest.raises(ScanFormatError, match=message):
        scan_of(document)
