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
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from imagelab.build.context import Entry
from imagelab.build.dockerfile.select import context_path, copied, is_remote, prefixes, select
from imagelab.build.dockerfile.syntax import Stage, Step

Content = Mapping[str, str]  # path → token of its content

TABLES = tomllib.loads(Path(__file__).with_name("cache.toml").read_text("utf-8"))
_MOUNT_FIELDS = TABLES["mount_fields"]
_OWNER = {"uid": "0", "gid": "0", "mode": "0755"}  # of a cache mount's directory, if one of them is given
_ARCHIVE = re.compile(r"\.(tar|t[gbx]z2?|tar\.\w+|xz|gz|bz2)$")


def digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()[:24]


@dataclass(frozen=True)
class StageFiles:
    """What is known about a stage's filesystem: its base, the files of each COPY, and the RUNs that may change it."""

    base: str
    # path → (token, covers everything below the path)
    known: Mapping[str, tuple[str, bool]] = field(default_factory=dict)
    runs: tuple[str, ...] = ()

    def token(self, path: str, *patterns: Any) -> str:
        """A token for the content that `select` finds; it is equal while nothing known changes that content."""
        path = context_path(path)
        inside = set(select(self.known, path, *patterns))
        above = [p for p, (_, whole) in self.known.items() if whole and p not in inside and path.startswith(p + "/")]
        found = sorted((p, self.known[p][0]) for p in inside.union(above))
        return digest(self.base, self.runs, found)

    def put(self, *entries: tuple[str, str, bool]) -> StageFiles:
        """Add (path, token, whether the token covers everything below the path)."""
        added = {context_path(path): (token, whole) for path, token, whole in entries}
        return replace(self, known={**self.known, **added})


@dataclass(frozen=True)
class ContextFiles:
    """The sent paths of a build context, each with a token for its content."""

    content: Content
    links: Mapping[str, str]
    folders: Collection[str]
    name: str = ""  # of a named context
    cache: dict[Any, Content] = field(default_factory=dict, compare=False)

    def read(self, source: str, exclude: tuple[str, ...] = (), include: str | None = None) -> Content:
        """The selected paths with their tokens; symlinks are followed if they are the source itself."""
        arguments = source, exclude, include
        if arguments not in self.cache:
            chosen = select(self.content, self.follow(context_path(source)), exclude, include)
            every = set(chosen)
            roots = {path for path in chosen if path in self.links and posixpath.dirname(path) not in every}
            followed = [path for link in roots for path in select(self.content, self.follow(link), exclude, include)]
            self.cache[arguments] = {path: self.content[path] for path in [*chosen, *followed] if path not in roots}
        return self.cache[arguments]

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


def _normal(key: str, value: str) -> str:
    """A mount's field in one spelling: ``0755`` and ``755``, ``readonly`` and ``ro=true``, ``1m`` and ``1024k``."""
    if key == "mode":
        return value.lstrip("0")
    if size := re.fullmatch(r"([\d.]+) ?([kmgtp]?)i?b?", value.lower() if key == "size" else ""):
        return str(float(size[1]) * 1024 ** " kmgtp".index(size[2] or " "))
    return str(value.lower() not in ("false", "f", "0")) if key in ("rw", "readonly", "required") else value


def _mounted(target: str, source: str, path: str) -> str:
    return f"{target} {posixpath.relpath(path, source)}"


def context_files(root: Path, entries: list[Entry], edited: Collection[str], name: str = "") -> ContextFiles:
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
    return ContextFiles(content, links, {entry.path for entry in entries if entry.kind == "directory"}, name)


@dataclass
class Inputs:
    """The content in a step's key, and where it comes from."""

    context: dict[str, str] = field(default_factory=dict)  # [context:]path → the names in the key, and the token
    stages: dict[tuple[str, str], str] = field(default_factory=dict)  # (stage, path) → token
    missing: list[str] = field(default_factory=list)  # sources without a match; the build fails
    doubts: list[str] = field(default_factory=list)  # what the prediction depends on and the files do not show


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


@dataclass(frozen=True)
class Assumptions:
    """What the caller, or a bound of the prediction, assumes about things that the files do not show."""

    same_results: Collection[str] = ()  # stages whose RUN steps write the same files when they rerun
    changed: bool = False  # names that may be a named context, and results of other targets, are changed


class Keys:
    """The keyed steps of a build of ``stages``, in file order.

    ``contexts`` are the build's context, under the name "", and its named contexts: files, or the URL of an image.
    ``edited`` maps the line of a step to what changed: ``line`` or ``cache`` (it is not used).
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        contexts: Mapping[str, ContextFiles | str],
        network: str | None,
        assume: Assumptions,
        edited: Mapping[int, str],
    ) -> None:
        self.contexts, self.network, self.assume, self.edited = contexts, network or "default", assume, edited
        self.ends: dict[str, tuple[str, StageFiles]] = {}
        self.steps: list[KeyedStep] = []
        for stage in stages:
            key, files = self.ends[stage.parent] if stage.parent else self.base(stage)
            for step in stage.steps:
                if step.instruction != "FROM" and step.step is not None:
                    key, files = self.add(step, key, files)
            self.ends[stage.name] = key, files

    def base(self, stage: Stage) -> tuple[str, StageFiles]:
        """The key and the files of a stage's base, an image or a named context."""
        context = self.contexts.get(stage.base, stage.base)
        if isinstance(context, str):
            key = digest("image", context, stage.platform)
            return key, StageFiles(key)
        key = digest("context", sorted(context.content.items()))
        known = ((path, token, path not in context.folders) for path, token in context.content.items())
        return key, StageFiles("").put(*known)

    def add(self, step: Step, parent: str, files: StageFiles) -> tuple[str, StageFiles]:
        """The key and the stage's files after the step."""
        inputs = Inputs()
        if step.instruction == "RUN":
            definition = self.run(step, inputs)
        elif step.instruction == "WORKDIR":
            directory = "/" + context_path(posixpath.join(step.state.workdir, step.words[0]))
            definition = {"directory": directory, "user": step.state.user}
            files = files.put((directory, digest("directory", step.state.user), False))
        else:
            definition, files = self.copy(step, inputs, files)
        if part := self.edited.get(step.line):
            definition[part] = "edited"
        keyed = KeyedStep(step, definition, parent, inputs, "")
        content = sorted(inputs.context.values()), sorted(inputs.stages.values())
        key = digest(step.instruction, sorted(definition.items()), "" if keyed.linked else parent, content)
        self.steps.append(replace(keyed, key=key))
        if step.instruction == "RUN" and step.stage not in self.assume.same_results:
            files = replace(files, runs=(*files.runs, key))
        return digest("merge", parent, key) if keyed.linked else key, files

    def run(self, step: Step, inputs: Inputs) -> dict[str, Any]:
        state, words = step.state, step.words
        if step.node.json:
            command: tuple[str, ...] = words
        else:
            # "RUN <<EOF" runs the heredoc as a script; otherwise the shell reads it as part of the command
            bare = len(step.heredocs) == 1 and re.fullmatch(r"<<-?[\"']?\w+[\"']?", words[0])
            # the node's heredocs, because the shell strips the tabs of <<-
            documents = "".join(f"\n{doc.content}{doc.name}" for doc in step.node.heredocs)
            command = (*state.shell, step.heredocs[0][1] if bare else "".join(words) + documents)
        definition: dict[str, Any] = {
            "command": command,
            "environment": tuple(state.env.items()),
            "user": state.user,
            "workdir": state.workdir,
            "network": self.network if step.flag("network") in (None, "default") else step.flag("network"),
            "flags": tuple(sorted((key, value) for key, value in step.flags if key not in ("mount", "network"))),
        }
        for mount in step.mounts:
            kind, target = mount["type"], posixpath.join(state.workdir, mount["target"])
            fields = _MOUNT_FIELDS.get(kind, {}) | (_OWNER if kind == "cache" and _OWNER.keys() & mount.keys() else {})
            counted = {key: _normal(key, mount.get(key, default)) for key, default in fields.items()}
            if kind == "secret":
                counted["id"] = mount.get("source") or mount.get("id") or posixpath.basename(mount["target"])
                if not mount["target"] and "env" not in mount:
                    target = f"/run/secrets/{posixpath.basename(counted['id'])}"
            if kind == "cache":  # BuildKit leaves the default id and sharing out of the definition, but no others
                is_default = mount.get("id", mount["target"]) == target and mount.get("sharing", "shared") == "shared"
                counted["options"] = "" if is_default else "id or sharing"
            origin, source = mount.get("from"), mount.get("source", "/")
            stage = step.origins.get(origin or "")
            context = "" if stage else self.context(origin, inputs)
            known = (context, source) if context and isinstance(context, str) else ()
            definition[f"mount of {target or kind}"] = (kind, *sorted(counted.items()), *known)
            if stage:
                inputs.stages[stage, source] = digest(target, self.ends[stage][1].token(source))
            elif isinstance(context, ContextFiles) and (kind == "bind" or origin):
                # the key has the names below the source, not the source's own name
                self.find(context, (source,), inputs, partial(_mounted, target, context_path(source)))
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
        stage = step.origins.get(origin or "")
        context = "" if stage else self.context(origin, inputs)
        exclude = tuple(value for key, value in step.flags if key == "exclude")
        parents = step.flag("parents") not in (None, "false")
        owner = digest(flags, chmod)
        for name, text in step.heredocs:
            files = files.put((posixpath.join(to, name) if into else to, digest(text, owner), True))
        for word in copied(step):
            source, include = word, None
            if parents:  # "/./" separates the directory that stays behind from the pattern
                above, pivot, pattern = word.partition("/./")
                source, include = (above, pattern) if pivot else (".", word.lstrip("/"))
            is_archive = step.instruction == "ADD" and _ARCHIVE.search(source)
            if stage:
                token = inputs.stages[stage, word] = self.ends[stage][1].token(source, exclude, include)
            elif isinstance(context, str):
                token = definition["image"] = context
            else:
                found = self.find(context, (source, exclude, include), inputs)
                if not is_archive:
                    placed = context.placed(source, found, into)
                    files = files.put(
                        *((posixpath.join(to, n), f"{found[p]} {owner}", p not in context.folders) for p, n in placed)
                    )
                    continue
                token = digest(sorted(inputs.context.items()))
            files = files.put((to, digest(files.known.get(context_path(to)), source, token, owner), True))
        if any(is_remote(source) for source in sources):
            files = files.put((to, digest(files.known.get(context_path(to)), sources), True))
        return definition, files

    def context(self, origin: str | None, inputs: Inputs) -> ContextFiles | str:
        """What a ``from`` that is not a stage refers to: a context's files, or an image."""
        context = self.contexts.get(origin or "", origin or "")
        if not isinstance(context, str):
            return context
        if re.match("(target|service):", context):
            inputs.doubts.append(f"whether the result of {context} changed")
        elif context == origin and re.fullmatch(r"[\w.-]+", context):
            inputs.doubts.append(f"whether {context} is an image, or a named context (contexts) whose files changed")
        else:
            return context
        return f"{context} changed" if self.assume.changed else context

    def find(
        self, context: ContextFiles, source: tuple[Any, ...], inputs: Inputs, name: Callable[[str], str] = str
    ) -> Content:
        """The files that a source selects; adds them to ``inputs`` with the name that the key has for each."""
        found = context.read(*source)
        is_name = context_path(source[0]) != "." and not re.search(r"[*?\[\\]", source[0])
        if is_name and not context.read(source[0]):  # a pattern, or a source whose files are all excluded, can be empty
            inputs.missing.append(source[0])
        prefix = f"{context.name}:" if context.name else ""
        inputs.context |= {prefix + path: f"{name(path)} {token}" for path, token in found.items()}
        return found
