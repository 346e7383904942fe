"""A folder of snapshots as a small site: a page each, a page over time, an index."""

import dataclasses
import json
import re
import shutil

import nbformat
import pytest
from nbformat import v4

import imagelab as il
from imagelab.core.errors import ImagelabError
from imagelab.images.sources.snapshot import write_snapshot
from imagelab.report.site import (
    LOGS,
    SCANS,
    _table,
    beside,
    builds_of_one_image,
    recorded_name,
    render_all,
    report_site,
)
from imagelab.report.thumbnail import thumbnail


@pytest.fixture
def folder(tmp_path):
    """Two builds of one image, and a scanner's report beside the second."""
    folder = tmp_path / "snapshots"
    folder.mkdir()
    for name in ("chmod-in-layer-before", "chmod-in-layer-after"):
        shutil.copy(il.data_path("snapshots") / f"{name}.parquet", folder)
    shutil.copy(il.data_path("scans/service-slim.facts.trivy.json"), folder / "chmod-in-layer-after.trivy.json")
    shutil.copy(il.data_path("build/logs/copy-cold.rawjson.gz"), folder / "chmod-in-layer-after.rawjson.gz")
    return folder


def test_a_folder_becomes_a_site(folder, tmp_path):
    index = report_site(folder, tmp_path / "site")
    pages = sorted(str(path.relative_to(tmp_path / "site")) for path in (tmp_path / "site").rglob("*.html"))
    assert pages == [
        "images/chmod-in-layer-after.html",
        "images/chmod-in-layer-before.html",
        "index.html",
        "trends/1-recipe-chmod-in-layer.html",
    ]
    html = index.read_text()
    assert all(f'"{page}"' in html for page in pages if page != "index.html")
    data = json.loads(re.search(r'kind="table"[^>]*><script type="application/json">(.*?)</script>', html)[1])
    names, rows = [column["name"] for column in data["columns"]], data["rows"]
    sizes = [il.layers(f"snapshot:{folder / row[names.index('snapshot')]}.parquet")["size"].sum() for row in rows]
    assert [row[names.index("size")] for row in rows] == sizes
    assert [row[names.index("change")] for row in rows] == [None, sizes[1] - sizes[0]]  # in the order of the builds
    assert {row[names.index("limits")] for row in rows} == {None}  # the folder sets none: the column is left out
    assert "recipe/chmod-in-layer over time" in html and (tmp_path / "site/assets").is_dir()
    with_both, without = ((tmp_path / "site" / page).read_text() for page in pages[:2])
    assert "CVE-2024-6345" in with_both and 'id="Findings"' in with_both and 'id="Build"' in with_both
    assert 'id="Findings"' not in without and 'id="Build"' not in without  # nothing to show, no section
    assert "<strong>was " in without and "<strong>was " not in with_both  # against the build before
    trend = (tmp_path / "site" / pages[3]).read_text()
    assert 'href="../index.html"' in trend and "in 2 builds" in trend and "CVE-2024-6345" in trend


def test_the_index_marks_exceeded_limits(folder):
    images = {path: il.load_image(f"snapshot:{path}") for path in sorted(folder.glob("*.parquet"))}
    (folder / ".dive-ci").write_text("rules:\n  lowestEfficiency: 0.9\n")
    html = _table(images, builds_of_one_image(images), folder / ".dive-ci")
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', html)[1])
    place = [column["name"] for column in data["columns"]].index("limits")
    after, before = (row[place] for row in data["rows"])
    assert after == "" and before and list(data["columns"][place]["marks"]) == [before]


def test_builds_of_one_image_are_found_and_ordered(tmp_path):
    image = il.load_image("example:published-python-3.10-2026")

    def recorded(name, when):
        entry = dataclasses.replace(image.history[-1], created=when)
        return dataclasses.replace(image, history=(*image.history[:-1], entry), provenance={"recorded_as": name,
                                   "recorded_from": "docker-daemon"}, config={})  # fmt: skip

    given = {
        "c": recorded("localhost:5000/app:v3", "2026-03-01T00:00:00Z"),
        "a": recorded("localhost:5000/app:v1", "2026-04-01T00:00:00Z"),
        "b": recorded("localhost:5000/app", "2026-02-01T00:00:00Z"),
        "x": recorded("other:latest", "2026-01-02T00:00:00Z"),
        "y": recorded("other:latest", "2026-01-01T00:00:00Z"),
        "z": recorded("other:dev", "2026-01-01T00:00:00Z"),
        "alone": recorded("alone:v1", "2026-01-01T00:00:00Z"),
    }
    paths = {tmp_path / name: one for name, one in given.items()}
    found = {name: [path.name for path in members] for name, members in builds_of_one_image(paths).items()}
    assert found == {"localhost:5000/app": ["b", "c", "a"], "other:latest": ["y", "x"]}


def test_names_and_neighbours(folder):
    assert recorded_name(il.load_image("example:chmod-in-layer-after")) == "recipe/chmod-in-layer:after"
    assert beside(folder / "chmod-in-layer-before.parquet", SCANS) is None
    assert beside(folder / "chmod-in-layer-after.parquet", SCANS).name == "chmod-in-layer-after.trivy.json"
    assert beside(folder / "chmod-in-layer-after.parquet", LOGS).name == "chmod-in-layer-after.rawjson.gz"


def test_bad_folders_are_named(folder, tmp_path):
    with pytest.raises(ImagelabError, match=r"has no \*\.parquet.*imagelab snapshot"):
        report_site(tmp_path, tmp_path / "site")
    (tmp_path / "file").write_text("")
    with pytest.raises(ImagelabError, match="is a file"):
        report_site(folder, tmp_path / "file")
    (folder / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(ImagelabError, match=r"broken\.parquet"):
        report_site(folder, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_a_snapshot_without_files_has_a_report_too(tmp_path):
    image = il.load_image("example:published-python-3.10-2026")
    write_snapshot(image, {}, tmp_path / "index.parquet")  # its page must not become the index
    html = report_site(tmp_path, tmp_path / "site").read_text()
    assert '"images/index.html"]' in html and (tmp_path / "site/images/index.html").is_file()


def test_render_all_makes_an_index(tmp_path):
    paths = [tmp_path / name for name in ("01_one.ipynb", "02_two.ipynb")]
    for path in paths:
        text = f"# Lesson {path.stem}\n\nIn this notebook, we will *learn* [more](x.html)."
        cells = [
            v4.new_markdown_cell(text),
            v4.new_markdown_cell("## <b>Where</b>\n\nEvery *example* is `<small>`."),
            v4.new_code_cell("import imagelab as il\nil.examples()"),
        ]
        nbformat.write(v4.new_notebook(cells=cells), path)
    index = render_all(paths, tmp_path / "reports").read_text()
    assert sorted(entry.name for entry in (tmp_path / "reports").iterdir()) == [
        "01_one.html",
        "02_two.html",
        "assets",
        "index.html",
    ]
    entries = json.loads(re.search(r'kind="search"><script type="application/json">(.*?)</script>', index)[1])[
        "entries"
    ]
    assert ["Where", "02_two.html#Where", "Lesson 02_two", "Every example is <small>."] in entries
    assert "we will *learn*" in next(entry for entry in entries if entry[1] == "02_two.html")[3]
    (function,) = [entry for entry in entries if entry[0] == "il.examples"]
    assert function[1] == "01_one.html" and il.examples.__doc__.strip().split("\n")[0] in function[2]
    assert index.count("<svg") == 2
    assert '<a href="01_one.html">Lesson 01_one</a>' in index and "we will learn more" in index
    lesson = (tmp_path / "reports/01_one.html").read_text()
    assert len(lesson) < 100_000 and "examples" in lesson  # a lesson shows its code; plotly's stands in assets/


BARS = """<imagelab-view kind="chart"><script type="application/json">{"layout": {}, "data": [{"type": "bar", "orientation": "h",
 "x": [1, 3], "y": ["a", "b"], "marker": {"color": ["#123456", "url(evil)"]}}]}</script></imagelab-view>"""


def test_a_thumbnail_has_the_rectangles_of_the_first_chart():
    picture = thumbnail(BARS)
    assert re.findall(r'width="([\d.]+)"', picture) == ["240.0", "80.0"]
    assert "#123456" in picture and "evil" not in picture
    assert thumbnail("<p>no chart</p>").count("<rect") == 15


def test_a_thumbnail_of_a_trend_has_a_bar_for_each_build():
    trace = {"type": "scatter", "mode": "lines+markers", "y": [1, float("nan"), 4], "line": {"color": "#123456"}}
    page = BARS.partition("{")[0] + json.dumps({"data": [trace]}) + "</script></imagelab-view>"
    assert re.findall(r'width="([\d.]+)"', thumbnail(page)) == ["240.0", "60.0", "1.0"]  # the largest first
