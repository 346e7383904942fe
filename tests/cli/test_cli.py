"""The command line as people run it: what it prints, its exit codes, no traceback for a user's mistake."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import imagelab as il
from imagelab.core.frames import format_bytes
from tests.conftest import ROOT
from tests.support.images import docker_save, layer_tar, write_tar

BINARY = Path(sys.executable).with_name("imagelab")
EXAMPLE = "example:whiteout-before"


def run(*words, code=0, **env):
    inherited = {key: value for key, value in os.environ.items() if key != "COLUMNS"}  # pytest-xdist sets it
    done = subprocess.run(
        [BINARY, *words], capture_output=True, text=True, env=inherited | {"DOCKER_HOST": "unix:///none"} | env
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr or "--debug" in words
    return done.stdout if code != 2 else done.stderr


def test_show_and_waste_in_every_form():
    assert "RUN" in run("show", EXAMPLE) and "efficiency 0.1911" in run("show", EXAMPLE, "--markdown")
    shown = json.loads(run("show", EXAMPLE, "--json"))
    assert shown["efficiency"][0]["stored"] == shown["efficiency"][0]["visible"] + shown["efficiency"][0]["wasted"]
    ledger = json.loads(run("waste", EXAMPLE, "--json"))["waste"]
    assert sum(row["bytes"] for row in ledger) == shown["efficiency"][0]["wasted"]
    assert "wasted in" in run("waste", EXAMPLE) and run("waste", EXAMPLE, "--markdown").count("\n| ---") == 2


def test_compare_and_advise():
    compared = json.loads(run("compare", EXAMPLE, "example:whiteout-after", "--json"))
    assert {row["change"] for row in compared["files"]} <= {"added", "removed", "changed"} and compared["layers"]
    assert "delete them in the RUN" in run("advise", EXAMPLE)
    assert run("compare", EXAMPLE, "example:whiteout-after", "--markdown").count("\n### ") == 3


def test_advice_names_its_rules_and_counts_what_is_accepted_apart(tmp_path):
    file = tmp_path / "accepted.toml"
    file.write_text('[[accept]]\nrule = "documentation"\nreason = "wanted"\n')
    words = ("advise", "example:base-debian", "--accepted", str(file))
    found = pd.DataFrame(json.loads(run(*words, "--json"))["advice"])
    totals = found.groupby("accepted")["bytes"].sum().map(format_bytes)
    for form in ([], ["--markdown"]):
        shown = run(*words, *form).replace("\\", "")
        assert [word for word in ("rule", "instruction", "suggestion", "apt-cache") if word not in shown] == []
        assert f"findings open: {len(found) - 1} ({totals[False]}); accepted: 1 ({totals[True]})" in shown


def test_the_gate():
    assert "ok" in run("check", EXAMPLE, "--max-size", "1GB", "--max-layers", "99")
    failed = run("check", EXAMPLE, "--max-size", "1kB", "--min-efficiency", "0.01", code=1)
    assert re.search(r"^FAIL +size .*\nok +efficiency", failed, re.MULTILINE)
    grown = json.loads(run("check", EXAMPLE, "--against", EXAMPLE, "--max-growth", "0", "--json"))
    assert grown["check"][0]["measured"] == 0 and grown["check"][0]["passed"]


def test_the_gate_reads_dives_file(tmp_path):
    rules = tmp_path / ".dive-ci"
    rules.write_text(
        "rules:\n  lowestEfficiency: 0.95\n  highestWastedBytes: 20MB\n  highestUserWastedPercent: disabled\n"
    )
    shown = run("check", EXAMPLE, "--dive-ci", str(rules), code=1)
    assert "lowestEfficiency" in shown and "highestWastedBytes" in shown and "Percent" not in shown
    rules.write_text("rules:\n  lowestEficiency: 0.95\n")
    assert "unknown rule" in run("check", EXAMPLE, "--dive-ci", str(rules), code=2)


def test_the_gate_counts_findings(tmp_path):
    one = {"VulnerabilityID": "CVE-1", "PkgName": "zlib", "InstalledVersion": "1", "Severity": "HIGH"}
    fixed = one | {"VulnerabilityID": "CVE-2", "FixedVersion": "2"}
    report = {"SchemaVersion": 2, "Results": [{"Target": "x", "Vulnerabilities": [one, fixed]}]}
    path = tmp_path / "scan.json"
    path.write_text(json.dumps(report))
    assert "high or worse 2" in run("check", EXAMPLE, "--scan", str(path), "--fail-on", "high", code=1)
    fixable = run("check", EXAMPLE, "--scan", str(path), "--fail-on", "high", "--only-fixed", code=1)
    assert "an update fixes 1" in fixable
    assert "ok" in run("check", EXAMPLE, "--scan", str(path), "--fail-on", "critical")
    assert "not a severity" in run("check", EXAMPLE, "--scan", str(path), "--fail-on", "awful", code=2)


@pytest.mark.parametrize(
    "words, said",
    [
        (["show", "no-such-image"], "no container engine answers"),
        (["show", "./absent.tar"], "there is no file"),
        (["show", "example:nothing"], "there is no example"),
        (["show", __file__], "not an image archive|not a tar"),
        (["check", EXAMPLE], "at least one limit"),
        (["check", EXAMPLE, "--max-size", "12 parsecs"], "is not a size"),
        (["check", EXAMPLE, "--max-growth", "1MB"], "go together"),
        (["report", "example:nothing", "-o", "x.html"], "there is no example"),
        (
            ["report", EXAMPLE, "example:b", "-o", "x.html", "--scan", "a.json"],
            f"1 --scan for 2 images.*--scan {EXAMPLE}=",
        ),
        (["report", str(il.data_path("snapshots")), "-o", "x", "--before", "a"], "beside the snapshots"),
        (["advise", EXAMPLE, "--accepted", "absent.toml"], "absent.toml"),
        (["report", EXAMPLE, "-o", "x.html", "--set", "scans"], "'scans' is not NAME=VALUE"),
        (["snapshot", EXAMPLE, "-o", "/"], "Is a directory|resource busy"),
        (["index", EXAMPLE, "-o", __file__], "exists|Not a directory"),
        (["context", str(Path(__file__).parent), "-f", "Dokerfile"], "'Dokerfile' is neither in"),
        (["plan-build", str(Path(__file__).parent), "--build-arg", "V"], "'V' is not NAME=VALUE"),
        (["show", "a" * 5000], "no container engine answers"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_2(words, said, tmp_path):
    assert re.search(said, run(*words, code=2))


def test_a_report_takes_an_earlier_build_and_files_by_image_or_in_order(tmp_path):
    page, scan = tmp_path / "page.html", il.data_path("scans/service-slim.facts.trivy.json")
    log = il.data_path("build/logs/copy-cold.rawjson.gz")
    given = ["--before", f"{EXAMPLE}=example:base-debian", "--log", f"{EXAMPLE}={log}", "--scan", str(scan)]
    given += ["--scan", f"example:base-debian={scan}"]  # of the build before
    run("report", EXAMPLE, *given, "-o", str(page))
    html = page.read_text()
    debian = format_bytes(il.layers("example:base-debian")["size"].sum())
    assert f"<strong>was {debian}</strong>" in html and 'id="Build"' in html and "CVE-2024-6345" in html
    assert html.count("<strong>was ") == 2  # size and waste: both have the same scan, and one has no log


def test_builds(tmp_path):
    (tmp_path / "api.Dockerfile").write_text("FROM alpine\nRUN true\n")
    named = [str(tmp_path), "-f", "api.Dockerfile"]  # found within the context, by every verb
    assert "unpinned-base" in run("advise-build", *named)
    assert json.loads(run("plan-build", *named, "--json"))["plan"][0]["hit"] is True
    vertex = {"digest": "sha256:1", "name": "[2/2] RUN true", "started": "2024-05-15T08:46:10.123456789Z"}
    log = tmp_path / "log"
    log.write_text(json.dumps({"vertexes": [vertex | {"completed": "2024-05-15T08:46:10.5Z"}]}))
    steps = json.loads(run("build-log", str(log), "--json"))["steps"]
    assert (steps[0]["started"], steps[0]["completed"]) == (
        "2024-05-15T08:46:10.123456Z",
        "2024-05-15T08:46:10.500000Z",
    )


def test_python_runs_the_package_as_the_command():
    done = subprocess.run([sys.executable, "-m", "imagelab", "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("imagelab ") and done.returncode == 0


def test_debug_shows_the_traceback():
    done = subprocess.run([BINARY, "--debug", "show", "example:nothing"], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" in done.stderr and "ImageNotFound" in done.stderr


def test_snapshot_and_cache(tmp_path):
    target = tmp_path / "one.parquet"
    assert "one.parquet" in run("snapshot", EXAMPLE, "-o", str(target))
    assert json.loads(run("show", str(target), "--json"))["efficiency"] is not None
    assert "0 B" in run("cache", "info", IMAGELAB_CACHE_DIR=str(tmp_path / "cache"))
    assert "turned off" in run("cache", "info", IMAGELAB_CACHE_DIR="")
    assert "0 entries deleted" in run("cache", "clear", IMAGELAB_CACHE_DIR=str(tmp_path / "cache"))


def test_hostile_text_is_neither_markdown_nor_control(tmp_path):
    tar = layer_tar([(b"a|<img src=x>\x1b[31m`", "file", b"12345")])
    gone = layer_tar([(b".wh.a|<img src=x>\x1b[31m`", "file", b"")])
    archive = write_tar(tmp_path / "hostile.tar", docker_save([tar, gone]))
    shown = run("waste", archive, "--markdown")
    assert not re.search(r"(?<!\\)<img", shown) and "\x1b" not in shown and "\\|" in shown
    assert "\x1b" not in run("waste", archive)


def test_every_verb_is_in_the_readme():
    listed = re.findall(r"^  ([a-z][a-z-]*)  ", run("--help"), re.MULTILINE)
    readme = (ROOT / "README.md").read_text()
    assert listed and not [verb for verb in listed if f"imagelab {verb}" not in readme]


def test_a_scan_that_cannot_answer_is_exit_code_2(field_security, tmp_path):
    (tmp_path / "null.json").write_text("null")
    for path in (
        field_security / "sarif-failed-run.sarif",
        field_security / "gitlab-scan-failure.json",
        tmp_path / "null.json",
    ):
        assert "not complete" in run("check", EXAMPLE, "--scan", path, "--fail-on", "critical", code=2)
    sbom = il.data_path("scans/service-distroless.syft.cdx.json.gz")
    assert "SBOM" in run("check", EXAMPLE, "--scan", sbom, "--fail-on", "low", code=2)
    scan = il.data_path("scans/service-slim.facts.trivy.json")
    assert "an SBOM and a scan" in run("compare-scans", sbom, scan, code=2)


def test_remediation_comes_first():
    scan, image = il.data_path("scans/service-slim.facts.trivy.json"), "example:service-slim"
    shown = run("scan", scan, "--image", image, COLUMNS="80")
    found = il.read_scan(scan)
    fixed = found["fixed_version"].notna().sum()
    assert shown.startswith(f"{len(found)} findings; {fixed} have a fix\n\nchanges\n")
    counts = shown.index("\ncounts\n")
    assert shown.index("rebuild on a newer base image") < counts and shown.index("high ", counts) < shown.index(
        "low ", counts
    )
    assert "next: imagelab remediate" in shown
    assert "RUN apt-get update" in run("scan", scan, "--image", image)  # the command that introduced a finding
    changes = json.loads(run("remediate", image, scan, "--json"))["changes"]
    assert sum(row["findings"] for row in changes) == len(il.read_scan(scan)) and changes[-1]["change"] == "no fix yet"


@pytest.mark.parametrize("form", [[], ["--json"], ["--markdown"]])
@pytest.mark.parametrize("verb", [["plan-build"], ["advise-build"], ["context"], ["context", "--full"], ["improve"]])
def test_a_build_context_reaches_the_terminal_as_text_only(tmp_path, verb, form):
    hostile = "\x1bX\x9b\u202eEVIL\u2066\x07"
    lines = [f'LABEL a="{hostile}\x85::error::x"', f"COPY . /app/{hostile}/", f"RUN pip install flask # {hostile}"]
    lines += [f"RUN apt-get update && apt-get install -y gcc && echo '{hostile}\x85::warning::x'"]
    (tmp_path / "Dockerfile").write_text("\n".join(["FROM python:3.13-slim", *lines, ""]), "utf-8", newline="")
    for name in ("::error::name", f"f{hostile}", "a\nb"):
        (tmp_path / name).write_text("x" * 100_000)
    printed = run(*verb, str(tmp_path), *form)
    assert not [letter for letter in printed if letter != "\n" and not letter.isprintable()]
    assert not [line for line in printed.split("\n") if line.lstrip().startswith("::")]
