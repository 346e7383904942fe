"""Corners of the formats that the corpus does not show, and what hostile or damaged files do."""

from __future__ import annotations

import contextlib
import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagelab.core.errors import ScanFormatError
from imagelab.core.json_fields import text
from imagelab.security.gate import count_findings
from imagelab.security.scans.findings import cvss, is_counted, score_severity, severity
from imagelab.security.scans.reader import make_scan, parse_report, read_scan
from imagelab.security.suppress import suppressed


def test_trivy_damaged_entries_and_passed_checks(scan_of):
    result = {
        "Target": "image",
        "Misconfigurations": [{"ID": "DS001", "Status": "PASS"}, {"ID": "DS002", "Status": "FAIL", "Severity": "LOW"}],
        "Vulnerabilities": [{"PkgName": "no-id"}, "text", None],
    }
    scan = scan_of({"SchemaVersion": 2, "ArtifactName": "a", "Results": [result, "nonsense"]})
    assert list(scan["id"]) == [
        "vulnerability-" + scan["id"][0].split("-")[1],
        "not-read",
        "not-read",
        "DS001",
        "DS002",
        "not-read",
    ]
    assert suppressed(scan)["suppressed"].tolist() == ["check did not fail: PASS"]
    assert scan["package"][0] == "no-id" and list(scan["finding"]).count("error") == 3
    with pytest.raises(ScanFormatError, match="an entry of Vulnerabilities is str, not an object"):
        count_findings(scan, "high")


def test_grype_ignored_and_known_exploited(scan_of):
    match = {
        "vulnerability": {
            "id": "GHSA-aaaa-bbbb-cccc",
            "severity": "Critical",
            "fix": {"versions": [], "state": "wont-fix"},
            "knownExploited": [{"cve": "CVE-2024-1"}],
            "risk": 9.1,
        },
        "relatedVulnerabilities": [{"id": "CVE-2024-1", "epss": [{"epss": 0.5}]}],
        "artifact": {"name": "x", "version": "1", "type": "npm", "purl": "pkg:npm/x@1"},
    }
    ignored = match | {"appliedIgnoreRules": [{"vulnerability": "CVE-2024-1", "reason": "tested"}]}
    scan = scan_of({"matches": [match], "ignoredMatches": [ignored], "descriptor": {"name": "grype"}})
    row = scan.iloc[0]
    assert (
        row["known_exploited"]
        and row["epss"] == 0.5
        and row["status"] == "will_not_fix"
        and row["aliases"] == "CVE-2024-1"
    )
    assert "tested" in suppressed(scan)["suppressed"].item()


def test_one_scout_rule_of_two_packages_makes_two_rows(scan_of):
    rule = {
        "id": "CVE-2024-1234",
        "name": "OsPackageVulnerability",
        "properties": {"purls": ["pkg:deb/debian/a@1", "pkg:deb/debian/b@2"]},
    }
    results = [
        {
            "ruleId": "CVE-2024-1234",
            "ruleIndex": 0,
            "message": {
                "text": f"  Severity : HIGH \n  Package : pkg:deb/debian/{name} \n  Fixed version : not fixed \n"
            },
        }
        for name in ("a@1", "b@2")
    ]
    scan = scan_of(
        {
            "version": "2.1.0",
            "runs": [{"tool": {"driver": {"name": "docker scout", "rules": [rule]}}, "results": results}],
        }
    )
    assert list(scan["package"]) == ["a", "b"] and list(scan["version"]) == ["1", "2"]
    assert scan["fixed_version"].isna().all() and set(scan["severity"]) == {"high"}


def test_sarif_generalities(scan_of):
    driver = {
        "name": "Tool",
        "rules": [
            {"id": "R1", "defaultConfiguration": {"level": "note"}, "messageStrings": {"m": {"text": "bad {0}"}}}
        ],
    }
    results = [
        {"ruleIndex": 0, "message": {"id": "m", "arguments": ["port"]}},
        {
            "ruleId": "R2",
            "level": "error",
            "message": {"text": "x"},
            "locations": [{"physicalLocation": {"artifactLocation": {"index": 0}, "region": {"startLine": 7}}}],
        },
        {"ruleId": "R3", "kind": "pass"},
        {"ruleId": "R4", "suppressions": [{"kind": "external", "justification": "fine"}]},
        {"ruleId": "R5", "baselineState": "absent"},
    ]
    run = {"tool": {"driver": driver}, "artifacts": [{"location": {"uri": "Dockerfile"}}], "results": results}
    scan = scan_of({"version": "2.1.0", "runs": [run]})
    assert list(scan[is_counted(scan)]["id"]) == ["R1", "R2"] and list(scan["severity"])[:2] == ["low", "high"]
    assert scan["title"].iloc[0] == "bad port" and scan["path"].iloc[1] == "Dockerfile:7"
    assert list(suppressed(scan)["suppressed"]) == [
        "SARIF kind: pass",
        "suppressed: fine",
        "absent from this run (SARIF baseline)",
    ]


def test_cyclonedx_vex_links_and_files(scan_of):
    scan = scan_of(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "metadata": {"tools": [{"name": "Tool"}], "component": {"bom-ref": "root", "name": "app"}},
            "components": [
                {"bom-ref": "p", "type": "library", "group": "@a", "name": "p", "version": "1"},
                {"type": "file", "name": "/x"},
            ],
            "vulnerabilities": [
                {
                    "id": "CVE-2024-1",
                    "affects": [{"ref": "urn:cdx:1/1#p"}, {"ref": "root"}],
                    "ratings": [{"severity": "info"}],
                    "recommendation": "Upgrade p to version 2.0",
                },
                {"id": "CVE-2024-2", "analysis": {"state": "false_positive", "detail": "not ours"}},
            ],
        }
    )
    shown = scan[scan["suppressed"].isna()]
    assert list(shown["finding"]) == ["package", "vulnerability", "vulnerability"]
    assert list(shown["package"]) == ["@a/p", "@a/p", "app"] and shown["fixed_version"].iloc[1] == "2.0"
    assert len(suppressed(scan)) == 2


def test_cyclonedx_without_severities_or_components(scan_of):
    rating = {"method": "CVSSv3", "score": 10.0, "vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H"}
    affects = [{"ref": "pkg:npm/%40a/b@1.0"}, {"ref": "unknown"}]
    item = {"id": "CVE-2021-44228", "ratings": [rating], "affects": affects}
    scan = scan_of({"bomFormat": "CycloneDX", "specVersion": "1.4", "vulnerabilities": [item]})
    assert set(scan["severity"]) == {"critical"} and scan["package"].iloc[0] == "b" and scan["version"].iloc[0] == "1.0"
    assert scan["package"].isna().tolist() == [False, True]


def test_spdx3_security_profile(scan_of):
    graph = [
        {"type": "SpdxDocument", "spdxId": "d", "name": "image"},
        {
            "type": "software_Package",
            "spdxId": "p",
            "name": "openssl",
            "software_packageVersion": "1",
            "software_packageUrl": "pkg:apk/alpine/openssl@1",
        },
        {
            "type": "security_Vulnerability",
            "spdxId": "v",
            "externalIdentifier": [{"externalIdentifierType": "cve", "identifier": "CVE-2024-1"}],
        },
        {"type": "security_Vulnerability", "spdxId": "w", "name": "CVE-2024-2"},
        {"type": "Relationship", "relationshipType": "hasAssociatedVulnerability", "from": "p", "to": ["v", "w"]},
        {
            "type": "security_CvssV3VulnAssessmentRelationship",
            "from": "v",
            "to": ["p"],
            "security_score": 7.5,
            "security_severity": "high",
            "security_vectorString": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H",
        },
        {
            "type": "security_VexNotAffectedVulnAssessmentRelationship",
            "from": "w",
            "to": ["p"],
            "security_justificationType": "componentNotPresent",
        },
    ]
    scan = scan_of({"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": graph})
    assert list(scan["id"]) == ["pkg:apk/alpine/openssl@1", "CVE-2024-1", "CVE-2024-2"]
    assert scan["severity"].iloc[1] == "high" and scan["package"].iloc[1] == "openssl"
    assert "componentNotPresent" in suppressed(scan)["suppressed"].item()


def test_gitlab_15_with_vectors(scan_of):
    item = {
        "id": "1",
        "name": "CVE-2024-1",
        "severity": "Info",
        "solution": "Upgrade libssl to 1.2.3",
        "location": {"dependency": {"package": {"name": "libssl"}, "version": "1.2"}, "image": "app:1"},
        "identifiers": [
            {"type": "ghsa", "value": "GHSA-aaaa-bbbb-cccc"},
            {"type": "cve", "value": "CVE-2024-1", "url": "https://example.com"},
        ],
        "cvss_vectors": [{"vendor": "NVD", "vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}],
    }
    scan = scan_of(
        {
            "version": "15.0.7",
            "vulnerabilities": [item],
            "scan": {"type": "container_scanning", "scanner": {"id": "trivy"}},
        }
    )
    row = scan.iloc[0]
    assert (row["id"], row["aliases"], row["fixed_version"], row["severity"]) == (
        "CVE-2024-1",
        "GHSA-aaaa-bbbb-cccc",
        "1.2.3",
        "negligible",
    )
    assert row["cvss_score"] == 7.5 and row["reference"] == "app:1"
    assert len(scan_of({"version": "3.0.0", "vulnerabilities": [], "remediations": []})) == 0
    with pytest.raises(ScanFormatError, match="GitLab report of type sast"):
        scan_of({"version": "15", "vulnerabilities": [], "scan": {"type": "sast"}})


def test_a_vulnerability_that_names_no_component_is_of_none(scan_of):
    parts = [{"type": "library", "name": name, "version": "1"} for name in "ab"]  # bom-ref is optional
    document = {"bomFormat": "CycloneDX", "components": parts, "vulnerabilities": [{"id": "CVE-2024-1"}]}
    assert scan_of(document)["package"].fillna("").tolist() == ["a", "b", ""]


def test_secrets_are_masked_in_suppressed_findings(scan_of):
    token = "ghp_" + "abcdefghij" * 4
    results = [
        {"ruleId": "r", "message": {"text": f"found {token}"}, "suppressions": [{"justification": f"old {token}"}]}
    ]
    run = {"tool": {"driver": {"name": "x"}}, "results": results, "properties": {"imageName": f"x:{token}@h.example/a"}}
    scan = scan_of({"version": "2.1.0", "runs": [run]})
    assert len(suppressed(scan)) == 1 and token not in str(scan.attrs) + scan.to_csv()
    hadolint = [{"code": "DL1", "level": "info", "line": 1, "message": "m", "file": f"https://u:{token}@h.example/x"}]
    assert token not in scan_of(hadolint).to_csv()


@pytest.mark.parametrize(
    "text",
    [
        "\n" * 9_900,
        "vulnerability in " * 40 + "x package: " * 60 + ", version " * 60,
        "introduces a vulnerable " * 200 + "package with " * 200,
        "[CVE-" * 2_000,
        "SNYK-" * 2_000,
    ],
)
def test_a_message_made_to_be_slow_is_read(scan_of, text):
    results = [{"ruleId": "CVE-2024-1234", "message": {"text": text}}, {"message": {"text": text}, "ruleId": text}] * 5
    assert len(scan_of({"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "x"}}, "results": results}]})) >= 5


def test_missing_files_and_bombs(tmp_path, scan_of):
    with pytest.raises(ScanFormatError, match="cannot be read"):
        read_scan(tmp_path / "nothing.json")
    with pytest.raises(ScanFormatError, match="null byte"):
        read_scan("a\0b")
    with pytest.raises(ScanFormatError, match="no file given"):
        read_scan([])
    with pytest.raises(ScanFormatError, match="max_bytes"):
        scan_of(gzip.compress(b" " * 5_000_000), max_bytes=1_000_000)


def test_byte_order_marks_and_utf_16_read(scan_of):
    document = json.dumps({"SchemaVersion": 2, "ArtifactName": "ä", "Results": []})
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le"):
        assert scan_of(document.encode(encoding)).attrs["reports"][0]["reference"] == "ä"


def test_a_number_is_no_date(scan_of):
    found = [{"VulnerabilityID": "CVE-1", "PublishedDate": day} for day in (-1.5, 10**30, "0001-01-01T00:00:00Z")]
    scan = scan_of({"SchemaVersion": 2, "ArtifactName": "a", "Results": [{"Target": "a", "Vulnerabilities": found}]})
    assert len(scan) == 3 and scan["published"].isna().all()


def test_an_spdx_package_whose_id_is_no_text_is_read(scan_of):
    packages = [{"SPDXID": ["SPDXRef-a"], "name": "a"}, {"SPDXID": "SPDXRef-b", "name": "b"}]
    scan = scan_of({"spdxVersion": "SPDX-2.3", "documentDescribes": ["SPDXRef-b"], "packages": packages})
    assert list(scan[scan["suppressed"].isna()]["id"]) == ["a"]


HOSTILE = [
    "<script>alert(1)</script>",
    "\x1b[31mred\x07",
    "a\ud800b",
    "\u202etxt.exe",
    "x" * 1_000_000,
    None,
    True,
    12,
    10**400,
    float("nan"),
    [],
    {},
    [[{}]],
    "line\nbreak",
]


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize(
    "path",
    [
        "trivy/alpine-310.json",
        "grype/dd-many_vulns_with_epss_values.json",
        "scout/pygoat-scout-report.sarif",
        "grype/TestCycloneDxPresenterImage.golden",
        "trivy/conda-spdx.json",
        "other/gitlab_container_scan-gl-container-scanning-report-5-vuln_v15.json",
        "other/hadolint-many_dockerfile.json",
        "other/snyk-snykcontainer_issue_9270.json",
        "other/jfrog_xray_on_demand_binary_scan-many_vulns_docker.json",
        "trivy/operator-vulnerabilityreport_many.json",
        "trivy/dd-issue_9170.json",
    ],
)
def test_hostile_values_in_every_field(corpus, path, value, tmp_path):
    document = json.loads((corpus / "scans" / path).read_bytes())
    marks = {"SchemaVersion", "bomFormat", "specVersion", "spdxVersion", "version", "scan", "type"}

    def poison(node, depth=0):
        if isinstance(node, dict):
            return {
                key: inner if key in marks and depth < 2 else poison(inner, depth + 1) for key, inner in node.items()
            }
        if isinstance(node, list):
            return [poison(inner, depth + 1) for inner in node[:3]]
        return value

    try:
        report = parse_report(json.dumps(poison(document)).encode(), "hostile")
    except ScanFormatError:
        return
    scan = make_scan([("hostile", report)])
    scan.to_parquet(tmp_path / "x.parquet")
    for column in scan.select_dtypes("string"):
        for line in scan[column].dropna():
            assert "\x1b" not in line and "\n" not in line and "\u202e" not in line and len(line) <= 10_001


KEYS = [
    "matches",
    "vulnerability",
    "runs",
    "results",
    "tool",
    "driver",
    "rules",
    "bomFormat",
    "components",
    "vulnerabilities",
    "affects",
    "SchemaVersion",
    "Results",
    "Vulnerabilities",
    "CVSS",
    "@graph",
    "@context",
    "spdxVersion",
    "packages",
    "externalRefs",
    "scan",
    "type",
    "location",
    "identifiers",
    "code",
    "level",
    "line",
    "predicate",
    "scanner",
    "result",
    "sbom",
    "artifact",
    "resources",
    "findings",
    "findingArn",
    "packageVulnerabilityDetails",
    "vulnerablePackages",
    "source",
    "image_metadata",
    "layer_metadata",
    "package",
    "image_origin_details",
    "groups",
    "manifest_hash",
    "package_vulnerabilities",
    "environments",
    "summary",
    "details",
    "config",
    "protocol_version",
    "finding",
    "trace",
    "scan_id",
    "status",
    "ok",
    "error",
    "path",
    "packageManager",
]


@settings(max_examples=500, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(KEYS),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_read_or_refused(document):
    with contextlib.suppress(ScanFormatError):
        make_scan([("any", parse_report(json.dumps(document).encode(), "any"))])


@pytest.mark.parametrize(
    ("score", "word"),
    [(10, "critical"), (9.0, "critical"), (8.9, "high"), (7.0, "high"), (6.9, "medium"), (4.0, "medium"), (3.9, "low"),
     (0.1, "low"), (0.0, "negligible"), (None, "unknown")],
)  # fmt: skip
def test_boundaries_of_the_cvss_scale(score, word):
    assert score_severity(score) == word


def test_words_and_vectors():
    assert [severity(word) for word in ("CRITICAL", "Important", "moderate", "Info", "", None, 3)] == [
        "critical",
        "high",
        "medium",
        "negligible",
        "unknown",
        "unknown",
        "unknown",
    ]
    assert text("  a\tb ") == "a b" and text("") is None and text(False) is None
    assert cvss("nonsense", 5)["cvss_vector"] is None and cvss("nonsense", "5")["cvss_score"] == 5.0
    assert cvss("AV:N/AC:L/Au:N/C:P/I:N/A:N") == {
        "cvss_version": "2.0",
        "cvss_score": 5.0,
        "cvss_vector": "AV:N/AC:L/Au:N/C:P/I:N/A:N",
    }
