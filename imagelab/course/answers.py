"""Read the values that learners type, and compare them with what the recorded data show."""

from __future__ import annotations

import importlib
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from typing import Any

import pandas as pd

from imagelab.core.resources import data_path

_UNITS = {"b": 1, "byte": 1, "bytes": 1}
_UNITS |= {f"{prefix}b": 1000**power for power, prefix in enumerate("kmg", 1)}
_UNITS |= {f"{prefix}ib": 1024**power for power, prefix in enumerate("kmg", 1)}
_FILLERS = {"step", "steps", "layer", "layers", "rule", "and", "the", "answer", "is", "paths", "packages", "images"}


@cache
def data() -> dict[str, Any]:
    """Return the exercises, the texts of their checks, and the known errors."""
    return tomllib.loads(data_path("exercises/exercises.toml").read_text(encoding="utf-8"))


def known_error(output: str) -> str:
    """Explain what a builder or a container printed, or return ``""``."""
    for error in data()["error"]:
        if match := re.search(error["pattern"], output):
            return str(error["words"].format(*match.groups()))
    return ""


def evaluate(code: str, names: Mapping[str, Any]) -> Any:
    """Evaluate an expression of this package's data (claims, exercises), with ``il``, ``pd`` and these names in scope."""
    return eval(code, {"il": importlib.import_module("imagelab"), "pd": pd, **names})


@cache
def compute(code: str) -> Any:
    """Compute an exercise's right answer, or a typical mistake."""
    return plain(evaluate(code, {}))


def plain(value: Any) -> Any:
    """Turn numpy's and pandas' scalars and arrays into Python's own."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return [plain(part) for part in value] if isinstance(value, list | tuple | set) else value


def judge(exercise: dict[str, Any], answer: Any) -> str:
    """Return what to say about a wrong answer, ``""`` for a right one."""
    answer, right = plain(answer), compute(exercise["solution"])
    if answer is None or (isinstance(answer, str) and not answer.strip()):
        return "Not answered yet."
    if exercise.get("form") == "bytes":
        return _judge_bytes(exercise, answer, right)
    options = exercise.get("options", {})
    words = _words(answer, options)
    if words == _words(right, options):
        return ""
    return _mistake(exercise, lambda wrong: words == _words(wrong, options))


def _judge_bytes(exercise: dict[str, Any], answer: Any, right: int) -> str:
    amount = _amount(answer)
    if amount is None:
        return "Give a number of bytes, or a number with a unit, such as 1.5 MB."
    value, step, has_unit = amount

    def near(number: float) -> bool:
        return abs(number - value) <= step / 2

    if near(right):
        return ""
    if has_unit and near(right / 2**20 * 10**6):
        return "You divided by 1,048,576: that is MiB. 1 MB is 1,000,000 bytes."
    if not has_unit and abs(right / 10**6 - value) <= 0.5:
        return f"{answer} of what? Add the unit."
    return _mistake(exercise, near)


def _mistake(exercise: dict[str, Any], fits: Any) -> str:
    """Find the typical mistake that an answer shows."""
    for mistake in exercise.get("mistakes", ()):
        if fits(compute(mistake["answer"])):
            return str(mistake["words"])
    return "Not yet. Ask for a hint."


def _amount(answer: Any) -> tuple[float, float, bool] | None:
    """Return bytes, the step of the last digit that was given, and whether a unit was given."""
    found = re.fullmatch(r"~?(\d[\d,_ ]*(?:\.\d+)?)\s*([kmg]?i?b|bytes?)?\.?", str(answer).strip().casefold())
    if not found or isinstance(answer, bool):
        return None
    number, unit = re.sub(r"[,_ ]", "", found[1]), _UNITS[found[2] or "b"]
    return float(number) * unit, unit * 10 ** -len(number.partition(".")[2]) if found[2] else 0, bool(found[2])


def _words(answer: Any, options: dict[str, str]) -> list[str]:
    """Split an answer into words in lower case, without fillers and versions; a letter or a unique part stands for its option."""
    parts = answer if isinstance(answer, list) else [answer]
    text = " ".join(f"{part:g}" if isinstance(part, float) else str(part) for part in parts).casefold()
    words = [word.strip(".:") for word in re.findall(r"[^\s,;()\[\]{}'\"`]+", text)]
    kept = [word for word in words if word not in _FILLERS]
    if options and len(kept) == 1:
        named = [value for value in options.values() if kept[0] == value.casefold()]
        meant = named or [value for key, value in options.items() if kept[0] == key.casefold()]
        meant = meant or [value for value in options.values() if kept[0] in re.split(r"[:\-]", value.casefold())]
        return meant if len(meant) == 1 else kept
    return [re.split(r"==|@", word)[0] for word in kept if not re.fullmatch(r"v?\d+(\.\d+)+\S*", word)]
