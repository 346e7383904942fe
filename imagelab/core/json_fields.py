"""Read fields of JSON documents that anyone may have written.

Three families. *Lenient* readers treat a value of the wrong type as an absent one, and make text displayable
(``text``, ``number``, ``mapping``, ``sequence`` …). *Exact* readers keep text and digests as they are (``string``,
``strings``, ``labels``, ``byte_count``). `object_of`, `array_of` and `objects` raise ``ArchiveError`` for a value of
the wrong type.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any, TypeVar

from imagelab.core.errors import ArchiveError
from imagelab.core.text import clean, printable

T = TypeVar("T")
Object = dict[str, Any]  # of a JSON document
LONGEST = 10_000
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")  # escaped, or as bytes that json.loads lets pass
_SPACES = dict.fromkeys(map(ord, "\t\n\r"), " ")


def parse_json(data: bytes, what: str) -> Any:
    """Parse ``data`` as JSON.

    Raises
    ------
    ArchiveError
        Damaged, nested too deeply, or not the text of a JSON document.
    """
    try:
        document = json.loads(data)
        if _SURROGATE.search(data):  # halves of a character are not text: "?" from here on
            document = json.loads(json.dumps(document, ensure_ascii=False).encode(errors="replace"))
        return document
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{what} is not JSON: {error}. The image is damaged; save or copy it again.") from None


def json_text(document: Any) -> str:
    """``document`` as indented JSON; in ASCII if it has characters that a terminal would obey or not show."""
    readable = json.dumps(document, indent=1, ensure_ascii=False)
    return readable if printable(readable) == readable else json.dumps(document, indent=1)


def text(value: Any) -> str | None:
    """A field as one line of text: control characters shown as escapes, at most 10,000 characters.

    An empty value, or one that is neither text nor a number, is None.
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
        value = clean(value.translate(_SPACES), len(value))
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
    """The object that the keys lead to from ``value``; an empty dict if there is none."""
    for key in keys:
        value = mapping(value).get(key)
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    """The value if it is a list, else an empty list."""
    return value if isinstance(value, list) else []


def mappings(values: Any) -> list[Object]:
    """The items of a list, with an empty dict for each that is not an object."""
    return [mapping(value) for value in sequence(values)]


def texts(values: Any) -> list[str]:
    """The texts of a list, as `text` reads them."""
    return [line for value in sequence(values) if (line := text(value))]


def first(values: Iterable[T]) -> T | None:
    """The first of the values, or None if there are none."""
    return next(iter(values), None)


def first_match(pattern: str, *lines: Any) -> str | None:
    """The first group of the first line that matches."""
    for line in lines:
        if isinstance(line, str) and (match := re.search(pattern, line[:LONGEST], re.M | re.I)):
            return match[1].strip() or None
    return None


def string(value: Any) -> str | None:
    """``value`` unchanged if it is text, else None."""
    return value if isinstance(value, str) else None


def strings(values: Any) -> list[str]:
    """The items of a list that are text, unchanged."""
    return [value for value in sequence(values) if isinstance(value, str)]


def labels(value: Any) -> dict[str, str]:
    """The labels or annotations of an object: its pairs whose value is text."""
    return {key: item for key, item in mapping(value).items() if isinstance(item, str)}


def byte_count(value: Any) -> int | None:
    """``value`` if it is a number of bytes, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62 else None


def object_of(value: Any, what: str) -> Object:
    """``value``, which must be a JSON object; null counts as an empty one.

    Raises
    ------
    ArchiveError
    """
    if value is not None and not isinstance(value, dict):
        raise ArchiveError(f"{what} is a {type(value).__name__}, not a JSON object: this is not an image.")
    return mapping(value)


def array_of(value: Any, what: str) -> list[Any]:
    """``value``, which must be a JSON array; null counts as an empty one.

    Raises
    ------
    ArchiveError
    """
    if value is not None and not isinstance(value, list):
        raise ArchiveError(f"{what} is a {type(value).__name__}, not a JSON array: this is not an image.")
    return sequence(value)


def objects(value: Any, what: str) -> list[Object]:
    """The items of ``value``, which must be a JSON array of objects.

    Raises
    ------
    ArchiveError
    """
    return [object_of(item, f"an item of {what}") for item in array_of(value, what)]
