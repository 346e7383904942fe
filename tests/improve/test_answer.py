"""The answer without an engine: predictions, JSON, Markdown, the command line; and which source file is edited."""

from __future__ import annotations

import json
import subprocess

import pytest
from typer.testing import CliRunner

import imagelab as il
from imagelab import charts, widgets
from imagelab.cli import builds, reports  # noqa: F401  # registers the verbs
from imagelab.cli.app import app
from imagelab.core.errors import ImagelabError
from imagelab.core.frames import make_frame
from imagelab.improve.answer import IMPROVE_COLUMNS, Improvement, Measures, read_improvement
from imagelab.improve.edits import read_project
from imagelab.improve.measure import source_file

DOCKERFILE = "FROM a@sha256:0\nWORKDIR /app\nCOPY . .\nRUN pip install -r r.txt\n"


@pytest.fixture
def folder(tmp_path):
    for name, text in {
        "Dockerfile": DOCKERFILE,
        "r.txt": "flask\n",
        "app/main.py": "1\n",
        "lib/big.py": "1" * 50,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def recorded() -> Improvement:
    rows = [
        {
            "rule": "apt-cleanup",
            "path": "Dockerfile",
            "line": 2,
            "measured_bytes": 300,
            "measured_rebuild_seconds": 6.5,
            "result": "proven",
            "why": "```",
        },
        {"rule": "copy-chown", "path": "Dockerfile", "line": 5, "result": "changes the image", "why": "lost /x"},
    ]
    before, after = Measures(1000, 500, 10, 9.0, 8.0), Measures(700, 400, 0, 8.0, 1.5)
    return Improvement(make_frame(rows, IMPROVE_COLUMNS), before, after, "--- a/D\n+++ b/D\n```\n")


def test_without_an_engine_every_edit_is_predicted_and_not_built(folder):
    log = folder / "log"
    log.write_text("#1 [3/4] COPY . .\n#1 DONE 0.1s\n\n#2 [4/4] RUN pip install -r r.txt\n#2 DONE 9.5s\n")
    found = il.improve(folder, build=False, log=log)
    assert found.headline.startswith("not built, predictions only: 2 edits")
    assert set(found.edits["result"]) == {"not built"} and not found.is_possible
    assert found.edits.set_index("rule").loc["copy-before-install", "predicted_rebuild_seconds"] == 9.5
    assert found.edits.dtypes.astype(str).to_dict() == IMPROVE_COLUMNS
    assert "+COPY r.txt ./" in found.patch
    assert il.improve(folder, build=False, only=["cache-mount"]).edits["rule"].tolist() == ["cache-mount"]


def test_without_docker_the_edits_are_predicted(folder, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert "the docker command is not installed" in il.improve(folder).headline


def test_json_has_the_documented_fields_and_reads_back(tmp_path):
    document = json.loads(recorded().to_json())
    assert list(document) == ["edits", "before", "after", "patch"]
    assert list(document["before"]) == ["size", "content_size", "wasted", "cold_seconds", "rebuild_seconds"]
    assert list(document["edits"][0]) == list(IMPROVE_COLUMNS) and document["edits"][1]["measured_bytes"] is None
    path = tmp_path / "run.json"
    path.write_text(recorded().to_json())
    again = read_improvement(path)
    assert (
        again.edits.equals(recorded().edits) and again.before == recorded().before and again.patch == recorded().patch
    )
    path.write_text('{"edits": []}')
    with pytest.raises(ImagelabError, match="expected the JSON of `imagelab improve --json`"):
        read_improvement(path)


def test_markdown_is_three_lines_and_a_folded_diff():
    text = recorded().to_markdown()
    head, folded = text.split("\n\n", 1)
    assert head.splitlines() == [
        "**imagelab improve**: 1 kB → 700 B with 1 proven edit of 2; rebuild 8.0 s → 1.5 s  ",
        "Stored 1 kB → 700 B; wasted 10 B → 0 B; cold build 9.0 s → 8.0 s; rebuild after one line changes 8.0 s → 1.5 s  ",
        "Not in the patch: `copy-chown` changes the image  ",
    ]
    assert folded.startswith("<details><summary>The patch</summary>\n\n````diff\n") and "```\n````" in folded


def test_the_waterfall_ends_at_the_measured_size():
    figure = charts.improvement_waterfall(recorded())
    assert "700 B" in str(figure.layout.title.text) and len(figure.data[0].y) == 3


def test_the_command_line(folder):
    run = CliRunner().invoke(app, ["improve", str(folder), "--no-build", "-o", str(folder / "out")])
    assert run.exit_code == 0 and run.output.startswith("not built, predictions only")
    assert (folder / "out" / "improve.patch").read_text() in run.output
    assert json.loads((folder / "out" / "improve.json").read_text())["before"] is None
    asked = CliRunner().invoke(app, ["improve", str(folder), "--no-build", "--json", "--fail-if-possible"])
    assert asked.exit_code == 0 and len(json.loads(asked.output)["edits"]) == 2  # nothing is proven without an engine


def test_a_page_has_the_table_the_chart_and_diffs_to_copy(folder):
    page = folder / "page.html"
    run = CliRunner().invoke(app, ["improve", str(folder), "--no-build", "-o", str(page)])
    assert run.exit_code == 0, run.output
    text = page.read_text()
    assert 'kind="diffs"' in text and "+COPY r.txt ./" in text and "not built, predictions only" in text


def test_the_report_of_an_image_has_a_recorded_run(tmp_path):
    page, run = tmp_path / "page.html", il.data_path("improve/node.json")
    words = ["report", "example:base-busybox", "-o", str(page), "--set", f"improved={run}"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert read_improvement(run).headline in page.read_text() and 'kind="diffs"' in page.read_text()


def test_the_widget_follows_the_choice_and_its_static_sibling_shows_the_run():
    found = read_improvement(il.data_path("improve/python.json"))
    widget = widgets.Improver(recorded=found)
    chosen = len(widget.selected)
    assert chosen == int(found.edits["result"].eq("proven").sum()) == len(widget.view.data["pieces"])
    next(box for box in widget.boxes if box.value).value = False
    assert len(widget.view.data["pieces"]) == chosen - 1 and f"{chosen - 1} edits chosen" in widget.size.value
    page = widget.static_html()
    assert 'kind="diffs"' in page and found.headline.split(";")[0] in page and widget.button.disabled
    with pytest.raises(ImagelabError, match="expected a directory or a recorded run"):
        widgets.Improver()


def test_diffs_show_an_images_text_as_text():
    found = Improvement(make_frame([{"rule": "a", "diff": "+</script><b>x"}], IMPROVE_COLUMNS), None, None, "")
    assert "<b>" not in widgets.Diffs(found)._repr_html_().partition('<script type="module">')[0]


def test_an_image_at_hand_predicts_the_size(folder):
    (folder / "Dockerfile").write_text(DOCKERFILE + "RUN rm -rf /x\n")
    headline = il.improve(folder, build=False, image="example:base-busybox").headline
    assert " → about " in headline and "0 of them proven" in headline


def test_the_source_file_that_changes_most_often(folder):
    assert source_file(read_project(folder, None)) == "lib/big.py"  # the largest source directory
    for text in ("one", "two"):
        (folder / "app" / "main.py").write_text(text)
        git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b"]
        for words in (["init", "-q"], ["add", "app"], ["commit", "-qm", text]):
            subprocess.run([*git, *words], check=True)
    assert source_file(read_project(folder, None)) == "app/main.py"


def test_an_edit_that_saves_nothing_in_the_image_is_not_proposed(folder):
    found = il.improve(folder, build=False, image="example:base-busybox")
    assert found.edits["rule"].tolist() == ["copy-before-install"]
