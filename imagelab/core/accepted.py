"""Read the file of findings that a team has accepted: TOML with an ``[[accept]]`` table per entry."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Collection, Iterable
from datetime import date
from pathlib import Path

from imagelab.core.errors import ScanFormatError, similar_names
from imagelab.core.json_fields import Object, T

#: What an entry is about (a rule of ``il.advise``, the id of a scan's finding, a hardening check) → its optional texts.
_OPTIONAL = {"rule": ("path", "instruction"), "id": ("path", "purl"), "check": ("path",)}


def read_entries(
    path: str | os.PathLike[str], kind: str, convert: Callable[[Object], Iterable[T]], known: Collection[str] = ()
) -> list[T]:
    """Check every entry of the file, and convert those about ``kind``.

    An entry has exactly one of ``rule``, ``id`` and ``check``, a ``reason``, and optionally ``path``, ``instruction`` (of a
    rule), ``purl`` (of an id) and ``expires`` (a date, the last day on which the entry is valid).

    Parameters
    ----------
    path : path
    kind : str
    convert : callable
        Its ValueErrors become messages about the entry.
    known : collection of str, optional
        The names that ``kind`` may have; any by default.

    Raises
    ------
    ScanFormatError
        The file is unreadable, or an entry has another form; the message names the file and the entry's number.
    """
    try:
        entries = tomllib.loads(Path(path).read_text("utf-8-sig")).get("accept", [])
    except (OSError, ValueError, RecursionError) as error:
        raise ScanFormatError(f"{path} cannot be read as a TOML file of accepted findings: {error}") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ScanFormatError(f"{path}: 'accept' must be tables, written [[accept]].")
    found: list[T] = []
    for number, entry in enumerate(entries, 1):
        kinds = [name for name in _OPTIONAL if name in entry]
        own = kinds[0] if len(kinds) == 1 else kind
        types = dict.fromkeys((own, "reason", *_OPTIONAL[own]), str) | {"expires": date}
        try:
            typed = all(value and type(value) is types.get(name) for name, value in entry.items())
            if not typed or not {own, "reason"} <= entry.keys():
                more = ", ".join(_OPTIONAL[own])
                raise ValueError(f"it needs {own} and reason; only {more}, expires (a date like 2027-06-30) may follow")
            if own == kind and known and entry[kind] not in known:
                raise ValueError(f"unknown {kind} {entry[kind]!r}. {similar_names(entry[kind], known)}")
            found += convert(entry) if own == kind else ()
        except ValueError as error:
            raise ScanFormatError(f"{path}: accept entry {number} is {entry!r}: {error}") from None
    return found
