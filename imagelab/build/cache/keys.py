"""BuildKit's cache keys, as far as a Dockerfile and its context decide them.

Every step gets a key made of what BuildKit puts into its own: the definition (command, environment, flags …), the
parent's key, and the content of the files it reads. Two steps with one key are one step, in one build or in two.
Measured on BuildKit 0.25 (Engine 28), step by step; see the tests.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from imagelab.build.context import Entry
from imagelab.build.dockerfile.select import clean, copied, is_remote, select
from imagelab.build.dockerfile.syntax import Stage, Step

Content = Mapping[str, str]  # path → token of its content

#: What of a mount is in a key: a cache's id and sharing are not, a secret's value is not.
_MOUNT_KEYS = {
    "bind": ("rw",),
    "cache": ("readonly", "mode", "uid", "gid"),
    "tmpfs": ("size",),
    "secret": ("env", "mode", "uid", "gid", "required"),
    "ssh": ("mode", "uid", "gid", "required"),
}
_ARCHIVE = re.compile(r"\.(tar|t[gbx]z2?|tar\.\w+|xz|gz|bz2)$")


def digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()[:24]


def prefixes(path: str) -> list[str]:
    """Each directory above a path, the highest first, and the path."""
    parts = path.split("/")
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


@dataclass(frozen=True)
class Files:
    """What is known of a stage's filesystem: its base, what each COPY put where, and what RUNs may have done."""

    base: str
    known: Mapping[str, tuple[str, bool]] = field(default_factory=dict)  # path → token, stands for all beneath it
    runs: tuple[str, ...] = ()

    def token(self, path: str) -> str:
        """A token of the content at ``path`` and beneath it, equal as long as nothing known changes it."""
        path = clean(path)
        inside = set(select(self.known, path))
        above = [p for p, (_, whole) in self.known.items() if whole and p not in inside and path.startswith(p + "/")]
        found = sorted((p, self.known[p][0]) for p in inside.union(above))
        return digest(self.base, self.runs, found)

    def put(self, *entries: tuple[str, str, bool]) -> Files:
        """With each path's token; the last of a triple is whether it stands for all that may be beneath."""
        return replace(self, known={**self.known, **{clean(path): (token, whole) for path, token, whole in entries}})


@dataclass(frozen=True)
class Tree:
    """A build context as the keys see it: sent paths and the token of each one's content."""

    content: Content
    links: Mapping[str, str]
    folders: Collection[str]
    known: dict[tuple[str, tuple[str, ...]], Content] = field(default_factory=dict, compare=False)

    def read(self, source: str, exclude: tuple[str, ...] = ()) -> Content:
        """The selected paths with their tokens; a source that is a symlink is followed."""
        if (source, exclude) not in self.known:
            self.known[source, exclude] = self._read(source, exclude)
        return self.known[source, exclude]

    def _read(self, source: str, exclude: tuple[str, ...]) -> Content:
        chosen = select(self.content, self.follow(clean(source)), exclude)
        every = set(chosen)
        roots = {path for path in chosen if path in self.links and posixpath.dirname(path) not in every}
        followed = [path for link in roots for path in select(self.content, self.follow(link), exclude)]
        return {path: self.content[path] for path in [*chosen, *followed] if path not in roots}

    def follow(self, path: str) -> str:
        for _ in range(40):  # a loop of links ends somewhere
            link = next((prefix for prefix in prefixes(path) if prefix in self.links), None)
            if link is None:
                break
            target = self.links[link]
            base = target if target.startswith("/") else posixpath.join(posixpath.dirname(link), target)
            path = clean(base + path[len(link) :])
        return path

    def placed(self, source: str, found: Content, into: bool) -> Iterator[tuple[str, str]]:
        """Each path that was found, and its name under the destination: of a directory the contents are copied."""
        for path in found:
            above = [] if clean(source) == "." else prefixes(path)
            root = next((prefix for prefix in above if prefix in found), ".")
            is_folder = root == "." or root in self.folders
            yield path, posixpath.relpath(path, root) if is_folder else posixpath.basename(path) if into else ""


def make_tree(root: Path, entries: list[Entry], edited: Collection[str]) -> Tree:
    """``edited`` are the paths of files and links whose bytes differ from those the cache saw."""
    content, links = {}, {}
    for entry in entries:
        if entry.ignored or entry.kind == "other":
            continue
        if entry.kind == "symlink":
            links[entry.path] = os.readlink(root / entry.path)
        size = entry.size if entry.kind == "file" else 0
        version = "edited" if entry.path in edited else ""
        content[entry.path] = f"{entry.mode:o}/{size}/{version}{links.get(entry.path, '')}"
    return Tree(content, links, {entry.path for entry in entries if entry.kind == "directory"})


@dataclass
class Reads:
    """The content that a step's key holds, and where it comes from."""

    context: dict[str, str] = field(default_factory=dict)  # path → names that count, and token
    stages: dict[tuple[str, str], str] = field(default_factory=dict)  # (stage, path) → token
    missing: list[str] = field(default_factory=list)  # sources that match nothing: the build fails


@dataclass(frozen=True)
class Record:
    """A step as the cache knows it; ``definition`` by what its parts are called."""

    step: Step
    definition: Mapping[str, Any]
    parent: str
    reads: Reads
    key: str

    @property
    def linked(self) -> bool:
        return self.step.flag("link") not in (None, "false")


class Keys:
    """The records of a build of ``stages`` over ``tree``, in file order.

    ``same_results`` names the stages whose RUN steps are taken to write the same files again when they run again;
    ``edited`` the lines of steps that are edited.
    """

    def __init__(
        self, stages: Sequence[Stage], tree: Tree, same_results: Collection[str], edited: Collection[int] = ()
    ) -> None:
        self.tree, self.same_results, self.edited = tree, same_results, edited
        self.ends: dict[str, tuple[str, Files]] = {}
        self.records: list[Record] = []
        for stage in stages:
            image = digest("image", stage.base, stage.platform)
            key, files = self.ends[stage.parent] if stage.parent else (image, Files(image))
            for step in stage.steps:
                if step.instruction != "FROM" and step.step is not None:
                    key, files = self.add(step, key, files)
            self.ends[stage.name] = key, files

    def add(self, step: Step, parent: str, files: Files) -> tuple[str, Files]:
        """The key and the files after the step."""
        reads = Reads()
        if step.instruction == "RUN":
            definition = self.run(step, reads)
        elif step.instruction == "WORKDIR":
            directory = posixpath.normpath(posixpath.join(step.state.workdir, step.words[0]))
            definition = {"directory": directory, "USER": step.state.user}
            files = files.put((directory, digest("directory", step.state.user), False))
        else:
            definition, files = self.copy(step, reads, files)
        if step.line in self.edited:
            definition["own line"] = "edited"
        record = Record(step, definition, parent, reads, "")
        content = sorted(reads.context.values()), sorted(reads.stages.values())
        key = digest(step.instruction, sorted(definition.items()), "" if record.linked else parent, content)
        self.records.append(replace(record, key=key))
        if step.instruction == "RUN" and step.stage not in self.same_results:
            files = replace(files, runs=(*files.runs, key))
        return digest("merge", parent, key) if record.linked else key, files

    def run(self, step: Step, reads: Reads) -> dict[str, Any]:
        state, words = step.state, step.words
        if step.node.json:
            command: tuple[str, ...] = words
        else:
            # "RUN <<EOF" runs the text itself; else the shell sees the document in its command
            bare = len(step.heredocs) == 1 and re.fullmatch(r"<<-?[\"']?\w+[\"']?", words[0])
            documents = "".join(f"\n{doc.content}{doc.name}" for doc in step.node.heredocs)  # the shell takes off tabs
            command = (*state.shell, step.heredocs[0][1] if bare else "".join(words) + documents)
        definition: dict[str, Any] = {
            "command": command,
            "environment": tuple(state.env.items()),
            "USER": state.user,
            "WORKDIR": state.workdir,
            "flags": tuple(sorted((key, value) for key, value in step.flags if key != "mount")),
        }
        for mount in step.mounts:
            kind, target = mount["type"], posixpath.join(state.workdir, mount["target"])
            counted = {key: mount[key] for key in _MOUNT_KEYS.get(kind, ()) if key in mount}
            if kind in ("secret", "ssh"):
                counted["id"] = mount.get("id") or posixpath.basename(mount["target"]) or "default"
            origin, source = mount.get("from"), mount.get("source", "/")
            stage = step.origins.get(origin or "")
            known = () if stage or not origin else (origin, source)
            definition[f"mount of {target or kind}"] = (kind, *sorted(counted.items()), *known)
            if stage:
                reads.stages[stage, source] = digest(target, self.content(stage, source))
            elif kind == "bind" and not origin:
                # the source's own name is not in the key, the names beneath it are
                found = self.find(clean(source), (), reads)
                names = {path: posixpath.relpath(path, clean(source)) for path in found}
                reads.context |= {path: f"{target} {names[path]} {token}" for path, token in found.items()}
        return definition

    def copy(self, step: Step, reads: Reads, files: Files) -> tuple[dict[str, Any], Files]:
        to = posixpath.join(step.state.workdir, step.words[-1])
        into = step.words[-1].endswith(("/", "/.")) or step.words[-1] in (".", "") or len(step.words) > 2
        flags = sorted((key, value) for key, value in step.flags if key not in ("from", "chmod", "link"))
        chmod = step.flag("chmod") or ""
        sources = [word if is_remote(word) else clean(word) for word in step.words[:-1]]
        definition: dict[str, Any] = {
            "destination": clean(to) + ("/" if into else ""),
            "sources": sources,
            "flags": [*flags, ("chmod", int(chmod, 8) if re.fullmatch("[0-7]{1,5}", chmod) else chmod)],
            "heredoc": step.heredocs,
        }
        origin = step.flag("from")
        exclude = tuple(value for key, value in step.flags if key == "exclude")
        for name, text in step.heredocs:
            files = files.put((posixpath.join(to, name) if into else to, digest(text, flags, chmod), True))
        for source in copied(step):
            if origin is None and not (step.instruction == "ADD" and _ARCHIVE.search(source)):
                found = self.find(source, exclude, reads)
                reads.context |= {path: f"{path} {token}" for path, token in found.items()}
                placed = self.tree.placed(source, found, into)
                owner = digest(flags, chmod)
                files = files.put(
                    *((posixpath.join(to, n), f"{found[p]} {owner}", p not in self.tree.folders) for p, n in placed)
                )
                continue
            if origin and (stage := step.origins.get(origin)):
                token = reads.stages[stage, source] = self.content(stage, source)
            elif origin:
                token = definition["image"] = origin
            else:
                reads.context |= self.find(source, exclude, reads)
                token = digest(sorted(reads.context.items()))
            files = files.put((to, digest(files.known.get(clean(to)), source, token, flags, chmod), True))
        if any(is_remote(source) for source in sources):
            files = files.put((to, digest(files.known.get(clean(to)), sources), True))
        return definition, files

    def find(self, source: str, exclude: tuple[str, ...], reads: Reads) -> Content:
        found = self.tree.read(source, exclude)
        if not found and clean(source) != ".":
            reads.missing.append(source)
        return found

    def content(self, stage: str, path: str) -> str:
        return self.ends[stage][1].token(path)
