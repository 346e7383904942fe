"""Judge a Dockerfile without building it: each rule returns the fault that it sees.

Most rules cannot pass anything, since a script or a base image may do what no line shows: without a fault they return
`UNSEEN`. ``""`` is returned only where the Dockerfile itself decides. The names are those of ``checks`` in
``data/exercises/exercises.toml``; `imagelab.course.image_rules` has the same ones for an image that was built.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from imagelab.build.cache.plan import plan_build
from imagelab.build.dockerfile.read import Dockerfile
from imagelab.improve.advice import advise_build
from imagelab.security.hardening.rules import is_root
from imagelab.security.origin import final_stages

UNSEEN = "No fault is visible, but only a build can confirm it."
_SMALL = r"slim|alpine|distroless|busybox|scratch|chainguard|wolfi|minimal|micro"
_COMPILER = (
    r"\b(?:apt-get|apt|apk)\b[^&;]*\b(?:install|add)\b[^&;]*\s(?:gcc|g\+\+|build-essential|build-base|clang|make)\b"
)
_INSTALL = r"\bpip3?\b.*\binstall\b"


class Answer(NamedTuple):
    """A Dockerfile that was handed in, written into its context as ``context/Dockerfile``."""

    read: Dockerfile
    context: Path
    edits: list[str]

    def base(self) -> str:
        return str(self.read.stages["base"].iloc[final_stages(self.read.stages)[-1]])

    def final(self, instruction: str) -> list[str]:
        """Return the final image's instructions of one kind, with flags and here-documents, ARG and ENV expanded."""
        stages = self.read.stages["stage"].iloc[final_stages(self.read.stages)]
        steps = self.read.instructions
        steps = steps[steps["stage"].isin(stages) & (steps["instruction"] == instruction)]
        return list(_text(steps))


def with_cache_probe(answer: Answer) -> str:
    """Return the Dockerfile with a RUN after each pip installation that prints pip's cache folder and the mounts' targets.

    The printed line is ``imagelab-cache|FOLDER|TARGETS|writable``, the last word only if pip may write there.
    """
    lines = (answer.context / "Dockerfile").read_text(encoding="utf-8").split("\n")
    steps = answer.read.instructions.query("instruction == 'RUN'")
    commands = steps["expanded"] + " " + steps["heredocs"].fillna("")
    for flags, text, end in list(zip(steps["flags"].fillna(""), commands, steps["end_line"], strict=True))[::-1]:
        if pip := re.search(r"((?:\w+=\S+\s+)*\S*pip3?)\s[^&;|]*\binstall\b", text):
            targets = " ".join(re.findall(r"--mount=(?=\S*type=cache)\S*?(?:target|dst|destination)=([^\s,]+)", flags))
            settings = " ".join(re.findall(r"--no-cache-dir|--cache-dir[= ]\S+", text))
            folder = f"$({pip[1]} {settings} cache dir)"
            probe = f'echo "imagelab-cache|$d|{targets}|$(mkdir -p "$d" && test -w "$d" && echo writable)"'
            lines.insert(int(end), f"RUN {flags} d={folder}; {probe}")
    return "\n".join(lines)


def _text(steps: pd.DataFrame) -> pd.Series:
    return (steps["flags"].fillna("") + " " + steps["expanded"] + " " + steps["heredocs"].fillna("")).str.strip()


def small_base(answer: Answer) -> str:
    if re.search(_SMALL, answer.base()):
        return ""
    return UNSEEN if "@" in answer.base() else f"It starts from {answer.base()}. Is there a smaller variant?"


def no_compiler(answer: Answer) -> str:
    found = [
        line for line in answer.final("RUN") if re.search(_COMPILER, line) and not re.search(r"\b(?:purge|del)\b", line)
    ]
    return f"The final image keeps what `{found[0][:80]}` installs." if found else UNSEEN


def no_lists(answer: Answer) -> str:
    found = advise_build(answer.context / "Dockerfile").query("rule in ['apt-update-alone', 'apt-cleanup']")
    return f"Line {found['line'].iloc[0]}: {found['what'].iloc[0]}" if len(found) else UNSEEN


def no_pip_cache(answer: Answer) -> str:
    off = r"--no-cache|--mount=\S*type=cache|\brm\b"
    kept = [line for line in answer.final("RUN") if re.search(_INSTALL, line) and not re.search(off, line)]
    settings = " ".join(answer.final("ENV"))
    return (
        f"`{kept[0][:80]}` keeps pip's downloads in the layer."
        if kept and "PIP_NO_CACHE_DIR" not in settings
        else UNSEEN
    )


def installed(answer: Answer) -> str:
    copies = " ".join(line for line in answer.final("COPY") if "--from=" in line)
    if not copies and not answer.final("RUN"):
        return "Nothing is installed in the final image, or copied into it from a stage."
    alone = "-packages" in copies and not re.search(r"/bin\b", copies)
    return "Only site-packages is copied: the commands in bin are lost." if alone else UNSEEN


def install_stays_cached(answer: Answer) -> str:
    plan = plan_build(answer.context, answer.edits)
    installs = plan[plan["arguments"].str.contains(_INSTALL)]
    reruns = installs[~installs["hit"]]
    if len(reruns):
        return f"Line {reruns['line'].iloc[0]} runs again: {reruns['reason'].iloc[0]}"
    return "" if len(installs) else UNSEEN


def cache_mount(answer: Answer) -> str:
    lines = [line for line in answer.final("RUN") if re.search(_INSTALL, line)]
    if not all("type=cache" in line for line in lines):
        return "An installation has no cache mount: RUN --mount=type=cache,target=…"
    return "--no-cache-dir leaves the mount empty." if "--no-cache-dir" in " ".join(lines) else UNSEEN


def other_user(answer: Answer) -> str:
    return "It runs as root." if is_root((answer.final("USER") or [""])[-1]) else UNSEEN


def unseen(answer: Answer) -> str:
    return UNSEEN


RULES = {
    rule.__name__: rule
    for rule in (
        small_base, no_compiler, no_lists, no_pip_cache, installed, install_stays_cached, cache_mount, other_user,
    )
} | {"no_second_copy": unseen, "runs": unseen}  # fmt: skip
