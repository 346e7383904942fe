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
# pip run by root does not use a cache that another user owns.
_PROBE = (
    'mkdir -p "$d/http" "$d/http-v2"; u=; k=; [ -w "$d" ] && { [ -O "$d" ] || [ "$(id -u)" != 0 ]; } && u=usable; '
    '[ -e "$d/http/$MARK" ] && [ -e "$d/http-v2/$MARK" ] && k=kept; touch "$d/http/$MARK" "$d/http-v2/$MARK"; '
    'echo "imagelab-cache|$d|$u|$k|"'
)


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
    """Return the Dockerfile with a RUN after each installation that looks for a mark in pip's (or uv's) cache and leaves one.

    The build argument ``MARK`` names the mark; another ``ROUND`` runs the probe again. The
    printed line is ``imagelab-cache|FOLDER|usable|kept|``. The mark is a file among pip's own, so that whatever empties
    the cache removes it.
    """
    lines = (answer.context / "Dockerfile").read_text(encoding="utf-8").split("\n")
    steps = answer.read.instructions.query("instruction == 'RUN'")
    commands = steps["expanded"] + " " + steps["heredocs"].fillna("")
    for flags, text, end in list(zip(steps["flags"].fillna(""), commands, steps["end_line"], strict=True))[::-1]:
        if tool := re.search(r"((?:\w+=\S+\s+)*\S*(?:\buv|\bpip3?))\s[^&;|\n]*\b(?:install|sync)\b", text):
            settings = " ".join(re.findall(r"--no-cache(?:-dir)?\b|--cache-dir[= ]\S+", text))
            exports = "".join(f"{line}; " for line in re.findall(r"\bexport [^&;\n]+", text[: tool.start()]))
            find = f"{exports}d=$({tool[1]} {settings} cache dir)"
            lines.insert(int(end), f"ARG MARK ROUND\nRUN {flags} {find}; {_PROBE}")
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
    off, settings = r"--no-cache|--mount=\S*type=cache|\brm\b|PIP_NO_CACHE_DIR", " ".join(answer.final("ENV"))
    kept = [line for line in answer.final("RUN") if re.search(_INSTALL, line) and not re.search(off, line + settings)]
    return f"`{kept[0][:80]}` keeps pip's downloads in the layer." if kept else UNSEEN


def installed(answer: Answer) -> str:
    if not answer.final("RUN") and not any("--from=" in line for line in answer.final("COPY")):
        return "Nothing is installed in the final image, or copied into it from a stage."
    return UNSEEN


def commands(answer: Answer) -> str:
    copies = " ".join(line for line in answer.final("COPY") if "--from=" in line)
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
