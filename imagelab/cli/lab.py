"""Verbs on the recipes of the embedded data: lab list, lab build, lab measure."""

from __future__ import annotations

from typing import Annotated

import typer

from imagelab.cli.app import PANELS, app
from imagelab.cli.output import Answer
from imagelab.cli.verb import pairs, verb

lab_app = typer.Typer(help="Build the lessons' recipes on your engine, and compare the results.", no_args_is_help=True)
app.add_typer(lab_app, name="lab", rich_help_panel=PANELS["lab"])

Name = Annotated[str, typer.Argument(help="A recipe, as `imagelab lab list` names them.")]


@verb("list", group=lab_app)
def list_() -> Answer:
    """List the recipes: what each variant shows, and the engine it needs."""
    from imagelab.course.recipes import list_recipes

    return Answer({"recipes": list_recipes()}, prose=["shows", "engine"], hint="imagelab lab build NAME")


@lab_app.command()
def build(
    name: Name,
    local: Annotated[
        bool, typer.Option("--local", help="Use stand-ins for base images; make the missing ones.")
    ] = False,
    base: Annotated[
        list[str] | None, typer.Option(help="NAME=IMAGE in place of a base: python:3.10-slim=my/python:slim.")
    ] = None,
    network: Annotated[str, typer.Option(help="The network of RUN steps.")] = "host",
) -> None:
    """Build a recipe's variants on the engine that Docker's CLI talks to."""
    from imagelab.course.recipes import build_recipe

    for tag in build_recipe(name, local=local, bases=pairs(base), network=network):
        typer.echo(f"{tag} is built")
    typer.echo(f"next: imagelab lab measure {name}")


@verb(group=lab_app)
def measure(name: Name) -> Answer:
    """Compare what each variant saves on your engine with the recorded result; exit code 1 if it differs."""
    from imagelab.course.recipes import measure_recipe

    measured = measure_recipe(name)
    return Answer(
        {"measured": measured},
        summary="File bytes saved compared with the first variant (within 10 %: confirmed; within 2×: partly), and the "
        "rules of `imagelab harden` that the variant fixes: as recorded, and on this engine.",
        failed=bool(measured["verdict"].eq("not confirmed").any()),
    )
