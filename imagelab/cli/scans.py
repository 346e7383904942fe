"""Verbs on findings: scan, compare-scans, harden."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import imagelab as il
from imagelab.cli.output import Answer
from imagelab.cli.verb import Platform, verb

if TYPE_CHECKING:
    import pandas as pd

ReportFile = Annotated[Path, typer.Argument(help="A scanner's report.")]
Base = Annotated[str | None, typer.Option(metavar="REF", help="The base image: separates its findings from your own.")]
DockerfilePath = Annotated[Path | None, typer.Option(help="The image's Dockerfile: adds lines and diffs.")]
_CHANGES = ["change", "findings", "critical", "high", "known_exploited", "remaining", "line", "origin", "confidence"]


@verb(rows=30)
def scan(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Scanners' reports and SBOMs; the format is recognised.")
    ],
    ignore: Annotated[
        list[Path] | None, typer.Option(help="VEX, .trivyignore or accepted findings (TOML); may be repeated.")
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="The scanned image: adds the changes to make, and layers and instructions.")
    ] = None,
    dockerfile: DockerfilePath = None,
    base: Base = None,
    platform: Platform = None,
) -> Answer:
    """Read scanners' reports; with the image, list the changes to make and what introduced each finding."""
    from imagelab.security.scans.findings import is_counted

    findings = il.suppress(il.read_scan(files), *(ignore or ()))
    first: dict[str, pd.DataFrame] = {}
    if image is not None:
        loaded = il.load_image(image, platform=platform)
        findings = il.blame(findings, loaded, base=base, dockerfile=dockerfile)
        first = {"changes": il.remediation(findings, loaded, dockerfile=dockerfile)}
    findings = findings.sort_values("severity", ascending=False, kind="stable")
    suppressed, findings = il.suppressed(findings), findings[findings["suppressed"].isna()]
    counts = findings.groupby(["finding", "severity"], observed=True).size().rename("count").iloc[::-1].reset_index()
    columns = ["severity", "id", "package", "version", "fixed_version"]
    columns += [*(["instruction", "remedy"] if image is not None else []), "title"]
    shown = findings.assign(instruction=findings["created_by"]) if image is not None else findings  # the whole command
    counted = findings[is_counted(findings)]
    more = {"suppressed": suppressed} if len(suppressed) else {}
    hidden = {name: frame[["severity", "id", "package", "suppressed", "suppressed_by"]] for name, frame in more.items()}
    return Answer(
        {**first, "counts": counts, "findings": findings, **more},
        shown={
            **{name: frame[_CHANGES] for name, frame in first.items()},
            "counts": counts,
            "findings": _folded(shown[columns]),
            **hidden,
        },
        summary=f"{len(counted)} findings; {counted['fixed_version'].notna().sum()} have a fix",
        hint=f"imagelab {f'remediate {image}' if image else 'scan --image IMAGE'} {' '.join(map(str, files))}",
    )


def _folded(frame: pd.DataFrame) -> pd.DataFrame:
    """Identical rows as one, with the number of places where a scanner found it."""
    places = frame.groupby(list(frame), dropna=False, sort=False, observed=True).size().rename("places")
    return frame.drop_duplicates().assign(places=places.to_numpy()) if (places > 1).any() else frame


@verb(rows=30)
def remediate(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The scanned image.")],
    files: Annotated[list[Path], typer.Argument(metavar="SCAN…", help="Scanners' reports.")],
    dockerfile: DockerfilePath = None,
    base: Base = None,
    ignore: Annotated[list[Path] | None, typer.Option(help="Decisions about findings, as for scan.")] = None,
    prove: Annotated[
        str | None, typer.Option(metavar="TOOL", help="Build each diff, and scan it with trivy, grype or scout.")
    ] = None,
    platform: Platform = None,
) -> Answer:
    """List the changes that remove findings, the most effective first; each finding counts once."""
    findings = il.suppress(il.read_scan(files), *(ignore or ()))
    loaded = il.load_image(image, platform=platform)
    changes = il.remediation(findings, loaded, dockerfile=dockerfile, base=base, prove=prove)
    fixed = int(changes.loc[changes["kind"] != "none", "findings"].sum())
    summary = f"{fixed} of {changes['findings'].sum()} findings have a change that removes them"
    diff = "\n".join(changes["diff"].dropna())
    return Answer({"changes": changes}, shown={"changes": changes[[*_CHANGES, "outcome"]]}, summary=summary, diff=diff)


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
    ignore: Annotated[Path | None, typer.Option(help="Accepted findings (TOML), as for advise and scan.")] = None,
    platform: Platform = None,
) -> Answer:
    """Check an image or container against hardening rules."""
    is_container = subject.startswith("container:")
    found = subject if is_container else il.load_image(subject, platform=platform)
    rules = il.check_hardening(found, ignore=ignore)
    counts = rules.drop_duplicates("rule")["result"].value_counts().rename("rules").reset_index()
    shown = rules if passed else rules[rules["result"] != "passed"]
    return Answer(
        {"counts": counts, "rules": rules},
        shown={"rules": shown[["result", "severity", "rule", "evidence", "advice"]]},
        summary="rules: " + ", ".join(f"{count} {result}" for result, count in counts.itertuples(index=False)),
        prose=["evidence", "advice"],
    )
