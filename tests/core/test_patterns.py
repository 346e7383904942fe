"""Wildcards against the regular expressions that they stand for, and the steps that a match takes."""

from __future__ import annotations

import re

import pytest
from e2b_dockerfile_utils import PatternMatcher
from hypothesis import given
from hypothesis import strategies as st

from imagelab.core import patterns
from imagelab.core.patterns import ShellPattern, docker_pattern, doublestar_pattern

PIECES = ["a", "b", "/", "*", "**", "**/", "/**", "?", "[ab]", "[^a]", ".", "+", "(", "\\*", "$"]
NAMES = st.text("ab/.+(*$", max_size=12)


def by_library(pattern: str):
    (compiled,) = PatternMatcher([pattern])._patterns
    return compiled.match


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=7).map("".join), st.lists(NAMES, max_size=8))
def test_docker_patterns_match_as_the_library_does(pattern, names):
    (clean,) = PatternMatcher(["./" + pattern]).patterns
    ours, theirs = docker_pattern(clean), by_library("./" + pattern)
    assert [ours(name) for name in names] == [theirs(name) for name in names]


WILDCARDS = {"/**": "(?:/.*)?", "**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]", "[!a]": "[^a]",
             "{a,b*}": "(?:a|b[^/]*)"}  # fmt: skip


def doublestar_regex(pattern: str) -> str:
    parts = re.split(r"(/\*\*(?=/|$)|\*\*/|\*\*|\*|\?|\[!a\]|\{a,b\*\})", pattern)
    return "".join(WILDCARDS.get(part, re.escape(part)) for part in parts)


@given(
    st.lists(st.sampled_from(["a", "b", "/", ".", *WILDCARDS]), max_size=6).map("".join), st.lists(NAMES, max_size=8)
)
def test_doublestar_patterns_match_as_their_regular_expression(pattern, names):
    ours, theirs = doublestar_pattern(pattern), re.compile(doublestar_regex(pattern), re.S)
    assert [ours(name) for name in names] == [theirs.fullmatch(name) is not None for name in names]


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb", "a/b/c"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "b"]),
        ("[a-c]?.txt", ["bz.txt"], ["b/.txt", "dz.txt", "bz-txt"]),
        ("\\*", ["*"], ["a", "\\*"]),
    ],
)
def test_docker_patterns(pattern, matching, other):
    match = docker_pattern(pattern)
    assert all(map(match, matching)) and not any(map(match, other))


def test_a_malformed_class_is_a_value_error():
    with pytest.raises(ValueError, match="not a character class"):
        doublestar_pattern("[b-a]")


@pytest.mark.parametrize("make", [docker_pattern, doublestar_pattern])
@pytest.mark.parametrize("pattern", ["*a" * 12 + "b", "**/" * 12 + "b", "**a" * 12 + "b"])
def test_steps_grow_linearly_with_the_name(make, pattern, monkeypatch):
    """Every character follows each state at most once; a regular expression backtracks for minutes."""
    steps = []
    follow = patterns._Automaton._follow

    def counted(self, states, character):
        steps.append(len(states))
        return follow(self, states, character)

    monkeypatch.setattr(patterns._Automaton, "_follow", counted)
    monkeypatch.setattr(patterns, "_REMEMBERED", 0)
    for length in (50, 100, 200):
        steps.clear()
        assert not make(pattern)("a" * length + "c")
        assert len(steps) <= length + 1 and sum(steps) <= (length + 1) * 4 * len(pattern)


@given(st.lists(st.sampled_from(["a", "b", "*", "?", "\\*", "\\/", "/", "."]), min_size=1, max_size=6).map("".join),
       st.text("ab*/.", max_size=14), st.booleans(), st.booleans(), st.sampled_from([0, 1]))  # fmt: skip
def test_shell_patterns_replace_what_their_regular_expression_does(pattern, text, greedy, anchored, count):
    greedy, count = greedy or not anchored, 1 if anchored else count  # as the library calls it
    meaning = {"*": ".*" if greedy else ".*?", "?": ".", "\\*": r"\*", "\\/": "/", ".": r"\."}
    tokens = re.findall(r"\\?.", pattern)
    regex = re.compile(("^" if anchored else "") + "".join(meaning.get(token, token) for token in tokens))
    wanted, done = "", 0
    for match in list(regex.finditer(text))[: count or None]:
        if match.start() == match.end() == done > 0:  # Go replaces no empty match right after another match
            continue
        wanted, done = wanted + text[done : match.start()] + "\\1", match.end()
    assert ShellPattern(pattern, greedy, anchored).sub("\\1", text, count) == wanted + text[done:]


def test_an_invalid_escape_in_a_shell_pattern():
    with pytest.raises(ValueError, match="invalid escape"):
        ShellPattern("a\\b", True, False)


def test_a_shell_pattern_is_searched_once(monkeypatch):
    """A thousand stars: a regular expression needs the thousandth power of the text."""
    assert ShellPattern("*a" * 1000 + "b", True, False).sub("", "a" * 5000, 0) == "a" * 5000
