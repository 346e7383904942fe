"""The rules of `advise_build`: each takes a stage with what is known of it, and yields findings as rows."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from imagelab.build.cache.keys import prefixes
from imagelab.build.dockerfile.select import context_path, copied, is_remote, select
from imagelab.build.dockerfile.syntax import Stage, Step
from imagelab.core.frames import format_bytes
from imagelab.core.references import parse_image_name
from imagelab.core.terms import EXACT, LIKELY, POSSIBLE

Row = dict[str, Any]


@dataclass(frozen=True)
class Installer:
    """A command that installs dependencies, the files that name them, and where it caches downloads (as root)."""

    name: str
    command: re.Pattern[str]
    manifests: tuple[str, ...]
    caches: tuple[str, ...]


def _installer(name: str, command: str, manifests: str, *caches: str) -> Installer:
    return Installer(name, re.compile(rf"(?:^|[\s;&|/]){command}"), tuple(manifests.split()), caches)


_APT = _installer("apt", r"apt(?:-get)?\s+(?:-\S+\s+)*install\b", "", "/var/cache/apt", "/var/lib/apt")
#: Cache folders as the tools' own documentation gives them.
INSTALLERS = (
    _installer("pip", r"pip3?\s+install\b", "", "/root/.cache/pip"),
    _installer("uv", r"uv\s+(?:sync|pip\s+install)\b", "pyproject.toml uv.lock", "/root/.cache/uv"),
    _installer("poetry", r"poetry\s+install\b", "pyproject.toml poetry.lock", "/root/.cache/pypoetry"),
    _installer("npm", r"npm\s+(?:ci|install|i)\b", "package.json package-lock.json", "/root/.npm"),
    _installer("yarn", r"yarn(?:\s+install\b|\s*(?:$|&|;))", "package.json yarn.lock", "/usr/local/share/.cache/yarn"),
    _installer("pnpm", r"pnpm\s+(?:install|i)\b", "package.json pnpm-lock.yaml", "/root/.local/share/pnpm/store"),
    _installer(
        "go", r"go\s+(?:mod\s+download|build|install)\b", "go.mod go.sum", "/go/pkg/mod", "/root/.cache/go-build"
    ),
    _installer("cargo", r"cargo\s+(?:fetch|build|install)\b", "Cargo.toml Cargo.lock", "/usr/local/cargo/registry"),
    _installer("bundler", r"bundle\s+install\b", "Gemfile Gemfile.lock", "/usr/local/bundle/cache"),
    _installer("composer", r"composer\s+install\b", "composer.json composer.lock", "/root/.composer/cache"),
    _installer("maven", r"mvn\b", "pom.xml", "/root/.m2"),
    _APT,
    _installer("apk", r"apk\s+(?:-\S+\s+)*add\b", "", "/etc/apk/cache"),
)
_REQUIREMENTS = re.compile(r"(?:-r|--requirement)[\s=]+(\S+)")
_BUILDS = re.compile(r"\b(?:go|cargo)\s+(?:build|install)\b|\bmvn\b(?!.*dependency:)")
_VOLATILE = re.compile(r"(?:^|_)(?:DATE|TIME|TIMESTAMP|COMMIT|SHA|REVISION|REF|BUILD_ID|BUILD_NUMBER)$|^VERSION$", re.I)
_CLUTTER = re.compile(
    r"(?:^|/)(?:\.git|node_modules|\.?venv|__pycache__|\.(?:mypy|pytest)_cache|\.tox|dist|\.idea|\.vscode)$"
)
_LARGE = 1_000_000  # bytes of the context from which a path is worth a line of .dockerignore


@dataclass(frozen=True)
class Site:
    """A stage and what is known of it."""

    stage: Stage
    steps: Sequence[Step]
    took: Mapping[int, float | None]  # line → seconds in the log
    context: pd.DataFrame | None
    root: Path | None

    def row(self, rule: str, step: Step, what: str, suggestion: str, confidence: str, **more: Any) -> Row:
        """A finding about a step; ``more`` says what is not the step's own."""
        return {
            "rule": rule,
            "what": what,
            "seconds": self.took.get(step.line),
            "stage": self.stage.name,
            "step": step.step,
            "line": step.line,
            "end_line": step.node.end_line,
            "suggestion": suggestion,
            "confidence": confidence,
            **more,
        }


def _command(step: Step) -> str:
    return " ".join(step.words) + "".join("\n" + text for _, text in step.heredocs)


def _line(step: Step, *flags: str, command: str | None = None) -> str:
    """The step's line again, with more flags or another command."""
    return " ".join([step.instruction, *flags, *step.node.flags, _body(step) if command is None else command])


def _body(step: Step) -> str:
    rest = step.node.original.strip().partition(" ")[2].strip()
    for flag in step.node.flags:
        rest = rest.removeprefix(flag).strip()
    return rest + "".join(f"\n{text}{name}" for name, text in step.heredocs)


def _runs(steps: Sequence[Step]) -> list[Step]:
    return [step for step in steps if step.instruction == "RUN"]


def _installs(step: Step) -> list[Installer]:
    return [i for i in INSTALLERS if step.instruction == "RUN" and i.command.search(_command(step))]


def _is_cached(step: Step) -> bool:
    return any(mount["type"] == "cache" for mount in step.mounts)


def copy_before_install(site: Site) -> Iterator[Row]:
    """Sources copied before dependencies are installed: each edit installs them again."""
    for index, step in enumerate(site.steps):
        wide = [s for s in site.steps[:index] if s.flag("from") is None and _is_wide(s)]
        for installer in _installs(step):
            requirements = _REQUIREMENTS.findall(_command(step)) if installer.name == "pip" else []
            names = requirements or [name for name in installer.manifests if _held(site, wide, name)]
            if not wide or not names or _BUILDS.search(_command(step)) or installer.name in ("apt", "apk"):
                continue
            first = wide[0]
            moved = [_manifest(step, first, name) for name in names]
            between = site.steps[site.steps.index(first) + 1 : index]
            # a RUN in between may need the sources
            lines = [_line(s) for s in between if s.instruction != "RUN"]
            lines += [f"COPY {' '.join(source for source, _ in moved)} {moved[0][1]}", _line(step), _line(first)]
            lines += map(_line, _runs(between))
            what = f"the {first.instruction} in line {first.line} is above {installer.name}'s install: each edit installs again"
            yield site.row("copy-before-install", step, what, "\n".join(lines), EXACT, line=first.line)


def _is_wide(step: Step) -> bool:
    return any(context_path(source) == "." or not posixpath.splitext(source)[1] for source in copied(step))


def _held(site: Site, wide: Sequence[Step], name: str) -> bool:
    """Whether one of the copies brings the manifest; taken for granted where no context was given."""
    places = (posixpath.join(context_path(source), name) for step in wide for source in copied(step))
    if site.context is None:
        return True
    sent = set(site.context.loc[~site.context["ignored"], "path"])
    return any(context_path(place) in sent for place in places)


def _manifest(step: Step, copy: Step, name: str) -> tuple[str, str]:
    """Where a manifest comes from in the context, and the directory that it is copied to."""
    to = posixpath.join(copy.state.workdir, copy.words[-1])
    path = posixpath.join(step.state.workdir, name)
    source = posixpath.normpath(
        posixpath.join(context_path(copied(copy)[0]), posixpath.relpath(path, posixpath.normpath(to)))
    )
    return source, posixpath.dirname(path) + "/"


def big_requirements(site: Site) -> Iterator[Row]:
    """One long requirements file: a change of one line installs all."""
    named = [(step, name) for step in _runs(site.steps) for name in _REQUIREMENTS.findall(_command(step))]
    if site.root is None or len(named) != 1:
        return
    ((step, name),) = named
    folder, file = posixpath.split(name)
    found = min((path for path in site.root.rglob("*") if path.name == file and path.is_file()), default=None)
    lines = found.read_text("utf-8", "replace").splitlines() if found else []
    count = sum(bool(line.strip()) and not line.lstrip().startswith(("#", "-")) for line in lines)
    if count >= 10:
        base = _body(step).replace(name, posixpath.join(folder, "requirements-base.txt"))
        to = f"{folder or '.'}/"
        instead = [f"COPY requirements-base.txt {to}", _line(step, command=base), f"COPY {file} {to}", _line(step)]
        what = f"{name} names {count} packages: a change of one installs all; keep apart what seldom changes"
        yield site.row("big-requirements", step, what, "\n".join(instead), POSSIBLE)


def cache_mounts(site: Site) -> Iterator[Row]:
    """Installers without a cache mount: what they download is downloaded again whenever they run again."""
    for step in site.steps:
        installers = _installs(step)
        if not installers or _is_cached(step) or step.state.user not in ("", "root", "0"):
            continue
        installer = installers[0]
        sharing = ",sharing=locked" if installer.name == "apt" else ""
        flags = [f"--mount=type=cache,target={target}{sharing}" for target in installer.caches]
        body = re.sub(r" ?--no-cache-dir| ?--no-cache(?=\s)", "", _body(step))
        if installer.name == "apt":
            # the lists stay in the mount; images for containers delete what was downloaded after each install
            body = re.sub(r"\s*&&\s*(?:apt-get clean|rm -rf /var/lib/apt/lists/?\*?)(?=\s|$|&)", "", body)
            body = "rm -f /etc/apt/apt.conf.d/docker-clean && " + body
        what = f"{installer.name} downloads again whenever this step runs again"
        yield site.row("cache-mount", step, what, _line(step, *flags, command=body), EXACT)


def apt_lists(site: Site) -> Iterator[Row]:
    """apt-get update on its own, or its lists left in the layer."""
    for step in _runs(site.steps):
        command = _command(step)
        if not re.search(r"\bapt(?:-get)?\s+(?:-\S+\s+)*update\b", command):
            continue
        if not _APT.command.search(command):
            following = next((s for s in site.steps if s.line > step.line and _APT in _installs(s)), None)
            joined = f"{_line(step)} && {_body(following)}" if following else _line(step)
            what = "apt-get update alone stays cached: a later install then uses old lists"
            yield site.row("apt-update-alone", step, what, f"{joined} && rm -rf /var/lib/apt/lists/*", EXACT)
        elif "/var/lib/apt/lists" not in command and not _is_cached(step):
            what = "the package lists stay in the layer"
            yield site.row("apt-cleanup", step, what, f"{_line(step)} && rm -rf /var/lib/apt/lists/*", EXACT)


def wide_copy(site: Site) -> Iterator[Row]:
    """COPY . of a context that holds what no image needs: any change there is a miss."""
    if site.context is None:
        return
    sent = site.context[~site.context["ignored"]]
    for step in site.steps:
        if any(context_path(source) == "." for source in copied(step)) and step.flag("from") is None:
            clutter = [p for p in sent["path"] if _CLUTTER.search(p) and not _CLUTTER.search(posixpath.dirname(p))]
            if clutter:
                beneath = {path for folder in clutter for path in select(sent["path"], folder)}
                size = int(sent.loc[sent["path"].isin(beneath), "size"].sum())
                lines = "\n".join(dict.fromkeys(f"**/{posixpath.basename(path)}" for path in clutter))
                named = ", ".join(clutter[:3])
                what = f"{step.instruction} . takes {format_bytes(size)} of {named} along: any change there is a miss"
                yield site.row("wide-copy", step, what, lines, EXACT, bytes=size)


def unused_context(site: Site) -> Iterator[Row]:
    """Large paths that nothing copies, once per Dockerfile."""
    if site.context is None or site.stage.index or not site.context["copied"].notna().all():
        return
    unused = site.context[~site.context["ignored"] & ~site.context["copied"] & (site.context["kind"] != "directory")]
    used = {
        part for path in site.context.loc[site.context["copied"].astype(bool), "path"] for part in prefixes(path)[:-1]
    }
    tops = unused["path"].map(lambda path: next(part for part in prefixes(path) if part not in used))
    sizes = unused.groupby(tops.astype("string"))["size"].sum()
    for path, size in sizes[sizes >= _LARGE].sort_values(ascending=False).items():
        what = f"{path} ({format_bytes(size)}) is in the context, and nothing copies it; the classic builder sends it each time"
        yield site.row("unused-context", site.steps[0], what, f"/{path}", EXACT, bytes=int(size))


def parallel_stages(site: Site) -> Iterator[Row]:
    """Downloads and installs of different tools one after the other: as stages they would run side by side."""
    families: dict[str, Step] = {}
    for step in _runs(site.steps):
        names = [i.name for i in _installs(step)] or re.findall(r"\b(?:curl|wget|git clone)\b", _command(step))
        if names and names[0] not in ("apt", "apk") and not step.mounts:
            families.setdefault(names[0], step)
    if len(families) > 1:
        family, step = min(families.items(), key=lambda one: site.took.get(one[1].line) or 0.0)
        name = family.replace(" ", "-")
        stage = site.stage
        instead = (
            f"FROM {stage.parent or stage.base} AS {name}\n{_line(step)}\n# in stage {stage.name}, in its place:\n"
            f"COPY --from={name} <what it made> <the same place>"
        )
        lines = " and ".join(str(s.line) for s in families.values())
        what = f"lines {lines} wait for each other and may not need to"
        yield site.row("parallel-stages", step, what, instead, POSSIBLE)


def link(site: Site) -> Iterator[Row]:
    """COPYs at a stage's end: with --link they stay cached when what is beneath them changes."""
    for index, step in enumerate(site.steps):
        before = _runs(site.steps[:index])
        after = [s for s in site.steps[index + 1 :] if s.instruction in ("RUN", "WORKDIR")]
        owner = step.flag("chown") or "0"
        plain = step.instruction == "COPY" and step.flag("link") is None and not re.search("[a-z]", owner)
        if plain and before and not after:
            what = f"with --link this stays cached when RUN in line {before[-1].line} runs again (not in 20.10)"
            yield site.row("link", step, what, _line(step, "--link"), LIKELY)


def add_url(site: Site) -> Iterator[Row]:
    for step in site.steps:
        is_git = any(word.split("#")[0].endswith(".git") for word in step.words)
        is_url = step.instruction == "ADD" and any(map(is_remote, step.words[:-1])) and not is_git
        if is_url and step.flag("checksum") is None:
            what = "every build asks for the URL again, and what it brings is not checked"
            yield site.row("add-url", step, what, _line(step, "--checksum=sha256:<its digest>"), EXACT)


def unpinned_base(site: Site) -> Iterator[Row]:
    stage = site.stage
    name = parse_image_name(stage.base)
    if stage.parent or stage.base == "scratch" or name is None or name.digest:
        return
    step = stage.steps[0]
    moving = name.target == "latest"
    what = "is whatever its registry has that day" if moving else "can be pushed again under its tag"
    tagged = stage.base.removesuffix(":latest") + ":<tag>" if moving else stage.base
    named = f"{tagged}@sha256:<its digest>"
    instead = _line(step, command=_body(step).replace(step.node.args[0], named, 1))
    yield site.row("unpinned-base", step, f"{stage.base} {what}", instead, EXACT if moving else POSSIBLE)


def early_argument(site: Site) -> Iterator[Row]:
    """Arguments that differ in every build, above steps that do not use them: every RUN below misses."""
    for index, step in enumerate(site.steps):
        if step.instruction != "ARG" or not step.node.args:
            continue
        name = step.node.args[0].partition("=")[0]
        runs = _runs(site.steps[index + 1 :])
        idle = [s for s in runs if not re.search(rf"\b{re.escape(name)}\b", _command(s))]
        if _VOLATILE.search(name) and idle and runs[: len(idle)] == idle:
            below = f"{len(idle)} RUN below that do not use it"
            what = f"ARG {name} is in the key of {below}: each new value runs them again"
            seconds = [took for s in idle if (took := site.took.get(s.line)) is not None]
            instead = f"# below line {idle[-1].node.end_line}:\n{_line(step)}"
            yield site.row("early-argument", step, what, instead, EXACT, seconds=sum(seconds) if seconds else None)


RULES: tuple[Callable[[Site], Iterator[Row]], ...] = (
    copy_before_install,
    big_requirements,
    cache_mounts,
    apt_lists,
    wide_copy,
    unused_context,
    parallel_stages,
    link,
    add_url,
    unpinned_base,
    early_argument,
)
