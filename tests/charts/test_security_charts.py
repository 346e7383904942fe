"""Charts of findings draw the frames' own numbers, and no scan's text acts."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from imagelab.charts import security as charts
from imagelab.security.compare import compare_scanners, compare_scans
from imagelab.security.scans.findings import ScanReport
from imagelab.security.scans.reader import make_scan, read_scan

HOSTILE = "<img src=x onerror=alert(1)> $x$ %{x}"


@pytest.fixture(scope="module")
def scans(corpus):
    paths = ["grype/dd-many_vulns3.json", "grype/dd-many_vulns.json", "grype/dd-many_vulns_with_epss_values.json"]
    return [read_scan(corpus / "scans" / path) for path in paths]


def with_layers(scan):
    layers = pd.Series([n % 3 if n % 4 else pd.NA for n in range(len(scan))], dtype="Int64")
    return scan.assign(
        layer_index=layers,
        created_by=layers.map(
            {0: "ADD root.tar / # buildkit", 1: "RUN /bin/sh -c apt-get install x # buildkit", 2: HOSTILE}
        ).astype("string"),
    )


def drawn(figure):
    return sum(sum(trace.x) for trace in figure.data if trace.type == "bar")


def test_bars_add_up(scans):
    figure = charts.severity_bars(with_layers(scans[0]))
    assert drawn(figure) == len(scans[0])
    assert charts.NO_LAYER in figure.layout.yaxis.ticktext and len(figure.layout.yaxis.ticktext) == 4
    figure = charts.fixable_bars(scans[0])
    assert drawn(figure) == len(scans[0])
    assert figure.layout.title.text.startswith(f"<b>{scans[0]['fixed_version'].notna().sum()} of {len(scans[0])}")


def test_flow_keeps_every_finding(scans):
    changes = compare_scans(scans[1], scans[0])
    figure = charts.scan_flow(changes)
    assert sum(figure.data[0].link.value) == len(changes)
    counts = changes["change"].value_counts()
    assert f"{counts['fixed']} findings are fixed, {counts['new']} are new" in figure.layout.title.text


def test_agreement_counts(corpus):
    paths = ["trivy/pygoat-trivy-results.sarif", "scout/pygoat-scout-report.sarif"]
    agreement = compare_scanners([read_scan(corpus / "scans" / path) for path in paths])
    figure = charts.scanner_agreement(agreement)
    assert drawn(figure) == len(agreement)
    assert figure.layout.yaxis.ticktext == ("trivy, scout agree", "only trivy", "only scout") or set(
        figure.layout.yaxis.ticktext
    ) == {"trivy, scout agree", "only trivy", "only scout"}
    assert "14 of the 41" in figure.layout.title.text


def test_epss_against_cvss(scans):
    figure = charts.epss_cvss(scans[2])
    points = sum(len(trace.x) for trace in figure.data)
    rows = scans[2].dropna(subset=["epss", "cvss_score"]).drop_duplicates(["id", "package"])
    assert points == len(rows) > 5 and "Fix first: CVE-" in figure.layout.title.text


def test_many_layers_are_folded():
    report = ScanReport("x", "x")
    for n in range(100):
        report.add("vulnerability", f"CVE-{n}", severity="low")
    blamed = make_scan([("x", report)]).assign(layer_index=pd.Series(range(100), dtype="Int64"), created_by="RUN x")
    figure = charts.severity_bars(blamed)
    assert (
        drawn(figure) == 100 and len(figure.layout.yaxis.ticktext) == 26 and "75 others" in figure.layout.yaxis.ticktext
    )


def test_empty_scans_say_so():
    report = ScanReport("trivy", "Trivy JSON")
    columns = {"layer_index": pd.Series(dtype="Int64"), "created_by": pd.Series(dtype="string")}
    empty = make_scan([("x", report)]).assign(**columns)
    for figure in (
        charts.severity_bars(empty),
        charts.fixable_bars(empty),
        charts.epss_cvss(empty),
        charts.scan_flow(compare_scans(empty, empty)),
        charts.scanner_agreement(compare_scanners([empty, empty])),
    ):
        assert figure.layout.title.text and not figure.data


def test_no_text_acts():
    report = ScanReport(HOSTILE, "x", reference=HOSTILE)
    report.add("vulnerability", "CVE-1", package=HOSTILE, version=HOSTILE, severity="high", epss=0.5, title=HOSTILE)
    report.rows[0] |= {"cvss_score": 9.0}
    scan = make_scan([("x", report)])
    blamed = scan.assign(layer_index=pd.Series([0], dtype="Int64"), created_by=HOSTILE)
    other = scan.assign(scanner="other", package="x")
    for figure in (
        charts.severity_bars(blamed),
        charts.epss_cvss(scan),
        charts.scanner_agreement(compare_scanners([scan, other])),
        charts.scan_flow(compare_scans(scan, other)),
    ):
        text = json.dumps(figure.to_dict(), default=str)
        assert "<img" not in text
