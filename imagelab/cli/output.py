"""Frames on a terminal, as JSON, and as Markdown for a pull request's comment."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import pandas as pd
import typer

from imagelab.core.errors import ImagelabError
from imagelab.core.frames import format_bytes
from imagelab.core.text import BYTE_COLUMN, clean


class Form(StrEnum):
    """How a verb prints."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


Json = Annotated[bool, typer.Option("--json", help="Print JSON: sizes in bytes.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a pull request's comment.")]
Rows = Annotated[int, typer.Option("--rows", min=1, help="Rows shown; --json prints all.")]


def pairs(given: list[str] | None) -> dict[str, str]:
    """What a repeated ``NAME=VALUE`` option gives."""
    for item in given or ():
        if "=" not in item:
            raise ImagelabError(f"{item!r} is not NAME=VALUE, which the option takes.")
    return dict(item.split("=", 1) for item in given or ())


def form(as_json: bool, as_markdown: bool = False) -> Form:
    """The form that the two switches ask for."""
    return Form.JSON if as_json else Form.MARKDOWN if as_markdown else Form.TEXT


def print_frames(
    frames: dict[str, pd.DataFrame],
    how: Form,
    *,
    rows: int | None = None,
    columns: dict[str, list[str]] | None = None,
) -> None:
    """Print named frames; text and Markdown show the first ``rows``, and these ``columns`` of a frame; JSON everything."""
    if how is Form.JSON:
        typer.echo(json.dumps({name: records(frame) for name, frame in frames.items()}, indent=1, ensure_ascii=False))
        return
    for name, frame in frames.items():
        shown = (frame if rows is None else frame.head(rows))[(columns or {}).get(name, list(frame))]
        typer.echo(f"{'### ' if how is Form.MARKDOWN else ''}{name}\n")
        typer.echo(_table(shown, how) if len(shown) else "(none)")
        if len(shown) < len(frame):
            typer.echo(f"\n… and {len(frame) - len(shown)} more; --json prints all.")
        typer.echo("")


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame's rows as JSON has them: unknown is null, times are ISO 8601."""
    return json.loads(frame.to_json(orient="records", date_format="iso", date_unit="us", force_ascii=False))


def _table(frame: pd.DataFrame, how: Form) -> str:
    width = 60 if how is Form.TEXT else 80
    columns: list[list[str]] = []
    for name, column in frame.items():
        number = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
        cells = [_cell(value, bool(BYTE_COLUMN.search(str(name))) and number, width) for value in column]
        size = max(map(len, [str(name), *cells]))
        columns.append([(cell.rjust if number else cell.ljust)(size) for cell in [str(name), *cells]])
    lines = [list(line) for line in zip(*columns, strict=True)]
    if how is Form.TEXT:
        return "\n".join("  ".join(line).rstrip() for line in lines)
    lines = [[_escape(cell.strip()) for cell in line] for line in lines]
    lines.insert(1, ["---"] * len(columns))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Any, size: bool, width: int) -> str:
    if pd.isna(value):
        return "–"
    if size:
        return format_bytes(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return clean(str(value).replace("\n", " "), width)


def _escape(cell: str) -> str:
    """No text of an image is Markdown or HTML."""
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]<>()#+!|~@" else letter for letter in cell)
