"""Advice that cannot be an edit: it needs a digest, a decision or a measurement that is not in the Dockerfile.

The edits are in ``imagelab.improve.rules``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from imagelab.build.dockerfile.grammar import written
from imagelab.build.dockerfile.select import is_remote, prefixes
from imagelab.build.dockerfile.syntax import Stage, Step
from imagelab.core.frames import format_bytes
from imagelab.core.terms import EXACT, LIKELY, POSSIBLE
from imagelab.improve.edits import Project, with_flags
from imagelab.improve.installers import APK_ADD, APT_INSTALL, installer_of, script

Row = dict[str, Any]

_VOLATILE = re.compile(r"(?:^|_)(?:DATE|TIME|TIMESTAMP|COMMIT|SHA|REVISION|REF|BUILD_ID|BUILD_NUMBER)$|^VERSION$", re.I)
_GIT = re.compile(r"^(?:git@|git://|ssh://)|\.git(?:[#?]|$)", re.I)
_LARGE = 1_000_000  # bytes of the context from which a path is worth a line of .dockerignore


def _row(rule: str, step: Step, what: str, suggestion: str, confidence: str, **more: Any) -> Row:
    return {"rule": rule, "what": what, "of": step, "suggestion": suggestion, "confidence": confidence, **more}


def unused_context(project: Project, stage: Stage) -> Iterator[Row]:
    """Large paths that nothing copies, once per Dockerfile."""
    used = {part for path in project.copied for part in prefixes(path)[:-1]}
    sizes: dict[str, int] = {}
    for path in project.sent.keys() - project.copied.keys() if stage.index == 0 else ():
        if project.sent[path].kind != "directory" and path not in (project.dockerfile, project.ignore):
            top = next(part for part in prefixes(path) if part not in used)
            sizes[top] = sizes.get(top, 0) + project.sent[path].size
    for path, size in sorted(sizes.items(), key=lambda item: -item[1]):
        if size >= _LARGE:
            what = (
                f"{path} ({format_bytes(size)}) is in the context, and nothing copies it; the classic builder sends it"
            )
            yield _row("unused-context", stage.steps[0], what, f"/{path}", EXACT, bytes=size)


def parallel_stages(project: Project, stage: Stage) -> Iterator[Row]:
    """Downloads and installs of different tools one after another: as stages they run side by side."""
    families: dict[str, Step] = {}
    for step in project.steps(stage):
        commands = script(step)
        if step.mounts or APT_INSTALL.search(commands) or APK_ADD.search(commands):
            continue
        installer, fetches = installer_of(commands), re.findall(r"\b(?:curl|wget|git clone)\b", commands)
        if name := installer.name if installer else next(iter(fetches), ""):
            families.setdefault(name, step)
    if len(families) > 1:
        name, step = next(iter(families.items()))
        own = name.replace(" ", "-")
        head = f"FROM {stage.parent or stage.base} AS {own}"
        copy = f"COPY --from={own} <what it made> <the same place>"
        suggestion = "\n".join([head, *project.raw(step), f"# in stage {stage.name}, in its place:", copy])
        lines = " and ".join(str(s.line) for s in families.values())
        yield _row(
            "parallel-stages", step, f"lines {lines} run one after another but look independent", suggestion, POSSIBLE
        )


def link(project: Project, stage: Stage) -> Iterator[Row]:
    """COPYs at a stage's end: with --link they stay cached when what is below them changes."""
    steps = project.steps(stage)
    for index, step in enumerate(steps):
        before = [s for s in steps[:index] if s.instruction == "RUN"]
        after = [s for s in steps[index + 1 :] if s.instruction in ("RUN", "WORKDIR")]
        owner = step.flag("chown") or "0"
        plain = step.instruction == "COPY" and step.flag("link") is None and not re.search("[a-z]", owner)
        if plain and before and not after:
            what = f"with --link this stays cached when RUN in line {before[-1].line} runs again (not in 20.10)"
            yield _row("link", step, what, "\n".join(with_flags(project.raw(step), ["--link"])), LIKELY)


def add_url(project: Project, stage: Stage) -> Iterator[Row]:
    """Downloads without a checksum; a Git repository has none to give."""
    for step in project.steps(stage):
        urls = [word for word in step.words[:-1] if is_remote(word) and not _GIT.search(word.split("://")[-1])]
        if step.instruction == "ADD" and urls and step.flag("checksum") is None and step.flag("keep-git-dir") is None:
            what = "every build asks for the URL again, and what it brings is not checked"
            flags = ["--checksum=sha256:<its digest>"]
            yield _row("add-url", step, what, "\n".join(with_flags(project.raw(step), flags)), LIKELY)


def unpinned_base(project: Project, stage: Stage) -> Iterator[Row]:
    name, _, digest = stage.base.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    if stage.parent or stage.base == "scratch" or digest or "$" in stage.base:
        return
    step = stage.steps[0]
    moving = tag in ("", "latest")
    what = "is whatever the registry serves that day" if moving else "can be pushed again under its tag"
    named = f"{name.removesuffix(':latest') + ':<tag>' if moving else name}@sha256:<its digest>"
    suggestion = "\n".join(project.raw(step)).replace(step.node.args[0], named, 1)
    yield _row("unpinned-base", step, f"{stage.base} {what}", suggestion, LIKELY if moving else POSSIBLE)


def early_argument(project: Project, stage: Stage) -> Iterator[Row]:
    """Arguments that differ in every build, above steps that do not use them: every RUN below misses."""
    steps = project.steps(stage)
    for index, step in enumerate(steps):
        if step.instruction != "ARG" or not step.node.args:
            continue
        name = step.node.args[0].partition("=")[0]
        runs = [s for s in steps[index + 1 :] if s.instruction == "RUN"]
        idle = [s for s in runs if not re.search(rf"\b{re.escape(name)}\b", written(s.node) + script(s))]
        if _VOLATILE.search(name) and idle and runs[: len(idle)] == idle:
            below = f"{len(idle)} RUN below that do not use it"
            what = f"ARG {name} is in the key of {below}: each new value runs them again"
            suggestion = "\n".join([f"# below line {idle[-1].node.end_line}:", *project.raw(step)])
            yield _row("early-argument", step, what, suggestion, EXACT, timed=idle)


RULES: tuple[Callable[[Project, Stage], Iterator[Row]], ...] = (
    unused_context,
    parallel_stages,
    link,
    add_url,
    unpinned_base,
    early_argument,
)
