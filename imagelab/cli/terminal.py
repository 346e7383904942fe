"""Lay an answer out for a terminal: tables that fit its width, sizes with bars, sentences on lines of their own.

Piped output is not fitted: one line for each row, whole cells, no colours.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from imagelab.cli.output import SECONDS, Answer, cells, is_number, without_empty_columns
from imagelab.core.text import BYTE_COLUMN, clean, printable

if TYPE_CHECKING:
    import pandas as pd

GAP = 2
BAR = 6
SHORTEST = 20
"""What a text column keeps at least, before the last columns move below their rows; the first column, which names the row, keeps
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
            text = line if isinstance(line, Text) else Text(line)
            # a CI service would run a line that begins as one of its commands
            text = text if printable(text.plain) == text.plain else Text(printable(text.plain), text.style)
            console.print(text, no_wrap=True, overflow="ignore", crop=False)

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
    """A line for the columns' names and one for each row; below a row, its prose and the columns that do not fit."""
    texts = {name: cells(frame[name], whole=name in prose) for name in map(str, frame)}
    prose = [name for name in prose if max(map(cell_len, texts.get(name, [])), default=0) > SHORTEST]
    columns = {name: values for name, values in texts.items() if name not in prose}
    numbers = {name for name in columns if is_number(frame[name])}
    bars = _bars(frame, columns, width)
    columns |= bars
    widths = {name: max(map(cell_len, [name, *values])) for name, values in columns.items()}
    removed = _shrink(widths, numbers | set(bars), width)
    below = {name: texts[name] for name in [*removed, *prose]}
    lines = _row({name: name for name in widths}, widths, numbers - set(bars), "dim")
    for row in range(len(frame)):
        lines += _row({name: columns[name][row] for name in widths}, widths, numbers - set(bars), bars=bars)
        known = {name: values[row] for name, values in below.items() if values[row] != "–"}
        short = [name for name, value in known.items() if "instruction" not in name and len(value) <= SHORTEST]
        if short:
            lines += map(Text, _wrap("; ".join(f"{name}: {known.pop(name)}" for name in short), width, "    "))
        for name, value in known.items():
            again = row > 0 and "instruction" not in name and value == below[name][row - 1]
            lines += _below(name, "as above" if again else value, width)
    return lines


def _row(
    values: dict[str, str], widths: dict[str, int], right: set[str], style: str = "", bars: Iterable[str] = ()
) -> list[Text]:
    """A row's lines: a sentence continues below itself, a path or an instruction is cut in its middle."""
    parts = {name: _wrap(value, widths[name]) if " " in value else [value] for name, value in values.items()}
    parts |= {name: [value] for name, value in values.items() if "instruction" in name}
    lines = []
    for number in range(max(map(len, parts.values()))):
        line = Text()
        for name, width in widths.items():
            value = parts[name][number] if number < len(parts[name]) else ""
            chosen = "blue" if name in bars else style or STYLES.get(values[name], "")
            line.append(_fit(value, width, name in right) + " " * GAP, chosen)
        line.rstrip()
        lines.append(line)
    return lines


def _below(name: str, value: str, width: int | None) -> list[Text]:
    """A column's value on lines of its own; an instruction names the place: its beginning and end are enough."""
    if "instruction" in name and width is not None:
        return [Text(_fit(f"    {name}: {' '.join(value.split())}", width, False).rstrip())]
    first, *others = value.split("\n")
    lines = [f"{name}:", first, *others] if others else [f"{name}: {first}"]
    return [
        Text(part) for number, line in enumerate(lines) for part in _wrap(line, width, "        " if number else "    ")
    ]


def _bars(frame: pd.DataFrame, columns: dict[str, list[str]], width: int | None) -> dict[str, list[str]]:
    """The first column of sizes or seconds, each value with a bar; nothing on a narrow terminal or for one value."""
    amounts = (name for name in columns if BYTE_COLUMN.search(name) or name in SECONDS)
    name = next((name for name in amounts if is_number(frame[name]) and frame[name].fillna(0).any()), None)
    if name is None or len(frame) < 2 or (width is not None and width < 72):
        return {}
    values = frame[name].fillna(0).abs().astype(float)
    parts = (values * BAR * 8 / values.max()).round().astype(int)
    drawn = ["█" * (part // 8) + " ▏▎▍▌▋▊▉"[part % 8] for part in parts]
    longest = max(map(len, [name, *columns[name]]))
    return {name: [f"{text:>{longest}} {bar:<{BAR}}" for text, bar in zip(columns[name], drawn, strict=True)]}


def _shrink(widths: dict[str, int], fixed: set[str], width: int | None) -> list[str]:
    """Shorten the widest text columns until the table fits; remove the last columns, which are returned, if it cannot."""
    removed: list[str] = []
    whole = dict(widths)
    keeps = dict.fromkeys(widths, SHORTEST) | {next(iter(widths)): max(SHORTEST, (width or 0) * 2 // 5)}
    while width is not None and sum(widths.values()) + GAP * (len(widths) - 1) > width and len(widths) > 1:
        widest = max(widths, key=lambda name: 0 if name in fixed else widths[name] - keeps[name])
        if widest not in fixed and widths[widest] > keeps[widest]:
            widths[widest] -= 1
        else:
            removed.insert(0, list(widths)[-1])
            del widths[removed[0]]
            widths |= {name: whole[name] for name in widths}
    return removed


def _fit(text: str, width: int, right: bool) -> str:
    """``text`` in exactly ``width`` columns, shortened in its middle."""
    length = width
    while cell_len(short := clean(text, length)) > width:
        length -= 1
    padding = " " * (width - cell_len(short))
    return padding + short if right else short + padding


def _wrap(text: str, width: int | None, indent: str = "") -> list[str]:
    """``text`` in lines of ``width`` columns, which begin with ``indent``, those after the first with more."""
    if width is None:
        return [indent + text]
    more = indent + " " * len(indent)
    parts = Text(text).wrap(Console(), width - len(more))
    return [(more if number else indent) + part.plain.rstrip() for number, part in enumerate(parts)]
