"""Mask values that look like secrets, once, where text is read.

A value is masked for its form (a known token), for the name it belongs to (``DB_PASSWORD``), or for its place (in a
URL or a command). References (``$TOKEN``), paths (``/run/secrets/token``), checksums and switches (``true``) are not
secrets.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from imagelab.core import secret_patterns as patterns
from imagelab.core.errors import ArchiveError

MASK = "********"
MAX_DEPTH = 100


class Masked(NamedTuple):
    """Text with its secrets masked, and the kinds of secrets that it contained."""

    text: str
    kinds: tuple[str, ...]


def mask(text: str, name: str | None = None) -> Masked:
    """Mask what looks like a secret in ``text``.

    Parameters
    ----------
    text : str
        A value, a command, a line of a log, or a whole Dockerfile.
    name : str, optional
        The variable, label or option whose value the text is (``DATABASE_PASSWORD``).

    Returns
    -------
    Masked
        ``text`` with each secret replaced by ``MASK``. Masking it again changes nothing.
    """
    if name is not None and is_secret(text, name):
        return Masked(MASK, ("secret-name",))
    kinds: list[str] = []
    for mask_kind in _STEPS:
        text = mask_kind(text, kinds)
    return Masked(text, tuple(dict.fromkeys(kinds)))


def is_secret(value: str, name: str) -> bool:
    """Whether the value of this name is a secret."""
    if _is_harmless(value):
        return False
    return _names_secret(name) or (_may_name_secret(name) and _looks_random(value.strip("\"'\\ ")))


# Each step masks one kind of secret in a text and appends that kind to ``kinds``.


def _mask_private_keys(text: str, kinds: list[str]) -> str:
    return patterns.PRIVATE_KEY.sub(lambda _: _masked("private-key", kinds), text)


def _mask_tokens(text: str, kinds: list[str]) -> str:
    return patterns.TOKENS.sub(lambda match: _masked(patterns.TOKEN_KINDS[str(match.lastgroup)], kinds), text)


def _mask_urls(text: str, kinds: list[str]) -> str:
    """Mask ``user:PASSWORD@`` and ``TOKEN@`` in URLs; a short word before ``@`` is a user's name."""

    def replace(match: re.Match[str]) -> str:
        user, password = match["user"], match["secret"]
        if password and password != "x-oauth-basic":
            is_value = "://" in password or not _is_harmless(password)
            return f"{user}:{_masked('url-credentials', kinds)}@" if is_value else match[0]
        is_user_name = password is None and re.fullmatch(r"[A-Za-z][A-Za-z._-]{0,15}", user)
        if is_user_name or _is_harmless(user):
            return match[0]
        rest = "" if password is None else f":{password}"
        return f"{_masked('url-credentials', kinds)}{rest}@"

    return patterns.URL.sub(replace, text)


def _mask_pair_lists(text: str, kinds: list[str]) -> str:
    """Mask the values in ``ENV K=V K=V`` and ``RUN |2 K=V K=V``, up to the next name."""

    def replace(match: re.Match[str]) -> str:
        group = "env" if match["run"] is None else "run"
        pairs = match[group]
        names = list(patterns.PAIR.finditer(pairs))
        names = [name for name in names if name[0].endswith("=")] or names[:1]  # ENV NAME VALUE has one name
        ends = [name.start() for name in names[1:]] + [len(pairs)]
        pieces, written = [], 0
        for name, end in zip(names, ends, strict=False):
            value = pairs[name.end() : end]
            if is_secret(value, name["name"]):
                spaces = value[len(value.rstrip()) :]
                pieces += [pairs[written : name.end()], _masked("secret-name", kinds), spaces]
                written = end
        before, after = text[match.start() : match.start(group)], text[match.end(group) : match.end()]
        return "".join([before, *pieces, pairs[written:], after])

    return patterns.PAIR_LISTS.sub(replace, text)


def _mask_assignments(text: str, kinds: list[str]) -> str:
    """Mask values that follow a name: ``NAME=value``, ``--name value``, ``"name": "value"``, ``Name: value``."""
    pieces, written, position = [], 0, 0
    while match := patterns.NAME.search(text, position):
        name, position = match["name"], match.end()
        if not (_names_secret(name) or _may_name_secret(name)):
            continue
        value = patterns.VALUE.match(text, position)[0]  # type: ignore[index]  # matches at least the empty string
        if is_secret(value, name) and not _is_prose(match, value):
            quote = re.match(r"\\?[\"']|", value)[0]  # type: ignore[index]
            closing_quote = quote if len(value) > len(quote) and value.endswith(quote) else ""
            pieces += [text[written:position], quote, _masked("secret-name", kinds), closing_quote]
            written = position = position + len(value)
        elif not value.startswith(("'", '"', "\\")):  # a quoted value may contain assignments
            position += len(value)
    return "".join([*pieces, text[written:]])


def _mask_command_passwords(text: str, kinds: list[str]) -> str:
    def replace(match: re.Match[str]) -> str:
        group = str(match.lastgroup)
        if _is_harmless(match[group]):
            return match[0]
        before, after = text[match.start() : match.start(group)], text[match.end(group) : match.end()]
        return before + _masked("command-password", kinds) + after

    return patterns.COMMANDS.sub(replace, text)


def _mask_bearer_tokens(text: str, kinds: list[str]) -> str:
    return patterns.BEARER.sub(lambda _: _masked("bearer-token", kinds), text)


#: The order matters: a token keeps its own kind, and pair lists are split before their values are searched.
_STEPS: tuple[Callable[[str, list[str]], str], ...] = (
    _mask_private_keys,
    _mask_tokens,
    _mask_urls,
    _mask_pair_lists,
    _mask_assignments,
    _mask_command_passwords,
    _mask_bearer_tokens,
)


def _masked(kind: str, kinds: list[str]) -> str:
    kinds.append(kind)
    return MASK


def _is_prose(match: re.Match[str], value: str) -> bool:
    """Whether ``name: value`` is a sentence (``token: newline``), not an assignment."""
    is_sentence = match["sep"].strip() == ":" and not re.fullmatch(r"[A-Z]+_[A-Z_]+", match["name"])
    return is_sentence and re.fullmatch(r"[A-Za-z]?[a-z]*[.,]?", value) is not None


def _is_harmless(value: str) -> bool:
    """Whether the value cannot be a secret: empty, masked, a reference, a switch, a URL, or a path without a token."""
    value = value.strip("\"'\\ \t\n")
    if not value or MASK in value or "://" in value[:30]:
        return True
    if patterns.PLAIN_VALUES.match(value) or patterns.REFERENCES.match(value):
        return True
    return bool(patterns.PATHS.match(value)) and not any(_looks_random(part) for part in value.split("/", 99))


def _looks_random(value: str) -> bool:
    """Whether 16 to 4,096 characters are mixed as in a random token: at least 3.5 bits of entropy per character."""
    if not 16 <= len(value) <= 4096 or any(character.isspace() for character in value):
        return False
    if patterns.HEX.fullmatch(value) or not (re.search(r"\d", value) and re.search(r"[A-Za-z]", value)):
        return False
    return -sum(n / len(value) * math.log2(n / len(value)) for n in Counter(value).values()) >= 3.5


def _names_secret(name: str) -> bool:
    words = _words(name)
    ends = [found.end() for found in patterns.SECRET_WORDS.finditer(words)]
    if not ends or patterns.SETTING_WORDS.search(words):
        return False
    return not patterns.SETTING_ENDINGS.search(words[ends[-1] :])


def _may_name_secret(name: str) -> bool:
    return bool(patterns.MAYBE_SECRET_WORDS.search(_words(name)))


def _words(name: str) -> str:
    """``apiKey``, ``api-key`` and ``api.key`` as ``api_key``."""
    words = patterns.CAMEL_CASE.sub("_", name[:200].strip("\"' "))
    return re.sub(r"[.\s-]+", "_", words).lower()


def mask_document(value: Any, where: str = "") -> tuple[Any, list[tuple[str, str]]]:
    """Mask the secrets in an image's config, or in any JSON-like value.

    Parameters
    ----------
    value : dict, list, str or other JSON value
        In ``Env`` lists (``K=V``) and dicts, names belong to values. In a command list
        (``["--password", "x"]``), an option belongs to the item after it.
    where : str
        Path of the value: the start of the reported places.

    Returns
    -------
    masked : same shape as value
    found : list of (where, kind)

    Raises
    ------
    ArchiveError
        The value is nested deeper than 100 levels.
    """
    found: list[tuple[str, str]] = []
    return _mask_item(value, where, None, where or "document", 0, found), found


def _mask_item(item: Any, place: str, name: str | None, root: str, depth: int, found: list[tuple[str, str]]) -> Any:
    """``item`` with its strings masked; ``name`` is the key that it belongs to."""
    if depth > MAX_DEPTH:
        raise ArchiveError(f"{root} is nested deeper than {MAX_DEPTH} levels; image configs have fewer than ten.")
    if isinstance(item, str):
        return _mask_text(item, place, name, found)
    if isinstance(item, dict):
        prefix = f"{place}." if place else ""
        return {
            key: _mask_item(inner, f"{prefix}{key}", str(key), root, depth + 1, found) for key, inner in item.items()
        }
    if isinstance(item, list):
        masked = []
        for number, inner in enumerate(item):
            inner_place = place if name == "Env" else f"{place}[{number}]"
            inner_name = "Env" if name == "Env" else None
            if isinstance(inner, str) and not inner.startswith("-"):
                inner_name = _option(item[number - 1] if number else None) or inner_name
            masked.append(_mask_item(inner, inner_place, inner_name, root, depth + 1, found))
        return masked
    return item


def _mask_text(text: str, place: str, name: str | None, found: list[tuple[str, str]]) -> str:
    key, equals, value = text.partition("=")
    if name == "Env" and equals:
        masked = mask(value, key)
        found.extend((f"{place}[{key}]", kind) for kind in masked.kinds)
        return f"{key}={masked.text}"
    masked = mask(text, name)
    found.extend((place, kind) for kind in masked.kinds)
    return masked.text


def _option(item: Any) -> str | None:
    """The option that an item of a command list is (``--password``), or None."""
    return item if isinstance(item, str) and re.fullmatch(r"--?[A-Za-z][\w-]{1,60}", item) else None
