"""Explain why the steps of a build ran again, from the logs and records of two builds."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from typing import Any

import pandas as pd

from imagelab.build.cache.reasons import changes
from imagelab.build.logged import Build, LoggedBuild
from imagelab.build.logs.cost import critical_steps
from imagelab.build.logs.records import Facts
from imagelab.build.target import without_cache
from imagelab.core.frames import make_frame
from imagelab.core.redact import mask
from imagelab.core.text import clean, listed

EXPLAIN_COLUMNS = {
    "stage": "string",
    "step": "Int64",
    "instruction": "string",
    "arguments": "string",
    "hit": "boolean",
    "cause": "string",
    "detail": "string",
    "seconds": "Float64",
    "critical": "boolean",
}
Cause = tuple[str, str | None]

_RECORD = "a build record of both builds would show it (docker buildx history export)"
#: Findings that the other steps of the build decide: changed content, a stage that may have changed, or a lost cache.
_CONTENT, _STAGE, _LOST = "content?", "stage?", "lost"


def explain_build(before: Build, after: Build, repository: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Explain why the steps of a build ran again although an earlier build ran them.

    Parameters
    ----------
    before, after : path, sequence of paths, or DataFrame
        Two builds of one Dockerfile: a log, a ``.dockerbuild`` record, ``"@ID"`` of the engine's history, or several
        files about one build (a log and its provenance or metadata file); or `read_build_log`'s frame.
    repository : path, optional
        A Git repository; ``detail`` then names the files that changed between the revisions in the records.

    Returns
    -------
    DataFrame
        `EXPLAIN_COLUMNS`, a row per step of ``after`` without FROM. ``hit``: from the cache; ``<NA>`` if the step did not
        finish. ``cause``, of the first miss of each chain: ``command``, ``argument``, ``environment``, ``base image``,
        ``context files``, ``stage result``, ``mount``, ``no cache`` or ``not known`` (then ``detail`` names the record
        that would show it); ``parent`` for the misses after it. ``seconds``: the step's duration. ``critical``: on the critical
        path of the whole build.

    Raises
    ------
    DockerfileError
        A file cannot be read, has several builds (``FILE#2`` chooses the second), or none of a build's files has steps.

    Notes
    -----
    Reads files only; ``repository`` runs ``git diff``. A log alone cannot tell an edited command from a changed argument,
    because BuildKit writes the names of steps with their variables expanded. It shows a changed variable in ``--mount`` as
    ``mount``, and a stage that was built with ``--no-cache-filter`` and begins with a COPY as ``context files``.
    """
    old, new = LoggedBuild(before), LoggedBuild(after)
    findings: dict[str, Cause] = {}
    seen: set[str] = set()

    def visit(step: Any) -> None:
        """Find the causes in the order of the dependencies; a log lists cached steps in any order."""
        if step is None or step.vertex in seen:
            return
        seen.add(step.vertex)
        for other in (new.previous(step), *new.sources(step)):
            visit(other)
        if step.status in ("done", "error") and not pd.isna(step.step) and step.instruction != "FROM":
            findings[step.vertex] = _finding(step, old, new, findings)

    for step in new.steps:
        visit(step)
    any_hit = any(step.status == "cached" for step in new.steps)
    any_lost = any(cause == _LOST for cause, _ in findings.values())
    critical = dict(zip(new.frame["vertex"], critical_steps(new.frame), strict=True))
    rows = []
    stages = list(dict.fromkeys((step.target, step.stage) for step in new.steps))
    for step in sorted(new.steps, key=lambda step: (stages.index((step.target, step.stage)), step.step)):
        cause, detail = _resolved(findings[step.vertex], any_hit, any_lost) if step.vertex in findings else (None, None)
        if cause == "context files" and repository and (files := _changed_files(repository, old.facts, new.facts)):
            detail = f"{detail}; changed in Git: {files}"
        if cause == "not known":
            detail = f"{detail}; {new.facts.more or _RECORD}"
        found = {"cause": cause, "detail": detail and mask(detail).text, "critical": critical[step.vertex]}
        logged = {"stage": new.frame["stage"][step.Index], "hit": step.cached, "seconds": step.duration}
        rows.append(step._asdict() | logged | found)
    return make_frame(rows, EXPLAIN_COLUMNS)


def _finding(step: Any, old: LoggedBuild, new: LoggedBuild, findings: Mapping[str, Cause]) -> Cause:
    """Why one step ran, as far as it and the steps that it depends on show."""
    previous, was = new.previous(step), old.counterpart(step)
    if previous is not None and previous.vertex in findings:
        return "parent", None
    stage = str(new.frame["stage"].fillna("")[step.Index]).split(" ")[-1]
    if without_cache(new.facts.attributes.get("no-cache"), stage):
        return "no cache", "the build ran with --no-cache, or with --no-cache-filter for this stage"
    if new.failed_import:
        return "no cache", f"{new.failed_import}, and no step was in the builder's own cache"
    if was is None:
        return "command", "new instruction"
    if was.status not in ("done", "cached"):
        return "no cache", f"the earlier build did not finish this step ({was.status})"
    if reason := _definition(step, was, old, new):
        return reason
    rerun = [source for source in new.sources(step) if source.vertex in findings]
    is_defined = new.has_inputs or step.vertex in new.definitions
    if previous is None and "--link" not in step.arguments and not is_defined:
        return "not known", "the log does not show the step or stage before it"
    if rerun:
        roots = [findings[row.vertex] for row in new.steps if row.stage == rerun[0].stage and row.vertex in findings]
        root = next((cause for cause in roots if cause[0] != "parent"), None)
        unsure = root is not None and root[0] in (_LOST, _CONTENT, "no cache", "not known")
        detail = f"stage {rerun[0].stage or 'before'} ran again with another result"
        return _STAGE if unsure else "stage result", detail
    before = old.previous(was)
    pair = [(row.instruction, row.arguments) for row in (previous, before) if row is not None]
    if len(pair) == 2 and pair[0] != pair[1] and "FROM" not in (pair[0][0], pair[1][0]):
        return "command", "a step before it was added, removed or moved"
    # With the context's directory, whose name is in the digest, a digest can differ without another definition.
    compared = step.vertex in new.definitions and was.vertex in old.definitions
    is_same = compared or _is_same_vertex(step, was)
    if new.reads_files(step) and (step.instruction != "RUN" or is_same):
        named = re.search(r"from=([\w.-]+)", step.arguments)
        return _CONTENT, f"the files that it reads from {f'the context {named[1]}' if named else 'the build context'}"
    has_document = step.instruction != "RUN" and "<<" in step.arguments  # BuildKit passes it on as a file of its own
    if not new.reads_files(step) and not has_document and (step.instruction == "WORKDIR" or is_same):
        return _LOST, "its definition is the same and it reads no files"
    return "not known", "an argument, the environment or the cache may have changed"


def _is_same_vertex(step: Any, was: Any) -> bool:
    return bool(step.vertex.startswith("sha256:") and step.vertex == was.vertex)  # a plain log has numbers instead


def _definition(step: Any, was: Any, old: LoggedBuild, new: LoggedBuild) -> Cause | None:
    """What differs in a step's own definition or base; None if nothing is known to differ."""
    before, now = old.definitions.get(was.vertex), new.definitions.get(step.vertex)
    args = [build.facts.build_args for build in (old, new)]
    changed = sorted({name for name, _ in args[0].items() ^ args[1].items()})
    if before and now and not _is_same_vertex(step, was):
        cause, detail = next(iter(changes(before, now, new.declared() | old.declared())), ("", ""))
        texts = old.written(was), new.written(step)
        if not cause and "<<" in step.arguments and None not in texts and texts[0] != texts[1]:
            return "command", "its heredoc changed"
        if cause and "actions" in now and None not in texts and texts[0] == texts[1]:
            # BuildKit expands variables in COPY, ADD and WORKDIR
            cause = "argument" if changed else "environment"
            detail = f"ARG {listed(changed)} changed" if changed else "a variable in it changed"
        elif cause == "command" and step.arguments != was.arguments:
            detail = f"{clean(was.arguments, 60)} → {clean(step.arguments, 60)}"
        if cause:
            return cause, detail
    elif step.arguments != was.arguments:
        flags = r"--mount=\S+\s*"
        if re.sub(flags, "", step.arguments) == re.sub(flags, "", was.arguments):
            return "mount", "its --mount flags changed"
        also = f" (changed arguments: {listed(changed)})" if changed else ""
        return "not known", f"the command, or a variable in it, changed{also}"
    return _base(step, old, new)


def _base(step: Any, old: LoggedBuild, new: LoggedBuild) -> Cause | None:
    """A base image, or an image in COPY --from, that has another digest."""
    previous = new.previous(step)
    names = {name for name, digest in new.bases.items() if old.bases.get(name, digest) != digest}
    added = set(new.bases) - set(old.bases)
    inputs = [new.by_vertex[vertex].name for vertex in step.inputs.split() if vertex in new.by_vertex]
    starts = previous is None or previous.instruction == "FROM"
    reads = inputs or [f"FROM {name}@" for name in re.findall(r"\bfrom=([^\s,]+)", step.arguments)]
    if starts and not inputs:
        reads += [previous.name] if previous is not None else [f"FROM {name}@" for name in new.bases]
    for name in sorted(names | added):
        if any(f"FROM {name}@" in text for text in reads):
            return "base image", f"{name} has another digest" if name in names else f"{name} is a new base"
    return None


def _resolved(finding: Cause, any_hit: bool, any_lost: bool) -> Cause:
    """Decide between changed content and a lost cache, by the other steps of the build."""
    cause, detail = finding
    if cause == _LOST:
        return "no cache", detail
    if cause not in (_CONTENT, _STAGE):
        return finding
    if any_hit and not any_lost:
        return ("context files", f"{detail} changed") if cause == _CONTENT else ("stage result", detail)
    if any_lost and not any_hit:
        return "no cache", "steps that read no files ran again too"
    return "not known", "changed files, or no cache: the other steps do not show which"


def _changed_files(repository: str | os.PathLike[str], old: Facts, new: Facts) -> str:
    """The files that differ between the Git revisions of two builds; empty if that is not known."""
    revisions = f"{old.revision} {new.revision}"
    if not re.fullmatch(r"[0-9a-f]{7,64} [0-9a-f]{7,64}", revisions):
        return ""
    command = ["git", "-C", os.fspath(repository), "diff", "--name-only", *revisions.split()]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    return listed(done.stdout.split("\n")[:-1] if done.returncode == 0 else [])
