"""Match wildcard patterns without backtracking: the time is at most proportional to pattern times name.

A pattern becomes a nondeterministic automaton. Matching follows all its states at once, and remembers the moves
between sets of states, so that most characters cost one look-up. Python's ``re`` needs exponential time for some.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

Test = Callable[[str], object]  # whether a character fits

_REMEMBERED = 10_000  # moves
_DOCKER = re.compile(r"\*\*/?|\*|\?|\[\^?(?:\\.|[^\\\]])(?:\\.|[^\\\]])*\]|\\.|.", re.S)
_DOUBLESTAR = re.compile(r"/\*\*(?=/|\Z)|\*\*/|\*\*|\*|\?|\[[^\]]+\]|\{[^{}]*\}|.", re.S)


def docker_pattern(pattern: str) -> Callable[[str], bool]:
    """A clean pattern as moby/patternmatcher reads it: ``**`` is any number of folders, ``*`` and ``?`` stay in one."""
    if pattern.startswith("**") and not re.search(r"[*?\[\]\\]", pattern[2:]):  # moby compares the end only
        end = pattern[2:]
        return lambda path: path.endswith(end) or (end.startswith("/") and path == end[1:])
    tokens = _tokens(_DOCKER, pattern)
    middle = [_folders if token is _WILDCARDS["**"] else token for token in tokens[:-1]]
    return _Automaton([*middle, *tokens[-1:]]).matches


def doublestar_pattern(pattern: str) -> Callable[[str], bool]:
    """A pattern as bmatcuk/doublestar reads it: also ``{a,b}``, and ``a/**`` matches ``a`` itself.

    Raises
    ------
    ValueError
        A malformed character class.
    """
    return _Automaton(_tokens(_DOUBLESTAR, pattern)).matches


def _tokens(tokens: re.Pattern[str], pattern: str) -> list[Any]:
    """Literal characters as text, wildcards as their functions, alternatives as a list of token lists."""
    found: list[Any] = []
    for match in tokens.finditer(pattern):
        token = match[0]
        if token in _WILDCARDS:
            found.append(_WILDCARDS[token])
        elif token[0] == "[" and len(token) > 1:
            found.append(_class(token))
        elif token[0] == "{" and len(token) > 1:
            found.append([_tokens(tokens, choice) for choice in token[1:-1].split(",")])
        else:
            found.append(token[-1])  # of an escaped character, the character
    return found


def _class(token: str) -> Test:
    inner = re.sub(r"^!", "^", token[1:-1]).replace("[", r"\[")
    try:
        return re.compile(f"[{inner}]").match  # of one character
    except re.error as error:
        raise ValueError(f"{token!r} is not a character class: {error}") from None


class _Automaton:
    """States in a row. A state moves on, or stays, if a character fits; ``skips`` lead to other states without one."""

    def __init__(self, tokens: list[Any]) -> None:
        self._states: list[tuple[Test | None, bool, tuple[int, ...]]] = []
        self._moves: dict[tuple[frozenset[int], str], frozenset[int]] = {}
        literal = [isinstance(token, str) for token in tokens] + [False]
        self._prefix = "".join(tokens[: literal.index(False)])
        self.append(tokens)
        self._start = self._closure([0])

    def append(self, tokens: list[Any]) -> None:
        for token in tokens:
            if isinstance(token, str):
                self.single(token.__eq__)
            elif isinstance(token, list):
                self.either(token)
            elif token in _WILDCARDS.values():
                token(self)
            else:
                self.single(token)

    def single(self, test: Test) -> None:
        self._states.append((test, False, ()))

    def many(self, test: Test) -> None:
        self._states.append((test, True, (len(self._states) + 1,)))

    def either(self, choices: list[list[Any]]) -> None:
        entry, starts, ends = len(self._states), [], []
        self._states.append((None, False, ()))
        for tokens in choices:
            starts.append(len(self._states))
            self.append(tokens)
            ends.append(len(self._states))
            self._states.append((None, False, ()))
        self._states[entry] = (None, False, tuple(starts))
        for end in ends:
            self._states[end] = (None, False, (len(self._states),))

    def matches(self, text: str) -> bool:
        """Whether the pattern matches all of ``text``."""
        if not text.startswith(self._prefix):
            return False
        states = self._start
        for character in text:
            move = (states, character)
            following = self._moves.get(move)
            if following is None:
                if len(self._moves) >= _REMEMBERED:
                    self._moves.clear()
                following = self._moves[move] = self._follow(states, character)
            if not following:
                return False
            states = following
        return len(self._states) in states

    def _follow(self, states: frozenset[int], character: str) -> frozenset[int]:
        following = []
        for state in states:
            test, stays, _ = self._states[state] if state < len(self._states) else (None, False, ())
            if test and test(character):
                following.append(state if stays else state + 1)
        return self._closure(following)

    def _closure(self, states: Iterable[int]) -> frozenset[int]:
        found, waiting = set(), list(states)
        while waiting:
            state = waiting.pop()
            if state not in found:
                found.add(state)
                waiting += self._states[state][2] if state < len(self._states) else ()
        return frozenset(found)


def _folders(automaton: _Automaton) -> None:
    automaton.either([[_WILDCARDS["**"], "/"], []])


def _below(automaton: _Automaton) -> None:
    automaton.either([["/", _WILDCARDS["**"]], []])


_WILDCARDS: dict[str, Callable[[_Automaton], None]] = {
    "/**": _below,
    "**/": _folders,
    "**": lambda automaton: automaton.many(lambda _: True),
    "*": lambda automaton: automaton.many("/".__ne__),
    "?": lambda automaton: automaton.single("/".__ne__),
}


class ShellPattern:
    """A pattern of ``${NAME#pattern}`` or ``${NAME//pattern/text}``: ``*`` is the longest run (greedy) or the shortest.

    Arrow's regular expressions are RE2's, which need linear time and replace as Go's do, in which BuildKit is written.

    Raises
    ------
    ValueError
        A backslash before an ordinary character; from ``sub``, a pattern of too many wildcards.
    """

    def __init__(self, pattern: str, greedy: bool, anchored: bool) -> None:
        self._regex = "(?s)" + "^" * anchored
        for token in re.findall(r"\\?.|\\", pattern.replace("\\}", "}").replace("\\/", "/"), re.S):
            if token[0] == "\\" and token[1:] not in ("*", "?", "\\"):
                raise ValueError(f"invalid pattern ({pattern}) in substitution: invalid escape {token!r}")
            self._regex += {"*": ".*" if greedy else ".*?", "?": "."}.get(token) or re.escape(token[-1])

    def sub(self, replacement: str | Callable[[Any], str], text: str, count: int = 0) -> str:
        """``text`` with its matches replaced, the first ``count`` of them or all (0)."""
        import pyarrow as pa
        import pyarrow.compute as pc

        new = (replacement if isinstance(replacement, str) else replacement(None)).replace("\\", r"\\")
        replaced = pc.replace_substring_regex(pa.scalar(text), self._regex, new, max_replacements=count or None)
        return str(replaced)
