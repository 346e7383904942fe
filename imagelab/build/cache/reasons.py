"""Explain in words why each step hits or misses the cache."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from imagelab.build.cache.keys import TABLES, KeyedStep
from imagelab.build.context import decode
from imagelab.build.dockerfile.syntax import Stage
from imagelab.core.text import listed

_NAMED = 3  # paths that a reason names; the others are counted
#: The cause and the sentence for each part of a step's definition that can change; a part not listed is a mount.
_CHANGED = TABLES["changed"]


def changes(old: Mapping[str, Any], new: Mapping[str, Any], args: Collection[str]) -> list[tuple[str, str]]:
    """(cause, sentence) for each difference between two definitions of a step; ``args`` are the names of ARG."""
    found = []
    for key in [key for key in {**old, **new} if new.get(key) != old.get(key)]:
        if key == "environment":
            before, now = dict(old[key]), dict(new[key])
            names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
            for cause, kind, of in (("argument", "ARG", True), ("environment", "ENV", False)):
                if named := [name for name in names if (name in args) is of]:
                    found.append((cause, f"{kind} {listed(named)} changed"))
            if not names:
                found.append(("environment", "the order of ENV and ARG changed"))
        elif key == "command" and old[key][-1:] == new[key][-1:]:
            found.append(("command", "SHELL changed"))
        else:
            found.append(_CHANGED.get(key) or ("mount", f"its {key} changed"))
    return found


def explain(
    stages: Sequence[Stage],
    before: list[KeyedStep],
    now: list[KeyedStep],
    hits: list[bool],
    certain: list[bool],
    needs: list[list[int]],
    unnoticed: Collection[str],
) -> list[str]:
    """A reason for each step of ``now``, from a comparison with its counterpart in ``before``."""
    old = _counterparts(before, now)
    by_name = {stage.name: stage for stage in stages}
    again = [keyed for keyed, hit in zip(now, hits, strict=True) if not hit]
    reasons = []
    for index, keyed in enumerate(now):
        if hits[index]:
            reason = _why_hit(keyed, old[index], again)
        else:
            waited = [now[n] for n in needs[index] if not hits[n]]
            reason = _why_miss(keyed, old[index], by_name[keyed.step.stage], waited, again)
        if not certain[index]:
            reason += f"; uncertain: it depends on {_doubt(keyed, unnoticed)}"
        reasons.append(reason)
    return reasons


def _doubt(keyed: KeyedStep, unnoticed: Collection[str]) -> str:
    """What a prediction depends on."""
    doubts = list(keyed.inputs.doubts)
    if stages := sorted(_sources(keyed)):
        doubts.append(f"whether the RUN steps of {', '.join(stages)} write the same files again (same_results)")
    for path in keyed.inputs.context:
        if path.rpartition(":")[2] in unnoticed:
            doubts.append(f"whether BuildKit notices the change of {decode(path)}, whose size and time are the same")
    return " and ".join(doubts[:_NAMED]) or "a step before it"


def _counterparts(before: list[KeyedStep], now: list[KeyedStep]) -> list[KeyedStep | None]:
    """For each step of the second build, the step of the first build that it replaces."""
    left = list(before)
    found: list[KeyedStep | None] = []
    names = list(dict.fromkeys(keyed.step.stage for keyed in before))
    renamed = dict(zip(dict.fromkeys(keyed.step.stage for keyed in now), names, strict=False))
    for keyed in now:
        stage = keyed.step.stage if keyed.step.stage in names else renamed.get(keyed.step.stage)
        near = [old for old in left if old.step.stage == stage and old.step.instruction == keyed.step.instruction]
        same = [old for old in near if old.key == keyed.key] or [
            old for old in near if old.step.node.original.split() == keyed.step.node.original.split()
        ]
        best = same or [old for old in near if old.step.step == keyed.step.step]
        found.append(best[0] if best else None)
        if best:
            left.remove(best[0])
    return found


def _place(keyed: KeyedStep) -> str:
    return f"{keyed.step.instruction} in line {keyed.step.line}"


def _why_hit(keyed: KeyedStep, old: KeyedStep | None, again: list[KeyedStep]) -> str:
    if keyed.linked and old and old.parent != keyed.parent:
        return "unchanged: with --link the key does not depend on the steps before it"
    sources = _sources(keyed) & {other.step.stage for other in again}
    if sources:
        return f"the files from stage {', '.join(sorted(sources))} are the same, although that stage runs again"
    return "unchanged"


def _why_miss(
    keyed: KeyedStep, old: KeyedStep | None, stage: Stage, waited: list[KeyedStep], again: list[KeyedStep]
) -> str:
    if keyed.inputs.missing:
        return f"the build fails here: no path of the context matches {', '.join(keyed.inputs.missing)}"
    if old is None:
        return "new instruction"
    args = {word.partition("=")[0] for step in stage.steps if step.instruction == "ARG" for word in step.words}
    own = [words for _, words in changes(old.definition, keyed.definition, args)] + _context(keyed, old)
    for (source, path), token in keyed.inputs.stages.items():
        if token not in old.inputs.stages.values():
            maker = next((_place(other) for other in reversed(again) if other.step.stage == source), "its new base")
            own.append(f"{path} of stage {source} is rebuilt by {maker}")
    if own:
        return "; ".join(own)
    if parent := next((other for other in reversed(waited) if other.step.stage not in _sources(keyed)), None):
        return f"follows {_place(parent)}, which runs again"
    if keyed.step is next(step for step in stage.steps if step.step and step.instruction != "FROM"):
        return f"its base changed: {stage.base}"
    return "a step before it was removed, added or moved"


def _sources(keyed: KeyedStep) -> set[str]:
    return {stage for stage, _ in keyed.inputs.stages}


def _context(keyed: KeyedStep, old: KeyedStep) -> list[str]:
    new, was = keyed.inputs.context, old.inputs.context
    paths = [path for path in {**was, **new} if new.get(path) != was.get(path)]
    words = []
    for path in paths[:_NAMED]:
        if path not in was or path not in new:
            words.append(f"{decode(path)} was {'added' if path in new else 'removed'}")
        else:
            modes = {text.rpartition(" ")[2].partition("/")[0] for text in (was[path], new[path])}
            words.append(f"{'the mode of ' if len(modes) > 1 else ''}{decode(path)} changed")
    return words + ([f"and {len(paths) - _NAMED} more"] if len(paths) > _NAMED else [])
