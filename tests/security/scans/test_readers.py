"""Formats beyond the corpus, in the forms that the tools' public test files and schemas show."""

from __future__ import annotations

import json

import pytest

from imagelab.core.errors import ScanFormatError
from imagelab.security.gate import count_findings
from imagelab.security.suppress import suppressed

DIGEST = "sha256:" + "a" * 64
VECTOR = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"


def row(scan, *columns):
    return tuple(scan.iloc[0][column] for column in columns)


def count_rows(scan):
    return int((scan["finding"] != "error").sum())


@pytest.mark.parametrize("value", [None, True, 12, "x", [], {}, [[{}]]])
def test_odd_values_in_xray_and_clair(scan_of, value):
    component = {"fixed_versions": value, "impact_paths": value}
    issue = {
        "cves": value,
        "issue_id": "XRAY-1",
        "severity": value,
        "components": {"a://b:1": component},
        "references": value,
    }
    document = {"scan_id": "x", "component_id": value, "status": "completed", "vulnerabilities": [issue]}
    assert count_rows(scan_of(document)) == 1
    clair = {
        "manifest_hash": value,
        "packages": value,
        "vulnerabilities": {"9": {"name": value}},
        "environments": value,
    }
    assert count_rows(scan_of(clair | {"package_vulnerabilities": {"1": ["9"]}})) == 1


def test_inspector(scan_of):
    package = {"name": "openssl", "version": "3.0", "release": "r1", "packageManager": "OS", "fixedInVersion": "3.1",
               "sourceLayerHash": DIGEST}  # fmt: skip
    details = {"vulnerabilityId": "CVE-2024-1", "vulnerablePackages": [package, package | {"name": "libssl"}],
               "source": "NVD", "cvss": [{"scoringVector": VECTOR, "baseScore": 7.5}]}  # fmt: skip
    image = {"details": {"awsEcrContainerImage": {"repositoryName": "app", "imageTags": ["1"]}}}
    finding = {"findingArn": "arn:x", "type": "PACKAGE_VULNERABILITY", "severity": "HIGH", "status": "ACTIVE",
               "resources": [image], "packageVulnerabilityDetails": details, "epss": {"score": 0.5}}  # fmt: skip
    closed = finding | {"status": "SUPPRESSED"}
    scan = scan_of({"findings": [finding, closed]})
    assert len(scan) == 4 and len(suppressed(scan)) == 2 and count_findings(scan, "high") == 2
    columns = (
        "id",
        "package",
        "version",
        "fixed_version",
        "layer_digest",
        "reference",
        "epss",
        "cvss_score",
        "severity",
    )
    assert row(scan, *columns) == ("CVE-2024-1", "openssl", "3.0-r1", "3.1", DIGEST, "app:1", 0.5, 7.5, "high")
    with pytest.raises(ScanFormatError, match="further pages"):
        count_findings(scan_of({"findings": [finding], "nextToken": "x"}), "low")


def test_osv_scanner_with_layers(scan_of):
    entry = {
        "id": "DEBIAN-CVE-2024-1",
        "upstream": ["CVE-2024-1"],
        "severity": [{"type": "CVSS_V3", "score": VECTOR}],
        "affected": [
            {"package": {"name": "glibc"}, "ranges": [{"events": [{"introduced": "0"}, {"fixed": "2.36-9"}]}]},
            {"package": {"name": "other"}, "ranges": [{"events": [{"fixed": "9"}]}]},
        ],
    }
    package = {"name": "glibc", "os_package_name": "libc6", "version": "2.36-1", "ecosystem": "Debian:12",
               "image_origin_details": {"index": 1}}  # fmt: skip
    document = {
        "results": [
            {
                "source": {"path": "/var/lib/dpkg/status", "type": "os"},
                "packages": [
                    {
                        "package": package,
                        "vulnerabilities": [entry, entry | {"id": "DLA-1"}],
                        "groups": [{"ids": ["DEBIAN-CVE-2024-1", "DLA-1"], "max_severity": "7.5"}],
                    }
                ],
            }
        ],
        "image_metadata": {"layer_metadata": [{"diff_id": "sha256:0"}, {"diff_id": DIGEST}]},
    }
    scan = scan_of(document)
    columns = ("id", "package", "fixed_version", "severity", "diff_id", "path", "type")
    expected = ("CVE-2024-1", "libc6", "2.36-9", "high", DIGEST, "/var/lib/dpkg/status", "Debian")
    assert len(scan) == 1 and row(scan, *columns) == expected
    assert scan["aliases"].item() == "DEBIAN-CVE-2024-1, DLA-1"
    assert count_findings(scan_of({"results": [], "experimental_config": {}}), "low") == 0


def test_govulncheck_stream(scan_of):
    osv = {"id": "GO-2023-1840", "aliases": ["CVE-2023-29403"], "summary": "Unsafe behavior"}
    trace = [{"module": "stdlib", "version": "v1.20.1", "package": "runtime", "function": "x"}]
    finding = {"osv": "GO-2023-1840", "fixed_version": "v1.20.5", "trace": trace}
    config = {"protocol_version": "v1.0.0", "scanner_name": "govulncheck"}
    messages = [{"config": config}, {"osv": osv}, {"osv": {"id": "GO-1"}}, {"finding": finding}, {"finding": finding}]
    stream = "\n".join(json.dumps(message, indent=1) for message in messages).encode()
    for document in (stream, messages):
        scan = scan_of(document)
        columns = ("id", "aliases", "package", "version", "fixed_version", "type")
        expected = ("CVE-2023-29403", "GO-2023-1840", "stdlib", "v1.20.1", "v1.20.5", "golang")
        assert len(scan) == 1 and row(scan, *columns) == expected
    assert count_findings(scan_of([{"config": config}]), "unknown") == 0


def test_snyk_failures_policies_and_licences(scan_of):
    item = {
        "id": "SNYK-1",
        "name": "gcc/libgcc",
        "version": "1",
        "severity": "high",
        "identifiers": {"CVE": ["CVE-2024-1"]},
    }
    project = {
        "ok": False,
        "packageManager": "deb",
        "path": "app:1",
        "vulnerabilities": [item, item, {"id": "snyk:lic:x", "type": "license", "name": "x", "severity": "low"}],
        "filtered": {"ignore": [item | {"id": "SNYK-2"}]},
    }
    scan = scan_of(project)
    assert scan["finding"].tolist() == ["vulnerability", "license", "vulnerability"] and len(suppressed(scan)) == 1
    assert row(scan, "id", "aliases", "package", "reference") == ("CVE-2024-1", "SNYK-1", "libgcc", "app:1")
    with pytest.raises(ScanFormatError, match="Snyk reports: no access"):
        count_findings(scan_of({"ok": False, "error": "no access", "path": "app:1"}), "low")


def test_clair_v4(scan_of):
    document = {
        "manifest_hash": DIGEST,
        "packages": {"1": {"name": "openssl", "version": "3.0"}},
        "vulnerabilities": {"9": {"name": "CVE-2024-1111 on Alpine", "normalized_severity": "High", "fixed_in_version": "3.1",
                                  "links": "https://example.com/a https://example.com/b"}},
        "package_vulnerabilities": {"1": ["9"]},
        "environments": {"1": [{"introduced_in": DIGEST, "package_db": "lib/apk/db/installed"}]},
    }  # fmt: skip
    columns = ("id", "package", "fixed_version", "severity", "layer_digest", "path", "url")
    expected = ("CVE-2024-1111", "openssl", "3.1", "high", DIGEST, "lib/apk/db/installed", "https://example.com/a")
    assert row(scan_of(document), *columns) == expected
    with pytest.raises(ScanFormatError, match="no vulnerability 8"):
        count_findings(scan_of(document | {"package_vulnerabilities": {"1": ["8"]}}), "low")


def test_xray(scan_of):
    layer = f"generic://{DIGEST}/sha256__{'a' * 64}.tar.gz"
    component = {
        "fixed_versions": ["[2.15.0]"],
        "impact_paths": [[{"component_id": "docker://app:1"}, {"component_id": layer}]],
    }
    issue = {"cves": [{"cve": "CVE-2021-44228", "cvss_v3_score": "10.0"}], "issue_id": "XRAY-1", "severity": "Critical",
             "components": {"gav://org.apache:log4j-core:2.14.1": component}}  # fmt: skip
    document = {"scan_id": "x", "component_id": "docker://app:1", "status": "completed", "vulnerabilities": [issue]}
    columns = ("id", "package", "version", "fixed_version", "layer_digest", "severity", "reference", "cvss_score")
    expected = ("CVE-2021-44228", "org.apache:log4j-core", "2.14.1", "2.15.0", DIGEST, "critical", "app:1", 10.0)
    assert row(scan_of([document]), *columns) == expected
    with pytest.raises(ScanFormatError, match="status is failed"):
        count_findings(scan_of(document | {"status": "failed"}), "low")


def test_dockle(scan_of):
    details = [
        {"code": "CIS-DI-0001", "title": "Create a user", "level": "WARN", "alerts": ["Last user should not be root"]},
        {"code": "CIS-DI-0006", "title": "Add HEALTHCHECK", "level": "IGNORE", "alerts": []},
    ]
    scan = scan_of({"summary": {"fatal": 0, "warn": 1, "pass": 12}, "details": details})
    assert row(scan, "id", "severity", "title") == (
        "CIS-DI-0001",
        "medium",
        "Create a user: Last user should not be root",
    )
    assert list(suppressed(scan)["suppressed"]) == ["dockle's level: IGNORE"]


def test_trivy_on_a_cluster(scan_of, corpus):
    resource = {"Namespace": "a", "Kind": "Pod", "Name": "b", "Results": [], "Error": "image not found"}
    with pytest.raises(ScanFormatError, match="a/Pod/b: image not found"):
        count_findings(scan_of({"ClusterName": "c", "Resources": [resource]}), "low")
    report = json.loads((corpus / "scans/trivy/operator-vulnerabilityreport_many.json").read_text())
    scan = scan_of({"apiVersion": "v1", "kind": "List", "items": [report, report]})
    assert len(scan) == 82 and row(scan, "reference", "package", "severity") == (
        "library/nginx:alpine",
        "curl",
        "critical",
    )


def test_cyclonedx_xml(scan_of, corpus):
    content = b"""<?xml version="1.0"?>
<bom xmlns="http://cyclonedx.org/schema/bom/1.5" version="1">
  <metadata><tools><components><component type="application"><name>grype</name></component></components></tools></metadata>
  <components><component type="library" bom-ref="p"><name>zlib</name><version>1</version>
    <licenses><license><id>Zlib</id></license></licenses>
    <properties><property name="syft:location:0:path">/lib/z</property></properties></component></components>
  <vulnerabilities><vulnerability><id>CVE-2024-1</id><ratings><rating><severity>high</severity></rating></ratings>
    <affects><target><ref>p</ref></target></affects></vulnerability></vulnerabilities>
</bom>"""
    scan = scan_of(content)
    assert scan["finding"].tolist() == ["package", "vulnerability"] and scan["scanner"][0] == "grype"
    assert scan["title"][0] == "Zlib" and set(scan["path"]) == {"/lib/z"} and scan["severity"][1] == "high"
    odd = b'<bom xmlns="http://cyclonedx.org/schema/bom/1.2"><components><component>x</component></components></bom>'
    assert (
        count_rows(scan_of(odd)) == 0
        and count_rows(scan_of(b'<bom xmlns="http://cyclonedx.org/schema/bom/1.2"/>')) == 0
    )
    with pytest.raises(ScanFormatError, match="document type"):
        scan_of(content.replace(b"<bom", b'<!DOCTYPE b [<!ENTITY a "b">]><bom', 1))
    with pytest.raises(ScanFormatError, match="damaged XML"):
        scan_of(content[:-10])


def test_spdx_tag_value_and_spdx_3_models(scan_of):
    content = b"""SPDXVersion: SPDX-2.3
DocumentName: app
Creator: Tool: syft-1.2.3
Created: 2024-01-01T00:00:00Z

PackageName: zlib
SPDXID: SPDXRef-zlib
PackageVersion: 1.3
PackageSourceInfo: <text>acquired package info from APK DB:
 /lib/apk/db/installed</text>
PackageLicenseDeclared: Zlib
ExternalRef: PACKAGE-MANAGER purl pkg:apk/alpine/zlib@1.3

FileName: ./x
SPDXID: SPDXRef-x

Relationship: SPDXRef-DOCUMENT DESCRIBES SPDXRef-app
"""
    scan = scan_of(content)
    assert row(scan, "id", "version", "type", "title", "scanner") == (
        "pkg:apk/alpine/zlib@1.3",
        "1.3",
        "apk",
        "Zlib",
        "syft",
    )
    with pytest.raises(ScanFormatError, match="an SBOM"):
        count_findings(scan, "low")
    graph = [{"type": kind, "spdxId": kind, "name": kind} for kind in ("ai_AIPackage", "dataset_DatasetPackage")]
    scan = scan_of({"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": graph})
    assert scan["package"].tolist() == ["ai_AIPackage", "dataset_DatasetPackage"]


def test_another_tools_matches_are_not_grypes(scan_of):
    for document in ({"matches": [{"rule": "x"}]}, {"matches": [], "descriptor": {"name": "other"}}, {"matches": []}):
        with pytest.raises(ScanFormatError, match="not a known scanner's report"):
            scan_of(document)
