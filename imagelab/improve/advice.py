"""Advice on a Dockerfile's order and caching: which lines cost rebuilds, and what to write instead."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace

import pandas as pd

from imagelab.build.dockerfile.syntax import read_text
from imagelab.build.logs.cost import step_seconds
from imagelab.build.target import is_definition
from imagelab.core.errors import DockerfileError, ImagelabError
from imagelab.core.frames import make_frame
from imagelab.core.redact import mask
from imagelab.core.text import clean
from imagelab.improve.advice_rules import RULES, Row
from imagelab.improve.edits import Project, read_project
from imagelab.improve.rules import edited_lines, every_edit

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
    dockerfile: str | os.PathLike[str] | None = None,
    context: str | os.PathLike[str] | None = None,
    log: str | os.PathLike[str] | pd.DataFrame | None = None,
    service: str | None = None,
) -> pd.DataFrame:
    """What makes rebuilds slow and images large in a Dockerfile, most seconds first.

    Parameters
    ----------
    dockerfile : path, or text with a line break
        Optional if the context names it.
    context : path, optional
        The build context; or a Compose or bake file, which can also be given in place of the Dockerfile. Rules on what is
        copied need it.
    log : path or DataFrame, optional
        A log of a build that ran the steps (`read_build_log`): the seconds.
    service : str, optional
        The service of the Compose file, or the target of the bake file; needed if it has several.

    Returns
    -------
    DataFrame
        `BUILD_ADVICE_COLUMNS`: ``seconds`` that the step took, so at most what following the advice saves in a rebuild;
        ``bytes`` of the context concerned; ``line`` to ``end_line`` are to be replaced by ``suggestion``, lines of a
        Dockerfile (to be added to a .dockerignore, where ``rule`` is ``wide-copy``, ``wide-copy-built`` or
        ``unused-context``); rows about the same lines share one suggestion. ``confidence``: ``exact`` (a test of this
        repository builds this kind of rewrite, and the image keeps its files), ``likely``, or ``possible`` (look
        first); `improve` builds the rewrite itself and proves it. ``hadolint``: the codes that hadolint,
        where it is installed, has for the same lines; what it has for others are rows with its code as ``rule``.
    """
    if context is None and dockerfile is not None and (is_definition(dockerfile) or os.path.isdir(dockerfile)):
        dockerfile, context = None, dockerfile
    if context is None and dockerfile is None:
        raise DockerfileError("nothing to advise on; expected a Dockerfile or a build context.")
    is_text = dockerfile is not None and "\n" in os.fspath(dockerfile)
    if context is not None:
        project = read_project(context, None if is_text else dockerfile, service)
    if dockerfile is not None and (is_text or context is None):
        text = read_text(dockerfile)
        project = Project("Dockerfile", text) if context is None else replace(project, text=text)
    seconds = step_seconds(log, {stage.name for stage in project.build.stages})
    rows = _edit_rows(project)
    rows += [row for stage in project.build.stages for rule in RULES for row in rule(project, stage)]
    for row in rows:
        step = row.pop("of")
        took = [seconds[key] for s in row.pop("timed", [step]) if (key := (s.stage, s.step or 0)) in seconds]
        place = {"stage": step.stage, "step": step.step, "line": step.line, "end_line": step.node.end_line}
        texts = {"what": mask(row["what"]).text, "suggestion": mask(row["suggestion"]).text}
        row |= {**place, **row, **texts, "seconds": sum(took) if took else None}
    table = make_frame(_joined(rows, _hadolint(project.text)), BUILD_ADVICE_COLUMNS)
    order = {"ascending": [False, True], "na_position": "last", "kind": "stable"}
    return table.sort_values(["seconds", "line"], ignore_index=True, **order)


def _edit_rows(project: Project) -> list[Row]:
    """The edits as rows; those that change the same lines share one suggestion, with all of them applied."""
    rows: list[Row] = []
    for edit in every_edit(project):
        row: Row = {"rule": edit.rule, "what": edit.what, "of": edit.step, "confidence": edit.confidence}
        row |= {"timed": list(edit.cached)} if edit.cached else {}
        if edit.ignore:
            row |= {"suggestion": "\n".join(edit.lines), "bytes": edit.size}
        else:
            row["span"] = edit.span
        rows.append(row)
    spans: list[tuple[int, int]] = []
    for start, stop in sorted({row["span"] for row in rows if "span" in row}):
        if spans and start < spans[-1][1]:
            spans[-1] = (spans[-1][0], max(stop, spans[-1][1]))
        else:
            spans.append((start, stop))
    texts = {span: "\n".join(edited_lines(project, *span)) for span in spans}
    for row in rows:
        if "span" in row:
            own, _ = row.pop("span")
            start, stop = next(span for span in spans if span[0] <= own < span[1])
            row |= {"line": start + 1, "end_line": stop, "suggestion": texts[start, stop]}
    return rows


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
