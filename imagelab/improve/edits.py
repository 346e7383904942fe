"""Edit a Dockerfile and its .dockerignore as text: an edit replaces whole lines and leaves every other byte alone."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from imagelab.build.context import Entry, IgnoreFile, parse_ignore, walk
from imagelab.build.dockerfile.select import context_sources, select
from imagelab.build.dockerfile.syntax import Build, Stage, Step, parse
from imagelab.build.target import read_target
from imagelab.core.errors import DockerfileError
from imagelab.core.terms import LIKELY

_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'|\$\{\w+\}")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


@dataclass(frozen=True)
class Change:
    """Lines ``start`` to ``stop`` (from 0, ``stop`` not included) become ``lines``; no lines: they are deleted."""

    start: int
    stop: int
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edit:
    """One improvement of a project.

    Attributes
    ----------
    rule, what : str
        The rule's name, and why the lines should change.
    step : Step
        The instruction that the edit is about.
    changes : tuple of Change
        Of the Dockerfile, or of the ignore file where ``ignore`` is set.
    touches : tuple of str
        Regular expressions of absolute paths that may go, come or change in the image: what the edit announces.
    packages : bool
        Files of the packages that are installed no longer may go, too.
    made : tuple of str
        Paths whose programs must still find their shared libraries.
    cached : tuple of Step
        Steps that no longer run again after a source file changes.
    warm : bool
        The step still runs again, but faster.
    size : int or None
        Bytes that are sent no longer.
    confidence : str
        Before it is proven: ``likely``, unless the rule says another; ``exact`` is for rules of which a test of this
        repository builds this very kind of rewrite.
    alternative : bool
        Excludes the edit before it, which the rule prefers where neither is built.
    """

    rule: str
    what: str
    step: Step
    changes: tuple[Change, ...]
    touches: tuple[str, ...] = ()
    packages: bool = False
    made: tuple[str, ...] = ()
    cached: tuple[Step, ...] = ()
    warm: bool = False
    ignore: bool = False
    size: int | None = None
    confidence: str = LIKELY
    alternative: bool = False

    @property
    def lines(self) -> tuple[str, ...]:
        """The new lines, in order."""
        return tuple(line for change in self.changes for line in change.lines)

    @property
    def span(self) -> tuple[int, int]:
        """The first line that changes and the line after the last (from 0); an insertion counts the line below it."""
        start = min(change.start for change in self.changes)
        return start, max(start + 1, *(change.stop for change in self.changes))


@dataclass(frozen=True)
class Project:
    """A Dockerfile with its ignore file and context.

    ``root`` is None for a Dockerfile without a context; ``dockerfile`` is empty if its text stands in a Compose or bake file.
    """

    dockerfile: str
    text: str
    root: Path | None = None
    ignore: str = ".dockerignore"
    ignore_text: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    contexts: Mapping[str, str] = field(default_factory=dict)
    network: str | None = None
    layers: pd.DataFrame | None = field(default=None, compare=False)  # the files of an image built of it
    depth: int = field(default=0, compare=False)  # that image's number of layers; empty ones have no files

    @cached_property
    def build(self) -> Build:
        return parse(self.text.encode("utf-8", "replace").decode(), self.args, self.contexts)

    @cached_property
    def lines(self) -> list[str]:
        """The Dockerfile's lines without their ends."""
        return [line.rstrip("\r\n") for line in _LINE.findall(self.text)]

    @cached_property
    def final(self) -> list[Stage]:
        """The stages whose layers are the image's: the target and those that it continues."""
        chain = self.build.needed(self.target)[-1:]
        while chain and chain[0].parent:
            # A repeated name means the nearest stage above.
            above = [stage for stage in self.build.stages[: chain[0].index] if stage.name == chain[0].parent]
            chain.insert(0, above[-1])
        return chain

    @cached_property
    def sent(self) -> dict[str, Entry]:
        """What is not ignored, by path."""
        if self.root is None:
            return {}
        rules = IgnoreFile(self.ignore, parse_ignore(self.ignore_text or ""))
        return {entry.path: entry for entry in walk(self.root, rules) if not entry.ignored}

    @cached_property
    def copied(self) -> dict[str, Entry]:
        """What BuildKit sends: the paths that some instruction copies or mounts."""
        needed = self.build.needed(self.target)
        sources = {source for stage in needed for step in stage.steps for source in context_sources(step)}
        return {path: self.sent[path] for source in sources for path in select(self.sent, source)}

    @property
    def sent_bytes(self) -> int:
        return sum(entry.size for entry in self.copied.values() if entry.kind == "file")

    def steps(self, stage: Stage) -> list[Step]:
        """The stage's steps that stand in this text."""
        return [step for step in stage.steps if not step.onbuild]

    def layer(self, step: Step) -> int | None:
        """The index of the step's layer in the image that was built of this project: the last steps made the last."""
        steps = [s for stage in self.final for s in stage.steps if s.step is not None and s.instruction != "FROM"]
        return self.depth - 1 - sum(s.line > step.line for s in steps) if self.depth and step in steps else None

    def stores(self, step: Step, *folders: str) -> bool | None:
        """Whether the step's layer has files in one of the folders; None where no image tells."""
        if self.layers is None or (layer := self.layer(step)) is None:
            return None
        paths = self.layers.loc[self.layers["layer_index"].eq(layer) & self.layers["kind"].ne("whiteout"), "path"]
        return any(bool(paths.str.startswith(folder.rstrip("/") + "/").any()) for folder in folders)

    def raw(self, step: Step) -> list[str]:
        """The step's own lines."""
        return self.lines[step.line - 1 : step.node.end_line]

    def change(self, step: Step, *lines: str) -> Change:
        """The step's lines become these."""
        return Change(step.line - 1, step.node.end_line, lines)

    def apply(self, edit: Edit) -> Project:
        if edit.ignore:
            return replace(self, ignore_text=edited(self.ignore_text or "", edit.changes))
        return replace(self, text=edited(self.text, edit.changes))

    def read(self, path: str) -> str:
        """The text of a file of the context that is sent, or "" if there is no such file."""
        if self.root is None or path not in self.sent or self.sent[path].kind != "file":
            return ""
        return (self.root / path).read_bytes().decode("utf-8", "replace")


def read_project(
    directory: str | os.PathLike[str],
    dockerfile: str | os.PathLike[str] | None = None,
    service: str | None = None,
    **options: Any,
) -> Project:
    """The project that `read_target` finds with these arguments."""
    found = read_target(directory, service, dockerfile, **options)
    root, path = found.context, found.dockerfile
    own = path.with_name(path.name + ".dockerignore")
    ignore = own if own.is_file() else root / ".dockerignore"
    name = Path(os.path.relpath(path.resolve(), root.resolve())).as_posix()  # it can lie outside the context
    folder = name.rpartition("/")[0]
    ignore_name = f"{folder}/{own.name}".lstrip("/") if ignore == own else ".dockerignore"
    ignore_text = _read(ignore) if ignore.is_file() else None
    if found.inline is None and not path.is_file():
        raise DockerfileError(f"{path}: no such Dockerfile; expected one in the context, or name it with --file.")
    name, text = (name, _read(path)) if found.inline is None else ("", found.inline)
    texts = (name, text, root, ignore_name, ignore_text)
    return Project(*texts, found.args, found.target, found.contexts, found.network)


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "surrogateescape")


def edited(text: str, changes: Sequence[Change]) -> str:
    """The text with the changes made; every line outside them keeps its bytes, line end included."""
    lines = _LINE.findall(text)
    end = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    is_open = bool(lines) and not lines[-1].endswith("\n")
    if is_open:
        lines[-1] += end
        is_open = not any(change.stop == len(lines) and not change.lines for change in changes)
    for change in sorted(changes, key=lambda change: (change.start, change.stop), reverse=True):
        lines[change.start : change.stop] = [line + end for line in change.lines]
    joined = "".join(lines)
    return joined.removesuffix(end) if is_open else joined


def unified(before: Project, after: Project) -> str:
    """The difference as ``patch -p1`` and ``git apply`` take it, in the context or the nearest folder above with both."""
    names = [before.dockerfile, before.ignore]
    if before.root is not None and any(name.startswith("../") for name in names):
        paths = [os.path.normpath(before.root.resolve() / name) for name in names]
        above = os.path.commonpath([before.root.resolve(), *map(os.path.dirname, paths)])
        names = [Path(os.path.relpath(path, above)).as_posix() for path in paths]
    return _diff(names[0], before.text, after.text) + _diff(names[1], before.ignore_text, after.ignore_text)


def _diff(name: str, before: str | None, after: str | None) -> str:
    if before == after:
        return ""
    old, new = _LINE.findall(before or ""), _LINE.findall(after or "")
    source = "/dev/null" if before is None else f"a/{name}"
    lines = difflib.unified_diff(old, new, source, f"b/{name}")
    head = f"diff --git a/{name} b/{name}\n" + ("new file mode 100644\n" if before is None else "")
    return head + "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines)


def with_flags(raw: Sequence[str], flags: Sequence[str]) -> list[str]:
    """An instruction's lines with flags added before its own."""
    first = re.sub(r"^(\s*\w+\s+)", lambda found: found[1] + "".join(f"{flag} " for flag in flags), raw[0], count=1)
    return [first, *raw[1:]]


def with_command(raw: Sequence[str], step: Step, command: str) -> list[str] | None:
    """A RUN's lines with a command added at the end of its script; None for a form that takes none."""
    if step.node.json or len(step.heredocs) > 1 or re.search(r"^\s*#|[\"'].*\s#", raw[-1]):
        return None
    if step.heredocs:
        plain = re.match(r"^\s*RUN\s+(--\S+\s+)*<<-?[\"']?\w+[\"']?\s*$", raw[0], re.I)
        return [*raw[:-1], command, raw[-1]] if plain else None
    last, comment = re.fullmatch(r"(.*?)(\s+#.*)?", raw[-1].rstrip()).groups("")  # type: ignore[union-attr]
    link = "" if last.endswith(";") else "&& "
    if len(raw) == 1:
        return [f"{last} {link}{command}{comment}"]
    indent = re.match(r"\s*", raw[-1])
    return [*raw[:-1], f"{last} \\", f"{indent[0] if indent else ''}{link}{command}{comment}"]


def commands_of(script: str) -> list[str] | None:
    """The commands of a script that is a plain chain of ``&&``; None for any other script."""
    bare = _QUOTED.sub("", script)
    if re.search(r"\|\||[;(){}\"'\n]|(?<![&>])&(?![&>])", bare) or "&&" in "".join(_QUOTED.findall(script)):
        return None
    return [command.strip() for command in script.split("&&")]


def split_run(raw: Sequence[str], step: Step, count: int) -> tuple[list[str], list[str]] | None:
    """A RUN as two: the lines of its first ``count`` commands, and a RUN with the same flags of the others."""
    text = "\n".join(raw)
    cuts = [found for found in re.finditer(r"(?m)^\s*#.*$|&&", text) if found[0] == "&&"]
    if len(cuts) < count or count < 1:
        return None
    head, tail = text[: cuts[count - 1].start()].rstrip(), text[cuts[count - 1].end() :]
    head = re.sub(r"(?:\s*\\\s*(?:\n\s*#.*)*)+$", "", head)
    tail = re.sub(r"^(?:\s*\\?\s*\n|\s*#.*\n)*\s*", "", tail)
    return head.split("\n"), with_flags([f"RUN {tail}"], [f"--{n}={v}" for n, v in step.flags])[0].split("\n")
