"""Make README's pictures from today's pages: ``python -m tools.pictures`` (needs Chromium and JupyterLab)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nbformat
from playwright.sync_api import Browser, sync_playwright

from imagelab.report.run import render
from tests.ui.conftest import Lab, Tab

DOCS = Path(__file__).resolve().parents[1] / "docs"
IMAGES = ["example:service-slim", "example:service-full"]
CELLS = ("from imagelab import widgets", 'widgets.LayerExplorer(["example:chmod-in-layer-before"])')


def report(browser: Browser, folder: Path) -> None:
    """Take the first screen of the report of two images."""
    page = render("image_report", {"references": IMAGES}, folder / "report.html", title="service-full and service-slim")
    tab = browser.new_page(viewport={"width": 1280, "height": 1150})
    tab.goto(page.as_uri())
    tab.wait_for_selector("[role=treeitem]", state="attached")
    tab.wait_for_timeout(2000)
    tab.screenshot(path=DOCS / "report.png")


def lab(browser: Browser, folder: Path) -> None:
    """Take the layer explorer in JupyterLab."""
    served, home = folder / "served", folder / "home"
    served.mkdir()
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, served / "explore.ipynb")
    server = Lab(served, home)
    try:
        tab = Tab(browser, server, "explore.ipynb")
        tab.run_all(timeout=240_000)
        tab.page.wait_for_timeout(3000)
        tab.page.screenshot(path=DOCS / "lab.png", clip={"x": 0, "y": 0, "width": 1280, "height": 1050})
    finally:
        server.process.terminate()
        server.process.wait(30)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        report(chromium, Path(scratch))
        lab(chromium, Path(scratch))
        chromium.close()
