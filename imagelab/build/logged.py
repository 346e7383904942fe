"""One build of two that are compared: its steps, how they depend on each other, and how they are defined."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import pandas as pd

from imagelab.build.dockerfile.grammar import instructions
from imagelab.build.dockerfile.syntax import Step, parse
from imagelab.build.logs.cost import own_steps
from imagelab.build.logs.read import LOG_COLUMNS, read_facts, steps_frame
from imagelab.build.logs.records import Facts, merge
from imagelab.core.errors import DockerfileError
from imagelab.core.frames import expect_frame
from imagelab.core.json_fields import mapping, mappings, strings

Build: TypeAlias = str | os.PathLike[str] | pd.DataFrame | Sequence[str | os.PathLike[str]]


class LoggedBuild:
    """One build: its steps without FROM, and how they depend on each other."""

    def __init__(self, build: Build) -> None:
        if isinstance(build, pd.DataFrame):
            expect_frame(build, LOG_COLUMNS, "il.read_build_log")
            self.frame, self.facts = build, Facts()
        else:
            paths = [build] if isinstance(build, str | os.PathLike) else list(build)
            found = [read_facts(path) for path in paths]
            for path, builds in zip(paths, found, strict=True):
                if (count := sum(facts.vertices is not None for facts in builds)) > 1:
                    raise DockerfileError(f"{path} has {count} builds; choose one, as {path}#1 or {path}#{count}.")
            self.facts = merge(found)
            if not self.facts.vertices:
                raise DockerfileError(f"{paths[0]} has no steps; give the build's log or .dockerbuild file too.")
            self.frame = steps_frame(self.facts.vertices)
        rows = self.frame.fillna({"stage": "", "arguments": "", "inputs": "", "instruction": "", "name": ""})
        # The stage without bake's target. A build with one stage names it only sometimes, and a FROM can have the name
        # that another build, which ran at the same time, gave it.
        rows["target"] = rows["stage"].str.rpartition(" ")[0]
        rows["stage"] = (rows["stage"].str.split(" ").str[-1] + " " + rows["platform"].fillna("")).str.strip()
        if own_steps(rows)["stage"].nunique() == 1:
            rows["stage"] = ""
        every = list(rows.itertuples())
        self.numbered = [row for row in every if not pd.isna(row.step) and row.instruction != "LINK"]
        self.by_vertex = {row.vertex: row for row in every}
        self.steps = [row for row in self.numbered if row.instruction != "FROM"]
        failed = [row.name for row in every if row.name.startswith("importing cache") and row.status == "error"]
        is_cached = any(row.cached is True for row in self.steps)
        #: What could not be imported, if no step was cached.
        self.failed_import = f"{failed[0]} failed" if failed and not is_cached else ""
        names = [re.search(r"FROM (\S+)@(sha256:[0-9a-f]+)", row.name) for row in every]
        #: Image → digest, from the names of FROM and of images in COPY --from.
        self.bases = {match[1]: match[2] for match in names if match} | dict(self.facts.images)
        self.base_stages: dict[str, str] = {}  # stage → the stage in its FROM
        self.has_inputs = any(step.inputs for step in self.steps)
        #: Vertex → definition, from the provenance.
        self.definitions = {vertex: llb_definition(found) for vertex, found in self.facts.operations.items()}
        is_single = own_steps(rows)["target"].nunique() == 1  # of several targets, a Dockerfile does not name its own
        if self.facts.dockerfile and is_single and not any(row.vertex in self.definitions for row in self.steps):
            self._read_dockerfile(self.facts.dockerfile)

    def _read_dockerfile(self, text: str) -> None:
        """Take the definitions of the steps from the Dockerfile, if the log has no vertex of the provenance (plain)."""
        stages = parse(text, self.facts.build_args).needed(self.facts.attributes.get("target"))
        network = self.facts.attributes.get("force-network-mode", "")
        self.base_stages = {stage.name: stage.parent for stage in stages if stage.parent}
        known = {(stage.name, step.step): step for stage in stages for step in stage.steps}
        for row in self.steps:
            step = known.get((row.stage.split(" ")[0] or stages[-1].name, row.step))
            if step and step.instruction == row.instruction:
                self.definitions[row.vertex] = step_definition(step, network)
                self.facts.lines = {**self.facts.lines, row.vertex: (step.line, step.node.end_line)}

    def previous(self, step: Any) -> Any | None:
        """The step whose files this one changes: the one before it, in its stage or in the stage it starts from."""
        if self.has_inputs:
            inputs = step.inputs.split()
            alone = step.instruction in ("COPY", "ADD") and len(inputs) == 1  # onto scratch, or with --link
            return None if alone or not inputs else self.by_vertex.get(inputs[0])
        if step.step == 1 and (base := self.base_stages.get(step.stage.split(" ")[0])):
            return next((row for row in reversed(self.steps) if row.stage.split(" ")[0] == base), None)
        before = [row for row in self.numbered if row.stage == step.stage and row.step == step.step - 1]
        starts = [row for row in self.numbered if row.step == 1]
        if step.step == 2 and [word for word, _ in {(row.instruction, row.arguments) for row in starts}] == ["FROM"]:
            before = before or starts  # equal FROMs have one row, with the name of one stage
        return None if not before or "--link" in step.arguments else _of_target(before, step)[0]

    def sources(self, step: Any) -> list[Any]:
        """The steps of other stages that a step copies or mounts from."""
        if self.has_inputs:
            rows = [self.by_vertex[vertex] for vertex in step.inputs.split() if vertex in self.by_vertex]
            return [row for row in rows if row in self.steps and row is not self.previous(step)]
        names = re.findall(r"\bfrom=([\w.-]+)", step.arguments)
        ends = [_of_target([row for row in self.steps if row.stage.split(" ")[0] == name], step) for name in names]
        return [rows[-1] for rows in ends if rows]

    def reads_files(self, step: Any) -> bool:
        """Whether a step reads the build context or a named context."""
        if self.has_inputs:
            names = [self.by_vertex[vertex].name for vertex in step.inputs.split() if vertex in self.by_vertex]
            return any("load build context" in name or "load from client" in name for name in names)
        if step.instruction in ("COPY", "ADD"):
            named = re.search(r"--from=(\S+)", step.arguments)
            words = [word for word in step.arguments.split(" ")[:-1] if not word.startswith("--")]
            if named:
                return any(f"[context {named[1]}]" in row.name for row in self.by_vertex.values())
            return not all(word.startswith("<<") for word in words)
        mounts = re.findall(r"--mount=(\S+)", step.arguments)
        return any("type=" not in mount or "type=bind" in mount for mount in mounts)

    def counterpart(self, step: Any) -> Any | None:
        """The step of this build that ``step`` of the other one replaces."""
        kind = [row for row in self.steps if row.instruction == step.instruction]
        near = _of_target([row for row in kind if row.stage == step.stage], step)
        same = [row for row in near or kind if row.arguments == step.arguments]
        return next(iter(same or [row for row in near if row.step == step.step]), None)

    def written(self, step: Any) -> str | None:
        """The instruction as it stands in the Dockerfile, if the records have it."""
        if not self.facts.dockerfile or step.vertex not in self.facts.lines:
            return None
        nodes = instructions(self.facts.dockerfile)[0]
        node = next((node for node in nodes if node.start_line == self.facts.lines[step.vertex][0]), None)
        return None if node is None else node.original + "".join(document.content for document in node.heredocs)

    def declared(self) -> set[str]:
        """The names of ARG in the Dockerfile."""
        nodes = instructions(self.facts.dockerfile)[0] if self.facts.dockerfile else []
        return {word.partition("=")[0] for node in nodes if node.name == "ARG" for word in node.args}


def _of_target(rows: list[Any], step: Any) -> list[Any]:
    """The rows of a step's own target; targets of bake share equal steps, which have the name of one of them."""
    return [row for row in rows if row.target == step.target] or rows


def llb_definition(operation: Mapping[str, Any]) -> dict[str, Any]:
    """An LLB operation as a definition that `reasons.changes` compares."""
    if "exec" not in operation:
        return {"actions": [action.get("Action") for action in mappings(mapping(operation, "file").get("actions"))]}
    run, meta = mapping(operation, "exec"), mapping(operation, "exec", "meta")
    return {
        "command": tuple(strings(meta.get("args"))),
        "environment": [text.partition("=")[::2] for text in strings(meta.get("env"))],
        "user": meta.get("user"),
        "workdir": meta.get("cwd"),
        "network": run.get("network"),
        "mounts": [item | {"input": None} for item in mappings(run.get("mounts"))],
    }


def step_definition(step: Step, network: str) -> dict[str, Any]:
    """A step of a Dockerfile as such a definition."""
    if step.instruction != "RUN":
        return {"actions": [step.instruction, step.words, step.flags, step.heredocs]}
    state, texts = step.state, [text for _, text in step.heredocs]
    command = (*(() if step.node.json else state.shell), " ".join(step.words) + "".join(texts))
    named = {"command": command, "environment": list(state.env.items()), "user": state.user, "workdir": state.workdir}
    flags = [flag for flag in step.flags if flag[0] not in ("network", "mount")]
    mounts = [flag for flag in step.flags if flag[0] == "mount"]
    return named | {"network": dict(step.flags).get("network", network), "mounts": mounts, "flags": flags}
