"""The scans that come with imagelab read, and those made of facts fit the images that come with it."""

from __future__ import annotations

import json

import pytest

import imagelab as il
from imagelab.security.suppress import suppress, suppressed

SCANS = il.data_path("scans")
REPORTS = sorted(path.name for path in SCANS.glob("*") if path.name.endswith((".json", ".sarif", ".json.gz")))
NOT_REPORTS = {"containers.json", "page.json", "service-slim.openvex.json", "advisories.osv.json"}


@pytest.mark.parametrize("name", [name for name in REPORTS if name not in NOT_REPORTS])
def test_every_report_reads(name):
    scan = il.read_scan(SCANS / name)
    assert len(scan) and suppressed(scan).empty


@pytest.mark.parametrize("name", ["service-full", "service-slim", "service-distroless"])
def test_reports_of_facts_are_of_the_embedded_images(name):
    scan, image = il.read_scan(SCANS / f"{name}.facts.trivy.json"), il.load_image(f"example:{name}")
    assert scan.attrs["reports"][0]["scanner_version"].endswith("not a scan")
    found = il.blame(scan, image)
    assert set(found["matched_by"]) == {"diff_id"}, "make data/scans again: the snapshots are newer"
    packages = set(il.packages(image)[["name", "version"]].itertuples(index=False, name=None))
    assert set(scan[["package", "version"]].itertuples(index=False, name=None)) <= packages


def test_the_decision_suppresses_one_finding():
    scan = il.read_scan(SCANS / "service-slim.facts.trivy.json")
    decided = suppress(scan, SCANS / "service-slim.openvex.json")
    assert len(decided) == len(scan) and list(suppressed(decided)["id"]) == ["CVE-2025-66221"]


def test_recorded_containers_could_do_what_their_settings_allow():
    for one in json.loads((SCANS / "containers.json").read_text()):
        row = il.containers([one["inspect"]]).iloc[0]
        could, root = one["could"], row["user"] in ("", "0", "root")
        assert could["write to /"] == (root and not row["read_only"])
        held = row["capabilities"]
        assert could["change an owner"] == (root and ("CHOWN" in held or held == "ALL"))
        assert could["change root"] == (root and ("SYS_CHROOT" in held or held == "ALL"))
        assert could["mount"] == row["privileged"]
