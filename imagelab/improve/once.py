"""Store files once, or not at all: COPY sets owners and modes, and a mount shows a RUN what it deletes afterwards."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from imagelab.build.dockerfile.select import context_path, copied
from imagelab.build.dockerfile.syntax import Step
from imagelab.core.terms import EXACT
from imagelab.improve.edits import Change, Edit, Project, commands_of, with_command, with_flags
from imagelab.improve.installers import SYSTEM, expanded, script

_CHMOD = re.compile(r"^\s*chmod\s+(?P<mode>(?:-R\s+)?[0-7]{3,4}|a?\+x)\s+(?P<path>[\w./-]+)\s*$")
_ACCOUNT = re.compile(r"(?:user|group)(?:add|mod)\b|add(?:user|group)\b")


@dataclass(frozen=True)
class _Chown:
    """A ``chown`` in a chain of commands: the commands before it and after it, and its words as written."""

    before: list[str]
    owner: str
    paths: list[str]
    after: list[str]
    is_recursive: bool

    def give(self, paths: Sequence[str]) -> str:
        """The command that changes only what has another owner."""
        return f"find {' '.join(paths)} ! -user {self.owner.partition(':')[0]} -exec chown {self.owner} {{}} +"


def copy_with_owner(project: Project) -> Iterator[Edit]:
    """``chown`` of what a COPY brought stores every file again: ``COPY --chown`` stores it once.

    RUNs in between give their new files to the owner themselves; the directory keeps its owner, too. A user that is
    added below the first COPY is added above it. Docker's reference of COPY --chown and the OCI layer specification (a
    changed owner stores the file again). Keeps every path, owner and mode.
    """
    for stage in project.final:
        steps = project.steps(stage)
        for index, step in enumerate(steps):
            found = _chown(step)
            if not found:
                continue
            paths = [
                posixpath.normpath(posixpath.join(step.state.workdir, expanded(step, "".join(shlex.split(p)))))
                for p in found.paths
            ]
            copies = [s for s in steps[:index] if _into(s, paths) and s.flag("chown") is None]
            if not found.is_recursive and not set(paths) <= {_place(s) for s in copies}:
                continue  # a directory alone
            changes = _owned(project, steps[:index], step, copies, found, paths) if copies else None
            if changes:
                what = f"chown stores again what the {copies[0].instruction} in line {copies[0].line} stored"
                yield Edit("copy-chown", what, step, tuple(changes), confidence=EXACT)


def _chown(step: Step) -> _Chown | None:
    """The first chown of a RUN that is a plain chain of commands."""
    commands = commands_of(script(step)) if step.instruction == "RUN" else None
    if not commands or step.heredocs or step.node.json or step.flags:
        return None
    for n, command in enumerate(commands):
        words = command.split()
        names = [word for word in words[1:] if not word.startswith("-")]
        flags = "".join(word for word in words[1:] if word.startswith("-"))
        if words[:1] == ["chown"] and "=" not in flags and len(names) > 1:
            is_recursive = bool(re.search(r"^-\w*R|--recursive", flags))
            return _Chown(commands[:n], names[0], names[1:], commands[n + 1 :], is_recursive)
    return None


def _owned(
    project: Project, above: Sequence[Step], step: Step, copies: Sequence[Step], found: _Chown, paths: Sequence[str]
) -> list[Change] | None:
    user, _, group = found.owner.partition(":")
    # COPY gives the group of the same number, chown keeps the old one
    flag = f"--chown={user}:{group or (user if ':' in found.owner else 0)}"
    changes = [project.change(copy, *with_flags(project.raw(copy), [flag])) for copy in copies]
    between = [s for s in above if s.instruction == "RUN" and s.line > copies[0].line]
    accounts = [s for s in between if all(map(_ACCOUNT.match, commands_of(script(s)) or [""]))]
    moved = [line for s in accounts for line in project.raw(s)]
    changes += [project.change(s) for s in accounts]
    between = [s for s in between if s not in accounts and _makes(project, s, paths)]
    there = [word for word, path in zip(found.paths, paths, strict=True) if any(_into(s, [path]) for s in copies)]
    for run in between:  # a path that no COPY makes may not be there yet
        lines = with_command(project.raw(run), run, found.give(there))
        if lines is None:
            return None
        changes.append(project.change(run, *lines))
    own = [command for command in found.before if _ACCOUNT.match(command)]
    rest = [command for command in found.before if command not in own]
    if rest or found.after:
        rest += [found.give(found.paths), *found.after]
    elif found.is_recursive and not between:
        rest = [f"chown {found.owner} {' '.join(found.paths)}"]
    moved += [f"RUN {' && '.join(own)}"] if own else []
    if moved:
        at = copies[0].line - 1
        changes.append(Change(at, at, tuple(moved)))
    return [*changes, project.change(step, *([f"RUN {' && '.join(rest)}"] if rest else []))]


def _makes(project: Project, run: Step, paths: Sequence[str]) -> bool:
    """Whether a RUN stores something in the folders; where no image tells, packages of the system lie elsewhere."""
    stores = project.stores(run, *paths)
    return not any(pattern.search(script(run)) for pattern in SYSTEM) if stores is None else stores


def _into(step: Step, paths: Sequence[str]) -> bool:
    if step.instruction not in ("COPY", "ADD"):
        return False
    to = _place(step)
    return any(to == path or to.startswith(path.rstrip("/") + "/") for path in paths)


def _place(step: Step) -> str:
    """Where a COPY puts what it copies."""
    return posixpath.normpath(posixpath.join(step.state.workdir, step.words[-1]))


def copy_with_mode(project: Project) -> Iterator[Edit]:
    """``chmod`` of what one COPY brought stores it again: ``COPY --chmod`` stores it once (Docker's reference of COPY)."""
    for stage in project.final:
        steps = project.steps(stage)
        for index, step in enumerate(steps):
            found = _CHMOD.match(script(step))
            if not found or step.flags:
                continue
            path = posixpath.normpath(posixpath.join(step.state.workdir, found["path"]))
            *flags, mode = found["mode"].split()
            for copy in steps[:index]:
                source, place = _only_source(project, copy)
                kind, entry = "directory" if flags else "file", project.sent.get(source)
                is_ours = copy.flag("from") is None and copy.flag("chmod") is None
                if place != path or not entry or entry.kind != kind or not is_ours:
                    continue
                number = entry.mode & 0o7777 | 0o111 if "x" in mode else int(mode, 8)
                lines = with_flags(project.raw(copy), [f"--chmod={number:o}"])
                what = f"chmod stores again what the COPY in line {copy.line} stored"
                both = (project.change(copy, *lines), project.change(step))
                yield Edit("copy-chmod", what, step, both, confidence=EXACT)


def copied_then_deleted(project: Project) -> Iterator[Edit]:
    """A COPY of what a RUN below deletes: ``RUN --mount=type=bind`` shows it to the RUN, and no layer stores it.

    A directory of the context is writable there; what is written to it is lost after the RUN, so only one RUN may need
    it. Docker's reference of RUN --mount=type=bind. Keeps the final filesystem.
    """
    for stage in project.final:
        steps = project.steps(stage)
        for index, copy in enumerate(steps):
            source, place = _only_source(project, copy)
            origin, entry = copy.flag("from"), project.sent.get(source)
            if re.search(r"^$|[*?[]", source) or (origin is None and entry is None and source != "."):
                continue
            below = [s for s in steps[index + 1 :] if s.instruction == "RUN"]
            users = [s for s in below if any(f"{path}/".startswith(f"{place}/") for path in _paths(s).values())]
            kept = [_without_deletion(project, s, place) for s in users]
            last = next((n for n, lines in enumerate(kept) if lines is not None), None)
            is_file = origin is not None or (entry is not None and entry.kind == "file")
            if last is None or (last and not is_file):
                continue
            words = [f"from={origin}"] * bool(origin) + [f"source={source}", f"target={place}"] + ["rw"] * (not is_file)
            mount = f"--mount=type=bind,{','.join(words)}"
            changes = [project.change(s, *with_flags(project.raw(s), [mount])) for s in users[:last]]
            rest = kept[last] or []
            deleting = project.change(users[last], *(with_flags(rest, [mount]) if rest else ()))
            what = f"deletes what the COPY in line {copy.line} stores"
            yield Edit("bind-mount", what, users[last], (project.change(copy), *changes, deleting), confidence=EXACT)


def _paths(step: Step) -> dict[str, str]:
    """The words of a RUN, each as a path."""
    words = [word for word in re.split(r"[\s=;]+", script(step)) if word]
    return {word: posixpath.normpath(posixpath.join(step.state.workdir, expanded(step, word))) for word in words}


def _without_deletion(project: Project, step: Step, place: str) -> list[str] | None:
    """The RUN's lines without its ``rm`` of the place, none if it does nothing else; None where it does not delete it."""
    commands, text, paths = commands_of(script(step).strip()) or [], "\n".join(project.raw(step)), _paths(step)
    for command in commands:
        name, *words = command.split()
        deleted = [word for word in words if not word.startswith("-")]
        ours = [word for word in deleted if paths.get(word) == place]
        if name != "rm" or not ours:
            continue
        if deleted != ours:
            changed = re.subn(rf"(rm\b[^&\n]*?)\s+{re.escape(ours[0])}(?=\s|$)", r"\1", text, count=1)
        elif commands == [command]:
            return []
        else:
            spaced, cut = r"\s+".join(map(re.escape, command.split())), r"\s*(?:\\\n(?:\s*#.*\n)*\s*)?"
            changed = re.subn(rf"(?m){cut}&&{cut}{spaced}(?=\s*(?:$|&&|\\))", "", text, count=1)
        return changed[0].split("\n") if changed[1] else None
    return None


def _only_source(project: Project, step: Step) -> tuple[str, str]:
    """The only source of a COPY, and the path in the image at which it lands; of another image's, as if it is a file."""
    sources, is_ours = copied(step), step.flag("from") is None
    if step.instruction != "COPY" or len(sources) != 1:
        return "", ""
    source = context_path(sources[0]) if is_ours else sources[0]
    into = step.words[-1].endswith("/") or step.words[-1] == "."
    is_file = not is_ours or (source in project.sent and project.sent[source].kind == "file")
    return source, posixpath.join(_place(step), posixpath.basename(source)) if into and is_file else _place(step)
