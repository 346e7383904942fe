"""Make slides of the lessons: each heading starts a slide, each cell with an output follows it downwards.

    python tools/slides.py REVEAL OUTPUT [LESSON …]

REVEAL is a folder with reveal.js (its `dist`); OUTPUT gets a page per lesson and a copy of reveal.js, and opens offline.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert.exporters.slides import SlidesExporter

ROOT = Path(__file__).resolve().parents[1]


def mark(book: nbformat.NotebookNode) -> None:
    """Set the slide type of each cell: a slide per heading, a slide below it per output, settings hidden."""
    for cell in book.cells:
        heading = cell.cell_type == "markdown" and cell.source.startswith("#")
        hidden = "parameters" in cell.metadata.get("tags", []) or cell.source.startswith(("import ", "from "))
        kind = "slide" if heading else "subslide" if cell.get("outputs") else "-"
        cell.metadata["slideshow"] = {"slide_type": "skip" if hidden else kind}


def main() -> None:
    reveal, output, *names = sys.argv[1:]
    folder = Path(output)
    shutil.copytree(Path(reveal) / "dist", folder / "reveal.js" / "dist", dirs_exist_ok=True)
    # plotly's code is part of the page (but not MathJax, which it loads from a CDN); widgets show their static siblings
    os.environ["PLOTLY_RENDERER"] = "notebook"
    exporter = SlidesExporter(
        extra_template_basedirs=[str(ROOT / "tools")],
        template_name="slides",
        reveal_url_prefix="reveal.js",
        reveal_theme="white",
    )
    lessons = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    for path in lessons:
        if not names or path.stem in names:
            book = nbformat.read(path, as_version=4)
            NotebookClient(
                book, timeout=600, resources={"metadata": {"path": str(path.parent)}}, store_widget_state=False
            ).execute()
            mark(book)
            page, _ = exporter.from_notebook_node(book, {"metadata": {"name": path.stem}})
            page = re.sub(r'<script src="https://[^"]*mathjax[^"]*">\s*</script>', "", page, flags=re.IGNORECASE)
            (folder / f"{path.stem}.html").write_text(page, encoding="utf-8")
            print(folder / f"{path.stem}.html")


if __name__ == "__main__":
    main()
