"""Print an answer: on a terminal, as JSON, or as Markdown for the comment of a pull request."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import pandas as pd

SECONDS = ("duration", "seconds", "measured_rebuild_seconds", "predicted_rebuild_seconds")
"""Columns of seconds."""


class Form(StrEnum):
    """How an answer is printed."""

    TEXT = "text"
    FULL = "full"
    JSON = "json"
    MARKDOWN = "markdown"


@dataclass(frozen=True)
class Answer:
    """What a verb found: ``frames`` by name, which JSON and ``--full`` print whole.

    Parameters
    ----------
    frames
        Every row and column.
    shown
        The rows and columns for people, if these are not ``frames``.
    summary
        One sentence above the tables.
    prose
        Columns that a terminal shows whole, below each row.
    diff
        A patch to print below the tables; JSON leaves it out, since a frame has it.
    hint
        The command to run next.
    failed
        Whether the exit code is 1.
    """

    frames: Mapping[str, pd.DataFrame]
    shown: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    summary: str = ""
    prose: Sequence[str] = ("suggestion", "advice", "remedy")
    diff: str = ""
    hint: str = ""
    failed: bool = False


def print_answer(answer: Answer, form: Form, rows: int | None = None) -> None:
    """Print an answer; text and Markdown stop after ``rows`` rows of each table."""
    if form is Form.JSON:
        from imagelab.core.json_fields import json_text

        typer.echo(json_text({name: records(frame) for name, frame in answer.frames.items()}))
    elif form is Form.MARKDOWN:
        from imagelab.core.text import printable

        typer.echo(printable("\n".join(_markdown(answer, rows))))
    else:
        from imagelab.cli.terminal import print_text

        print_text(answer, rows, full=form is Form.FULL)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame's rows as JSON has them: unknown is null, times are ISO 8601."""
    rows: list[dict[str, Any]] = json.loads(
        frame.to_json(orient="records", date_format="iso", date_unit="us", force_ascii=False)
    )
    return rows


def is_number(column: pd.Series) -> bool:
    """Whether a column is right-aligned."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return bool(is_numeric_dtype(column.dtype) and not is_bool_dtype(column.dtype))


def cells(column: pd.Series, whole: bool = False) -> list[str]:
    """A column's values as people read them: sizes in decimal units, instructions without their shell, no control
    characters. ``whole`` keeps lines apart."""
    import pandas as pd

    from imagelab.core.frames import format_bytes
    from imagelab.core.text import BYTE_COLUMN, clean
    from imagelab.images.tables.created_by import parse_created_by

    name, number = str(column.name), is_number(column)

    def cell(value: Any) -> str:
        if pd.isna(value):
            return "–"
        if isinstance(value, bool):
            return "yes" if value else "no"
        if number and BYTE_COLUMN.search(name):
            return format_bytes(value)
        if isinstance(value, float):
            return f"{value:.2f} s" if name in SECONDS else f"{value:.4g}"
        text = f"{value:%Y-%m-%d %H:%M:%SZ}" if isinstance(value, pd.Timestamp) else str(value)
        if "instruction" in name and text.endswith("# buildkit"):
            text = " ".join(filter(None, parse_created_by(text)[:2]))
        lines = text.splitlines() if whole else [" ".join(text.split())]
        return "\n".join(clean(line, 2000 if whole else 400) for line in lines)

    return [cell(value) for value in column.astype(object)]


def without_empty_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns that have a value in some row."""
    return frame.loc[:, (frame.notna() & (frame.astype(object) != "")).any()] if len(frame) else frame


def with_arguments(frame: pd.DataFrame) -> pd.DataFrame:
    """A history, build log or plan with its instructions and their arguments in one column."""
    text = frame["instruction"].fillna("") + " " + frame["arguments"].fillna("")
    return frame.assign(instruction=text.str.strip()).drop(columns="arguments")


def _markdown(answer: Answer, rows: int | None) -> list[str]:
    from imagelab.core.text import clean

    lines = [_escape(clean(answer.summary)), ""] if answer.summary else []
    for name, frame in (answer.shown or answer.frames).items():
        part = without_empty_columns(frame if rows is None else frame.head(rows))
        lines += [f"### {_escape(clean(name))}", ""]
        if len(part):
            table = [list(part), ["---"] * part.shape[1], *zip(*(cells(part[name]) for name in part), strict=True)]
            table = [
                [_escape(clean(cell, 80)) if row != 1 else cell for cell in line] for row, line in enumerate(table)
            ]
            lines += ["| " + " | ".join(line) + " |" for line in table]
        else:
            lines += ["(none)"]
        if len(part) < len(frame):
            lines += ["", f"… and {len(frame) - len(part)} more; --json prints all."]
        lines += [""]
    return [*lines, *_fenced(answer.diff)]


def _fenced(diff: str) -> list[str]:
    """A diff as a block of code, with a fence that the diff does not contain."""
    from imagelab.core.text import clean

    longest = max((len(found) for found in re.findall("`+", diff)), default=2)
    fence = "`" * max(longest + 1, 3)
    return [f"{fence}diff", *(clean(line, 2000) for line in diff.splitlines()), fence, ""] if diff else []


def _escape(cell: str) -> str:
    """Text from an image is neither Markdown nor HTML."""
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]<>()#+!|~@" else letter for letter in cell)
