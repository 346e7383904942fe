"""Find the packages that an image can do without: programs that no other package and no command of the image needs."""

from __future__ import annotations

import posixpath
import re

import pandas as pd

from imagelab.core.json_fields import mapping, sequence
from imagelab.core.model import Image
from imagelab.images.tables.packages import package_files, packages

#: Managers of language packages, and the interpreters that those packages need.
_INTERPRETERS = {"python": r"python\d?(?:[.-].*)?", "npm": r"node(?:js)?", "conda": r"python\d?.*"}
_INSTALL = re.compile(r"(?<![\w-])(?:apt(?:-get)?\b.*\binstall|apk\b.*\badd)\s")
_PROGRAM = r"(?:/usr)?(?:/local)?/bin/[^/]+"
#: Programs that scripts and entrypoints use without naming them anywhere in the image's config.
_SHELLS = r"(?:bash|dash|busybox|coreutils|tini|dumb-init|gosu|su-exec|ca-certificates|tzdata)(?:-.*)?"


def removable(image: Image) -> dict[str, set[str]]:
    """Packages of dpkg and apk that can be removed, each with the packages that only it needs (itself included).

    A package qualifies if a layer above the first installed it, no package depends on it, it has a program in a ``bin``
    folder, and neither the steps of the build nor the image's command, health check and language packages need it.
    Scripts are not read, so the removal has to be tested.
    """
    installed = packages(image)
    system = installed[installed["manager"].isin(["dpkg", "apk"])].drop_duplicates("name").set_index("name")
    needed_by = {name: set(text.split()) for name, text in system["needed_by"].dropna().items()}
    owned = package_files(image)
    programs = owned[owned["path"].str.fullmatch(_PROGRAM) & owned["manager"].isin(["dpkg", "apk"])]
    started = _started(image) | _used_in_build(image)
    used = set(programs.loc[programs["path"].map(posixpath.basename).isin(started), "package"]) | started
    kept = "|".join(pattern for manager, pattern in _INTERPRETERS.items() if manager in set(installed["manager"]))
    found = {}
    for name in sorted(set(programs["package"]) & needed_by.keys()):
        above_base = pd.notna(system.loc[name, "layer_index"]) and system.loc[name, "layer_index"] > 0
        is_kept = name in used or re.fullmatch(f"{_SHELLS}|{kept}" if kept else _SHELLS, name)
        if above_base and not needed_by[name] and not is_kept:
            found[name] = _with_orphans(name, needed_by, system, used)
    return found


def _started(image: Image) -> set[str]:
    """The words of the image's command and health check."""
    config = mapping(image.config.get("config"))
    lists = [config.get("Entrypoint"), config.get("Cmd"), mapping(config.get("Healthcheck")).get("Test")]
    return _words(" ".join(str(word) for words in lists for word in sequence(words)))


def _used_in_build(image: Image) -> set[str]:
    """The words of all commands in the history but those that install packages."""
    commands = [command for entry in image.history for command in re.split(r"[;|&\n()`]+", entry.created_by or "")]
    return _words(" ".join(command for command in commands if not _INSTALL.search(command)))


def _words(text: str) -> set[str]:
    """The words of shell commands, without folders."""
    return {posixpath.basename(word) for word in re.split(r"[\s;|&()'\"`$={}]+", text) if word}


def _with_orphans(name: str, needed_by: dict[str, set[str]], system: pd.DataFrame, used: set[str]) -> set[str]:
    """The package and, repeatedly, what only removed packages need, as ``apt-get autoremove`` does."""
    gone = {name}
    layer = system.loc[name, "layer_index"]
    while True:
        orphans = {
            other
            for other, needing in needed_by.items()
            if needing and needing <= gone and other not in gone | used and system.loc[other, "layer_index"] == layer
        }
        if not orphans:
            return gone
        gone |= orphans
