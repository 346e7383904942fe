"""Make text safe to show: nothing from an image is markup, and no control character reaches a page or a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

# Columns of bytes have one of these names.
BYTE_COLUMN = re.compile(
    r"(^|_)(size|bytes|usage|stored|visible|wasted|saving|savings|shared|unique|total|pull|delta|added|removed|sent|ignored|memory|sum_of_images)$"
)


# Control characters, bidirectional controls (Unicode UAX #9), line separators, lone surrogates.
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufff9-\ufffb]")

_UNSEEN_IN_LINES = re.compile(rf"(?![\n\t]){UNSEEN.pattern}")
_CI_COMMAND = re.compile(r"^([^\S\n]*)([:#])(?=:|#\[|#vso\[)", re.M)


def clean(text: Any, width: int = 400) -> str:
    """``text`` in one line of at most ``width`` characters, shortened in the middle.

    Control, bidirectional and undecodable characters become escapes, so that they cannot reorder or hide other text.

    >>> clean("a" * 50 + "z", 11)
    'aaaaa…aaaaz'
    >>> clean("evil\\x1b[2J")
    'evil\\\\x1b[2J'
    """
    if text is None or type(text).__name__ == "NAType":  # pandas.NA, without importing pandas
        return ""
    text = str(text)
    if len(text) > width:
        head = (width - 1) // 2
        text = text[: width - 1 - head] + "…" + text[-head:]
    return UNSEEN.sub(_escaped, text)


def printable(text: str) -> str:
    """Text of several lines, safe for a terminal and for the log of a CI service.

    Control characters become escapes, except line feeds and tabs, and so does the start of a line that a CI service
    would run as a command (``::``, ``##[``, ``##vso[``).

    >>> printable("a\\x1b[2J\\n::error::b")
    'a\\\\x1b[2J\\n\\\\x3a:error::b'
    """
    text = _UNSEEN_IN_LINES.sub(_escaped, text)
    return _CI_COMMAND.sub(lambda found: f"{found[1]}\\x{ord(found[2]):02x}", text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first ``most`` names, and the number of the others.

    >>> listed(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def escape(text: Any, width: int = 400) -> str:
    """`clean`, and safe in HTML and in plotly's texts (which read some markup, entities and ``$TeX$``)."""
    line = clean(text, width)
    for mark, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("$", "&#36;"), ('"', "&#34;"), ("'", "&#39;")):
        line = line.replace(mark, entity)
    return line
