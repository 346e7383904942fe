"""Leave the compilers behind: build in a stage of its own, and copy from it what the build made."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence

import pandas as pd

from imagelab.build.dockerfile.syntax import Stage, Step
from imagelab.core.terms import LIKELY
from imagelab.improve.edits import Change, Edit, Project
from imagelab.improve.installers import APK_ADD, APT_INSTALL, script

#: Names of packages that compile and link, in Debian's and Alpine's own spelling.
_COMPILERS = re.compile(
    r"^(?:build-essential|build-base|g?cc(?:-\d+)?|g\+\+(?:-\d+)?|tcc|clang(?:-\d+)?|make|cmake|ninja-build|autoconf|automake"
    r"|libtool|pkg-?conf(?:ig)?|rustc|cargo|golang(?:-.+)?|go|linux-headers(?:-.+)?|.+-dev)$"
)
_LAYERS = ("RUN", "COPY", "ADD", "WORKDIR")
_NOT_MADE = re.compile(r"^/(?:root/\.|tmp/|var/(?:log|cache|lib/(?:apt|dpkg))/|run/|proc/|sys/|dev/)")
_MOST = 12  # COPY lines; more are collapsed to the folders above


def build_stage(project: Project) -> Iterator[Edit]:
    """Compilers that a RUN of the final stage installs move to a build stage; what was made there is copied.

    What was made is read from the layers of the built image, so this rule needs one. Other packages of the same RUN are
    installed in the final stage as well. Removes the compilers' packages with what only they depend on; what is copied
    must find its shared libraries in the new image. Docker's documentation of multi-stage builds.
    """
    stage = project.final[-1]
    steps = project.steps(stage)
    tools = next((s for s in steps if _compilers(s)), None)
    runs = [s for s in steps if tools and s.line > tools.line and s.instruction == "RUN"]
    if project.layers is None or tools is None or not runs or any(s.name == "build" for s in project.build.stages):
        return
    last = runs[-1]
    roots = _made(project.layers, _layer(project, steps, tools), _layer(project, steps, last))
    if not roots or stage.parent or any(s.error for s in steps):
        return
    what = f"the compilers of line {tools.line} are needed to build, not to run"
    edit = _split(project, stage, steps, tools, last, roots)
    yield Edit("build-stage", what, tools, edit, packages=True, made=tuple(roots), confidence=LIKELY)


def _packages(step: Step) -> list[str]:
    commands = script(step)
    found = APT_INSTALL.search(commands) or APK_ADD.search(commands)
    words = re.split(r"&&|;|\|", commands[found.end() :])[0].split() if found else []
    return [word for word in words if not word.startswith("-") and word != "\\"]


def _compilers(step: Step) -> list[str]:
    return [name for name in _packages(step) if _COMPILERS.match(name.partition("=")[0])]


def _layer(project: Project, steps: Sequence[Step], step: Step) -> int:
    """The index of a step's layer: the last steps made the last layers."""
    assert project.layers is not None
    above = sum(s.instruction in _LAYERS and s.step is not None for s in steps if s.line > step.line)
    return int(project.layers["layer_index"].max()) - above


def _made(files: pd.DataFrame, tools: int, last: int) -> list[str]:
    """The topmost new paths that the layers after ``tools``, up to ``last``, made and that the image still shows."""
    visible = files[files["visible"]]
    before = set(files.loc[files["layer_index"] <= tools, "path"])
    made = visible[visible["layer_index"].between(tools + 1, last) & ~visible["path"].str.contains(_NOT_MADE)]
    roots = {_root(path, before) for path in made.loc[made["kind"] != "directory", "path"]}
    roots |= {
        path
        for path in made.loc[made["kind"] == "directory", "path"]
        if path not in before and _root(path, before) == path
    }
    while len(roots) > _MOST:
        deepest = max(roots, key=lambda path: (path.count("/"), path))
        folder = posixpath.dirname(deepest)
        if folder.count("/") < 2:
            return []
        roots = {path for path in roots if posixpath.dirname(path) != folder} | {folder}
    return sorted(root for root in roots if not any(root.startswith(f"{other}/") for other in roots))


def _root(path: str, before: set[str]) -> str:
    while (folder := posixpath.dirname(path)) not in before and folder != "/":
        path = folder
    return path


def _split(
    project: Project, stage: Stage, steps: Sequence[Step], tools: Step, last: Step, roots: Sequence[str]
) -> tuple[Change, ...]:
    start = steps[0]
    above = [s for s in steps[1:] if s.line < tools.line]
    base, name = project.raw(start)[0], ""
    if found := re.search(r"\s+as\s+\S+\s*$", base, re.I):
        base, name = base[: found.start()], found[0]
    again = "FROM base" if above else base
    runtime = [word for word in _packages(tools) if word not in _compilers(tools)]
    lines = ["", again + name]
    lines += [
        line
        for s in steps
        if tools.line < s.line < last.line and s.instruction not in ("RUN", "COPY", "ADD")
        for line in project.raw(s)
    ]
    if runtime:
        kept = " ".join(project.raw(tools)).replace("\\", " ")
        for word in _compilers(tools):
            kept = re.sub(rf"\s{re.escape(word)}(?=\s|$)", "", kept)
        lines.append(re.sub(r"\s{2,}", " ", kept))
    lines += [f"COPY --from=build {root} {root}" for root in roots]
    at = last.node.end_line
    changes = [project.change(start, base + (" AS base" if above else " AS build")), Change(at, at, tuple(lines))]
    if above:
        changes.append(Change(tools.line - 1, tools.line - 1, ("FROM base AS build",)))
    return tuple(changes)
