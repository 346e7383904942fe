"""The scan explorer, driven from Python."""

import json

import pytest

import imagelab as il
from imagelab.core.resources import data_path
from imagelab.security.scans.reader import read_scan
from imagelab.widgets.scan import ScanExplorer

SCANS = data_path("scans")
TRIVY, SCOUT = SCANS / "service-slim.facts.trivy.json", SCANS / "service-slim.facts.scout.sarif"
PLOTLY = "application/vnd.plotly.v1+json"


def rows(table):
    return table.data["rows"]


def title(chart):
    return chart.outputs[0]["data"][PLOTLY]["layout"]["title"]["text"]


@pytest.fixture
def explorer():
    return ScanExplorer(TRIVY, "example:service-slim")


def test_filters_leave_what_they_say(explorer):
    scan = read_scan(TRIVY)
    assert len(explorer.selected) == len(scan) and not explorer.error
    explorer.severity.value = "medium"
    assert len(explorer.selected) == (scan["severity"] >= "medium").sum() == len(rows(explorer.table))
    explorer.severity.value = "unknown"
    explorer.fixable.value = True
    assert explorer.selected["fixed_version"].notna().all() and len(explorer.selected) == 9
    explorer.layer.value = "1"
    assert set(explorer.selected["layer_index"]) == {1} and set(explorer.selected["remedy"]) == {"update the base"}
    explorer.layer.value = "all"
    explorer.package.value = "WERK"
    assert set(explorer.selected["package"]) == {"Werkzeug"}
    explorer.package.value = "[(nothing"
    assert len(explorer.selected) == 0 and "No finding" in title(explorer.chart)


def test_choosing_goes_both_ways(explorer):
    explorer._choose(0)
    image = il.load_image("example:service-slim")
    index = int(explorer.selected["layer_index"].iloc[0])
    assert explorer.diff_id == image.layers[index].diff_id and explorer.layer.value == str(index)
    explorer.diff_id = ""
    assert explorer.layer.value == "all"


def test_two_scanners_side_by_side_and_two_scans_of_one():
    both = ScanExplorer([TRIVY, SCOUT])
    assert "All scanners report" in title(both.second) and len(rows(both.compared)) > 30
    both.scanner.value = "scout"
    assert set(both.selected["scanner"]) == {"scout"}
    update = ScanExplorer([SCANS / "service-full.facts.trivy.json", SCANS / "service-distroless.facts.trivy.json"])
    assert "29 findings are fixed" in title(update.second) and len(rows(update.compared)) == 39


def test_the_static_sibling_shows_the_same(explorer):
    html = explorer.static_html()
    assert "39 findings" in html and "CVE-2024-6345" in html
    assert "text/html" in explorer._repr_mimebundle_()


def test_hostile_text_stays_text(tmp_path):
    path = tmp_path / "scan.json"
    bad = "<img src=x onerror=alert(1)>"
    item = {"VulnerabilityID": bad, "PkgName": bad, "Title": bad, "Severity": "HIGH"}
    path.write_text(
        json.dumps({"SchemaVersion": 2, "ArtifactName": bad, "Results": [{"Target": bad, "Vulnerabilities": [item]}]})
    )
    explorer = ScanExplorer(path)
    assert "<img" not in explorer.static_html() and len(explorer.selected) == 1


def test_a_missing_image_is_named_in_the_widget():
    explorer = ScanExplorer(TRIVY, "./nowhere.tar")
    assert "nowhere.tar" in explorer.error and len(explorer.selected) == 39
