"""Verbs of the course: lab list, lab build, lab measure on its recipes; course grade on handed-in notebooks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagelab.cli.app import PANELS, app
from imagelab.cli.output import Answer
from imagelab.cli.verb import pairs, verb

lab_app = typer.Typer(help="Build the lessons' recipes on your engine, and compare the results.", no_args_is_help=True)
app.add_typer(lab_app, name="lab", rich_help_panel=PANELS["lab"])

course_app = typer.Typer(help="Grade the notebooks that learners handed in.", no_args_is_help=True)
app.add_typer(course_app, name="course", rich_help_panel=PANELS["lab"])

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
    """Compare what each variant shows on your engine with the recorded result; exit code 1 if it differs."""
    from imagelab.course.recipes import measure_recipe

    measured = measure_recipe(name)
    return Answer({"measured": measured}, failed=bool(measured["verdict"].eq("not confirmed").any()))


@verb(group=course_app)
def grade(
    folder: Annotated[Path, typer.Argument(help="The folder with the learners' notebooks.")],
    engine: Annotated[bool | None, typer.Option("--engine/--no-engine", help="Build Dockerfiles, or never.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="An option of docker build, such as --network=host.")] = None,
    run_code: Annotated[bool, typer.Option("--run-code", help="Also run answers that are expressions.")] = False,
) -> Answer:
    """Check the answers in every notebook of a folder; outputs in them are ignored."""
    from imagelab.course.grading import grade as grade_folder

    graded = grade_folder(folder, engine=engine, options=option or [], run_code=run_code)
    points = graded.groupby("notebook", as_index=False).agg(points=("points", "sum"), exercises=("exercise", "count"))
    return Answer({"points": points, "answers": graded}, prose=["message"])
