"""Which source file changes most often, and what an edit would save as far as an image or a log can say."""

from __future__ import annotations

import posixpath
import re
import subprocess
from collections import Counter

import pandas as pd

from imagelab.improve.edits import Edit, Project
from imagelab.improve.installers import INSTALLERS

_SOURCES = re.compile(
    r"\.(?:py|[cm]?[jt]sx?|go|rs|c|cc|cpp|h|hpp|java|kt|scala|rb|php|cs|ex|vue|svelte|css|html?|sh)$", re.I
)
_MANIFESTS = {name for installer in INSTALLERS for name in installer.manifests}
_NOT_OURS = re.compile(r"(?:^|/)(?:node_modules|\.?venv|vendor|target|dist|\.git|\.next|tests?)/")
_COMMITS = 500


def source_file(project: Project) -> str | None:
    """The copied source file that changes most often: by git's history, else of the largest source directory."""
    files = [path for path, entry in project.copied.items() if entry.kind == "file" and _SOURCES.search(path)]
    files = [path for path in files if not _NOT_OURS.search(path) and posixpath.basename(path) not in _MANIFESTS]
    if not files or project.root is None:
        return None
    log = ["git", "-C", str(project.root), "log", f"-{_COMMITS}", "--name-only", "--relative", "--format="]
    try:
        done = subprocess.run(log, capture_output=True, text=True, timeout=60, encoding="utf-8", errors="replace")
        counts = Counter(line for line in done.stdout.splitlines() if line in set(files))
    except (OSError, subprocess.TimeoutExpired):
        counts = Counter()
    if counts:
        return max(counts, key=lambda path: (counts[path], path))
    sizes: Counter[str] = Counter()
    for path in files:
        sizes[posixpath.dirname(path)] += project.copied[path].size
    folder = max(sizes, key=lambda name: (sizes[name], name))
    own = [path for path in files if posixpath.dirname(path) == folder]
    return max(own, key=lambda path: (project.copied[path].size, path))


def predicted_bytes(edit: Edit, project: Project, files: pd.DataFrame | None) -> int | None:
    """Stored bytes of the paths that the edit removes, or that its instruction makes invisible; None if unknown."""
    if edit.size is not None:
        return edit.size
    if files is None:
        return None
    if edit.step.stage not in {stage.name for stage in project.final}:
        return 0  # another stage's files are not in the image
    made = sum(step.step is not None for stage in project.final for step in stage.steps if step.instruction != "FROM")
    depth = project.depth or int(files["layer_index"].max()) + 1
    stored = files[(files["kind"] == "file") & (files["layer_index"] >= depth - made)]
    if edit.packages or edit.cached:
        return None
    if edit.touches:
        return int(stored.loc[stored["path"].str.contains("|".join(edit.touches)), "size"].sum())
    layer = project.layer(edit.step)
    return 0 if layer is None else int(stored.loc[stored["removed_layer_index"] == layer, "size"].sum())
