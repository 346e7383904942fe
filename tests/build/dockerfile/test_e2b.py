"""The private parts of e2b-dockerfile-utils still do what the adapter needs."""

from __future__ import annotations

from importlib.metadata import version

import pytest
from e2b_dockerfile_utils import PatternMatcher, parse_dockerfile_ast, syntax

from imagelab.build.dockerfile.e2b import compile_pattern


def test_the_pinned_version_is_installed():
    assert version("e2b-dockerfile-utils") == "0.1.1"


def test_heredocs_after_onbuild_are_read():
    assert sorted(syntax._HEREDOC_INSTRUCTIONS) == ["ADD", "COPY", "ONBUILD", "RUN"]
    (_, trigger) = parse_dockerfile_ast("FROM a\nONBUILD RUN <<X\nmake\nX\n").instructions
    assert [document.content for document in trigger.heredocs] == ["make\n"]


@pytest.mark.parametrize(
    ("text", "exclusion", "path", "matches"),
    [
        ("docs", False, "docs", True),
        ("docs", False, "docs/a", False),  # PatternMatcher.matches would say True
        ("!docs", True, "docs", True),
        ("**/*.md", False, "a/b.md", True),
        ("#a", False, "#a", True),
    ],
)
def test_one_pattern_matches_one_path(text, exclusion, path, matches):
    pattern = compile_pattern(text)
    assert (pattern.exclusion, pattern.match(path)) == (exclusion, matches)


def test_a_malformed_pattern_is_a_value_error():
    with pytest.raises(ValueError, match="syntax error"):
        compile_pattern("[")
    assert PatternMatcher(["docs"]).matches("docs/a")
