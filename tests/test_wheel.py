"""The built wheel in environments of its own: with everything, and with only what `pip install imagelab` needs."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT, missing
from tools.installs import distributions, size

EXAMPLE = "example:whiteout-before"
SNIPPET = """
import imagelab as il
image = il.load_image("docker-archive:app.tar")
reveal_type(image)
reveal_type(il.efficiency)
il.load_image(7)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT]
    done = subprocess.run(build, capture_output=True, text=True)
    if done.returncode:
        missing(f"the wheel could not be built (its build backend comes from the package index): {done.stderr[-300:]}")
    (path,) = folder.glob("imagelab-*.whl")
    return path


def environment(folder, wheel):
    """A virtual environment with the wheel alone: its Python, and the folder of its packages."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel], check=True)
    return python, next((folder / "lib").glob("python*")) / "site-packages"


@pytest.fixture(scope="module")
def installed(tmp_path_factory, wheel):
    python, packages = environment(tmp_path_factory.mktemp("all") / "venv", wheel)
    # its dependencies are this environment's: .pth files of a folder that a .pth names are not read, so that the
    # checkout stays out of reach
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return python


@pytest.fixture(scope="module")
def small(tmp_path_factory, wheel):
    """As after `pip install imagelab`: links to the distributions that it needs, and to no others."""
    python, packages = environment(tmp_path_factory.mktemp("small") / "venv", wheel)
    for part in distributions().values():
        for top in {file.parts[0] for file in part.files or () if file.parts[0] != ".."}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(part.locate_file(top))))
    return python


def run(python, *words, cwd):
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd), "IMAGELAB_CACHE_DIR": ""}
    env["JUPYTER_PATH"] = f"{sys.prefix}/share/jupyter"  # the dependencies' files that are no modules
    return subprocess.run([python.parent / words[0], *words[1:]], capture_output=True, text=True, cwd=cwd, env=env)


def test_the_command_works_with_data_and_notebooks(installed, tmp_path):
    code = "import imagelab, imagelab.core.resources as r; print(imagelab.__file__, len(r.notebook_paths()))"
    where, notebooks = run(installed, "python", "-c", code, cwd=tmp_path).stdout.split()
    assert str(installed.parents[1]) in where and int(notebooks) > 12
    shown = run(installed, "imagelab", "show", EXAMPLE, "--json", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["efficiency"][0]["wasted"] == 8 * 1024 * 1024
    report = run(installed, "imagelab", "report", EXAMPLE, "-o", "report.html", cwd=tmp_path)
    assert report.returncode == 0, report.stderr
    assert (tmp_path / "report.html").stat().st_size > 1_000_000


def test_the_wheel_contains_what_people_use_and_no_more(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.split("/")[0] for name in names}
    assert folders == {"imagelab", next(folder for folder in folders if folder.endswith(".dist-info"))}
    assert {
        "imagelab/py.typed",
        "imagelab/__init__.pyi",
        "imagelab/report/template/index.html.j2",
        "imagelab/data/registry.txt",
    } <= set(names)
    assert sum(info.compress_size for info in zipfile.ZipFile(wheel).infolist()) < 20_000_000


def test_type_checkers_read_the_installed_package(installed, tmp_path):
    (tmp_path / "snippet.py").write_text(SNIPPET)
    command = [sys.executable, "-m", "mypy", "--strict", "--ignore-missing-imports", "--python-executable", installed]
    env = {key: value for key, value in os.environ.items() if key not in ("MYPYPATH", "PYTHONPATH")}
    done = subprocess.run([*command, "snippet.py"], capture_output=True, text=True, cwd=tmp_path, env=env)
    assert 'Revealed type is "imagelab.core.model.Image"' in done.stdout, done.stdout + done.stderr
    assert "def (images:" in done.stdout
    assert re.search(r':6: error: Argument 1 to "load_image" has incompatible type "int"', done.stdout)


@pytest.mark.parametrize(
    "words",
    [
        ["show", EXAMPLE],
        ["waste", EXAMPLE],
        ["advise", EXAMPLE],
        ["compare", EXAMPLE, "example:whiteout-after"],
        ["check", EXAMPLE, "--max-size", "1GB"],
        ["scan", str(ROOT / "data/scans/busybox-1.32.1.grype.json"), "--image", EXAMPLE],
        ["harden", EXAMPLE],
        ["snapshot", EXAMPLE, "-o", "one.parquet"],
        ["advise-build", str(ROOT / "data/recipes/whiteout/before")],
        ["lab", "list"],
    ],
    ids=lambda words: words[0],
)
def test_the_small_install_runs_the_command_line(small, words, tmp_path):
    done = run(small, "imagelab", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_missing_extras_are_named(small, tmp_path):
    report = run(small, "imagelab", "report", EXAMPLE, "-o", "x.html", cwd=tmp_path)
    assert report.returncode == 2 and "pip install 'imagelab[notebook]'" in report.stderr
    assert run(small, "imagelab", "index", EXAMPLE, "-o", "fleet", cwd=tmp_path).returncode == 0
    fleet = run(small, "imagelab", "fleet", "fleet", "storage", cwd=tmp_path)
    assert fleet.returncode == 2 and "pip install 'imagelab[fleet]'" in fleet.stderr
    for names in ("charts", "widgets", "show"):
        chart = run(small, "python", "-c", f"from imagelab import {names}", cwd=tmp_path)
        assert "MissingExtra: " in chart.stderr and "imagelab[notebook]" in chart.stderr


def test_the_small_install_is_small_and_the_readme_gives_its_size():
    parts = distributions()
    found = re.search(
        r"^\| `pip install imagelab` \| (\d+) \| (\d+) MB \|$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert found, "README has no row for the small install: python tools/installs.py prints it"
    assert int(found[1]) == len(parts) < 40
    assert int(found[2]) * 1e6 == pytest.approx(size(parts), rel=0.1) and size(parts) < 400e6
