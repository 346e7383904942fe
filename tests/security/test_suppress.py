"""Decisions (VEX documents, ignore files) mark findings, and keep them in the frame."""

from __future__ import annotations

import json
from datetime import date

import pandas as pd
import pytest

import imagelab as il
from imagelab.core.errors import ScanFormatError
from imagelab.security.scans.findings import ScanReport
from imagelab.security.scans.reader import make_scan, read_scan
from imagelab.security.suppress import suppress, suppressed


@pytest.fixture
def scan():
    report = ScanReport(
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
    result = suppress(scan, path, **options)
    assert len(result) == len(scan) and list(result.columns) == list(scan.columns)
    return result


def kept(scan):
    return scan[scan["suppressed"].isna()]


def test_trivyignore(scan, tmp_path):
    content = "# comment\n\nCVE-1\nCVE-2 exp:2024-01-01\nCVE-3 exp:2030-01-01\nDS002 exp:2030-13-01\ngithub-pat\n"
    result = left(scan, tmp_path, ".trivyignore", content, on=date(2025, 1, 1))
    assert list(kept(result)["id"]) == ["CVE-2", "DS002"]
    assert list(suppressed(result)["id"]) == ["CVE-1", "CVE-3", "github-pat"]
    assert set(suppressed(result)["status"]) == {"ignored"}
    assert set(suppressed(result)["suppressed_by"]) == {str(tmp_path / ".trivyignore")}
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
    result = left(scan, tmp_path, "ignore.yaml", content)
    assert list(kept(result)["id"]) == ["CVE-2", "CVE-3", "github-pat"]
    assert suppressed(result)["suppressed"].iloc[0] == "ignored: not reachable"


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
    result = left(scan, tmp_path, "vex.json", document)
    assert list(kept(result)["id"]) == ["CVE-2", "CVE-3", "DS002", "github-pat"]
    assert kept(result)["status"].iloc[0] == "under_investigation"
    assert suppressed(result)["suppressed"].item() == "not_affected: vulnerable_code_not_in_execute_path"


def test_suppressed_findings_survive_concat(scan, tmp_path):
    result = left(scan, tmp_path, ".trivyignore", "CVE-1\n")
    both = pd.concat([result, scan], ignore_index=True)
    assert len(suppressed(both)) == 1 and len(both) == 2 * len(scan)
    hidden = suppressed(pd.concat([scan, result]))
    assert list(hidden.index) == [0] and list(hidden.columns) == list(scan.columns)


@pytest.mark.parametrize(
    ("product", "hidden"),
    [
        ("pkg:oci/app?repository_url=registry.example%2Fteam%2Fapp", 1),
        ("pkg:oci/app?repository_url=other.example%2Fteam%2Fapp", 0),
        ("pkg:oci/app?repository_url=registry.example%2Fteam%2Fapp&tag=1.0", 1),
        ("pkg:oci/app?tag=2.0", 0),
        ("pkg:oci/app?arch=arm64", 0),
        ("pkg:deb/debian/openssl?arch=amd64", 1),
        ("pkg:deb/debian/openssl?arch=amd64&distro=bookworm", 0),
    ],
)
def test_all_qualifiers_of_a_product_must_match(scan, tmp_path, product, hidden):
    document = vex({"vulnerability": "CVE-1", "products": [product], "status": "not_affected"})
    assert len(suppressed(left(scan, tmp_path, "vex.json", document))) == hidden


@pytest.mark.parametrize(
    ("architectures", "hidden"), [(["amd64"], 1), (["amd64", "amd64"], 1), (["amd64", "arm64"], 0)]
)
def test_the_architecture_of_a_product_is_that_of_every_report(scan, tmp_path, architectures, hidden):
    scan.attrs["reports"] = [{"architecture": architecture} for architecture in architectures]
    document = vex({"vulnerability": "CVE-1", "products": ["pkg:oci/app?arch=amd64"], "status": "not_affected"})
    assert len(suppressed(left(scan, tmp_path, "vex.json", document))) == hidden


@pytest.mark.parametrize("wanted", [{"paths": ["other/**", "app/site/**"]}, {"purls": ["pkg:npm/x", "pkg:pypi/flask"]}])
def test_one_of_several_paths_or_packages_is_enough(scan, tmp_path, wanted):
    content = json.dumps({"vulnerabilities": [{"id": "CVE-3", **wanted}]})
    assert list(suppressed(left(scan, tmp_path, "ignore.yaml", content))["id"]) == ["CVE-3"]


def test_the_decision_of_another_repository(field_security):
    scan = read_scan(field_security / "openvex-other-repository.trivy.json")
    assert suppressed(suppress(scan, field_security / "openvex-other-repository.json")).empty and len(scan)


def test_cyclonedx_vex(scan, tmp_path):
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "components": [{"bom-ref": "1", "purl": "pkg:deb/debian/openssl@1"}, {"bom-ref": "2", "name": "unknown"}],
        "vulnerabilities": [
            {"id": "CVE-1", "analysis": {"state": "false_positive", "detail": "unused"}, "affects": [{"ref": "1"}]},
            {"id": "CVE-2", "analysis": {"state": "resolved"}, "affects": [{"ref": "2"}]},
            {"id": "CVE-3", "analysis": {"state": "exploitable"}, "affects": [{"ref": "urn:cdx:x/1#pkg:pypi/flask@1"}]},
        ],
    }
    result = left(scan, tmp_path, "vex.cdx.json", document)
    assert list(suppressed(result)["suppressed"]) == ["not_affected: unused"]
    nested = {"bom-ref": "0", "name": "app", "components": document["components"]}
    result = left(scan, tmp_path, "vex.cdx.json", document | {"components": [nested]})
    assert list(suppressed(result)["suppressed"]) == ["not_affected: unused"]
    assert result.set_index("id").loc["CVE-3", "status"] == "affected"


def test_csaf_vex(scan, tmp_path):
    helper = {"product_identification_helper": {"purl": "pkg:deb/debian/openssl"}}
    image = {"product_identification_helper": {"purl": IMAGE}}
    document = {
        "document": {"category": "csaf_vex", "csaf_version": "2.0"},
        "product_tree": {
            "branches": [{"branches": [{"product": {"product_id": "P", "name": "openssl"} | helper}]}],
            "full_product_names": [{"product_id": "I", "name": "app"} | image, {"product_id": "N", "name": "curl"}],
            "relationships": [
                {
                    "product_reference": "P",
                    "relates_to_product_reference": "I",
                    "full_product_name": {"product_id": "P:I", "name": "openssl in app"},
                },
                {
                    "product_reference": "N",
                    "relates_to_product_reference": "I",
                    "full_product_name": {"product_id": "N:I", "name": "curl in app"},
                },
            ],
        },
        "vulnerabilities": [
            {
                "cve": "CVE-1",
                "product_status": {"known_not_affected": ["P:I"]},
                "flags": [{"label": "component_not_present", "product_ids": ["P:I"]}],
            },
            {"cve": "CVE-2", "product_status": {"fixed": ["N:I", "N", "missing"]}},
        ],
    }
    result = left(scan, tmp_path, "vex.csaf.json", document)
    assert list(suppressed(result)["suppressed"]) == ["not_affected: component_not_present"]


@pytest.mark.parametrize(
    "product", [{"@id": IMAGE, "subcomponents": [{"@id": "openssl"}]}, {"@id": None}, {"identifiers": {}}, 1]
)
def test_an_unknown_form_of_product_suppresses_nothing(scan, tmp_path, product):
    document = vex({"vulnerability": {"name": "CVE-1"}, "products": [product], "status": "not_affected"})
    assert suppressed(left(scan, tmp_path, "vex.json", document)).empty


def test_a_later_statement_overrides_an_earlier_one(scan, tmp_path):
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
    result = left(scan, tmp_path, "vex.json", document)
    assert suppressed(result).empty and result["status"].iloc[0] == "affected"


def test_openvex_0_0_1_and_other_digests(scan, tmp_path):
    old = vex({"vulnerability": "CVE-1", "products": ["registry.example/team/app:1.0"], "status": "fixed"})
    assert "CVE-1" in set(suppressed(left(scan, tmp_path, "vex.json", old))["id"])
    other = vex(
        {
            "vulnerability": {"name": "CVE-1"},
            "products": [{"@id": "pkg:oci/app@sha256%3A" + "b" * 64}],
            "status": "fixed",
        }
    )
    assert suppressed(left(scan, tmp_path, "vex.json", other)).empty


def test_same_result_as_trivy(corpus, tmp_path):
    """Trivy wrote this report of the corpus under this statement: the same finding is suppressed here."""
    shown = read_scan(corpus / "scans/trivy/npm-with-suppressed.json")
    statement = {
        "vulnerability": {"name": "CVE-2017-20165"},
        "products": [{"@id": "pkg:npm/debug@3.0.1"}],
        "status": "not_affected",
    }
    path = tmp_path / "vex.json"
    path.write_text(json.dumps(vex(statement)))
    result = suppress(shown, path)
    assert kept(result).empty and len(suppressed(result)) == 2


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
def test_other_files_are_refused(scan, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(ScanFormatError, match="OpenVEX"):
        suppress(scan, tmp_path / name)


def test_a_missing_file_is_refused(scan, tmp_path):
    with pytest.raises(ScanFormatError, match="Expected"):
        suppress(scan, tmp_path / "none")


def test_an_entry_expires_on_its_date(scan, tmp_path):
    content = "vulnerabilities: [{id: CVE-1, expired_at: 2030-01-01}, {id: CVE-2, expired_at: '2030-01-01T12:00:00Z'}]"
    for day, hidden in ((date(2029, 12, 31), 2), (date(2030, 1, 1), 0)):
        assert len(suppressed(left(scan, tmp_path, "ignore.yaml", content, on=day))) == hidden
        assert len(suppressed(left(scan, tmp_path, ".trivyignore", "CVE-1 exp:2030-01-01\n", on=day))) == hidden // 2


@pytest.mark.parametrize("name", ["DS002", "DS-0002", "AVD-DS-0002"])
@pytest.mark.parametrize("known", ["DS002", "DS-0002"])
def test_a_check_is_found_by_each_of_its_ids(tmp_path, name, known):
    report = ScanReport("trivy", "made here")
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
    report = ScanReport("trivy", "made here")
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
def test_an_entry_that_could_cover_more_is_refused(scan, tmp_path, entries):
    with pytest.raises(ScanFormatError, match="Expected an OpenVEX"):
        left(scan, tmp_path, "ignore.yaml", f"vulnerabilities: {entries}")


def test_a_package_of_another_namespace_is_another_package(scan, tmp_path):
    content = "vulnerabilities: [{id: CVE-1, purls: ['pkg:deb/openssl', 'pkg:deb/ubuntu/openssl']}]"
    assert len(suppressed(left(scan, tmp_path, "ignore.yaml", content))) == 0


def test_a_decision_about_a_subpath_does_not_cover_the_module(tmp_path):
    report = ScanReport("trivy", "x")
    report.add("vulnerability", "CVE-1", package="example.com/m", purl="pkg:golang/example.com/m@v1", severity="high")
    scan = make_scan([("x", report)])
    for subpath, hidden in (("#cmd/tool", 0), ("", 1)):
        product = {"@id": f"pkg:golang/example.com/m@v1{subpath}"}
        decided = {"vulnerability": {"name": "CVE-1"}, "products": [product], "status": "not_affected"}
        assert len(suppressed(left(scan, tmp_path, "vex.json", vex(decided)))) == hidden


def test_statements_are_ordered_by_instants_and_attested_documents_are_read(scan, tmp_path):
    late, early = "2024-05-01T22:00:00.123456789-06:00", "2024-05-02T01:00:00Z"
    about = {"vulnerability": "CVE-1", "products": ["pkg:deb/debian/openssl"]}
    document = vex(about | {"status": "fixed", "timestamp": late}, about | {"status": "affected", "timestamp": early})
    statement = {"_type": "https://in-toto.io/Statement/v1", "predicate": document}
    assert list(suppressed(left(scan, tmp_path, "vex.json", statement))["suppressed"]) == ["fixed"]


def test_accepted_findings(scan, tmp_path):
    content = """
[[accept]]
rule = "documentation"
reason = "for il.advise"
[[accept]]
id = "CVE-1"
purl = "pkg:deb/debian/openssl"
reason = "not reachable"
expires = 2030-01-01
[[accept]]
id = "CVE-3"
path = "/app/site"
reason = "internal"
"""
    result = left(scan, tmp_path, "accepted.toml", content, on=date(2030, 1, 1))
    assert list(suppressed(result)["suppressed"]) == ["accepted: not reachable", "accepted: internal"]
    assert list(suppressed(left(scan, tmp_path, "accepted.toml", content, on=date(2030, 1, 2)))["id"]) == ["CVE-3"]
    assert il.read_accepted(tmp_path / "accepted.toml")["rule"].tolist() == ["documentation"]
    for entry in ('reason = "x"', 'id = "*"\nreason = ""', 'id = "a"\nreason = "x"\npurl = "y"'):
        with pytest.raises(ScanFormatError, match="accept entry 1"):
            left(scan, tmp_path, "accepted.toml", f"[[accept]]\n{entry}\n")
