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
    ran = frame[frame["step"].notna() & (frame["status"] == "done") & (frame["instruction"] != "LINK")]
    if len(stages) == 1:
        ran = ran.fillna({"stage": next(iter(stages))})
    return dict(ran.groupby([ran["stage"].str.split(" ").str[-1], "step"])["duration"].max().dropna())


def critical_steps(log: pd.DataFrame) -> pd.Series:
    """Mark the critical path, the longest chain of steps by seconds, in `read_build_log`'s frame.

    A step waits for the vertices in ``inputs`` if the log has them (rawjson). Otherwise the chain is an approximation:
    a step waits for the previous one of its stage, and for the last step of the stage named in ``--from=``.

    Returns
    -------
    Series of bool, with the frame's index.
    """
    expect_frame(log, LOG_COLUMNS, "il.read_build_log")
    vertices = list(log["vertex"])
    known = set(vertices)
    by_inputs = log["inputs"].notna().any()
    wants: dict[str, list[str]] = {}
    last: dict[object, str] = {}
    for row in log.itertuples():
        stage = "" if pd.isna(row.stage) else row.stage
        if by_inputs:
            wants[row.vertex] = [] if pd.isna(row.inputs) else [v for v in row.inputs.split() if v in known]
        elif pd.notna(row.step):
            named = re.findall(r"\bfrom=([\w.-]+)", row.arguments) if pd.notna(row.arguments) else []
            wants[row.vertex] = [last[name] for name in (stage, *named) if name in last]
            last[stage] = row.vertex
        else:
            wants[row.vertex] = []
    chain = longest_chain(wants, dict(zip(vertices, log["duration"].fillna(0.0), strict=True)))
    return (log["vertex"].isin(chain) & log["duration"].gt(0)).fillna(False).astype(bool)


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
