"""Build the recipes of the embedded data on an engine, and compare what each one shows with what was recorded."""

from __future__ import annotations

import functools
import importlib.util
import re
import subprocess
import tempfile
import time
import tomllib
import uuid
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from imagelab.build.logs.read import read_build_log
from imagelab.core.errors import ImagelabError, ImageNotFound
from imagelab.core.resources import data_path
from imagelab.course.answers import evaluate, plain
from imagelab.course.claims import CONFIRMED, NOT_CONFIRMED, NOT_MEASURED, verdict
from imagelab.course.trial import container, docker
from imagelab.size.waste import efficiency

#: Bytes: if two savings are below this, neither shows anything.
SMALL = 1_000_000


@functools.cache
def make() -> ModuleType:
    """Load data/make.py, which built what is recorded; it belongs to the data and is no module of the package."""
    spec = importlib.util.spec_from_file_location("imagelab_data_make", data_path("make.py"))
    if spec is None or spec.loader is None:
        raise ImagelabError(f"{data_path('make.py')} cannot be loaded: install imagelab again.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def variants(name: str | None = None) -> list[Path]:
    """Return the Dockerfiles of one recipe, or of all; the one to compare with comes first."""
    recipes = [path for path in make().all_recipes() if path.parts[-3] != "stand-ins"]
    names = sorted({path.parts[-3] for path in recipes})
    if name is not None and name not in names:
        raise ImagelabError(f"there is no recipe {name!r}. There are {', '.join(names)}.")
    chosen = [path for path in recipes if name in (None, path.parts[-3])]
    return sorted(chosen, key=lambda path: (path.parts[-3], path.parts[-2] not in ("before", "service-full")))


def list_recipes() -> pd.DataFrame:
    """List the recipes: ``name``, ``variant``, what it ``shows``, and the ``engine`` that it needs."""
    rows = [(*path.parts[-3:-1], _comment(path, "what this shows"), _comment(path, "engine")) for path in variants()]
    return pd.DataFrame(rows, columns=["name", "variant", "shows", "engine"])


def _comment(path: Path, word: str) -> str:
    """Return the text after a word in a recipe's head; indented lines continue it."""
    found = re.search(rf"^# {word}: (.+(?:\n#   .+)*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return re.sub(r"\n#\s+", " ", found[1]) if found else ""


def build_recipe(name: str, *, local: bool = False, bases: dict[str, str], network: str = "host") -> list[str]:
    """Build a recipe's variants on the engine that Docker's CLI talks to; return their tags.

    ``bases`` replaces base images by name; ``local`` uses the stand-ins. Raises ImagelabError if a variant does not build, or
    docker cannot be run.
    """
    bases = (make().STAND_INS if local else {}) | bases
    for path in variants(name):
        try:
            for needed in (*make().missing_bases(path, bases), path):
                make().build(needed, network, bases)
        except subprocess.CalledProcessError as error:
            raise ImagelabError(
                f"{make().recipe_tag(path)} did not build (see above). It needs {_comment(path, 'engine')}. "
                "If base images cannot be pulled, add --local."
            ) from error
        except OSError as error:
            raise ImagelabError(
                f"{error.filename or 'docker'} cannot be run: {error.strerror}. Install it; docker has to reach an engine."
            ) from error
    return [make().recipe_tag(path) for path in variants(name)]


def measure_recipe(name: str) -> pd.DataFrame:
    """Measure what a recipe shows on this engine, and compare it with what was recorded.

    Returns
    -------
    pandas.DataFrame
        One row per variant: ``variant``, the ``point`` that is measured, ``recorded`` and ``here``, and a ``verdict``: not
        measured if two savings are too small to show anything.
    """
    points = tomllib.loads(data_path("recipes/points.toml").read_text(encoding="utf-8"))
    found = variants(name)
    for path in found:
        if docker("image", "inspect", tag := make().recipe_tag(path)).returncode:
            raise ImageNotFound(f"{tag} is not on the engine: run `imagelab lab build {name}` first.")
    rows = [_fact(path, points[name]) for path in found] if name in points else _savings(found)
    return pd.DataFrame(rows, columns=["variant", "point", "recorded", "here", "verdict"])


def _fact(path: Path, point: dict[str, Any]) -> tuple[str, str, Any, Any, str]:
    tag, variant = make().recipe_tag(path), path.parts[-2]
    names = {"tag": tag, "image": f"docker-daemon:{tag}", "name": path.parts[-3], "variant": variant}
    here, recorded = plain(evaluate(point["code"], globals() | names)), point["recorded"][variant]
    return variant, point["point"], recorded, here, CONFIRMED if here == recorded else NOT_CONFIRMED


def _savings(found: list[Path]) -> list[tuple[str, str, Any, Any, str]]:
    """Compare the bytes that each variant stores less than the first one, as recorded and here."""
    tags = [make().recipe_tag(path) for path in found]
    recorded, here = (
        efficiency(names)["stored"].tolist()
        for names in (
            [f"example:{make().snapshot_name(tag)}" for tag in tags],
            [f"docker-daemon:{tag}" for tag in tags],
        )
    )
    rows = []
    for path, was, now in list(zip(found, recorded, here, strict=True))[1:]:
        saved, saved_here = recorded[0] - was, here[0] - now
        same = max(abs(saved), abs(saved_here)) < SMALL
        judged = NOT_MEASURED if same else verdict(max(saved, 0), max(saved, 0), saved_here)
        rows.append((path.parts[-2], f"bytes less than {found[0].parts[-2]}", saved, saved_here, judged))
    return rows


def exit_code(tag: str, *options: str, command: tuple[str, ...] = ()) -> int:
    """Run an image without network and return its exit code."""
    return docker("run", "--rm", "--network=none", *options, tag, *command).returncode


def output(tag: str, *command: str) -> str:
    """Run a command in an image without network and return what it prints."""
    return docker("run", "--rm", "--network=none", tag, *command).stdout.strip()


def health(tag: str) -> str:
    """Start a container, check its health every second, and return the first status that is not ``starting``."""
    checked = docker("image", "inspect", "-f", "{{.Config.Healthcheck}}", tag).stdout.strip() not in ("<nil>", "")
    often = ["--health-interval=1s", "--health-timeout=1s", "--health-start-period=3s", "--health-retries=3"]
    with container(tag, [], *often * checked) as (name, _):
        for _ in range(30 * checked):
            time.sleep(1)
            if (status := docker("inspect", "-f", "{{.State.Health.Status}}", name).stdout.strip()) != "starting":
                return status
    return "starting" if checked else "none"


def _rebuild(name: str, variant: str, edited: str, *options: str) -> pd.DataFrame:
    """Build a variant's context again, after an edit if a path is given; return the steps of the log."""
    path = data_path(f"recipes/{name}/{variant}/Dockerfile")
    with tempfile.TemporaryDirectory() as folder:
        context, log = Path(folder) / "context", Path(folder) / "build.log"
        make().make_context(path, context)
        where = context / edited
        for file in [where] if where.is_file() else sorted(where.rglob("*")) if edited else []:
            file.write_text(
                file.read_text(encoding="utf-8") + f"\n# {uuid.uuid4().hex}\n", encoding="utf-8"
            )  # as no earlier build
        bases = [f"--build-arg={key}={value}" for key, value in make().arguments(path, make().STAND_INS).items()]
        for progress in ("rawjson", "plain"):  # only rawjson has start times; Engine 20.10 has plain alone
            done = docker(
                "build", f"--progress={progress}", "--network=host", *bases, *options, str(context), limit=1800
            )
            if done.returncode == 0:
                break
        else:
            raise ImagelabError(f"{name}:{variant} did not build: {done.stderr[-500:]}")
        log.write_text(done.stderr, encoding="utf-8")
        return read_build_log(log)


def kept(name: str, variant: str, edited: str, instruction: str) -> int:
    """Return how many steps of a kind come from the cache in a rebuild after an edit."""
    return int(_rebuild(name, variant, edited).query("instruction == @instruction")["cached"].sum())


def overlap(name: str, variant: str) -> float:
    """Return the sum of the RUN steps' seconds over the seconds from the first start to the last end, nothing cached."""
    runs = _rebuild(name, variant, "", "--no-cache").query("instruction == 'RUN'")
    return float(runs["duration"].sum() / (runs["completed"].max() - runs["started"].min()).total_seconds())
