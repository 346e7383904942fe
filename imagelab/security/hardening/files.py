"""Hardening rules for an image's files."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from imagelab.core.errors import ImagelabError
from imagelab.core.json_fields import sequence
from imagelab.images.tables.contents import read_file
from imagelab.security.hardening.image import ImageFacts
from imagelab.security.hardening.rules import Evidence, Unknown, load_rules

#: Names of credential files; test keys and certificates of packages have other places.
_CREDENTIALS = re.compile(
    r"/(?:id_(?:rsa|dsa|ecdsa|ed25519)|\.netrc|\.git-credentials|\.pgpass|\.my\.cnf|\.htpasswd|\.dockercfg|\.npmrc|\.pypirc"
    r"|\.yarnrc\.yml|\.env(?:\.[^/.]+)?|\.vault-token|credentials\.json|application_default_credentials\.json|[^/]+\.(?:p12|pfx|jks|kdbx|ppk|ovpn|tfstate)"
    r"|\.docker/config\.json|\.aws/credentials|\.azure/accessTokens\.json|\.kube/config|kubeconfig|\.ssh/[^/]*key[^/]*|[^/]*\.key)$"
)
_PACKAGED = re.compile(
    r"/node_modules/|/(?:site|dist)-packages/|^/usr/(?:local/)?(?:share|lib)/.*\.key$|\.env\.(?:example|sample|template|dist)$"
)
_SHELLS = frozenset(["sh", "bash", "ash", "dash", "zsh", "ksh", "fish", "csh", "tcsh", "busybox"])
_MANAGERS = frozenset(["apt", "apt-get", "dpkg", "apk", "yum", "dnf", "microdnf", "rpm", "zypper", "pacman", "opkg"])
_PROGRAM = re.compile(r"^(?:/usr)?(?:/local)?/s?bin/[^/]+$")


def _list(rows: pd.DataFrame, message: str = "{0.path}") -> Iterator[Evidence]:
    found: Any = rows.sort_values("path")[["path", "mode", "layer_index"]]
    for row in found.itertuples():
        yield Evidence(message.format(row, stat.S_IMODE(row.mode)), int(row.layer_index))


def setuid(facts: ImageFacts) -> Iterator[Evidence]:
    files = facts.visible
    return _list(files[files["kind"].isin(["file", "hardlink"]) & (files["mode"] & 0o6000 > 0)], "{0.path} ({1:04o})")


def world_writable(facts: ImageFacts) -> Iterator[Evidence]:
    files = facts.visible
    everyone = files["mode"] & 0o002 > 0
    wrong = everyone & ((files["kind"] == "file") | ((files["kind"] == "directory") & (files["mode"] & 0o1000 == 0)))
    return _list(files[wrong], "{0.path} ({1:04o})")


def credentials(facts: ImageFacts) -> Iterator[Evidence]:
    """Deleted files too: they can be read from the earlier layer."""
    files = facts.files[facts.files["kind"] == "file"]
    files = files[files["path"].str.contains(_CREDENTIALS) & ~files["path"].str.contains(_PACKAGED)]
    yield from _list(files[files["visible"]])
    yield from _list(files[~files["visible"]], "{0.path}, deleted later, still stored in layer {0.layer_index}")


def git(facts: ImageFacts) -> Iterator[Evidence]:
    files = facts.files
    found = files[files["path"].str.endswith("/.git") & files["kind"].isin(["directory", "file"])]
    return _list(found.drop_duplicates("path"))


def empty_passwords(facts: ImageFacts) -> Iterator[Evidence]:
    for line in _account_lines(facts, "/etc/shadow"):
        if len(fields := line.split(":")) > 1 and not fields[1]:
            yield Evidence(f"{fields[0]} has an empty password in /etc/shadow")


def duplicate_ids(facts: ImageFacts) -> Iterator[Evidence]:
    for path in ("/etc/passwd", "/etc/group"):
        fields = [line.split(":") for line in _account_lines(facts, path)]
        ids = pd.Series([parts[2] for parts in fields if len(parts) > 2], dtype="str")
        for number in ids[ids.duplicated()].unique():
            yield Evidence(f"{path}: several entries have the id {number}")


def _account_lines(facts: ImageFacts, path: str) -> list[str]:
    """The lines of a file of accounts; none if the image has no such file."""
    if not facts.visible["path"].eq(path).any():
        return []
    try:
        return read_file(facts.image, path).decode("utf-8", "replace").splitlines()
    except ImagelabError as error:
        raise Unknown(f"{path} cannot be read: {error}") from error


def _programs(names: frozenset[str]) -> Callable[[ImageFacts], Iterator[Evidence]]:
    """Make a check that no program of these names is on the usual paths."""

    def check(facts: ImageFacts) -> Iterator[Evidence]:
        programs = facts.visible[facts.visible["path"].str.contains(_PROGRAM) & (facts.visible["kind"] != "directory")]
        return _list(programs[programs["path"].str.replace(r"^.*/", "", regex=True).isin(names)])

    return check


def app_writable(facts: ImageFacts) -> Iterator[Evidence]:
    folder = str(facts.config.get("WorkingDir") or "/").rstrip("/") or _program_folder(facts)
    uid, gid = facts.run_as
    files = facts.visible
    files = files[(files["path"].str.startswith(folder + "/")) & (files["kind"] == "file")]
    if uid == 0:
        if len(files):
            yield Evidence(f"{folder}: root can write all {len(files)} files")
        return
    mode, own = files["mode"], files["uid"] == uid
    group = ~own & (files["gid"] == (-1 if gid is None else gid))
    found = files[(own & (mode & 0o200 > 0)) | (group & (mode & 0o020 > 0)) | (mode & 0o002 > 0)]
    if len(found):
        yield Evidence(
            f"{folder}: uid {uid} can write {len(found)} of {len(files)} files, such as {found['path'].min()}"
        )


def _program_folder(facts: ImageFacts) -> str:
    """Without WORKDIR: the folder of the first file in the command that is not the system's."""
    words = [word for key in ("Entrypoint", "Cmd") for word in sequence(facts.config.get(key)) if isinstance(word, str)]
    named = [word for word in words if re.match(r"/(?!usr/s?bin/|usr/lib|s?bin/|lib)[^/]+/", word)]
    files = facts.visible
    found = files.loc[files["path"].isin(named) & (files["kind"] == "file"), "path"]
    if found.empty:
        raise Unknown("no WORKDIR, and the command names no file: the application's folder is unknown")
    return str(found.iloc[0]).rpartition("/")[0]


shells, package_managers = _programs(_SHELLS), _programs(_MANAGERS)
FILE_RULES = load_rules("files", globals())
