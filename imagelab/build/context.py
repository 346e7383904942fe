"""List a build context: which paths are sent to the builder, and which .dockerignore rule excludes the others."""

from __future__ import annotations

import filecmp
import os
import posixpath
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from imagelab.build.dockerfile.e2b import compile_pattern, decide
from imagelab.build.dockerfile.select import context_sources, select
from imagelab.build.dockerfile.syntax import parse
from imagelab.build.target import BuildTarget, read_target
from imagelab.core.errors import DockerfileError
from imagelab.core.frames import make_frame

CONTEXT_COLUMNS = {
    "path": "string",
    "kind": "category",
    "size": "Int64",
    "ignored": "boolean",
    "rule": "string",
    "rule_line": "Int64",
    "copied": "boolean",
}
SIZES_COLUMNS = {"directory": "string", "files": "Int64", "sent": "Int64", "ignored": "Int64", "total": "Int64"}


@dataclass(frozen=True)
class Entry:
    """A path of the context, as lstat describes it."""

    path: str
    kind: str
    size: int
    mode: int
    ignored: bool = False
    rule: int | None = None  # index of the last rule that matches


@dataclass
class IgnoreFile:
    """The ignore rules of a build: from ``NAME.dockerignore`` if it exists, else from ``.dockerignore``."""

    name: str | None = None
    rules: list[tuple[str, int]] = field(default_factory=list)  # (as written, line)

    def __post_init__(self) -> None:
        self._patterns = []
        for text, line in self.rules:
            try:
                self._patterns.append(compile_pattern(text))
            except ValueError as error:
                raise DockerfileError(f"{self.name} line {line}: {error}.") from error

    def match(self, path: str, parent: list[bool]) -> tuple[bool, int | None, list[bool]]:
        """Whether ``path`` is ignored, the rule that decides, and which rules match it (the ``parent`` of its children)."""
        return decide(self._patterns, path, parent)


def read_ignore_file(directory: Path, dockerfile: Path | None) -> IgnoreFile:
    """Read ``NAME.dockerignore`` next to the Dockerfile if it exists, else the context's ``.dockerignore``."""
    own = [dockerfile.with_name(dockerfile.name + ".dockerignore")] if dockerfile else []
    for path in (*own, directory / ".dockerignore"):
        try:
            text = path.read_bytes().decode("utf-8", "replace")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise DockerfileError(f"{path} cannot be read: {error.strerror}.") from error
        return IgnoreFile(path.name, parse_ignore(text))
    return IgnoreFile()


def parse_ignore(text: str) -> list[tuple[str, int]]:
    """The rules in a .dockerignore's text, with their line numbers; ``#`` starts a comment only at the start of a line."""
    lines = enumerate(text.removeprefix("\ufeff").split("\n"), 1)
    return [(line.strip(), n) for n, line in lines if line.strip() and not line.startswith("#")]


def walk(directory: Path, ignore: IgnoreFile) -> list[Entry]:
    """Every path below ``directory``, sorted; contents are not read.

    An ignored directory is sent if something below it is sent.
    """
    found: list[Entry] = []
    kept: set[str] = set()
    todo: list[tuple[str, str, list[bool]]] = [(str(directory), "", [])]
    while todo:
        folder, prefix, parent = todo.pop()
        try:
            with os.scandir(folder) as items:
                for item in items:
                    info = item.stat(follow_symlinks=False)
                    path, kind = prefix + item.name, _kind(info.st_mode)
                    ignored, rule, states = ignore.match(path, parent)
                    size = info.st_size if kind != "directory" else 0
                    found.append(Entry(path, kind, size, info.st_mode, ignored, rule))
                    if kind == "directory":
                        todo.append((item.path, path + "/", states))
                    while not ignored and (path := posixpath.dirname(path)) and path not in kept:
                        kept.add(path)
        except OSError as error:
            raise DockerfileError(f"The build context {folder} cannot be listed: {error.strerror}.") from error
    found = [replace(e, ignored=False, rule=None) if e.ignored and e.path in kept else e for e in found]
    return sorted(found, key=lambda entry: entry.path)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo"}
    return kinds.get(stat.S_IFMT(mode), "other")


def build_context(
    directory: str | os.PathLike[str], dockerfile: str | os.PathLike[str] | None = None, service: str | None = None
) -> pd.DataFrame:
    """List every path of a build context, and the .dockerignore rule that excludes it.

    Parameters
    ----------
    directory : path
        The context, as in ``docker build DIRECTORY``; or a Compose or bake file.
    dockerfile : path, optional
        As in ``--file``, or relative to ``directory``; its own ``NAME.dockerignore`` is used if it exists.
    service : str, optional
        The service of the Compose file, or the target of the bake file; needed if it has several.

    Returns
    -------
    DataFrame
        `CONTEXT_COLUMNS`, sorted by path (relative to the context's root; undecodable bytes as ``\\xNN``).
        ``size`` in bytes from lstat, 0 for directories. ``ignored``: not sent. ``rule`` and ``rule_line``: the last
        rule that matches, which decides; ``<NA>`` if no rule matches. ``copied``: a COPY, ADD or bind mount of the
        Dockerfile selects the path; ``<NA>`` without a readable Dockerfile. BuildKit sends only copied paths; the
        classic builder sends everything that is not ignored, and always the Dockerfile and .dockerignore.

    Raises
    ------
    DockerfileError
        The directory or Dockerfile is missing or unreadable, or a pattern is malformed (with its line).
    """
    target = read_target(directory, service, dockerfile)
    ignore = read_ignore_file(target.context, target.dockerfile)
    entries = walk(target.context, ignore)
    copied = _copied(entries, target)
    rows = []
    for entry in entries:
        rule, line = (None, None) if entry.rule is None else ignore.rules[entry.rule]
        row = {"path": decode(entry.path), "kind": entry.kind, "size": entry.size, "ignored": entry.ignored}
        rows.append(row | {"rule": rule, "rule_line": line, "copied": None if copied is None else entry.path in copied})
    return make_frame(rows, CONTEXT_COLUMNS)


def _copied(entries: list[Entry], target: BuildTarget) -> set[str] | None:
    try:
        build = parse(target.text, contexts=target.contexts)
    except DockerfileError:
        return None
    sent = [entry.path for entry in entries if not entry.ignored]
    return {path for step in build.steps for source in context_sources(step) for path in select(sent, source)}


Walks = Mapping[str, tuple[Path, list[Entry]]]  # name of a context → its directory and entries


def compare_contexts(before: Walks, after: Walks) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """The (context, path) of files with equal size and mode whose bytes or extended attributes differ.

    The second set are those of them with an equal modification time: BuildKit's transfer may not notice such a change.
    """
    edited, unnoticed = set(), set()
    for name, (root, entries) in after.items():
        root_before, entries_before = before.get(name, (root, entries))
        known = {entry.path: entry for entry in entries_before if entry.kind == "file"}
        for entry in entries:
            old = known.get(entry.path)
            if entry.kind == "file" and not entry.ignored and old and (old.size, old.mode) == (entry.size, entry.mode):
                earlier, later = root_before / entry.path, root / entry.path
                try:
                    if not filecmp.cmp(earlier, later, shallow=False) or _attributes(earlier) != _attributes(later):
                        edited.add((name, entry.path))
                        if earlier.stat().st_mtime_ns == later.stat().st_mtime_ns:
                            unnoticed.add((name, entry.path))
                except OSError as error:
                    raise DockerfileError(f"{error.filename} cannot be compared: {error.strerror}.") from error
    return edited, unnoticed


def _attributes(path: Path) -> dict[str, bytes]:
    if not hasattr(os, "listxattr"):
        return {}
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}


def decode(path: str) -> str:
    """A path as text: bytes that are not UTF-8 as ``\\xNN``."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def context_sizes(context: pd.DataFrame) -> pd.DataFrame:
    """Sum the bytes of `build_context`'s frame by directory; the row ``.`` is the whole context.

    Returns
    -------
    DataFrame
        `SIZES_COLUMNS`, largest first: ``files`` below the directory, bytes ``sent`` and ``ignored``, and their
        ``total``, the size without an ignore file.
    """
    is_folder = context["kind"] == "directory"
    leaves, folders = context[~is_folder], [".", *context.loc[is_folder, "path"]]
    sums = {folder: {"files": 0, "sent": 0, "ignored": 0} for folder in folders}
    for path, size, ignored in zip(leaves["path"], leaves["size"], leaves["ignored"], strict=True):
        while path:
            path = path.rpartition("/")[0]
            counts = sums.setdefault(path or ".", {"files": 0, "sent": 0, "ignored": 0})
            counts["files"] += 1
            counts["ignored" if ignored else "sent"] += size
    rows = [{"directory": name, "total": found["sent"] + found["ignored"]} | found for name, found in sums.items()]
    frame = make_frame(rows, SIZES_COLUMNS)
    return frame.sort_values(["total", "directory"], ascending=[False, True], ignore_index=True)
