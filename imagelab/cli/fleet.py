"""Verbs on many images: index, fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagelab.cli.app import app
from imagelab.cli.output import Form, Json, Markdown, Rows, form, print_frames


@app.command()
def index(
    references: Annotated[list[str], typer.Argument(metavar="REF…", help="Images of any source.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The fleet's folder.")],
    platform: Annotated[str | None, typer.Option(help="os/architecture[/variant], where there are several.")] = None,
    digests: Annotated[bool, typer.Option("--digests", help="Also hash the files' contents.")] = False,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Write snapshots of images and an index over them; exit code 1 where an image failed."""
    from imagelab.fleet.index import index_images

    done = index_images(references, output, platform=platform, digests=digests)
    print_frames({"index": done}, form(as_json, as_markdown))
    if (done["state"] == "failed").any():
        raise typer.Exit(1)


@app.command()
def fleet(
    folder: Annotated[Path, typer.Argument(help="What `imagelab index` wrote.")],
    question: Annotated[
        str,
        typer.Argument(
            help="storage, sharing, similarity, layers, files, packages, where, waste, bases, growth or findings."
        ),
    ],
    pattern: Annotated[str | None, typer.Argument(help="A package's or file's name; * is any text.")] = None,
    version: Annotated[str | None, typer.Option(help="For where: only this version.")] = None,
    rows: Rows = 20,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Ask a question over all images of a folder."""
    from imagelab.fleet.query import query_fleet

    how = form(as_json, as_markdown)
    answer = query_fleet(folder, question, pattern, version)
    hidden = [] if how is Form.JSON else ["image"]
    print_frames({question: answer.drop(columns=hidden, errors="ignore")}, how, rows=rows)
