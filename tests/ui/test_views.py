"""The module's views in a static page: linked filters, switcher, file tree, downloads, print."""

import csv
import io
import json

import pytest
from playwright.sync_api import expect

import imagelab as il
from imagelab import charts
from imagelab.build.logs.read import read_build_log
from imagelab.core.frames import format_bytes
from imagelab.report.page import page_html, write_page
from imagelab.widgets import view
from imagelab.widgets.steps import BuildSteps
from imagelab.widgets.tables import cards, show
from imagelab.widgets.tree import FileTree
from tests.ui.conftest import serious

pytestmark = pytest.mark.browser
FULL, SLIM = "service-full", "service-slim"
LOGS = {name: il.data_path(f"build/logs/{name}-cold.rawjson.gz") for name in (FULL, SLIM)}


@pytest.fixture(scope="module")
def data():
    images = [il.load_image(f"example:{name}") for name in (FULL, SLIM)]
    scan = il.blame(il.read_scan(il.data_path("scans/service-full.facts.trivy.json")), images[0]).assign(reference=FULL)
    context, log = il.data_path("build/order-bad"), il.data_path("build/logs/order-bad-cold.rawjson.gz")
    plans = {
        f"edit {path or 'nothing'}": il.plan_build(context, [path] if path else [], log=log) for path in ("", "app.py")
    }
    return {"layers": il.layers(images), "history": il.history(images), "files": il.files(images), "scan": scan,
            "advice": il.advise(images), "plans": plans}  # fmt: skip


@pytest.fixture(scope="module")
def page(data, tmp_path_factory):
    """A page as a report makes it, without a notebook."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(view, "_in_report", True)
        parts = {
            "Size": view.chart_html(charts.size_outlook(data["layers"], data["advice"])),
            "Layers": view.chart_html(charts.layer_bars(data["layers"])),
            "History": show(
                data["history"][["reference", "step", "layer_index", "size", "arguments"]], "Steps"
            ).to_html(),
            "Findings": show(data["scan"][["reference", "severity", "id", "layer_index", "url"]], "Findings").to_html(),
            "Files": FileTree(data["files"])._repr_html_(),
            "Search": view.view_html(
                "search",
                {
                    "entries": [
                        ["Layers", "#Layers", "Lesson", "A layer keeps <i>hidden</i> bytes."],
                        ["il.waste", "#Size", "<b>Bytes", ""],
                    ]
                },
            ),
            "Colours": view.ChartChoice(
                "Colour", {f"by {what}": charts.file_tree(data["files"], by=what) for what in ("layer", "waste")}
            )._repr_mimebundle_()["text/html"],
            "Builds": BuildSteps({name: read_build_log(log) for name, log in LOGS.items()})._repr_html_(),
            "What if": BuildSteps.planned(data["plans"])._repr_html_(),
            "Cards": cards(il.overview([f"example:{FULL}", f"example:{SLIM}"]))._repr_html_(),
        }
    cells = []
    for name, html in parts.items():
        cells.append({"cell_type": "markdown", "source": f"## {name}"})
        cells.append({"cell_type": "code", "source": "", "outputs": [("text/html", html)]})
    images = [{"reference": name, "platform": "", "digest": ""} for name in (FULL, SLIM)]
    path = tmp_path_factory.mktemp("views") / "page.html"
    write_page(path, page_html(cells, "Views", images, switcher=True))
    return path


@pytest.fixture
def tab(page, chromium):
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, offline=True, accept_downloads=True)
    tab, errors = context.new_page(), []
    tab.on("console", lambda message: message.type in ("error", "warning") and errors.append(message.text))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(page.as_uri())
    tab.wait_for_selector("[role=treeitem]")
    yield tab
    assert errors == []
    context.close()


def table(tab, name):
    return tab.locator("imagelab-view[kind=table]", has=tab.get_by_text(name, exact=True))


def test_one_image_at_a_time_or_two(tab, data):
    steps = data["history"]
    count = table(tab, "Steps").locator(".il-count")
    expect(count).to_contain_text(f"of {steps['reference'].eq(FULL).sum()} rows")
    expect(table(tab, "Steps").get_by_role("button", name="reference", exact=True)).to_have_count(0)
    expect(tab.get_by_role("tree", name=f"Files of {SLIM}")).to_have_count(0)
    tab.get_by_label("Image", exact=True).select_option(SLIM)
    expect(count).to_contain_text(f"{steps['reference'].eq(SLIM).sum()} rows")
    expect(tab.locator("figcaption strong").first).to_contain_text(f"{SLIM} is ")
    tab.get_by_label("Compare with").select_option(FULL)
    expect(count).to_contain_text(f"of {len(steps)} rows")
    expect(table(tab, "Steps").get_by_role("button", name="reference", exact=True)).to_have_count(1)
    expect(tab.get_by_role("tree")).to_have_count(2)
    expect(tab.locator(".il-plots").first.locator("figure")).to_have_count(2)


def test_a_layer_filters_every_view_and_the_address_keeps_it(tab, data):
    steps = data["history"]
    table(tab, "Steps").get_by_role("button", name="1", exact=True).click()
    expect(tab.get_by_role("button", name="Layer 1 ✕")).to_be_visible()
    expect(table(tab, "Steps").locator("tbody tr")).to_have_count(1)
    found = data["scan"]["layer_index"].eq(1).sum()
    expect(table(tab, "Findings").locator(".il-count")).to_contain_text(f"{found} rows")
    size = data["files"].query(f"reference == '{FULL}' and layer_index == 1")["size"].sum()
    expect(tab.locator("imagelab-view[kind=tree]").first).to_contain_text(format_bytes(size))
    assert "layer=1" in tab.url and f"image={FULL}" in tab.url
    again = tab.context.new_page()
    again.goto(tab.url.replace("#", "#Findings", 1))
    expect(again.get_by_role("button", name="Layer 1 ✕")).to_be_visible()
    expect(table(again, "Steps").locator("tbody tr")).to_have_count(1)
    tab.get_by_role("button", name="Layer 1 ✕").click()
    expect(table(tab, "Steps").locator(".il-count")).to_contain_text(f"of {steps['reference'].eq(FULL).sum()} rows")
    assert "layer" not in tab.url


def test_a_bar_selects_its_layer(tab):
    bars = tab.locator("imagelab-view[kind=chart]").nth(1).locator(".point path")
    bars.first.scroll_into_view_if_needed()
    bars.first.click(force=True)
    expect(tab.get_by_role("button", name="✕")).to_be_visible()


def test_the_tree_is_used_by_keyboard_and_mouse(tab):
    root = tab.locator("[role=treeitem]").first
    root.focus()
    tab.keyboard.press("ArrowDown")
    item = tab.locator("[role=treeitem]:focus")
    name = item.locator(".il-name").first.inner_text()
    expect(item).to_have_attribute("aria-expanded", "false")
    tab.keyboard.press("ArrowRight")
    expect(item).to_have_attribute("aria-expanded", "true")
    tab.keyboard.press("ArrowRight")
    expect(tab.locator("[role=treeitem]:focus")).to_have_attribute("aria-level", "3")
    tab.keyboard.press("ArrowLeft")
    expect(tab.locator("[role=treeitem]:focus .il-name").first).to_have_text(name)
    tab.keyboard.press("ArrowLeft")
    expect(tab.locator("[role=treeitem]:focus")).to_have_attribute("aria-expanded", "false")
    tab.keyboard.press("End")
    tab.keyboard.press("Home")
    expect(root).to_be_focused()
    tab.get_by_text(name, exact=True).first.click()
    expect(item.first).to_have_attribute("aria-expanded", "true")


def test_the_tree_is_searched_and_shows_what_a_layer_did(tab):
    tree = tab.locator("imagelab-view[kind=tree]").first
    tree.get_by_label("Search paths").fill("libicudata")
    expect(tree.get_by_text("libicudata.so", exact=False).first).to_be_visible()
    tree.get_by_label("Search paths").fill("")
    tree.get_by_label("Files of", exact=True).select_option("5")
    expect(tree.locator(".il-added .il-sign", has_text="+").first).to_be_visible()


def test_rows_are_downloaded_whole_and_formulas_are_defused(page, chromium, tmp_path):
    import pandas as pd

    frame = pd.DataFrame({"path": ['=cmd|"x"', "b,c", None], "size": [1, 2, 3]})
    path = tmp_path / "page.html"
    path.write_text(f"<!DOCTYPE html><meta charset=utf-8>{show(frame, 'Files')._repr_mimebundle_()['text/html']}")
    tab = chromium.new_page(accept_downloads=True)
    tab.goto(path.as_uri())
    texts = []
    for name in ("CSV", "JSON"):
        with tab.expect_download() as download:
            tab.get_by_role("button", name=name, exact=True).click()
        texts.append(download.value.path().read_text())
    rows = list(csv.reader(io.StringIO(texts[0])))
    assert rows == [["path", "size"], ['\'=cmd|"x"', "1"], ["b,c", "2"], ["", "3"]]
    assert json.loads(texts[1])[0] == {"path": '=cmd|"x"', "size": 1}
    tab.close()


def test_severities_switch_rows_off(tab, data):
    findings, counts = table(tab, "Findings"), data["scan"]["severity"].value_counts()
    chip = findings.get_by_role("button", name=f"low {counts['low']}")
    chip.click()
    expect(chip).to_have_attribute("aria-pressed", "false")
    expect(findings.locator(".il-count")).to_contain_text(f"{len(data['scan']) - counts['low']} rows")
    link = findings.locator("tbody a").first
    assert link.get_attribute("href").startswith("https://") and "noopener" in link.get_attribute("rel")


def test_a_step_opens_by_keyboard_and_builds_follow_the_image(tab):
    builds = tab.locator("imagelab-view[kind=build]").first
    expect(builds.locator(".il-build")).to_have_count(1)
    expect(builds.locator(".il-caption")).to_contain_text(f"{FULL} took")
    step = builds.locator("summary", has_text="RUN")
    expect(builds.locator("details[open]")).to_have_count(0)
    step.focus()
    tab.keyboard.press("Enter")
    expect(builds.locator("details[open] pre")).to_contain_text("on the critical path")
    tab.get_by_label("Compare with").select_option(SLIM)
    expect(builds.locator(".il-build")).to_have_count(2)


def test_what_if_shows_the_steps_of_one_change(tab, data):
    view = tab.locator("imagelab-view[kind=build]").nth(1)
    expect(view.locator(".il-caption")).to_contain_text("edit nothing: 0 of 3 steps run again")
    expect(view.locator(".il-size", has_text="cached")).to_have_count(3)
    view.get_by_label("What changes").select_option("edit app.py")
    again = int((~data["plans"]["edit app.py"]["hit"]).sum())
    expect(view.locator(".il-caption")).to_contain_text(f"edit app.py: {again} of 3 steps run again")
    expect(view.locator(".il-cause")).to_have_count(again)


def test_the_colours_of_the_files_are_chosen(tab):
    view = tab.locator("imagelab-view[kind=chart]", has=tab.get_by_label("Colour", exact=True))
    expect(view.locator(".legendtext").first).to_contain_text("layer")
    view.get_by_label("Colour", exact=True).select_option("by waste")
    expect(view.locator(".legendtext").first).to_contain_text("in the final filesystem")
    tab.get_by_label("Image", exact=True).select_option(SLIM)
    expect(view.locator("figcaption")).to_contain_text(SLIM)


def test_the_search_finds_sections_and_functions_by_all_words(tab):
    search = tab.locator("imagelab-view[kind=search]")
    search.get_by_role("searchbox").fill("WASTE bytes")
    expect(search.get_by_role("link")).to_have_text(["il.waste"])
    expect(search.locator("li")).to_contain_text("<b>Bytes")
    search.get_by_role("searchbox").fill("hidden layers")  # in the text of a section
    expect(search.locator("li")).to_have_text(["Layers Lesson: A layer keeps <i>hidden</i> bytes.…"])
    search.get_by_role("searchbox").fill("bytes")
    expect(search.get_by_role("link")).to_have_text(["il.waste", "Layers"])  # names and descriptions come first
    search.get_by_role("searchbox").fill("waste nowhere")
    expect(search.locator("li")).to_have_text(["Nothing found"])


def test_print_shows_every_row(tab, data):
    tab.emulate_media(media="print")
    rows = data["history"]["reference"].eq(FULL).sum()
    expect(table(tab, "Steps").locator("tbody tr")).to_have_count(int(rows))
    headings = table(tab, "Steps").locator("th button")  # each word in one line
    lines = headings.evaluate_all("""all => all.flatMap(one => [...one.childNodes]).filter(one => one.data).map(part => {
        const range = document.createRange();
        range.selectNodeContents(part);
        return range.getClientRects().length;
    })""")
    assert len(lines) == 5 and set(lines) == {1}  # "step", "layer_" and "index" …
    tab.emulate_media(media="screen")
    expect(table(tab, "Steps").locator("tbody tr")).to_have_count(10)


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_nothing_is_wider_than_the_page(tab, width):
    tab.set_viewport_size({"width": width, "height": 900})
    tab.reload()
    tab.wait_for_selector("[role=treeitem]")
    tab.wait_for_timeout(500)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert max(tab.locator(".il-scroll").evaluate_all("all => all.map(one => one.scrollWidth - one.clientWidth)")) <= 1
    captions = tab.locator("figcaption").all()
    assert captions and all(
        caption.bounding_box()["x"] + caption.bounding_box()["width"] <= width
        for caption in captions
        if caption.is_visible()
    )


def test_axe_finds_nothing(tab, axe):
    tab.get_by_label("Compare with").select_option(SLIM)
    tab.wait_for_timeout(800)
    tab.evaluate(axe)
    assert serious(tab) == {}
