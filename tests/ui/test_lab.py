"""Notebooks and widgets used in a real JupyterLab: what the page shows is what Python computes."""

import pytest
from playwright.sync_api import expect

import imagelab as il
from imagelab.core.frames import format_bytes
from imagelab.core.resources import notebook_paths
from imagelab.fleet.index import index_images
from imagelab.fleet.questions import QUESTIONS
from tests.ui.conftest import serious

pytestmark = pytest.mark.browser
BEFORE, AFTER = "example:chmod-in-layer-before", "example:chmod-in-layer-after"
IMPORTS = "import imagelab as il\nfrom imagelab import charts, widgets\nfrom imagelab.widgets.tables import show"


@pytest.mark.parametrize("path", notebook_paths(), ids=lambda path: path.stem)
def test_every_notebook_runs_from_the_top_and_is_seen_whole(path, open_notebook):
    tab = open_notebook(path)
    tab.run_all()
    assert tab.errors() == []
    for width in (1920, 1280):
        tab.page.set_viewport_size({"width": width, "height": 1400})
        tab.settle()
        assert tab.cut_off() == [], width
    tab.shoot(f"lab-{path.stem}")


def test_the_picker_is_used(open_notebook):
    cells = [IMPORTS, f"picker = widgets.ImagePicker([{BEFORE!r}], choices=[{BEFORE!r}, {AFTER!r}])\npicker"]
    tab = open_notebook(cells, "picker.ipynb")
    tab.run_all()
    page = tab.page
    assert tab.errors() == []
    total = format_bytes(il.layers(BEFORE)["size"].sum())
    page.wait_for_selector(f".gtitle:has-text('{total}')")
    page.get_by_label("Images", exact=True).select_option(index=[0, 1])
    layers = il.layers([BEFORE, AFTER])
    page.wait_for_selector(f"text={len(layers)} layers of 2 images")
    page.wait_for_selector(f".gtitle:has-text('{format_bytes(layers.groupby('reference')['size'].sum().min())}')")
    page.get_by_label("Another", exact=True).fill("./nowhere.tar")
    page.get_by_title("Add this image").click()
    page.wait_for_selector("[role=alert]:has-text('nowhere.tar')")
    assert tab.errors() == [] and tab.cut_off() == []
    tab.shoot("lab-picker")


def test_the_explorer_is_used(open_notebook):
    tab = open_notebook([IMPORTS, f"dive = widgets.LayerExplorer([{BEFORE!r}, {AFTER!r}])\ndive"], "explorer.ipynb")
    tab.run_all()
    page, files = tab.page, il.files(BEFORE)
    assert tab.errors() == []

    def caption(rows, layer):
        return f"text=Layer {layer}: {len(rows):,} entries, {format_bytes(rows['size'].sum())}"

    page.wait_for_selector(caption(files[files["layer_index"].eq(0)], 0))
    page.get_by_label("Layer", exact=True).focus()
    page.keyboard.press("ArrowRight")
    layer = files[files["layer_index"].eq(1)]
    page.wait_for_selector(caption(layer, 1))
    page.wait_for_selector("code:has-text('COPY app /app')")
    page.get_by_label("Path", exact=True).fill("static/12")
    found = layer[layer["path"].str.contains("static/12", regex=False)]
    page.wait_for_selector(caption(found, 1))
    page.get_by_label("Change", exact=True).select_option("removed")
    page.wait_for_selector(caption(found[found["change"].eq("removed")], 1))
    page.get_by_label("Change", exact=True).select_option("all changes")
    page.get_by_label("Path", exact=True).fill("")
    page.get_by_label("Image", exact=True).select_option(index=1)
    other = il.files(AFTER)
    last = min(1, other["layer_index"].max())
    page.wait_for_selector(caption(other[other["layer_index"].eq(last)], last))
    page.get_by_label("Image", exact=True).select_option(index=0)
    page.get_by_label("Layer", exact=True).focus()
    page.keyboard.press("Home")
    page.wait_for_selector(caption(files[files["layer_index"].eq(0)], 0))
    wide = "all => all.map(body => body.scrollWidth - body.clientWidth)"
    assert max(page.locator(".il-scroll").evaluate_all(wide)) <= 2  # no table scrolls sideways
    page.get_by_label("Kind", exact=True).select_option("directory")  # which would hide the file that is chosen next
    wasted = il.waste(BEFORE).sort_values("bytes", ascending=False, ignore_index=True).iloc[0]
    page.locator("td", has_text=wasted["path"]).last.click()
    page.wait_for_selector(f"text=Layer {wasted['layer_index']} of")
    expect(page.get_by_label("Path", exact=True)).to_have_value(wasted["path"])
    page.locator("td", has_text=wasted["path"]).nth(1).wait_for()  # in both tables
    assert tab.errors() == [] and tab.cut_off() == []
    tab.shoot("lab-explorer")


def tab_to(page, name):
    """Press Tab until the control of that label has the focus, as someone without a mouse does."""
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("[...document.activeElement.labels ?? []].map(one => one.textContent.trim())") == [name]:
            return
    raise AssertionError(f"Tab does not reach {name}")


def named(page, axe, *controls):
    """Controls have the roles and names that a screen reader says, and axe finds nothing serious in the widget."""
    for role, name in controls:
        assert page.locator(".imagelab").get_by_role(role, name=name, exact=True).count(), (role, name)
    page.evaluate(axe)
    assert serious(page, ".imagelab") == {}


def test_the_explorer_is_used_by_keyboard_and_named_for_a_screen_reader(open_notebook, axe):
    tab = open_notebook([IMPORTS, f"widgets.LayerExplorer([{BEFORE!r}])"], "keyboard.ipynb")
    tab.run_all()
    page, files = tab.page, il.files(BEFORE)
    page.keyboard.press("Escape")  # out of the cell, where Tab indents
    tab_to(page, "Layer")
    for key, index in (("ArrowRight", 1), ("End", 2), ("ArrowLeft", 1)):
        page.keyboard.press(key)
        layer = files[files["layer_index"].eq(index)]
        page.wait_for_selector(f"text=Layer {index}: {len(layer):,} entries")
    tab_to(page, "Path")
    page.keyboard.type("static/12")
    found = layer["path"].str.contains("static/12", regex=False).sum()
    page.wait_for_selector(f"text=Layer 1: {found:,} entries")
    tab_to(page, "Change")
    page.keyboard.press("r")  # a letter chooses in a list
    page.wait_for_selector("text=Layer 1: 0 entries")
    named(
        page,
        axe,
        ("slider", "Layer"),
        ("combobox", "Image"),
        ("textbox", "Path"),
        ("searchbox", "Search this table"),
        ("tree", f"Files of {BEFORE.removeprefix('example:')}"),
    )
    assert tab.errors() == []


def test_the_scan_explorer_is_used_by_keyboard_and_named_for_a_screen_reader(open_notebook, axe):
    scan = il.data_path("scans/service-slim.facts.trivy.json")
    tab = open_notebook([IMPORTS, f"widgets.ScanExplorer({str(scan)!r}, 'example:service-slim')"], "keys.ipynb")
    tab.run_all()
    page, findings = tab.page, il.read_scan(scan)
    fixed = findings["fixed_version"].notna()
    page.keyboard.press("Escape")
    tab_to(page, "Only with a fix")
    page.keyboard.press("Space")
    page.wait_for_selector(f"text=/^{fixed.sum()} findings, worst first/")
    tab_to(page, "Package")
    page.keyboard.type("werk")
    page.keyboard.press("Enter")
    left = fixed & findings["package"].str.contains("werk", case=False)
    page.wait_for_selector(f"text=/^{left.sum()} findings, worst first/")
    named(page, axe, ("checkbox", "Only with a fix"), ("combobox", "At least"), ("textbox", "Package"))
    assert tab.errors() == []


def test_the_cache_widget_is_used(open_notebook, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM busybox\nARG MODE=fast\nCOPY need.txt /\nRUN work\nCOPY . /app\n")
    for name in ("need.txt", "main.py"):
        (tmp_path / name).write_text(name)
    tab = open_notebook([IMPORTS, f"build = widgets.BuildCache({str(tmp_path)!r})\nbuild"], "cache.ipynb")
    tab.run_all()
    page = tab.page
    assert tab.errors() == []

    def words(plan, changed):
        return f"text={changed} changed: {(~plan['hit']).sum()} of {len(plan)} steps run again"

    page.wait_for_selector(words(il.plan_build(tmp_path), "nothing"))
    for name in ("main.py", "need.txt"):
        page.get_by_label("Paths", exact=True).select_option(name)
        plan = il.plan_build(tmp_path, changes=[name])
        page.wait_for_selector(words(plan, name))
        reasons = plan.loc[~plan["hit"], "reason"]
        assert len(reasons)
        for reason in reasons:
            page.locator("td", has_text=reason).first.wait_for()
    assert page.locator(".il-build .il-step:not(.il-axis)").count() == len(plan)
    assert page.locator(".il-build .il-cause").count() == len(reasons)
    assert tab.errors() == [] and tab.cut_off() == []
    tab.shoot("lab-cache")


def test_the_scan_explorer_is_used(open_notebook):
    scan = il.data_path("scans/service-slim.facts.trivy.json")
    tab = open_notebook(
        [IMPORTS, f"found = widgets.ScanExplorer({str(scan)!r}, 'example:service-slim')\nfound"], "scan.ipynb"
    )
    tab.run_all()
    page, found = tab.page, il.read_scan(scan)
    found = found[found["finding"].ne("package")]
    assert tab.errors() == []

    def caption(rows):
        return f"text=/^{len(rows)} findings, worst first/"

    page.wait_for_selector(caption(found))
    for severity in ("high", "medium"):
        page.get_by_label("At least", exact=True).select_option(severity)
        left = found[found["severity"].ge(severity).fillna(False)]
        assert 0 < len(left) < len(found)
        page.wait_for_selector(caption(left))
    page.get_by_label("Package", exact=True).fill("setup")
    page.keyboard.press("Enter")
    left = left[left["package"].str.contains("setup")]
    page.wait_for_selector(caption(left))
    shown = set(page.locator(".il-scroll tbody tr td:nth-child(2)").all_inner_texts())
    assert shown == set(left["id"])
    page.wait_for_selector(".js-plotly-plot .main-svg")  # the chart was drawn again
    assert tab.errors() == [] and tab.cut_off() == []
    tab.shoot("lab-scan")
    page.set_viewport_size({"width": 1280, "height": 1700})  # a window that grows leaves the chart where it was
    tab.settle()
    assert page.evaluate("document.querySelector('.js-plotly-plot').clientHeight") > 150


def test_the_fleet_explorer_is_used(open_notebook, tmp_path):
    names, fleet = ("example:base-busybox", "example:copy-link-before", BEFORE), tmp_path / "fleet"
    index_images(names, fleet)
    tab = open_notebook([IMPORTS, f"fleet = widgets.FleetExplorer({str(fleet)!r})\nfleet"], "fleet.ipynb")
    tab.run_all()
    page = tab.page

    def words(question, pattern=None):
        return f"text={QUESTIONS[question].text}: {len(il.query_fleet(fleet, question, pattern)):,} rows"

    page.wait_for_selector(words("similarity"))
    expect(page.get_by_label("Name", exact=True)).to_be_disabled()
    for question in ("sharing", "layers", "bases"):
        page.get_by_label("Question", exact=True).select_option(index=list(QUESTIONS).index(question))
        page.wait_for_selector(words(question))
    page.get_by_label("Question", exact=True).select_option(index=list(QUESTIONS).index("where"))
    page.get_by_label("Name", exact=True).fill("busybox")
    page.keyboard.press("Enter")
    page.wait_for_selector(words("where", "busybox"))
    for path in fleet.rglob("*.parquet"):
        path.write_bytes(b"damaged")
    page.get_by_label("Question", exact=True).select_option(index=list(QUESTIONS).index("waste"))
    page.locator("[role=alert]").first.wait_for()  # in the widget, not as a traceback
    assert tab.errors() == [] and tab.cut_off() == []
    tab.shoot("lab-fleet")


VIEWS = """() => [...document.querySelectorAll('.jp-OutputArea-output imagelab-view')].map(view => {
    const rows = [...view.querySelectorAll('tbody tr, [role=treeitem]')].filter(row => row.getBoundingClientRect().height > 5);
    return [rows.length, Boolean(view.querySelector('.il-scroll, .il-tree'))];
})"""


def test_tables_and_trees_stay_in_any_order_of_running_saving_and_reloading(open_notebook):
    cells = [IMPORTS, f"show(il.files({BEFORE!r}), 'one')", f"show(il.layers({BEFORE!r}), 'two')"]
    cells += [f"from imagelab.widgets.tree import FileTree\nFileTree(il.files({BEFORE!r}))"]
    tab = open_notebook(cells, "tables.ipynb")
    first = (
        il.files(BEFORE).query("change != 'removed' and kind != 'directory'")["path"].str.split("/").str[1].nunique()
    )
    page, live = tab.page, [[10, True], [3, True], [first + 1, True]]

    def menu(name, entry):
        page.get_by_role("menuitem", name=name, exact=True).click()
        page.get_by_text(entry, exact=True).first.click()

    def reload():
        menu("File", "Save Notebook")
        page.wait_for_timeout(1500)
        page.reload()
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=120_000)
        tab.settle()

    tab.run_all()
    assert page.evaluate(VIEWS) == live
    style = """() => [['td.il-short', 'textAlign'], ['td.il-right', 'textAlign'], ['table', 'tableLayout']]
        .map(([part, name]) => getComputedStyle(document.querySelector(`imagelab-view .il-scroll ${part}`))[name])"""
    assert page.evaluate(style) == ["left", "right", "auto"]  # JupyterLab's own style of tables is another
    tab.run_all()
    assert page.evaluate(VIEWS) == live, "run twice"
    reload()
    assert page.evaluate(VIEWS) == live, "saved and reloaded"
    page.locator(".jp-CodeCell").nth(1).click()
    menu("Edit", "Clear Cell Output")
    reload()
    assert page.evaluate(VIEWS) == live[1:], "the first table cleared, saved and reloaded"
    menu("Kernel", "Restart Kernel…")
    page.locator(".jp-Dialog .jp-mod-accept").click()
    tab.settle()
    assert page.evaluate(VIEWS) == live[1:], "kernel restarted"
    tab.run_all()
    assert page.evaluate(VIEWS) == live, "run again"
    reload()
    other = tab.context.new_page()
    other.goto(page.url)
    other.wait_for_selector(".jp-OutputArea-output .il-scroll", timeout=120_000)
    other.wait_for_timeout(2000)
    assert other.evaluate(VIEWS) == live, "a second tab"
    # JupyterLab's own message about a kernel that restarts
    assert [text for text in tab.errors() if "debugger state" not in text] == []


def test_a_saved_table_reads_in_viewers_with_and_without_script(tmp_path, chromium):
    from imagelab.widgets.tables import show

    html = show(il.files(BEFORE), "files")._repr_mimebundle_()["text/html"]
    (tmp_path / "page.html").write_text(f"<!DOCTYPE html><meta charset=utf-8>{html}{html}")
    for script, rows in ((True, 20), (False, 200)):
        context = chromium.new_context(java_script_enabled=script, offline=True)
        page = context.new_page()
        page.goto((tmp_path / "page.html").as_uri())
        expect(page.locator("tbody tr")).to_have_count(rows)
        context.close()


def test_a_dark_lab_reads_too(open_notebook):
    cells = [IMPORTS, f"images = [il.load_image(name) for name in ({BEFORE!r}, {AFTER!r})]"]
    cells += ["charts.layer_bars(il.layers(images))", "charts.growth(il.history(images))"]
    cells += ["show(il.layers(images))", "widgets.LayerExplorer(images)"]
    tab = open_notebook(cells, "dark.ipynb")
    tab.page.get_by_role("menuitem", name="Settings", exact=True).click()
    tab.page.get_by_text("Theme", exact=True).first.hover()
    tab.page.get_by_text("JupyterLab Dark", exact=True).first.click()
    tab.run_all()
    assert tab.errors() == [] and tab.cut_off() == []
    tab.shoot("lab-dark")
