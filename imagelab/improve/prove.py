"""Prove that an edit keeps the image: the same files, the same configuration, and a program that still runs."""

from __future__ import annotations

import hashlib
import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from imagelab.core.model import Image
from imagelab.images.load import load_image
from imagelab.images.tables.files import files
from imagelab.images.tables.packages import package_files
from imagelab.improve.edits import Edit, Project
from imagelab.improve.engine import Trial
from imagelab.improve.guard import LABEL
from imagelab.improve.installers import SYSTEM

#: Logs of the system's package managers, which record how each was called.
_LOGS = r"^/var/log/(?:apt/|dpkg\.log|alternatives\.log)"
#: What a package manager records of the packages; it changes where some are no longer installed.
_PACKAGE_STATE = (
    r"^/(?:var/(?:lib/(?:dpkg|apt|systemd|ucf|pam)|log|cache/(?:debconf|ldconfig|man))"
    r"|etc/(?:alternatives|ld\.so\.cache))(?:/|$)"
)


def stored_bytes(found: pd.DataFrame) -> int:
    """Bytes of regular files in all layers."""
    return int(found.loc[found["kind"] == "file", "size"].sum())


@dataclass(frozen=True)
class Built:
    """A build of the project: its image, and what it took."""

    project: Project
    tag: str
    seconds: float
    log: Path

    @cached_property
    def image(self) -> Image:
        return load_image(f"docker-daemon:{self.tag}", redact=False)

    @cached_property
    def files(self) -> pd.DataFrame:
        return files(self.image, digests=True)

    @property
    def listed(self) -> Project:
        """The project with the files of its image."""
        return replace(self.project, layers=self.files, depth=len(self.image.layers))

    @cached_property
    def paths(self) -> pd.Series:
        """Each path of the final filesystem, and everything about it that a change would show in."""
        seen = self.files[self.files["visible"]]
        digest = self.files["digest"].astype("object").reindex(seen["inode"].astype("object")).set_axis(seen.index)
        kind = seen["kind"].astype("str").replace("hardlink", "file")
        target = seen["link_target"].where(kind == "symlink", "")
        parts = [
            seen["mode"],
            seen["uid"],
            seen["gid"],
            *(part.fillna("") for part in (target, seen["xattrs"], digest)),
        ]
        text = kind.str.cat([part.astype("str") for part in parts], sep="|")
        return text.set_axis(seen["path"]).loc[lambda s: ~s.index.duplicated(keep="last")]

    @cached_property
    def size(self) -> int:
        """Bytes of regular files in all layers."""
        return stored_bytes(self.files)

    @cached_property
    def wasted(self) -> int:
        return int(self.files.loc[self.files["reason"].notna(), "size"].sum())

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The configuration without the trial's label."""
        config = dict(self.image.config.get("config") or {})
        labels = {k: v for k, v in (config.pop("Labels", None) or {}).items() if k != LABEL}
        kept = {k: v for k, v in config.items() if v not in (None, "", [], {}) and k not in ("Image", "Hostname")}
        return kept | {"Labels": labels, "platform": self.image.platform}


@dataclass
class Noise:
    """What differs between fresh builds of one Dockerfile: paths that change, and folders whose paths come and go."""

    paths: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    bytes: int = 0
    builds: int = 0

    def add(self, first: Built, other: Built) -> None:
        changed, gone, new = compare(first.paths, other.paths)
        self.paths |= {*changed, *gone, *new}
        self.folders |= {path.rpartition("/")[0] for path in (*gone, *new)}
        self.builds += 1
        self.bytes = max(self.bytes, abs(first.size - other.size))


def compare(before: pd.Series, after: pd.Series) -> tuple[list[str], list[str], list[str]]:
    """Paths that differ, paths of the first alone, and of the second alone."""
    both = before.index.intersection(after.index)
    changed = both[(before.loc[both] != after.loc[both]).to_numpy()]
    return list(changed), list(before.index.difference(both)), list(after.index.difference(both))


def changes(before: Built, after: Built, edits: Sequence[Edit], noise: Noise) -> list[str]:
    """What differs between two images beyond what the edits announce and the noise: paths and settings."""
    touches = [pattern for edit in edits for pattern in edit.touches]
    packages = any(edit.packages for edit in edits)
    calls = any(pattern.search(line) for pattern in SYSTEM for edit in edits for line in edit.lines)
    touches += [_LOGS] * calls + [_PACKAGE_STATE] * packages
    announced = re.compile("|".join(touches) or r"(?!)")
    changed, gone, new = compare(before.paths, after.paths)
    owned = _removed_package_files(before, after) if packages else set()
    old, new_text = _digests(before.project), _digests(after.project)

    def is_expected(path: str) -> bool:
        return path in noise.paths or bool(announced.search(path))

    found = [f"changed {path}" for path in changed if not is_expected(path) and _digest(before, path) not in old]
    found += [f"lost {path}" for path in gone if not is_expected(path) and path not in owned]
    found += [
        f"new {path}"
        for path in new
        if not is_expected(path)
        and path.rpartition("/")[0] not in noise.folders
        and _digest(after, path) not in new_text
    ]
    keys = sorted(before.settings.keys() | after.settings.keys())
    return found + [f"setting {key}" for key in keys if before.settings.get(key) != after.settings.get(key)]


def _digests(project: Project) -> set[str]:
    """Digests of the Dockerfile and the ignore file, which ``COPY .`` brings along."""
    texts = [project.text, project.ignore_text or ""]
    return {"sha256:" + hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest() for text in texts}


def _digest(built: Built, path: str) -> str:
    return str(built.paths[path]).rpartition("|")[2]


def _removed_package_files(before: Built, after: Built) -> set[str]:
    """Files of the packages that the second image no longer has."""
    old, new = package_files(before.image), package_files(after.image)
    system = old[old["manager"].isin(["dpkg", "apk"])]
    gone = set(system["package"]) - set(new["package"])
    kept = set(system.loc[~system["package"].isin(gone), "path"])
    owned = set(system.loc[system["package"].isin(gone), "path"]) - kept
    # bytecode, links and folders that a package's scripts make
    lost = before.paths[~before.paths.index.isin(after.paths.index)]
    is_made = lost.str.match("symlink|directory") & lost.index.str.match("/usr/|/etc/|/var/lib/")
    return owned | set(lost.index[is_made | lost.index.str.contains("/__pycache__/")])


@dataclass(frozen=True)
class Check:
    """What a container of each image must do: ``command``, else the image's own health check, else start."""

    trial: Trial
    command: str | None = None
    network: str = "none"

    def result(self, built: Built) -> str:
        """How the check ends, in words that are equal for two images that behave the same."""
        run = ["run", "--rm", f"--label={LABEL}={self.trial.run}", f"--network={self.network}"]
        if self.command is not None:
            for words in (["/bin/sh", "-c", self.command], shlex.split(self.command)):
                status, output = self.trial.docker(*run, f"--entrypoint={words[0]}", built.tag, *words[1:], timeout=300)
                if status != 127 or "OCI runtime" not in output:  # else the image has no such program: no shell
                    break
            return f"exit code {status}"
        return self._started(built)

    def missing_libraries(self, built: Built, paths: Sequence[str]) -> list[str]:
        """Shared libraries that the programs below the paths no longer find; none where the image has no ldd."""
        if not paths:
            return []
        run = ["run", "--rm", f"--label={LABEL}={self.trial.run}", "--network=none", "--user=0", "--entrypoint=/bin/sh"]
        find = f"find {shlex.join(paths)} -type f \\( -perm -100 -o -name '*.so*' \\) -exec ldd {{}} + 2>/dev/null"
        _, output = self.trial.docker(*run, built.tag, "-c", find, timeout=300)
        return sorted(set(re.findall(r"(\S+) => not found", output)))

    def _started(self, built: Built) -> str:
        """Start the image as it is: does it become healthy, does its program keep running or how does it exit?"""
        name = f"imagelab-improve-{self.trial.run}-{self.trial.builds}-{time.monotonic_ns()}"
        options = [
            f"--name={name}",
            f"--label={LABEL}={self.trial.run}",
            f"--network={self.network}",
            "--no-healthcheck",
        ]
        status, output = self.trial.docker("run", "-d", *options, built.tag, timeout=120)
        try:
            if status:
                why = re.sub(r".*?(exec|executable|permission|no such).*", r"\1", output, flags=re.S)
                return f"does not start: {why[:40]}"
            test = (built.settings.get("Healthcheck") or {}).get("Test") or []
            for _ in range(15 if test[:1] in (["CMD"], ["CMD-SHELL"]) else 0):
                words = test[1:] if test[0] == "CMD" else ["/bin/sh", "-c", test[1]]
                if self.trial.docker("exec", name, *words, timeout=60)[0] == 0:
                    return "healthy"
                time.sleep(1)
            for _ in range(4):
                time.sleep(1)
                _, state = self.trial.docker("inspect", "--format", "{{.State.Running}} {{.State.ExitCode}}", name)
                running, _, code = state.strip().partition(" ")
                if running != "true":
                    return f"exit code {code}"
            return "runs"
        finally:
            self.trial.docker("rm", "-f", "-v", name)
