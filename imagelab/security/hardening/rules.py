"""What every hardening rule is made of, and how its answers become a frame.

Ids are those of the CIS Docker Benchmark (as docker-bench-security 1.3.6 numbers them) and of dockle.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd

from imagelab.core.frames import make_frame

HARDENING_COLUMNS = {
    "reference": "string",
    "rule": "string",
    "cis": "string",
    "dockle": "string",
    "result": "string",
    "evidence": "string",
    "layer_index": "Int64",
    "advice": "string",
}


def identity(text: str) -> int | None:
    """A uid or gid that is written as a number; None for a name."""
    return int(text) if re.fullmatch(r"\d{1,10}", text, re.ASCII) else None


def is_root(user: str) -> bool:
    """Whether ``USER[:GROUP]`` says root (as nothing does), or Windows' administrator."""
    name = user.partition(":")[0]
    return name in ("", "root") or name.lower() == "containeradministrator" or identity(name) == 0


class Evidence(NamedTuple):
    """What was found, and in which layer where it is one's."""

    text: str
    layer_index: int | None = None


class Unknown(Exception):
    """The check cannot be answered from what is at hand; says why."""


class Rule(NamedTuple):
    """One rule: its name, its ids elsewhere, what to do where it fails, and the check.

    The check yields pieces of evidence against: none is passed. It raises ``Unknown`` where it cannot tell.
    """

    name: str
    cis: str | None
    dockle: str | None
    advice: str
    check: Callable[[Any], Iterator[Evidence]]


def run_rules(rules: Sequence[Rule], facts: Any, reference: str) -> pd.DataFrame:
    """The frame of every rule's answer."""
    rows: list[dict[str, Any]] = []
    for rule in rules:
        shown = {"reference": reference, "rule": rule.name, "cis": rule.cis, "dockle": rule.dockle}
        try:
            found = list(rule.check(facts))
        except Unknown as why:
            rows.append(shown | {"result": "unknown", "evidence": str(why), "advice": rule.advice})
            continue
        failed = shown | {"result": "failed", "advice": rule.advice}
        rows += [failed | {"evidence": one.text, "layer_index": one.layer_index} for one in found]
        if not found:
            rows.append(shown | {"result": "passed"})
    return make_frame(rows, HARDENING_COLUMNS)
