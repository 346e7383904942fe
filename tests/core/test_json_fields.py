"""Values of the wrong type: absent to the lenient readers, an error to the strict ones."""

from __future__ import annotations

import json

import pytest

from imagelab.core.errors import ArchiveError
from imagelab.core.json_fields import (
    array_of,
    byte_count,
    json_text,
    labels,
    mapping,
    number,
    object_of,
    parse_json,
    strings,
    text,
)
from imagelab.core.text import printable


def test_a_value_of_the_wrong_type_counts_as_absent():
    assert mapping({"a": {"b": 1}}, "a") == {"b": 1} and mapping({"a": [1]}, "a", "b") == {}
    assert strings(["a", 1, None]) == ["a"] and strings("abc") == []
    assert labels({"a": "b", "c": 1}) == {"a": "b"} and labels(["a"]) == {}
    assert [byte_count(value) for value in (0, -1, True, 1.0, 1 << 62)] == [0, None, None, None, None]
    assert [number(value) for value in ("7.5", True, "nan", 10**400)] == [7.5, None, None, None]


def test_text_is_one_displayable_line():
    assert text(" a\nb\x1b[2J\u202ec ") == "a b\\x1b[2J\\u202ec"
    assert text("x" * 10_001) == "x" * 10_000 + "…" and text(True) is None and text("") is None


def test_strict_readers_name_the_expected_type():
    assert object_of(None, "the config") == {} and array_of(None, "layers") == []
    with pytest.raises(ArchiveError, match="the config is a list, not a JSON object"):
        object_of([], "the config")
    with pytest.raises(ArchiveError, match="layers is a dict, not a JSON array"):
        array_of({}, "layers")


def test_lone_surrogates_in_json_are_replaced():
    assert parse_json(b'{"a": "\\ud800x"}', "config") == {"a": "?x"}
    with pytest.raises(ArchiveError, match="config is not JSON"):
        parse_json(b"{", "config")


@pytest.mark.parametrize("data", [rb'["\ud800a"]', rb'["\uDFFFa"]', b'["\xed\xa0\x80a"]'])
def test_a_lone_surrogate_becomes_a_question_mark(data):
    (text,) = parse_json(data, "it")
    assert text.encode() in (b"?a", b"???a")


def test_json_text_escapes_what_a_terminal_obeys():
    hostile = {"a": "\x1b[2J\x9b31m\u202e", "\x07": [1, None, "é"]}
    written = json_text(hostile)
    assert json.loads(written) == hostile and written == printable(written)
    assert '"é"' in json_text({"a": "é"})
