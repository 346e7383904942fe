"""Verbs on findings: scan, compare-scans, harden."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import imagelab as il
from imagelab.cli.output import Answer
from imagelab.cli.verb import verb

ReportFile = Annotated[Path, typer.Argument(help="A scanner's report.")]


@verb(rows=30)
def scan(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Reports: Trivy, Grype, SARIF, GitLab, SBOMs, hadolint.")
    ],
    ignore: Annotated[list[Path] | None, typer.Option(help="VEX document or .trivyignore; may be repeated.")] = None,
    image: Annotated[
        str | None, typer.Option(help="The image that was scanned: shows which instruction introduced each finding.")
    ] = None,
) -> Answer:
    """Read scanners' reports; with the image, name the instruction that introduced each finding."""
    findings = il.read_scan(files)
    if ignore:
        findings = il.suppress(findings, *ignore)
    if image is not None:
        findings = il.blame(findings, image)
    findings = findings.sort_values("severity", ascending=False, kind="stable")
    suppressed, findings = il.suppressed(findings), findings[findings["suppressed"].isna()]
    counts = findings.groupby(["finding", "severity"], observed=True).size().rename("count").reset_index()
    columns = ["severity", "id", "package", "version", "fixed_version"]
    columns += [*(["instruction", "remedy"] if image is not None else []), "title"]
    more = {"suppressed": suppressed} if len(suppressed) else {}
    hidden = {name: frame[["severity", "id", "package", "suppressed", "suppressed_by"]] for name, frame in more.items()}
    return Answer(
        {"counts": counts, "findings": findings, **more},
        shown={"counts": counts, "findings": findings[columns], **hidden},
    )


@verb(rows=30)
def compare_scans(before: ReportFile, after: ReportFile) -> Answer:
    """Compare two scans: which findings are new, fixed or changed."""
    changes = il.compare_scans(il.read_scan(before), il.read_scan(after))
    counts = changes.groupby("change", observed=False).size().rename("count").reset_index()
    columns = ["change", "id", "package", "version_before", "version_after", "severity_before", "severity_after"]
    return Answer({"counts": counts, "findings": changes}, shown={"counts": counts, "findings": changes[columns]})


@verb(rows=60)
def harden(
    subject: Annotated[str, typer.Argument(metavar="IMAGE", help="An image of any source, or container:NAME.")],
    passed: Annotated[bool, typer.Option("--all", help="Show rules that passed too.")] = False,
) -> Answer:
    """Check an image or container against hardening rules."""
    rules = il.check_hardening(subject)
    counts = rules["result"].value_counts().rename("rules").reset_index()
    shown = rules if passed else rules[rules["result"] != "passed"]
    return Answer(
        {"counts": counts, "rules": rules},
        shown={"counts": counts, "rules": shown[["result", "rule", "evidence", "advice"]]},
        prose=["evidence", "advice"],
    )
