"""The gate's limits on images and scans; dive's rules as dive itself reads them."""

import json
from dataclasses import replace

import pytest

import imagelab as il
from imagelab.core.errors import ImagelabError, ScanFormatError
from imagelab.security.scans.findings import make_findings
from imagelab.size.limits import read_dive_ci
from tests.support.images import image_of, layer_tar

ONE = image_of([layer_tar([(b"a", "file", b"12345" * 100)])], "one")
TWO = image_of([layer_tar([(b"a", "file", b"12345" * 100)]), layer_tar([(b"b", "file", b"1" * 50)])], "two")
UNREAD = "example:published-ubuntu-22.04-2023"  # neither sizes nor files


def test_growth_is_the_difference_of_stored_sizes():
    grown = il.check_limits(TWO, against=ONE, max_growth=49).iloc[0]
    assert (grown["measured"], grown["passed"]) == (50, False)
    with pytest.raises(ImagelabError, match="without the files"):  # unknown is not nothing
        il.check_limits(TWO, against=UNREAD, max_growth=10**9)


def test_files_are_listed_only_for_limits_on_them():
    assert il.check_limits(UNREAD, max_layers=5)["passed"].tolist() == [True]
    scan = il.read_scan(il.data_path("scans/service-slim.facts.trivy.json"))
    assert il.check_limits(replace(ONE, source=None), scan=scan, fail_on="critical")["measured"].ge(0).all()


def test_sizes_have_units():
    assert il.check_limits(TWO, max_size="0.5 kB", max_wasted="1KiB")["passed"].tolist() == [False, True]
    with pytest.raises(ImagelabError, match="is not a size"):
        il.check_limits(TWO, max_size="large")


def test_wrong_subjects_are_refused():
    with pytest.raises(ImagelabError, match="was given 2"):
        il.check_limits([ONE, TWO], max_layers=1)
    with pytest.raises(ImagelabError, match=r"il\.read_scan gives"):
        il.check_limits(ONE, scan=il.layers(ONE), fail_on="high")


def test_nothing_above_the_first_layer_passes_as_with_dive(tmp_path):
    rules = tmp_path / ".dive-ci"
    rules.write_text("rules:\n  highestUserWastedPercent: 0.1\n  lowestEfficiency: 0.9\n")
    found = il.check_limits(ONE, dive_ci=rules)
    assert found["passed"].all() and "of nothing" in found["message"][0]


@pytest.mark.parametrize("word", ["off", "false", "disabled", "'Off'", ""])
def test_rules_that_are_off(tmp_path, word):
    rules = tmp_path / ".dive-ci"
    rules.write_text(f"rules:\n  lowest-efficiency: 0\n  highestWastedBytes: {word}\n")
    assert read_dive_ci(rules) == {"lowestEfficiency": 0}


@pytest.mark.parametrize("value", ["95", "-0.1", "much", ".nan"])
def test_shares_are_from_0_to_1(tmp_path, value):
    rules = tmp_path / ".dive-ci"
    rules.write_text(f"rules:\n  lowestEfficiency: {value}\n")
    with pytest.raises(ImagelabError, match="from 0 to 1"):
        read_dive_ci(rules)


@pytest.mark.parametrize(
    "limit",
    [{"min_efficiency": float("nan")}, {"min_efficiency": 80}, {"max_size": "-5MB"}, {"max_layers": -1},
     {"max_wasted": "nan"}],
)  # fmt: skip
def test_impossible_limits_are_refused(limit):
    with pytest.raises(ImagelabError, match=next(iter(limit)) + "|not a size"):
        il.check_limits(image_of([layer_tar([(b"a", "file", b"x")])]), **limit)


def test_values_equal_after_rounding_are_shown_in_full():
    image = image_of([layer_tar([(b"a", "file", b"x" * 1_000_001)])])
    assert il.check_limits(image, max_size=1_000_000)["message"].tolist() == [
        "size 1,000,001, which is not at most 1,000,000"
    ]


SCANS = il.data_path("scans")


def test_a_limit_refuses_a_scan_without_the_facts(tmp_path, field_security):
    cases = {
        field_security / "sarif-failed-run.sarif": "reports that it failed",
        field_security / "gitlab-scan-failure.json": "the scan failed .status failure",
        SCANS / "service-distroless.syft.cdx.json.gz": "an SBOM",
    }
    grype = '{"matches": [1], "descriptor": {"name": "grype"}}'
    for name, content in (("null.json", "null"), ("list.json", "[]"), ("entry.json", grype)):
        (tmp_path / name).write_text(content)
        cases[tmp_path / name] = "not complete"
    for path, reason in cases.items():
        with pytest.raises(ScanFormatError, match=reason):
            il.check_limits(ONE, scan=il.read_scan(path), fail_on="critical")
    with pytest.raises(ScanFormatError, match="does not say which report"):
        il.check_limits(ONE, scan=make_findings([]), fail_on="low")


def test_results_without_an_id_are_counted(tmp_path):
    results = [{"level": "error", "message": {"text": f"AWS key in file {number}"}} for number in range(8)]
    run = {"tool": {"driver": {"name": "gitleaks"}}, "results": results}
    (tmp_path / "leaks.sarif").write_text(json.dumps({"version": "2.1.0", "runs": [run]}))
    scan = il.read_scan(tmp_path / "leaks.sarif")
    assert set(scan["finding"]) == {"secret"} and scan["id"].nunique() == 8
    assert il.check_limits(ONE, scan=scan, fail_on="high")["measured"].item() == 8


def test_conditions_on_findings():
    scan = il.read_scan(SCANS / "busybox-1.32.1.grype.json")
    exploitable = int((scan["epss"] >= 0.01).sum())
    assert 0 < exploitable < len(scan)
    assert il.check_limits(ONE, scan=scan, epss=0.01)["measured"].item() == exploitable
    assert il.check_limits(ONE, scan=scan, fail_on="low", known_exploited=True)["passed"].item()
    unanswered = il.read_scan(SCANS / "service-slim.facts.trivy.json")
    with pytest.raises(ScanFormatError, match="does not report known_exploited"):
        il.check_limits(ONE, scan=unanswered, known_exploited=True)
    for wrong in ({"fail_on": "hi"}, {"epss": 2.0}):
        with pytest.raises(ImagelabError, match="expected"):
            il.check_limits(ONE, scan=scan, **wrong)
    with pytest.raises(ImagelabError, match="conditions on a scan"):
        il.check_limits(ONE, own=True)


def test_ignored_findings_do_not_count():
    scan = il.read_scan(SCANS / "service-slim.facts.trivy.json")
    counts = [
        il.check_limits(ONE, scan=scan, fail_on="low", ignore=path)["measured"].item()
        for path in (None, SCANS / "service-slim.openvex.json")
    ]
    assert counts[0] - counts[1] == 1
