"""Recipes of the embedded data: list them, build them on an engine, and compare the result with the recorded one."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType

import pandas as pd

from imagelab.core.errors import ImagelabError, ImageNotFound
from imagelab.core.resources import data_path
from imagelab.course.claims import VERDICTS, verdict
from imagelab.images.load import load_image
from imagelab.security.hardening.check import check_hardening
from imagelab.size.waste import efficiency

SMALL = 1_000_000
"""Bytes: two savings below this count as the same."""
RECIPES_COLUMNS = ("name", "variant", "shows", "engine")
MEASURED_COLUMNS = ("variants", "recorded_bytes", "here_bytes", "recorded_rules", "here_rules", "verdict")


@cache
def maker() -> ModuleType:
    """``data/make.py``, which built the recorded images. It comes with the data, not as a module of the package."""
    spec = importlib.util.spec_from_file_location("imagelab_data_make", data_path("make.py"))
    if spec is None or spec.loader is None:
        raise ImagelabError(f"{data_path('make.py')} cannot be loaded: install imagelab again.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def variants(name: str | None = None) -> list[Path]:
    """Dockerfiles of one recipe, or of all; the variant that a recipe starts from comes first."""
    recipes = [path for path in maker().all_recipes() if path.parts[-3] != "stand-ins"]
    names = sorted({path.parts[-3] for path in recipes})
    if name is not None and name not in names:
        raise ImagelabError(f"there is no recipe {name!r}. There are {', '.join(names)}.")
    chosen = [path for path in recipes if name in (None, path.parts[-3])]
    return sorted(chosen, key=lambda path: (path.parts[-3], path.parts[-2] not in ("before", "service-full")))


def list_recipes() -> pd.DataFrame:
    """List the recipes: what each variant shows, and the engine it needs (``RECIPES_COLUMNS``, all text)."""
    rows = [
        (path.parts[-3], path.parts[-2], _comment(path, "what this shows"), _comment(path, "engine"))
        for path in variants()
    ]
    return pd.DataFrame(rows, columns=list(RECIPES_COLUMNS))


def build_recipe(
    name: str, *, local: bool = False, bases: Mapping[str, str] | None = None, network: str = "host"
) -> Iterator[str]:
    """Build a recipe's variants on the engine that Docker's CLI talks to, and yield the tag of each.

    Parameters
    ----------
    name
        A recipe of `list_recipes`.
    local
        Use stand-ins for base images, and make the missing ones.
    bases
        Base image → the image to use in its place.
    network
        The network of RUN steps.
    """
    make = maker()
    bases = (make.STAND_INS if local else {}) | dict(bases or {})
    for path in variants(name):
        try:
            for needed in (*make.missing_bases(path, bases), path):
                make.build(needed, network, bases)
        except subprocess.CalledProcessError as error:
            more = "" if local else " If base images cannot be pulled, add --local."
            raise ImagelabError(
                f"{make.recipe_tag(path)} did not build (see above). It needs {_comment(path, 'engine')}.{more}"
            ) from error
        except OSError as error:
            raise ImagelabError(
                f"{error.filename or 'docker'} cannot be run: {error.strerror}. Install it; docker has to reach an engine."
            ) from error
        yield make.recipe_tag(path)


def measure_recipe(name: str) -> pd.DataFrame:
    """Compare what each variant saves on this engine with the recorded result.

    Returns
    -------
    pandas.DataFrame
        ``MEASURED_COLUMNS``: bytes of files stored less than by the first variant, the hardening rules that the variant
        fixes, each as recorded and on this engine; verdict.
    """
    make, results = maker(), []
    for path in variants(name):
        tag = make.recipe_tag(path)
        try:
            here = _facts(f"docker-daemon:{tag}")
        except ImageNotFound as error:
            raise ImageNotFound(f"{tag} is not on the engine: run `imagelab lab build {name}` first.") from error
        results.append((path.parts[-2], _facts(f"example:{make.snapshot_name(tag)}"), here))
    first, first_recorded, first_here = results[0]
    rows = []
    for variant, recorded, here in results[1:]:
        saved, saved_here = first_recorded[0] - recorded[0], first_here[0] - here[0]
        # a snapshot has no file contents: a rule that needs them is not compared
        unknown = {rule for rule, result in recorded[1].items() if result == "unknown"}
        fixed = _fixed(first_recorded[1], recorded[1]) - unknown
        fixed_here = _fixed(first_here[1], here[1]) - unknown
        same = max(abs(saved), abs(saved_here)) < SMALL
        verdicts = [
            VERDICTS[0] if same else verdict(max(saved, 0), max(saved, 0), saved_here),
            VERDICTS[0 if fixed == fixed_here else 1 if fixed & fixed_here else 2],
        ]
        rules = (", ".join(sorted(names)) for names in (fixed, fixed_here))
        rows.append((f"{first} → {variant}", saved, saved_here, *rules, max(verdicts, key=VERDICTS.index)))
    return pd.DataFrame(rows, columns=list(MEASURED_COLUMNS))


def _comment(path: Path, word: str) -> str:
    """The text after a word in a recipe's first comment, which may continue in indented lines."""
    found = re.search(rf"^# {word}: (.+(?:\n#   .+)*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return re.sub(r"\n#\s+", " ", found[1]) if found else ""


def _facts(reference: str) -> tuple[int, dict[str, str]]:
    """Bytes of files that an image stores, and the result of each hardening rule."""
    image = load_image(reference)
    rules = check_hardening(image)
    return int(efficiency(image)["stored"].sum()), dict(zip(rules["rule"], rules["result"], strict=True))


def _fixed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {rule for rule, result in after.items() if result == "passed" and before.get(rule) == "failed"}
