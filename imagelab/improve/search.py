"""Walk through the rules: build each edit on top of those proven before it, prove it, measure it, choose alternatives."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pandas as pd
from tqdm.auto import tqdm

from imagelab.build.logs.cost import step_seconds
from imagelab.core.errors import DockerfileError, ImagelabError
from imagelab.core.frames import format_bytes, make_frame
from imagelab.core.text import listed
from imagelab.improve.answer import IMPROVE_COLUMNS, Improvement, Measures, Outcome
from imagelab.improve.edits import Edit, Project, unified
from imagelab.improve.engine import BuildFailed, Trial
from imagelab.improve.measure import predicted_bytes, source_file
from imagelab.improve.prove import Built, Check, Noise, changes, stored_bytes
from imagelab.improve.rules import Walk, try_change

_LEAST_SECONDS = 0.3  # of a rebuild; a build's own overhead varies by as much
_SIMILAR = 0.01  # of the image's bytes: a difference that faster rebuilds may cost


@dataclass
class Search:
    """The walk through the rules: what is proven so far, and what became of every edit."""

    original: Project
    only: Collection[str]
    without: Collection[str]
    wishes: Collection[str] = ()
    command: str | None = None
    check_network: str = "none"
    stored: pd.DataFrame | None = None
    seconds: dict[tuple[str, int], float] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    before: Measures | None = None
    after: Measures | None = None

    def __post_init__(self) -> None:
        self.walk = Walk(self.original, self.only, self.without)
        self.tries = [try_change(self.original, wish) for wish in self.wishes]

    def propose(self, why: str) -> None:
        """Without an engine: every edit on top of the ones before it; alternatives are left out."""
        for edit, *_ in self.walk:
            outcome = self.outcome(edit, why)
            if outcome.predicted != 0 or edit.cached or edit.warm:
                self.outcomes.append(outcome)
                self.walk.project = outcome.after

    def outcome(self, edit: Edit, why: str = "") -> Outcome:
        """An edit that is not built yet, with what an image and a log predict."""
        seconds = sum(self.seconds.get((step.stage, step.step or 0), 0.0) for step in edit.cached) or None
        before = self.walk.project
        return Outcome(
            edit, before, before.apply(edit), predicted_bytes(edit, before, self.stored), seconds, "not built", why
        )

    def run(self, running: Trial) -> None:
        """Build the original twice, each edit once, and what is proven once more from nothing."""
        with tqdm(desc="improve", unit=" builds", leave=False) as bar:
            self.running, self.bar, self.check = running, bar, Check(running, self.command, self.check_network)
            self.source = source_file(self.original)
            self.baseline()
            for group in self.walk:
                self.choose(group)
            self.finish()
            self.outcomes += [self.advised(edit) for edit in self.tries]

    def baseline(self) -> None:
        """Build the unchanged project twice: what differs is noise."""
        try:
            first = self.build(self.original, "unchanged, first fresh build", fresh=True)
            second = self.build(self.original, "unchanged, second fresh build", fresh=True)
        except BuildFailed as error:
            raise DockerfileError(f"The unchanged Dockerfile does not build: {error}") from error
        self.expected = self.checked(first, self.check.result)
        self.first, self.current, self.stored = first, second, first.files
        self.walk.project = first.listed
        self.noise = Noise()
        self.noise.add(first, second)
        if self.command is not None and self.expected != "exit code 0":
            raise ImagelabError(f"The check fails in the unchanged image ({self.expected}), so it proves nothing.")
        self.seconds = step_seconds(first.log, {stage.name for stage in self.original.build.stages})
        self.rebuild = self.rebuild_seconds(self.original)
        self.before = Measures.of(first, min(first.seconds, second.seconds), self.rebuild)

    def build(self, project: Project, what: str, *, fresh: bool = False) -> Built:
        about = f", about {self.before.cold_seconds:.0f} s" if self.before else ""
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

    def choose(self, group: Sequence[Edit]) -> None:
        """Try alternatives, and keep the best of those that are proven; what cannot be better is not built."""
        best: tuple[Outcome, Built] | None = None
        for outcome in map(self.outcome, group):
            if not self.can_gain(outcome, best and best[0]):
                continue
            outcome, built = self.tried(outcome)
            if outcome.result != "proven" or built is None:
                self.outcomes.append(outcome)
            elif best is None or self.is_better(outcome, best[0]):
                self.outcomes += [best[0].without_gain(f"proven, but {outcome.edit.rule} is better")] if best else []
                best = outcome, built
            else:
                self.outcomes.append(outcome.without_gain(f"proven, but {best[0].edit.rule} is better"))
        if best is None:
            return
        kept, built = best
        self.outcomes.append(kept)
        self.walk.project, self.current, self.stored = built.listed, built, built.files
        if kept.measured_seconds is not None and self.rebuild is not None:
            self.rebuild -= kept.measured_seconds

    @property
    def similar(self) -> float:
        """Bytes by which two images may differ and count as equal where seconds decide."""
        return max(self.noise.bytes, self.current.size * _SIMILAR)

    def can_gain(self, outcome: Outcome, best: Outcome | None) -> bool:
        """Whether the image leaves open that the edit gains something, and more than a proven alternative."""
        if outcome.predicted is None:
            return True
        if best and best.measured is not None:
            return outcome.predicted - best.measured > self.similar
        return outcome.predicted != 0 or bool(outcome.edit.cached) or outcome.edit.warm

    def is_better(self, outcome: Outcome, other: Outcome) -> bool:
        """Smaller; of two that are about equal, the one that rebuilds faster."""
        gain = (outcome.measured or 0) - (other.measured or 0)
        if abs(gain) > self.similar:
            return gain > 0
        return (outcome.measured_seconds or 0.0) - (other.measured_seconds or 0.0) > _LEAST_SECONDS

    def tried(self, outcome: Outcome) -> tuple[Outcome, Built | None]:
        """Build the edit on top of what is proven, then compare, check and measure it."""
        edit, candidate = outcome.edit, outcome.after
        try:
            built = self.build(candidate, f"{edit.rule}, line {edit.step.line}")
        except BuildFailed as error:
            return replace(outcome, result="breaks the build", why=str(error)), None
        why = self.checked(built, lambda built: self.failure(built, edit))
        found = self.differences(built, edit)
        size = self.current.size - built.size if edit.size is None else outcome.before.sent_bytes - candidate.sent_bytes
        outcome = replace(outcome, measured=size)
        if found:
            return replace(outcome, result="changes the image", why=listed(found)), built
        if why:
            return replace(outcome, result="fails the check", why=why), built
        if (edit.cached or edit.warm or edit.packages) and self.rebuild is not None:
            rebuild = self.rebuild_seconds(candidate) or 0.0
            outcome = replace(outcome, measured_seconds=self.rebuild - rebuild)
        if size < -self.similar:
            return outcome.without_gain(f"the image grows by {format_bytes(-size)}"), built
        if size <= self.noise.bytes and (outcome.measured_seconds or 0.0) <= _LEAST_SECONDS:
            return outcome.without_gain("neither bytes nor seconds beyond the noise"), built
        return replace(outcome, result="proven", why=edit.what), built

    def checked(self, built: Built, check: Callable[[Built], str]) -> str:
        """The check's answer; the image's layers are listed while its container runs."""
        with ThreadPoolExecutor(1) as pool:
            listing = pool.submit(lambda: built.paths)
            answer = check(built)
            listing.result()
        return answer

    def advised(self, edit: Edit) -> Outcome:
        """Build what changes behaviour in place of the unchanged project, and say what it does; it is in no patch."""
        after = self.original.apply(edit)
        outcome = Outcome(edit, self.original, after, None, None, "not built", "")
        try:
            built = self.build(after, edit.what)
        except BuildFailed as error:
            return replace(outcome, result="breaks the build", why=f"{edit.what}: {error}")
        why = self.checked(built, self.failure)
        outcome = replace(outcome, measured=self.first.size - built.size)
        if why:
            return replace(outcome, result="fails the check", why=f"{edit.what}: {why}")
        found = changes(self.first, built, [], self.noise)
        why = f"{edit.what}: the check ends the same way; {len(found):,} differences, such as {listed(found)}"
        return replace(outcome, result="changes the image" if found else "no gain", why=why)

    def failure(self, built: Built, *edits: Edit) -> str:
        """Why the image does not behave as the unchanged one; empty where it does."""
        if missing := self.check.missing_libraries(built, [path for edit in edits for path in edit.made]):
            return f"shared libraries are missing: {listed(missing)}"
        ends = self.check.result(built)
        return "" if ends == self.expected else f"{ends}; before: {self.expected}"

    def proven(self) -> list[Edit]:
        return [outcome.edit for outcome in self.outcomes if outcome.result == "proven"]

    def differences(self, built: Built, *edits: Edit) -> list[str]:
        """Differences from the unchanged image; where there are any, one more fresh build shows whether they are noise."""
        found = changes(self.first, built, [*self.proven(), *edits], self.noise)
        if found and self.noise.builds < 2:
            self.noise.add(self.first, self.build(self.original, "unchanged, third fresh build", fresh=True))
            found = changes(self.first, built, [*self.proven(), *edits], self.noise)
        return found

    def finish(self) -> None:
        """Build what is proven from nothing, compare and check it as a whole."""
        self.after = self.before
        if not self.proven():
            return
        try:
            final = self.build(self.walk.project, "all proven edits, fresh build", fresh=True)
            why = self.checked(final, lambda final: self.failure(final, *self.proven()))
            why = listed(self.differences(final)) or why
        except BuildFailed as error:
            why = str(error)
        if why:
            self.outcomes = [outcome.failed(f"the whole patch, built fresh: {why}") for outcome in self.outcomes]
            self.walk.project = self.original
        else:
            self.after = Measures.of(final, final.seconds, self.rebuild_seconds(self.walk.project))

    def result(self, why: str) -> Improvement:
        edits = make_frame([outcome.row() for outcome in self.outcomes], IMPROVE_COLUMNS)
        size = stored_bytes(self.stored) if why and self.stored is not None else None
        return Improvement(edits, self.before, self.after, unified(self.original, self.walk.project), why, size)
