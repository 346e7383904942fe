"""The gate's limits, on images made for it; dive's rules as dive itself reads them."""

from dataclasses import replace

import pytest

import imagelab as il
from imagelab.core.errors import ImagelabError
from imagelab.size.limits import read_dive_ci
from tests.support.images import image_of, layer_tar

ONE = image_of([layer_tar([(b"a", "file", b"12345" * 100)])], "one")
TWO = image_of([layer_tar([(b"a", "file", b"12345" * 100)]), layer_tar([(b"b", "file", b"1" * 50)])], "two")
UNREAD = "example:published-ubuntu-22.04-2023"  # neither sizes nor files


def test_growth_is_measured_from_what_is_stored():
    grown = il.check_limits(TWO, against=ONE, max_growth=49).iloc[0]
    assert (grown["measured"], grown["passed"]) == (50, False)
    with pytest.raises(ImagelabError, match="without the files"):  # unknown is not nothing
        il.check_limits(TWO, against=UNREAD, max_growth=10**9)


def test_files_are_listed_only_for_limits_on_them():
    assert il.check_limits(UNREAD, max_layers=5)["passed"].tolist() == [True]
    scan = il.read_scan(il.data_path("scans/service-slim.facts.trivy.json"))
    assert il.check_limits(replace(ONE, source=None), scan=scan, fail_on="critical")["measured"].ge(0).all()


def test_sizes_are_written_as_people_write_them():
    assert il.check_limits(TWO, max_size="0.5 kB", max_wasted="1KiB")["passed"].tolist() == [False, True]
    with pytest.raises(ImagelabError, match="is no size"):
        il.check_limits(TWO, max_size="large")


def test_what_is_no_subject_of_a_check():
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
def test_limits_that_nothing_can_be_held_against(limit):
    with pytest.raises(ImagelabError, match=next(iter(limit)) + "|no size"):
        il.check_limits(image_of([layer_tar([(b"a", "file", b"x")])]), **limit)


def test_what_is_rounded_alike_is_told_apart():
    image = image_of([layer_tar([(b"a", "file", b"x" * 1_000_001)])])
    assert il.check_limits(image, max_size=1_000_000)["message"].tolist() == [
        "size 1,000,001, which is not at most 1,000,000"
    ]
