"""Hardening rules that look at an image's files."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from imagelab.core.json_fields import sequence
from imagelab.security.hardening.image import ImageFacts
from imagelab.security.hardening.rules import Evidence, Rule, Unknown

#: Files that hold credentials by their name. Test keys and certificates of packages live elsewhere.
_CREDENTIALS = re.compile(
    r"/(?:id_(?:rsa|dsa|ecdsa|ed25519)|\.netrc|\.git-credentials|\.pgpass|\.my\.cnf|\.htpasswd|\.dockercfg|\.npmrc|\.pypirc"
    r"|\.yarnrc\.yml|\.env(?:\.\w+)?|\.vault-token|credentials\.json|application_default_credentials\.json|[^/]+\.(?:p12|pfx|jks|kdbx|ppk|ovpn|tfstate)"
    r"|\.docker/config\.json|\.aws/credentials|\.azure/accessTokens\.json|\.kube/config|kubeconfig|\.ssh/[^/]*key[^/]*)$"
    r"|^(?!/usr/(?:share|lib|local/lib)/)/.*\.key$"
)
_PACKAGED = re.compile(r"/(?:node_modules|site-packages|dist-packages)/|\.env\.(?:example|sample|template|dist)$")
_SHELLS = frozenset(["sh", "bash", "ash", "dash", "zsh", "ksh", "fish", "csh", "tcsh", "busybox"])
_MANAGERS = frozenset(["apt", "apt-get", "dpkg", "apk", "yum", "dnf", "microdnf", "rpm", "zypper", "pacman", "opkg"])
_PROGRAM = re.compile(r"^(?:/usr)?(?:/local)?/s?bin/([^/]+)$")


def _list(rows: pd.DataFrame, say: str = "{0.path}") -> Iterator[Evidence]:
    found: Any = rows.sort_values("path")[["path", "mode", "layer_index"]]
    for row in found.itertuples():
        yield Evidence(say.format(row, stat.S_IMODE(row.mode)), int(row.layer_index))


def setuid(facts: ImageFacts) -> Iterator[Evidence]:
    files = facts.visible
    return _list(files[files["kind"].isin(["file", "hardlink"]) & (files["mode"] & 0o6000 > 0)], "{0.path} ({1:04o})")


def world_writable(facts: ImageFacts) -> Iterator[Evidence]:
    files = facts.visible
    everyone = files["mode"] & 0o002 > 0
    wrong = everyone & ((files["kind"] == "file") | ((files["kind"] == "directory") & (files["mode"] & 0o1000 == 0)))
    return _list(files[wrong], "{0.path} ({1:04o})")


def credentials(facts: ImageFacts) -> Iterator[Evidence]:
    """Hidden copies too: what a later layer deletes can be taken out of the earlier one."""
    files = facts.files[facts.files["kind"] == "file"]
    files = files[files["path"].str.contains(_CREDENTIALS) & ~files["path"].str.contains(_PACKAGED)]
    yield from _list(files[files["visible"]])
    yield from _list(files[~files["visible"]], "{0.path}, gone later, but stored in layer {0.layer_index}")


def git(facts: ImageFacts) -> Iterator[Evidence]:
    files = facts.files
    found = files[files["path"].str.endswith("/.git") & files["kind"].isin(["directory", "file"])]
    return _list(found.drop_duplicates("path"))


def _programs(names: frozenset[str]) -> Callable[[ImageFacts], Iterator[Evidence]]:
    """A check of programs on the usual paths: none of these must be there."""

    def check(facts: ImageFacts) -> Iterator[Evidence]:
        files = facts.visible[facts.visible["kind"] != "directory"]
        return _list(files[files["path"].str.extract(_PROGRAM)[0].isin(names)])

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
        yield Evidence(f"{folder}: uid {uid} can write {len(found)} of {len(files)} files, as {found['path'].min()}")


def _program_folder(facts: ImageFacts) -> str:
    """Without WORKDIR: the folder of the first file that the command names, the system's own apart."""
    words = [word for key in ("Entrypoint", "Cmd") for word in sequence(facts.config.get(key)) if isinstance(word, str)]
    named = [word for word in words if re.match(r"/(?!usr/s?bin/|usr/lib|s?bin/|lib)[^/]+/", word)]
    files = facts.visible
    found = files.loc[files["path"].isin(named) & (files["kind"] == "file"), "path"]
    if found.empty:
        raise Unknown("no WORKDIR, and the command names no file: which are the application's is not known")
    return str(found.iloc[0]).rpartition("/")[0]


# fmt: off
FILE_RULES = (
    Rule("no setuid and setgid files", "4.8", "CIS-DI-0008", "chmod a-s where they come, or drop the package.", setuid),
    Rule("nothing world-writable", None, None, "chmod o-w; shared folders get the sticky bit (1777).", world_writable),
    Rule("no keys and credential files", "4.10", "CIS-DI-0010",
         "Mount them (RUN --mount=type=secret), list them in .dockerignore; replace what got in.", credentials),
    Rule("no .git", None, "DKL-LI-0003", "List .git in .dockerignore: it holds every file that ever was.", git),
    Rule("no shell", None, None, "If it is to be distroless: take such a base, copy the program in.", _programs(_SHELLS)),
    Rule("no package manager", "4.3", "CIS-DI-0003", "If it is to be distroless: take such a base.",
         _programs(_MANAGERS)),
    Rule("application not writable", None, None, "COPY without --chown; let it write to its data alone.", app_writable),
)
# fmt: on
