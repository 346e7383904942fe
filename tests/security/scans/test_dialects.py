"""What single scanners write in the shared formats: their sentences, their shortcuts, their names for nothing."""

from __future__ import annotations

import json

import pytest

from imagelab.core.errors import ScanFormatError
from imagelab.security.gate import count_findings
from imagelab.security.suppress import suppressed

VECTOR = "AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"


def sarif(tool, rule, *results):
    run = {
        "tool": {"driver": {"name": tool, "rules": [rule]}},
        "results": [{"ruleId": rule["id"]} | r for r in results],
    }
    return {"version": "2.1.0", "runs": [run]}


def snyk(identifier, severity, full, tags, score, remediation):
    return {
        "id": identifier,
        "shortDescription": {"text": f"{severity} severity - Resource Exhaustion vulnerability in thing"},
        "fullDescription": {"text": full},
        "help": {"text": "", "markdown": f"## Overview\nlong\n## Remediation\n{remediation}\n## References\n"},
        "properties": {"tags": ["security", "CWE-400", *tags], "cvssv3_baseScore": score, "security-severity": "7.5"},
    }


def test_snyk_sarif_of_an_image(scan_of):
    message = {
        "message": {"text": "This file introduces a vulnerable thing package with a low severity vulnerability."}
    }
    rule = snyk(
        "SNYK-JS-THING-9789073",
        "Low",
        "(CVE-2025-1000,CVE-2025-1001) @scope/thing@2.0.1",
        ["npm"],
        7.5,
        "Upgrade `@scope/thing` to version 1.1.12, 2.0.2 or higher.",
    )
    row = scan_of(sarif("Snyk Container", rule, message)).iloc[0]
    assert (row["finding"], row["id"], row["aliases"]) == (
        "vulnerability",
        "SNYK-JS-THING-9789073",
        "CVE-2025-1000, CVE-2025-1001",
    )
    assert (row["package"], row["version"], row["fixed_version"]) == ("@scope/thing", "2.0.1", "1.1.12, 2.0.2")
    assert row["severity"] == "low" and row["cvss_score"] == 7.5  # the distribution's word, not the score's
    rule = snyk(
        "SNYK-DEBIAN12-GLIBC-1546991",
        "Low",
        "(CVE-2019-1010024) glibc/libc-bin@2.36-9+deb12u1",
        ["deb"],
        None,
        "There is no fixed version for `Debian:12` `glibc`.",
    )
    row = scan_of(sarif("Snyk Container", rule, message)).iloc[0]
    assert (row["package"], row["version"], row["type"]) == ("libc-bin", "2.36-9+deb12u1", "deb")
    assert row.isna()["fixed_version"] and row["aliases"] == "CVE-2019-1010024"
    rule = snyk("npm:ms:20170412", "High", "ms@0.7.1", ["npm"], 7.5, "Upgrade `ms` to version 2.0.0 or higher.")
    row = scan_of(sarif("Snyk Container", rule, message)).iloc[0]
    assert (row["finding"], row["id"], row["package"]) == ("vulnerability", "npm:ms:20170412", "ms")


def test_snyk_sarif_of_a_dockerfile_is_of_misconfigurations(scan_of):
    rule = {"id": "SNYK-CC-AWS-422", "shortDescription": {"text": "Low severity - Topic is not encrypted"}}
    scan = scan_of(sarif("Snyk IaC", rule, {"level": "warning", "message": {"text": "This line contains a ..."}}))
    assert list(scan["finding"]) == ["misconfiguration"] and list(scan["severity"]) == ["low"]


def test_osv_scanner_sarif(scan_of):
    rule = {"id": "CVE-2021-1000", "deprecatedIds": ["CVE-2021-1000", "GHSA-aaaa-bbbb-cccc"]}
    text = "Package '@babel/traverse@7.0.1' is vulnerable to 'CVE-2021-1000' (also known as 'GHSA-aaaa-bbbb-cccc')."
    place = {"physicalLocation": {"artifactLocation": {"uri": "file:///src/a%20b/package-lock.json"}}}
    row = scan_of(sarif("osv-scanner", rule, {"message": {"text": text}, "locations": [place]})).iloc[0]
    assert (row["package"], row["version"], row["aliases"]) == ("@babel/traverse", "7.0.1", "GHSA-aaaa-bbbb-cccc")
    assert row["path"] == "/src/a b/package-lock.json"


def test_jfrog_sarif(scan_of):
    rule = {
        "id": "CVE-2022-1000_CVE-2022-1001_semver_7.3.5",
        "shortDescription": {"text": "[CVE-2022-1000, CVE-2022-1001] semver 7.3.5"},
        "properties": {"security-severity": "7.5"},
    }
    result = {
        "message": {"text": "[CVE-2022-1000, CVE-2022-1001] npm 8.0.0"},
        "properties": {"fixedVersion": "[7.5.2], [6.3.1]"},
    }
    row = scan_of(sarif("JFrog Xray Scanner", rule, result)).iloc[0]
    assert (row["finding"], row["id"], row["aliases"]) == ("vulnerability", "CVE-2022-1000", "CVE-2022-1001")
    assert (row["package"], row["version"], row["severity"]) == ("semver", "7.3.5", "high")
    assert row["fixed_version"] == "[7.5.2], [6.3.1]"
    rule |= {"id": "XRAY-12345_semver_7.3.5", "shortDescription": {"text": "[XRAY-12345] semver 7.3.5"}}
    row = scan_of(
        sarif("JFrog Xray Scanner", rule, result | {"properties": {"fixedVersion": "No fix available"}})
    ).iloc[0]
    assert row["id"] == "XRAY-12345" and row.isna()["fixed_version"]


def test_grype_sarif_of_an_advisory(scan_of):
    rule = {"id": "ALAS-2021-1647-curl", "name": "RpmMatcherExactDirectMatch"}
    text = "A high vulnerability in rpm package: curl, version 7.61 was found in image app:1 at: /var/lib/rpm/Packages"
    row = scan_of(sarif("Grype", rule, {"message": {"text": text}})).iloc[0]
    assert (row["finding"], row["id"], row["package"]) == ("vulnerability", "ALAS-2021-1647", "curl")


def test_trivy_sarif_of_scores_licenses_and_unknowns(scan_of):
    properties = {"tags": ["vulnerability", "security", "UNKNOWN"], "security-severity": "0.0"}
    rule = {"id": "CVE-2013-7445", "name": "OsPackageVulnerability", "properties": properties}
    result = {"message": {"text": "Package: a\nInstalled Version: 1\nFixed Version: "}}
    row = scan_of(sarif("Trivy", rule, result)).iloc[0]
    assert row["severity"] == "unknown" and row.isna()["cvss_score"]
    properties |= {"cvssv2_vector": "AV:N/AC:L/Au:N/C:N/I:N/A:C", "cvssv2_score": 7.8}
    row = scan_of(sarif("Trivy", rule, result)).iloc[0]
    assert (row["cvss_version"], row["cvss_score"]) == ("2.0", 7.8)
    properties |= {"cvssv40_vector": "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:L/VI:N/VA:N/SC:N/SI:N/SA:N"}
    row = scan_of(sarif("Trivy", rule, result)).iloc[0]
    assert (row["cvss_version"], row["cvss_score"]) == ("4.0", 6.9)
    rule = {"id": "musl:MIT", "name": "License", "properties": {"tags": ["license", "security", "LOW"]}}
    text = "Artifact: OS Packages\nLicense MIT\nPkgName: musl\n Classification: notice\n Path: "
    row = scan_of(sarif("Trivy", rule, {"message": {"text": text}})).iloc[0]
    assert (row["finding"], row["id"], row["package"], row["severity"]) == ("license", "MIT", "musl", "low")
    rule = {"id": ":MIT", "name": "License", "properties": {"tags": ["license", "security", "LOW"]}}
    text = "Artifact: Loose File License(s)\nLicense MIT\nPkgName: \n Classification: notice\n Path: /etc/a.pl"
    row = scan_of(sarif("Trivy", rule, {"message": {"text": text}})).iloc[0]
    assert (row["id"], row["path"]) == ("MIT", "/etc/a.pl") and row.isna()["package"]


def gitlab(**item):
    location = {"file": "go.sum", "dependency": {"package": {"name": "yaml"}, "version": "2.2.2"}}
    scan = {"type": "dependency_scanning", "scanner": {"id": "gemnasium"}}
    return {"version": "15.0.7", "scan": scan, "vulnerabilities": [{"location": location, "severity": "High"} | item]}


def test_gitlab_dependency_scanning(scan_of):
    own = {"type": "gemnasium", "name": "Gemnasium-7368f513", "value": "7368f513", "url": "https://example.com/own"}
    weakness = {"type": "cwe", "name": "CWE-400", "value": "CWE-400"}
    item = {"name": "XML Entity Expansion", "cve": "go.sum:yaml:gemnasium:7368f513"}
    scan = scan_of(gitlab(**item, identifiers=[weakness, own], solution="Upgrade to version 2.2.3 or above."))
    row = scan.iloc[0]
    assert (row["id"], row["fixed_version"], row["path"]) == ("Gemnasium-7368f513", "2.2.3", "go.sum")
    assert row.isna()["aliases"] and row["url"] == "https://example.com/own"
    scan = scan_of(gitlab(**item, identifiers=[own], solution="Upgrade to versions 2.2.3, 3.0.1 or above."))
    assert scan["fixed_version"].item() == "2.2.3, 3.0.1"
    scan = scan_of(gitlab(identifiers=[own], cve="CVE-2018-1000", solution="Upgrade yaml from 2.2.2 to 2.2.4"))
    assert scan["id"].item() == "CVE-2018-1000" and scan["fixed_version"].item() == "2.2.4"
    scan = scan_of(gitlab(identifiers=[own], name="CVE-2018-1000", solution="No solution provided"))
    assert scan["id"].item() == "CVE-2018-1000" and scan["fixed_version"].isna().all()


def test_gitlab_names_of_nothing_and_of_other_scans(scan_of):
    document = gitlab(identifiers=[{"type": "cve", "value": "TEMP-0841856-B18BAF"}])
    document["vulnerabilities"][0]["location"] |= {"image": "Unknown", "operating_system": "Unknown"}
    row = scan_of(document).iloc[0]
    assert row["id"] == "TEMP-0841856-B18BAF" and row.isna()["reference"] and row.isna()["target"]
    item = {"category": "sast", "identifiers": [{"type": "a", "value": "b"}], "location": {"file": "x"}}
    with pytest.raises(ScanFormatError, match="GitLab report of type sast"):
        scan_of({"version": "15.1.0", "vulnerabilities": [item]})
    item |= {"category": "container_scanning", "severity": "Low", "message": "m"}
    assert list(scan_of({"version": "2.3", "vulnerabilities": [item]})["id"]) == ["b"]


def cyclonedx(*vulnerabilities, **more):
    return {"bomFormat": "CycloneDX", "specVersion": "1.4", "vulnerabilities": list(vulnerabilities)} | more


def test_cyclonedx_vectors_without_their_beginning(scan_of):
    ratings = [
        {"method": "CVSSv2", "score": 6.5, "severity": "medium", "vector": "AV:N/AC:L/Au:S/C:P/I:P/A:P"},
        {"method": "CVSSv3", "score": 9.8, "severity": "critical", "vector": VECTOR},
    ]
    row = scan_of(cyclonedx({"id": "CVE-2018-1000", "ratings": ratings})).iloc[0]
    assert (row["cvss_version"], row["cvss_score"], row["cvss_vector"]) == ("3.0", 9.8, f"CVSS:3.0/{VECTOR}")
    rating = {"vector": f"CVSS:3.1/{VECTOR}"}  # the method may be missing
    row = scan_of(cyclonedx({"id": "CVE-2018-1000", "ratings": [rating]})).iloc[0]
    assert (row["cvss_version"], row["cvss_score"], row["severity"]) == ("3.1", 9.8, "critical")


def test_cyclonedx_severity_is_the_source_s_then_nvd_s(scan_of):
    ratings = [{"source": {"name": name}, "severity": word} for name, word in (("a", "high"), ("nvd", "low"))]
    assert scan_of(cyclonedx({"id": "CVE-2018-1000", "ratings": ratings}))["severity"].item() == "low"
    item = {"id": "CVE-2018-1000", "source": {"name": "a"}, "ratings": ratings}
    assert scan_of(cyclonedx(item))["severity"].item() == "high"


def test_trivy_cyclonedx_recommends_for_each_package(scan_of):
    components = [
        {"bom-ref": "a", "type": "library", "group": "org.a", "name": "core", "version": "1"},
        {"bom-ref": "b", "type": "library", "name": "libssl", "version": "1"},
        {"bom-ref": "c", "name": "untyped", "version": "1"},
    ]
    item = {
        "id": "CVE-2018-1000",
        "source": {"name": "alpine", "url": "https://example.com/database"},
        "advisories": [{"url": "https://example.com/other"}, {"url": "https://example.com/cve-2018-1000"}],
        "recommendation": "Upgrade org.a:core to version 1.1, 2.0; Upgrade libssl to version 1.1.1d-r0",
        "affects": [{"ref": "a"}, {"ref": "b"}, {"ref": "c"}],
    }
    root = {"component": {"type": "application", "name": "app", "version": "1.0.0"}}
    scan = scan_of(cyclonedx(item, components=components, metadata=root))
    found = scan[scan["finding"] == "vulnerability"].set_index("package")
    assert found["fixed_version"].fillna("").to_dict() == {
        "org.a/core": "1.1, 2.0",
        "libssl": "1.1.1d-r0",
        "untyped": "",
    }
    assert set(found["url"]) == {"https://example.com/cve-2018-1000"}
    assert list(scan.loc[scan["finding"] == "package", "package"]) == ["org.a/core", "libssl", "untyped"]
    assert scan.attrs["reports"][0]["digests"] == []
    item |= {"recommendation": "Upgrade core to version 2.9.5 or higher.", "affects": [{"ref": "a"}]}
    scan = scan_of(cyclonedx(item, components=components))
    assert list(scan["fixed_version"].dropna()) == ["2.9.5"]


def test_cyclonedx_packages_behind_links_and_xray_s_own_references(scan_of):
    part = {"bom-ref": "pkg:deb/a:b:apt@1.8", "type": "application", "name": "a:b:apt", "version": "1.8"}
    scan = scan_of(cyclonedx({"bom-ref": "pkg:deb/a:b:apt@1.8", "id": "CVE-2011-1000"}, components=[part]))
    assert list(scan["package"]) == ["a:b:apt", "a:b:apt"]
    link = {"ref": "urn:cdx:3e671687/1#pkg:maven/org.a/core@2.4"}
    row = scan_of(cyclonedx({"id": "CVE-2021-1000", "affects": [link]})).iloc[0]
    assert (row["package"], row["version"], row["purl"]) == ("core", "2.4", "pkg:maven/org.a/core@2.4")


def test_grype_matches_in_a_list_and_in_lines(scan_of):
    old = {"vulnerability": {"id": "CVE-1999-0001", "fixedInVersion": "2"}, "artifact": {"name": "a", "version": "1"}}
    new = {"vulnerability": {"id": "CVE-1999-0002", "risk": 1.0, "fix": {"versions": ["2"]}}, "artifact": {"name": "a"}}
    assert list(scan_of([old, old])["fixed_version"]) == ["2", "2"]
    lines = json.dumps(old).encode() + b"\n" + json.dumps(new).encode() + b"\n"
    assert list(scan_of(lines)["id"]) == ["CVE-1999-0001", "CVE-1999-0002"]
    assert scan_of(new)["known_exploited"].item() == False  # noqa: E712  # a nullable boolean
    with pytest.raises(ScanFormatError, match="several JSON documents"):
        scan_of(b'{"vulnerability": 1}{"vulnerability": 2}')
    with pytest.raises(ScanFormatError, match="several JSON documents"):
        scan_of(b'{"vulnerability": 1}\n{"vulnerability":')
    item = {"id": "CVE-1999-0001", "properties": [{"name": "grype:fixed_versions", "value": "1.2"}]}
    assert scan_of(cyclonedx(item))["fixed_version"].item() == "1.2"


def test_spdx_3_as_syft_writes_it(scan_of):
    source = "acquired package info from DPKG DB: /var/lib/dpkg/status"
    graph = [
        {"type": "Tool", "name": "syft-v1.2.3"},
        {"type": "CreationInfo", "created": "2025-01-01T00:00:00Z"},
        {"type": "software_Package", "spdxId": "root", "name": "image"},
        {"type": "software_Package", "spdxId": "a", "name": "bash", "software_sourceInfo": source},
        {"type": "software_Sbom", "rootElement": ["root"]},
    ]
    scan = scan_of({"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": graph})
    shown = scan[scan["suppressed"].isna()]
    assert list(shown["package"]) == ["bash"] and list(shown["path"]) == ["/var/lib/dpkg/status"]
    assert list(suppressed(scan)["id"]) == ["image"]
    report = scan.attrs["reports"][0]
    assert (report["scanner"], report["scanner_version"], report["scanned"]) == (
        "syft",
        "v1.2.3",
        "2025-01-01T00:00:00Z",
    )
    del graph[3]
    scan = scan_of({"@context": "https://spdx.github.io/spdx-spec/v3.0/model/spdx-context.jsonld", "@graph": graph})
    assert list(scan["package"]) == ["image"]


def test_what_trivy_s_sboms_say_of_the_image(scan_of):
    facts = {"ImageID": "sha256:1", "RepoDigest": "app@sha256:2", "RepoTag": "app:1"}
    properties = [{"name": f"aquasecurity:trivy:{name}", "value": value} for name, value in facts.items()]
    root = {"type": "container", "name": "app.tar", "properties": properties}
    notes = [{"comment": f"{name}: {value}"} for name, value in facts.items()]
    spdx = {
        "spdxVersion": "SPDX-2.3",
        "documentDescribes": ["root"],
        "packages": [{"SPDXID": "root", "name": "app.tar", "annotations": notes}, {"SPDXID": "a", "name": "a"}],
    }
    for document in (cyclonedx(metadata={"component": root}), spdx):
        report = scan_of(document).attrs["reports"][0]
        assert (report["image_id"], report["digests"], report["tags"]) == ("sha256:1", ["app@sha256:2"], ["app:1"])


def test_trivy_before_schema_2_names_the_image_in_a_target(scan_of):
    links = ["https://example.com/other", "https://example.com/elsa-2016-1"]
    finding = {"VulnerabilityID": "ELSA-2016-1", "PkgName": "glibc", "Severity": "HIGH", "References": links}
    results = [{"Target": "a/Gemfile.lock"}, {"Target": "host/app:1 (oracle 7.9)", "Vulnerabilities": [finding]}]
    row = scan_of(results).iloc[0]
    assert (row["reference"], row["url"]) == ("host/app:1", "https://example.com/elsa-2016-1")


def test_scout_s_first_sarif_has_one_purl(scan_of):
    properties = {"purl": "pkg:maven/com.a/b@1.4.5", "cvssV3_severity": "UNSPECIFIED", "fixed_version": "not fixed"}
    rule = {"id": "GMS-2022-9109", "name": "OsPackageVulnerability", "properties": properties}
    row = scan_of(sarif("docker scout", rule, {})).iloc[0]
    assert (row["id"], row["package"], row["version"], row["severity"]) == ("GMS-2022-9109", "b", "1.4.5", "unknown")


def test_a_scan_that_failed_is_not_silently_clean(scan_of):
    runs = [
        {"tool": {"driver": {"name": "a"}}},
        {"tool": {"driver": {"name": "b"}}, "results": [], "invocations": [{"executionSuccessful": False}]},
        {"tool": {"driver": {"name": "c"}}, "results": [], "invocations": [{"executionSuccessful": True}]},
    ]
    scan = scan_of({"version": "2.1.0", "runs": runs})
    assert list(scan["finding"]) == ["error", "error"] and list(scan["id"]) == ["no-results", "scan-failed"]
    document = gitlab()
    document["scan"]["status"], document["vulnerabilities"] = "failure", []
    assert list(scan_of(document)["id"]) == ["scan-failed"]


@pytest.mark.parametrize(
    "document",
    [
        {"SchemaVersion": 2, "ArtifactName": "a", "Results": "none"},
        {"SchemaVersion": 2, "ArtifactName": "a", "Results": [{"Target": "a", "Vulnerabilities": {"CVE-1": {}}}]},
        {
            "version": "2.1.0",
            "runs": [
                sarif("a", {"id": "r"})["runs"][0]
                | {"invocations": [{"toolExecutionNotifications": [{"level": "error"}]}]}
            ],
        },
        gitlab() | {"scan": {"type": "container_scanning", "status": "success", "messages": [{"level": "fatal"}]}},
        {key: value for key, value in gitlab().items() if key != "vulnerabilities"},
        gitlab() | {"vulnerabilities": None},
        {
            "version": "2.1.0",
            "runs": [
                sarif("a", {"id": "r"})["runs"][0]
                | {"invocations": [{"toolConfigurationNotifications": [{"level": "error"}]}]}
            ],
        },
        {
            "version": "2.1.0",
            "runs": [
                sarif("a", {"id": "r"})["runs"][0]
                | {"externalPropertyFileReferences": {"results": [{"location": {"uri": "more.sarif"}}]}}
            ],
        },
    ],
    ids=[
        "text for a list",
        "object for a list",
        "error while scanning",
        "fatal message",
        "no vulnerabilities",
        "null vulnerabilities",
        "error in the configuration",
        "results in another file",
    ],
)
def test_a_scan_that_is_not_complete_passes_no_gate(scan_of, document):
    with pytest.raises(ScanFormatError, match="not complete"):
        count_findings(scan_of(document))
