"""Why a step hits or misses, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imagelab.build.cache.keys import Record
from imagelab.build.context import decode
from imagelab.build.dockerfile.syntax import Stage

_NAMED = 3  # paths and variables that a reason lists by name


def explain(
    stages: Sequence[Stage],
    before: list[Record],
    now: list[Record],
    hits: list[bool],
    certain: list[bool],
    needs: list[list[int]],
) -> list[str]:
    """A reason for each record of ``now``, compared with its counterpart in ``before``."""
    old = _counterparts(before, now)
    by_name = {stage.name: stage for stage in stages}
    again = [record for record, hit in zip(now, hits, strict=True) if not hit]
    reasons = []
    for index, record in enumerate(now):
        if hits[index]:
            reason = _why_hit(record, old[index], again)
        else:
            waited = [now[n] for n in needs[index] if not hits[n]]
            reason = _why_miss(record, old[index], by_name[record.step.stage], waited, again)
        if not certain[index]:
            reason += "; whether its RUN steps write the same again decides (same_results)"
        reasons.append(reason)
    return reasons


def _counterparts(before: list[Record], now: list[Record]) -> list[Record | None]:
    """The record of the first build that each one of the second stands for."""
    left = list(before)
    found: list[Record | None] = []
    names = list(dict.fromkeys(record.step.stage for record in before))
    renamed = dict(zip(dict.fromkeys(record.step.stage for record in now), names, strict=False))
    for record in now:
        stage = record.step.stage if record.step.stage in names else renamed.get(record.step.stage)
        near = [old for old in left if old.step.stage == stage and old.step.instruction == record.step.instruction]
        same = [old for old in near if old.key == record.key] or [
            old for old in near if old.step.node.original.split() == record.step.node.original.split()
        ]
        best = same or [old for old in near if old.step.step == record.step.step]
        found.append(best[0] if best else None)
        if best:
            left.remove(best[0])
    return found


def _place(record: Record) -> str:
    return f"{record.step.instruction} in line {record.step.line}"


def _why_hit(record: Record, old: Record | None, again: list[Record]) -> str:
    if record.linked and old and old.parent != record.parent:
        return "unchanged: --link leaves the steps before it out of its key"
    sources = _sources(record) & {other.step.stage for other in again}
    if sources:
        return f"what it takes from stage {', '.join(sorted(sources))} is the same, though that stage runs again"
    return "unchanged"


def _why_miss(record: Record, old: Record | None, stage: Stage, waited: list[Record], again: list[Record]) -> str:
    if record.reads.missing:
        return f"the build fails here: nothing in the context matches {', '.join(record.reads.missing)}"
    if old is None:
        return "this instruction is new here"
    own = _definition(record, old, stage) + _context(record, old)
    for (source, path), token in record.reads.stages.items():
        if token not in old.reads.stages.values():
            maker = next((_place(other) for other in reversed(again) if other.step.stage == source), "another base")
            own.append(f"{path} of stage {source} is made again by {maker}")
    if own:
        return "; ".join(own)
    if parent := next((other for other in reversed(waited) if other.step.stage not in _sources(record)), None):
        return f"follows {_place(parent)}, which runs again"
    if record.step is next(step for step in stage.steps if step.step and step.instruction != "FROM"):
        return f"what it stands on changed: {stage.base}"
    return "a step before it is gone, new or moved"


def _sources(record: Record) -> set[str]:
    return {stage for stage, _ in record.reads.stages}


def _definition(record: Record, old: Record, stage: Stage) -> list[str]:
    new_parts, old_parts = record.definition, old.definition
    changed = [key for key in {**old_parts, **new_parts} if new_parts.get(key) != old_parts.get(key)]
    words = []
    for key in changed:
        if key == "environment":
            words += _environment(dict(old_parts[key]), dict(new_parts[key]), stage)
        elif key == "command" and old_parts[key][-1:] == new_parts[key][-1:]:
            words.append("SHELL changed")
        else:
            words.append(f"its {key} changed" if key.islower() or " " in key else f"{key} changed")
    return words


def _environment(old: Mapping[str, str], new: Mapping[str, str], stage: Stage) -> list[str]:
    args = {word.partition("=")[0] for step in stage.steps if step.instruction == "ARG" for word in step.words}
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if not names:
        return ["the order of ENV and ARG changed"]
    return [f"{'ARG' if name in args else 'ENV'} {name} changed" for name in names[:_NAMED]] + _more(names)


def _context(record: Record, old: Record) -> list[str]:
    new, was = record.reads.context, old.reads.context
    paths = [path for path in {**was, **new} if new.get(path) != was.get(path)]
    words = []
    for path in paths[:_NAMED]:
        if path not in was or path not in new:
            words.append(f"{decode(path)} is {'new' if path in new else 'gone'}")
        else:
            modes = {text.rpartition(" ")[2].partition("/")[0] for text in (was[path], new[path])}
            words.append(f"{'the mode of ' if len(modes) > 1 else ''}{decode(path)} changed")
    return words + _more(paths)


def _more(names: Sequence[str]) -> list[str]:
    return [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
