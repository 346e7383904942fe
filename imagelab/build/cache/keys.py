"""Compute a cache key for each step, from the same inputs as BuildKit.

A key depends on the step's definition (command, environment, flags …), on its parent's key, and on the content of the
files that it reads. Steps with equal keys are the same step, within a build and between builds. The tests compare the
result with BuildKit 0.25 (Engine 28), step by step.
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
from imagelab.build.dockerfile.select import context_path, copied, is_remote, select
from imagelab.build.dockerfile.syntax import Stage, Step

Content = Mapping[str, str]  # path → token of its content

#: The fields of a mount that are part of the key; a cache's id and sharing and a secret's value are not.
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
    """Each directory above a path, from the top, and the path itself."""
    parts = path.split("/")
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


@dataclass(frozen=True)
class StageFiles:
    """What is known about a stage's filesystem: its base, the files of each COPY, and the RUNs that may change it."""

    base: str
    known: Mapping[str, tuple[str, bool]] = field(
        default_factory=dict
    )  # path → (token, covers everything below the path)
    runs: tuple[str, ...] = ()

    def token(self, path: str) -> str:
        """A token for the content at and below ``path``; it is equal while nothing known changes that content."""
        path = context_path(path)
        inside = set(select(self.known, path))
        above = [p for p, (_, whole) in self.known.items() if whole and p not in inside and path.startswith(p + "/")]
        found = sorted((p, self.known[p][0]) for p in inside.union(above))
        return digest(self.base, self.runs, found)

    def put(self, *entries: tuple[str, str, bool]) -> StageFiles:
        """Add (path, token, whether the token covers everything below the path)."""
        return replace(
            self, known={**self.known, **{context_path(path): (token, whole) for path, token, whole in entries}}
        )


@dataclass(frozen=True)
class ContextFiles:
    """The sent paths of a build context, each with a token for its content."""

    content: Content
    links: Mapping[str, str]
    folders: Collection[str]
    known: dict[tuple[str, tuple[str, ...]], Content] = field(default_factory=dict, compare=False)

    def read(self, source: str, exclude: tuple[str, ...] = ()) -> Content:
        """The selected paths with their tokens; symlinks are followed if they are the source itself."""
        if (source, exclude) not in self.known:
            self.known[source, exclude] = self._read(source, exclude)
        return self.known[source, exclude]

    def _read(self, source: str, exclude: tuple[str, ...]) -> Content:
        chosen = select(self.content, self.follow(context_path(source)), exclude)
        every = set(chosen)
        roots = {path for path in chosen if path in self.links and posixpath.dirname(path) not in every}
        followed = [path for link in roots for path in select(self.content, self.follow(link), exclude)]
        return {path: self.content[path] for path in [*chosen, *followed] if path not in roots}

    def follow(self, path: str) -> str:
        for _ in range(40):  # symlinks can form a loop
            link = next((prefix for prefix in prefixes(path) if prefix in self.links), None)
            if link is None:
                break
            target = self.links[link]
            base = target if target.startswith("/") else posixpath.join(posixpath.dirname(link), target)
            path = context_path(base + path[len(link) :])
        return path

    def placed(self, source: str, found: Content, into: bool) -> Iterator[tuple[str, str]]:
        """Each path, and its name below the destination; of a directory, COPY copies the contents."""
        for path in found:
            above = [] if context_path(source) == "." else prefixes(path)
            root = next((prefix for prefix in above if prefix in found), ".")
            is_folder = root == "." or root in self.folders
            yield path, posixpath.relpath(path, root) if is_folder else posixpath.basename(path) if into else ""


def context_files(root: Path, entries: list[Entry], edited: Collection[str]) -> ContextFiles:
    """Describe a walked context; ``edited`` are the files and symlinks whose bytes differ from the cached build."""
    content, links = {}, {}
    for entry in entries:
        if entry.ignored or entry.kind == "other":
            continue
        if entry.kind == "symlink":
            links[entry.path] = os.readlink(root / entry.path)
        size = entry.size if entry.kind == "file" else 0
        version = "edited" if entry.path in edited else ""
        content[entry.path] = f"{entry.mode:o}/{size}/{version}{links.get(entry.path, '')}"
    return ContextFiles(content, links, {entry.path for entry in entries if entry.kind == "directory"})


@dataclass
class Inputs:
    """The content in a step's key, and where it comes from."""

    context: dict[str, str] = field(default_factory=dict)  # path → the names that are part of the key, and the token
    stages: dict[tuple[str, str], str] = field(default_factory=dict)  # (stage, path) → token
    missing: list[str] = field(default_factory=list)  # sources without a match; the build fails


@dataclass(frozen=True)
class KeyedStep:
    """A step with its cache key; ``definition`` maps the names in `reasons.CHANGED` to values."""

    step: Step
    definition: Mapping[str, Any]
    parent: str
    inputs: Inputs
    key: str

    @property
    def linked(self) -> bool:
        return self.step.flag("link") not in (None, "false")


class Keys:
    """The keyed steps of a build of ``stages`` with the context ``tree``, in file order.

    ``same_results`` are the stages whose RUN steps are assumed to write the same files when they rerun; ``edited`` are
    the lines of edited steps.
    """

    def __init__(
        self, stages: Sequence[Stage], tree: ContextFiles, same_results: Collection[str], edited: Collection[int] = ()
    ) -> None:
        self.tree, self.same_results, self.edited = tree, same_results, edited
        self.ends: dict[str, tuple[str, StageFiles]] = {}
        self.steps: list[KeyedStep] = []
        for stage in stages:
            image = digest("image", stage.base, stage.platform)
            key, files = self.ends[stage.parent] if stage.parent else (image, StageFiles(image))
            for step in stage.steps:
                if step.instruction != "FROM" and step.step is not None:
                    key, files = self.add(step, key, files)
            self.ends[stage.name] = key, files

    def add(self, step: Step, parent: str, files: StageFiles) -> tuple[str, StageFiles]:
        """The key and the stage's files after the step."""
        inputs = Inputs()
        if step.instruction == "RUN":
            definition = self.run(step, inputs)
        elif step.instruction == "WORKDIR":
            directory = posixpath.normpath(posixpath.join(step.state.workdir, step.words[0]))
            definition = {"directory": directory, "user": step.state.user}
            files = files.put((directory, digest("directory", step.state.user), False))
        else:
            definition, files = self.copy(step, inputs, files)
        if step.line in self.edited:
            definition["line"] = "edited"
        keyed = KeyedStep(step, definition, parent, inputs, "")
        content = sorted(inputs.context.values()), sorted(inputs.stages.values())
        key = digest(step.instruction, sorted(definition.items()), "" if keyed.linked else parent, content)
        self.steps.append(replace(keyed, key=key))
        if step.instruction == "RUN" and step.stage not in self.same_results:
            files = replace(files, runs=(*files.runs, key))
        return digest("merge", parent, key) if keyed.linked else key, files

    def run(self, step: Step, inputs: Inputs) -> dict[str, Any]:
        state, words = step.state, step.words
        if step.node.json:
            command: tuple[str, ...] = words
        else:
            # "RUN <<EOF" runs the heredoc as a script; otherwise the shell reads it as part of the command
            bare = len(step.heredocs) == 1 and re.fullmatch(r"<<-?[\"']?\w+[\"']?", words[0])
            documents = "".join(
                f"\n{doc.content}{doc.name}" for doc in step.node.heredocs
            )  # the shell strips the tabs of <<-
            command = (*state.shell, step.heredocs[0][1] if bare else "".join(words) + documents)
        definition: dict[str, Any] = {
            "command": command,
            "environment": tuple(state.env.items()),
            "user": state.user,
            "workdir": state.workdir,
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
                inputs.stages[stage, source] = digest(target, self.content(stage, source))
            elif kind == "bind" and not origin:
                # the key has the names below the source, not the source's own name
                found = self.find(context_path(source), (), inputs)
                names = {path: posixpath.relpath(path, context_path(source)) for path in found}
                inputs.context |= {path: f"{target} {names[path]} {token}" for path, token in found.items()}
        return definition

    def copy(self, step: Step, inputs: Inputs, files: StageFiles) -> tuple[dict[str, Any], StageFiles]:
        to = posixpath.join(step.state.workdir, step.words[-1])
        into = step.words[-1].endswith(("/", "/.")) or step.words[-1] in (".", "") or len(step.words) > 2
        flags = sorted((key, value) for key, value in step.flags if key not in ("from", "chmod", "link"))
        chmod = step.flag("chmod") or ""
        sources = [word if is_remote(word) else context_path(word) for word in step.words[:-1]]
        definition: dict[str, Any] = {
            "destination": context_path(to) + ("/" if into else ""),
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
                found = self.find(source, exclude, inputs)
                inputs.context |= {path: f"{path} {token}" for path, token in found.items()}
                placed = self.tree.placed(source, found, into)
                owner = digest(flags, chmod)
                files = files.put(
                    *((posixpath.join(to, n), f"{found[p]} {owner}", p not in self.tree.folders) for p, n in placed)
                )
                continue
            if origin and (stage := step.origins.get(origin)):
                token = inputs.stages[stage, source] = self.content(stage, source)
            elif origin:
                token = definition["image"] = origin
            else:
                inputs.context |= self.find(source, exclude, inputs)
                token = digest(sorted(inputs.context.items()))
            files = files.put((to, digest(files.known.get(context_path(to)), source, token, flags, chmod), True))
        if any(is_remote(source) for source in sources):
            files = files.put((to, digest(files.known.get(context_path(to)), sources), True))
        return definition, files

    def find(self, source: str, exclude: tuple[str, ...], inputs: Inputs) -> Content:
        found = self.tree.read(source, exclude)
        if not found and context_path(source) != ".":
            inputs.missing.append(source)
        return found

    def content(self, stage: str, path: str) -> str:
        return self.ends[stage][1].token(path)
