"""The package managers: how each is called, what names its packages, and where it keeps downloads."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from imagelab.build.dockerfile.grammar import written
from imagelab.build.dockerfile.syntax import Step
from imagelab.improve.edits import Project


@dataclass(frozen=True)
class Installer:
    """A package manager; cache folders are those of root, as the tools' own documentation gives them.

    Attributes
    ----------
    command : re.Pattern
        Where a shell calls it to install.
    manifests : tuple of str
        File names that decide what is installed.
    caches : tuple of str
        Folders of downloads, which a cache mount can take.
    flag : str
        Behind the command: keep no downloads.
    clean : str
        A command that deletes the downloads.
    before_sources : str
        What installs the dependencies alone, where the install itself needs the sources; ``{}`` is the command.
    """

    name: str
    command: re.Pattern[str]
    manifests: tuple[str, ...] = ()
    caches: tuple[str, ...] = ()
    flag: str = ""
    clean: str = ""
    before_sources: str = ""


def _installer(name: str, command: str, manifests: str = "", caches: str = "", **more: str) -> Installer:
    pattern = re.compile(rf"(?:^|[\s;&|/(])(?P<call>{command})", re.M)
    return Installer(name, pattern, tuple(manifests.split()), tuple(caches.split()), **more)


_NODE = "package.json .npmrc"
INSTALLERS = (
    _installer("uv", r"uv\s+(?:sync|pip\s+install)\b", "pyproject.toml uv.lock .python-version", "/root/.cache/uv",
               flag="--no-cache", before_sources="{} --no-install-project"),
    _installer("pip", r"(?<!uv )pip3?\s+install\b", "", "/root/.cache/pip", flag="--no-cache-dir"),
    _installer("poetry", r"poetry\s+install\b", "pyproject.toml poetry.lock poetry.toml", "/root/.cache/pypoetry",
               clean="rm -rf /root/.cache/pypoetry", before_sources="{} --no-root"),
    _installer("npm", r"npm\s+(?:ci|install|i)\b(?!\s+(?:-g|--global))", f"{_NODE} package-lock.json npm-shrinkwrap.json",
               "/root/.npm", clean="npm cache clean --force && rm -rf /root/.npm"),
    _installer("yarn", r"yarn(?:\s+install\b|(?=\s*(?:$|&|;)))", f"{_NODE} yarn.lock .yarnrc .yarnrc.yml .yarn",
               "/usr/local/share/.cache/yarn", clean="yarn cache clean"),
    _installer("pnpm", r"pnpm\s+(?:install|i)\b", f"{_NODE} pnpm-lock.yaml pnpm-workspace.yaml .pnpmfile.cjs",
               "/root/.local/share/pnpm/store"),
    _installer("go", r"go\s+(?:mod\s+download|build|install)\b", "go.mod go.sum", "/go/pkg/mod /root/.cache/go-build",
               clean="go clean -cache -modcache", before_sources="go mod download"),
    _installer("cargo", r"cargo\s+(?:build|install\s+--path)\b", "Cargo.toml Cargo.lock", "/usr/local/cargo/registry",
               before_sources="cargo fetch"),
    _installer("bundler", r"bundle\s+install\b", "Gemfile Gemfile.lock .ruby-version", "/usr/local/bundle/cache"),
    _installer("composer", r"composer\s+install\b", "composer.json composer.lock symfony.lock", "/root/.composer/cache",
               before_sources="{} --no-scripts --no-autoloader"),
    _installer("maven", r"mvn\b", "pom.xml", "/root/.m2", before_sources="mvn -B dependency:go-offline"),
    _installer("gradle", r"(?:gradle|gradlew)\b", "build.gradle build.gradle.kts settings.gradle settings.gradle.kts "
               "gradle.properties gradlew gradle", "/root/.gradle", before_sources="./gradlew dependencies --no-daemon"),
    _installer("conda", r"(?:conda|mamba)\s+(?:install|(?:env\s+)?create|(?:env\s+)?update)\b", "", "/opt/conda/pkgs",
               clean="conda clean -afy"),
)  # fmt: skip
#: Managers whose rewrites the tests of this repository build.
BUILT_HERE = ("pip", "npm")
APT_INSTALL = re.compile(r"\bapt(?:-get)?\s+(?:-\S+\s+)*install\b")
APT_UPDATE = re.compile(r"\bapt(?:-get)?\s+(?:-\S+\s+)*update\b")
APK_ADD = re.compile(r"\bapk\s+(?:-\S+\s+)*add\b")
DNF_INSTALL = re.compile(r"\b(?:micro)?(?:dnf|yum)\s+(?:-\S+\s+)*install\b")
SYSTEM = (APT_INSTALL, APT_UPDATE, APK_ADD, DNF_INSTALL)


def script(step: Step) -> str:
    """The commands of a RUN as they stand in the file, documents included; "" for other instructions."""
    if step.instruction != "RUN":
        return ""
    flags = re.compile(r"^(?:--\S+\s+)*")
    return flags.sub("", written(step.node)) + "".join(f"\n{text}" for _, text in step.heredocs)


def runs(project: Project) -> Iterator[tuple[Step, str]]:
    """The RUNs of the needed stages, with their commands."""
    for stage in project.build.needed(project.target):
        for step in project.steps(stage):
            if step.instruction == "RUN" and not step.error:
                yield step, script(step)


def installer_of(commands: str) -> Installer | None:
    """The first package manager of a language that the commands call."""
    return next((installer for installer in INSTALLERS if installer.command.search(commands)), None)


def is_root(step: Step) -> bool:
    return step.state.user in ("", "root", "0")


def is_cached(step: Step, folder: str) -> bool:
    """Whether a cache mount lies at the folder, above it or in it."""
    mounts = [posixpath.join(step.state.workdir, m["target"]) for m in step.mounts if m["type"] == "cache"]
    return any(posixpath.commonpath([folder, mount]) in (folder, mount) for mount in mounts)
