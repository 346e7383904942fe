"""What the tests run against: the corpus, real engines, a real browser. Missing parts skip and say why;
under CI they fail."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
CI = os.environ.get("CI") == "true"
settings.register_profile("patient", deadline=None, derandomize=CI)  # a loaded machine is no failure
settings.load_profile("patient")


def missing(reason: str) -> None:
    """Skip, or fail where CI promises the part."""
    (pytest.fail if CI else pytest.skip)(reason)


def needs(*programs: str) -> None:
    """Call `missing` for a program that is not installed."""
    for program in programs:
        if not shutil.which(program):
            missing(f"{program} is not installed")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Tests neither read nor fill the user's layer cache."""
    os.environ["IMAGELAB_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def corpus() -> Path:
    path = SHARED / "corpus"
    if not path.is_dir():
        missing("the corpus of real files (../shared/corpus) is not on this machine")
    return path


@pytest.fixture(scope="session")
def field_security() -> Path:
    """Small security cases that earlier versions answered wrong."""
    path = SHARED / "field" / "security"
    if not path.is_dir():
        missing("the cases from the field (../shared/field) are not on this machine")
    return path


@dataclass(frozen=True)
class Engine:
    """A running engine: ``env`` for subprocesses, ``host`` for the SDK."""

    kind: str
    env: dict[str, str]

    @property
    def host(self) -> str:
        return self.env["DOCKER_HOST"]

    def docker(self, *args: str, input: str | bytes | None = None, **env: str) -> str:
        """The Docker CLI's standard output; its standard error is in the exception."""
        data = input.encode() if isinstance(input, str) else input
        done = subprocess.run(["docker", *args], input=data, capture_output=True, env=self.env | env)
        if done.returncode:
            raise RuntimeError(f"docker {' '.join(args)}\n{done.stderr.decode(errors='replace')}")
        return done.stdout.decode(errors="replace")


def start_engine(kind: str) -> Engine:
    script = SHARED / "engine" / "up"
    if not script.is_file() or os.geteuid() != 0:
        missing(f"no throw-away {kind} engine: ../shared/engine is not here, or this is not root")
    lines = subprocess.run([script, kind], capture_output=True, text=True)
    if lines.returncode:
        missing(f"the {kind} engine did not start: {lines.stderr[-300:]}")
    shown = subprocess.run(["bash", "-c", lines.stdout + "env -0"], capture_output=True, text=True).stdout
    env = dict(entry.split("=", 1) for entry in shown.split("\0") if "=" in entry)
    subprocess.run([SHARED / "engine" / "base", "busybox"], env=env, check=True, capture_output=True)
    return Engine(kind, env)


@pytest.fixture(scope="session")
def modern() -> Engine:
    """Engine 28, containerd image store, buildx."""
    return start_engine("modern")


@pytest.fixture(scope="session")
def classic() -> Engine:
    """Engine 20.10, overlay2, BuildKit without buildx."""
    return start_engine("classic")


@pytest.fixture(scope="session")
def debian(modern) -> Engine:
    """The modern engine with Debian's minimal image, which ``--local`` makes the other base images from."""
    subprocess.run([SHARED / "engine" / "base", "debian"], env=modern.env, check=True, capture_output=True)
    return modern


@pytest.fixture(scope="session", params=["modern", "classic"])
def engine(request) -> Engine:
    """Each engine in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium, driven by Playwright."""
    path = Path("/usr/bin/chromium")
    if not path.exists():
        missing("Chromium (/usr/bin/chromium) is not on this machine")
    from playwright.sync_api import sync_playwright

    flags = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(path), args=[*flags.split(), "--disable-component-update", "--disable-sync"]
        )
        yield browser
        browser.close()
