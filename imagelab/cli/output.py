"""Print named DataFrames on a terminal, as JSON, and as Markdown for the comment of a pull request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import pandas as pd


class Form(StrEnum):
    """How an answer is printed."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


@dataclass(frozen=True)
class Answer:
    """What a verb found: ``frames`` by name.

    JSON prints ``frames`` whole. Text and Markdown print ``shown``, the rows and columns for people, or ``frames``
    if ``shown`` is not given, and above the tables the sentence ``summary``. ``failed`` sets exit code 1.
    """

    frames: Mapping[str, pd.DataFrame]
    shown: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    summary: str = ""
    failed: bool = False


def print_answer(answer: Answer, form: Form, rows: int | None = None) -> None:
    """Print an answer; text and Markdown stop after ``rows`` rows of each table."""
    if form is Form.JSON:
        found = {name: records(frame) for name, frame in answer.frames.items()}
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    if answer.summary:
        typer.echo(answer.summary + "\n")
    for name, frame in (answer.shown or answer.frames).items():
        part = frame if rows is None else frame.head(rows)
        typer.echo(f"{'### ' if form is Form.MARKDOWN else ''}{name}\n")
        typer.echo(_table(part, form) if len(part) else "(none)")
        if len(part) < len(frame):
            typer.echo(f"\n… and {len(frame) - len(part)} more; --json prints all.")
        typer.echo("")


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame's rows as JSON has them: unknown is null, times are ISO 8601."""
    rows: list[dict[str, Any]] = json.loads(
        frame.to_json(orient="records", date_format="iso", date_unit="us", force_ascii=False)
    )
    return rows


def _table(frame: pd.DataFrame, form: Form) -> str:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    from imagelab.core.text import BYTE_COLUMN

    width = 80
    columns: list[list[str]] = []
    for name, column in frame.items():
        number = is_numeric_dtype(column.dtype) and not is_bool_dtype(column.dtype)
        cells = [_cell(value, bool(BYTE_COLUMN.search(str(name))) and number, width) for value in column]
        size = max(map(len, [str(name), *cells]))
        columns.append([(cell.rjust if number else cell.ljust)(size) for cell in [str(name), *cells]])
    lines = [list(line) for line in zip(*columns, strict=True)]
    if form is Form.TEXT:
        return "\n".join("  ".join(line).rstrip() for line in lines)
    lines = [[_escape(cell.strip()) for cell in line] for line in lines]
    lines.insert(1, ["---"] * len(columns))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Any, size: bool, width: int) -> str:
    import pandas as pd

    from imagelab.core.frames import format_bytes
    from imagelab.core.text import clean

    if pd.isna(value):
        return "–"
    if size:
        return format_bytes(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return clean(str(value).replace("\n", " "), width)


def _escape(cell: str) -> str:
    """Text from an image is neither Markdown nor HTML."""
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]<>()#+!|~@" else letter for letter in cell)
