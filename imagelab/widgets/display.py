"""Text and tables as people see them: nothing that an image holds is markup, and no text breaks a page."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from imagelab.core.text import BYTE_COLUMN, clean, escape

# DataTables' renderers: unknown (NaN) is an empty cell that sorts below 0; what is sorted stays a number. Bytes read as
# `imagelab.core.frames.format_bytes` writes them, which rounds all digits of a double, a tie to even.
_NUMBER = """function (data, type) {
  if (typeof data !== 'number' || Number.isNaN(data)) return type === 'sort' || type === 'type' ? -1 : '';
  return type === 'display' && !Number.isInteger(data) ? +data.toPrecision(4) : data; }"""
_BYTES = """function (data, type) {
  if (typeof data !== 'number' || Number.isNaN(data)) return type === 'sort' || type === 'type' ? -1 : '';
  if (type !== 'display') return data;
  let [size, unit] = [data, 'B'];
  for (const larger of ['kB', 'MB', 'GB', 'TB'])
    if (Math.abs(size) >= 999.5) [size, unit] = [size / 1000, larger];
  const digits = unit === 'B' ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 };
  const number = new Intl.NumberFormat('en', { ...digits, roundingMode: 'halfEven', useGrouping: false });
  return number.format(size.toPrecision(60)) + ' ' + unit; }"""
# Two tables' controls can have one id (a widget's tables count anew), and then a label names the first alone. What
# scrolls sideways can be reached and scrolled by keyboard.
_NAMES = """function () {
  const table = this.api().table().container();
  for (const [part, name] of [['.dt-search input', 'Search'], ['.dt-length select', 'Entries per page'],
                              ['.dt-scroll-body', 'Rows of a table']])
    table.querySelectorAll(part).forEach((one) => one.setAttribute('aria-label', name));
  table.querySelectorAll('.dt-scroll-body').forEach((one) => Object.assign(one, { tabIndex: 0, role: 'region' })); }"""
# Characters: of the longest text that is never broken, of one that is, of the longest word that need not be, of a number,
# and of all columns of a page.
_SHORT, _BROKEN, _WORD, _FIGURES, _PAGE = 34, 24, 44, 8, 115
_CORNERS = ("topStart", "topEnd", "bottomStart", "bottomEnd")
_CONTROLS = ("pageLength", "search", "info", "paging")
# JupyterLab's theme can change at any time; DataTables follows a class.
_FOLLOW_THEME = """<script>(() => {
  const paint = () => document.documentElement.classList.toggle("dark", document.body.dataset.jpThemeLight === "false");
  if (document.body && "jpThemeLight" in document.body.dataset) {
    paint();
    new MutationObserver(paint).observe(document.body, {attributeFilter: ["data-jp-theme-light"]});
  }
})()</script>"""
# In the element itself: the same in a report and in a notebook, whose style sheet is not ours.
_GRID = "display:grid;gap:1em;grid-template-columns:repeat(auto-fit,minmax(min(26em,100%),1fr));padding:.3em 0"
_CARD = "border:1px solid rgba(128,128,128,.45);border-radius:8px;padding:.9em 1.1em;background:rgba(128,128,128,.07)"
_LINE = "display:flex;flex-wrap:wrap;gap:0 1em;margin:.7em 0 0;align-items:baseline"
_NAME = "opacity:.8;font-size:.85em;flex:0 0 10em"
_FACT = "flex:1 1 16em;min-width:0;overflow-wrap:anywhere"
_FIGURE = "font-size:1.2em;font-weight:600"
_bundled = False
_report = False


def table_options(
    frame: pd.DataFrame, *, rows: int = 1000, page: int = 10, wrap: bool = False
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """What itables is given: a safe copy of the first ``rows``, and the options of every table in imagelab.

    Bytes are sorted as numbers and shown in decimal units; text is cleaned; markup is never read as such.
    """
    from itables import JavascriptFunction

    shown = frame.head(rows).copy()
    shown.columns = [clean(name, 60) for name in frame.columns]
    width = 400 if wrap else 90
    sizes: list[int] = []
    numbers: list[int] = []
    for place, (name, dtype) in enumerate(zip(frame.columns, frame.dtypes, strict=True)):
        column = shown.iloc[:, place]
        if name == "mode":
            column = column.map(lambda bits: f"{bits:04o}", na_action="ignore")
        elif pd.api.types.is_bool_dtype(dtype):
            column = column.map({True: "yes", False: "no"})
        elif pd.api.types.is_numeric_dtype(dtype):
            (sizes if BYTE_COLUMN.search(str(name)) else numbers).append(place)
            whole = pd.api.types.is_integer_dtype(dtype) and not column.isna().any()
            shown.isetitem(place, column.astype("int64" if whole else "float64").array)
            continue
        elif pd.api.types.is_datetime64_any_dtype(dtype):
            column = column.dt.strftime("%Y-%m-%d %H:%M:%S")
        if isinstance(dtype, pd.CategoricalDtype):  # itables sorts it by its order
            shown.isetitem(place, column.cat.rename_categories(lambda value: clean(value, width)).array)
        else:
            # in one line, but a lesson's two lines are still told apart
            lines = [str(value).replace("\n", " ↵ ") for value in column.astype(object).where(column.notna(), "")]
            shown.isetitem(place, [clean(line, width) for line in lines])
    texts = [place for place in range(shown.shape[1]) if place not in sizes + numbers]
    cells = {place: shown.iloc[:, place].astype(str) for place in texts if len(shown)}
    longest = {place: int(column.str.len().max()) for place, column in cells.items()}
    short = [place for place in texts if longest.get(place, 0) <= _SHORT]
    words = {place: max(map(len, " ".join(column).split())) for place, column in cells.items() if place not in short}

    def needed(word: int) -> int:
        """Characters of a line, with words broken that are longer than this."""
        own = {place: size if place in short else _BROKEN for place, size in longest.items()}
        own |= {place: size for place, size in words.items() if _BROKEN < size <= word}
        return sum(max(own.get(place, _FIGURES), len(name) + 2) for place, name in enumerate(shown.columns))

    # a table that fits the page with its long texts broken has them so, words whole if it can be; a wider one scrolls
    # sideways, line by line
    word = _WORD if needed(_WORD) <= _PAGE else 0
    broken = wrap or needed(word) <= _PAGE
    whole = [place for place, size in words.items() if size <= word]
    rest = [place for place in texts if place not in short + whole]
    options: dict[str, Any] = {
        "allow_html": False,
        "classes": "display compact" if broken else "display compact nowrap",
        "columnDefs": [
            {"targets": places, "className": classes} | ({"render": JavascriptFunction(script)} if script else {})
            for places, classes, script in (
                (sizes, "dt-right dt-nowrap", _BYTES),
                (numbers, "dt-right dt-nowrap", _NUMBER),
                (short, "dt-left dt-nowrap", None),  # in one line, so that long ones get the room
                (whole, "dt-left dt-words", None),
                (rest, "dt-left", None),
            )
            if places  # a column has the classes of all that name it
        ],
        "drawCallback": JavascriptFunction(_NAMES),
        # Said in full each time: a widget's table keeps what it is not told anew.
        "layout": dict(zip(_CORNERS, _CONTROLS if len(frame) > page else [None] * 4, strict=True)),
        "lengthMenu": [10, 25, 100],
        "maxBytes": 0,
        "maxColumns": 0,
        "pageLength": page,
        "paging": len(frame) > page,
        "scrollX": True,
        "showIndex": False,
        "style": "table-layout:auto;width:100%;margin:0",
        "text_in_header_can_be_selected": False,
    }
    return shown, options


def caption_of(frame: pd.DataFrame, caption: str, rows: int) -> str:
    """The caption, which says so where ``rows`` are not all of the frame."""
    return f"{caption} (the first {rows:,} of {len(frame):,} rows)" if len(frame) > rows else caption


class Table:
    """A frame shown as a table that sorts, searches and pages with no network; made by `show`."""

    def __init__(self, frame: pd.DataFrame, caption: str | None, rows: int, page: int, wrap: bool) -> None:
        self.frame, self.caption, self.rows, self.page, self.wrap = frame, caption, rows, page, wrap

    def to_html(self) -> str:
        """The table's HTML; it needs `bundle` once in the page."""
        from itables import to_html_datatable

        caption = caption_of(self.frame, self.caption or "", self.rows)
        shown, options = table_options(self.frame, rows=self.rows, page=self.page, wrap=self.wrap)
        table = to_html_datatable(shown, connected=False, display_logo_when_loading=False, **options)
        # Without scripts a plain table is there; what itables says of itself meanwhile, with links to its site, is not.
        for words in (r"<tbody>.*?</tbody>", r"<sup>.*?</sup>"):
            table = re.sub(words, "", table, count=1, flags=re.DOTALL)
        # Not DataTables' own caption: with sideways scrolling it would stand between header and rows.
        return f"<p><strong>{escape(caption.strip())}</strong></p>{table}" if caption else table

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        global _bundled
        head = "" if _bundled else bundle()
        _bundled = True
        return {"text/html": head + self.to_html(), "text/plain": repr(self.frame)}


def show(
    frame: pd.DataFrame, caption: str | None = None, *, rows: int = 1000, page: int = 10, wrap: bool = False
) -> Table:
    """Show a frame as a table that sorts, searches and pages, in JupyterLab and in a report, offline.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns of bytes are shown in decimal units and sort by bytes; unknown is an empty cell.
    caption : str, optional
    rows : int
        At most so many rows are put into the page, the first ones: sort the frame by what matters.
    page : int
        Rows to a page.
    wrap : bool
        Let a text take as many lines as it needs; else one of more than 90 characters is shortened.
    """
    return Table(frame, caption, rows, page, wrap)


class Cards:
    """What answers first, a card for each image; made by `cards`."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame

    def _repr_html_(self) -> str:
        parts = (self._card(name, part) for name, part in self.frame.groupby("reference", sort=False))
        return f'<div class="imagelab-cards" style="{_GRID}">{"".join(parts)}</div>'

    def _card(self, name: Any, rows: pd.DataFrame) -> str:
        lines = "".join(
            f'<div style="{_LINE}"><span style="{_NAME}">{escape(row.question.capitalize(), 40)}</span><span style="{_FACT}">'
            f'<span style="{_FIGURE}">{"unknown" if pd.isna(row.answer) else escape(row.answer, 120)}</span><br>'
            f"{escape(row.detail)}</span></div>"
            for row in rows.itertuples()
        )
        title = f'<strong style="overflow-wrap:anywhere">{escape(name, 90)}</strong>'
        return f'<div style="{_CARD}">{title}{lines}</div>'


def cards(frame: pd.DataFrame, most: int = 6) -> Cards | Table:
    """Show `imagelab.overview`: a card for each image, with the question, its answer in large and what stands behind it.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns reference, question, answer and detail.
    most : int
        Of more images, a table (`show`).
    """
    return Cards(frame) if frame["reference"].nunique() <= most else show(frame, page=25, wrap=True)


def bundle() -> str:
    """The tables' code and style, once for a page: DataTables as itables carries it, nothing from a network."""
    from itables.javascript import generate_init_offline_itables_html
    from itables.options import dt_bundle

    # Its second part is a note with a link for pages without scripts; the table's own fallback is enough.
    return generate_init_offline_itables_html(dt_bundle).partition("</script>")[0] + "</script>" + _FOLLOW_THEME


def begin_report() -> None:
    """Tell that what is shown goes into a report's page, which brings `bundle` and plotly's code itself."""
    global _bundled, _report
    _bundled = _report = True


def in_report() -> bool:
    """Whether what is shown goes into a report's page."""
    return _report
