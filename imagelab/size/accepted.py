"""Read the findings that a team has accepted: they are counted apart until they expire."""

from __future__ import annotations

import fnmatch
import os
import re
import tomllib
from datetime import date
from pathlib import Path

import pandas as pd

from imagelab.core.errors import ImagelabError, similar_names
from imagelab.core.frames import expect_frame, make_frame
from imagelab.size.advice_rules import NAMES

ACCEPTED_COLUMNS = {"rule": "str", "path": "string", "instruction": "string", "reason": "str", "expires": "string"}


def read_accepted(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a file of accepted findings of ``il.advise``.

    The file is TOML with one table per entry: ``rule`` (a name, or ``*``), ``path`` (files at or below it are accepted,
    others stay open; wildcards as in fnmatch(3) without flags), ``instruction`` (a part of its text), ``reason``, and
    ``expires`` (the last day on which the entry is valid, a TOML date). Only ``rule`` and ``reason`` are required; the
    first entry that fits a file counts::

        [[accept]]
        rule = "documentation"
        path = "/usr/share/man"
        reason = "support engineers read them on the box"
        expires = 2027-06-30

    Tables with ``id`` instead of ``rule`` accept findings of scans, with ``check`` those of hardening
    rules; ``il.suppress`` and ``il.check_hardening`` read them from the same file.

    Returns
    -------
    pandas.DataFrame
        ``ACCEPTED_COLUMNS``.

    Raises
    ------
    ImagelabError
        The file is unreadable, or an entry has another form or an unknown rule; the message names the entry.
    """
    try:
        entries = tomllib.loads(Path(path).read_text()).get("accept", [])
    except (OSError, ValueError, RecursionError) as error:
        raise ImagelabError(f"{path} cannot be read as a TOML file of accepted findings: {error}") from error
    if not isinstance(entries, list):
        raise ImagelabError(f"{path}: 'accept' must be tables, written [[accept]].")
    others = {"id", "check"}  # entries for il.suppress and il.check_hardening
    entries = [item for item in entries if not (isinstance(item, dict) and "rule" not in item and others & item.keys())]
    for number, entry in enumerate(entries, 1):
        known = isinstance(entry, dict) and {"rule", "reason"} <= entry.keys() <= ACCEPTED_COLUMNS.keys()
        kinds = {key: date if key == "expires" else str for key in ACCEPTED_COLUMNS}
        if not known or not all(value and isinstance(value, kinds[key]) for key, value in entry.items()):
            raise ImagelabError(
                f"{path}: accept entry {number} is {entry!r}; expected rule and reason as text, and optionally path, "
                f"instruction (text) and expires (a date such as 2027-06-30)."
            )
        if not entry.get("path", "/").startswith(("/", "*")):
            raise ImagelabError(
                f"{path}: accept entry {number} has the path {entry['path']!r}; expected a path that starts with / or *."
            )
        _expect_rule(entry["rule"], f"{path}: accept entry {number}")
    rows = [entry | {"expires": str(entry["expires"]) if "expires" in entry else None} for entry in entries]
    return make_frame(rows, ACCEPTED_COLUMNS)


def _expect_rule(rule: str, place: str) -> None:
    if rule != "*" and rule not in NAMES:
        raise ImagelabError(f"{place} has the unknown rule {rule!r}. {similar_names(rule, NAMES)} * means every rule.")


def in_force(accepted: pd.DataFrame | str | os.PathLike[str] | None, today: date | None = None) -> pd.DataFrame:
    """Entries of a file, or of the frame of `read_accepted`, that have not expired by ``today``."""
    if accepted is None:
        return make_frame({}, ACCEPTED_COLUMNS)
    table = accepted if isinstance(accepted, pd.DataFrame) else read_accepted(accepted)
    expect_frame(table, ACCEPTED_COLUMNS, "il.read_accepted")
    for rule in table["rule"]:
        _expect_rule(rule, "an accepted finding")
    return table[~(table["expires"].astype("string") < str(today or date.today())).fillna(False)]


def reasons(rule: str, found: pd.DataFrame, entries: pd.DataFrame) -> pd.Series:
    """The reason for which each file of a rule is accepted; ``<NA>`` for files that are not.

    Parameters
    ----------
    rule : str
    found : frame with ``path`` and ``instruction``
        All files of the rule's findings: each file is decided by itself.
    entries : frame of ``in_force``
    """
    why = pd.Series(pd.NA, index=found.index, dtype="string")
    for entry in entries[entries["rule"].isin([rule, "*"])].itertuples(index=False):
        fits = why.isna()
        if pd.notna(entry.path):
            below = entry.path.rstrip("/")
            pattern = re.compile(f"{fnmatch.translate(below)}|{fnmatch.translate(below + '/*')}")
            fits &= found["path"].map(pattern.match).notna()
        if pd.notna(entry.instruction):
            fits &= found["instruction"].astype("string").str.contains(entry.instruction, regex=False).fillna(False)
        why[fits] = entry.reason
    return why
