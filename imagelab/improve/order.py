"""Install dependencies before the sources are copied, so that an edit of the sources installs nothing again."""

from __future__ import annotations

import json
import posixpath
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatch

from imagelab.build.dockerfile.select import context_path, copied
from imagelab.build.dockerfile.syntax import Step
from imagelab.core.terms import EXACT, LIKELY
from imagelab.improve.edits import Change, Edit, Project, commands_of, split_run, with_flags
from imagelab.improve.installers import SYSTEM, Installer, cache_traces, copies_sources, expanded, installer_of, script

_REQUIREMENTS = re.compile(r"(?:(?:^|\s)(?:-r|--requirements?|-c|--constraints?)[\s=]+|\bpip-sync\s+)([^-\s]\S*)")
_LOCAL = re.compile(r"^\s*(?:-e\b|--editable|\.{1,2}(?:[/\[]|\s*$)|file:|.+@\s*file:)", re.M)
_SETUP = re.compile(
    r"^\s*(?:cd\s|<<|(?:user|group)(?:add|mod)|add(?:user|group)|mkdir|rm|set|echo|true|corepack|apt-get|apk|(?:npm|yarn|pip3?|poetry|pnpm)"
    r"\s+(?:config|cache|set)|gem\s+install|bundle\s+config|python3? -m venv|uv venv|conda clean)(?:\b|(?<=[\s<]))"
)
_HOOKS = re.compile(r'"(?:pre|post)?install"|"prepare"')  # scripts of npm that may need the sources
_COMMANDS = re.compile(r"&&|\|\||;|\n")
_FOLDER = re.compile(r"^cd\s+(\S+)$|\s(?:--prefix|--cwd|--dir|--directory|--working-dir|-C)[ =](\S+)")


def install_before_sources(project: Project) -> Iterator[Edit]:
    """Sources that are copied before dependencies are installed: every edit of a source installs them again.

    Copies what names the dependencies (and each workspace's manifest) first, installs, then copies the sources. What
    else the same RUN does with the sources becomes a RUN below them. Where the install builds the project itself (uv,
    poetry, composer, go, cargo, maven, gradle), the dependencies alone are installed first by the manager's own option.
    Keeps the files of the image. Docker's documentation ("Optimize cache usage in builds"); each manager's own
    documentation of Docker builds.
    """
    for stage in project.build.needed(project.target):
        steps = project.steps(stage)
        for index, step in enumerate(steps):
            installer = installer_of(script(step))
            if (
                not installer
                or step.error
                or _needs_all(project, installer)
                or any(mount["type"] == "bind" for mount in step.mounts)
            ):
                continue
            sources = [s for s in steps[:index] if copies_sources(project, s, installer)]
            if not sources or any(_installs(s, installer) for s in steps[: steps.index(sources[0])]):
                continue  # its dependencies are there before the sources
            if edit := _reordered(project, steps, step, sources, installer):
                yield edit


def _reordered(
    project: Project, steps: Sequence[Step], step: Step, sources: Sequence[Step], installer: Installer
) -> Edit | None:
    """The edit that installs what the step installs above the sources."""
    parts = [part.strip() for part in _COMMANDS.split(script(step))]
    call = next(n for n, part in enumerate(parts) if installer.command.search(part))
    count = next((n for n, part in enumerate(parts) if n > call and not _needs_no_sources(part)), len(parts))
    above = [s for s in steps if s.line < sources[0].line]
    inside = step
    for folder in (found[1] or found[2] for part in parts[: call + 1] if (found := _FOLDER.search(part))):
        workdir = posixpath.normpath(posixpath.join(inside.state.workdir, expanded(step, folder)))
        inside = replace(inside, state=replace(inside.state, workdir=workdir))
    manifests = _manifests(project, inside, " && ".join(parts[:count]), installer, sources, above)
    if manifests is None or not all(map(_needs_no_sources, parts[:call])):
        return None
    alone = _alone(project, script(step), installer)
    if alone is not None:
        changes = _inserted(project, steps, step, sources[0], manifests, " && ".join([*parts[:call], alone]))
    else:
        changes = _moved(project, steps, step, sources, manifests, count if count < len(parts) else None)
    if not changes:
        return None
    what = f"the {sources[0].instruction} in line {sources[0].line} is above {installer.name}'s install"
    what += ": each edit of a source installs again"
    is_sure = "copy-before-install" in installer.built and not _HOOKS.search(project.read("package.json"))
    touches = cache_traces(project, step, installer) if alone else ()
    sure = EXACT if is_sure else LIKELY
    return Edit("copy-before-install", what, sources[0], changes, touches, cached=(step,), confidence=sure)


def _needs_all(project: Project, installer: Installer) -> bool:
    """Whether the dependencies cannot be installed with the manifests alone."""
    if installer.name in ("go", "cargo") and {"vendor/modules.txt", "build.rs"} & project.sent.keys():
        return True
    if installer.name == "cargo" and not _crate_roots(project)[0]:
        return True
    return any(re.search(pattern, project.read(name), re.M) for name, pattern in installer.needs_all.items())


def _installs(step: Step, installer: Installer | None) -> bool:
    return installer is not None and bool(installer.command.search(script(step)))


def _manifests(
    project: Project,
    step: Step,
    commands: str,
    installer: Installer,
    sources: Sequence[Step],
    above: Sequence[Step],
) -> list[tuple[str, str]] | None:
    """What the install reads, as (path in the context, folder in the image); None where it needs the sources."""
    names = list(installer.manifests)
    requirements = _REQUIREMENTS.findall(expanded(step, commands)) if installer.name in ("pip", "uv") else []
    if installer.name == "pip" or re.search(r"\buv\s+pip\b", commands):
        if not requirements or _LOCAL.search(" ".join(commands.split("install")[1:]).replace(" ", "\n")):
            return None
        names = requirements
    found: list[tuple[str, str]] = []
    is_there = False  # an earlier COPY brought it
    todo, seen = names, set()
    for name in todo:
        path = posixpath.normpath(posixpath.join(step.state.workdir, name))
        source = next((s for copy in sources if (s := _source_of(project, copy, path))), None)
        earlier = any(_brings(copy, path) for copy in above)
        is_there = is_there or earlier
        if source is None or path in seen or earlier:
            continue
        seen.add(path)
        found.append((source, posixpath.dirname(path)))
        text = project.read(source)
        if requirements:
            if _LOCAL.search(text):
                return None
            todo += [posixpath.join(posixpath.dirname(name), other) for other in _REQUIREMENTS.findall(text)]
    return found + _workspaces(project, installer, found) if found or is_there else None


def _brings(step: Step, path: str) -> bool:
    """Whether a COPY of single files, by name or pattern, puts one at ``path`` of the image."""
    if step.instruction not in ("COPY", "ADD"):
        return False
    to, words = posixpath.normpath(posixpath.join(step.state.workdir, step.words[-1])), copied(step)
    names = [fnmatch(posixpath.basename(path), posixpath.basename(word)) for word in words if word not in (".", "./")]
    return to == path or (to == posixpath.dirname(path) and any(names))


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
    command = _COMMANDS.split(commands[found.start("call") :])[0].strip()
    if installer.name == "cargo":
        return _cargo(project, command)
    if set(installer.before_sources.format("", tool="").split()) <= set(command.split()):
        return None
    only = installer.before_sources.format(command, tool=command.split()[0])
    if installer.name == "uv":
        text = "".join(project.read(path) for path in project.sent if posixpath.basename(path) == "pyproject.toml")
        if project.root is not None and "[build-system]" not in text and "package = true" not in text:
            return None  # nothing of ours is installed
        if "[tool.uv.workspace]" in text:
            only = only.replace("--no-install-project", "--no-install-workspace")
    return only if only not in commands else None


def _cargo(project: Project, command: str) -> str:
    """Dependencies compiled with empty sources of ours, whose traces are then deleted (cargo compares mtimes)."""
    roots, library, name = _crate_roots(project)
    empty = [f"touch {path}" if path == library else f"echo 'fn main() {{}}' > {path}" for path in roots]
    folders = list(dict.fromkeys(posixpath.dirname(path) for path in roots))
    release = " --release" if "--release" in command else ""
    remove = f"rm -r {' '.join(dict.fromkeys(path.partition('/')[0] for path in roots))}"
    clean = f"cargo clean{release} -p {name}"
    return " && ".join([f"mkdir -p {' '.join(folders)}", *empty, command, clean, remove])


def _crate_roots(project: Project) -> tuple[list[str], str, str]:
    """The files at which the compiler begins (Cargo's targets: by name, declared or found), the library's, the package's name."""
    try:
        manifest = tomllib.loads(project.read("Cargo.toml"))
        library = manifest.get("lib", {}).get("path", "src/lib.rs")
        wanted = {"src/main.rs", library}
        for kind, folder in (("bin", "src/bin"), ("bench", "benches"), ("example", "examples"), ("test", "tests")):
            wanted |= {target.get("path", f"{folder}/{target['name']}.rs") for target in manifest.get(kind, [])}
        found = [path for path in project.sent if path in wanted or re.fullmatch(r"src/bin/[^/]+(?:/main)?\.rs", path)]
        return sorted(found), library, manifest["package"]["name"]
    except (AttributeError, KeyError, TypeError, ValueError):  # no manifest of one crate
        return [], "", ""


def _copies(project: Project, step: Step, manifests: Sequence[tuple[str, str]]) -> list[str]:
    """COPY lines for the manifests, one for each folder, with the owner and mode that the step gives."""
    flags = "".join(f"--{name}={value} " for name, value in step.flags if name in ("chown", "chmod"))
    folders: dict[str, list[str]] = {}
    for source, to in manifests:
        is_folder = source in project.sent and project.sent[source].kind == "directory"
        folders.setdefault(posixpath.join(to, posixpath.basename(source)) if is_folder else to, []).append(source)
    return [f"COPY {flags}{' '.join(names)} {_place(step, to)}" for to, names in folders.items()]


def _place(step: Step, folder: str) -> str:
    """A folder as the last argument of a COPY in the step's place, relative to the working directory if it lies there."""
    relative = posixpath.relpath(folder, step.state.workdir)
    if relative.startswith("..") or step.state.workdir == "/":
        return f"{folder.rstrip('/')}/"
    return "./" if relative == "." else f"{relative}/"


def _moved(
    project: Project,
    steps: Sequence[Step],
    step: Step,
    sources: Sequence[Step],
    manifests: Sequence[tuple[str, str]],
    count: int | None,
) -> tuple[Change, ...] | None:
    """The sources' COPYs move below the install, or below its first ``count`` commands; what stands between stays.

    Where a RUN between needs the sources, the install moves above them.
    """
    first = sources[0]
    install: list[str] = project.raw(step)
    rest: list[str] = []
    if count is not None:
        plain = not step.heredocs and not step.node.json and commands_of(script(step))
        split = split_run(install, step, count) if plain else None
        if split is None:
            return None
        install, rest = split
        if folder := re.match(r"\s*cd\s+\S+\s*&&", script(step)):
            rest[0] = re.sub(r"^(RUN (?:--\S+ )*)", lambda found: f"{found[1]}{folder[0].strip()} ", rest[0])
    if any(_moves_away(source, step) for source in sources):
        return None
    copies = _copies(project, first, manifests)
    between = [s for s in steps if first.line < s.line < step.line and s.instruction == "RUN"]
    if not all(_needs_no_sources(part) for s in between for part in _COMMANDS.split(script(s))):
        if first.state.workdir != step.state.workdir:
            return None
        return Change(first.line - 1, first.line - 1, (*copies, *install)), project.change(step, *rest)
    moved = [line for source in sources for line in project.raw(source)]
    changes = [project.change(source) for source in sources[1:]]
    return project.change(first, *copies), *changes, project.change(step, *install, *moved, *rest)


def _moves_away(source: Step, step: Step) -> bool:
    """Whether a COPY would copy to another place, or for another user, below the step."""
    relative = not source.words[-1].startswith("/")
    return (relative and source.state.workdir != step.state.workdir) or source.state.user != step.state.user


def _needs_no_sources(command: str) -> bool:
    if not command or any(pattern.search(command) for pattern in SYSTEM):
        return True
    is_local = _LOCAL.search("\n".join(command.split()[2:]))
    return bool(_SETUP.search(command)) or (installer_of(command) is not None and not is_local)


def _inserted(
    project: Project,
    steps: Sequence[Step],
    step: Step,
    first: Step,
    manifests: Sequence[tuple[str, str]],
    alone: str,
) -> tuple[Change, ...] | None:
    """Before the sources: the manifests and an install of the dependencies alone; the old install stays."""
    if not manifests:
        return None
    place = []
    if first.state.workdir != step.state.workdir:
        below = next(s for s in steps if s.line > first.line)
        if below.instruction != "WORKDIR" or not first.words[-1].startswith("/"):
            return None
        place = project.raw(below)  # the same line stays below the sources
    flags = [f"--{name}={value}" for name, value in step.flags]
    run = with_flags([f"RUN {alone}"], flags)
    at = first.line - 1
    return (Change(at, at, (*_copies(project, first, manifests), *place, *run)),)
