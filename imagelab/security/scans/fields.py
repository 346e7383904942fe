"""Reading fields of documents that anyone may have written: a value of the wrong type is an absent one."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, TypeVar

from packageurl import PackageURL

T = TypeVar("T")
Object = dict[str, Any]  # of a JSON document
LONGEST = 10_000
_INVISIBLE = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    for code in (*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F)
} | dict.fromkeys((9, 10, 13), " ")


def text(value: Any) -> str | None:
    """A field as one line of text: control characters shown as ``\\xNN``, at most 10,000 characters.

    What is empty, or no text or number, is None.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if not isinstance(value, str):
        try:
            return f"{value}"
        except ValueError:  # an integer of more digits than Python prints
            return None
    if len(value) > LONGEST:
        value = value[:LONGEST] + "…"
    if not value.isprintable():
        value = value.encode("utf-8", "backslashreplace").decode().translate(_INVISIBLE)
    return value.strip() or None


def number(value: Any) -> float | None:
    """A finite number, given as one or as its text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        value = float(value)
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def mapping(value: Any, *keys: str) -> Object:
    """The object that the keys lead to from ``value``; an empty dict where none is there."""
    for key in keys:
        value = mapping(value).get(key)
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    """The value, or an empty list where it is none."""
    return value if isinstance(value, list) else []


def mappings(values: Any) -> list[Object]:
    """The objects of a list, with an empty dict for what is none."""
    return [mapping(value) for value in sequence(values)]


def texts(values: Any) -> list[str]:
    """The texts of a list."""
    return [line for value in sequence(values) if (line := text(value))]


def first(values: Iterable[T]) -> T | None:
    """The first of the values, or None where there are none."""
    return next(iter(values), None)


def best_link(name: Any, links: Any) -> str | None:
    """The first link that has the finding's name in it, else the first."""
    known, name = texts(links), (text(name) or "").lower()
    return first(link for link in known if name in link.lower()) or first(known)


def at_line(path: Any, line: Any) -> str | None:
    """``path:line``, or the path alone where no line is known."""
    place = text(path)
    return f"{place}:{line}" if place and line and type(line) is int else place


def first_match(pattern: str, *lines: Any) -> str | None:
    """The first group of the first line that matches."""
    for line in lines:
        if isinstance(line, str) and (match := re.search(pattern, line[:LONGEST], re.M | re.I)):
            return match[1].strip() or None
    return None


def parse_purl(value: Any) -> PackageURL | None:
    """The package URL, or None where the value is none."""
    line = text(value)
    try:
        return PackageURL.from_string(line) if line else None
    except ValueError:
        return None
