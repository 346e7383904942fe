"""Every report of the corpus is read with nothing lost, or refused by name. Findings are counted here on their own."""

from __future__ import annotations

import gzip
import json

import pandas as pd
import pytest

from imagelab.core.errors import ScanFormatError
from imagelab.core.terms import SEVERITIES
from imagelab.security.scans.findings import FINDINGS_COLUMNS
from imagelab.security.scans.reader import read_scan

#: Files that newer readers read, and their number of findings (packages for the SBOM's part).
COUNTS = {
    "grype/dd-grype_dd_1_14_1.cdx.xml": 619,
    "other/dockle-no_findings.json": 0,
    "other/jfrog_xray_on_demand_binary_scan-many_vulns_docker.json": 4,
    "other/snyk-all_containers_target_output.json": 17,
    "other/snyk-snykcontainer_issue_9270.json": 30,
    "trivy/dd-issue_9170.json": 37,
    "trivy/operator-configauditreport_many.json": 13,
    "trivy/operator-vulnerabilityreport_many.json": 41,
}
#: How the refusal names each file of the corpus that is not supported.
REFUSED = {
    "other/anchore_engine-": "Anchore",
    "other/anchorectl_vulns-": "Anchore",
    "other/aqua-": "Aqua",
    "other/clair-": "Clair",
    "other/dockerbench-": "docker-bench",
    "other/harbor_vulnerability-": "Harbor",
    "other/syft-TestImageEncoder": "Syft",
    "other/sysdig_reports-": "Sysdig",
    "other/twistlock-": "Twistlock",
    "scout/": "Docker Scout",
    "trivy/alpine-310.gitlab-codequality": "code-quality",
    "trivy/alpine-310.gsbom": "dependency snapshot",
    "trivy/alpine-310.junit": "JUnit",
}


def count_findings(document) -> int:
    """How many findings (and components) a report holds, counted without the readers."""
    if document is None:
        return 0
    if isinstance(document, list):
        if document and "code" in document[0]:
            return len(document)
        return sum(len(result.get("Vulnerabilities") or []) for result in document)
    if "SchemaVersion" in document:
        keys = ("Vulnerabilities", "Misconfigurations", "Secrets", "Licenses", "ExperimentalModifiedFindings")
        return sum(len(result.get(key) or []) for result in document.get("Results") or [] for key in keys)
    if "matches" in document:
        return len(document["matches"] or []) + len(document.get("ignoredMatches") or [])
    if "runs" in document:
        return sum(len(run["results"]) for run in document["runs"])
    if "bomFormat" in document:

        def components(items):
            return sum(1 + components(item.get("components") or []) for item in items)

        affected = [max(1, len(one.get("affects") or [])) for one in document.get("vulnerabilities") or []]
        return components(document.get("components") or []) + sum(affected)
    if "spdxVersion" in document:
        return len(document["packages"])
    return len(document["vulnerabilities"])


def files(corpus):
    return [path for path in sorted((corpus / "scans").glob("*/*")) if path.name != "SOURCES.md"]


def test_every_file_is_read_whole_or_refused_by_name(corpus):
    read = 0
    for path in files(corpus):
        name = f"{path.parent.name}/{path.name}"
        refusal = next((word for start, word in REFUSED.items() if name.startswith(start)), None)
        if refusal and path.suffix != ".sarif":
            with pytest.raises(ScanFormatError) as error:
                read_scan(path)
            assert refusal in str(error.value), name
            assert "Use " in str(error.value), name
            continue
        scan = read_scan(path)
        read += 1
        assert len(scan) == (COUNTS[name] if name in COUNTS else count_findings(json.loads(path.read_bytes()))), name
        assert not scan["finding"].eq("error").any() and scan["suppressed_by"].notna().equals(
            scan["suppressed"].notna()
        )
        assert list(scan.columns) == list(FINDINGS_COLUMNS), name
        assert scan["severity"].cat.ordered and list(scan["severity"].cat.categories) == list(SEVERITIES)
        assert scan["id"].notna().all() and scan["scanner"].notna().all()
        assert scan.loc[scan["finding"] != "package", "severity"].notna().all(), name
        assert scan.loc[scan["finding"] == "vulnerability", "package"].notna().all(), name
        assert scan["cvss_score"].dropna().between(0, 10).all()
        assert scan["epss"].dropna().between(0, 1).all()
    assert read > 45


def test_many_files_make_one_frame_that_saves(corpus, tmp_path):
    paths = [corpus / "scans/trivy/alpine-310.json", corpus / "scans/grype/dd-many_vulns3.json"]
    both = read_scan(paths)
    assert both.groupby("scanner").size().to_dict() == {"grype": 327, "trivy": 4}
    assert [report["format"] for report in both.attrs["reports"]] == ["Trivy JSON", "Grype JSON"]
    assert len(pd.concat([read_scan(path) for path in paths])) == 331
    both.to_parquet(tmp_path / "scan.parquet")
    assert len(pd.read_parquet(tmp_path / "scan.parquet")) == 331


def test_gzip_reads_the_same(corpus, tmp_path):
    path = corpus / "scans/trivy/debian-buster.json"
    packed = tmp_path / "report"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    pd.testing.assert_frame_equal(read_scan(packed), read_scan(path))


def test_trivy_fields(corpus):
    scan = read_scan(corpus / "scans/trivy/alpine-310.json")
    first = scan.iloc[0]
    assert first["id"] == "CVE-2019-1549" and first["package"] == "libcrypto1.1" and first["version"] == "1.1.1c-r0"
    assert first["fixed_version"] == "1.1.1d-r0" and first["status"] == "fixed" and first["severity"] == "medium"
    assert (first["severity_source"], first["cvss_version"], first["cvss_score"]) == ("nvd", "3.1", 5.3)
    assert first["diff_id"] == "sha256:03901b4a2ea88eeaad62dbe59b072b28b6efa00491962b8741081c5df50c65e0"
    assert first["published"] == pd.Timestamp("2019-09-10T17:15Z")
    scan = read_scan(corpus / "scans/trivy/npm-with-suppressed.json")
    row = scan[scan["suppressed"].notna()].iloc[0]
    assert (row["id"], row["package"]) == ("CVE-2017-16137", "debug") and row["version"]
    assert row["suppressed"] == "suppressed by Trivy: not_affected, vulnerable_code_not_in_execute_path, ./vex.json"
    kinds = read_scan(corpus / "scans/trivy/dd-misconfigurations_and_secrets.json")
    assert sorted(kinds["finding"]) == ["misconfiguration", "secret", "secret", "vulnerability", "vulnerability"]
    assert set(kinds.loc[kinds["finding"] == "secret", "path"]) == {"Dockerfile:24", "secret.txt:1"}
    assert set(read_scan(corpus / "scans/trivy/dd-all_statuses.json")["status"].dropna()) >= {
        "will_not_fix",
        "end_of_life",
    }
    v4 = read_scan(corpus / "scans/trivy/dd-cvssv4_severity_source.json").iloc[0]
    assert (v4["cvss_version"], v4["cvss_score"], v4["aliases"]) == ("4.0", 6.3, "GHSA-fpj8-gq4v-p354")


def test_grype_fields_old_and_new(corpus):
    old = read_scan(corpus / "scans/grype/dd-many_vulns.json")
    assert old["cvss_score"].notna().any() and old["known_exploited"].isna().all() and old["url"].notna().all()
    new = read_scan(corpus / "scans/grype/dd-many_vulns_with_epss_values.json")
    first = new.iloc[0]
    assert (first["id"], first["epss"], first["cvss_version"], first["cvss_score"]) == (
        "CVE-2022-28391",
        0.0719,
        "3.1",
        8.8,
    )
    assert first["known_exploited"] == False  # noqa: E712  # a nullable boolean
    assert (
        first["diff_id"].startswith("sha256:67f770da")
        and new.attrs["reports"][0]["database_built"] == "2025-06-19T04:12:38Z"
    )
    ghsa = read_scan(corpus / "scans/grype/ghsa-test.json")
    assert ghsa["aliases"].str.contains("CVE-").all()


def test_sarif_of_three_scanners(corpus):
    scout = read_scan(corpus / "scans/scout/pygoat-scout-report.sarif")
    assert scout["purl"].notna().all() and scout["fixed_version"].notna().all() and scout["epss"].notna().any()
    wheel = scout.set_index("id").loc["CVE-2022-40898"]
    assert (wheel["package"], wheel["version"], wheel["cvss_score"], wheel["epss"]) == ("wheel", "0.37.1", 7.5, 0.00345)
    trivy = read_scan(corpus / "scans/trivy/pygoat-trivy-results.sarif")
    assert trivy["finding"].value_counts().to_dict() == {"vulnerability": 34, "secret": 2}
    assert trivy.loc[trivy["id"] == "CVE-2019-20477", "severity"].item() == "critical"
    grype = read_scan(corpus / "scans/grype/TestSarifPresenter_image.golden")
    assert list(grype["id"]) == ["CVE-1999-0001", "CVE-1999-0002"]
    assert list(grype["package"]) == ["package-1", "package-2"] and list(grype["type"]) == ["rpm", "deb"]
    dockle = read_scan(corpus / "scans/other/sarif-dockle_0_3_15.sarif")
    assert set(dockle["finding"]) == {"misconfiguration"} and dockle["severity"].iloc[0] == "high"


def test_sboms(corpus):
    trivy = read_scan(corpus / "scans/trivy/fluentd-multiple-lockfiles.cdx.json")
    assert set(trivy["finding"]) == {"package"} and trivy["diff_id"].notna().any() and trivy["severity"].isna().all()
    grype = read_scan(corpus / "scans/grype/TestCycloneDxPresenterImage.golden")
    hit = grype[grype["id"] == "CVE-1999-0002"].iloc[0]
    assert (hit["package"], hit["severity"], hit["epss"], hit["cvss_score"]) == ("package-2", "critical", 0.08, 8.5)
    nested = read_scan(corpus / "scans/other/cyclonedx-nested-component-log4j.json")
    log4shell = nested[nested["id"] == "CVE-2021-44228"].iloc[0]
    assert (log4shell["package"], log4shell["version"], log4shell["severity"]) == ("log4j-core", "2.13.2", "critical")
    assert log4shell["status"] == "under_investigation" and log4shell["cvss_version"] == "3.1"
    syft = read_scan(corpus / "scans/other/syft-TestSPDXJSONImageEncoder.golden.json")
    assert list(syft["path"])[:2] == ["/somefile-1.txt", "/somefile-2.txt"] and set(syft["scanner"]) == {"syft"}
    assert syft["suppressed"].notna().tolist() == [False, False, True]  # the image itself
