"""Read the values that learners type, and compare them with what the recorded data show."""

from __future__ import annotations

import importlib
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any

import pandas as pd

from imagelab.core.resources import data_path

_NUMBER = r"(?<![\w.])-?\d+(?:\.\d+)?(?:e\+?\d+)?"
_AMOUNT = re.compile(rf"({_NUMBER})\s*((?:([kmgt])(?:ilo|ega|iga|era)?(i?))?(?:b|bytes?)?\b)")


@cache
def data() -> dict[str, Any]:
    """Return the exercises, the texts of their checks, and the known errors."""
    return tomllib.loads(data_path("exercises/exercises.toml").read_text(encoding="utf-8"))


def known_error(text: str, kind: str = "error") -> str:
    """Explain what a builder or a container printed, or (``kind="typed"``) what a Dockerfile contains, or return ``""``."""
    for error in data()[kind]:
        if match := re.search(error["pattern"], text, re.MULTILINE):
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
    """Turn numpy's and pandas' scalars and arrays, and other collections, into Python's own values and lists."""
    value = value.tolist() if hasattr(value, "tolist") else value
    value = value.values() if isinstance(value, dict) else value
    return [plain(part) for part in value] if isinstance(value, Collection) and not isinstance(value, str) else value


def judge(exercise: dict[str, Any], answer: Any) -> str:
    """Return what to say about a wrong answer, ``""`` for a right one."""
    answer, right = plain(answer), compute(exercise["solution"])
    if answer is None or (isinstance(answer, str) and not answer.strip()):
        return "Not answered yet."
    if exercise.get("form") == "bytes":
        return _judge_bytes(exercise, _text(answer), right)
    options = exercise.get("options", {})
    if _same(answer, right, options):
        return ""
    return _mistake(exercise, lambda wrong: _same(answer, wrong, options))


def _judge_bytes(exercise: dict[str, Any], text: str, right: int) -> str:
    text = re.sub(r"\b\d{1,3}(?:\.\d{3}){2,}\b", lambda found: found[0].replace(".", ""), text)  # 12.600.000
    amounts = _AMOUNT.findall(re.sub(r"(?<=\d),(?=\d{1,2}(?!\d))", ".", text))  # 12,6 MB
    if len(amounts) != 1:
        return "Give a number of bytes, or a number with a unit, such as 1.5 MB."
    number, has_unit, prefix, binary = amounts[0]
    unit = float(1024 if binary else 1000) ** " kmgt".index(prefix or " ")
    # The last digit that was given decides how near is near enough.
    value, step = float(number) * unit, unit * 10 ** -len(number.partition(".")[2]) if has_unit else 0

    def near(wanted: float) -> bool:
        return abs(wanted - value) <= step / 2

    if near(right):
        return ""
    if has_unit and (near(right / 2**20 * 10**6) or near(right / 10**6 * 2**20)):
        return "You divided by 1,048,576, or wrote the unit of it: that is MiB. 1 MB is 1,000,000 bytes."
    if not has_unit and value < 10_000:
        return f"{number} of what? Add the unit."
    return _mistake(exercise, near)


def _mistake(exercise: dict[str, Any], fits: Callable[[Any], bool]) -> str:
    """Find the typical mistake that an answer shows."""
    for mistake in exercise.get("mistakes", ()):
        if fits(compute(mistake["answer"])):
            return str(mistake["words"])
    return "Not yet. Ask for a hint."


def _text(answer: Any) -> str:
    """Return an answer as one text in lower case, without separators of thousands."""
    text = "; ".join(map(str, answer if isinstance(answer, list) else [answer])).casefold()
    return re.sub(r"(?<=\d)[,_' \u00a0\u202f](?=\d{3}(?!\d))", "", text)


def _same(answer: Any, wanted: Any, options: dict[str, str]) -> bool:
    """Whether two answers name the same options, or have the words and the numbers of the wanted one."""
    given, asked = _text(answer), _text(wanted)
    if options:
        return _chosen(given, options) == _chosen(asked, options)
    numbers, words = _numbers(asked), _words(asked)
    # A version beside a package, or a unit beside a number, is neither right nor wrong.
    return (not words or _words(given) == words) and (bool(words and not numbers) or _numbers(given) == numbers)


def _numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(_NUMBER, re.sub(r"\bof (?:the )?\d+", "", text))]


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"[a-z][a-z0-9+]*", text) if word not in data()["fillers"]]


def _chosen(text: str, options: dict[str, str]) -> set[str]:
    """Return the options that a text names: by letter, by a part that no other option has, or as a whole."""
    words = [word.strip(".") for word in re.findall(r"[\w.]+", text)]
    parts = {value: set(re.split(r"[:\-]", value.casefold())) for value in options.values()}
    count = Counter(part for found in parts.values() for part in found)
    named = {value for value, found in parts.items() if any(count[part] == 1 for part in found.intersection(words))}
    # Within a sentence, "a" is an article, not the letter of an option.
    named |= {value for key, value in options.items() if key.casefold() in (words[:1] if key == "A" else words)}
    return named or set(parts).intersection(text.split())
