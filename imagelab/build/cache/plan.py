"""Predict which steps the next build runs again, why, and for how long."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from imagelab.build.cache.keys import KeyedStep, Keys, context_files
from imagelab.build.cache.reasons import explain
from imagelab.build.context import Entry, find_dockerfile, read_ignore_file, walk
from imagelab.build.dockerfile.syntax import Stage, parse, read_text
from imagelab.build.logs.cost import longest_chain, step_seconds
from imagelab.core.errors import DockerfileError, similar_names
from imagelab.core.frames import expect_frame, make_frame
from imagelab.core.redact import mask

PLAN_COLUMNS = {
    "stage": "string",
    "step": "Int64",
    "instruction": "string",
    "arguments": "string",
    "hit": "boolean",
    "certain": "boolean",
    "reason": "string",
    "seconds": "Float64",
    "critical": "boolean",
    "needs": "string",
    "line": "Int64",
}


def plan_build(
    directory: str | os.PathLike[str],
    changes: Sequence[str | os.PathLike[str]] = (),
    *,
    after: str | os.PathLike[str] | None = None,
    dockerfile: str | os.PathLike[str] | None = None,
    args: Mapping[str, str] | None = None,
    args_after: Mapping[str, str] | None = None,
    target: str | None = None,
    log: str | os.PathLike[str] | pd.DataFrame | None = None,
    same_results: bool | Collection[str] = False,
) -> pd.DataFrame:
    """Predict, step by step, the next build after a build of ``directory`` filled BuildKit's cache.

    Parameters
    ----------
    directory : path
        The context of the first build.
    changes : sequence of str or path
        Paths in the context whose content is edited before the next build (a directory stands for everything below
        it), or ``"Dockerfile:7"`` (the Dockerfile's name and a line number) for a step that is edited.
    after : path, optional
        The context of the next build, with its own Dockerfile and .dockerignore; replaces ``changes``.
    dockerfile : path, optional
        As in ``--file``, for both builds.
    args, args_after : mapping, optional
        Build arguments of the first and of the next build; ``args_after`` defaults to ``args``.
    target : str, optional
        The stage to build, in both builds; default: the last.
    log : path or DataFrame, optional
        A log of a build that ran the steps (`read_build_log`); it fills ``seconds``.
    same_results : bool or collection of stage names
        The stages (True: all) whose RUN steps are assumed to write the same files when they rerun, as far as other
        stages copy or mount them. Steps whose prediction depends on this have ``certain`` False.

    Returns
    -------
    DataFrame
        `PLAN_COLUMNS`, a row per step of every needed stage, in file order, without FROM (its cached flag varies
        between identical builds). ``reason`` names the path, argument or step that decides. ``seconds``: the step's
        duration in the log, if it ran there. ``critical``: on the longest chain, by seconds, of steps that run again.
        ``needs``: the steps that this one waits for, as ``stage:step``.

    Notes
    -----
    The rules are BuildKit's, measured on Engine 28 and 20.10. Base images, URLs and Git sources are assumed unchanged.
    If the next build uses the same directory, BuildKit's transfer misses a new mode of a directory, and new extended
    attributes of an otherwise untouched file; the plan counts them as changes.
    """
    if changes and after is not None:
        raise DockerfileError("changes and after exclude each other; expected edited paths, or a second context.")
    root, path, entries = _read(directory, dockerfile)
    first = _stages(path, args, target)
    tree_before = context_files(root, entries, ())
    if after is None:
        edited, lines = _edited(entries, changes, path.name, first)
    else:
        old = root, entries
        root, path, entries = _read(after, dockerfile)
        edited, lines = _compare(*old, root, entries), set()
    second = _stages(path, args if args_after is None else args_after, target)
    tree = context_files(root, entries, edited)
    names = {stage.name for stage in (*first, *second)}
    chosen = (names if same_results else set()) if isinstance(same_results, bool) else set(same_results)
    if unknown := chosen - names:
        listed = ", ".join(sorted(names))
        raise DockerfileError(f"same_results contains {', '.join(sorted(unknown))}; the stages are {listed}.")

    def judge(same: Collection[str]) -> tuple[list[KeyedStep], list[KeyedStep], list[bool]]:
        before, now = Keys(first, tree_before, same).steps, Keys(second, tree, same, lines).steps
        known = {keyed.key for keyed in before}
        return before, now, [keyed.key in known and not keyed.inputs.missing for keyed in now]

    before, now, hits = judge(chosen)
    certain = [True] * len(now)
    if any(keyed.inputs.stages for keyed in now):
        certain = [a == b for a, b in zip(judge(())[2], judge(names)[2], strict=True)]
    needs = _needs(second, now)
    priced = step_seconds(log, {keyed.step.stage for keyed in now})
    seconds = [priced.get((keyed.step.stage, keyed.step.step or 0)) for keyed in now]
    columns = {
        "stage": [keyed.step.stage for keyed in now],
        "step": [keyed.step.step for keyed in now],
        "instruction": [keyed.step.instruction for keyed in now],
        "arguments": [mask(" ".join(keyed.step.words)).text for keyed in now],
        "hit": hits,
        "certain": certain,
        "reason": explain(second, before, now, hits, certain, needs),
        "seconds": seconds,
        "critical": _critical(needs, hits, seconds),
        "needs": [" ".join(f"{now[n].step.stage}:{now[n].step.step}" for n in wanted) or None for wanted in needs],
        "line": [keyed.step.line for keyed in now],
    }
    return make_frame(columns, PLAN_COLUMNS)


def plan_cost(plan: pd.DataFrame) -> pd.Series:
    """Sum the seconds of a rebuild, from `plan_build`'s frame with a log.

    Returns
    -------
    Series
        ``again``, ``saved``: seconds of the steps that run again, and of the cached ones. ``critical``: seconds of the
        longest chain of steps that run again, the least time that the rebuild takes. ``unpriced``: the number of
        steps that run again without a duration in the log.
    """
    expect_frame(plan, PLAN_COLUMNS, "il.plan_build")
    seconds, misses = plan["seconds"], ~plan["hit"]
    values = {
        "again": seconds[misses].sum(),
        "saved": seconds[~misses].sum(),
        "critical": seconds[misses & plan["critical"].fillna(False)].sum(),
        "unpriced": int((misses & seconds.isna()).sum()),
    }
    return pd.Series(values, dtype="Float64", name="seconds")


def _read(
    directory: str | os.PathLike[str], dockerfile: str | os.PathLike[str] | None
) -> tuple[Path, Path, list[Entry]]:
    """The context's root, its Dockerfile and its entries."""
    root, path = find_dockerfile(directory, dockerfile)
    return root, path, walk(root, read_ignore_file(root, path))


def _stages(path: Path, args: Mapping[str, str] | None, target: str | None) -> list[Stage]:
    build = parse(read_text(path), args)
    names = [stage.name for stage in build.stages]
    for stage in build.stages:
        if names.count(stage.name) > 1:  # BuildKit allows it, but the plan identifies stages by name
            raise DockerfileError(f"{path.name}: several stages are named {stage.name!r}; give each its own name.")
    stages = build.needed(target)
    for step in (*build.before, *(step for stage in stages for step in stage.steps)):
        if step.error:
            raise DockerfileError(f"{path.name} line {step.line}: {step.error}.")
    return stages


def _edited(
    entries: list[Entry], changes: Sequence[str | os.PathLike[str]], dockerfile: str, stages: list[Stage]
) -> tuple[set[str], set[int]]:
    """The paths and the steps' lines that ``changes`` name."""
    paths = [entry.path for entry in entries if entry.kind != "directory"]
    steps = [step for stage in stages for step in stage.steps if step.step is not None and step.instruction != "FROM"]
    edited: set[str] = set()
    lines: set[int] = set()
    for change in map(str, [changes] if isinstance(changes, str | os.PathLike) else changes):
        wanted = os.path.normpath(change)
        name, _, line = change.rpartition(":")
        if name == dockerfile and line.isdecimal():
            found = {step.line for step in steps if step.line <= int(line) <= step.node.end_line}
            if not found:
                known = ", ".join(str(step.line) for step in steps)
                raise DockerfileError(f"{dockerfile} has no step in line {line}; steps start in lines {known}.")
            lines |= found
            continue
        named = {path for path in paths if wanted in (".", path) or path.startswith(wanted + "/")}
        if not named:
            raise DockerfileError(f"{change!r} is not a path in the context. {similar_names(wanted, paths)}")
        edited |= named
    return edited, lines


def _compare(root: Path, entries: list[Entry], root_after: Path, entries_after: list[Entry]) -> set[str]:
    """The files whose bytes or extended attributes differ between two contexts."""
    before = {entry.path: entry for entry in entries if entry.kind == "file"}
    edited = set()
    for entry in entries_after:
        old = before.get(entry.path)
        if entry.kind == "file" and not entry.ignored and old and (old.size, old.mode) == (entry.size, entry.mode):
            one, two = root / entry.path, root_after / entry.path
            try:
                if not filecmp.cmp(one, two, shallow=False) or _attributes(one) != _attributes(two):
                    edited.add(entry.path)
            except OSError as error:
                raise DockerfileError(f"{error.filename} cannot be compared: {error.strerror}.") from error
    return edited


def _attributes(path: Path) -> dict[str, bytes]:
    if not hasattr(os, "listxattr"):
        return {}
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}


def _needs(stages: list[Stage], steps: list[KeyedStep]) -> list[list[int]]:
    """For each step, the steps that it waits for; with ``--link`` only its sources, and the next step waits for both."""
    needs: list[list[int]] = []
    ends: dict[str, list[int]] = {}
    for stage in stages:
        state = list(ends[stage.parent]) if stage.parent else []
        for keyed in (keyed for keyed in steps if keyed.step.stage == stage.name):
            sources = [n for name, _ in keyed.inputs.stages for n in ends[name]]
            index = len(needs)
            needs.append(sorted({*sources} if keyed.linked else {*sources, *state}))
            state = [*state, index] if keyed.linked else [index]
        ends[stage.name] = state
    return needs


def _critical(needs: list[list[int]], hits: list[bool], seconds: list[float | None]) -> list[bool] | list[None]:
    if not any(second is not None for second in seconds):
        return [None] * len(hits)
    cost = {n: 0.0 if hit else second or 0.0 for n, (hit, second) in enumerate(zip(hits, seconds, strict=True))}
    chain = longest_chain(dict(enumerate(needs)), cost)
    return [n in chain and not hit for n, hit in enumerate(hits)]
