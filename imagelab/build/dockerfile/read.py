"""Read a Dockerfile into DataFrames: instructions, stages, and the dependencies between stages."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from imagelab.build.dockerfile.grammar import written
from imagelab.build.dockerfile.syntax import Build, Step, parse, read_text
from imagelab.core.frames import make_frame
from imagelab.core.redact import mask

INSTRUCTIONS_COLUMNS = {
    "stage": "string",
    "step": "Int64",
    "instruction": "string",
    "flags": "string",
    "arguments": "string",
    "expanded": "string",
    "form": "string",
    "heredocs": "string",
    "line": "Int64",
    "end_line": "Int64",
    "onbuild": "boolean",
    "masked": "string",
    "error": "string",
}
STAGES_COLUMNS = {
    "stage": "string",
    "base": "string",
    "base_is_stage": "boolean",
    "platform": "string",
    "steps": "Int64",
    "needed": "boolean",
    "line": "Int64",
}
GRAPH_COLUMNS = {"stage": "string", "source": "string", "via": "string", "source_is_stage": "boolean", "line": "Int64"}

_FORMS = ("RUN", "CMD", "ENTRYPOINT", "HEALTHCHECK", "COPY", "ADD", "VOLUME")


@dataclass(frozen=True, eq=False)
class Dockerfile:
    """A parsed Dockerfile.

    Attributes
    ----------
    instructions : DataFrame
        One row per instruction, `INSTRUCTIONS_COLUMNS`. ``step`` is BuildKit's step number within the stage; join on
        ``stage`` and ``step`` with `plan_build` and `read_build_log`. It is ``<NA>`` for instructions that are not a
        build step. ``arguments`` are as written; ``expanded`` has ARG and ENV replaced where BuildKit replaces them.
        ``stage`` is ``<NA>`` above the first FROM. ``error`` says why BuildKit refuses the instruction
        (`imagelab.build.dockerfile.refusals`) or why an expansion fails (``${NAME:?}`` unset, an open quote); then
        ``expanded`` is ``<NA>`` and a build would fail. ``masked`` lists the kinds of secret masked in the row.
    stages : DataFrame
        One row per stage, `STAGES_COLUMNS`. ``needed``: a build of the last stage runs it.
    graph : DataFrame
        One row per dependency, `GRAPH_COLUMNS`: ``via`` is ``from``, ``copy`` or ``mount``; ``source`` is a stage or an image.
    directives : dict
        ``syntax``, ``escape`` and ``check``, where given.
    """

    instructions: pd.DataFrame
    stages: pd.DataFrame
    graph: pd.DataFrame
    directives: Mapping[str, str]


def read_dockerfile(source: str | os.PathLike[str], args: Mapping[str, str] | None = None) -> Dockerfile:
    """Read a Dockerfile into DataFrames.

    Parameters
    ----------
    source : path, or text with a line break
    args : mapping, optional
        Build arguments, as in ``--build-arg``; ``TARGETPLATFORM`` is what ``--platform`` sets.

    Returns
    -------
    Dockerfile

    Raises
    ------
    DockerfileError
        The file cannot be parsed; the message gives the line.
    """
    build = parse(read_text(source), args)
    needed = {stage.name for stage in build.needed()} if build.stages else set()
    stages = [
        vars(stage)
        | {"stage": stage.name, "steps": stage.count, "platform": stage.platform or None}
        | {"base_is_stage": stage.parent is not None, "needed": stage.name in needed}
        for stage in build.stages
    ]
    return Dockerfile(
        make_frame([_row(step) for step in [*build.before, *build.steps]], INSTRUCTIONS_COLUMNS),
        make_frame(stages, STAGES_COLUMNS),
        make_frame(_edges(build), GRAPH_COLUMNS),
        build.directives,
    )


def _row(step: Step) -> dict[str, object]:
    kinds: list[str] = []

    def hide(text: str, name: str | None = None) -> str:
        masked = mask(text, name)
        kinds.extend(masked.kinds)
        return masked.text

    if step.instruction in ("ENV", "ARG", "LABEL"):
        pairs = [word.partition("=") for word in step.words]
        expanded = " ".join(f"{key}{equals}{hide(value, key)}" for key, equals, value in pairs)
    else:
        expanded = hide(" ".join(step.words))
    # `mask` recognises the pairs of ENV and ARG by the instruction's name.
    shown = hide(f"{step.instruction} {written(step.node)}").removeprefix(step.instruction).strip()
    return vars(step) | {
        "stage": step.stage or None,
        "flags": hide(" ".join(step.node.flags)) or None,
        "arguments": shown,
        "expanded": None if step.error else expanded,
        "form": ("exec" if step.node.json else "shell") if step.instruction in _FORMS else None,
        "heredocs": hide("".join(f"<<{name}\n{text}{name}\n" for name, text in step.heredocs)) or None,
        "end_line": step.node.end_line,
        "error": hide(step.error) or None,
        "masked": " ".join(dict.fromkeys(kinds)) or None,
    }


def _edges(build: Build) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for stage in build.stages:
        start = (stage.parent or stage.base, "from", stage.parent is not None, stage.line)
        for source, via, is_stage, line in [start, *stage.sources]:
            rows.append({"stage": stage.name, "source": source, "via": via, "source_is_stage": is_stage, "line": line})
    return rows
