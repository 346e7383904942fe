"""Text that is safe to print: no control character, and no line that a CI service runs."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

import imagelab as il
from imagelab.core.text import clean, printable

HOSTILE = ["\x1b[2J", "\x9b31m", "\x07", "\r", "\x00", "\u202e", "\u2066", "\ud800", "\u2028", "\x7f", "\u200b"]


@pytest.mark.parametrize("character", HOSTILE)
def test_control_characters_become_escapes(character):
    shown = character[0].encode("unicode_escape").decode() + character[1:]
    assert printable(f"a{character}b\n\tc") == f"a{shown}b\n\tc"
    assert clean(f"a{character}b") == f"a{shown}b"
    assert str(il.ArchiveError(f"a{character}b")) == f"a{shown}b"


@given(st.text())
def test_printable_text_has_no_control_character(text):
    shown = printable(text)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"]
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("::error::x", "\\x3a:error::x"),
        ("a\n  ::set-output name=x::y", "a\n  \\x3a:set-output name=x::y"),
        ("##vso[task.setvariable]x", "\\x23#vso[task.setvariable]x"),
        ("##[error]x", "\\x23#[error]x"),
        ("a::b ##[c", "a::b ##[c"),
        ("## heading", "## heading"),
    ],
)
def test_no_line_starts_with_a_command_of_a_ci_service(text, shown):
    assert printable(text) == shown
