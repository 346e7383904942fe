"""Small real projects with real package managers: what is proven, and that the patch applies and saves what it says."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from imagelab.improve.answer import Improvement
from imagelab.improve.improve import improve
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


def test_node_with_workspaces(bases, monkeypatch, tmp_path):
    found, folder = improved(bases, monkeypatch, tmp_path, "node-workspaces", check="node packages/a/index.js")
    assert results(found)["copy-before-install"] == "proven"
    assert "COPY packages/a/package.json packages/a/" in (folder / "Dockerfile").read_text()
