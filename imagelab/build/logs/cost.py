"""Compute the seconds of each step and the critical path of a build from its log."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from imagelab.build.logs.read import LOG_COLUMNS, read_build_log
from imagelab.core.frames import expect_frame


def step_seconds(
    log: str | os.PathLike[str] | pd.DataFrame | None, stages: Collection[str]
) -> dict[tuple[str, int], float]:
    """Seconds by (stage, step) of the steps that ran; a log of a single stage does not name the stage.

    In a log of bake the target precedes the stage ("web builder"), so the stage is the last word.
    """
    if log is None:
        return {}
    frame = log if isinstance(log, pd.DataFrame) else read_build_log(log)
    expect_frame(frame, LOG_COLUMNS, "il.read_build_log")
    ran = frame[frame["step"].notna() & (frame["status"] == "done") & ~frame["instruction"].isin(["LINK", "FROM"])]
    if len(stages) == 1:
        ran = ran.fillna({"stage": next(iter(stages))})
    return dict(ran.groupby([ran["stage"].str.split(" ").str[-1], "step"])["duration"].max().dropna())


def critical_steps(log: pd.DataFrame) -> pd.Series:
    """Mark the critical path, the longest chain of steps by seconds, in `read_build_log`'s frame.

    A step waits for the vertices in ``inputs`` if the log has them (rawjson, records). Otherwise the chain is an
    approximation: a step waits for the previous one of its stage, and for the last step of the stage named in
    ``--from=``. An export waits for the steps of its target.

    Returns
    -------
    Series of bool, with the frame's index.
    """
    expect_frame(log, LOG_COLUMNS, "il.read_build_log")
    rows = log.fillna({"stage": "", "inputs": "", "arguments": "", "instruction": ""})
    inputs = {row.vertex: row.inputs.split() for row in rows.itertuples()}
    by_inputs = log.loc[log["step"].notna(), "inputs"].notna().any()
    wants: dict[str, list[str]] = {}
    last: dict[str, str] = {}  # stage → its last step so far, without inputs in the log
    for row in rows.itertuples():
        target, _, _ = row.stage.rpartition(" ")  # of a bake
        wants[row.vertex] = [vertex for vertex in (*inputs[row.vertex], f"{row.vertex}/pull") if vertex in inputs]
        if row.instruction == "export":
            wants[row.vertex] = _finished(rows, row)
        elif pd.notna(row.step) and not by_inputs:
            named = re.findall(r"\bfrom=([\w.-]+)", row.arguments)
            before = (row.stage, *(f"{target} {name}".strip() for name in named))
            wants[row.vertex] += [last[name] for name in before if name in last]
            last[row.stage] = row.vertex
    chain = longest_chain(wants, dict(zip(log["vertex"], log["duration"].fillna(0.0), strict=True)))
    return (log["vertex"].isin(chain) & log["duration"].gt(0)).fillna(False).astype(bool)


def _finished(rows: pd.DataFrame, export: Any) -> list[str]:
    """The steps of the same target that an export waits for: those that finished before it started."""
    steps = rows[rows["step"].notna() & (rows["status"].isin(["done", "cached"]))]
    if export.stage:
        steps = steps[steps["stage"].str.startswith(f"{export.stage} ")]
    if pd.notna(export.started):
        return list(steps.loc[steps["completed"].notna() & (steps["completed"] <= export.started), "vertex"])
    return list(steps.loc[steps.index < export.Index, "vertex"])


def longest_chain(wants: dict[Any, list[Any]], seconds: Mapping[Any, float]) -> set[Any]:
    """The chain of vertices that ends last; ``wants`` maps each vertex to those it waits for, and cycles are cut."""
    wants = dict(wants)
    finish: dict[Any, float] = {}
    for start in wants:
        stack = [start]
        open_: set[Any] = set()
        while stack:
            vertex = stack[-1]
            open_.add(vertex)
            waiting = [other for other in wants[vertex] if other not in finish and other not in open_]
            if waiting:
                stack.extend(waiting)
                continue
            stack.pop()
            wants[vertex] = [other for other in wants[vertex] if other in finish]
            finish[vertex] = seconds[vertex] + max((finish[other] for other in wants[vertex]), default=0.0)
    chain = set()
    at = max(finish, key=lambda vertex: finish[vertex], default=None)
    while at is not None:
        chain.add(at)
        at = max(wants[at], key=lambda vertex: finish[vertex], default=None)
    return chain
