"""Verbs that write pages: report, notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from imagelab.cli.app import PANELS, app
from imagelab.cli.verb import Platform, pairs
from imagelab.core.errors import ImagelabError

_EACH = "of several images, IMAGE=VALUE or one each, in their order"


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
    before: Annotated[
        list[str] | None, typer.Option(help=f"An earlier build, to show what changed since then; {_EACH}.")
    ] = None,
    scans: Annotated[list[str] | None, typer.Option("--scan", help=f"A scanner's report; {_EACH}.")] = None,
    logs: Annotated[list[str] | None, typer.Option("--log", help=f"The log of the build; {_EACH}.")] = None,
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

    by_image: dict[str, dict[str, str]] = {}
    for name, option, each in (("before", "--before", before), ("scans", "--scan", scans), ("logs", "--log", logs)):
        named = _by_image(option, each, references, by_image.get("before", {}).values())
        by_image |= {name: named} if named else {}
    given: dict[str, Any] = {**by_image, **pairs(values)} | ({"platform": platform} if platform else {})
    if len(references) == 1 and any(Path(references[0]).glob("*.parquet")):
        from imagelab.report.site import report_site  # loads pandas, which one report leaves to its worker

        if given:
            raise ImagelabError(
                "the report of a folder takes no such options; put scans and logs beside the snapshots: "
                "app.trivy.json and app.log beside app.parquet. Builds of one image are compared without --before."
            )
        typer.echo(report_site(references[0], output))
        return
    typer.echo(write(references, output, notebook=notebook, show_code=show_code, parameters=given))


def _by_image(option: str, values: list[str] | None, images: list[str], others: Iterable[str] = ()) -> dict[str, str]:
    """The values of a repeated option by image: as IMAGE=VALUE (``others`` only so), or one for each image in their order."""
    known, given = [*images, *others], values or ()
    named = {image: value[len(image) + 1 :] for image in known for value in given if value.startswith(f"{image}=")}
    in_order = [value for value in given if not value.startswith(tuple(f"{image}=" for image in known))]
    if in_order and len(in_order) != len(images):
        raise ImagelabError(
            f"{len(in_order)} {option} for {len(images)} images: give one for each image in their order, or "
            f"{option} {images[0]}=VALUE for one of them."
        )
    return dict(zip(images, in_order, strict=False)) | named


@app.command(rich_help_panel=PANELS["reports"])
def notebooks(output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")]) -> None:
    """Run every notebook on the embedded data and write a page for each, with an index."""
    from imagelab.core.resources import notebook_paths
    from imagelab.report.site import render_all

    typer.echo(render_all(notebook_paths(), output))
