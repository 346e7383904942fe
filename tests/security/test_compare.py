"""Scans against each other."""

from __future__ import annotations

import re

import pandas as pd
import pytest

import imagelab as il
from imagelab.core.errors import ScanFormatError
from imagelab.security.compare import (
    AGREEMENT_COLUMNS,
    COMPARISON_COLUMNS,
    compare_scanners,
    compare_scans,
    package_key,
)
from imagelab.security.scans.findings import ScanReport
from imagelab.security.scans.reader import make_scan, read_scan


def scan(scanner, *rows):
    report = ScanReport(scanner, "made here")
    for row in rows:
        facts = {"finding": "vulnerability", "severity": "medium", "version": "1", "type": "deb"} | row
        report.add(facts.pop("finding"), facts.pop("id"), **facts)
    return make_scan([(scanner, report)])


def test_new_fixed_changed_persisting():
    before = scan(
        "trivy",
        {"id": "CVE-1", "package": "a"},
        {"id": "CVE-2", "package": "a"},
        {"id": "CVE-3", "package": "b", "version": "1"},
        {"id": "CVE-4", "package": "c"},
        {"id": "CVE-5", "package": "d", "path": "/one"},
        {"id": "CVE-5", "package": "d", "path": "/two"},
    )
    after = scan(
        "trivy",
        {"id": "CVE-2", "package": "a", "severity": "critical"},
        {"id": "CVE-3", "package": "b", "version": "2"},
        {"id": "CVE-4", "package": "c"},
        {"id": "CVE-5", "package": "d", "path": "/one"},
        {"id": "CVE-6", "package": "e"},
    )
    changes = compare_scans(before, after)
    assert list(changes.columns) == list(COMPARISON_COLUMNS)
    by_id = changes.set_index("id")
    assert by_id["change"].to_dict() == {
        "CVE-1": "fixed",
        "CVE-2": "changed",
        "CVE-3": "changed",
        "CVE-4": "persisting",
        "CVE-5": "persisting",
        "CVE-6": "new",
    }
    assert by_id.loc["CVE-2", "changed"] == "severity" and by_id.loc["CVE-3", "changed"] == "version"
    assert (by_id.loc["CVE-5", "count_before"], by_id.loc["CVE-5", "count_after"]) == (2, 1)
    assert pd.isna(by_id.loc["CVE-6", "severity_before"]) and pd.isna(by_id.loc["CVE-1", "version_after"])
    assert list(changes["change"].cat.codes) == sorted(changes["change"].cat.codes)
    assert set(compare_scans(before, before)["change"]) == {"persisting"}
    assert len(compare_scans(before.head(0), before.head(0))) == 0


def test_aliases_and_package_names_join_across_scanners():
    trivy = scan(
        "trivy",
        {
            "id": "CVE-2024-1",
            "package": "Flask_Login",
            "purl": "pkg:pypi/flask-login@1",
            "aliases": ["GHSA-aaaa-bbbb-cccc"],
        },
    )
    grype = scan("grype", {"id": "GHSA-aaaa-bbbb-cccc", "package": "flask-login", "purl": "pkg:pypi/flask-login@1"})
    scout = scan(
        "scout",
        {"id": "PYSEC-2024-7", "package": "flask.login", "aliases": ["GHSA-aaaa-bbbb-cccc"], "severity": "high"},
    )
    together = compare_scanners([trivy, grype, scout])
    assert len(together) == 1 and list(together.columns) == list(AGREEMENT_COLUMNS)
    row = together.iloc[0]
    assert row["id"] == "CVE-2024-1" and row["found_by"] == "trivy, grype, scout" and pd.isna(row["missed_by"])
    assert row["severity"] == "high" and row["severity_differs"]
    assert list(compare_scans(trivy, grype)["change"]) == ["persisting"]


def test_an_advisory_of_many_joins_nothing():
    first = scan("trivy", {"id": "CVE-1", "package": "p"}, {"id": "CVE-2", "package": "p"})
    second = scan(
        "grype",
        {"id": "RHSA-2024:1", "package": "p", "aliases": ["CVE-1", "CVE-2"]},
        {"id": "ELSA-1", "package": "p", "aliases": ["CVE-2"]},
    )
    found = compare_scanners([first, second]).set_index("id")
    assert found["found_by"].to_dict() == {"CVE-1": "trivy", "CVE-2": "trivy, grype", "RHSA-2024:1": "grype"}


def test_why_scanners_differ():
    trivy = scan(
        "trivy",
        {"id": "CVE-1", "package": "libssl3", "severity": "high", "severity_source": "nvd"},
        {"id": "CVE-2", "package": "zlib", "severity": "low"},
        {"id": "CVE-3", "package": "curl", "severity": "critical"},
        {"id": "CVE-4", "package": "bash", "severity": "critical"},
    )
    other = scan(
        "scout",
        {"id": "CVE-1", "package": "libssl3", "severity": "critical", "severity_source": "debian"},
        {"id": "CVE-3", "package": "curl-source", "severity": "critical"},
        {"id": "CVE-5", "package": "bash", "severity": "high"},
    )
    why = compare_scanners([trivy, other]).set_index("id")["why"]
    assert why["CVE-1"] == "severity from nvd (trivy), debian (scout)"
    assert why["CVE-2"] == "scout's report lists nothing below high"
    assert "for another package: curl-source" in why["CVE-3"].iloc[0]
    assert why["CVE-4"] == "scout reports other vulnerabilities of the package"
    assert why["CVE-5"] == "trivy reports other vulnerabilities of the package"


def test_two_real_scans_of_one_image(corpus):
    trivy = read_scan(corpus / "scans/trivy/pygoat-trivy-results.sarif")
    scout = read_scan(corpus / "scans/scout/pygoat-scout-report.sarif")
    found = compare_scanners([trivy, scout])
    assert found["found_by"].value_counts().to_dict() == {"trivy": 22, "trivy, scout": 14, "scout": 5}
    both = found[found["found_by"] == "trivy, scout"]
    assert not both["severity_differs"].any()
    assert found.loc[found["missed_by"].notna() & (found["finding"] == "vulnerability"), "why"].notna().all()


def test_an_older_scanner_of_the_same_image(corpus):
    older, newer = (read_scan(corpus / f"scans/trivy/alpine-310{year}.json") for year in (".2022", ""))
    assert set(compare_scans(older, newer)["change"]) == {"persisting"}


def test_sboms_compare_by_package():
    before = scan(
        "syft",
        {
            "finding": "package",
            "id": "pkg:deb/debian/a@1",
            "purl": "pkg:deb/debian/a@1",
            "package": "a",
            "severity": None,
        },
    )
    after = scan(
        "syft",
        {
            "finding": "package",
            "id": "pkg:deb/debian/a@2",
            "purl": "pkg:deb/debian/a@2",
            "package": "a",
            "version": "2",
            "severity": None,
        },
    )
    row = compare_scans(before, after).iloc[0]
    assert (row["change"], row["changed"], row["version_before"], row["version_after"]) == (
        "changed",
        "version",
        "1",
        "2",
    )
    assert len(compare_scanners([before, after])) == 0


def test_one_scan_is_not_enough():
    with pytest.raises(ScanFormatError, match="two or more"):
        compare_scanners([scan("trivy")])


@pytest.mark.parametrize(
    ("purl", "name", "key"),
    [
        ("pkg:maven/org.apache/log4j@1", "org.apache:log4j", "org-apache/log4j"),
        (None, "org.apache:log4j", "org-apache/log4j"),
        ("pkg:npm/%40a/b@1", "@a/b", "@a/b"),
        ("pkg:deb/debian/libc6@1", "libc6", "libc6"),
        ("nonsense", "Pillow", "pillow"),
        (pd.NA, pd.NA, ""),
    ],
)
def test_package_keys(purl, name, key):
    assert package_key(purl, name) == key


def test_what_is_no_scan():
    scan = il.read_scan(il.data_path("scans/service-slim.facts.trivy.json"))
    for verb in (lambda: il.compare_scans("a.json", scan), lambda: il.compare_scanners(scan)):
        with pytest.raises(il.ImagelabError, match=r"il\.read_scan gives, not str"):
            verb()


def test_a_check_that_trivy_calls_otherwise_today_persists():
    before, after = (
        scan("trivy", {"finding": "misconfiguration", "id": name, "path": "Dockerfile"})
        for name in ("DS002", "DS-0002")
    )
    assert list(compare_scans(before, after)["change"]) == ["persisting"]


def test_only_like_with_like_is_compared(corpus):
    scan = read_scan(corpus / "scans/trivy/alpine-310.json")
    sbom = read_scan(corpus / "scans/trivy/fluentd-multiple-lockfiles.cdx.json")
    for pair in ((sbom, scan), (scan, sbom)):
        with pytest.raises(ScanFormatError, match="an SBOM and a scan"):
            compare_scans(*pair)
    assert set(compare_scans(sbom, sbom)["change"]) == {"persisting"}


def test_suppressed_findings_are_not_compared():
    before = scan("trivy", {"id": "CVE-1", "package": "zlib", "severity": "high", "suppressed": "accepted"})
    assert compare_scans(before, scan("trivy", {"id": "CVE-2", "package": "zlib"}))["change"].tolist() == ["new"]


def test_the_recorded_fix_removes_the_findings_of_the_edited_lines():
    """The files of ``data/scans/make.py``: a build, Syft and advisories, the diffs, and all of it again."""
    first, second = (il.read_scan(il.data_path(f"scans/pinned-{when}.cdx.json")) for when in ("before", "after"))
    image = il.load_image(f"snapshot:{il.data_path('scans/pinned-before.parquet')}")
    dockerfile = il.data_path("scans/pinned-before.Dockerfile")
    changes = il.remediation(first, image, dockerfile=dockerfile).set_index("kind")
    after = il.data_path("scans/pinned-after.Dockerfile").read_text()
    added = re.findall(r"^\+ (.*)$", "".join(changes.loc["package", "diff"]), re.M)
    assert len(added) == 2 and all(line.strip(" \\") in after for line in added)
    found = il.compare_scans(first, second).groupby("change", observed=True).size()
    assert found.to_dict() == {"persisting": 1, "fixed": changes.loc["package", "findings"].sum()}
