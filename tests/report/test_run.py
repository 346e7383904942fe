"""Reports: one file, whole or none, that asks nothing of a network; driven in Chromium with the network off."""

import os
import re
import subprocess
import sys

import nbformat
import pytest
from nbformat import v4

import imagelab as il
from imagelab.core.errors import ImagelabError
from imagelab.core.frames import format_bytes
from imagelab.report import run as reports

REFERENCES = ["example:chmod-in-layer-before", "example:chmod-in-layer-after"]
HOSTILE = "<script>window.planted = 1</script><img src=x onerror='window.planted = 1'>{{ 7 * 7 }}\x1b\u202e"


def notebook(folder, *cells, name="trial"):
    """A notebook of cells: text that starts with ``#`` and a blank is Markdown, the first code is parameters."""
    book = v4.new_notebook()
    book.cells = [
        (v4.new_markdown_cell if cell.startswith(("# ", "## ")) else v4.new_code_cell)(cell) for cell in cells
    ]
    for cell in book.cells:
        if cell.cell_type == "code" and "parameters" not in str([other.metadata for other in book.cells]):
            cell.metadata["tags"] = ["parameters"]
    path = folder / f"{name}.ipynb"
    nbformat.write(book, path)
    return path


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report with charts, tables, a frame as it is, widgets, warnings and hostile text."""
    folder = tmp_path_factory.mktemp("report")
    path = notebook(
        folder,
        "# A trial\n\nIn this notebook, we will try.",
        f"references = []\nhostile = {HOSTILE!r}",
        "import pandas as pd\nimport imagelab as il\nfrom imagelab import charts, widgets\n"
        "from imagelab.widgets.tables import show",
        "images = [il.load_image(reference) for reference in references]\nlayers = il.layers(images)",
        "## Layers",
        "charts.layer_bars(layers)",
        "show(il.files(images[0]).assign(link_target=hostile), hostile)",
        "charts.layer_bars(layers.assign(reference=hostile))",
        "## Widgets",
        "import warnings; warnings.warn('not for readers'); print('for readers')",
        "layers[['reference', 'size', 'created_by']].assign(created_by=hostile)",
        "widgets.LayerExplorer(images)",
        "widgets.ImagePicker(images, choices=[])",
    )
    return reports.render(path, {"references": REFERENCES}, folder / "page.html", progress=False)


def test_the_page_is_one_file_with_title_date_version_and_digests(page):
    html = page.read_text()
    assert "<title>A trial</title>" in html and html.count("<h1>A trial</h1>") == 1
    assert f"imagelab {il.__version__}" in html and re.search(r"\d+ \w+ 20\d\d, \d\d:\d\d UTC", html)
    for reference in REFERENCES:
        image = il.load_image(reference)
        assert (image.image_id or image.manifest_digest or image.index_digest) in html
    assert (
        html.count("plotly.js v") == 1 and html.count('kind="table"') >= 3 and html.count('<script type="module">') == 1
    )
    assert "for readers" in html and "not for readers" not in html and "import warnings" not in html
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=[\"']?https?:", html)
    assert [entry.name for entry in page.parent.iterdir() if entry.name.startswith(".")] == []


def test_the_page_is_light_beside_the_libraries(page):
    from plotly.offline import get_plotlyjs

    own = page.stat().st_size - len(get_plotlyjs().encode())
    assert own < 1_500_000, f"{own:,} bytes"


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1920, "dark")])
def test_the_page_opens_offline_and_everything_is_there(page, chromium, width, scheme):
    from playwright.sync_api import expect

    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    tab = context.new_page()
    said, asked = [], []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page.as_uri())
    tab.wait_for_function("document.querySelectorAll('imagelab-view table tbody tr td').length > 20")
    tab.wait_for_timeout(500)
    assert said == [] and [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []
    charts = tab.locator(".js-plotly-plot")
    expect(charts).to_have_count(3)  # two of their own, one in the picker; the explorer has a tree
    for place in range(charts.count()):
        assert charts.nth(place).locator("svg .trace, svg .slice, svg .point").count() > 0
    assert tab.evaluate("window.planted") is None
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), "something is cut off"
    # A table sorts by bytes, searches and pages.
    table = tab.locator("imagelab-view[kind=table]").first
    for _ in range(2):
        table.get_by_role("button", name="size", exact=True).click()
    rows = il.files(REFERENCES[0]).head(1000)
    shown = [name for name in rows if rows[name].notna().any()]  # empty columns are left out
    biggest = table.locator("tbody tr").first.locator("td").nth(shown.index("size"))
    expect(biggest).to_have_text(format_bytes(rows["size"].max()))
    table.locator("input[type=search]").fill("busybox")
    expect(table.locator("tbody tr")).to_have_count(min(10, int(rows["path"].str.contains("busybox").sum())))
    # A chart still hovers.
    charts.first.scroll_into_view_if_needed()
    charts.first.locator("path").nth(1).hover(force=True)
    context.close()


def test_a_failing_cell_fails_with_its_error_and_leaves_what_was_there(tmp_path):
    path = notebook(tmp_path, "# T", "references = []", "import imagelab as il\nil.load_image('./no-such.tar')")
    output = tmp_path / "out.html"
    output.write_text("older")
    with pytest.raises(ImagelabError, match=r"(?s)trial.ipynb.*ImageNotFound.*no-such.tar.*load_image"):
        reports.render(path, {}, output, progress=False)
    assert output.read_text() == "older" and sorted(entry.name for entry in tmp_path.iterdir()) == [
        "out.html",
        "trial.ipynb",
    ]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda folder: reports.render("no-such-notebook", {}, folder / "x.html"), "image_report"),
        (lambda folder: reports.report([], folder / "x.html"), "at least one image"),
        (
            lambda folder: reports.render(notebook(folder, "# T", "references = []"), {"other": 1}, folder / "x.html"),
            "no parameter 'other'; it has references",
        ),
        (lambda folder: reports.render(_broken(folder), {}, folder / "x.html"), "not a notebook"),
    ],
)
def test_bad_input_is_named(call, words, tmp_path):
    with pytest.raises(ImagelabError, match=words):
        call(tmp_path)
    assert not (tmp_path / "x.html").exists()


def _broken(folder):
    path = folder / "broken.ipynb"
    path.write_text("{]")
    return path


@pytest.mark.parametrize("how", ["Bad()", "display(Bad())", "pd.DataFrame({'a': [Bad()]})"])
def test_an_error_of_a_representation_ends_the_page_too(tmp_path, how):
    bad = "import pandas as pd\nclass Bad:\n    def _repr_html_(self): raise ValueError('no picture')\n    __str__ = _repr_html_"
    path = notebook(tmp_path, "# T", "references = []", bad, how, "1 + 1")
    with pytest.raises(ImagelabError, match=r"(?s)trial.ipynb: a cell failed with ValueError: no picture.*Bad\(\)"):
        reports.render(path, {}, tmp_path / "x.html", progress=False)
    assert not (tmp_path / "x.html").exists()


def test_code_is_shown_only_when_asked(tmp_path):
    path = notebook(tmp_path, "# T", "references = []", "print(40 + 2)  # a remark")
    html = reports.render(path, {}, tmp_path / "x.html", show_code=True, progress=False).read_text()
    assert "a remark" in html and "42" in html


def test_an_empty_home_and_no_kernelspec_are_enough(tmp_path):
    path = notebook(tmp_path, "# T", "references = []", "import sys; print(sys.executable)")
    home = tmp_path / "home"
    home.mkdir()
    command = f"from imagelab.report.run import render; render({str(path)!r}, {{}}, {str(tmp_path / 'x.html')!r})"
    env = {key: value for key, value in os.environ.items() if not key.startswith(("JUPYTER", "IPYTHON", "XDG"))}
    done = subprocess.run(
        [sys.executable, "-c", command], env=env | {"HOME": str(home)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert sys.executable in (tmp_path / "x.html").read_text()
    assert "WARNING" not in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("code", "reason"), [("import os; os._exit(3)", "exit code 3"), ("import os; os.kill(os.getpid(), 9)", "signal 9")]
)
def test_a_page_that_crashes_does_not_stop_the_others(tmp_path, code, reason):
    paths = [
        notebook(tmp_path, "# T", "references = []", cell, name=name)
        for name, cell in (("bad", code), ("good", "6 * 7"))
    ]
    jobs = [reports.make_job(path, {}, tmp_path / f"{path.stem}.html", options={}) for path in paths]
    with pytest.raises(ImagelabError, match=f"bad.ipynb: its process ended with {reason}"):
        reports.run_jobs(jobs, "pages", "page", progress=False)
    assert "42" in (tmp_path / "good.html").read_text() and not (tmp_path / "bad.html").exists()


def test_an_endless_cell_ends_its_page_with_an_error():
    cells = [{"cell_type": "code", "source": "while True: pass"}]
    command = (
        "from imagelab.report import execute; execute.CELL_SECONDS = 1\n"
        f"execute.execute({cells!r}, 'endless.ipynb', '.', print)"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, timeout=120)
    assert "endless.ipynb: a cell failed with TimeoutError" in done.stderr and "while True: pass" in done.stderr


def test_a_report_loads_no_validator_of_notebooks(tmp_path):
    """nbformat takes a second to import, and the process that waits for the page needs no pandas."""
    path = notebook(
        tmp_path, "# T", "references = []", "import sys\nprint(sorted({'nbformat', 'jsonschema'} & set(sys.modules)))"
    )
    page = tmp_path / "x.html"
    command = f"import sys; from imagelab.report.run import render; render({str(path)!r}, {{}}, {str(page)!r}, progress=False)\n"
    command += "print(sorted({'nbformat', 'pandas', 'plotly'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert done.stdout == "[]\n" and "<pre>[]</pre>" in page.read_text()


def test_sections_that_show_nothing_are_left_out(tmp_path):
    path = notebook(tmp_path, "# T", "references = []", "## Empty\n\nNothing here.", "None", "## Full", "1 + 1")
    html = reports.render(path, {}, tmp_path / "x.html", progress=False).read_text()
    assert "Nothing here" not in html and 'id="Full"' in html


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("docker-archive:/home/me/v1.tar:app:v1", "v1.tar:app:v1"),
        ("/home/me/v1.tar", "v1.tar"),
        ("../x/y.parquet", "y.parquet"),
        ("example:service-full", "service-full"),
        ("localhost:5000/team/app:v1", "localhost:5000/team/app:v1"),
        ("docker://host/team/app:v1", "docker://host/team/app:v1"),
    ],
)
def test_titles_name_no_folders_of_this_machine(reference, name):
    assert reports.short_name(reference) == name
