"""Install dependencies before the sources are copied, so that an edit of the sources installs nothing again."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Sequence

from imagelab.build.dockerfile.select import context_path, copied
from imagelab.build.dockerfile.syntax import Step
from imagelab.core.terms import EXACT, LIKELY
from imagelab.improve.edits import Change, Edit, Project, with_flags
from imagelab.improve.installers import BUILT_HERE, SYSTEM, Installer, installer_of, is_root, script

_REQUIREMENTS = re.compile(r"(?:-r|--requirements?|-c|--constraints?)[\s=]+(\S+)")
_LOCAL = re.compile(r"^\s*(?:-e\b|--editable|\.{1,2}/|file:|.+@\s*file:)", re.M)
_SETUP = re.compile(
    r"^\s*(?:user|group)(?:add|mod)\b|^\s*add(?:user|group)\b|^\s*mkdir\b|^\s*(?:python3? -m venv|uv venv)\b"
)


def install_before_sources(project: Project) -> Iterator[Edit]:
    """Sources that are copied before dependencies are installed: every edit of a source installs them again.

    Copies what names the dependencies (and each workspace's manifest) first, installs, then copies the sources.
    Where the install builds the project itself (uv, poetry, composer, go, cargo, maven, gradle), the dependencies alone
    are installed first by the manager's own option. Keeps the files of the image. Docker's documentation ("Optimize
    cache usage in builds"); each manager's own documentation of Docker builds.
    """
    for stage in project.build.needed(project.target):
        steps = project.steps(stage)
        for index, step in enumerate(steps):
            commands = script(step)
            installer = installer_of(commands)
            sources = [s for s in steps[:index] if _copies_sources(project, s)]
            if sources and any(_installs(s, installer) for s in steps[: steps.index(sources[0])]):
                continue  # its dependencies are there before the sources
            if (
                not installer
                or not sources
                or step.error
                or (step.mounts and any(m["type"] == "bind" for m in step.mounts))
            ):
                continue
            manifests = _manifests(project, step, commands, installer, sources)
            if manifests is None:
                continue
            alone = _alone(project, commands, installer)
            if alone is None:
                edit = _moved(project, steps, step, sources, manifests)
            else:
                edit = _inserted(project, step, sources[0], manifests, alone)
            if edit:
                where = f"the {sources[0].instruction} in line {sources[0].line} is above {installer.name}'s install"
                what = f"{where}: each edit of a source installs again"
                sure = EXACT if installer.name in BUILT_HERE else LIKELY
                touches = _traces(step, installer) if alone else ()
                yield Edit("copy-before-install", what, sources[0], edit, touches, cached=(step,), confidence=sure)


def _installs(step: Step, installer: Installer | None) -> bool:
    return installer is not None and bool(installer.command.search(script(step)))


def _copies_sources(project: Project, step: Step) -> bool:
    """Whether a step copies directories of the context."""
    if step.instruction not in ("COPY", "ADD") or step.flag("from") is not None:
        return False
    names = [context_path(source) for source in copied(step)]
    if project.root is None:
        return any(name == "." or not posixpath.splitext(name)[1] for name in names)
    kinds = {path: entry.kind for path, entry in project.sent.items()}
    return any(name == "." or kinds.get(name) == "directory" for name in names)


def _manifests(
    project: Project, step: Step, commands: str, installer: Installer, sources: Sequence[Step]
) -> list[tuple[str, str]] | None:
    """What the install reads, as (path in the context, folder in the image); None where it needs the sources."""
    names = list(installer.manifests)
    requirements = _REQUIREMENTS.findall(commands) if installer.name in ("pip", "uv") else []
    if installer.name == "pip" or re.search(r"\buv\s+pip\b", commands):
        if not requirements or _LOCAL.search(" ".join(commands.split("install")[1:]).replace(" ", "\n")):
            return None
        names = requirements
    found: list[tuple[str, str]] = []
    todo, seen = names, set()
    for name in todo:
        path = posixpath.normpath(posixpath.join(step.state.workdir, name))
        source = next((s for copy in sources if (s := _source_of(project, copy, path))), None)
        if source is None or path in seen:
            continue
        seen.add(path)
        found.append((source, posixpath.dirname(path)))
        text = project.read(source)
        if requirements:
            if _LOCAL.search(text):
                return None
            todo += [posixpath.join(posixpath.dirname(name), other) for other in _REQUIREMENTS.findall(text)]
    manifest_files = {posixpath.basename(source) for source, _ in found}
    if not requirements and not manifest_files & set(installer.manifests[:1] + installer.manifests[-1:]):
        return None if project.root is not None or not found else found
    return found + _workspaces(project, installer, found)


def _source_of(project: Project, copy: Step, path: str) -> str | None:
    """The path in the context that the COPY puts at ``path`` of the image."""
    to = posixpath.normpath(posixpath.join(copy.state.workdir, copy.words[-1]))
    for source in map(context_path, copied(copy)):
        inside = posixpath.relpath(path, to)
        candidate = posixpath.normpath(posixpath.join(source, inside))
        if inside.startswith("..") or candidate.startswith(".."):
            continue
        if project.root is None or candidate in project.sent:
            return candidate
    return None


def _workspaces(project: Project, installer: Installer, found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The manifests of a monorepo's members, each with its folder in the image."""
    main = next(((s, to) for s, to in found if posixpath.basename(s) in ("package.json", "pyproject.toml")), None)
    if main is None or not _has_workspaces(project, main[0]):
        return []
    base, name = posixpath.split(main[0])
    members = [p for p in project.sent if posixpath.basename(p) == name and p != main[0] and "node_modules" not in p]
    inside = [p for p in members if not base or p.startswith(base + "/")]
    return [(p, posixpath.join(main[1], posixpath.dirname(posixpath.relpath(p, base or ".")))) for p in inside]


def _has_workspaces(project: Project, manifest: str) -> bool:
    text = project.read(manifest)
    if manifest.endswith(".toml"):
        return "[tool.uv.workspace]" in text
    try:
        listed = bool(json.loads(text or "{}").get("workspaces"))
    except (ValueError, AttributeError):
        listed = False
    return listed or posixpath.join(posixpath.dirname(manifest), "pnpm-workspace.yaml") in project.sent


def _alone(project: Project, commands: str, installer: Installer) -> str | None:
    """The command that installs the dependencies alone, where the install itself needs the sources."""
    found = installer.command.search(commands)
    if not found or not installer.before_sources or re.search(r"\buv\s+pip\b", commands):
        return None
    command = re.split(r"&&|;|\|\||\n", commands[found.start("call") :])[0].strip()
    if installer.name == "cargo":
        return _cargo(project, command)
    only = installer.before_sources.format(command)
    if installer.name == "uv":
        text = "".join(project.read(path) for path in project.sent if posixpath.basename(path) == "pyproject.toml")
        if project.root is not None and "[build-system]" not in text and "package = true" not in text:
            return None  # nothing of ours is installed
        if "[tool.uv.workspace]" in text:
            only = only.replace("--no-install-project", "--no-install-workspace")
    return only if only not in commands else None


def _cargo(project: Project, command: str) -> str:
    """Dependencies compiled with an empty program of ours, whose traces are then deleted (cargo compares mtimes)."""
    manifest = project.read("Cargo.toml")
    name = re.search(r'^\s*name\s*=\s*"([^"]+)"', manifest, re.M)
    single = "src/main.rs" in project.sent and "src/lib.rs" not in project.sent and "[workspace]" not in manifest
    if not (name and single and re.match(r"cargo\s+build\b", command)):
        return "cargo fetch"
    release = " --release" if "--release" in command else ""
    return f"mkdir src && echo 'fn main() {{}}' > src/main.rs && {command} && rm -r src && cargo clean{release} -p {name[1]}"


def _copies(step: Step, manifests: Sequence[tuple[str, str]]) -> list[str]:
    """COPY lines for the manifests, one for each folder."""
    folders: dict[str, list[str]] = {}
    for source, to in manifests:
        folders.setdefault(to, []).append(source)
    lines = []
    for to, names in folders.items():
        files = [name for name in names if not name.endswith((".yarn", "gradle"))]
        lines += [f"COPY {' '.join(files)} {_place(step, to)}"] if files else []
        whole = [(name, posixpath.join(to, posixpath.basename(name))) for name in names if name not in files]
        lines += [f"COPY {name} {_place(step, folder)}" for name, folder in whole]
    return lines


def _place(step: Step, folder: str) -> str:
    """A folder as the last argument of a COPY in the step's place, relative to the working directory if it lies there."""
    relative = posixpath.relpath(folder, step.state.workdir)
    if relative.startswith("..") or step.state.workdir == "/":
        return f"{folder.rstrip('/')}/"
    return "./" if relative == "." else f"{relative}/"


def _moved(
    project: Project, steps: Sequence[Step], step: Step, sources: Sequence[Step], manifests: Sequence[tuple[str, str]]
) -> tuple[Change, ...] | None:
    """The sources' COPYs move below the install; what stands between stays, if it needs no sources."""
    first = sources[0]
    between = [s for s in steps if first.line < s.line < step.line and s not in sources]
    other = [s for s in between if s.instruction == "RUN" and not _needs_no_sources(script(s))]
    if other or any(_moves_away(source, step) for source in sources):
        return None
    moved = [line for source in sources for line in project.raw(source)]
    after = step.node.end_line
    changes = [project.change(source) for source in sources[1:]]
    return (project.change(first, *_copies(first, manifests)), *changes, Change(after, after, tuple(moved)))


def _moves_away(source: Step, step: Step) -> bool:
    """Whether a COPY would copy to another place, or for another user, below the step."""
    relative = not source.words[-1].startswith("/")
    return (relative and source.state.workdir != step.state.workdir) or source.state.user != step.state.user


def _needs_no_sources(commands: str) -> bool:
    return (
        any(pattern.search(commands) for pattern in SYSTEM)
        or bool(_SETUP.search(commands))
        or bool(installer_of(commands))
    )


def _inserted(
    project: Project, step: Step, first: Step, manifests: Sequence[tuple[str, str]], alone: str
) -> tuple[Change, ...] | None:
    """Before the sources: the manifests and an install of the dependencies alone; the old install stays."""
    if first.state.workdir != step.state.workdir or not manifests:
        return None
    flags = [f"--{name}={value}" for name, value in step.flags]
    run = with_flags([f"RUN {alone}"], flags)
    at = first.line - 1
    return (Change(at, at, (*_copies(first, manifests), *run)),)


def _traces(step: Step, installer: Installer) -> tuple[str, ...]:
    """Downloads that the first of the two installs may leave at another time: their cache, until it is cleaned."""
    return tuple(rf"^{re.escape(folder)}(?:/|$)" for folder in installer.caches if is_root(step))
