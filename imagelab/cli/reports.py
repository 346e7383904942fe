"""Verbs that write pages: report, notebooks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from imagelab.cli.app import PANELS, app
from imagelab.cli.verb import Platform, pairs
from imagelab.core.errors import ImagelabError


@app.command(rich_help_panel=PANELS["reports"])
def report(
    references: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE…",
            help="Images of any source, or one folder of snapshots; logs for build_report, scans for security_report.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The HTML file to write; for a folder, the folder.")],
    scans: Annotated[
        list[Path] | None, typer.Option("--scan", help="A scanner's report on the image; of several, one each.")
    ] = None,
    logs: Annotated[
        list[Path] | None, typer.Option("--log", help="The log of the image's build; of several, one each.")
    ] = None,
    notebook: Annotated[str, typer.Option(help="A report notebook's name or path.")] = "image_report",
    values: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE of another of the notebook's parameters; may be repeated."),
    ] = None,
    show_code: Annotated[bool, typer.Option("--show-code", help="Show the notebook's code too.")] = False,
    platform: Platform = None,
) -> None:
    """Write a report into one HTML file that opens with no network, or a folder's snapshots into a small site."""
    from imagelab.report.run import report as write

    if len(references) == 1 and any(Path(references[0]).glob("*.parquet")):
        from imagelab.report.site import report_site  # loads pandas, which one report leaves to its worker

        typer.echo(report_site(references[0], output))
        return
    given: dict[str, Any] = dict(pairs(values)) | ({"platform": platform} if platform else {})
    for name, files in (("scans", scans), ("logs", logs)):
        if files and len(files) != len(references):
            raise ImagelabError(
                f"{len(files)} {name} for {len(references)} images: give one --{name[:-1]} for each image, in their order."
            )
        given |= {name: dict(zip(references, map(str, files), strict=True))} if files else {}
    typer.echo(write(references, output, notebook=notebook, show_code=show_code, parameters=given))


@app.command(rich_help_panel=PANELS["reports"])
def notebooks(output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")]) -> None:
    """Run every notebook on the embedded data and write a page for each, with an index."""
    from imagelab.core.resources import notebook_paths
    from imagelab.report.site import render_all

    typer.echo(render_all(notebook_paths(), output))
