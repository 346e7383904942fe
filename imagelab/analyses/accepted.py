"""Findings that a team has looked at and accepts: counted apart, never lost, and back when they expire."""

from __future__ import annotations

import os
import tomllib
from datetime import date
from pathlib import Path

import pandas as pd

from imagelab.errors import ImagelabError
from imagelab.frames import expect_frame, make_frame

ACCEPTED_COLUMNS = {"rule": "str", "path": "string", "instruction": "string", "reason": "str", "expires": "string"}


def read_accepted(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a file of accepted findings.

    TOML, with a table for each: ``rule`` (its name, or ``*``), ``path`` or ``instruction`` (a part of the text; both
    may be left out), ``reason``, and ``expires`` (the last day on which it counts, a TOML date; may be left out)::

        [[accept]]
        rule = "documentation"
        path = "/usr/share/man"
        reason = "support engineers read them on the box"
        expires = 2027-06-30

    Returns
    -------
    pandas.DataFrame
        ``ACCEPTED_COLUMNS``.

    Raises
    ------
    ImagelabError
        Unreadable, or an entry that is not of this form: it names the entry.
    """
    try:
        entries = tomllib.loads(Path(path).read_text()).get("accept", [])
    except (OSError, ValueError, RecursionError) as error:
        raise ImagelabError(f"{path} cannot be read as a TOML file of accepted findings: {error}") from error
    if not isinstance(entries, list):
        raise ImagelabError(f"{path}: 'accept' must be tables, written [[accept]].")
    for number, entry in enumerate(entries, 1):
        known = isinstance(entry, dict) and {"rule", "reason"} <= entry.keys() <= ACCEPTED_COLUMNS.keys()
        kinds = {key: date if key == "expires" else str for key in ACCEPTED_COLUMNS}
        if not known or not all(value and isinstance(value, kinds[key]) for key, value in entry.items()):
            raise ImagelabError(
                f"{path}: accept entry {number} needs rule and reason as text; path, instruction (text) and "
                f"expires (a date such as 2027-06-30) may follow. It is {entry!r}."
            )
    rows = [entry | {"expires": str(entry["expires"]) if "expires" in entry else None} for entry in entries]
    return make_frame(rows, ACCEPTED_COLUMNS)


def accept(
    findings: pd.DataFrame, accepted: pd.DataFrame | str | os.PathLike[str] | None, today: date | None = None
) -> pd.DataFrame:
    """Mark the findings that are accepted.

    Parameters
    ----------
    findings : frame with ``rule``, ``paths`` (text) and ``instruction``
    accepted : frame of ``read_accepted``, or its file
    today : date, optional
        For expiry; the present day where it is not given.

    Returns
    -------
    pandas.DataFrame
        ``findings`` with ``accepted`` (bool) and ``accepted_reason``.
    """
    marked = findings.assign(accepted=False, accepted_reason=pd.Series(pd.NA, index=findings.index, dtype="string"))
    if accepted is None:
        return marked
    table = accepted if isinstance(accepted, pd.DataFrame) else read_accepted(accepted)
    expect_frame(table, ACCEPTED_COLUMNS, "il.read_accepted")
    day = str(today or date.today())
    for entry in table.itertuples(index=False):
        if pd.notna(entry.expires) and entry.expires < day:
            continue
        fits = (findings["rule"] == entry.rule) | (entry.rule == "*")
        for column, part in (("paths", entry.path), ("instruction", entry.instruction)):
            if pd.notna(part):
                fits &= findings[column].astype("string").str.contains(part, regex=False).fillna(False).astype(bool)
        fresh = fits & ~marked["accepted"]
        marked.loc[fresh, "accepted"] = True
        marked.loc[fresh, "accepted_reason"] = entry.reason
    return marked
