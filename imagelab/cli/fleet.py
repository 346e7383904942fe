"""Verbs on many images: index, fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagelab.cli.output import Answer
from imagelab.cli.verb import Platform, verb


@verb()
def index(
    references: Annotated[list[str], typer.Argument(metavar="REF…", help="Images of any source.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The fleet's folder.")],
    platform: Platform = None,
    digests: Annotated[bool, typer.Option("--digests", help="Also hash the files' contents.")] = False,
) -> Answer:
    """Write snapshots of images and an index over them; exit code 1 if an image failed."""
    from imagelab.fleet.index import index_images

    done = index_images(references, output, platform=platform, digests=digests)
    return Answer({"index": done}, failed=bool((done["state"] == "failed").any()))


@verb(rows=20)
def fleet(
    folder: Annotated[Path, typer.Argument(help="The folder that `imagelab index` wrote.")],
    question: Annotated[
        str,
        typer.Argument(
            help="storage, sharing, similarity, layers, files, packages, where, waste, bases, growth or findings."
        ),
    ],
    pattern: Annotated[str | None, typer.Argument(help="A package's or file's name; * matches any text.")] = None,
    version: Annotated[str | None, typer.Option(help="For where: only this version.")] = None,
) -> Answer:
    """Answer a question over all images of a folder."""
    from imagelab.fleet.query import query_fleet

    answer = query_fleet(folder, question, pattern, version)
    return Answer({question: answer}, shown={question: answer.drop(columns="image", errors="ignore")})
