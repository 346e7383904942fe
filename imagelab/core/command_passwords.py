"""Find the passwords that command lines give to programs, by the forms in ``secrets.toml``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from imagelab.core.secret_patterns import BETWEEN_ITEMS, BETWEEN_WORDS, COMMANDS, ITEM, PROGRAM, SHELL, WORD

#: Characters and words of a command line that are searched after a program's name, so that the time is linear.
MAX_CHARACTERS, MAX_WORDS = 2000, 60
_EDGES = "\"'\\[],"  # of a word in a shell or in a list of JSON


class _Word(NamedTuple):
    text: str  # without quotes
    start: int
    is_option: bool


def password_spans(text: str) -> list[tuple[int, int]]:
    """Return (start, end) of every password, in order; they may overlap."""
    spans = [match.span(1) for pattern in SHELL for match in pattern.finditer(text)]
    searched: dict[str, int] = {}  # program → the end of the words that were searched
    for program in PROGRAM.finditer(text):
        name = program[0].rstrip("\"',\\")
        if name in COMMANDS and program.start() >= searched.get(name, 0):
            words = _words(text, program)
            searched[name] = words[-1].start if words else program.end()
            spans += [span for form in COMMANDS[name] for span in _find(form, words)]
    return sorted(spans)


def _words(text: str, program: re.Match[str]) -> list[_Word]:
    """The words from the program's name to the end of the command: ``;``, ``|``, ``&``, a line's or a list's end."""
    words: list[_Word] = []
    start = program.end()
    word, between = (ITEM, BETWEEN_ITEMS) if program["item"] else (WORD, BETWEEN_WORDS)
    end = min(len(text), start + MAX_CHARACTERS)
    while len(words) < MAX_WORDS:
        start = between.match(text, start, end).end()  # type: ignore[union-attr]  # matches the empty string
        match = word.match(text, start, end)
        if not match:
            break
        left = match[0].lstrip(_EDGES)
        is_option = (left if program["item"] else match[0]).startswith("-")  # a shell's quoted word is a value
        words.append(_Word(left.rstrip(_EDGES), match.end() - len(left), is_option))
        start = match.end()
    return words


def _find(form: list[str], words: list[_Word]) -> Iterator[tuple[int, int]]:
    """The passwords that one form finds: words before the password have to stand there in the same order."""
    texts = [word.text for word in words]
    first = next(n for n, part in enumerate(form) if part[0] in "-/:" or part != part.lower())
    begin = 0
    for subcommand in form[:first]:
        if subcommand not in texts[begin:]:
            return
        begin = texts.index(subcommand, begin) + 1
    parts = form[first:]
    places = range(begin, len(words))
    if not parts[0].startswith(("-", "/-")):  # not an option: the first argument
        places = range(*next(((n, n + 1) for n in places if not texts[n].startswith("-")), (0, 0)))
    for place in places:
        yield from _match(parts, words[place : place + len(parts)])


def _match(parts: list[str], words: list[_Word]) -> Iterator[tuple[int, int]]:
    option = parts[0]
    if len(parts) == 1 and option.startswith("-"):
        prefix, template = re.fullmatch(r"(.+?)((?:USER\W)?SECRET.*)", option).groups()  # type: ignore[union-attr]
        if words[0].text.startswith(prefix):
            yield from _span(template, words[0], len(prefix))
    elif option.startswith("-") and words[0].text.startswith(f"{option}="):
        yield from _span(parts[1], words[0], len(option) + 1)
    elif len(words) == len(parts) and all(map(_is_word, parts[:-1], words)) and not words[-1].is_option:
        yield from _span(parts[-1], words[-1], 0)


def _is_word(part: str, word: _Word) -> bool:
    if part.startswith("/"):
        return re.fullmatch(part[1:-1], word.text, re.S) is not None
    return part == word.text or (part.isupper() and part.isalpha() and not word.is_option)


def _span(template: str, word: _Word, skip: int) -> Iterator[tuple[int, int]]:
    """Where the password of ``USER:SECRET`` is in a word, after ``skip`` characters of an option."""
    value = word.text[skip:].lstrip("\"'")
    start = word.start + len(word.text) - len(value)
    before, after = template.split("SECRET")
    before = re.sub(r"[A-Z]{3,}(\W)", r"[^\1]{1,200}\1", before)
    end = re.escape(after[:1])
    # a quoted password ends with its quote, another with any
    pattern = rf"{before}(?P<quote>[\"'])?(?P<secret>(?(quote)(?:(?!(?P=quote)).)|[^\"'{end}])++){end}"
    if match := re.match(pattern, value, re.S):
        yield start + match.start("secret"), start + match.end("secret")
