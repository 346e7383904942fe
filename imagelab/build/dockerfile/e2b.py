"""Use the two private parts of e2b-dockerfile-utils that imagelab needs.

pyproject.toml pins the library to the version that these lines were written for; tests/build/dockerfile/test_e2b.py
fails where another version changes them.
"""

from __future__ import annotations

from typing import Protocol

from e2b_dockerfile_utils import PatternMatcher, syntax

# BuildKit's parser reads heredocs after ONBUILD too (heredocCompoundDirectives); the library only after ADD, COPY and RUN.
syntax._HEREDOC_INSTRUCTIONS.add("ONBUILD")


class Pattern(Protocol):
    """A compiled .dockerignore pattern: ``exclusion`` is True for a ``!`` pattern."""

    exclusion: bool

    def match(self, path: str) -> bool:
        """Whether the pattern matches this very path; its parents are not looked at."""


def compile_pattern(text: str) -> Pattern:
    """Compile one pattern; ValueError if it is malformed.

    `PatternMatcher` gives one answer for all its patterns, without naming the pattern that decided.
    """
    # A comment is recognised only at the start of a line, which the caller has checked.
    (pattern,) = PatternMatcher([f"./{text}" if text.startswith("#") else text])._patterns
    return pattern
