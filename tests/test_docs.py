"""The documentation: its commands and code run, its site builds, every public name and verb is in it."""

import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import imagelab as il
from imagelab.images.tables.history import HISTORY_COLUMNS
from imagelab.security.scans.findings import FINDINGS_COLUMNS
from imagelab.size.waste import WASTE_COLUMNS
from tests.cli.test_terminal import app, get_command, verbs
from tests.conftest import ROOT, missing

HOW_TO = sorted((ROOT / "docs/howto").glob("*.md"))
SCRIPTS = Path(sys.executable).parent


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("path", HOW_TO, ids=lambda path: path.stem)
def test_the_code_examples_of_a_page_run(path, tmp_path):
    (tmp_path / "data").symlink_to(ROOT / "data")
    env = os.environ | {"PATH": f"{SCRIPTS}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    for script in blocks(path, "sh"):
        done = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    for code in blocks(path, "python"):
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=True)


def test_every_public_name_has_a_docstring():
    names = {name: getattr(il, name) for name in il.__all__}
    assert not [name for name, found in names.items() if callable(found) and not inspect.getdoc(found)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A copy of docs/, since the site's reference is written beside its pages."""
    folder = tmp_path_factory.mktemp("docs")
    for part in ("docs", "imagelab", "notebooks", "data"):
        shutil.copytree(ROOT / part, folder / "src" / part, ignore=shutil.ignore_patterns("reference", "__pycache__"))
    for path in ROOT.glob("*.*"):
        if path.is_file():
            shutil.copy(path, folder / "src")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", folder / "src/docs", folder / "site"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    if "No module named sphinx" in done.stderr:
        missing("sphinx is not installed: pip install 'imagelab[docs]'")
    assert done.returncode == 0, done.stderr
    return folder / "site"


def test_the_site_has_every_name_and_verb(site):
    functions = (site / "reference/api.html").read_text()
    assert not [name for name in il.__all__ if f"imagelab.{name}" not in functions and f".{name}" not in functions]
    command_line = (site / "reference/cli.html").read_text()
    assert not [words for words in verbs(get_command(app)) if " ".join(words) not in command_line]


def test_the_site_explains_every_column(site):
    page = (site / "reference/columns.html").read_text()  # a column without a meaning fails the build of the site
    rows = re.findall(
        r"<tr[^>]*><td><p><code.*?>(\w+)</span></code></p></td>\s*<td><p>(.*?)</p></td>\s*<td><p>(.*?)</p>", page
    )
    for columns in (WASTE_COLUMNS, HISTORY_COLUMNS, FINDINGS_COLUMNS):
        assert set(columns) <= {name for name, _, _ in rows}
    assert len(rows) > 400 and all(len(meaning) > 2 for _, _, meaning in rows)
    assert len({meaning for name, _, meaning in rows if name == "step"}) == 2  # of a history, and of a Dockerfile


def test_the_site_loads_nothing_and_its_links_resolve(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 12
    assert "imagelab notebooks -o reports/docs/lessons" in (ROOT / "Makefile").read_text()
    (site / "lessons").mkdir()
    (site / "lessons/index.html").touch()  # `make docs` writes it; tests/report make the pages
    for page in pages:
        text = page.read_text()
        assert not re.findall(r'<(?:script|img|link)[^>]+(?:src|href)="(?:https?:)?//', text), page.name
        for link in re.findall(r'<a [^>]*href="([^"#:]+)[^":]*"', text):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_page_on_the_own_image_has_the_sizes_of_its_snapshot():
    page = (ROOT / "docs/howto/image.md").read_text()
    sizes = il.layers("example:imagelab")["size"]
    assert (il.history("example:imagelab")["instruction"] == "COPY").sum() == 1
    whole, base, own = re.findall(r"\b(\d+) MB\b", page)
    assert [int(whole), int(base), int(own)] == [round(size / 1e6) for size in (sizes.sum(), sizes[:2].sum(), sizes[2])]


def test_every_make_target_is_explained():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.search(r"\.PHONY: (.*)", makefile)[1].split()
    assert not [name for name in targets if not re.search(rf"^{name}:.*## ", makefile, re.MULTILINE)]


def test_citation_and_issue_templates_are_valid():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(path.read_text())
        assert form["name"] and form["description"] and all("type" in part for part in form["body"])
