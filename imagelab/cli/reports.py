"""Verbs that write pages: report, notebooks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagelab.cli.app import app


@app.command()
def report(
    references: Annotated[list[str], typer.Argument(metavar="IMAGE…", help="Images of any source.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The HTML file to write.")],
    notebook: Annotated[str, typer.Option(help="A report notebook's name or path.")] = "image_report",
    show_code: Annotated[bool, typer.Option("--show-code", help="Show the notebook's code too.")] = False,
) -> None:
    """Write a report into one HTML file that opens with no network."""
    from imagelab.report import report as write

    typer.echo(write(references, output, notebook=notebook, show_code=show_code))


@app.command()
def notebooks(output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")]) -> None:
    """Run every notebook on the embedded data and write a page for each, with an index."""
    from imagelab.report import render_all
    from imagelab.resources import notebooks_path

    typer.echo(render_all(sorted(notebooks_path().glob("*.ipynb")), output))
