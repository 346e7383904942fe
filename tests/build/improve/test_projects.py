"""Small real projects with real package managers: what is proven, and that the patch applies and saves what it says."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from imagelab.build.improve.answer import Improvement
from imagelab.build.improve.improve import improve
from tests.conftest import ROOT, SHARED, Engine, missing

pytestmark = pytest.mark.engine
PROJECTS = ROOT / "tests" / "data" / "improve"
BASES = PROJECTS / "bases"
NAMES = ("localhost/improve-uv:test", "localhost/improve-node:test")


@pytest.fixture(scope="module")
def bases(debian: Engine, tmp_path_factory) -> Engine:
    """The engine with Python, uv and Node; npm comes from the registry, as Debian's has 400 packages."""
    if not shutil.which("npm"):
        missing("npm is not on this machine: the Node base cannot be made")
    subprocess.run([SHARED / "engine" / "base", "python"], env=debian.env, check=True, capture_output=True)
    folder = tmp_path_factory.mktemp("bases")
    shutil.copytree(BASES, folder, dirs_exist_ok=True)
    subprocess.run(["npm", "pack", "--silent", "npm@9"], cwd=folder, check=True, capture_output=True)
    next(folder.glob("npm-*.tgz")).rename(folder / "npm.tgz")
    for name, file in zip(NAMES, ("uv.Dockerfile", "node.Dockerfile"), strict=True):
        debian.docker("build", "-q", "--network=host", "-t", name, "-f", str(folder / file), str(folder))
    return debian


def improved(engine: Engine, monkeypatch, tmp_path: Path, name: str, **more) -> tuple[Improvement, Path]:
    for variable in ("DOCKER_HOST", "DOCKER_CONFIG", "PATH"):
        monkeypatch.setenv(variable, engine.env[variable])
    folder = tmp_path / name
    shutil.copytree(PROJECTS / name, folder)
    (folder / ".git").mkdir()
    (folder / ".git" / "pack").write_bytes(bytes(500_000))
    found = improve(folder, network="host", **more)
    assert (folder / "Dockerfile").read_bytes() == (PROJECTS / name / "Dockerfile").read_bytes()
    subprocess.run(["patch", "-p1", "-s"], input=found.patch.encode(), cwd=folder, check=True)
    return found, folder


def results(found: Improvement) -> dict[str, str]:
    return dict(zip(found.edits["rule"], found.edits["result"], strict=True))


def test_python_with_pip(bases, monkeypatch, tmp_path):
    found, folder = improved(
        bases, monkeypatch, tmp_path, "python-pip", check="python3 -c 'import itsdangerous, app.main'"
    )
    assert results(found)["wide-copy"] == results(found)["copy-before-install"] == "proven"
    assert results(found)["copy-chown"] == "proven"
    lines = (folder / "Dockerfile").read_text().splitlines()
    assert lines.index("# the service's own packages") < lines.index("COPY --chown=1000:1000 . .")
    assert found.after.rebuild_seconds < found.before.rebuild_seconds
    assert found.after.size < found.before.size


def test_uv_with_a_build_backend(bases, monkeypatch, tmp_path):
    found, folder = improved(bases, monkeypatch, tmp_path, "python-uv", check=".venv/bin/service")
    assert results(found)["copy-before-install"] == "proven"
    assert "--no-install-project" in (folder / "Dockerfile").read_text()


def test_node_with_workspaces(bases, monkeypatch, tmp_path):
    found, folder = improved(bases, monkeypatch, tmp_path, "node-workspaces", check="node packages/a/index.js")
    assert results(found)["copy-before-install"] == "proven"
    assert "COPY packages/a/package.json packages/a/" in (folder / "Dockerfile").read_text()


def test_c_with_make(debian, monkeypatch, tmp_path):
    found, folder = improved(debian, monkeypatch, tmp_path, "c-make")
    assert results(found)["build-stage"] == results(found)["apt-cleanup"] == "proven"
    text = (folder / "Dockerfile").read_text()
    assert "COPY --from=build /usr/local/bin/hello /usr/local/bin/hello" in text
    again = improve(folder, network="host", only=["apt-cleanup"])
    assert again.before.size == pytest.approx(found.after.size, rel=0.01)
