"""Small real projects with real package managers: the patch is proven, applies, builds, and saves what it says."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from imagelab.improve.answer import Improvement
from imagelab.improve.improve import improve
from tests.conftest import ROOT, SHARED, Engine, missing

pytestmark = pytest.mark.engine
PROJECTS = ROOT / "tests" / "data" / "improve"
BASES = PROJECTS / "bases"


@dataclass(frozen=True)
class Project:
    """A folder of tests/data/improve: what must be proven, which alternative is worse, and how its program is checked."""

    base: str
    proven: set[str]
    check: str
    lock: str = ""
    worse: str = ""
    on_classic: bool = False


PROJECTS_BY_NAME = {
    "python-pip": Project(
        "python",
        {"wide-copy", "copy-before-install", "cache-mount", "copy-chown"},
        "python3 -c 'import click, service'",
        on_classic=True,
    ),
    "python-uv": Project("uv", {"wide-copy", "copy-before-install", "cache-mount"}, "service", "uv lock"),
    "python-poetry": Project("poetry", {"wide-copy", "copy-before-install"}, "python3 -m service", "poetry lock"),
    "python-extension": Project(
        "python",
        {"apt-update-alone", "build-stage"},
        "python3 -c 'import fast; assert fast.add(1, 2) == 3'",
        worse="purge-compilers",
        on_classic=True,
    ),
    # The whole site-packages are copied; the engine stores only what differs.
    "python-venv": Project(
        "python",
        {"build-stage"},
        "/venv/bin/python -c 'import fast; assert fast.add(1, 2) == 3'",
        worse="purge-compilers",
    ),
    "node-npm": Project(
        "node",
        {"wide-copy", "copy-before-install", "cache-mount"},
        'node -e \'require("ms"); require("is-odd")\'',
        on_classic=True,
    ),
    "node-pnpm": Project("node", {"wide-copy", "copy-before-install", "cache-mount"}, "node -e 'require(\"ms\")'"),
    "node-workspaces": Project("node", {"wide-copy", "copy-before-install"}, "node packages/a/index.js"),
    "node-next": Project(
        "node", {"wide-copy", "copy-before-install"}, "test -f public/robots.txt && node -e 'require(\"ms\")'"
    ),
    "c-make": Project(
        "debian", {"wide-copy", "apt-cleanup", "build-stage"}, "pack", worse="purge-compilers", on_classic=True
    ),
    "go": Project("go", {"wide-copy", "cache-mount"}, "service"),
    "rust": Project("rust", {"wide-copy", "copy-before-install"}, "service", "cargo generate-lockfile"),
    "multi-stage": Project("debian", {"apt-cleanup", "copy-chown"}, "/opt/hello/bin/hello", on_classic=True),
    "good": Project("python", set(), "python3 -m service", on_classic=True),
}


def base(engine: Engine, name: str) -> None:
    """Make a base image of the engine with a toolchain; npm comes from its registry, as Debian's has 400 packages."""
    shared = name if name in ("python", "debian") else "python"
    subprocess.run([SHARED / "engine" / "base", shared], env=engine.env, check=True, capture_output=True)
    if shared == name or engine.docker("images", "-q", f"localhost/improve-{name}:test").strip():
        return
    if name == "node":
        if not shutil.which("npm"):
            missing("npm is not on this machine: the Node base cannot be made")
        subprocess.run(["npm", "pack", "--silent", "npm@9"], cwd=BASES, check=True, capture_output=True)
        next(BASES.glob("npm-*.tgz")).replace(BASES / "npm.tgz")
    file = str(BASES / f"{name}.Dockerfile")
    engine.docker("build", "-q", "--network=host", "-t", f"localhost/improve-{name}:test", "-f", file, str(BASES))
    (BASES / "npm.tgz").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """A package index on this machine with the wheels of the Python projects, for Poetry; its port."""
    folder = tmp_path_factory.mktemp("wheels")
    place = folder / "simple" / "itsdangerous"
    download = ["pip", "download", "-q", "--no-deps", "-d", str(place), "itsdangerous==2.2.0"]
    subprocess.run([shutil.which("python3") or "python3", "-m", *download], check=True, capture_output=True)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


def prepared(engine: Engine, name: str, folder: Path, port: int = 0) -> Path:
    """A copy of the project with its lock file, and a history that nobody needs in the image."""
    project = PROJECTS_BY_NAME[name]
    base(engine, project.base)
    shutil.copytree(PROJECTS / name, folder)
    for path in folder.glob("pyproject.toml"):
        path.write_text(path.read_text().replace("PORT", str(port)))
    if project.lock:
        mount, image = f"{folder}:/project", f"localhost/improve-{project.base}:test"
        engine.docker("run", "--rm", "--network=host", "-v", mount, "-w", "/project", image, *project.lock.split())
    (folder / ".git").mkdir()
    (folder / ".git" / "pack").write_bytes(bytes(500_000))
    return folder


def improved(engine: Engine, monkeypatch: pytest.MonkeyPatch, folder: Path, check: str) -> Improvement:
    for variable in ("DOCKER_HOST", "DOCKER_CONFIG", "PATH"):
        monkeypatch.setenv(variable, engine.env[variable])
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = improve(folder, network="host", check=check)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    return found


EVERY = [("modern", name) for name in PROJECTS_BY_NAME]
EVERY += [("classic", name) for name, project in PROJECTS_BY_NAME.items() if project.on_classic]
# A project needs a dozen builds. EVERY_PROJECT=1 builds all of them, which takes longer than the rest of the tests.
SOME = [("modern", "python-pip"), ("modern", "good"), ("classic", "multi-stage")]


@pytest.mark.parametrize(("kind", "name"), EVERY if os.environ.get("EVERY_PROJECT") else SOME)
def test_project(kind, name, request, monkeypatch, tmp_path):
    engine: Engine = request.getfixturevalue(kind)
    project = PROJECTS_BY_NAME[name]
    port = request.getfixturevalue("wheels") if project.base == "poetry" else 0
    folder = prepared(engine, name, tmp_path / "project", port)
    found = improved(engine, monkeypatch, folder, project.check)
    results = found.edits[["rule", "result", "why"]].to_string()
    kept = set(found.edits.loc[found.edits["result"].isin(["proven", "no gain"]), "rule"])
    assert project.proven <= kept, results
    # A rebuild's seconds depend on how busy the machine is; bytes do not.
    timed = {"copy-before-install"}
    assert project.proven - timed <= set(found.edits.loc[found.edits["result"] == "proven", "rule"]), results
    is_worse = found.edits["why"].str.startswith("proven, but")
    assert set(found.edits.loc[is_worse, "rule"]) == {project.worse} - {""}, results
    if not project.proven:
        assert found.edits.empty and not found.patch
        return
    subprocess.run(["git", "apply", "--check"], input=found.patch.encode(), cwd=folder, check=True)
    subprocess.run(["patch", "-p1", "-s"], input=found.patch.encode(), cwd=folder, check=True)
    tag = f"localhost/improve-{name}:patched"
    engine.docker("build", "-q", "--network=host", "-t", tag, str(folder), DOCKER_BUILDKIT="1")
    try:
        engine.docker("run", "--rm", "--network=none", "--entrypoint=/bin/sh", tag, "-c", project.check)
        size = int(engine.docker("image", "inspect", "--format", "{{.Size}}", tag))
    finally:
        engine.docker("rmi", "-f", tag)
    before, after = found.before, found.after
    if kind == "modern":  # the engine's size is what it stores, compressed
        assert before.content_size - size == pytest.approx(
            before.content_size - after.content_size, rel=0.05, abs=20_000
        )
    else:
        assert before.size - size == pytest.approx(before.size - after.size, rel=0.05, abs=20_000)


def test_a_check_that_needs_a_file_of_the_context_keeps_it(modern, monkeypatch, tmp_path):
    folder = prepared(modern, "node-npm", tmp_path / "project")
    found = improved(modern, monkeypatch, folder, "test -f .git/pack")
    assert dict(zip(found.edits["rule"], found.edits["result"], strict=True))["wide-copy"] == "fails the check"
    assert ".dockerignore" not in found.patch
