"""Pages in Chromium that an image tries to take over, that must read for everyone, and that stay light."""

import base64
import json
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pyarrow as pa
import pytest

import imagelab as il
from imagelab.core.model import HistoryEntry, Image, Layer
from imagelab.images.layers.tar import LayerListing
from imagelab.images.layers.tar_columns import KINDS, SCHEMA
from imagelab.images.sources.snapshot import write_snapshot
from imagelab.report import run as reports
from imagelab.report.site import report_site
from tests.support.images import docker_save, write_tar
from tests.support.tars import make_tar
from tests.ui.conftest import serious

pytestmark = pytest.mark.browser
ARTIFACTS = Path(__file__).resolve().parents[1] / "artifacts"
PLANT = "window.planted=1"
# Markup, attributes, scripts, templates, Markdown, TeX, control and bidirectional characters, without a slash.
NASTY = (
    f'"\'><img src=x onerror="{PLANT}"><svg onload={PLANT}>{{{{7*7}}}}{{% raw %}}${{{PLANT}}} $\\alpha$ `x` '
    f"[a](javascript:{PLANT}) \x1b[2J\x07\u202e\u2066end"
)
CLOSING = f"</script></style></textarea><script>{PLANT}</script>"
LONG = NASTY + CLOSING + "W" * 100_000


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Pages of reports and widgets on an image, a build and scans that hold all of it."""
    folder = tmp_path_factory.mktemp("hostile")
    tars = [
        make_tar(
            [(f"srv/{NASTY}", b"x" * 500_000), (f"srv/{CLOSING}", b"y" * 90_000), ("srv/" + "d" * 3000, b"z" * 9000)]
        ),
        make_tar([(f"srv/.wh.{NASTY}", b""), ("srv/link", "->" + NASTY), (f"srv/{'n' * 200}{NASTY}", b"y" * 70_000)]),
    ]
    steps = [
        {"created": NASTY, "created_by": f"RUN {text}", "comment": text, "author": text} for text in (LONG, CLOSING)
    ]
    config = {"Env": [f"A={LONG}", f"{NASTY}=b"], "Labels": {NASTY: CLOSING, "long": LONG}, "Cmd": [NASTY, CLOSING],
              "Entrypoint": [LONG], "WorkingDir": NASTY, "User": NASTY, "ExposedPorts": {NASTY: {}}}  # fmt: skip
    archive = write_tar(folder / "image.tar", docker_save(tars, history=steps, config=config, os=NASTY))
    scan = {"SchemaVersion": 2, "ArtifactName": LONG, "Results": [{"Target": NASTY, "Type": "debian", "Class": "os-pkgs",
            "Vulnerabilities": [{"VulnerabilityID": NASTY + str(number), "PkgName": CLOSING, "InstalledVersion": LONG,
            "FixedVersion": NASTY, "Severity": "HIGH", "Title": LONG, "PrimaryURL": f"javascript:{PLANT}"}
            for number in range(12)]}]}  # fmt: skip
    (folder / "scan.json").write_text(json.dumps(scan))
    context = folder / "context"
    context.mkdir()
    markup = f"<img src=x onerror={PLANT}>"
    (context / "Dockerfile").write_text(f"FROM scratch\nARG A='{markup}'\nCOPY . /\nRUN echo '{markup}{CLOSING}'\n")
    printed = json.dumps({"logs": [{"vertex": "a", "data": base64.b64encode(f"{CLOSING}\n{NASTY}".encode()).decode()}]})
    vertex = {
        "digest": "a",
        "name": f"[2/2] RUN {LONG}",
        "error": CLOSING,
        "started": "2026-01-01T00:00:00Z",
        "completed": "2026-01-01T00:00:02Z",
    }
    (folder / "build.rawjson").write_text(json.dumps({"vertexes": [vertex]}) + "\n" + printed)
    (folder / "refused").mkdir()
    (folder / "refused" / "Dockerfile").write_text(f"FROM scratch\nARG A={NASTY!r}\nCOPY . /\n")
    (context / NASTY).write_text("x")
    (folder / "snapshots").mkdir()
    il.save_snapshot(archive, folder / "snapshots" / "hostile.parquet")
    cells = [
        "import imagelab as il\nfrom imagelab import charts, widgets\nfrom imagelab import index_images",
        f"image = il.load_image({archive!r})\nwidgets.ImagePicker([image], choices=[{NASTY!r}, {LONG!r}])",
        "widgets.LayerExplorer([image])",
        f"widgets.ScanExplorer([{str(folder / 'scan.json')!r}, {str(folder / 'scan.json')!r}], image)",
        f"widgets.BuildCache({str(context)!r})",
        f"widgets.BuildCache({str(folder / 'refused')!r})",
        f"index_images([{archive!r}], {str(folder / 'fleet')!r})\nwidgets.FleetExplorer({str(folder / 'fleet')!r})",
        "charts.size_tree(il.history(image))",
        f"widgets.BuildSteps({{{NASTY!r}: il.read_build_log({str(folder / 'build.rawjson')!r})}})",
        "print(image)",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(book, folder / "widgets.ipynb")
    pages = [
        reports.report([archive], folder / "report.html"),
        reports.render(folder / "widgets.ipynb", {}, folder / "widgets.html", title=LONG[:500], progress=False),
        reports.render(
            "security_report", {"scans": [str(folder / "scan.json")], "image": archive}, folder / "scan.html"
        ),
        report_site(folder / "snapshots", folder / "site"),
    ]
    return {page.stem: page for page in pages}


def opened(chromium, page, **more):
    """A tab on a page without a network, and what it said."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, offline=True, **more)
    tab, said = context.new_page(), []
    tab.on("console", lambda message: message.type in ("error", "warning") and said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    tab.goto(page.as_uri())
    tab.wait_for_function(
        "[...document.querySelectorAll('.js-plotly-plot')].every(one => one.querySelector('.main-svg'))"
    )
    tab.wait_for_timeout(1500)
    return tab, said


@pytest.mark.parametrize("name", ["report", "widgets", "scan", "index"])
def test_nothing_in_an_image_acts_or_breaks_a_page(hostile, name, chromium):
    tab, said = opened(chromium, hostile[name])
    for heading in tab.locator("imagelab-view thead th button").all()[:30]:
        heading.dispatch_event("click")
    for chart in tab.locator(".js-plotly-plot").all():
        for mark in chart.locator(".point, .slice").all()[:5]:
            mark.dispatch_event("mouseover")
            mark.hover(force=True) if mark.is_visible() else None
    for step in tab.locator("imagelab-view[kind=build] summary").all():
        step.dispatch_event("click")
    for choice in tab.locator("imagelab-view select").all():
        choice.select_option(index=choice.locator("option").count() - 1)
    for box in tab.locator("input[type=search]").all():
        box.fill("<img src=x onerror=window.planted=1>")
    tab.wait_for_timeout(500)
    assert tab.evaluate("window.planted") is None
    assert said == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= 1280, "something is wider than the page"
    assert tab.locator("main img, main svg[onload], main iframe, main a[href^='javascript:']").count() == 0
    assert not set("\x1b\x07\u202e\u2066") & set(tab.content()), "a character that reorders or controls"
    tab.context.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A real site: two services and their trend, a report that compares them."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("service-full", "service-slim"):
        shutil.copy(il.data_path("snapshots") / f"{name}.parquet", folder)
    shutil.copy(il.data_path("scans/service-slim.facts.trivy.json"), folder / "service-slim.trivy.json")
    report_site(folder, folder / "site")
    reports.report(["example:service-full", "example:service-slim"], folder / "site" / "both.html")
    return folder / "site"


@pytest.mark.parametrize(
    "name", ["index.html", "both.html", "trends/1-recipe-base-choice.html", "images/service-slim.html"]
)
def test_axe_finds_nothing_serious(site, name, axe, chromium):
    tab, said = opened(chromium, site / name)
    tab.evaluate(axe)
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        tab.wait_for_timeout(300)
        assert serious(tab) == {}, scheme
    assert said == []
    tab.context.close()


def test_nothing_is_cut_off(site, chromium):
    tab, said = opened(chromium, site / "both.html")
    ARTIFACTS.mkdir(exist_ok=True)
    for width, scheme, media in (
        *((1280, "light", "screen"), (1920, "dark", "screen"), (700, "light", "screen")),
        *((1280, "dark", "print"), (1000, "light", "print")),
    ):
        tab.set_viewport_size({"width": width, "height": 900})
        tab.emulate_media(media=media, color_scheme=scheme)
        tab.wait_for_timeout(800)
        tab.screenshot(path=ARTIFACTS / f"report-{width}-{scheme}-{media}.png", full_page=True)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        wider = tab.evaluate("""() => [...document.querySelectorAll('.js-plotly-plot .main-svg, .imagelab-cards')]
            .filter(one => one.getBoundingClientRect().right > innerWidth + 1).length""")
        assert wider == 0, (width, scheme, media)
        if media == "print":  # paper does not scroll: every column is on it, under its heading
            cut = tab.evaluate("""() => [...document.querySelectorAll('.il-scroll table')].filter(one =>
                one.getBoundingClientRect().right > innerWidth + 1 || !one.querySelector('th').offsetHeight
                || [...one.querySelectorAll('td')].some(cell => cell.scrollWidth > cell.clientWidth + 1)).length""")
            assert cut == 0, (width, scheme)
    assert said == []
    tab.context.close()


DRAWN = """new MutationObserver(() => {
    if (!window.drawn && document.querySelector('.js-plotly-plot .main-svg path'))
        window.drawn = [document.readyState, document.querySelectorAll('imagelab-view .il-scroll').length];
}).observe(document, {childList: true, subtree: true})"""


def drawn_first(chromium, page):
    """Whether a page's first chart is there before any table is made."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    tab = context.new_page()
    tab.add_init_script(DRAWN)
    tab.goto(page.as_uri())
    tab.wait_for_function("window.drawn")
    drawn = tab.evaluate("drawn")
    context.close()
    return drawn[1] == 0


def test_the_first_chart_waits_for_nothing_else(site, chromium):
    """benchmarks/page_speed.py has the seconds."""
    pages = [page for page in site.rglob("*.html") if page.name != "index.html"]
    assert len(pages) == 4 and all(drawn_first(chromium, page) for page in pages)


def own_bytes(page):
    """What a page weighs beyond plotly's own code, which it has or shares."""
    from plotly.offline import get_plotlyjs

    html = page.read_text()
    return len(html.encode()) - (len(get_plotlyjs().encode()) if "plotly.js v" in html else 0)


def test_pages_of_embedded_images_are_light(site):
    weights = {page.name: own_bytes(page) for page in site.rglob("*.html") if page.name != "index.html"}
    assert len(weights) == 4 and max(weights.values()) < 1_500_000, weights


def test_a_million_files_are_light_too(tmp_path, chromium):
    count = 1_000_000
    place = np.arange(count)
    paths = pa.array([f"/srv/d{number % 97}/s{number % 1009}/file-{number}.txt".encode() for number in place])
    columns = {
        "path": paths, "kind": np.full(count, KINDS.index("file")), "size": place % 5000, "mode": np.full(count, 0o644),
        "uid": place * 0, "gid": place * 0,
    }  # fmt: skip
    arrays = [
        pa.array(columns[field.name]).cast(field.type) if field.name in columns else pa.nulls(count, field.type)
        for field in SCHEMA
    ]
    layers = [LayerListing(pa.table(arrays, schema=SCHEMA))]
    layers.append(LayerListing(layers[0].table.slice(0, 10_000)))  # and these are written twice
    image = Image("big", "oci", tuple(Layer(f"sha256:{number:064x}") for number in range(2)),
                  tuple(HistoryEntry(None, f"COPY {number} /", empty_layer=False) for number in range(2)))  # fmt: skip
    path = write_snapshot(image, dict(enumerate(layers)), tmp_path / "big.parquet")
    page = reports.report([f"snapshot:{path}"], tmp_path / "big.html")
    assert own_bytes(page) < 3_000_000
    assert drawn_first(chromium, page)
    tab, said = opened(chromium, page)
    assert said == [] and tab.locator(".js-plotly-plot .main-svg").count() > 0
    tab.context.close()
