"""Mask values that look like secrets, once, where text is read.

A value is masked for its form (a known token), for the name it belongs to (``DB_PASSWORD``), or for its place (in a
URL or a command). References (``$TOKEN``), paths (``/run/secrets/token``), checksums and switches (``true``) are not
secrets.
"""

from __future__ import annotations

import base64
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from imagelab.core import secret_patterns as patterns
from imagelab.core.command_passwords import password_spans
from imagelab.core.errors import ArchiveError

MASK = "********"
MAX_DEPTH = 100

#: The kinds and the values of the secrets that were masked.
_Found = list[tuple[str, str]]
_Span = tuple[int, int]


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
    found = _Found()
    return Masked(_mask(text, name, found), tuple(dict.fromkeys(kind for kind, _ in found)))


def _mask(text: str, name: str | None, found: _Found) -> str:
    if name is not None and is_secret(text, name):
        return _masked("secret-name", text, found)
    for mask_kind in _STEPS:
        text = mask_kind(text, found)
    return text


def is_secret(value: str, name: str) -> bool:
    """Whether the value of this name is a secret; a name in capitals as its own value is a placeholder."""
    placeholder = value.strip("[]<>\"'")
    if _is_harmless(value) or (placeholder.isupper() and name.upper().endswith(placeholder)):
        return False
    named, value = _secret_name(name), value.strip("\"'\\ ")
    is_key = name.lower().endswith("key") and patterns.HEX_KEY.fullmatch(value) is not None
    return bool(named) or (named is None and (is_key or _looks_random(value)))


# Each step masks one kind of secret in a text and appends its kind and its value to ``found``.


def _mask_tokens(text: str, found: _Found) -> str:
    return patterns.TOKENS.sub(lambda match: _masked(patterns.TOKEN_KINDS[str(match.lastgroup)], match[0], found), text)


def _mask_urls(text: str, found: _Found) -> str:
    """Mask ``user:PASSWORD@`` and ``TOKEN@`` in URLs; a short word before ``@`` is a user's name."""

    def replace(match: re.Match[str]) -> str:
        user, password = match["user"], match["secret"]
        if password and password != "x-oauth-basic":
            is_value = "://" in password or not _is_harmless(password)
            return f"{user}:{_masked('url-credentials', password, found)}@" if is_value else match[0]
        is_user_name = password is None and re.fullmatch(r"[A-Za-z][A-Za-z._-]{0,15}", user)
        if is_user_name or _is_harmless(user):
            return match[0]
        rest = "" if password is None else f":{password}"
        return f"{_masked('url-credentials', user, found)}{rest}@"

    return patterns.URL.sub(replace, text)


def _pair_values(text: str) -> Iterator[_Span]:
    """Find the secrets in ``ENV K=V K=V`` and ``RUN |2 K=V K=V``; a value ends before the next name."""
    for match in patterns.PAIR_LISTS.finditer(text):
        group = "env" if match["run"] is None else "run"
        names = list(patterns.PAIR.finditer(text, *match.span(group)))
        is_legacy = names and not names[0][0].endswith("=")  # ENV NAME VALUE has one name, and = in its value
        names = names[:1] if is_legacy else [name for name in names if name[0].endswith("=")]
        ends = [name.start() for name in names[1:]] + [match.end(group)]
        for name, end in zip(names, ends, strict=False):
            value = text[name.end() : end].rstrip()
            if is_secret(value, name["name"]):
                yield name.end(), name.end() + len(value)


def _assigned_values(text: str) -> Iterator[_Span]:
    """Find secrets that follow a name: ``NAME=value``, ``--name value``, ``"name": "value"``, ``Name: value``."""
    position = 0
    while match := patterns.NAME.search(text, position):
        name, position = match["name"], match.end()
        if _secret_name(name) is False:
            continue
        found = _in_quotes(text, match) or patterns.VALUE.match(text, position)
        value = found[0]  # type: ignore[index]  # VALUE matches at least the empty string
        end = position + len(value)
        if is_secret(value, name) and not _is_prose(match, value):
            quote = re.match(r"\\?[\"']|", value)[0]  # type: ignore[index]
            closing_quote = quote if len(value) > len(quote) and value.endswith(quote) else ""
            yield position + len(quote), end - len(closing_quote)
            position = end
        elif not value.startswith(("'", '"', "\\")):  # a quoted value may contain assignments
            position = end


def _in_quotes(text: str, name: re.Match[str]) -> re.Match[str] | None:
    """The value up to the closing quote, where the whole assignment is one quoted word, or an item of a list in YAML."""
    quote = text[name.start() - 1 : name.start()]
    if quote not in ("'", '"') or "=" not in name["sep"]:
        return None
    is_item = re.search(r"^\s{0,40}- $", text[max(0, name.start() - 42) : name.start() - 1], re.M)
    characters = rf"[^{quote}\\\n]" if is_item else rf"[^{quote}\\\s'\"]"
    return re.compile(rf"{characters}++(?={quote})").match(text, name.end())


def _command_passwords(text: str) -> Iterator[_Span]:
    return (span for span in password_spans(text) if not _is_harmless(text[slice(*span)]))


def _mask_spans(kind: str, find: Callable[[str], Iterator[_Span]]) -> Callable[[str, _Found], str]:
    """Make a step that masks the spans of one kind; of two that overlap, the first."""

    def mask_kind(text: str, found: _Found) -> str:
        pieces, written = [], 0
        for start, end in find(text):
            if start >= written:
                pieces += [text[written:start], _masked(kind, text[start:end], found)]
                written = end
        return "".join([*pieces, text[written:]])

    return mask_kind


def _matches(pattern: re.Pattern[str]) -> Callable[[str], Iterator[_Span]]:
    return lambda text: (match.span() for match in pattern.finditer(text))


def _mask_base64(text: str, found: _Found) -> str:
    """Mask base64 of text that contains a secret: of JSON with credentials, of a private key."""

    def replace(match: re.Match[str]) -> str:
        data = match[0][:65_536].rstrip("=").replace("-", "+").replace("_", "/")
        data = data[: len(data) - (len(data) % 4 == 1)]
        try:
            decoded = base64.b64decode(data + "=" * (-len(data) % 4)).decode("ascii")
        except ValueError:
            return match[0]
        inner = mask(decoded) if decoded.isprintable() or "\n" in decoded else None
        return _masked("base64", match[0], found) if inner and inner.kinds else match[0]

    return patterns.BASE64.sub(replace, text)


def _mask_build_arguments(text: str, found: _Found) -> str:
    """Mask random words in a step's name: BuildKit replaces ``$TOKEN`` by its value there."""
    step = patterns.STEP_NAME.match(text)
    if not step:
        return text

    def replace(match: re.Match[str]) -> str:
        runs = re.findall(r"[A-Z]+|[a-z]+|\d+", match[0])  # few in names such as base64EncoderFactory
        is_value = _looks_random(match[0]) and len(runs) >= 0.36 * len(match[0])
        return _masked("build-argument", match[0], found) if is_value else match[0]

    return step[0] + patterns.BARE_WORD.sub(replace, text[step.end() :])


#: The order matters: a token keeps its own kind, and pair lists are split before their values are searched.
_STEPS: tuple[Callable[[str, _Found], str], ...] = (
    _mask_spans("private-key", _matches(patterns.PRIVATE_KEY)),
    _mask_tokens,
    _mask_urls,
    _mask_spans("secret-name", _pair_values),
    _mask_spans("secret-name", _assigned_values),
    _mask_spans("command-password", _command_passwords),
    _mask_spans("bearer-token", _matches(patterns.BEARER)),
    _mask_base64,
    _mask_build_arguments,
)


def _masked(kind: str, value: str, found: _Found) -> str:
    found.append((kind, value))
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


def _secret_name(name: str) -> bool | None:
    """Whether a value with this name is a secret; None if it is one only if it looks random.

    ``apiKey``, ``api-key`` and ``api.key`` are ``api_key``.
    """
    words = re.sub(r"[.\s-]+", "_", patterns.CAMEL_CASE.sub("_", name[:200].strip("\"' "))).lower()
    secret = list(patterns.SECRET_WORDS.finditer(words))
    last = (secret or list(patterns.MAYBE_SECRET_WORDS.finditer(words)))[-1:]
    if not last or patterns.SETTING_WORDS.search(words) or patterns.SETTING_ENDINGS.search(words[last[0].end() :]):
        return False
    return True if secret else None


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
    secrets: set[str] = set()

    def mask_text(text: str, place: str, name: str | None) -> str:
        inside: _Found = []
        key, equals, value = text.partition("=")
        if name == "Env" and equals:
            place, masked = f"{place}[{key}]", f"{key}={_mask(value, key, inside)}"
        else:
            masked = _mask(text, name, inside)
        found.extend((place, kind) for kind in dict.fromkeys(kind for kind, _ in inside))
        secrets.update(value for _, value in inside)
        return masked

    def mask_repetition(text: str, place: str, _: str | None) -> str:
        masked = re.sub(repeated, MASK, text)
        if masked != text:
            found.append((place, "repeated-secret"))
        return masked

    root = where or "document"
    masked = _change_strings(value, where, None, root, 0, mask_text)
    if repeated := _repetitions(secrets):
        masked = _change_strings(masked, where, None, root, 0, mask_repetition)
    return masked, found


def _repetitions(secrets: set[str]) -> str:
    """A pattern that matches the secrets where they are repeated: BuildKit writes ``LABEL x=$TOKEN`` with the value of TOKEN.

    Words without a digit are left out: a password ``production`` would mask that word everywhere.
    """
    values = [secret for secret in secrets if len(secret) >= 8 and re.search(r"\d", secret) and MASK not in secret]
    alternatives = "|".join(re.escape(value) for value in sorted(values, key=len, reverse=True)[:100])
    return f"(?<![A-Za-z0-9])(?:{alternatives})(?![A-Za-z0-9])" if values else ""


def _change_strings(
    item: Any, place: str, name: str | None, root: str, depth: int, change: Callable[[str, str, str | None], str]
) -> Any:
    """``item`` with ``change(text, place, name)`` for each string; ``name`` is the key that it belongs to."""
    if depth > MAX_DEPTH:
        raise ArchiveError(f"{root} is nested deeper than {MAX_DEPTH} levels; image configs have fewer than ten.")
    if isinstance(item, str):
        return change(item, place, name)
    if isinstance(item, dict):
        prefix = f"{place}." if place else ""
        return {
            key: _change_strings(inner, f"{prefix}{key}", str(key), root, depth + 1, change)
            for key, inner in item.items()
        }
    if isinstance(item, list):
        changed = []
        for number, inner in enumerate(item):
            inner_place = place if name == "Env" else f"{place}[{number}]"
            inner_name = "Env" if name == "Env" else None
            if isinstance(inner, str) and not inner.startswith("-"):
                inner_name = _option(item[number - 1] if number else None) or inner_name
            changed.append(_change_strings(inner, inner_place, inner_name, root, depth + 1, change))
        return changed
    return item


def _option(item: Any) -> str | None:
    """The option that an item of a command list is (``--password``), or None."""
    return item if isinstance(item, str) and re.fullmatch(r"--?[A-Za-z][\w-]{1,60}", item) else None
