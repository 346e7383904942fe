"""Judge answers to exercises: rules over a Dockerfile, and values computed from the recorded data."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from imagelab.build.advice import advise_build
from imagelab.build.cache.plan import plan_build
from imagelab.build.dockerfile.read import Dockerfile
from imagelab.core.resources import data_path
from imagelab.images.load import load_image
from imagelab.images.tables.layers import layers
from imagelab.security.blame import blame
from imagelab.security.hardening.rules import is_root
from imagelab.security.origin import final_stages
from imagelab.security.scans.reader import read_scan
from imagelab.size.advice import advise
from imagelab.size.waste import efficiency

_SMALL = r"slim|alpine|distroless|busybox|scratch|chainguard|wolfi|minimal|micro"
_COMPILERS = r"\b(?:gcc|g\+\+|build-essential|build-base|clang|make|python3?-dev)\b"
_PIP = r"\bpip3?\b.*\binstall\b"


class Handed(NamedTuple):
    """A Dockerfile that was handed in: read, and laid into its context as ``context/Dockerfile``."""

    read: Dockerfile
    context: Path
    edits: list[str]

    def chain(self) -> pd.DataFrame:
        """The last stage and the stages that it starts from, in that order."""
        return self.read.stages.iloc[final_stages(self.read.stages)]

    def final(self, instruction: str) -> pd.Series:
        """The final image's instructions of one kind, as written with their flags."""
        steps = self.read.instructions
        steps = steps[steps["stage"].isin(self.chain()["stage"]) & (steps["instruction"] == instruction)]
        return (steps["flags"].fillna("") + " " + steps["arguments"]).str.replace(r"\\\s*\n", " ", regex=True)


class Rule(NamedTuple):
    asked: str
    fault: Callable[[Handed], str | None]
    """What is wrong with the Dockerfile; None if nothing."""


CHECKS: dict[str, Rule] = {}


def rule(asked: str) -> Callable[[Callable[[Handed], str | None]], Callable[[Handed], str | None]]:
    """Register a rule under its function's name, with what it asks for."""

    def register(function: Callable[[Handed], str | None]) -> Callable[[Handed], str | None]:
        CHECKS[function.__name__] = Rule(asked, function)
        return function

    return register


@rule("The last stage starts from a small base.")
def small_base(handed: Handed) -> str | None:
    base = str(handed.chain()["base"].iloc[-1])
    return None if re.search(_SMALL, base) else f"it starts from {base}: is there a smaller one of the family?"


@rule("No compiler is installed in the final image.")
def no_compiler(handed: Handed) -> str | None:
    lines = handed.final("RUN")
    found = lines[lines.str.contains(rf"(?:install|add)\b.*{_COMPILERS}")]
    return f"RUN {found.iloc[0].strip()[:80]} is in the final image" if len(found) else None


@rule("apt's update, install and cleanup are one RUN.")
def no_lists(handed: Handed) -> str | None:
    found = advise_build(handed.context / "Dockerfile").query("rule in ['apt-update-alone', 'apt-cleanup']")
    return f"line {found['line'].iloc[0]}: {found['what'].iloc[0]}" if len(found) else None


@rule("pip's downloads do not stay in the final image.")
def no_pip_cache(handed: Handed) -> str | None:
    lines = handed.final("RUN")
    kept = lines[lines.str.contains(_PIP) & ~lines.str.contains(r"--no-cache-dir|--mount=type=cache\S*/pip")]
    off = handed.final("ENV").str.contains(r"\bPIP_NO_CACHE_DIR\b").any()
    return f"RUN {kept.iloc[0].strip()[:80]} keeps them" if len(kept) and not off else None


@rule("What is installed reaches the final image, commands included.")
def commands_arrive(handed: Handed) -> str | None:
    copies = handed.final("COPY")
    copies = copies[copies.str.contains("--from=")]
    if not handed.final("RUN").str.contains(_PIP).any() and not len(copies):
        return "nothing is installed in the final image, or copied into it from a stage"
    alone = copies.str.contains(r"(?:site|dist)-packages").any() and not copies.str.contains(r"/bin\b").any()
    return "site-packages are copied alone: the commands in bin are lost" if alone else None


@rule("An edit of the code installs nothing again.")
def install_stays_cached(handed: Handed) -> str | None:
    plan = plan_build(handed.context, handed.edits)
    again = plan[plan["arguments"].str.contains(_PIP) & ~plan["hit"]]
    installs = handed.read.instructions["arguments"].str.contains(_PIP).fillna(False).any()
    if not installs:
        return "nothing is installed"
    return f"line {again['line'].iloc[0]} runs again: {again['reason'].iloc[0]}" if len(again) else None


@rule("pip installs with a cache mount on its cache, and uses it.")
def cache_mount(handed: Handed) -> str | None:
    steps = handed.read.instructions.query("instruction == 'RUN'")
    text = (steps["flags"].fillna("") + " " + steps["arguments"]).str.replace("\n", " ")
    lines = text[text.str.contains(_PIP)]
    if not len(lines):
        return "no RUN installs with pip"
    if not lines.str.contains(r"--mount=(?=\S*type=cache)\S*/pip").all():
        return "an installation has no cache mount on /root/.cache/pip"
    return "--no-cache-dir leaves the mount empty" if lines.str.contains("--no-cache-dir").any() else None


@rule("The container runs as another user than root.")
def other_user(handed: Handed) -> str | None:
    users = handed.final("USER").str.strip()
    user = users.iloc[-1] if len(users) else ""
    return "it runs as root" if is_root(user) else None


@rule("No RUN stores the files a second time for their owner.")
def no_chown_again(handed: Handed) -> str | None:
    return "RUN chown stores every file again" if handed.final("RUN").str.contains(r"\bchown\b").any() else None


def wasted_bytes() -> int:
    return int(efficiency("example:chmod-in-layer-before")["wasted"].iloc[0])


def package_to_change() -> str:
    findings = blame(read_scan(data_path("scans/service-slim.facts.trivy.json")), load_image("example:service-slim"))
    mine = findings[(findings["remedy"] == "change own lines") & (findings["severity"] >= "medium")]
    return str(mine["package"].value_counts().idxmax())


def smallest_base() -> str:
    names = ["python:3.10", "python:3.10-slim", "python:3.10-alpine", "ubuntu:22.04"]
    recorded = [load_image(f"example:published-{name.replace(':', '-')}-2023") for name in names]
    sent = [layers(image)["content_size"].sum() for image in recorded]
    return names[sent.index(min(sent))]


def late_cleanup_helps() -> bool:
    late, never = efficiency(["example:whiteout-before", "example:whiteout-after"])["stored"]
    return bool(late <= never)


def steps_again() -> list[int]:
    plan = plan_build(data_path("build/order-good"), ["app.py"])
    return [int(step) for step in plan.loc[~plan["hit"], "step"]]


def largest_advice() -> list[Any]:
    found = advise("example:multi-stage-before")
    top = found[~found["from_base"].fillna(False)].iloc[0]
    return [str(top["rule"]), int(top["layer_index"])]


ANSWERS: dict[str, Callable[[], Any]] = {
    answer.__name__: answer
    for answer in (wasted_bytes, package_to_change, smallest_base, late_cleanup_helps, steps_again, largest_advice)
}
"""The right answers, worked out when they are asked for."""
