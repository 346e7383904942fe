"""Tables that sort, search, page and download, with no network; without script they are plain HTML tables."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pandas as pd

from imagelab.charts.theme import SEVERITY_COLOURS, step_label, text_on
from imagelab.core.frames import format_bytes
from imagelab.core.text import BYTE_COLUMN, clean, escape
from imagelab.widgets.view import view_html

PLAIN_ROWS = 100  # rows of the table that readers without script see
SHORT = 30  # characters of the longest text in a column whose lines are not broken
LONG_ANSWER = 24  # characters of an answer that stands in a smaller font
DIGEST = r"sha256:[0-9a-f]{64}"
# Inline styles: the cards look the same in a report and in a notebook, which has another style sheet.
_GRID = "display:grid;gap:1em;padding:.3em 0"
_TILES = "display:grid;gap:.8em 1.6em;grid-template-columns:repeat(auto-fit,minmax(min(10em,100%),1fr));margin-top:.6em"
_CARD = "border:1px solid rgba(128,128,128,.45);border-radius:8px;padding:.9em 1.1em;background:rgba(128,128,128,.07)"
_TILE = "min-width:0;overflow-wrap:anywhere;font-size:.92em"
_NAME = "opacity:.85;font-size:.92em"


def table_data(
    frame: pd.DataFrame, caption: str | None = None, *, rows: int = 1000, page: int = 10, wrap: bool = False
) -> dict[str, Any]:
    """Return what the module needs to show the first ``rows`` of a frame: columns with their kind, and safe values."""
    first = frame.head(rows)
    shown = [_column(name, first.iloc[:, place], 400 if wrap else 140) for place, name in enumerate(frame.columns)]
    return {
        "caption": caption_of(frame, clean(caption or ""), rows),
        "columns": [column for column, _ in shown],
        "rows": [list(cells) for cells in zip(*(values for _, values in shown), strict=True)],
        "page": page,
    }


def _column(label: Any, values: pd.Series, width: int) -> tuple[dict[str, Any], list[Any]]:
    """Return the description of a column and its values as JSON has them; unknown is None."""
    name, dtype = clean(label, 60), values.dtype
    column: dict[str, Any] = {"name": name, "kind": "text", "style": "short"}
    known = values.astype("object").where(values.notna(), None)
    if name == "mode" and pd.api.types.is_integer_dtype(dtype):
        return column, [None if bits is None else f"{bits:04o}" for bits in known]
    if pd.api.types.is_bool_dtype(dtype):
        return column, [None if flag is None else "yes" if flag else "no" for flag in known]
    if pd.api.types.is_numeric_dtype(dtype):
        column |= {"kind": "bytes" if BYTE_COLUMN.search(name) else "number", "style": "right"}
        return column, [None if number in (None, float("inf")) else number for number in known.tolist()]
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return column, [None if time is None else f"{time:%Y-%m-%d %H:%M:%S}" for time in known]
    if name.endswith("instruction") or name == "created_by":
        labels = {step: unescape(step_label(step, min(width, 80))) for step in set(known)}
        texts = [None if step is None else labels[step] for step in known]
    elif name == "suggestion":  # lines of a Dockerfile
        split = [None if text is None else text.splitlines() for text in known]
        texts = [None if lines is None else "\n".join(clean(line, width) for line in lines) for lines in split]
    else:
        texts = [None if text is None else clean(text, width) for text in known]
    if isinstance(dtype, pd.CategoricalDtype) and dtype.ordered:
        column["order"] = [str(word) for word in dtype.categories]
        if set(column["order"]) <= set(SEVERITY_COLOURS):
            column["colours"] = {word: [colour, text_on(colour)] for word, colour in SEVERITY_COLOURS.items()}
    elif any(texts) and all(re.fullmatch(DIGEST, text) for text in texts if text):
        column |= {"kind": "digest", "style": "code"}
    elif max((len(text) for text in texts if text), default=0) > SHORT:
        column["style"] = "long"
    return column, texts


def caption_of(frame: pd.DataFrame, caption: str, rows: int) -> str:
    """Return the caption; it names the number of rows where the table has only the first ``rows`` of the frame."""
    return f"{caption} (the first {rows:,} of {len(frame):,} rows)".strip() if len(frame) > rows else caption


def plain_html(data: dict[str, Any], rows: int = PLAIN_ROWS) -> str:
    """Return `table_data` as a plain HTML table of at most ``rows``."""
    columns = data["columns"]

    def text(value: Any, kind: str) -> str:
        return "" if value is None else escape(format_bytes(value) if kind == "bytes" else value, 400)

    kinds = [column["kind"] for column in columns]
    heads = "".join(f"<th>{escape(column['name'], 60)}</th>" for column in columns)
    cells = [[f"<td>{text(*cell)}</td>" for cell in zip(row, kinds, strict=True)] for row in data["rows"][:rows]]
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
    caption = f"<p><strong>{escape(data['caption'])}</strong></p>" if data["caption"] else ""
    left = f"<p>{len(data['rows']) - rows:,} more rows</p>" if len(data["rows"]) > rows else ""
    return f"{caption}<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>{left}"


class Table:
    """A frame shown as a table that sorts, searches, pages and downloads; made by `show`."""

    def __init__(self, frame: pd.DataFrame, caption: str | None, **options: Any) -> None:
        self.frame, self.caption, self.options = frame, caption, options

    def to_html(self) -> str:
        data = table_data(self.frame, self.caption, **self.options)
        return view_html("table", data, plain_html(data))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        data = table_data(self.frame, self.caption, **self.options | {"rows": PLAIN_ROWS})
        cells = pd.DataFrame(data["rows"], columns=[column["name"] for column in data["columns"]])
        plain = f"{data['caption']}\n{cells.to_string(index=False, na_rep='', max_colwidth=60)}"
        return {"text/html": self.to_html(), "text/plain": plain.lstrip("\n")}


def show(
    frame: pd.DataFrame, caption: str | None = None, *, rows: int = 1000, page: int = 10, wrap: bool = False
) -> Table:
    """Show a frame as a table that sorts, searches, pages and downloads, in JupyterLab and in a report, offline.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns of bytes are shown in decimal units and sort by bytes; unknown is an empty cell.
    caption : str, optional
    rows : int
        The page contains at most the first ``rows``: sort the frame by the column that matters.
    page : int
        Rows to a page.
    wrap : bool
        Show texts up to 400 characters; by default they are shortened to 140.
    """
    return Table(frame, caption, rows=rows, page=page, wrap=wrap)


class Cards:
    """The answers of `imagelab.overview`, a card for each image; made by `cards`."""

    def __init__(self, frame: pd.DataFrame, before: pd.DataFrame | None) -> None:
        joined = frame.assign(was=pd.NA)
        if before is not None:
            keys = ["reference", "question"]
            joined["was"] = pd.MultiIndex.from_frame(frame[keys]).map(before.set_index(keys)["answer"])
        self.frame = joined

    def _repr_html_(self) -> str:
        parts = (self._card(name, part) for name, part in self.frame.groupby("reference", sort=False))
        return f'<div class="imagelab-cards" style="{_GRID}">{"".join(parts)}</div>'

    def _card(self, name: Any, rows: pd.DataFrame) -> str:
        title = f'<strong style="overflow-wrap:anywhere">{escape(name, 90)}</strong>'
        tiles = "".join(_tile(row) for row in rows.itertuples())
        return f'<div style="{_CARD}" data-image="{escape(name, 120)}">{title}<div style="{_TILES}">{tiles}</div></div>'


def _tile(row: Any) -> str:
    answer = "unknown" if pd.isna(row.answer) else escape(row.answer, 120)
    figure = f"font-size:{1.3 if len(answer) < LONG_ANSWER else 1.05}em;font-weight:600"
    heading = f'<span style="{_NAME}">{escape(row.question.capitalize(), 40)}</span><br><span style="{figure}">{answer}</span>'
    return f'<div style="{_TILE}">{heading}<br>{_was(row)}{escape(row.detail)}</div>'


def _was(row: Any) -> str:
    """Return the answer of the build before, where it is another one."""
    if pd.isna(row.was) or pd.isna(row.answer) or row.question == "what next" or row.was == row.answer:
        return ""
    return f"<strong>was {escape(row.was, 120)}</strong>; "


def cards(frame: pd.DataFrame, before: pd.DataFrame | None = None, most: int = 6) -> Cards | Table:
    """Show `imagelab.overview`: a card for each image, with each question, its answer and the detail.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns reference, question, answer and detail.
    before : pandas.DataFrame, optional
        The same of the builds before, under the same references: a card shows what changed.
    most : int
        More images are shown as a table (`show`).
    """
    return Cards(frame, before) if frame["reference"].nunique() <= most else show(frame, page=25, wrap=True)
