"""Clean up in the RUN that makes the files: package lists, downloads, and files that a later RUN deletes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from imagelab.build.dockerfile.syntax import Step
from imagelab.core.terms import EXACT, LIKELY
from imagelab.improve.edits import Change, Edit, Project, commands_of, with_command, with_flags
from imagelab.improve.installers import (
    APK_ADD,
    APT_UPDATE,
    DNF_INSTALL,
    INSTALLERS,
    NEXT,
    SYSTEM,
    Installer,
    caches_of,
    copies_sources,
    installer_of,
    is_cached,
    is_root,
    runs,
    script,
)

APT_FILES = (r"^/var/lib/apt/lists(?:/|$)", r"^/var/cache/apt(?:/|$)")
#: What the commands of a deletion say besides the names of what they delete.
_COMMAND_WORD = re.compile(r"-.*|&&|rm|apt|apt-get|apk|del|purge|remove|autoremove|clean|")
_INSTALLS = re.compile("|".join(pattern.pattern for pattern in SYSTEM))
_APT_USES_LISTS = re.compile(r"\bapt(?:-get)?\s+(?:-\S+\s+)*(?:install|build-dep|(?:dist-|full-)?upgrade)\b")
_APT_CLEAN = re.compile(r"\bapt(?:-get)?\s+clean\b")
_DELETES = re.compile(
    r"(?:rm\s|apt(?:-get)?\s+(?:-\S+\s+)*(?:purge|remove|autoremove|clean)\b|apk\s+(?:--\S+\s+)*del\b)"
)


def apt_lists(project: Project) -> Iterator[Edit]:
    """Package lists and downloads of apt: delete them in the RUN that fetches them.

    A RUN that installs updates the lists itself: one that relies on the lists of an earlier RUN would find none
    (apt-get(8), Docker's best practices for RUN). Keeps every package; removes /var/lib/apt/lists and /var/cache/apt.
    """
    for stage in project.final:
        changes: list[Change] = []
        alone: Step | None = None
        first: Step | None = None
        for step in project.steps(stage):
            commands = script(step)
            updates, installs = APT_UPDATE.search(commands), _APT_USES_LISTS.search(commands)
            if not (updates or installs) or any(is_cached(step, "/var/" + name) for name in ("lib/apt", "cache/apt")):
                continue
            if updates and re.fullmatch(r"\s*apt(?:-get)?\s+(-\S+\s+)*update(\s+-\S+)*\s*", commands):
                alone = alone or step
                changes.append(project.change(step))
                continue
            raw: list[str] | None = project.raw(step)
            if not updates and raw and changes:
                raw = _insert_before(raw, _APT_USES_LISTS, "apt-get update && ")
            if "/var/lib/apt/lists" not in commands and raw:
                clean = "" if _APT_CLEAN.search(commands) else "apt-get clean && "
                raw = with_command(raw, step, f"{clean}rm -rf /var/lib/apt/lists/*")
            elif raw and not _APT_CLEAN.search(commands) and project.stores(step, "/var/cache/apt"):
                raw = with_command(raw, step, "apt-get clean")
            if raw is None:
                break
            if raw != project.raw(step):
                first = first or step
                changes.append(project.change(step, *raw))
        if first:
            rule, what = "apt-cleanup", "the package lists stay in the layer"
            if alone:
                rule, first = "apt-update-alone", alone
                what = "apt-get update alone stays cached: a later install then uses old lists, which stay in the layer"
            yield Edit(rule, what, first, tuple(changes), APT_FILES, confidence=EXACT)


def _insert_before(raw: list[str], pattern: re.Pattern[str], text: str) -> list[str]:
    """The lines with text before the first command that the pattern finds."""
    for n, line in enumerate(raw):
        if found := pattern.search(line):
            return [*raw[:n], line[: found.start()] + text + line[found.start() :], *raw[n + 1 :]]
    return raw


def apk_index(project: Project) -> Iterator[Edit]:
    """The index of apk: ``apk add --no-cache`` stores none and needs no ``apk update`` (apk-add(8))."""
    alone: list[Step] = []
    for step, commands in runs(project, project.final):
        if re.fullmatch(r"\s*apk\s+(?:-\S+\s+)*update\s*", commands):
            alone.append(step)
        if not APK_ADD.search(commands) or "--no-cache" in commands or "/apk" in commands or step.mounts:
            continue
        lines = [re.sub(r"\bapk\s+(?:-\S+\s+)*update\s*&&\s*", "", line) for line in project.raw(step)]
        lines = [APK_ADD.sub(lambda found: f"{found[0]} --no-cache", line) for line in lines]
        what, touches = "the package index stays in the layer", (r"^/var/cache/apk/", r"^/etc/apk/cache")
        changes = (*map(project.change, alone), project.change(step, *lines))
        yield Edit("apk-cleanup", what, step, changes, touches, confidence=LIKELY)
        alone = []


def dnf_cache(project: Project) -> Iterator[Edit]:
    """Metadata and downloads of dnf and yum: ``dnf clean all`` in the RUN that installs (dnf(8))."""
    for step, commands in runs(project, project.final):
        found = DNF_INSTALL.search(commands)
        if not found or "clean all" in commands or step.mounts:
            continue
        command = f"{found[0].split()[0]} clean all && rm -rf /var/cache/dnf /var/cache/yum"
        if lines := with_command(project.raw(step), step, command):
            what = "the metadata of the package repositories stay in the layer"
            touches = (r"^/var/cache/(?:dnf|yum|libdnf5)(?:/|$)",)
            yield Edit("dnf-cleanup", what, step, (project.change(step, *lines),), touches, confidence=LIKELY)


def downloads(project: Project) -> Iterator[Edit]:
    """Downloads of language package managers: a cache mount keeps them out of the layer and for the next build.

    RUNs above of the same manager get the mount, too, as it hides what they downloaded.

    The alternative keeps no downloads: ``--no-cache-dir`` of pip and its like, or the manager's own cleaning command
    in the same RUN. Both keep what is installed. Docker's documentation of cache mounts; each tool's of its cache.
    """
    for step, commands in runs(project, project.build.needed(project.target)):
        for installer in (*INSTALLERS, *((NEXT,) if _has_next(project) else ())):
            caches = caches_of(project, step, installer)
            if not installer.command.search(commands) or not caches:
                continue
            if _keeps_none(step, installer, caches):
                continue
            touches = tuple(map(_with_parents, caches))
            what = f"{installer.name} keeps its downloads in the layer"
            flags = [f"--mount=type=cache,target={folder}" for folder in caches]
            above = [s for s in project.build.steps if s.stage == step.stage and s.line < step.line]
            hidden = [s for s in above if installer.command.search(script(s)) and not _keeps_none(s, installer, caches)]
            mounted = tuple(_mounted(project, s, flags, installer) for s in (*hidden, step))
            again = f"{what}, and downloads again whenever this step runs again"
            sure = EXACT if "cache-mount" in installer.built else LIKELY
            warm = any(copies_sources(project, s, installer) for s in above)
            if is_root(step):  # a mount belongs to root
                yield Edit("cache-mount", again, step, mounted, touches, warm=warm, confidence=sure)
            if lines := _without_downloads(project.raw(step), step, installer):
                change = (project.change(step, *lines),)
                yield Edit("no-download-cache", what, step, change, touches, alternative=is_root(step))


def _has_next(project: Project) -> bool:
    named = '"next"' in project.read("package.json") or ".next" in project.text
    return named or any(path.startswith("next.config.") for path in project.sent)


def _without_downloads(raw: list[str], step: Step, installer: Installer) -> list[str] | None:
    """The RUN's lines so that it keeps no downloads."""
    if not installer.flag:
        return with_command(raw, step, installer.clean) if installer.clean else None
    if any(installer.flag in line for line in raw):
        return None
    lines = [installer.command.sub(rf"\g<0> {installer.flag}", line) for line in raw]
    return lines if lines != raw else None


def _mounted(project: Project, step: Step, flags: Sequence[str], installer: Installer) -> Change:
    """The RUN with cache mounts, and without the flag that would leave them empty."""
    raw = project.raw(step)
    if installer.flag:
        raw = [re.sub(rf" {installer.flag}(?=\s|$)", "", line) for line in raw]
    return project.change(step, *with_flags(raw, flags))


def _keeps_none(step: Step, installer: Installer, caches: Sequence[str]) -> bool:
    """Whether the layer keeps no downloads already."""
    commands = script(step)
    by_setting = step.state.env.get(installer.off, "0").lower() not in ("0", "", "false", "off")
    cleaned = bool(re.search(r"\bcache clean|\bconda clean|-modcache", commands))
    mounted = any(folder in commands or is_cached(step, folder) for folder in caches)
    return by_setting or cleaned or mounted


def _with_parents(folder: str) -> str:
    """A folder, all below it, and the parents that a mount makes."""
    *parents, last = folder.strip("/").split("/")
    made = "".join(f"/{re.escape(part)}" for part in (*parents, last))
    above = ["/" + "/".join(parents[: n + 1]) for n in range(1, len(parents))]
    return "^(?:" + "|".join([f"{made}(?:/.*)?", *map(re.escape, above)]) + ")$"


def deleted_later(project: Project) -> Iterator[Edit]:
    """A RUN that only deletes: its commands belong at the end of the RUN that made the files.

    The RUNs between the two become one RUN with them; a COPY between stays where it is if only deletions pass it. A
    layer cannot free bytes of the layers below it (OCI layer specification, whiteouts). Keeps the final filesystem.
    """
    for stage in project.final:
        above: list[Step] = []
        passed = 0  # RUNs above the last COPY
        for step in project.steps(stage):
            if step.instruction in ("COPY", "ADD") and project.layers is not None:
                passed = len(above)
                continue
            if step.instruction != "RUN":
                if step.instruction not in ("LABEL", "EXPOSE", "CMD", "ENTRYPOINT"):
                    above, passed = [], 0
                continue
            commands = commands_of(script(step).strip()) or []
            makers = _makers(project, step, commands, above) if above else []
            if makers and makers[0] < passed and (passed < len(above) or not all(map(_DELETES.match, commands))):
                makers = []
            if makers:
                merged = [*above[makers[0] :], step]
                if lines := as_one(project, merged):
                    what = "deletes files that a layer before it still stores"
                    changes = (project.change(merged[0], *lines), *map(project.change, merged[1:]))
                    yield Edit("delete-in-same-run", what, step, changes, confidence=EXACT)
            above.append(step)


def _makers(project: Project, step: Step, commands: Sequence[str], above: Sequence[Step]) -> list[int]:
    """Which RUNs above made what a RUN deletes: by the image's layers, else by the names in their commands."""
    deletions = [command for command in commands if _DELETES.match(command)]
    installs = _INSTALLS.search(script(step)) or installer_of(script(step))
    if not deletions or (deletions[0] != commands[0] and installs):
        return []
    if project.layers is not None:
        gone = project.layers[project.layers["reason"].eq("deleted") & project.layers["kind"].eq("file")]
        layers = set(gone.loc[gone["removed_layer_index"] == project.layer(step), "layer_index"])
        return [n for n, s in enumerate(above) if project.layer(s) in layers]
    names = {word.rstrip("*/") for text in deletions for word in text.split() if not _COMMAND_WORD.fullmatch(word)}
    makers = [n for n, s in enumerate(above) if any(name in script(s).split() for name in names)]
    return makers or ([len(above) - 1] if deletions[0] == commands[0] else [])


def as_one(project: Project, steps: Sequence[Step]) -> list[str] | None:
    """The lines of one RUN with the commands of several, which must be plain chains; None for other forms."""
    lines: list[str] | None = project.raw(steps[0])
    for step in steps[1:]:
        if step.flags or step.heredocs or step.node.json or commands_of(script(step).strip()) is None or not lines:
            return None
        if "#" in lines[-1]:
            return None  # a comment would hide what follows
        first, *rest = project.raw(step)
        if steps[0].heredocs and rest:
            return None
        lines = with_command(lines, steps[0], re.sub(r"^\s*\w+\s+", "", first))
        lines = lines and [*lines, *rest]
    return lines
