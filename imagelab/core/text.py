"""Text as people see it: no value from an image is markup, and no control character breaks a page or a terminal."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

# Sizes under any of these names are bytes (DESIGN: three sizes, the ledger, comparisons).
BYTE_COLUMN = re.compile(
    r"(^|_)(size|bytes|usage|stored|visible|wasted|saving|savings|shared|unique|total|pull|delta|added|removed|sent|ignored|memory)$"
)


# Control characters, bidirectional controls (Unicode UAX #9), line separators, lone surrogates.
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufff9-\ufffb]")


def clean(text: Any, width: int = 400) -> str:
    """``text`` in one line of at most ``width`` characters: shortened in the middle, where names differ least.

    Control, bidirectional and undecodable characters are shown as escapes, so that they cannot reorder or
    hide what stands beside them.

    >>> clean("a" * 50 + "z", 11)
    'aaaaa…aaaaz'
    >>> clean("evil\\x1b[2J")
    'evil\\\\x1b[2J'
    """
    if text is None or text is pd.NA:
        return ""
    text = str(text)
    if len(text) > width:
        head = (width - 1) // 2
        text = text[: width - 1 - head] + "…" + text[-head:]
    return UNSEEN.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def escape(text: Any, width: int = 400) -> str:
    """`clean`, and safe in HTML and in plotly's texts (which read some markup, entities and ``$TeX$``)."""
    line = clean(text, width)
    for mark, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("$", "&#36;"), ('"', "&#34;"), ("'", "&#39;")):
        line = line.replace(mark, entity)
    return line
