"""The steps of builds over time: a row a step, what came from the cache, why a step ran, and what an edit repeats."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import pandas as pd

from imagelab.build.logs.cost import build_cost, build_words, critical_steps, timed_rows
from imagelab.charts.theme import INSTRUCTION_COLOURS, instruction_kind
from imagelab.core.text import clean, escape
from imagelab.widgets.view import view_html

TASKS = "task"  # rows that are no steps of the Dockerfile: loading, pulling, exporting
SHORT = 0.02  # of the build: shorter tasks of the builder are left out


class BuildSteps:
    """The steps of builds over time, for a notebook's output or a report's page.

    A row shows a step with its name and seconds; a step from the cache is hollow, a step of the critical path has a thick
    edge. A click opens what the log recorded of it.

    Parameters
    ----------
    logs : DataFrame or mapping of name to DataFrame
        `imagelab.read_build_log`; several builds share one axis of seconds.
    explained : DataFrame, optional
        `imagelab.explain_build` of the first and the last build: the last build's rows show the cause of each
        first miss, and its title the seconds lost in all misses.
    """

    def __init__(self, logs: pd.DataFrame | Mapping[str, pd.DataFrame], explained: pd.DataFrame | None = None) -> None:
        named = {"": logs} if isinstance(logs, pd.DataFrame) else dict(logs)
        builds = [_logged(name, log) for name, log in named.items() if len(timed_rows(log))]
        if explained is not None and builds and builds[-1]["name"] == clean(list(named)[-1], 120):
            causes = explained[["stage", "step", "cause", "detail"]].astype("object").where(explained.notna(), None)
            for stage, step, cause, detail in causes.itertuples(index=False):
                for row in builds[-1]["steps"]:
                    if row["key"] == [stage or "", step] and cause not in (None, "parent"):
                        row["cause"] = f"{cause}: {detail}" if detail else cause
            lost = explained.loc[explained["cause"].notna(), "seconds"].sum()
            builds[-1]["title"] += f"; {lost:.1f} s lost in steps that ran again"
        exact = all(timed_rows(log)["started"].notna().all() for log in named.values())
        note = "" if exact else " The log has no timestamps: a step stands after the steps that it needs."
        self.data = _data(builds, note)

    @classmethod
    def planned(cls, plans: Mapping[str, pd.DataFrame]) -> BuildSteps:
        """Show predicted builds, one at a time: ``plans`` maps a change to `imagelab.plan_build`'s frame."""
        view = cls({})
        view.data = _data([_planned(name, plan) for name, plan in plans.items()], "") | {"choose": "What changes"}
        return view

    def _repr_html_(self) -> str:
        return view_html("build", self.data, "".join(map(_plain, self.data["builds"])))


def _plain(build: dict[str, Any]) -> str:
    """Return a build as a list, for readers without script."""
    steps = ""
    for step in build["steps"][:60]:
        words = f"{step['status']}, {step['seconds']:.2f} s" if step["seconds"] else step["status"]
        steps += f"<li>{escape(step['name'])}: {escape(words)}</li>"
    return f"<p><strong>{escape(build['title'])}</strong></p><ul>{steps}</ul>"


def _data(builds: list[dict[str, Any]], note: str) -> dict[str, Any]:
    return {
        "builds": builds,
        "note": note,
        "colours": INSTRUCTION_COLOURS | {TASKS: INSTRUCTION_COLOURS["unknown"]},
    }


def _logged(name: str, log: pd.DataFrame) -> dict[str, Any]:
    """Return a build as the module shows it, with the seconds at which each row starts."""
    rows = []
    marked = timed_rows(log.assign(critical=critical_steps(log), cached=log["cached"].fillna(False)))
    for row in marked.itertuples():
        step = _row(row, row.duration) | {"start": float(row.start)}
        texts = [text for text in (row.name, row.error, row.output) if pd.notna(text)]
        step["log"] = "\n".join(clean(line, 400) for line in "\n".join(texts).split("\n"))
        rows.append(step | {"status": row.status, "cached": bool(row.cached)})
    title = f"{clean(name, 60) or 'This build'} {build_words(log)}"
    slowest = max(rows, key=lambda step: 0 if step["cached"] else step["seconds"])
    title += f"; {slowest['seconds']:.1f} s in {slowest['name']}"
    # BuildKit reports the cached steps of a stage from the last to the first.
    numbered = sorted((step for step in rows if step["key"][1] is not None), key=lambda step: step["key"])
    stages = {stage: list(steps) for stage, steps in groupby(numbered, key=lambda step: step["key"][0])}
    rows = [step if step["key"][1] is None else stages[step["key"][0]].pop(0) for step in rows]
    rows = [step for step in rows if step["key"][1] is not None or step["seconds"] > SHORT * build_cost(log)["elapsed"]]
    return {"name": clean(name, 120), "title": title, "steps": rows}


def _planned(name: str, plan: pd.DataFrame) -> dict[str, Any]:
    """Return a predicted build: a step starts when those that it needs end; hits stand where they would run."""
    ends: dict[str, float] = {}
    rows = []
    for row in plan.fillna({"seconds": 0.0, "needs": "", "reason": "", "critical": False}).itertuples():
        step = _row(row, row.seconds) | {"cached": bool(row.hit), "log": clean(row.reason)}
        step["start"] = max((ends.get(other, 0.0) for other in row.needs.split()), default=0.0)
        ends[f"{row.stage}:{row.step}"] = step["start"] + step["seconds"]
        state = {"status": "from the cache"} if row.hit else {"status": "runs again", "cause": clean(row.reason, 200)}
        rows.append(step | state)
    seconds = [sum(step["seconds"] for step in rows if step["cached"] is cached) for cached in (False, True)]
    title = f"{clean(name, 60)}: {sum(not step['cached'] for step in rows)} of {len(rows)} steps run again"
    if plan["seconds"].notna().any():
        title += f", {seconds[0]:.1f} s; {seconds[1]:.1f} s come from the cache"
    return {"name": clean(name, 120), "title": title, "steps": rows}


def _row(row: Any, seconds: float) -> dict[str, Any]:
    """Return what a logged and a predicted step have in common."""
    stage, is_step = clean(row.stage, 60), pd.notna(row.step)
    words = " ".join(clean(part, 160) for part in (row.instruction, row.arguments)).strip() or clean(row.name, 160)
    return {
        "number": f"{stage} {row.step}".strip() if is_step else TASKS,
        "name": words,
        "key": [stage, int(row.step) if is_step else None],
        "kind": instruction_kind(row.instruction) if is_step else TASKS,
        "seconds": round(float(seconds), 4),
        "critical": bool(row.critical),
        "cause": "",
    }
