"""Read the findings that a team has accepted: they are counted apart until they expire."""

from __future__ import annotations

import fnmatch
import os
import re
from datetime import date

import pandas as pd

from imagelab.core.accepted import read_entries
from imagelab.core.errors import ImagelabError, similar_names
from imagelab.core.frames import expect_frame, make_frame
from imagelab.core.json_fields import Object
from imagelab.size.advice_rules import NAMES

ACCEPTED_COLUMNS = {"rule": "str", "path": "string", "instruction": "string", "reason": "str", "expires": "string"}
_RULES = ("*", *NAMES)  # * means every rule


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
    return make_frame(read_entries(path, "rule", _rows, _RULES), ACCEPTED_COLUMNS)


def _rows(entry: Object) -> list[Object]:
    if not entry.get("path", "/").startswith(("/", "*")):
        raise ValueError(f"the path {entry['path']!r} must start with / or *.")
    return [entry | {"expires": str(entry["expires"]) if "expires" in entry else None}]


def in_force(accepted: pd.DataFrame | str | os.PathLike[str] | None, today: date | None = None) -> pd.DataFrame:
    """Entries of a file, or of the frame of `read_accepted`, that have not expired by ``today``."""
    if accepted is None:
        return make_frame({}, ACCEPTED_COLUMNS)
    table = accepted if isinstance(accepted, pd.DataFrame) else read_accepted(accepted)
    expect_frame(table, ACCEPTED_COLUMNS, "il.read_accepted")
    for rule in table["rule"]:
        if rule not in _RULES:
            raise ImagelabError(f"an accepted finding has the unknown rule {rule!r}. {similar_names(rule, _RULES)}")
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
