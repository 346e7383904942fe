"""Every rule that proposes edits, in the order in which they apply."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from imagelab.core.errors import ImagelabError
from imagelab.core.terms import POSSIBLE
from imagelab.improve import cleanup, once, order, send, toolchain
from imagelab.improve.edits import Change, Edit, Project

Rule = Callable[[Project], Iterator[Edit]]
#: The rules, each with the names of its edits. A rule sees the texts that the edits before it left.
RULES: dict[Rule, tuple[str, ...]] = {
    send.ignore_clutter: ("wide-copy", "wide-copy-built"),
    order.install_before_sources: ("copy-before-install",),
    cleanup.apt_lists: ("apt-cleanup", "apt-update-alone"),
    cleanup.apk_index: ("apk-cleanup",),
    cleanup.dnf_cache: ("dnf-cleanup",),
    cleanup.downloads: ("cache-mount", "no-download-cache"),
    once.copied_then_deleted: ("bind-mount",),
    cleanup.deleted_later: ("delete-in-same-run",),
    toolchain.leave_compilers: ("build-stage", "purge-compilers"),
    once.copy_with_owner: ("copy-chown",),
    once.copy_with_mode: ("copy-chmod",),
}
NAMES = tuple(name for names in RULES.values() for name in names)


def alternatives(edits: Iterable[Edit]) -> list[list[Edit]]:
    """The edits in groups, of which only one edit each can apply; the preferred one is first."""
    groups: list[list[Edit]] = []
    for edit in edits:
        if edit.alternative:
            groups[-1].append(edit)
        else:
            groups.append([edit])
    return groups


@dataclass
class Walk:
    """The edits of a project, alternatives together. Whoever takes one sets ``project`` to the result for later edits."""

    project: Project
    only: Collection[str] = ()
    without: Collection[str] = ()

    def __post_init__(self) -> None:
        if unknown := {*self.only, *self.without} - set(NAMES):
            raise ImagelabError(f"unknown rule {', '.join(sorted(unknown))}; the rules are {', '.join(NAMES)}.")

    def __iter__(self) -> Iterator[list[Edit]]:
        for rule in RULES:
            tried: set[tuple[str, ...]] = set()
            while group := next((group for group in self._wanted(rule) if self._key(group) not in tried), None):
                tried.add(self._key(group))
                yield group

    def _wanted(self, rule: Rule) -> Iterator[list[Edit]]:
        if self.project.build.directives.get("escape", "\\") != "\\":
            return  # an edit would have to continue lines in another way
        for group in alternatives(rule(self.project)):
            if kept := [e for e in group if (not self.only or e.rule in self.only) and e.rule not in self.without]:
                yield kept

    def _key(self, group: list[Edit]) -> tuple[str, ...]:
        return tuple(text for edit in group for text in (edit.rule, *self.project.raw(edit.step), *edit.lines))


def try_change(project: Project, wish: str) -> Edit:
    """A change of behaviour, to measure its effect: ``base=IMAGE`` or ``user=NAME``. It is never part of the patch."""
    name, _, value = wish.partition("=")
    steps = [step for stage in project.final for step in project.steps(stage)]
    first, last = steps[0], steps[-1]
    if name == "base" and value:
        base = first.node.args[0]
        same = [s for s in project.build.steps if s.instruction == "FROM" and s.node.args[0] == base and not s.onbuild]
        changes = tuple(project.change(s, *(line.replace(base, value, 1) for line in project.raw(s))) for s in same)
        return Edit("try-base", f"{value} instead of {base}", first, changes, confidence=POSSIBLE)
    if name == "user" and value:
        end = last.node.end_line
        change = Change(end, end, (f"USER {value}",))
        return Edit("try-user", f"the program runs as {value}", last, (change,), confidence=POSSIBLE)
    raise ImagelabError(f"cannot try {wish!r}; expected base=IMAGE or user=NAME.")


def every_edit(project: Project) -> list[Edit]:
    """The edits of the project as it is, without alternatives to one before them."""
    return [group[0] for rule in RULES for group in alternatives(rule(project))]


def edited_lines(project: Project, start: int, stop: int) -> list[str]:
    """Lines ``start`` to ``stop`` of the Dockerfile after every edit that changes only them."""
    walk = Walk(project)
    for edit, *_ in walk:
        if not edit.ignore and start <= edit.span[0] and edit.span[1] <= stop:
            walk.project = walk.project.apply(edit)
            stop += sum(len(change.lines) - (change.stop - change.start) for change in edit.changes)
    return walk.project.lines[start:stop]
