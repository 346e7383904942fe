"""Predict which steps the next build runs again, why, and for how long."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from imagelab.build.cache.keys import Assumptions, ContextFiles, KeyedStep, Keys, context_files
from imagelab.build.cache.reasons import explain
from imagelab.build.context import compare_contexts, read_ignore_file, walk
from imagelab.build.dockerfile.refusals import unsupported_flag
from imagelab.build.dockerfile.syntax import Stage, parse
from imagelab.build.logs.cost import longest_chain, step_seconds
from imagelab.build.target import BuildTarget, engine_frontend, read_target, without_cache
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
    service: str | None = None,
    dockerfile: str | os.PathLike[str] | None = None,
    args: Mapping[str, str] | None = None,
    args_after: Mapping[str, str] | None = None,
    target: str | None = None,
    contexts: Mapping[str, str] | None = None,
    contexts_after: Mapping[str, str] | None = None,
    network: str | None = None,
    network_after: str | None = None,
    frontend: str | None = None,
    log: str | os.PathLike[str] | pd.DataFrame | None = None,
    same_results: bool | Collection[str] = False,
) -> pd.DataFrame:
    """Predict, step by step, the next build after a build of ``directory`` filled BuildKit's cache.

    Parameters
    ----------
    directory : path
        The context of the first build; or a Compose file or a bake file.
    changes : sequence of str or path
        Paths in the context whose content is edited before the next build (a directory stands for everything below
        it), or ``"Dockerfile:7"`` (the Dockerfile's name and a line number) for a step that is edited.
    after : path, optional
        The context (or Compose or bake file) of the next build; replaces ``changes``.
    service : str, optional
        The service of the Compose file, or the target of the bake file; needed if it has several.
    dockerfile : path, optional
        As in ``--file``, for both builds.
    args, args_after : mapping, optional
        Build arguments of the first and of the next build. The values of the next build default to those of the first;
        so do ``contexts_after`` and ``network_after``.
    target : str, optional
        The stage to build, in both builds; default: the last.
    contexts, contexts_after : mapping, optional
        Named contexts, as in ``--build-context``: name to directory or image (``docker-image://…``).
    network, network_after : str, optional
        The network mode of the whole build, as in ``--network``.
    frontend : str, optional
        The version of the Dockerfile frontend (``1.19``) that builds a Dockerfile without ``# syntax=``. Default: the
        engine's own, which the ``docker`` command tells; Engine 28's if no engine answers.
    log : path or DataFrame, optional
        A log of a build that ran the steps (`read_build_log`); it fills ``seconds``.
    same_results : bool or collection of stage names
        The stages (True: all) whose RUN steps are assumed to write the same files when they rerun, as far as other
        stages copy or mount them. Steps whose prediction depends on this have ``certain`` False.

    Returns
    -------
    DataFrame
        `PLAN_COLUMNS`, a row per step of every needed stage, in file order, without FROM (its cached flag varies
        between identical builds). ``reason`` names the path, argument or step that decides. ``certain``: False if the
        prediction depends on something that the files do not show; ``reason`` says on what. ``seconds``: the step's
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
    options = {"args": args, "target": target, "contexts": contexts, "network": network}
    first = _Side(read_target(directory, service, dockerfile, **options), frontend)
    options |= {"args": args if args_after is None else args_after}
    options |= {"contexts": contexts_after or contexts, "network": network_after or network}
    second = _Side(read_target(directory if after is None else after, service, dockerfile, **options), frontend)
    edited, lines = _edited(second, changes)
    no_cache = [stage for stage in second.stages if without_cache(second.target.no_cache, stage.name)]
    uncached = {step.line: "cache" for stage in no_cache for step in stage.steps}
    unnoticed: set[tuple[str, str]] = set()
    if after is not None or contexts_after:
        compared, unnoticed = compare_contexts(first.walks, second.walks)
        edited |= compared
    names = {stage.name for stage in (*first.stages, *second.stages)}
    chosen = (names if same_results else set()) if isinstance(same_results, bool) else set(same_results)
    if unknown := chosen - names:
        raise DockerfileError(f"same_results contains {min(unknown)}, no stage. {similar_names('', names)}")

    def judge(assume: Assumptions, edited: set[tuple[str, str]]) -> tuple[list[KeyedStep], list[KeyedStep], list[bool]]:
        before = first.keys(replace(assume, changed=False)).steps
        now = second.keys(assume, edited, lines | uncached).steps
        known = {keyed.key for keyed in before}
        return before, now, [keyed.key in known and not keyed.inputs.missing for keyed in now]

    before, now, hits = judge(Assumptions(chosen), edited)
    bounds = judge(Assumptions((), changed=True), edited)[2], judge(Assumptions(names), edited - unnoticed)[2]
    certain = [pessimist == optimist for pessimist, optimist in zip(*bounds, strict=True)]
    needs = _needs(second.stages, now)
    priced = step_seconds(log, {keyed.step.stage for keyed in now})
    seconds = [priced.get((keyed.step.stage, keyed.step.step or 0)) for keyed in now]
    columns = {
        "stage": [keyed.step.stage for keyed in now],
        "step": [keyed.step.step for keyed in now],
        "instruction": [keyed.step.instruction for keyed in now],
        "arguments": [mask(" ".join(keyed.step.words)).text for keyed in now],
        "hit": hits,
        "certain": certain,
        "reason": explain(second.stages, before, now, hits, certain, needs, {name for _, name in unnoticed}),
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


class _Side:
    """One of the two builds: its stages, and what its contexts contain."""

    def __init__(self, target: BuildTarget, frontend: str | None) -> None:
        self.target = target
        self.stages = _stages(target, frontend)
        #: Name of a context ("" for the build's own) → its directory and entries.
        self.walks = {"": (target.context, walk(target.context, read_ignore_file(target.context, target.dockerfile)))}
        for name, place in target.contexts.items():
            if "://" not in place and not place.startswith(("target:", "service:")):
                self.walks[name] = Path(place), walk(Path(place), read_ignore_file(Path(place), None))

    def keys(
        self, assume: Assumptions, edited: Collection[tuple[str, str]] = (), lines: Mapping[int, str] | None = None
    ) -> Keys:
        contexts: dict[str, ContextFiles | str] = dict(self.target.contexts)
        for name, (root, entries) in self.walks.items():
            contexts[name] = context_files(root, entries, {path for at, path in edited if at == name}, name)
        return Keys(self.stages, contexts, self.target.network, assume, lines or {})


def _stages(target: BuildTarget, frontend: str | None) -> list[Stage]:
    file, built_in = target.dockerfile.name, lambda: frontend or engine_frontend(os.environ.get("DOCKER_HOST"))
    build = parse(target.text, target.args, target.contexts)
    names = [stage.name for stage in build.stages]
    for stage in build.stages:
        if names.count(stage.name) > 1:  # BuildKit allows it, but the plan identifies stages by name
            raise DockerfileError(f"{file}: several stages are named {stage.name!r}; give each its own name.")
    stages = build.needed(target.target)
    for step in (*build.before, *(step for stage in stages for step in stage.steps)):
        if error := step.error or unsupported_flag(step.flags, build.directives.get("syntax", ""), built_in):
            raise DockerfileError(f"{file} line {step.line}: {error}.")
    return stages


def _edited(side: _Side, changes: Sequence[str | os.PathLike[str]]) -> tuple[set[tuple[str, str]], dict[int, str]]:
    """The paths of the build's context, and the lines of steps, that ``changes`` name."""
    paths = [entry.path for entry in side.walks[""][1] if entry.kind != "directory"]
    steps = [step for stage in side.stages for step in stage.steps if step.step and step.instruction != "FROM"]
    file = side.target.dockerfile.name
    edited: set[tuple[str, str]] = set()
    lines: dict[int, str] = {}
    for change in map(str, [changes] if isinstance(changes, str | os.PathLike) else changes):
        wanted = os.path.normpath(change)
        name, _, line = change.rpartition(":")
        if name == file and line.isdecimal():
            found = {step.line: "line" for step in steps if step.line <= int(line) <= step.node.end_line}
            if not found:
                known = ", ".join(str(step.line) for step in steps)
                raise DockerfileError(f"{file} has no step in line {line}; steps start in lines {known}.")
            lines |= found
            continue
        named = {("", path) for path in paths if wanted in (".", path) or path.startswith(wanted + "/")}
        if not named:
            raise DockerfileError(f"{change!r} is not a path in the context. {similar_names(wanted, paths)}")
        edited |= named
    return edited, lines


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
