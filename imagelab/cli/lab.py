"""The lab: build a recipe of the embedded data on one's own engine, and hold its result against the recorded one."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Annotated

import pandas as pd
import typer

import imagelab as il
from imagelab.cli.app import app
from imagelab.cli.output import Answer
from imagelab.cli.verb import pairs, verb
from imagelab.core.errors import ImagelabError, ImageNotFound
from imagelab.course.claims import VERDICTS, verdict

lab_app = typer.Typer(help="Recipes: build one on your engine, measure what it saves there.", no_args_is_help=True)
app.add_typer(lab_app, name="lab")

Name = Annotated[str, typer.Argument(help="A recipe, as `imagelab lab list` names them.")]
SMALL = 1_000_000
"""Bytes: two savings below this are the same, none."""


@cache
def _make() -> ModuleType:
    """data/make.py, which built what is recorded: it comes with the data, not as a module of the package."""
    spec = importlib.util.spec_from_file_location("imagelab_data_make", il.data_path("make.py"))
    if spec is None or spec.loader is None:
        raise ImagelabError(f"{il.data_path('make.py')} cannot be loaded: install imagelab again.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _variants(name: str | None = None) -> list[Path]:
    """Dockerfiles of one recipe, what it begins with first; or of all."""
    recipes = [path for path in _make().all_recipes() if path.parts[-3] != "stand-ins"]
    names = sorted({path.parts[-3] for path in recipes})
    if name is not None and name not in names:
        raise ImagelabError(f"there is no recipe {name!r}. There are {', '.join(names)}.")
    chosen = [path for path in recipes if name in (None, path.parts[-3])]
    return sorted(chosen, key=lambda path: (path.parts[-3], path.parts[-2] not in ("before", "service-full")))


def _comment(path: Path, word: str) -> str:
    """What stands behind a word in a recipe's head, which may go on in indented lines."""
    found = re.search(rf"^# {word}: (.+(?:\n#   .+)*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return re.sub(r"\n#\s+", " ", found[1]) if found else ""


@verb("list", group=lab_app)
def list_() -> Answer:
    """List the recipes: what each variant shows, and the engine it needs."""
    rows = [
        (path.parts[-3], path.parts[-2], _comment(path, "what this shows"), _comment(path, "engine"))
        for path in _variants()
    ]
    return Answer({"recipes": pd.DataFrame(rows, columns=["name", "variant", "shows", "engine"])})


@lab_app.command()
def build(
    name: Name,
    local: Annotated[bool, typer.Option("--local", help="Base images: stand-ins, made where missing.")] = False,
    base: Annotated[
        list[str] | None, typer.Option("--base", help="NAME=IMAGE in place of a base: python:3.10-slim=my/python:slim.")
    ] = None,
    network: Annotated[str, typer.Option("--network", help="The network of RUN steps.")] = "host",
) -> None:
    """Build a recipe's variants on the engine that Docker's CLI talks to."""
    make = _make()
    bases = (make.STAND_INS if local else {}) | pairs(base)
    for path in _variants(name):
        try:
            for needed in (*make.missing_bases(path, bases), path):
                make.build(needed, network, bases)
        except subprocess.CalledProcessError as error:
            more = "" if local else " Where base images cannot be pulled, add --local."
            raise ImagelabError(
                f"{make.recipe_tag(path)} did not build (see above). It needs {_comment(path, 'engine')}.{more}"
            ) from error
        except OSError as error:
            raise ImagelabError(
                f"{error.filename or 'docker'} cannot be run: {error.strerror}. Install it; docker has to reach an engine."
            ) from error
        typer.echo(f"{make.recipe_tag(path)} is built")
    typer.echo(f"Next: imagelab lab measure {name}")


@verb(group=lab_app)
def measure(name: Name) -> Answer:
    """Compare what each variant saves on your engine with the recorded result; exit code 1 if it differs."""
    measured = _measured(name)
    return Answer(
        {"measured": measured},
        summary="File bytes saved compared with the first variant (within 10 %: confirmed; within 2×: partly), and the\n"
        "rules of `imagelab harden` that the variant fixes: as recorded, and on this engine.",
        failed=bool(measured["verdict"].eq("not confirmed").any()),
    )


def _measured(name: str) -> pd.DataFrame:
    make, seen = _make(), []
    for path in _variants(name):
        tag = make.recipe_tag(path)
        try:
            here = _facts(f"docker-daemon:{tag}")
        except ImageNotFound as error:
            raise ImageNotFound(f"{tag} is not on the engine: run `imagelab lab build {name}` first.") from error
        seen.append((path.parts[-2], _facts(f"example:{make.snapshot_name(tag)}"), here))
    rows = []
    for variant, recorded, here in seen[1:]:
        saved, saved_here = seen[0][1][0] - recorded[0], seen[0][2][0] - here[0]
        # A snapshot holds no contents: what a rule cannot tell from it is not compared.
        unknown = {rule for rule, result in recorded[1].items() if result == "unknown"}
        right, right_here = (
            _put_right(first[1], now[1]) - unknown for first, now in zip(seen[0][1:], (recorded, here), strict=True)
        )
        same = max(abs(saved), abs(saved_here)) < SMALL
        said = [
            VERDICTS[0] if same else verdict(max(saved, 0), max(saved, 0), saved_here),
            VERDICTS[0 if right == right_here else 1 if right & right_here else 2],
        ]
        named = (", ".join(sorted(rules)) for rules in (right, right_here))
        rows.append((f"{seen[0][0]} → {variant}", saved, saved_here, *named, max(said, key=VERDICTS.index)))
    columns = ["variants", "recorded_bytes", "here_bytes", "recorded_rules", "here_rules", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def _facts(reference: str) -> tuple[int, dict[str, str]]:
    """Bytes of files that an image stores, and the result of each hardening rule."""
    image = il.load_image(reference)
    rules = il.check_hardening(image)
    return int(il.efficiency(image)["stored"].sum()), dict(zip(rules["rule"], rules["result"], strict=True))


def _put_right(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {rule for rule, result in after.items() if result == "passed" and before.get(rule) == "failed"}
