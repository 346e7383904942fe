"""Store files once: owners and modes are set by the COPY, not by a later chown or chmod that stores them again."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence

from imagelab.build.dockerfile.select import context_path, copied
from imagelab.build.dockerfile.syntax import Step
from imagelab.core.terms import EXACT
from imagelab.improve.edits import Change, Edit, Project, with_command, with_flags
from imagelab.improve.installers import SYSTEM, script

_CHOWN = re.compile(
    r"(?:^|&&)\s*chown\s+(?:-R|--recursive)\s+(?P<owner>[\w.-]+(?::[\w.-]*)?)\s+(?P<paths>/?[\w./ -]+?)\s*$"
)
_CHMOD = re.compile(r"^\s*chmod\s+(?P<mode>[0-7]{3,4}|a?\+x)\s+(?P<path>[\w./-]+)\s*$")
_ACCOUNTS = re.compile(r"^\s*(?:user|group)add\b|^\s*add(?:user|group)\b")


def copy_with_owner(project: Project) -> Iterator[Edit]:
    """``chown -R`` of what a COPY brought stores every file again: ``COPY --chown`` stores it once.

    RUNs in between give their new files to the owner themselves; the directory keeps its owner, too. A user that the
    chown's own RUN adds is added above the first COPY. Docker's reference of COPY --chown and the OCI layer
    specification (a changed owner stores the file again). Keeps every path, owner and mode.
    """
    for stage in project.final:
        steps = project.steps(stage)
        for index, step in enumerate(steps):
            found = _CHOWN.search(script(step))
            if not found or step.heredocs or step.node.json or step.flags:
                continue
            paths = [posixpath.normpath(posixpath.join(step.state.workdir, path)) for path in found["paths"].split()]
            head = script(step)[: found.start()].strip()
            copies = [s for s in steps[:index] if _into(s, paths) and s.flag("chown") is None]
            if not copies or (head and not all(map(_ACCOUNTS.match, head.split("&&")))):
                continue
            changes = _owned(project, steps[:index], step, copies, found, head)
            if changes:
                what = f"chown -R stores again what the COPY in line {copies[0].line} stored"
                yield Edit("copy-chown", what, step, tuple(changes), confidence=EXACT)


def _owned(
    project: Project, above: Sequence[Step], step: Step, copies: Sequence[Step], found: re.Match[str], head: str
) -> list[Change] | None:
    owner, paths = found["owner"], found["paths"]
    user, _, group = owner.partition(":")
    flag = f"--chown={user}:{group or user}" if owner.endswith(":") else f"--chown={owner}"
    if ":" not in owner:  # COPY gives the group of the same number, chown keeps the old one
        flag = f"--chown={owner}:0"
    give = f"find {paths} ! -user {user} -exec chown {owner} {{}} +"
    changes = [project.change(copy, *with_flags(project.raw(copy), [flag])) for copy in copies]
    between = [s for s in above if s.instruction == "RUN" and s.line > copies[0].line]
    if head:
        at = copies[0].line - 1
        changes.append(Change(at, at, (f"RUN {head}",)))
    given = False
    for run in between:
        if any(pattern.search(script(run)) for pattern in SYSTEM):
            continue  # packages of the system lie elsewhere
        lines = with_command(project.raw(run), run, give)
        if lines is None:
            return None
        changes.append(project.change(run, *lines))
        given = True
    rest = [] if given else [f"RUN chown {owner} {paths}"]
    return [*changes, project.change(step, *rest)]


def _into(step: Step, paths: Sequence[str]) -> bool:
    if step.instruction not in ("COPY", "ADD"):
        return False
    to = posixpath.normpath(posixpath.join(step.state.workdir, step.words[-1]))
    return any(to == path or to.startswith(path.rstrip("/") + "/") for path in paths)


def copy_with_mode(project: Project) -> Iterator[Edit]:
    """``chmod`` of one copied file stores it again: ``COPY --chmod`` stores it once (Docker's reference of COPY)."""
    for stage in project.final:
        steps = project.steps(stage)
        for index, step in enumerate(steps):
            found = _CHMOD.match(script(step))
            if not found or step.flags:
                continue
            path = posixpath.normpath(posixpath.join(step.state.workdir, found["path"]))
            for copy in steps[:index]:
                source = _copied_to(copy, path)
                entry = project.sent.get(source or "")
                if not entry or entry.kind != "file" or copy.flag("chmod") is not None:
                    continue
                mode = entry.mode & 0o7777 | 0o111 if "x" in found["mode"] else int(found["mode"], 8)
                lines = with_flags(project.raw(copy), [f"--chmod={mode:o}"])
                what = f"chmod stores again what the COPY in line {copy.line} stored"
                both = (project.change(copy, *lines), project.change(step))
                yield Edit("copy-chmod", what, step, both, confidence=EXACT)


def _copied_to(step: Step, path: str) -> str | None:
    """The context's path of the only file of a COPY, where it lands at ``path``."""
    sources = copied(step)
    if step.instruction != "COPY" or step.flag("from") is not None or len(sources) != 1:
        return None
    source, to = context_path(sources[0]), posixpath.join(step.state.workdir, step.words[-1])
    into = step.words[-1].endswith("/") or step.words[-1] == "."
    place = posixpath.normpath(posixpath.join(to, posixpath.basename(source)) if into else to)
    return source if place == path else None
