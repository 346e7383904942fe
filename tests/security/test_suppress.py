"""OpenVEX and Trivy's ignore files, applied; what they hide stays countable."""

from __future__ import annotations

import json
from datetime import date

import pytest

from imagelab.core.errors import ScanFormatError
from imagelab.security.scans.findings import Report
from imagelab.security.scans.reader import make_scan, read_scan
from imagelab.security.suppress import SUPPRESSED_COLUMNS, suppress, suppressed


@pytest.fixture
def scan():
    report = Report(
        "trivy",
        "made here",
        reference="registry.example/team/app:1.0",
        attrs={"digests": ["app@sha256:" + "a" * 64], "tags": []},
    )
    facts = {"severity": "high", "version": "1"}
    report.add("vulnerability", "CVE-1", package="openssl", purl="pkg:deb/debian/openssl@1?arch=amd64", **facts)
    report.add("vulnerability", "CVE-2", package="curl", purl="pkg:deb/debian/curl@1", aliases=["GHSA-x"], **facts)
    report.add(
        "vulnerability", "CVE-3", package="flask", purl="pkg:pypi/flask@1", path="app/site/flask/METADATA", **facts
    )
    report.add("misconfiguration", "DS002", path="Dockerfile:3", **facts)
    report.add("secret", "github-pat", path="/app/.env:1", **facts)
    return make_scan([("scan", report)])


def left(scan, tmp_path, name, content, **options):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    kept = suppress(scan, path, **options)
    assert len(kept) + len(kept.attrs["suppressed"]) == len(scan) and list(kept.columns) == list(scan.columns)
    return kept


def test_trivyignore(scan, tmp_path):
    content = "# comment\n\nCVE-1\nCVE-2 exp:2024-01-01\nCVE-3 exp:2030-01-01\nDS002 exp:2030-13-01\ngithub-pat\n"
    kept = left(scan, tmp_path, ".trivyignore", content, on=date(2025, 1, 1))
    assert list(kept["id"]) == ["CVE-2", "DS002"]
    hidden = suppressed(kept)
    assert list(hidden.columns) == list(SUPPRESSED_COLUMNS) and list(hidden["id"]) == ["CVE-1", "CVE-3", "github-pat"]
    assert len(suppress(scan)) == len(scan) and len(suppressed(scan)) == 0


def test_trivyignore_yaml(scan, tmp_path):
    content = """
vulnerabilities:
  - id: CVE-1
    purls: ["pkg:deb/debian/openssl"]
    statement: not reachable
  - id: CVE-2
    purls: ["pkg:deb/debian/openssl"]
  - id: CVE-3
    paths: ["app/**/METADATA"]
    expired_at: 2020-01-01
  - id: DS002
misconfigurations:
  - id: DS002
    paths: ["Docker*"]
secrets:
  - id: github-pat
    paths: ["other/*"]
nonsense: [1, null]
"""
    kept = left(scan, tmp_path, "ignore.yaml", content)
    assert list(kept["id"]) == ["CVE-2", "CVE-3", "github-pat"]
    assert suppressed(kept)["reason"].iloc[0] == "ignored: not reachable"


def vex(*statements):
    return {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "timestamp": "2024-01-01T00:00:00Z",
        "statements": list(statements),
    }


IMAGE = "pkg:oci/app@sha256%3A" + "a" * 64


def test_openvex(scan, tmp_path):
    document = vex(
        {
            "vulnerability": {"name": "CVE-1"},
            "products": [{"@id": IMAGE, "subcomponents": [{"@id": "pkg:deb/debian/openssl"}]}],
            "status": "not_affected",
            "justification": "vulnerable_code_not_in_execute_path",
        },
        {
            "vulnerability": {"name": "GHSA-x"},
            "products": [{"@id": "pkg:deb/debian/curl@1"}],
            "status": "under_investigation",
        },
        {"vulnerability": {"name": "CVE-3"}, "products": [{"@id": "pkg:oci/another"}], "status": "fixed"},
    )
    kept = left(scan, tmp_path, "vex.json", document)
    assert list(kept["id"]) == ["CVE-2", "CVE-3", "DS002", "github-pat"]
    assert kept["status"].iloc[0] == "under_investigation"
    assert suppressed(kept)["reason"].item() == "not_affected: vulnerable_code_not_in_execute_path"


@pytest.mark.parametrize(
    "product", [{"@id": IMAGE, "subcomponents": [{"@id": "openssl"}]}, {"@id": None}, {"identifiers": {}}, 1]
)
def test_a_product_or_part_that_is_named_in_an_unknown_way_hides_nothing(scan, tmp_path, product):
    document = vex({"vulnerability": {"name": "CVE-1"}, "products": [product], "status": "not_affected"})
    assert len(left(scan, tmp_path, "vex.json", document)) == len(scan)


def test_a_later_statement_speaks_over_an_earlier_one(scan, tmp_path):
    product = [{"@id": IMAGE}]
    document = vex(
        {
            "vulnerability": {"name": "CVE-1"},
            "products": product,
            "status": "affected",
            "timestamp": "2024-05-01T00:00:00Z",
        },
        {
            "vulnerability": {"name": "CVE-1"},
            "products": product,
            "status": "not_affected",
            "timestamp": "2024-02-01T00:00:00Z",
        },
    )
    kept = left(scan, tmp_path, "vex.json", document)
    assert len(kept) == 5 and kept["status"].iloc[0] == "affected"


def test_openvex_0_0_1_and_other_digests(scan, tmp_path):
    old = vex({"vulnerability": "CVE-1", "products": ["registry.example/team/app:1.0"], "status": "fixed"})
    assert "CVE-1" not in set(left(scan, tmp_path, "vex.json", old)["id"])
    other = vex(
        {
            "vulnerability": {"name": "CVE-1"},
            "products": [{"@id": "pkg:oci/app@sha256%3A" + "b" * 64}],
            "status": "fixed",
        }
    )
    assert "CVE-1" in set(left(scan, tmp_path, "vex.json", other)["id"])


def test_as_trivy_itself_did(corpus, tmp_path):
    """The corpus' report was written with this statement in force: the finding that it hid is hidden here too."""
    shown = read_scan(corpus / "scans/trivy/npm-with-suppressed.json")
    statement = {
        "vulnerability": {"name": "CVE-2017-20165"},
        "products": [{"@id": "pkg:npm/debug@3.0.1"}],
        "status": "not_affected",
    }
    path = tmp_path / "vex.json"
    path.write_text(json.dumps(vex(statement)))
    kept = suppress(shown, path)
    assert len(kept) == 0 and len(suppressed(kept)) == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", "{}"),
        ("a.json", "{"),
        ("a.yaml", "a: [b"),
        ("a.yaml", "- CVE-1"),
        ("a.json", '{"@context": "x", "statements": []}'),
    ],
)
def test_what_is_neither_is_refused(scan, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(ScanFormatError, match="OpenVEX"):
        suppress(scan, tmp_path / name)


def test_a_missing_file_is_refused(scan, tmp_path):
    with pytest.raises(ScanFormatError, match="Expected"):
        suppress(scan, tmp_path / "none")


def test_an_entry_holds_until_its_day_not_on_it(scan, tmp_path):
    content = "vulnerabilities: [{id: CVE-1, expired_at: 2030-01-01}, {id: CVE-2, expired_at: '2030-01-01T12:00:00Z'}]"
    for day, hidden in ((date(2029, 12, 31), 2), (date(2030, 1, 1), 0)):
        assert len(suppressed(left(scan, tmp_path, "ignore.yaml", content, on=day))) == hidden
        assert len(suppressed(left(scan, tmp_path, ".trivyignore", "CVE-1 exp:2030-01-01\n", on=day))) == hidden // 2


@pytest.mark.parametrize("name", ["DS002", "DS-0002", "AVD-DS-0002"])
@pytest.mark.parametrize("known", ["DS002", "DS-0002"])
def test_a_check_goes_by_each_of_its_names(tmp_path, name, known):
    report = Report("trivy", "made here")
    report.add("misconfiguration", known, severity="high")
    report.add("vulnerability", known, severity="high")
    scan = make_scan([("scan", report)])
    hidden = suppressed(left(scan, tmp_path, "ignore.yaml", f"misconfigurations: [{{id: {name}}}]"))
    assert list(hidden["finding"]) == ["misconfiguration"]


@pytest.mark.parametrize(
    ("pattern", "hidden"),
    [
        ("Pipfile.lock", ["CVE-1"]),  # a lock file is the target of what it locks
        ("s{ub,ob}/*.txt", ["CVE-2"]),
        ("[st]ub/a.txt", ["CVE-2"]),
        ("[!st]ub/a.txt", []),
        ("sub", []),
        ("sub/a.txt/**", ["CVE-2"]),
        ("/sub/**", ["CVE-2"]),
        ("**/a.txt", ["CVE-2"]),
        ("*.txt", []),
        ("{sub", []),
    ],
)
def test_path_patterns(tmp_path, pattern, hidden):
    report = Report("trivy", "made here")
    report.add("vulnerability", "CVE-1", severity="high", target="Pipfile.lock")
    report.add("vulnerability", "CVE-2", severity="high", path="sub/a.txt", target="Python")
    scan = make_scan([("scan", report)])
    content = json.dumps({"vulnerabilities": [{"paths": [pattern]}, {"statement": "of nothing"}]})
    assert list(suppressed(left(scan, tmp_path, "ignore.yaml", content))["id"]) == hidden


@pytest.mark.parametrize(
    "entries",
    [
        "[CVE-1]",
        "{id: CVE-1}",
        "[{id: CVE-1, purls: [nonsense]}]",
        "[{id: CVE-1, purls: pkg:npm/x}]",
        "[{id: CVE-1, paths: x/**}]",
        "[{id: CVE-1, paths: ['[z-a]']}]",
        "[{id: CVE-1, expired_at: soon}]",
        "[{id: CVE-1, expired_at: 2030}]",
    ],
)
def test_what_would_ignore_more_or_less_than_it_says_is_refused(scan, tmp_path, entries):
    with pytest.raises(ScanFormatError, match="Expected an OpenVEX document"):
        left(scan, tmp_path, "ignore.yaml", f"vulnerabilities: {entries}")


def test_a_package_of_another_namespace_is_another_package(scan, tmp_path):
    content = "vulnerabilities: [{id: CVE-1, purls: ['pkg:deb/openssl', 'pkg:deb/ubuntu/openssl']}]"
    assert len(suppressed(left(scan, tmp_path, "ignore.yaml", content))) == 0


def test_statements_are_ordered_by_instants_and_attested_documents_are_read(scan, tmp_path):
    late, early = "2024-05-01T22:00:00.123456789-06:00", "2024-05-02T01:00:00Z"
    about = {"vulnerability": "CVE-1", "products": ["pkg:deb/debian/openssl"]}
    document = vex(about | {"status": "fixed", "timestamp": late}, about | {"status": "affected", "timestamp": early})
    statement = {"_type": "https://in-toto.io/Statement/v1", "predicate": document}
    assert list(suppressed(left(scan, tmp_path, "vex.json", statement))["reason"]) == ["fixed"]
