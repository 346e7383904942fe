"""Select what changes, and see which steps of a build run again, why, and for how long."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ipywidgets
import pandas as pd

from imagelab.build.cache.plan import plan_build
from imagelab.build.context import build_context
from imagelab.build.dockerfile.read import read_dockerfile
from imagelab.build.target import find_dockerfile
from imagelab.core.text import clean
from imagelab.widgets.base import Panel, Part, Rows, row, wide
from imagelab.widgets.steps import BuildSteps
from imagelab.widgets.view import View

SHOWN = ["stage", "step", "instruction", "arguments", "hit", "reason", "seconds", "critical"]
OFFERED = 300  # paths in the list of a large context
WHAT_IF = 12  # single changes that a page without a kernel offers, of paths and of ARGs
CHANGED = "changed"


class BuildCache(Panel):
    """Plan the next build: select the paths, ARGs and steps that change.

    Parameters
    ----------
    directory : path
        The build context, as `imagelab.plan_build` takes it.
    dockerfile, args, target, log
        As in `imagelab.plan_build`.

    Attributes
    ----------
    paths, arguments, lines : ipywidgets.SelectMultiple
        The selection.
    selected : pandas.DataFrame
        `imagelab.plan_build`'s frame for the selection.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        dockerfile: str | os.PathLike[str] | None = None,
        args: Mapping[str, str] | None = None,
        target: str | None = None,
        log: Any = None,
    ) -> None:
        self.args = dict(args or {})
        self.build = {"directory": directory, "dockerfile": dockerfile, "args": self.args, "target": target, "log": log}
        _, path = find_dockerfile(directory, dockerfile)
        context = build_context(directory, dockerfile)
        used = context[context["copied"].fillna(False) & (context["kind"] == "file")]
        instructions = read_dockerfile(path, self.args).instructions
        steps = instructions[instructions["step"].notna() & instructions["instruction"].ne("FROM")]
        declared = instructions.loc[instructions["instruction"] == "ARG", "expanded"].dropna().str.split(" ").explode()
        self.paths = _choice("Paths", [(clean(name, 60), name) for name in used["path"].head(OFFERED)])
        self.arguments = _choice("ARGs", list(dict.fromkeys(name.partition("=")[0] for name in declared)))
        lines = zip(steps["line"], steps["instruction"], steps["arguments"], strict=True)
        self.lines = _choice("Steps", [(clean(f"{n}: {i} {a}", 60), f"{path.name}:{n}") for n, i, a in lines])
        self.same = ipywidgets.Checkbox(
            description="RUN steps that run again write the same files", indent=False, layout={"width": "30rem"}
        )
        self.steps, self.table = View(kind="build"), Rows()
        super().__init__()
        controls = [self.paths, self.arguments, self.lines]
        self.children = [row(*controls), self.same, self.status, self.steps, self.table]
        for control in [*controls, self.same]:
            self.on(control, "value", self.refresh)
        self.guarded(self.refresh)

    @property
    def selected(self) -> pd.DataFrame:
        return self._plan([*self.paths.value, *self.lines.value], self.arguments.value)

    def _plan(self, changes: Sequence[str], arguments: Iterable[str] = ()) -> pd.DataFrame:
        after = self.args | dict.fromkeys(arguments, CHANGED)
        return plan_build(changes=changes, args_after=after, same_results=self.same.value, **self.build)

    def parts(self) -> Iterable[tuple[str, Part]]:
        plan = self.selected
        singles = {f"edit {path}": self._plan([path]) for _, path in self.paths.options[:WHAT_IF]}
        singles |= {f"change ARG {name}": self._plan([], [name]) for name in self.arguments.options[:WHAT_IF]}
        yield "What changes", BuildSteps.planned({self._words(): plan} | singles)
        yield self._words(), plan[SHOWN]

    def refresh(self) -> None:
        plan = self.selected
        self.steps.data = BuildSteps.planned({self._words(): plan}).data
        self.table.fill(plan[SHOWN], "All steps, with the reason")

    def _words(self) -> str:
        selected_names = [*self.paths.value, *self.arguments.value, *self.lines.value]
        return f"{', '.join(selected_names[:4]) or 'nothing'} changed"


def _choice(name: str, options: list[Any]) -> ipywidgets.SelectMultiple:
    rows = min(8, max(3, len(options)))
    return ipywidgets.SelectMultiple(options=options, description=name, rows=rows, layout=wide(20))
