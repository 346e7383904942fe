"""Measure how soon the first chart of a report is on the screen.

    python -m benchmarks.page_speed PAGE... [--rounds 3]

Each page is opened in Chromium without a network; the page's own clock says when the first frame with a chart was
drawn. The best of the rounds counts. Beside it, ``empty``: a page that holds plotly's code and one small chart.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import plotly.graph_objects as go
from playwright.sync_api import Browser, sync_playwright

FIRST_CHART = """(() => {
    const marks = '.js-plotly-plot .main-svg :is(.point, .slice, .trace) path';
    const look = () => {
        const seen = [...document.querySelectorAll(marks)].some(one => one.getBoundingClientRect().width);
        requestAnimationFrame(seen ? () => { window.firstChart = performance.now(); } : look);
    };
    requestAnimationFrame(look);
})()"""


def first_chart(browser: Browser, page: Path) -> float:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    tab = context.new_page()
    tab.add_init_script(FIRST_CHART)
    tab.goto(page.resolve().as_uri())
    tab.wait_for_function("window.firstChart")
    milliseconds: float = tab.evaluate("firstChart")
    context.close()
    return milliseconds / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        empty = Path(folder, "empty.html")
        go.Figure(go.Bar(x=[1, 2], y=[1, 2])).write_html(empty)
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        base = min(first_chart(browser, empty) for _ in range(options.rounds))
        print(f"{'empty':40} {base:6.2f} s")
        for page in options.pages:
            best = min(first_chart(browser, page) for _ in range(options.rounds))
            print(f"{page.name:40} {best:6.2f} s {best / base:6.2f} x empty")


if __name__ == "__main__":
    main()
