"""The package managers: how each is called, what names its packages, and where it keeps downloads."""

from __future__ import annotations

import posixpath
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from imagelab.build.dockerfile.grammar import written
from imagelab.build.dockerfile.select import context_path, copied
from imagelab.build.dockerfile.syntax import Stage, Step
from imagelab.improve.edits import Project


@dataclass(frozen=True)
class Installer:
    """A package manager; ``installers.toml`` says what the fields mean."""

    name: str
    command: re.Pattern[str]
    manifests: tuple[str, ...] = ()
    caches: tuple[str, ...] = ()
    flag: str = ""
    clean: str = ""
    off: str = ""
    before_sources: str = ""
    built: tuple[str, ...] = ()
    needs_all: Mapping[str, str] = field(default_factory=dict, hash=False)


def _read_installers() -> Iterator[Installer]:
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    for name, fields in table.items():
        command = re.compile(rf"(?:^|[\s;&|/(])(?P<call>{fields.pop('command')})", re.M)
        lists = {key: tuple(value) for key, value in fields.items() if isinstance(value, list)}
        yield Installer(name, command, **fields | lists)


*INSTALLERS, NEXT = _read_installers()
#: Variables of well-known base images; only the engine knows those of other bases.
_IMAGE_ENV = {"golang": {"GOPATH": "/go"}, "rust": {"CARGO_HOME": "/usr/local/cargo"}}
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


def expanded(step: Step, text: str) -> str:
    """The text with the variables that the step's ARG and ENV set."""
    return Template(text).safe_substitute(step.state.env)


def runs(project: Project, stages: Iterable[Stage]) -> Iterator[tuple[Step, str]]:
    """The RUNs of the stages, with their commands."""
    for stage in stages:
        for step in project.steps(stage):
            if step.instruction == "RUN" and not step.error:
                yield step, script(step)


def installer_of(commands: str) -> Installer | None:
    """The first package manager of a language that the commands call."""
    return next((installer for installer in INSTALLERS if installer.command.search(commands)), None)


def copies_sources(project: Project, step: Step, installer: Installer) -> bool:
    """Whether a step copies directories of the context that are more than the installer's own."""
    if step.instruction not in ("COPY", "ADD") or step.flag("from") is not None:
        return False
    names = [context_path(source) for source in copied(step)]
    names = [name for name in names if posixpath.basename(name) not in installer.manifests]
    if project.root is None:
        return any(name == "." or not posixpath.splitext(name)[1] for name in names)
    kinds = {path: entry.kind for path, entry in project.sent.items()}
    return any(name == "." or kinds.get(name) == "directory" for name in names)


def caches_of(project: Project, step: Step, installer: Installer) -> list[str]:
    """The folders in which the installer keeps downloads, as the step's environment has them."""
    stages = {stage.name: stage for stage in project.build.stages}
    stage = stages[step.stage]
    while stage.parent and stages[stage.parent].index < stage.index:
        stage = stages[stage.parent]
    image = re.split("[:@]", stage.base.rpartition("/")[2])[0]
    env = {**_IMAGE_ENV.get(image, {}), **step.state.env}
    folders = [re.sub(r"\{(\w+):(.*?)\}", lambda found: env.get(found[1], found[2]), name) for name in installer.caches]
    home = env.get("HOME") or ("/root" if is_root(step) else "/home/" + step.state.user.partition(":")[0])
    return [posixpath.join(step.state.workdir, folder.replace("~", home, 1)) for folder in folders]


def cache_traces(project: Project, step: Step, installer: Installer) -> tuple[str, ...]:
    """What an installer keeps for its next call: it depends on when and beside which files it was called."""
    return tuple(rf"^{re.escape(folder)}(?:/|$)" for folder in caches_of(project, step, installer) if is_root(step))


def is_root(step: Step) -> bool:
    return step.state.user in ("", "root", "0")


def is_cached(step: Step, folder: str) -> bool:
    """Whether a cache mount lies at the folder, above it or in it."""
    mounts = [posixpath.join(step.state.workdir, m["target"]) for m in step.mounts if m["type"] == "cache"]
    return any(posixpath.commonpath([folder, mount]) in (folder, mount) for mount in mounts)
