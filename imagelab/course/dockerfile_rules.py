"""Judge a Dockerfile without building it: each rule returns the fault that it sees.

Most rules cannot pass anything, since a script or a base image may do what no line shows: without a fault they return
`UNSEEN`. ``""`` is returned only where the Dockerfile itself decides. The names are those of ``checks`` in
``data/exercises/exercises.toml``; `imagelab.course.image_rules` has the same ones for an image that was built.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from imagelab.build.cache.plan import plan_build
from imagelab.build.dockerfile.read import Dockerfile
from imagelab.core.resources import data_path
from imagelab.course import answers
from imagelab.improve.advice import advise_build
from imagelab.security.hardening.rules import is_root
from imagelab.security.origin import final_stages

UNSEEN = "No fault is visible, but only a build can confirm it."
_PROGRAM = r"[\w./~${}-]*"
#: A command of pip or uv that downloads: how it is called (with its environment), and the rest of it.
_INSTALL = re.compile(
    rf"((?:\w+=\S+\s+)*(?:{_PROGRAM}python[\d.]*\s+-m\s+)?{_PROGRAM}\b(?:uv|pip[\d.]*))\s([^&;|\n]*\b(?:install|sync|wheel|download)\b[^&;|\n]*)"
)
_NO_CACHE = r"--no-cache|\b(?:PIP_NO_CACHE_DIR|UV_NO_CACHE)=|--no-index"


class Answer(NamedTuple):
    """A Dockerfile that was handed in, written into its context as ``context/Dockerfile``."""

    read: Dockerfile
    context: Path
    edits: list[str]

    def base(self) -> str:
        return str(self.read.stages["base"].iloc[final_stages(self.read.stages)[-1]])

    def lines(self, instruction: str, final: bool = True) -> list[str]:
        """Return the instructions of one kind, with flags and here-documents, ARG and ENV expanded; of the final image or all."""
        steps = self.read.instructions
        steps = steps[steps["instruction"] == instruction]
        if final:
            steps = steps[steps["stage"].isin(self.read.stages["stage"].iloc[final_stages(self.read.stages)])]
        text = steps["flags"].fillna("") + " " + steps["expanded"] + " " + steps["heredocs"].fillna("")
        return list(text.str.strip())

    def caching(self, final: bool = True) -> list[str] | None:
        """Return the RUNs where pip or uv keeps what it downloads; None if no RUN shows an installation."""
        off = re.search(_NO_CACHE, " ".join(self.lines("ENV", final)))
        commands = [(line, found[0]) for line in self.lines("RUN", final) for found in _INSTALL.finditer(line)]
        return [line for line, command in commands if not (off or re.search(_NO_CACHE, command))] if commands else None


def with_cache_probe(answer: Answer, mark: str) -> str:
    """Return the Dockerfile with marks for what pip and uv keep, and write the programs that make them beside it.

    In every RUN ``exercises/hook`` is on PYTHONPATH and PATH, so that pip and uv themselves name their folder, however they
    are called and set. A RUN after it prints ``imagelab-cache|FOLDER|usable|kept|``, where ``kept`` means a mark of an
    earlier build. A file ``kept`` stays there, which is in the image if a layer keeps the folder. The first part of ``mark``
    names the check, the second one the build.
    """
    hook, added = answer.context / "imagelab-hook", answers.data()["hook"]
    (hook / "printed").mkdir(parents=True, exist_ok=True)
    (hook / "printed").chmod(0o777)  # whoever installs writes there
    for name in ("sitecustomize.py", "uv"):
        (hook / name).write_text(data_path(f"exercises/hook/{name}").read_text("utf-8").replace("MARK", mark), "utf-8")
        (hook / name).chmod(0o755)
    lines = (answer.context / "Dockerfile").read_text(encoding="utf-8").split("\n")
    for step in list(answer.read.instructions.query("instruction == 'RUN'").itertuples())[::-1]:
        lines.insert(int(step.end_line), added["after"])
        lines.insert(int(step.line) - 1, added["before"])
    return "\n".join(lines)


def small_base(answer: Answer) -> str:
    if re.search(answers.data()["small"], answer.base()):
        return ""
    return UNSEEN if "@" in answer.base() else f"It starts from {answer.base()}. Is there a smaller variant?"


def no_compiler(answer: Answer) -> str:
    compiler, removed = answers.data()["compiler"], r"\b(?:purge|del)\b"
    found = [line for line in answer.lines("RUN") if re.search(compiler, line) and not re.search(removed, line)]
    return f"The final image keeps what `{found[0][:80]}` installs." if found else UNSEEN


def no_lists(answer: Answer) -> str:
    found = advise_build(answer.context / "Dockerfile").query("rule in ['apt-update-alone', 'apt-cleanup']")
    return f"Line {found['line'].iloc[0]}: {found['what'].iloc[0]}" if len(found) else UNSEEN


def no_pip_cache(answer: Answer) -> str:
    removed = r"--mount=\S*type=(?:cache|tmpfs)|\brm\b|\bcache (?:purge|clean|prune)\b"
    kept = [line for line in answer.caching() or () if not re.search(removed, line)]
    return f"`{kept[0][:80]}` keeps pip's downloads in the layer." if kept else UNSEEN


def installed(answer: Answer) -> str:
    if not answer.lines("RUN") and not any("--from=" in line for line in answer.lines("COPY")):
        return "Nothing is installed in the final image, or copied into it from a stage."
    return UNSEEN


def commands(answer: Answer) -> str:
    copies = " ".join(line for line in answer.lines("COPY") if "--from=" in line)
    alone = "-packages" in copies and not re.search(r"/bin\b", copies)
    return "Only site-packages is copied: the commands in bin are lost." if alone else UNSEEN


def install_stays_cached(answer: Answer) -> str:
    plan = plan_build(answer.context, answer.edits)
    installs = plan[[bool(_INSTALL.search(line)) for line in plan["arguments"]]]
    reruns = installs[~installs["hit"]]
    if len(reruns):
        return f"Line {reruns['line'].iloc[0]} runs again: {reruns['reason'].iloc[0]}"
    return "" if len(installs) else UNSEEN


def cache_mount(answer: Answer) -> str:
    lines = [line for line in answer.lines("RUN", final=False) if _INSTALL.search(line)]
    if lines and not any("type=cache" in line for line in lines):
        return "An installation has no cache mount: RUN --mount=type=cache,target=…"
    caching = any("type=cache" in line for line in answer.caching(final=False) or ())
    return UNSEEN if caching or not lines else "--no-cache-dir or PIP_NO_CACHE_DIR leaves the mount empty."


def other_user(answer: Answer) -> str:
    return "It runs as root." if is_root((answer.lines("USER") or [""])[-1]) else UNSEEN


def unseen(answer: Answer) -> str:
    return UNSEEN
