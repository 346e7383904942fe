"""Parse a Dockerfile into stages and steps, with ARG and ENV scoped as in BuildKit.

e2b-dockerfile-utils provides the grammar and the word expansion (a port of BuildKit's parser and shell lexer).
Scoping, step numbers and the stage graph follow BuildKit's ``dockerfile2llb`` and its logs.
"""

from __future__ import annotations

import contextlib
import os
import platform as machine
import posixpath
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from e2b_dockerfile_utils import DockerfileHeredoc, DockerfileInstruction, ShellLex, chomp_heredoc_content

from imagelab.build.dockerfile.grammar import directives, instructions, parse_mount, written
from imagelab.build.dockerfile.refusals import bad_reference, refusal
from imagelab.core.errors import DockerfileError

MAX_EXPANDED = 16_777_216  # BuildKit's limit for the definition of a build
STEPS = ("RUN", "COPY", "ADD", "WORKDIR")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "AMD64": "amd64"}


@dataclass(frozen=True)
class State:
    """The state that earlier instructions leave for the next one."""

    # The base image's PATH is unknown here, so an expansion keeps it as a variable.
    env: Mapping[str, str] = field(default_factory=lambda: {"PATH": "${PATH}"})
    user: str = ""
    workdir: str = "/"
    shell: tuple[str, ...] = ("/bin/sh", "-c")


@dataclass(frozen=True)
class Step:
    """An instruction in its stage; ``state`` is the state before it."""

    instruction: str
    node: DockerfileInstruction
    stage: str
    step: int | None  # BuildKit's number within the stage ("[builder 2/5]"); None if it is not a build step
    words: tuple[str, ...]  # the arguments, expanded as in BuildKit
    flags: tuple[tuple[str, str], ...]  # expanded; "" for a flag without a value
    heredocs: tuple[tuple[str, str], ...]  # name, content (expanded for COPY and ADD)
    state: State
    line: int
    onbuild: bool = False
    origins: Mapping[str, str] = field(default_factory=dict)  # a name in ``from`` → the stage it refers to
    error: str = ""  # why BuildKit refuses the instruction, or why an expansion fails

    def flag(self, name: str) -> str | None:
        return next((value for key, value in self.flags if key == name), None)

    @property
    def mounts(self) -> list[dict[str, str]]:
        """The ``--mount`` flags as dicts."""
        return [parse_mount(value) for key, value in self.flags if key == "mount"]

    @property
    def from_names(self) -> list[tuple[str, str]]:
        """The names in ``--from`` and in mounts' ``from``, as ("copy" or "mount", name)."""
        named = [("copy", self.flag("from")), *(("mount", mount.get("from")) for mount in self.mounts)]
        return [(via, source) for via, source in named if source]

    def refused(self, why: str) -> Step:
        """The step with ``why`` as its error, unless it already has one."""
        return replace(self, error=self.error or why)


@dataclass
class Stage:
    """A build stage; it starts from the stage ``parent`` if that is set, else from the image ``base``."""

    index: int
    name: str  # as in BuildKit's log: lower case, or "stage-2"
    base: str
    platform: str
    parent: str | None
    line: int
    state: State
    count: int  # steps so far
    steps: list[Step] = field(default_factory=list)
    onbuild: list[DockerfileInstruction | DockerfileError] = field(default_factory=list)
    #: Dependencies: (stage or image, "copy" or "mount", whether it is a stage, line).
    sources: list[tuple[str, str, bool, int]] = field(default_factory=list)

    @property
    def needs(self) -> set[str]:
        """The names of the stages that this one needs."""
        return {name for name, _, is_stage, _ in self.sources if is_stage} | ({self.parent} if self.parent else set())


@dataclass(frozen=True)
class Build:
    """A parsed Dockerfile; ``before`` are the instructions above the first FROM."""

    directives: Mapping[str, str]
    before: tuple[Step, ...]
    stages: tuple[Stage, ...]

    @property
    def steps(self) -> list[Step]:
        """The steps of all stages, in file order."""
        return [step for stage in self.stages for step in stage.steps]

    def needed(self, target: str | None = None) -> list[Stage]:
        """The stages that a build of ``target`` (name or number; default: the last) runs, in file order."""
        if not self.stages:
            raise DockerfileError("The Dockerfile has no FROM, so there is nothing to build; start a stage with FROM.")
        by_name = {stage.name: stage for stage in self.stages}
        wanted = self.stages[-1].name if target is None else str(target).lower()
        if wanted.isdecimal() and int(wanted) < len(self.stages):
            wanted = self.stages[int(wanted)].name
        if wanted not in by_name:
            raise DockerfileError(f"There is no stage {target!r}; the stages are {', '.join(by_name)}.")
        todo, seen = [wanted], set()
        while todo:
            if (name := todo.pop()) not in seen:
                seen.add(name)
                todo += by_name[name].needs
        return [stage for stage in self.stages if stage.name in seen]


def read_text(source: str | os.PathLike[str]) -> str:
    """The text of a Dockerfile: ``source`` itself if it contains a line break, else the file with that name."""
    if isinstance(source, str) and ("\n" in source or not source.strip()):
        return source.encode("utf-8", "replace").decode()
    try:
        return Path(source).read_bytes().decode("utf-8", "replace")
    except (OSError, ValueError, TypeError) as error:
        raise DockerfileError(
            f"{str(source)[:200]!r} cannot be read as a Dockerfile ({str(error)[:100]}); "
            "expected the path of a file, or a text with a line break."
        ) from error


def parse(text: str, args: Mapping[str, str] | None = None, contexts: Collection[str] = ()) -> Build:
    """Parse a Dockerfile's text into stages and steps, with these build arguments and named contexts.

    Raises
    ------
    DockerfileError
        With the line: an unknown instruction, a syntax error, or a file without instructions.
    """
    nodes, escape = instructions(text)
    given = {name: str(value) for name, value in (args or {}).items() if value is not None}
    reader = _Reader(escape, given, contexts)
    for node in nodes:
        try:
            reader.read(node)
        except (ValueError, RecursionError, IndexError) as error:
            raise DockerfileError(f"Dockerfile line {node.start_line}: {str(error)[:300]}.") from error
    reader.finish()
    return Build(directives(text), tuple(reader.before), tuple(reader.stages))


def _platform_args(args: Mapping[str, str]) -> dict[str, str]:
    """BuildKit's automatic platform arguments, for the given platform or this machine's."""
    native = "linux/" + _ARCHITECTURES.get(machine.machine(), machine.machine().lower())
    found: dict[str, str] = {}
    for kind in ("TARGET", "BUILD"):
        platform = args.get(f"{kind}PLATFORM", native)
        system, architecture, variant = [*platform.split("/"), "", ""][:3]
        values = {"PLATFORM": platform, "OS": system, "ARCH": architecture, "VARIANT": variant}
        found |= {kind + name: value for name, value in values.items()}
    return found


def _set(env: Mapping[str, str], pairs: Mapping[str, str]) -> dict[str, str]:
    """``env`` with ``pairs`` at the end: BuildKit's key depends on the order, and setting a name again moves it."""
    return {**{key: value for key, value in env.items() if key not in pairs}, **pairs}


class _Reader:
    """Read the instructions in order and keep the state of ARG and ENV."""

    def __init__(self, escape: str, args: dict[str, str], contexts: Collection[str]) -> None:
        automatic = _platform_args(args)
        self.escape, self.args, self.contexts = escape, automatic | args, contexts
        self.top = State(env=automatic)
        self.before: list[Step] = []
        self.expanded = 0  # characters that the words of all steps expand to, at most
        self.stages: list[Stage] = []

    def read(self, node: DockerfileInstruction) -> None:
        if node.name == "FROM":
            self.begin(node)
        elif self.stages:
            self.add(node)
            if node.name == "ONBUILD":
                self.stages[-1].onbuild.append(self.trigger(node))
        else:
            step, state = self.make(node, "", self.top, None)
            if node.name == "ARG":
                self.top = state
            else:
                step = step.refused(f"{node.name} is not allowed before the first FROM")
            self.before.append(step)

    def trigger(self, node: DockerfileInstruction) -> DockerfileInstruction | DockerfileError:
        """The instruction after ONBUILD, which BuildKit runs in stages based on this one; it keeps its line for errors."""
        if not written(node):
            raise ValueError("ONBUILD requires an instruction")
        lines = "\n" * (node.start_line - 1)
        documents = "".join(f"\n{doc.content}{doc.name}" for doc in node.heredocs)
        try:
            inner = instructions(f"# escape={self.escape}{lines}{written(node)}{documents}")[0][0]
        except DockerfileError as error:
            if "unknown instruction" in str(error):  # BuildKit reports it only in stages based on this one
                return error
            raise
        if inner.name in ("ONBUILD", "FROM", "MAINTAINER"):
            raise ValueError(f"{inner.name} is not allowed in ONBUILD")
        return replace(inner, start_line=node.start_line, end_line=node.end_line)

    def begin(self, node: DockerfileInstruction) -> None:
        if len(node.args) not in (1, 3) or (len(node.args) == 3 and node.args[1].lower() != "as"):
            raise ValueError("FROM requires an image, optionally followed by AS and a name")
        step, _ = self.make(node, "", self.top, None)
        if not step.words[0]:
            step = replace(step, words=tuple(node.args), error=f"{node.args[0]} is empty; set a value for its ARG")
        base = step.words[0]
        name = node.args[2].lower() if len(node.args) == 3 else f"stage-{len(self.stages)}"
        parent = self.find(base, numbers=False)
        count = 0 if parent or base == "scratch" or base in self.contexts else 1
        stage = Stage(
            index=len(self.stages),
            name=name,
            base=base,
            platform=step.flag("platform") or "",
            parent=parent.name if parent else None,
            line=node.start_line,
            state=parent.state if parent else State(),
            count=count,
        )
        if base != "scratch":  # stage names too, because BuildKit looks for a named context first
            step = step.refused(bad_reference(base))
        stage.steps.append(replace(step, stage=name, step=count or None))
        self.stages.append(stage)
        for trigger in parent.onbuild if parent else ():
            if isinstance(trigger, DockerfileError):
                raise trigger
            self.add(trigger, onbuild=True)

    def find(self, name: str, numbers: bool = True) -> Stage | None:
        if numbers and name.isdecimal() and int(name) < len(self.stages):
            return self.stages[int(name)]
        if name in self.contexts:  # BuildKit prefers a named context to a stage
            return None
        return next((stage for stage in reversed(self.stages) if stage.name == name.lower()), None)

    def add(self, node: DockerfileInstruction, onbuild: bool = False) -> None:
        stage = self.stages[-1]
        number = stage.count + 1 if node.name in STEPS else None
        step, stage.state = self.make(node, stage.name, stage.state, number)
        if node.name == "WORKDIR" and posixpath.normpath(stage.state.workdir).strip("/") == "":
            step = replace(step, step=None)  # "/" always exists: BuildKit neither makes nor counts a step
        stage.count += step.step is not None
        origins: dict[str, str] = {}
        for via, source in step.from_names:
            found = self.find(source, numbers=via == "copy")
            if found is stage:
                step = step.refused(f"circular dependency: the stage {stage.name} copies from itself")
            elif not found and via == "copy" and re.fullmatch(r"[+-]?\d+", source):
                step = step.refused(f"no stage before this one has the number {source[:20]}")
            elif not found:
                step = step.refused(bad_reference(source))
            if found:
                origins[source] = found.name
            stage.sources.append((found.name if found else source, via, found is not None, step.line))
        stage.steps.append(replace(step, onbuild=onbuild, line=stage.line if onbuild else step.line, origins=origins))

    def finish(self) -> None:
        """Refuse references to a later stage; of several stages with one name, BuildKit takes the last."""
        last = {stage.name: stage.index for stage in self.stages}
        for stage in self.stages:
            for n, step in enumerate(stage.steps):
                later = [source for _, source in step.from_names if last.get(source.lower(), 0) > stage.index]
                if later:
                    stage.steps[n] = step.refused(f"the stage {later[0]!r} is defined later; move it before this one")

    def make(self, node: DockerfileInstruction, stage: str, state: State, number: int | None) -> tuple[Step, State]:
        """The step, and the state after it."""
        flags = [flag.removeprefix("--").partition("=")[::2] for flag in node.flags]
        step = Step(node.name, node, stage, number, tuple(node.args), tuple(flags), (), state, node.start_line)
        try:
            words, after = self.expand_words(node, state)
            expanded = tuple((key.lower(), self.expand(value, state.env, quotes=False)) for key, value in flags)
            docs = tuple((doc.name, self.heredoc(doc, state.env, node.name != "RUN")) for doc in node.heredocs)
        except ValueError as failed:
            return step.refused(str(failed)), state
        step = replace(step, words=tuple(words), flags=expanded, heredocs=docs)
        return step.refused(refusal(node, words, expanded)), after

    def expand(self, word: str, env: Mapping[str, str], quotes: bool = True) -> str:
        # checked before the text exists: a variable of doubled variables can need any amount of memory
        names = re.findall(r"\$\{?(\w+)(/?)", word)  # ${NAME/pattern/text} can make each character a text
        self.expanded += len(word) + sum(len(env.get(name, "")) * (len(word) if slash else 1) for name, slash in names)
        if self.expanded > MAX_EXPANDED:
            raise ValueError(f"variables expand to more than {MAX_EXPANDED:,} bytes, BuildKit's limit")
        return ShellLex(self.escape, env=env, skip_unset_env=False, skip_process_quotes=not quotes).process_word(word)

    def expand_words(self, node: DockerfileInstruction, state: State) -> tuple[list[str], State]:
        name, env, words = node.name, state.env, node.args
        if name in ("COPY", "ADD") and not node.json:  # BuildKit splits at every space, also inside quotes
            words = re.split(r"[\t\v\f\r ]+", " ".join(words)) if words else []
        if name in ("ENV", "LABEL"):
            written_pairs = zip(words[::3], words[1::3], strict=True)
            pairs = {self.expand(key, env): self.expand(value, env) for key, value in written_pairs}
            after = replace(state, env=_set(env, pairs)) if name == "ENV" else state
            return [f"{key}={value}" for key, value in pairs.items()], after
        if name == "ARG":
            scope, shown = dict(env), []
            for word in words:
                key, equals, default = word.partition("=")
                with contextlib.suppress(ValueError):  # BuildKit then keeps the name as written
                    key = self.expand(key, scope)
                value = self.args.get(key, self.expand(default, scope) if equals else self.top.env.get(key))
                if value is not None:
                    scope = _set(scope, {key: value})
                shown.append(key if value is None else f"{key}={value}")
            return shown, replace(state, env=scope)
        if name in ("FROM", "COPY", "ADD", "WORKDIR", "USER", "EXPOSE", "VOLUME", "STOPSIGNAL"):
            words = [self.expand(word, env) for word in words]
        if name == "WORKDIR":
            path = "".join(words) or "/"  # BuildKit keeps an absolute path as written, and cleans a relative one
            path = path if path.startswith("/") else posixpath.normpath(posixpath.join(state.workdir, path))
            return words, replace(state, workdir=path)
        if name == "USER":
            return words, replace(state, user="".join(words))
        return words, replace(state, shell=tuple(words)) if name == "SHELL" else state

    def heredoc(self, doc: DockerfileHeredoc, env: Mapping[str, str], in_copy: bool) -> str:
        content = chomp_heredoc_content(doc.content) if doc.chomp else doc.content
        return self.expand(content, env, quotes=False) if in_copy and doc.expand else content
