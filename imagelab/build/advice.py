"""Advice on a Dockerfile's order and caching: which lines cost rebuilds, and what to write instead."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pandas as pd

from imagelab.build.advice_rules import RULES, Row, Site
from imagelab.build.context import build_context
from imagelab.build.dockerfile.syntax import parse, read_text
from imagelab.build.logs.cost import step_seconds
from imagelab.core.errors import ImagelabError
from imagelab.core.frames import make_frame
from imagelab.core.redact import mask
from imagelab.core.text import clean

BUILD_ADVICE_COLUMNS = {
    "rule": "string",
    "what": "string",
    "seconds": "Float64",
    "bytes": "Int64",
    "stage": "string",
    "step": "Int64",
    "line": "Int64",
    "end_line": "Int64",
    "suggestion": "string",
    "confidence": "string",
    "hadolint": "string",
}


def advise_build(
    dockerfile: str | os.PathLike[str],
    context: str | os.PathLike[str] | None = None,
    log: str | os.PathLike[str] | pd.DataFrame | None = None,
) -> pd.DataFrame:
    """What makes rebuilds slow in a Dockerfile, most seconds first.

    Parameters
    ----------
    dockerfile : path, or text with a line break
    context : path, optional
        The build context; rules on what is copied need it.
    log : path or DataFrame, optional
        A log of a build that ran the steps (`read_build_log`): the seconds.

    Returns
    -------
    DataFrame
        `BUILD_ADVICE_COLUMNS`: ``seconds`` that the step took, so at most what following the advice saves in a rebuild;
        ``bytes`` of the context concerned; ``line`` to ``end_line`` are to be replaced by ``suggestion``, lines of a
        Dockerfile (of a .dockerignore, where ``rule`` is ``wide-copy`` or ``unused-context``). ``confidence``: ``exact`` (it
        follows from BuildKit's rules), ``likely``, or ``possible`` (look first). ``hadolint``: the codes that hadolint,
        where it is installed, has for the same lines; what it has for others are rows with its code as ``rule``.
    """
    text = read_text(dockerfile)
    is_file = "\n" not in os.fspath(dockerfile)
    build = parse(text)
    frame = None if context is None else build_context(context, os.path.abspath(dockerfile) if is_file else None)
    seconds = step_seconds(log, {stage.name for stage in build.stages})
    rows: list[Row] = []
    for stage in build.stages:
        steps = [step for step in stage.steps if not step.onbuild]
        took = {step.line: seconds.get((stage.name, step.step or 0)) for step in steps}
        site = Site(stage, steps, took, frame, Path(context) if context is not None else None)
        rows += [row for rule in RULES for row in rule(site)]
    for row in rows:
        row |= {"what": mask(row["what"]).text, "suggestion": mask(row["suggestion"]).text}
    table = make_frame(_joined(rows, _hadolint(text)), BUILD_ADVICE_COLUMNS)
    order = {"ascending": [False, True], "na_position": "last", "kind": "stable"}
    return table.sort_values(["seconds", "line"], ignore_index=True, **order)


def _hadolint(text: str) -> list[tuple[int, str, str]]:
    """hadolint's (line, code, message), where it is installed."""
    if shutil.which("hadolint") is None:
        return []
    command = ["hadolint", "--no-fail", "--format", "json", "-"]
    done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise ImagelabError(f"hadolint failed: {clean(done.stderr)}")
    return [(found["line"], found["code"], found["message"]) for found in json.loads(done.stdout)]


def _joined(rows: list[Row], findings: list[tuple[int, str, str]]) -> list[Row]:
    """hadolint's codes beside the rows whose lines they are about; the rest as rows."""
    own = list(rows)
    for line, code, message in findings:
        beside = [row for row in own if row["line"] <= line <= row["end_line"]]
        for row in beside:
            row["hadolint"] = " ".join(dict.fromkeys([*(row.get("hadolint") or "").split(), code]))
        if not beside:
            rows.append({"rule": code, "what": message, "line": line, "end_line": line, "hadolint": code})
    return rows
