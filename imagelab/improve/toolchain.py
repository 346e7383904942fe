"""Leave the compilers behind: build in a stage of its own, and copy from it what the build made."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from imagelab.build.dockerfile.syntax import Step
from imagelab.improve.cleanup import APT_FILES, as_one
from imagelab.improve.edits import Change, Edit, Project, with_command
from imagelab.improve.installers import APK_ADD, APT_INSTALL, script

#: Names of packages that compile and link, in Debian's and Alpine's own spelling.
_COMPILERS = re.compile(
    r"^(?:build-essential|build-base|g?cc(?:-\d+)?|g\+\+(?:-\d+)?|tcc|clang(?:-\d+)?|make|cmake|ninja-build|autoconf|automake"
    r"|libtool|pkg-?conf(?:ig)?|rustc|cargo|golang(?:-.+)?|go|linux-headers(?:-.+)?|.+-dev)$"
)
#: Commands that install packages of the system or make user accounts.
_SETUP = re.compile(
    r"\s*(?:(?:apt-get|apt|apk|dnf|yum|rm|set|echo|true|(?:user|group)(?:add|mod)|add(?:user|group))\b.*)?$"
)
_NOT_MADE = re.compile(r"^/(?:root/\.|tmp/|var/(?:log|cache|lib/(?:apt|dpkg))/|run/|proc/|sys/|dev/)")
#: Folders of installed packages: copied whole, as their names and number change with the next version.
_LIBRARY = re.compile(r".*?/(?:site-packages|dist-packages|node_modules)(?=/)")
_WHY = "the compilers are needed to build, not to run"
#: Packages that others only suggest go, too. The command writes apt's own cache again.
_PURGE = "apt-get purge -y --auto-remove -o APT::AutoRemove::SuggestsImportant=false"
_MOST = 12  # COPY lines; more are collapsed to the folders above


def leave_compilers(project: Project) -> Iterator[Edit]:
    """Compilers that the final stage installs for a build of ours: a build stage, or else a purge in the RUN that builds.

    Which of the two makes the smaller image depends on what the build writes: a stage copies whole folders of packages,
    a purge leaves what the compilers' packages changed.
    """
    for n, edit in enumerate([*build_stage(project), *purge(project)]):
        yield replace(edit, alternative=n > 0)


def build_stage(project: Project) -> Iterator[Edit]:
    """Compilers that a RUN of the final stage installs move to a build stage; what was made there is copied.

    What was made is read from the layers of the built image, so this rule needs one. Other packages of the same RUN, and
    user accounts, are made in the final stage as well. Removes the compilers' packages with what only they depend on;
    what is copied must find its shared libraries in the new image. Docker's documentation of multi-stage builds.
    """
    steps = project.steps(project.final[-1])
    runs, used = _from_tools(steps)
    if project.layers is None or not used or used[0] is runs[0] or project.final[-1].parent:
        return
    tools, last = runs[0], used[-1]
    again = [s for s in runs if s not in used and s.line < last.line]
    roots = _made(project, tools, last, again)
    if roots and not any(s.error for s in steps):
        edit = _split(project, steps, tools, last, again, roots)
        yield Edit("build-stage", _WHY, tools, edit, APT_FILES, packages=True, made=tuple(roots))


def purge(project: Project) -> Iterator[Edit]:
    """Compilers are purged in the RUN that needs them last.

    Removes their packages with what only they depend on (apt-get(8) ``--auto-remove``, apk-del(8)). The RUNs from the
    one that installs them to the last that can need them become one.
    """
    runs, used = _from_tools(project.steps(project.final[-1]))
    is_purged = re.search(r"\b(?:purge|remove|apk\s+del)\b", "".join(map(script, runs)))
    if is_purged or not used or (project.layers is None and used[0] is not runs[0]):
        return
    tools, merged = runs[0], [s for s in runs if s.line <= used[-1].line]
    names = " ".join(name for s in merged for name in _compilers(s))
    command = f"apk del {names}" if APK_ADD.search(script(tools)) else f"{_PURGE} {names} && apt-get clean"
    lines = as_one(project, merged)
    lines = lines and with_command(lines, tools, command)
    if lines and all(s.state.user == tools.state.user for s in merged):
        changes = (*map(project.change, merged[:-1]), project.change(used[-1], *lines))
        made = tuple({"/usr/local", "/opt", used[-1].state.workdir} - {"/"})
        yield Edit("purge-compilers", _WHY, tools, changes, packages=True, made=made)


def _from_tools(steps: Sequence[Step]) -> tuple[list[Step], list[Step]]:
    """The RUNs from the first that installs compilers, and those among them that can need the compilers."""
    tools = next((s for s in steps if _compilers(s)), None)
    runs = [s for s in steps if tools and s.line >= tools.line and s.instruction == "RUN"]
    return runs, [s for s in runs if not all(map(_SETUP.match, re.split(r"&&|;|\n", script(s))))]


def _packages(step: Step) -> list[str]:
    commands = script(step)
    found = APT_INSTALL.search(commands) or APK_ADD.search(commands)
    words = re.split(r"&&|;|\||\n", commands[found.end() :])[0].split() if found else []
    return [word for word in words if not word.startswith("-") and word != "\\"]


def _compilers(step: Step) -> list[str]:
    return [name for name in _packages(step) if _COMPILERS.match(name.partition("=")[0])]


def _made(project: Project, tools: Step, last: Step, again: Sequence[Step]) -> list[str]:
    """The topmost new paths that the steps from ``tools`` to ``last`` made, without those that run ``again``."""
    assert project.layers is not None
    visible = project.layers[project.layers["visible"]]
    first, final, others = project.layer(tools) or 0, project.layer(last), [project.layer(step) for step in again]
    layer = project.layers["layer_index"]
    before = set(project.layers.loc[(layer < first) | layer.isin(others), "path"])
    is_made = visible["layer_index"].between(first, final) & ~visible["layer_index"].isin(others)
    made = visible[is_made & ~visible["path"].str.contains(_NOT_MADE)]
    is_new = made["kind"].ne("directory") | ~made["path"].isin(before)
    roots = {_root(path, before) for path in made.loc[is_new, "path"]}
    while len(roots) > _MOST:
        deepest = max(roots, key=lambda path: (path.count("/"), path))
        folder = posixpath.dirname(deepest)
        if folder.count("/") < 2:
            return []
        roots = {path for path in roots if posixpath.dirname(path) != folder} | {folder}
    return sorted(root for root in roots if not any(root.startswith(f"{other}/") for other in roots))


def _root(path: str, before: set[str]) -> str:
    if library := _LIBRARY.match(path):
        return library[0]
    while (folder := posixpath.dirname(path)) not in before and folder != "/":
        path = folder
    return path


def _split(
    project: Project, steps: Sequence[Step], tools: Step, last: Step, again: Sequence[Step], roots: Sequence[str]
) -> tuple[Change, ...]:
    start = steps[0]
    above = [s for s in steps[1:] if s.line < tools.line]
    taken = {stage.name for stage in project.build.stages}
    build, base = (next(n for n in (name, f"{name}-image") if n not in taken) for name in ("build", "base"))
    first, name = project.raw(start)[0], ""
    if found := re.search(r"\s+as\s+\S+\s*$", first, re.I):
        first, name = first[: found.start()], found[0]
    lines = ["", (f"FROM {base}" if above else first) + name]
    for step in steps:
        if step in again:
            is_empty = _packages(step) and _packages(step) == _compilers(step)
            lines += [] if is_empty else _without(project.raw(step), _compilers(step))
        elif tools.line < step.line < last.line and step.instruction not in ("RUN", "COPY", "ADD"):
            lines += project.raw(step)
    lines += [f"COPY --from={build} {root} {root}" for root in roots]
    at = last.node.end_line
    changes = [project.change(start, f"{first} AS {base if above else build}"), Change(at, at, tuple(lines))]
    if above:
        changes.append(Change(tools.line - 1, tools.line - 1, (f"FROM {base} AS {build}",)))
    return tuple(changes)


def _without(raw: Sequence[str], words: Sequence[str]) -> list[str]:
    """The lines without the words; a line that says nothing else goes."""
    pattern = re.compile(rf"(?<=\s)(?:{'|'.join(map(re.escape, words)) or '(?!)'})(?:\s+|$)")
    lines = [line if line.lstrip().startswith("#") else pattern.sub("", line).rstrip() for line in raw]
    kept = [new for new, old in zip(lines, raw, strict=True) if new == old or new.strip(" \t\\")]
    while kept[-1].lstrip().startswith("#"):
        kept.pop()
    return kept if raw[-1].endswith("\\") else [*kept[:-1], kept[-1].rstrip("\\").rstrip()]
