"""`pip install .` alone: a built wheel, in an environment of its own, far from the checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile

import pytest

from tests.conftest import ROOT, missing


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT]
    done = subprocess.run(build, capture_output=True, text=True)
    if done.returncode:
        missing(f"the wheel could not be built (its build backend comes from the package index): {done.stderr[-300:]}")
    (wheel,) = folder.glob("imagelab-*.whl")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], check=True)
    # its dependencies are this environment's: .pth files of a folder that a .pth names are not read, so that the
    # checkout stays out of reach
    site = next((folder / "venv" / "lib").glob("python*")) / "site-packages"
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return wheel, python


def run(python, *words, cwd):
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd), "IMAGELAB_CACHE_DIR": ""}
    env["JUPYTER_PATH"] = f"{sys.prefix}/share/jupyter"  # the dependencies' files that are no modules
    return subprocess.run([python.parent / words[0], *words[1:]], capture_output=True, text=True, cwd=cwd, env=env)


def test_the_command_works_with_data_and_notebooks(installed, tmp_path):
    _, python = installed
    code = "import imagelab, imagelab.core.resources as r; print(imagelab.__file__, len(r.notebook_paths()))"
    where, notebooks = run(python, "python", "-c", code, cwd=tmp_path).stdout.split()
    assert str(python.parents[1]) in where and int(notebooks) > 12
    shown = run(python, "imagelab", "show", "example:whiteout-before", "--json", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["efficiency"][0]["wasted"] == 8 * 1024 * 1024
    report = run(python, "imagelab", "report", "example:whiteout-before", "-o", "report.html", cwd=tmp_path)
    assert report.returncode == 0, report.stderr
    assert (tmp_path / "report.html").stat().st_size > 1_000_000


def test_the_wheel_holds_what_people_use_and_no_more(installed):
    wheel, _ = installed
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.split("/")[0] for name in names}
    assert folders == {"imagelab", next(folder for folder in folders if folder.endswith(".dist-info"))}
    assert {"imagelab/report/template/index.html.j2", "imagelab/data/registry.txt"} <= set(names)
    assert sum(info.compress_size for info in zipfile.ZipFile(wheel).infolist()) < 20_000_000
