"""Send less: .dockerignore lines for what ends in the image or the build by accident."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from imagelab.build.context import parse_ignore
from imagelab.build.dockerfile.select import context_path, context_sources, copied
from imagelab.core.frames import format_bytes
from imagelab.core.terms import EXACT, LIKELY
from imagelab.core.text import listed
from imagelab.improve.edits import Change, Edit, Project, edited
from imagelab.improve.installers import cache_traces, installer_of, runs

#: Never part of a build: history, caches, editors' folders.
_CLUTTER = re.compile(
    r"(?:^|/)(?:\.git|\.hg|\.svn|__pycache__|\.(?:mypy|pytest|ruff)_cache|\.tox|\.nox|\.idea|\.vscode|\.DS_Store)$"
)
#: Installed in the image by these package managers.
_INSTALLED = {
    "node_modules": ("npm", "yarn", "pnpm"),
    ".venv": ("pip", "uv", "poetry"),
    "venv": ("pip", "uv", "poetry"),
    "vendor": ("composer",),
}
#: Built in the image by these managers. A file that the build does not make would be missing, so the edit announces none.
_NODE = ("npm", "yarn", "pnpm")
_BUILT = {"target": ("cargo", "maven"), "dist": (*_NODE, "poetry", "uv"), ".next": _NODE, "build": ("gradle",)}


def ignore_clutter(project: Project) -> Iterator[Edit]:
    """A COPY of a directory with version control, caches or installed packages: any change there is a miss.

    The lines stand at the top of .dockerignore, so that every ``!`` below keeps its meaning (the last rule that matches
    decides, Docker's documentation of .dockerignore). Removes those paths from the image where they were copied.
    """
    calls = [(step, installer_of(text)) for step, text in runs(project, project.build.needed(project.target))]
    managers = {installer.name for _, installer in calls if installer}
    traces = [trace for step, installer in calls if installer for trace in cache_traces(project, step, installer)]
    named = {context_path(source) for step in project.build.steps for source in context_sources(step)}
    sources = [
        (step, context_path(source))
        for stage in project.build.needed(project.target)
        for step in project.steps(stage)
        for source in context_sources(step)
    ]
    present = {pattern for pattern, _ in parse_ignore(project.ignore_text or "")}
    clutter = [path for path in project.copied if _CLUTTER.search(path) or _is(path, _INSTALLED, managers)]
    built = [path for path in project.copied if _is(path, _BUILT, managers)]
    for rule, matched, announced in (("wide-copy", clutter, True), ("wide-copy-built", built, False)):
        tops = [path for path in matched if not any(path.startswith(f"{other}/") for other in matched)]
        tops = sorted(path for path in tops if not any(name == path or name.startswith(path + "/") for name in named))
        wide = [(step, source, top) for step, source in sources for top in tops if _below(top, source)]
        patterns = tuple(dict.fromkeys(f"**/{posixpath.basename(p)}" if "/" in p else p for p in tops))
        patterns = tuple(pattern for pattern in patterns if pattern not in present)
        if not patterns or not wide:
            continue
        lines = (Change(0, 0, patterns),)
        ignored = edited(project.ignore_text or "", lines)
        gone = project.copied.keys() - replace(project, ignore_text=ignored).copied.keys()
        if not gone:
            continue  # an exception below keeps them
        size = sum(project.copied[path].size for path in gone)
        what = f"{wide[0][0].instruction} {wide[0][1]} copies {listed(tops)} ({format_bytes(size)})"
        touches = [
            f"^{re.escape(posixpath.normpath(posixpath.join(step.state.workdir, step.words[-1], inside)))}(?:/|$)"
            for step, source, top in wide
            if copied(step) and (inside := posixpath.relpath(top, source))
        ]
        announces, sure = (tuple(touches + traces), EXACT) if announced else (tuple(traces), LIKELY)
        what = f"{what}: any change there is a miss"
        yield Edit(rule, what, wide[0][0], lines, announces, ignore=True, size=size, confidence=sure)


def _below(path: str, folder: str) -> bool:
    return folder in (".", path) or path.startswith(f"{folder}/")


def _is(path: str, names: Mapping[str, tuple[str, ...]], managers: set[str]) -> bool:
    return bool(managers & set(names.get(posixpath.basename(path), ())))
