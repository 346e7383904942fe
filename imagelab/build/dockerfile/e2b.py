"""Adapt e2b-dockerfile-utils: two private parts of it, and matching that does not backtrack.

pyproject.toml pins the library to the version that these lines were written for; tests/build/dockerfile/test_e2b.py
fails where another version changes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from e2b_dockerfile_utils import PatternMatcher, lexer, syntax

from imagelab.core.patterns import ShellPattern, docker_pattern

# BuildKit's parser reads heredocs after ONBUILD too (heredocCompoundDirectives); the library only after ADD, COPY and RUN.
syntax._HEREDOC_INSTRUCTIONS.add("ONBUILD")
# ${NAME#pattern} and ${NAME//pattern/text}: the library's regular expressions backtrack.
lexer._shell_pattern_to_regex = ShellPattern  # type: ignore[assignment]


class Pattern(NamedTuple):
    """A compiled .dockerignore pattern: ``exclusion`` is True for a ``!`` pattern."""

    exclusion: bool
    match: Callable[[str], bool]  # of this very path; its parents are not looked at


def compile_pattern(text: str) -> Pattern:
    """Compile one pattern; ValueError if it is malformed. The library cleans and checks it; its matching backtracks."""
    # A comment is recognised only at the start of a line, which the caller has checked.
    (clean,) = PatternMatcher([f"./{text}" if text.startswith("#") else text]).patterns
    return Pattern(clean.startswith("!"), docker_pattern(clean.removeprefix("!")))


def decide(patterns: Sequence[Pattern], path: str, parent: Sequence[bool]) -> tuple[bool, int | None, list[bool]]:
    """Whether patterns match ``path``, which one decides, and which match it (the ``parent`` of its children).

    As moby/patternmatcher's ``MatchesUsingParentResults``: the last matching pattern decides, one that matches a
    directory matches everything below it, and one that cannot change the result is skipped.
    """
    matched, index, states = False, None, []
    for number, pattern in enumerate(patterns):
        fits = bool(parent) and parent[number]
        if not fits and pattern.exclusion == matched:
            fits = pattern.match(path)
        states.append(fits)
        if fits:
            matched, index = not pattern.exclusion, number
    return matched, index, states
