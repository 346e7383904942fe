"""Lay an answer out for a terminal: tables that fit its width, sizes with bars, sentences on lines of their own.

Piped output is not fitted: one line for each row, whole cells, no colours.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from imagelab.cli.output import Answer, cells, is_number, without_empty_columns
from imagelab.core.text import BYTE_COLUMN, clean

if TYPE_CHECKING:
    import pandas as pd

GAP = 2
BAR = 6
SHORTEST = 20
"""What a text column keeps at least, before whole columns are left out; the first column, which names the row, keeps
two fifths of the terminal."""
STYLES = {
    **dict.fromkeys(("critical", "FAIL", "failed"), "bold red"),
    **dict.fromkeys(("high", "removed", "deleted", "not confirmed"), "red"),
    **dict.fromkeys(("medium", "changed", "overwritten", "partly confirmed", "unknown"), "yellow"),
    **dict.fromkeys(("low",), "cyan"),
    **dict.fromkeys(("ok", "passed", "added", "fixed", "proven", "exact", "confirmed"), "green"),
}


def print_text(answer: Answer, rows: int | None, *, full: bool) -> None:
    """Print an answer as text: ``rows`` of each table, or everything if ``full``."""
    console = Console(highlight=False, markup=False, emoji=False)
    # FORCE_COLOR, as CI services set it, asks for colours and makes no pipe a terminal
    fitted = not full and (console.file.isatty() or "COLUMNS" in os.environ)
    width = (console.width or None) if fitted else None  # COLUMNS=0 means unknown

    def write(lines: Iterable[Text | str]) -> None:
        for line in lines:
            console.print(line, no_wrap=True, overflow="ignore", crop=False)

    if answer.summary:
        write([*(Text(line, "bold") for line in _wrap(clean(answer.summary), width)), ""])
    for name, frame in ((not full and answer.shown) or answer.frames).items():
        part = frame if full or rows is None else frame.head(rows)
        write([Text(clean(name), "bold underline")])
        write(_table(without_empty_columns(part), width, () if full else answer.prose) if len(part) else ["(none)"])
        if len(part) < len(frame):
            write([Text(f"… and {len(frame) - len(part)} more: --rows N, or --full", "dim")])
        write([""])
    for line in answer.diff.splitlines():
        write([Text(clean(line, 2000), {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], ""))])
    if answer.hint:
        write([Text(f"next: {clean(answer.hint)}", "dim")])


def _table(frame: pd.DataFrame, width: int | None, prose: Sequence[str]) -> list[Text]:
    """A line for the columns' names and one for each row; below a row, its prose."""
    texts = {name: cells(frame[name], whole=name in prose) for name in map(str, frame)}
    prose = [name for name in prose if max(map(cell_len, texts.get(name, [])), default=0) > SHORTEST]
    columns = {name: values for name, values in texts.items() if name not in prose}
    numbers = {name for name in columns if is_number(frame[name])}
    bars = _bars(frame, columns, width)
    columns |= bars
    widths = {name: max(map(cell_len, [name, *values])) for name, values in columns.items()}
    left_out = _shrink(widths, numbers | set(bars), width)
    lines = [
        Text((" " * GAP).join(_fit(name, widths[name], name in numbers - set(bars)) for name in widths).rstrip(), "dim")
    ]
    for row in range(len(frame)):
        line = Text()
        for name in widths:
            value = columns[name][row]
            style = "blue" if name in bars else STYLES.get(value, "")
            line.append(_fit(value, widths[name], name in numbers - set(bars)) + " " * GAP, style)
        line.rstrip()
        lines.append(line)
        for name in (name for name in prose if texts.get(name, ["–"] * len(frame))[row] != "–"):
            if name == "instruction" and width is not None:  # it names the place; its beginning and end are enough
                lines += [Text(_fit(f"    {name}: {texts[name][row]}", width, False).rstrip())]
                continue
            for number, text in enumerate(texts[name][row].split("\n")):
                lines += map(
                    Text, _wrap(text if number else f"{name}: {text}", width, "    " if number == 0 else "        ")
                )
    if left_out:
        lines += [Text(line, "dim") for line in _wrap(f"Not shown: {', '.join(left_out)} (--full)", width)]
    return lines


def _bars(frame: pd.DataFrame, columns: dict[str, list[str]], width: int | None) -> dict[str, list[str]]:
    """The first column of sizes or seconds, each value with a bar; nothing on a narrow terminal or for one value."""
    amounts = (name for name in columns if BYTE_COLUMN.search(name) or name in ("duration", "seconds"))
    name = next((name for name in amounts if is_number(frame[name]) and frame[name].fillna(0).any()), None)
    if name is None or len(frame) < 2 or (width is not None and width < 72):
        return {}
    values = frame[name].fillna(0).abs().astype(float)
    parts = (values * BAR * 8 / values.max()).round().astype(int)
    drawn = ["█" * (part // 8) + " ▏▎▍▌▋▊▉"[part % 8] for part in parts]
    longest = max(map(len, [name, *columns[name]]))
    return {name: [f"{text:>{longest}} {bar:<{BAR}}" for text, bar in zip(columns[name], drawn, strict=True)]}


def _shrink(widths: dict[str, int], fixed: set[str], width: int | None) -> list[str]:
    """Shorten the widest text columns until the table fits; leave out the last columns, which are returned, if it cannot."""
    left_out: list[str] = []
    whole = dict(widths)
    keeps = dict.fromkeys(widths, SHORTEST) | {next(iter(widths)): max(SHORTEST, (width or 0) * 2 // 5)}
    while width is not None and sum(widths.values()) + GAP * (len(widths) - 1) > width and len(widths) > 1:
        widest = max(widths, key=lambda name: 0 if name in fixed else widths[name] - keeps[name])
        if widest not in fixed and widths[widest] > keeps[widest]:
            widths[widest] -= 1
        else:
            left_out.insert(0, list(widths)[-1])
            del widths[left_out[0]]
            widths |= {name: whole[name] for name in widths}
    return left_out


def _fit(text: str, width: int, right: bool) -> str:
    """``text`` in exactly ``width`` columns, shortened in its middle."""
    length = width
    while cell_len(short := clean(text, length)) > width:
        length -= 1
    padding = " " * (width - cell_len(short))
    return padding + short if right else short + padding


def _wrap(text: str, width: int | None, indent: str = "") -> list[str]:
    if width is None:
        return [indent + text]
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent + " " * len(indent))
