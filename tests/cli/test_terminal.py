"""How an answer looks on a terminal: it fits, nothing is lost, and no text of an image is markup or control."""

import json
import os
import pty
import re
import subprocess

import pandas as pd
import pytest
from rich.cells import cell_len
from typer.main import get_command
from typer.testing import CliRunner

import imagelab as il
from imagelab.cli.app import PANELS, app, import_module
from imagelab.cli.output import Answer, Form, print_answer
from tests.cli.test_cli import BINARY, EXAMPLE, run
from tests.support.images import docker_save, layer_tar, write_tar

for panel in PANELS:
    import_module(f"imagelab.cli.{panel}")


def verbs(command, words=()):
    """The words of every command and group."""
    yield list(words)
    for name, child in getattr(command, "commands", {}).items():
        yield from verbs(child, (*words, name))


@pytest.mark.parametrize("width", [60, 80, 200])
def test_every_help_prints_and_fits(width):
    for words in verbs(get_command(app)):
        done = CliRunner().invoke(app, [*words, "--help"], terminal_width=width)
        assert done.exit_code == 0 and "Usage" in done.output, (words, done.exception)
        assert max(map(cell_len, done.output.splitlines())) <= width, words


def shown(answer, width, capsys, monkeypatch, rows=None, form=Form.TEXT):
    if width is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", str(width))
    print_answer(answer, form, rows)
    return capsys.readouterr().out


FRAME = pd.DataFrame(
    {
        "bytes": [2_000_000, 1_000_000],
        "path": ["/usr/share/a/long/path/to/some/file/that/ends/in/its/name.txt", "/b"],
        "empty": pd.Series([None, None], dtype="string"),
        "instruction": ["RUN |1 A=b /bin/sh -c make install # buildkit", "COPY . . # buildkit"],
        "suggestion": ["write this instead, which is a sentence of more than one line on any terminal", "that"],
        "more": ["x" * 30, "y" * 30],
    }
)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_table_fits_and_keeps_its_suggestions_whole(width, capsys, monkeypatch):
    text = shown(Answer({"waste": FRAME}, summary="a sentence " * 9, hint="imagelab"), width, capsys, monkeypatch)
    assert max(map(cell_len, text.splitlines())) <= width
    assert FRAME["suggestion"][0] in " ".join(text.split()) and "empty" not in text
    assert ("██████" in text) == (width >= 72)
    assert "y" * 11 in text  # as a column, or below its row


def test_the_instruction_has_the_space_of_sizes_that_nobody_knows(tmp_path):
    entry = {"comment": "Imported from -", "created": "2026-01-01T00:00:00Z"}
    archive = write_tar(tmp_path / "image.tar", docker_save([layer_tar([(b"a", "file", b"12345")])], history=[entry]))
    for form in ([], ["--markdown"]):
        text = run("show", archive, *form, COLUMNS="80").replace("\\", "")
        assert "Imported from -" in text and "disk_usage" not in text
    shown = run("waste", EXAMPLE, COLUMNS="80")
    assert "removed_instruction" in shown.partition("\nfiles\n")[0].splitlines()[3]  # both instructions fit


def test_what_does_not_fit_is_below_its_row_and_no_sentence_is_cut(capsys, monkeypatch):
    what = "a sentence of several words that is wider than its column"
    frame = pd.DataFrame(
        {
            "reference": ["service:before", "service:after"],
            "other": ["a" * 20, "b" * 20],
            "what": [what, what],
            "bytes": [2_000_000, 1_000_000],
            "measure": ["size", "size"],
            "suggestion": ["RUN one\nRUN two\nRUN three", "RUN one\nRUN two\nRUN three"],
            "removed_instruction": ["RUN " + "x" * 90, None],
        }
    )
    lines = shown(Answer({"sizes": frame}), 60, capsys, monkeypatch).splitlines()
    assert "    bytes: 2 MB; measure: size" in lines and "    bytes: 1 MB; measure: size" in lines
    start = lines.index("    suggestion:")
    assert lines[start + 1 : start + 4] == ["        RUN one", "        RUN two", "        RUN three"]
    assert "    suggestion: as above" in lines and sum("removed_instruction:" in line for line in lines) == 1
    column = [line[lines[1].index("what") :].strip() for line in lines[2:5]]
    assert " ".join(column) == what


def test_identical_findings_are_one_row_with_the_number_of_places(tmp_path):
    found = {"VulnerabilityID": "CVE-2024-1", "PkgName": "a", "InstalledVersion": "1", "Severity": "HIGH"}
    twice = [{"Target": place, "Class": "lang-pkgs", "Type": "pip", "Vulnerabilities": [found]} for place in "xy"]
    (tmp_path / "scan.json").write_text(json.dumps({"SchemaVersion": 2, "ArtifactName": "a", "Results": twice}))
    text = run("scan", str(tmp_path / "scan.json"))
    assert text.count("CVE-2024-1") == 1 and re.search(r"CVE-2024-1 .* 2$", text, re.M) and "places" in text


def test_harden_begins_with_the_number_of_rules():
    rules = il.check_hardening(EXAMPLE).drop_duplicates("rule")["result"].value_counts()
    first = run("harden", EXAMPLE).splitlines()[0]
    assert first == "rules: " + ", ".join(f"{count} {result}" for result, count in rules.items())


def test_piped_output_has_whole_rows_and_no_colours(capsys, monkeypatch):
    text = shown(Answer({"waste": FRAME}), None, capsys, monkeypatch)
    assert FRAME["path"][0] in text and "\x1b" not in text
    assert "RUN make install" in text and "COPY . ." in text
    assert len(text.splitlines()) == 7  # heading, names, two rows with a suggestion each, an empty line


@pytest.mark.parametrize("name", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_a_pipe_with_colours_has_whole_rows_too(name):
    shown = run("show", EXAMPLE, **{name: "1"})
    assert shown and "Not shown" not in shown and re.sub(r"\x1b\[[\d;]*m", "", shown) == run("show", EXAMPLE)


def test_full_prints_every_row_and_column(capsys, monkeypatch):
    answer = Answer({"waste": FRAME}, shown={"waste": FRAME[["path"]]})
    text = shown(answer, 60, capsys, monkeypatch, rows=1, form=Form.FULL)
    assert FRAME["path"][0] in text and "y" * 30 in text and "--full" not in text
    short = shown(answer, 60, capsys, monkeypatch, rows=1)
    assert "suggestion" not in short and "… and 1 more: --rows N, or --full" in short


def test_wide_characters_keep_their_columns(capsys, monkeypatch):
    frame = pd.DataFrame({"path": ["/文件/名字/很长的路径/文件文件文件文件文件文件", "/a"], "n": [1, 2]})
    text = shown(Answer({"files": frame}), 40, capsys, monkeypatch)
    assert len({cell_len(line) for line in text.splitlines()[1:4]}) == 1


def test_no_text_of_an_image_is_markup_or_control(capsys, monkeypatch):
    hostile = "[bold]x[/] \x1b[31m\u202e[link=x]"
    answer = Answer({hostile: pd.DataFrame({"path": [hostile], hostile: [hostile]})}, summary=hostile, hint=hostile)
    for form in (Form.TEXT, Form.FULL, Form.MARKDOWN):
        text = shown(answer, 80, capsys, monkeypatch, form=form)
        assert "\x1b" not in text and "\u202e" not in text and "x1b" in text.replace("\\\\", "\\")
    assert "[bold]x[/]" in shown(answer, 80, capsys, monkeypatch)


def test_a_diff_stands_below_the_tables_line_by_line(capsys, monkeypatch):
    diff = "--- a/Dockerfile\n+++ b/Dockerfile\n-FROM a\n+FROM b ```\x1b[31m"
    answer = Answer({"changes": pd.DataFrame({"n": [1]})}, diff=diff)
    text = shown(answer, 60, capsys, monkeypatch)
    assert "\n-FROM a\n+FROM b" in text and "\x1b" not in text
    markdown = shown(answer, 60, capsys, monkeypatch, form=Form.MARKDOWN)
    assert "````diff\n--- a/Dockerfile" in markdown and markdown.rstrip().endswith("````")


@pytest.mark.parametrize("no_color", [{}, {"NO_COLOR": "1"}])
def test_colours_are_on_a_terminal_unless_refused(no_color):
    main, side = pty.openpty()
    env = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
    env |= {"TERM": "xterm-256color"} | no_color
    command = [BINARY, "check", EXAMPLE, "--max-size", "1GB"]
    with subprocess.Popen(command, stdout=side, stdin=side, env=env) as process:
        process.wait()
    os.close(side)
    text = os.read(main, 100_000).decode()
    os.close(main)
    assert ("\x1b[32m" in text) == (not no_color) and "ok" in text


def test_an_error_shows_no_control_characters():
    assert "\x1b" not in run("show", "./evil\x1b[31m.tar", code=2)


def test_the_command_alone_shows_where_to_begin():
    text = run()
    assert len(re.findall(r"^  imagelab ", text, re.MULTILINE)) == 5 and max(map(len, text.splitlines())) <= 80
