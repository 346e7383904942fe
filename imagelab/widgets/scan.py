"""Explore findings: filter them, compare two scans, go from a finding to its layer."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import ipywidgets
import pandas as pd

from imagelab.charts.security import fixable_bars, scan_flow, scanner_agreement, severity_bars
from imagelab.core.frames import make_frame
from imagelab.core.terms import SEVERITIES
from imagelab.core.text import clean
from imagelab.security.blame import BLAME_COLUMNS, blame
from imagelab.security.compare import compare_scanners, compare_scans
from imagelab.security.scans.findings import is_counted
from imagelab.security.scans.reader import read_scan
from imagelab.widgets.base import Chart, Panel, Part, Rows, row

SHOWN = ["severity", "id", "package", "version", "fixed_version", "status", "layer_index", "instruction", "remedy"]
SHOWN += ["scanner", "finding", "path", "title", "url"]
EVERY = "all"


class ScanExplorer(Panel):
    """The findings of one or two scans, with filters for severity, fix, layer, package and scanner.

    Parameters
    ----------
    scans : frames of `imagelab.read_scan`, or paths of reports
        One or two. Two scans of one scanner are shown as before and after, two scans of different scanners side by side.
    image : Image or reference, optional
        The image of the (last) scan: adds layers and instructions (`imagelab.blame`).
    base : Image or reference, optional
        The base image, as in `imagelab.blame`.

    Attributes
    ----------
    images, diff_id, busy, error
        As in `Panel`: selecting a finding selects its layer in linked widgets.
    selected : pandas.DataFrame
        The findings that pass the filters, worst first; suppressed findings are left out.
    """

    def __init__(self, scans: Any, image: Any = None, base: Any = None) -> None:
        given = [scans] if isinstance(scans, str | os.PathLike | pd.DataFrame) else list(scans)
        self.scans = [scan if isinstance(scan, pd.DataFrame) else read_scan(scan) for scan in given]
        self.base = base
        self.severity = ipywidgets.Dropdown(options=SEVERITIES[::-1], value="unknown", description="At least")
        self.fixable = ipywidgets.Checkbox(description="Only with a fix", indent=False)
        self.layer = ipywidgets.Dropdown(options=[EVERY], description="Layer")
        self.scanner = ipywidgets.Dropdown(options=[EVERY], description="Scanner")
        self.package = ipywidgets.Text(description="Package", placeholder="part of a name", continuous_update=False)
        self.charts = [self.chart, self.second] = [Chart(), Chart()]
        self.compared, self.table = Rows(), Rows(self._choose)
        self.tables = [self.compared, self.table] if len(self.scans) == 2 else [self.table]
        self.findings = _with_layers(pd.concat(self.scans, ignore_index=True), None, None)
        super().__init__([] if image is None else [image])
        controls = [self.severity, self.fixable, self.layer, self.scanner, self.package]
        self.children = [row(*controls), self.status, *self.charts[: len(self.tables)], *self.tables]
        for control in controls:
            self.on(control, "value", self.draw_parts)
        self.on(self, "diff_id", self._follow)
        if not self.images:
            self.refresh()

    @property
    def selected(self) -> pd.DataFrame:
        rows = self.findings[is_counted(self.findings)]
        rows = rows[rows["severity"].ge(self.severity.value).fillna(False)]
        if self.fixable.value:
            rows = rows[rows["fixed_version"].notna()]
        if self.layer.value != EVERY:
            rows = rows[rows["layer_index"].astype("string").eq(self.layer.value).fillna(False)]
        if self.scanner.value != EVERY:
            rows = rows[rows["scanner"].eq(self.scanner.value).fillna(False)]
        if self.package.value.strip():
            wanted = self.package.value.strip()
            rows = rows[rows["package"].str.contains(wanted, case=False, regex=False).fillna(False)]
        return rows.sort_values(["severity", "id"], ascending=[False, True], kind="stable", ignore_index=True)

    def parts(self) -> Iterable[tuple[str, Part]]:
        rows = self.selected
        yield "By layer" if self.images else "By fix", severity_bars(rows) if self.images else fixable_bars(rows)
        if len(self.scans) == 2:
            before, after = self.scans
            if set(before["scanner"]) == set(after["scanner"]):
                changes = compare_scans(before, after)
                yield "Before and after", scan_flow(changes)
                yield "What changed", changes.drop(columns=["finding", "url"])
            else:
                agreement = compare_scanners(self.scans)
                yield "Scanners", scanner_agreement(agreement)
                yield "Findings by scanner", agreement.drop(columns=["finding", "aliases"])
        yield f"{len(rows)} findings, worst first", rows[SHOWN]

    def refresh(self) -> None:
        scans = pd.concat(self.scans, ignore_index=True)
        self.findings = _with_layers(scans, self.images[0] if self.images else None, self.base)
        layers = self.findings["layer_index"].dropna().drop_duplicates().sort_values()
        self.layer.options = [EVERY, *layers.astype("string")]
        names = list(self.findings["scanner"].dropna().drop_duplicates())
        self.scanner.options = [(EVERY, EVERY), *((clean(name, 60), name) for name in names)]
        self.draw_parts()

    def _follow(self) -> None:
        """Show the layer that a linked widget selected."""
        diff_ids = [layer.diff_id for layer in self.images[0].layers] if self.images else []
        wanted = str(diff_ids.index(self.diff_id)) if self.diff_id in diff_ids else EVERY
        self.layer.value = wanted if wanted in self.layer.options else EVERY

    def _choose(self, row: int) -> None:
        chosen = self.selected.iloc[row]
        if self.images and pd.notna(chosen["layer_index"]):
            self.diff_id = self.images[0].layers[int(chosen["layer_index"])].diff_id or ""


def _with_layers(scan: pd.DataFrame, image: Any, base: Any) -> pd.DataFrame:
    """The scan with blame's columns; they are unknown without an image."""
    if image is not None:
        return blame(scan, image, base=base)
    unknown = make_frame({"layer_index": [None] * len(scan)}, BLAME_COLUMNS)
    return pd.concat([scan.reset_index(drop=True), unknown], axis=1)
