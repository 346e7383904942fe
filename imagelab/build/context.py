"""The build context: what is sent to the builder, what .dockerignore holds back, and by which rule."""

from __future__ import annotations

import os
import posixpath
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
from e2b_dockerfile_utils import PatternMatcher

from imagelab.build.dockerfile.select import context_sources, select
from imagelab.build.dockerfile.syntax import parse, read_text
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
    """A path of the context, as lstat shows it."""

    path: str
    kind: str
    size: int
    mode: int
    ignored: bool = False
    rule: int | None = None  # index of the deciding rule


@dataclass
class IgnoreFile:
    """The rules that hold for a build: of ``NAME.dockerignore`` if there is one, else of ``.dockerignore``."""

    name: str | None = None
    rules: list[tuple[str, int]] = field(default_factory=list)  # (as written, line)

    def __post_init__(self) -> None:
        self._patterns = []
        for text, line in self.rules:
            try:  # "#" is a comment only at a line's start, which was seen to when the file was read
                self._patterns += PatternMatcher([f"./{text}" if text.startswith("#") else text])._patterns
            except ValueError as error:
                raise DockerfileError(f"{self.name} line {line}: {error}.") from error

    def match(self, path: str, parent: list[bool]) -> tuple[bool, int | None, list[bool]]:
        """Whether ``path`` is ignored, the deciding rule, and each rule's state for what is beneath it.

        The order of evaluation is moby/patternmatcher's ``MatchesUsingParentResults``: a rule that matched a parent
        matches what is beneath it, and a rule that could not change the result is not asked.
        """
        ignored, rule, states = False, None, []
        for index, pattern in enumerate(self._patterns):
            matched = bool(parent) and parent[index]
            if not matched and pattern.exclusion == ignored:
                matched = pattern.match(path)
            states.append(matched)
            if matched:
                ignored, rule = not pattern.exclusion, index
        return ignored, rule, states


def read_ignore_file(directory: Path, dockerfile: Path) -> IgnoreFile:
    """``NAME.dockerignore`` beside the Dockerfile wins as a whole over the context's ``.dockerignore``."""
    for path in (dockerfile.with_name(dockerfile.name + ".dockerignore"), directory / ".dockerignore"):
        try:
            text = path.read_bytes().decode("utf-8", "replace")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise DockerfileError(f"{path} cannot be read: {error.strerror}.") from error
        return IgnoreFile(path.name, parse_ignore(text))
    return IgnoreFile()


def parse_ignore(text: str) -> list[tuple[str, int]]:
    """The rules of a .dockerignore's text with their lines; comments (only at a line's start) and blanks left out."""
    lines = enumerate(text.removeprefix("\ufeff").split("\n"), 1)
    return [(line.strip(), n) for n, line in lines if line.strip() and not line.startswith("#")]


def walk(directory: Path, ignore: IgnoreFile) -> list[Entry]:
    """Every path beneath ``directory``, sorted; contents are not read.

    A directory that is ignored itself, but has something beneath it that is sent, is sent.
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


def find_dockerfile(directory: str | os.PathLike[str], dockerfile: str | os.PathLike[str] | None) -> tuple[Path, Path]:
    """The context's directory, and the Dockerfile's path: ``dockerfile`` as given, or within the directory."""
    root = Path(directory)
    if not os.path.isdir(root):
        raise DockerfileError(f"{str(directory)[:200]!r} is no directory; give the build context's directory.")
    if dockerfile is None:
        return root, root / "Dockerfile"
    for path in (root / dockerfile, Path(dockerfile)):
        if os.path.isfile(path):
            return root, path
    raise DockerfileError(f"The Dockerfile {str(dockerfile)[:200]!r} cannot be read: it is neither here nor in {root}.")


def build_context(directory: str | os.PathLike[str], dockerfile: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Every path of a build context: sent to the builder, or held back by which rule.

    Parameters
    ----------
    directory : path
        The context, as ``docker build DIRECTORY`` takes it.
    dockerfile : path, optional
        As ``--file`` gives it, or relative to ``directory``; its own ``NAME.dockerignore`` then counts.

    Returns
    -------
    DataFrame
        `CONTEXT_COLUMNS`, sorted by path (relative to the context's root; undecodable bytes as ``\\xNN``).
        ``size`` in bytes as lstat shows it, 0 for directories. ``ignored``: not sent. ``rule`` and ``rule_line``: the
        rule that decided, the last that matches; ``<NA>`` where none does. ``copied``: some COPY, ADD or bind mount of
        the Dockerfile names it; ``<NA>`` without a readable Dockerfile. BuildKit sends only what is copied; the classic
        builder all that is not ignored, and the Dockerfile and .dockerignore always.

    Raises
    ------
    DockerfileError
        No such directory or Dockerfile, an unreadable one, or a bad pattern (of the ignore file with its line).
    """
    root, path = find_dockerfile(directory, dockerfile)
    ignore = read_ignore_file(root, path)
    entries = walk(root, ignore)
    copied = _copied(entries, path)
    rows = []
    for entry in entries:
        rule, line = (None, None) if entry.rule is None else ignore.rules[entry.rule]
        row = {"path": decode(entry.path), "kind": entry.kind, "size": entry.size, "ignored": entry.ignored}
        rows.append(row | {"rule": rule, "rule_line": line, "copied": None if copied is None else entry.path in copied})
    return make_frame(rows, CONTEXT_COLUMNS)


def _copied(entries: list[Entry], dockerfile: Path) -> set[str] | None:
    try:
        build = parse(read_text(dockerfile))
    except DockerfileError:
        return None
    sent = [entry.path for entry in entries if not entry.ignored]
    sources = {source for step in build.steps for source in context_sources(step)}
    return {path for source in sources for path in select(sent, source)}


def decode(path: str) -> str:
    """A path as text: bytes that are not UTF-8 as ``\\xNN``."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def context_sizes(context: pd.DataFrame) -> pd.DataFrame:
    """Bytes by directory, from `build_context`'s frame; the row ``.`` is the whole context.

    Returns
    -------
    DataFrame
        `SIZES_COLUMNS`, largest first: ``files`` beneath the directory, bytes ``sent`` and ``ignored``, and
        ``total``, what it would weigh without the ignore file.
    """
    is_folder = context["kind"] == "directory"
    leaves, folders = context[~is_folder], [".", *context.loc[is_folder, "path"]]
    sums = {folder: {"files": 0, "sent": 0, "ignored": 0} for folder in folders}
    for path, size, ignored in zip(leaves["path"], leaves["size"], leaves["ignored"], strict=True):
        while path:
            path = path.rpartition("/")[0]
            found = sums.setdefault(path or ".", {"files": 0, "sent": 0, "ignored": 0})
            found["files"] += 1
            found["ignored" if ignored else "sent"] += size
    rows = [{"directory": folder, "total": one["sent"] + one["ignored"]} | one for folder, one in sums.items()]
    frame = make_frame(rows, SIZES_COLUMNS)
    return frame.sort_values(["total", "directory"], ascending=[False, True], ignore_index=True)
