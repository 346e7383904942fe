"""Walk through the rules: build each edit on top of those proven before it, prove it, and measure it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import pandas as pd
from tqdm.auto import tqdm

from imagelab.build.improve.answer import Improvement, Measures, Outcome
from imagelab.build.improve.edits import Edit, Project, unified
from imagelab.build.improve.engine import BuildFailed, Trial
from imagelab.build.improve.measure import predicted_bytes, source_file
from imagelab.build.improve.prove import Built, Check, Noise, changes, shown
from imagelab.build.improve.rules import Walk
from imagelab.build.logs.cost import step_seconds
from imagelab.core.errors import DaemonUnavailable, DockerfileError, ImagelabError

_LEAST_SECONDS = 0.3  # of a rebuild; a build's own overhead varies by as much


@dataclass
class Search:
    """The walk through the rules: what is proven so far, and what became of every edit."""

    original: Project
    only: Collection[str]
    without: Collection[str]
    command: str | None = None
    check_network: str = "none"
    stored: pd.DataFrame | None = None
    seconds: dict[tuple[str, int], float] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    before: Measures | None = None
    after: Measures | None = None

    def __post_init__(self) -> None:
        self.walk = Walk(self.original, self.only, self.without)

    def propose(self, why: str) -> None:
        """Without an engine: every edit of its rule on top of the ones before; alternatives are left out."""
        for edit in self.walk:
            size, seconds = predicted_bytes(edit, self.stored), self.predicted_seconds(edit)
            if size != 0 or edit.cached:
                before, self.walk.project = self.walk.project, self.walk.project.apply(edit)
                after = self.walk.project
                self.outcomes.append(Outcome(edit, before, after, size, None, seconds, None, "not built", why))

    def predicted_seconds(self, edit: Edit) -> float | None:
        """Seconds that the log says of the steps that no longer run again."""
        return sum(self.seconds.get((step.stage, step.step or 0), 0.0) for step in edit.cached) or None

    def run(self, running: Trial) -> None:
        """Build the original twice, each edit once, and what is proven once more from nothing."""
        with tqdm(desc="improve", unit=" builds", leave=False) as bar:
            self.running, self.bar, self.check = running, bar, Check(running, self.command, self.check_network)
            self.source = source_file(self.original)
            self.baseline(running)
            for edit in self.walk:
                self.try_edit(edit)
            self.finish()

    def baseline(self, running: Trial) -> None:
        try:
            first = self.build(self.original, "unchanged, first fresh build", fresh=True)
            second = self.build(self.original, "unchanged, second fresh build", fresh=True)
        except BuildFailed as error:
            if "Cannot connect" in str(error) or "daemon running" in str(error):
                raise DaemonUnavailable(f"no engine answers: {error}") from error
            raise DockerfileError(f"The unchanged Dockerfile does not build: {error}") from error
        self.first, self.current = first, second
        self.noise = Noise(set(), set())
        self.noise.add(first, second)
        self.stored = first.files
        self.walk.project = replace(self.original, layers=first.files)
        self.expected = self.check.result(first)
        if self.command is not None and self.expected != "exit code 0":
            raise ImagelabError(f"The check fails in the unchanged image ({self.expected}), so it proves nothing.")
        self.seconds = step_seconds(first.log, {stage.name for stage in self.original.build.stages})
        self.rebuild = self.rebuild_seconds(self.original)
        self.before = Measures.of(first, min(first.seconds, second.seconds), self.rebuild)

    def build(self, project: Project, what: str, *, fresh: bool = False) -> Built:
        about = f", about {self.before.cold_seconds:.0f} s" if self.before and self.before.cold_seconds else ""
        self.bar.set_description_str(f"{what}{about}")
        built = Built(project, *self.running.build(project, fresh=fresh))
        self.bar.update()
        return built

    def rebuild_seconds(self, project: Project) -> float | None:
        """Seconds of the build after one line of the source file changes; the project was just built."""
        if self.source is None:
            return None
        with self.running.edited_source(self.source):
            return self.build(project, f"rebuild after a change of {self.source}").seconds

    def try_edit(self, edit: Edit) -> None:
        """Build the edit on top of what is proven, and keep it if it is proven, too."""
        predicted = predicted_bytes(edit, self.stored)
        if predicted == 0 and not edit.cached:
            return  # nothing to gain; the image shows it
        candidate = self.walk.project.apply(edit)
        measured: int | None = None
        seconds = None
        try:
            built = self.build(candidate, f"{edit.rule}, line {edit.step.line}")
        except BuildFailed as error:
            result, why = "breaks the build", str(error)
        else:
            measured = self.current.size - built.size
            if edit.size is not None:
                measured = self.walk.project.sent_bytes - candidate.sent_bytes
            found = self.differences(built, edit)
            if found:
                result, why = "changes the image", shown(found)
            elif missing := self.check.missing_libraries(built, edit.made):
                result, why = "fails the check", f"shared libraries are missing: {shown(missing)}"
            elif (ends := self.check.result(built)) != self.expected:
                result, why = "fails the check", f"{ends}; before: {self.expected}"
            else:
                rebuild = self.rebuild_seconds(candidate) if edit.cached else None
                seconds = self.rebuild - rebuild if rebuild is not None and self.rebuild is not None else None
                gains = measured > self.noise.bytes or (seconds or 0.0) > _LEAST_SECONDS
                result, why = (
                    ("proven", edit.what) if gains else ("no gain", "neither bytes nor seconds beyond the noise")
                )
                if gains:
                    self.rebuild = rebuild if rebuild is not None else self.rebuild
        self.outcomes.append(
            Outcome(
                edit,
                self.walk.project,
                candidate,
                predicted,
                measured,
                self.predicted_seconds(edit),
                seconds,
                result,
                why,
            )
        )
        if result == "proven":
            self.walk.project, self.current = replace(candidate, layers=built.files), built

    def proven(self) -> list[Edit]:
        return [outcome.edit for outcome in self.outcomes if outcome.result == "proven"]

    def differences(self, built: Built, *edits: Edit) -> list[str]:
        """Differences from the unchanged image; where there are any, one more fresh build shows whether they are noise."""
        found = changes(self.first, built, [*self.proven(), *edits], self.noise)
        if found and not getattr(self, "third", None):
            self.third = self.build(self.original, "unchanged, third fresh build", fresh=True)
            self.noise.add(self.first, self.third)
            found = changes(self.first, built, [*self.proven(), *edits], self.noise)
        return found

    def finish(self) -> None:
        """Build what is proven from nothing, compare and check it as a whole."""
        if not self.proven():
            self.after = self.before
            return
        try:
            final = self.build(self.walk.project, "all proven edits, fresh build", fresh=True)
            found = self.differences(final)
            if not found and self.check.result(final) != self.expected:
                found = ["the check"]
        except BuildFailed as error:
            found = [str(error)]
        if found:
            why = f"the whole patch, built fresh: {shown(found)}"
            self.outcomes = [
                outcome.failed(why) if outcome.result == "proven" else outcome for outcome in self.outcomes
            ]
            self.walk.project, self.after = self.original, self.before
            return
        self.after = Measures.of(final, final.seconds, self.rebuild_seconds(self.walk.project))

    def result(self, why: str) -> Improvement:
        return Improvement(self.outcomes, self.before, self.after, unified(self.original, self.walk.project), why)
