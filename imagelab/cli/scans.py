"""Verbs on findings: scan, compare-scans, harden."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import imagelab as il
from imagelab.cli.app import app
from imagelab.cli.output import Form, Json, Markdown, Rows, form, print_frames

Report = Annotated[Path, typer.Argument(help="A scanner's report.")]


@app.command()
def scan(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Reports: Trivy, Grype, SARIF, GitLab, SBOMs, hadolint.")
    ],
    ignore: Annotated[
        list[Path] | None, typer.Option("--ignore", help="OpenVEX or .trivyignore; may be repeated.")
    ] = None,
    image: Annotated[
        str | None, typer.Option("--image", help="The image that was scanned: blame its instructions.")
    ] = None,
    rows: Rows = 30,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Read scanners' reports; with the image, say which instruction let each finding in."""
    findings = il.read_scan(files)
    if ignore:
        findings = il.suppress(findings, *ignore)
    aside = il.suppressed(findings)
    if image is not None:
        findings = il.blame(findings, image)
    counts = findings.groupby(["finding", "severity"], observed=True).size().rename("count").reset_index()
    frames = {"counts": counts, "findings": findings.sort_values("severity", ascending=False, kind="stable")}
    if len(aside):
        frames["set aside"] = aside
    columns = ["severity", "id", "package", "version", "fixed_version", "title"]
    columns += ["instruction", "remedy"] if image is not None else []
    print_frames(frames, form(as_json, as_markdown), rows=rows, columns={"findings": columns})


@app.command("compare-scans")
def compare_scans(
    before: Report, after: Report, rows: Rows = 30, as_json: Json = False, as_markdown: Markdown = False
) -> None:
    """Compare two scans: what is new, fixed, changed."""
    changes = il.compare_scans(il.read_scan(before), il.read_scan(after))
    counts = changes.groupby("change", observed=False).size().rename("count").reset_index()
    columns = ["change", "id", "package", "version_before", "version_after", "severity_before", "severity_after"]
    frames = {"counts": counts, "findings": changes}
    print_frames(frames, form(as_json, as_markdown), rows=rows, columns={"findings": columns})


@app.command()
def harden(
    subject: Annotated[str, typer.Argument(metavar="IMAGE", help="An image of any source, or container:NAME.")],
    everything: Annotated[bool, typer.Option("--all", help="Show what passed too.")] = False,
    rows: Rows = 60,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Check an image or container against hardening rules."""
    result = il.check_hardening(subject)
    how = form(as_json, as_markdown)
    frames = {"rules": result}
    if how is not Form.JSON:
        counts = result["result"].value_counts().rename("rules").reset_index()
        frames = {"counts": counts, "rules": result if everything else result[result["result"] != "passed"]}
    print_frames(frames, how, rows=rows, columns={"rules": ["result", "rule", "evidence", "advice"]})
