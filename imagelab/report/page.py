"""Executed cells as the HTML of a page that opens with no network."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any

from imagelab.core.atomic import write_atomically
from imagelab.core.text import clean, escape
from imagelab.widgets.view import is_empty

TEMPLATE = Path(__file__).with_name("template")
ASSETS = "assets"


def page_html(
    cells: Sequence[Mapping[str, Any]], title: str, images: Sequence[Mapping[str, str]], **options: Any
) -> str:
    """Return a page of executed cells.

    Parameters
    ----------
    cells : sequence of dict
        As `execute` leaves them.
    title : str
    images : sequence of dict
        For the head of the page.
    **options
        ``show_code``; ``home``, the page that lists this one; ``switcher``, one image at a time; ``shared``, where plotly's
        code stands beside the pages (without it, the page contains the code); ``heading``, which the title replaces.
    """
    body = "".join(_sections(cells, options.get("show_code", False), options.get("heading") or "", options.get("home")))
    switched = {"images": [image["reference"] for image in images]} if options.get("switcher") else None
    charts, shared = '<imagelab-view kind="chart"' in body, options.get("shared")
    html: str = _template("page.html.j2").render(
        title=clean(title, 240),
        images=images,
        body=body,
        sections=[(anchor, unescape(words)) for anchor, words, _ in headings(body)],
        home=options.get("home"),
        page=json.dumps(switched or {"images": []}).replace("<", "\\u003c"),
        plotly=_plotly() if charts and not shared else None,
        plotly_file=f"{shared}/{plotly_name()}" if charts and shared else None,
        style=_text("report.css") + (_code_style() if options.get("show_code") else ""),
        module=_module(),
        **stamp(),
    )
    return html


def headings(html: str) -> list[tuple[str, str, str]]:
    """Return the anchor, the heading and the text of each section of a page, without its code and outputs."""
    texts = "".join(re.findall(r'<div class="words">(.*?)</div>', html, flags=re.DOTALL))
    _, *parts = re.split(r'<h2 id="([^"]+)">(.*?)</h2>', texts)
    plain = [" ".join(re.sub("<[^>]+>", "", part).split()) for part in parts]
    return list(zip(plain[::3], plain[1::3], plain[2::3], strict=True))


def _sections(cells: Sequence[Mapping[str, Any]], show_code: bool, heading: str, home: str | None) -> Iterator[str]:
    """Yield the HTML of each section. A section whose code shows nothing is left out."""
    section: list[str] = []
    ran = shown = False
    title = re.compile(rf"\A# +{re.escape(heading)}\s*$", flags=re.MULTILINE)
    for cell in cells:
        source = cell["source"]
        if cell["cell_type"] == "markdown":
            if re.match(r"#{1,3} ", source) and ran and not shown:
                section.clear()
            if re.match(r"#{1,3} ", source):
                yield from section
                section, ran, shown = [], False, False
            text = title.sub("", source, count=1)
            if home:  # the notebooks of a site are pages beside each other
                text = re.sub(r"\]\((\w+)\.ipynb\)", r"](\1.html)", text)
            section.append(f'<div class="words">{_markdown()(text)}</div>' if text.strip() else "")
        elif cell["cell_type"] == "code":
            shown_outputs = [(kind, text) for kind, text in cell.get("outputs", []) if show_code or not is_empty(text)]
            outputs = "".join(f'<div class="output">{_output(*output)}</div>' for output in shown_outputs)
            ran, shown = True, shown or bool(outputs) or show_code
            section.append(_highlighted(source) + outputs if show_code else outputs)
    yield from [] if ran and not shown else section


def _output(kind: str, content: str) -> str:
    if kind == "text/html":
        return content
    if kind == "text/markdown":
        return str(_markdown(True)(content))
    if kind == "image/svg+xml":
        return f'<img alt="picture" src="data:image/svg+xml;utf8,{escape(content, 10_000_000)}">'
    if kind.startswith("image/"):
        return f'<img alt="picture" src="data:{kind};base64,{escape(content, 100_000_000)}">'
    return "<pre>" + "\n".join(escape(line, 10_000) for line in content.rstrip().split("\n")) + "</pre>"


@cache
def _markdown(untrusted: bool = False) -> Any:
    """Return a Markdown renderer whose headings have ids; of untrusted text, markup stays text."""
    import mistune

    class Renderer(mistune.HTMLRenderer):
        def heading(self, text: str, level: int, **attributes: Any) -> str:
            anchor = re.sub(r"\s+", "-", re.sub("<[^>]+>", "", text).strip())
            return f'<h{level} id="{anchor}">{text}</h{level}>\n'

    return mistune.create_markdown(
        renderer=Renderer(escape=untrusted), plugins=["table", "strikethrough", "url"], escape=untrusted
    )


def _highlighted(source: str) -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return f'<div class="code" tabindex="0">{highlight(source, PythonLexer(), HtmlFormatter())}</div>'


def _code_style() -> str:
    from pygments.formatters import HtmlFormatter

    light, dark = (HtmlFormatter(style=name).get_style_defs(".highlight") for name in ("default", "github-dark"))
    return f"{light}@media screen and (prefers-color-scheme: dark) {{{dark}}} .highlight {{ background: none !important; }}"


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("</script", "<\\/script")


def plotly_name() -> str:
    return f"plotly-{importlib.metadata.version('plotly')}.min.js"


def write_shared(folder: Path) -> None:
    """Write plotly's code beside the pages of a site."""
    write_page(folder / ASSETS / plotly_name(), _plotly())


def _module() -> str:
    from imagelab.widgets.view import MODULE

    return MODULE.read_text(encoding="utf-8")


@cache
def _template(name: str) -> Any:
    from jinja2 import Environment, FileSystemLoader

    return Environment(loader=FileSystemLoader(TEMPLATE), autoescape=True).get_template(name)


def index_html(title: str, groups: Sequence[Mapping[str, Any]], search: str = "") -> str:
    """Return a page that leads to others: a search, and ``groups`` of a heading and cards or a table."""
    parts = {"style": _text("report.css"), "module": _module(), **stamp()}
    return str(_template("index.html.j2").render(title=title, groups=groups, search=search, **parts))


def _text(name: str) -> str:
    return (TEMPLATE / name).read_text(encoding="utf-8")


def stamp() -> dict[str, str]:
    """Return who made a page, and when."""
    return {"version": importlib.metadata.version("imagelab"), "date": f"{datetime.now(UTC):%-d %B %Y, %H:%M} UTC"}


def write_page(path: str | os.PathLike[str], html: str) -> None:
    """Write a page atomically."""
    write_atomically(Path(path), lambda file: file.write(html.encode("utf-8", "backslashreplace")))
