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
    ran = own_steps(frame).query("status == 'done'")
    if len(stages) == 1:
        ran = ran.fillna({"stage": next(iter(stages))})
    return dict(ran.groupby([ran["stage"].str.split(" ").str[-1], "step"])["duration"].max().dropna())


def own_steps(log: pd.DataFrame) -> pd.DataFrame:
    """The rows of `read_build_log`'s frame that are steps of the Dockerfile: no FROM, no merge of a ``COPY --link``."""
    return log[log["step"].notna() & ~log["instruction"].isin(["FROM", "LINK"])]


def build_cost(log: pd.DataFrame) -> pd.Series:
    """Count the steps of a build and sum its seconds, from `read_build_log`'s frame, without FROM.

    Returns
    -------
    Series
        ``steps`` of the Dockerfile, and the ``cached`` ones of them. ``seconds``: the sum over all steps and tasks, with
        loading, pulling, exporting and unpacking. ``elapsed``: from the first start to the last end; without timestamps,
        the seconds of the longest chain (`critical_steps`), the least time that the build took. Both are ``<NA>`` if the
        log has no seconds.
    """
    expect_frame(log, LOG_COLUMNS, "il.read_build_log")
    steps, rows = own_steps(log), timed_rows(log)
    counts = {"steps": len(steps), "cached": steps["status"].eq("cached").sum()}
    spans = (rows["completed"] - rows["started"]).dt.total_seconds().astype("Float64")
    spans = spans.mask(rows["status"].eq("cached")).fillna(rows["duration"])
    values = counts | {"seconds": rows["duration"].sum(min_count=1), "elapsed": (rows["start"] + spans).max()}
    return pd.Series(values, dtype="Float64", name="build")


def build_words(log: pd.DataFrame) -> str:
    """`build_cost` in words."""
    cost = build_cost(log)
    seconds = f"took {cost['elapsed']:.1f} s, {cost['seconds']:.1f} s in all steps and tasks; "
    took = "has " if pd.isna(cost["elapsed"]) else seconds
    return f"{took}{cost['cached']:.0f} of {cost['steps']:.0f} steps from the cache"


def timed_rows(log: pd.DataFrame) -> pd.DataFrame:
    """The rows with a duration, without FROM; ``start``: seconds since the build's first row.

    Without timestamps, a row starts when those that it waits for end.
    """
    rows = log[log["duration"].notna() & log["instruction"].fillna("").ne("FROM")]
    if rows["started"].notna().all():
        # older versions of BuildKit give a cached step the times of the build that ran it
        first = rows["started"].where(rows["status"].ne("cached"), rows["started"].max()).min()
        return rows.assign(start=(rows["started"] - first).dt.total_seconds().clip(lower=0).astype("Float64"))
    ends = finish_times(*_edges(log))
    return rows.assign(start=rows["vertex"].map(ends).astype("Float64") - rows["duration"])


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
    wants, seconds = _edges(log)
    return log["vertex"].isin(longest_chain(wants, seconds)) & log["vertex"].map(seconds).gt(0)


def _edges(log: pd.DataFrame) -> tuple[dict[str, list[str]], dict[str, float]]:
    """The vertices that each vertex waits for, and its seconds; those of FROM count only at their time on the clock."""
    rows = log.fillna({"stage": "", "inputs": "", "arguments": "", "instruction": "", "duration": 0.0})
    inputs = {row.vertex: row.inputs.split() for row in rows.itertuples()}
    by_inputs = log.loc[log["step"].notna(), "inputs"].notna().any()
    wants: dict[str, list[str]] = {}
    last: dict[str, str] = {}  # stage → its last step so far, without inputs in the log
    for row in rows.itertuples():
        target, _, _ = row.stage.rpartition(" ")  # of a bake
        wants[row.vertex] = [vertex for vertex in (*inputs[row.vertex], f"{row.vertex}/pull") if vertex in inputs]
        # kaniko pulls and unpacks between its steps; BuildKit's tasks belong to a vertex
        is_between = row.instruction in ("pull", "unpack") and "/" not in row.vertex
        if row.instruction == "export":
            wants[row.vertex] = _finished(rows, row)
        elif not by_inputs and (is_between or pd.notna(row.step)):
            named = re.findall(r"\bfrom=([\w.-]+)", row.arguments)
            before = (row.stage, *(f"{target} {name}".strip() for name in named))
            wants[row.vertex] += [last[name] for name in before if name in last]
            last[row.stage] = row.vertex
    counted = rows["instruction"].ne("FROM") | rows["started"].notna()
    return wants, dict(zip(rows["vertex"], rows["duration"].where(counted, 0.0).astype(float), strict=True))


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
    finish = finish_times(wants := dict(wants), seconds)
    chain = set()
    at = max(finish, key=lambda vertex: finish[vertex], default=None)
    while at is not None:
        chain.add(at)
        at = max(wants[at], key=lambda vertex: finish[vertex], default=None)
    return chain


def finish_times(wants: dict[Any, list[Any]], seconds: Mapping[Any, float]) -> dict[Any, float]:
    """Vertex → the second at which it ends; cycles are cut in ``wants`` itself."""
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
    return finish
