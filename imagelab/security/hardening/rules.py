"""Hardening rules (``rules.toml``), and the table of their results."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from imagelab.core.frames import make_frame
from imagelab.security.decisions import Decision
from imagelab.security.scans.findings import SEVERITY

HARDENING_COLUMNS: dict[str, Any] = {
    "reference": "string",
    "rule": "string",
    "severity": SEVERITY,
    "cis": "string",
    "dockle": "string",
    "result": "string",
    "evidence": "string",
    "layer_index": "Int64",
    "origin": "string",
    "advice": "string",
    "accepted": "string",
}


def identity(text: str) -> int | None:
    """The number of a numeric uid or gid; None for a name."""
    return int(text) if re.fullmatch(r"\d{1,10}", text, re.ASCII) else None


def is_root(user: str) -> bool:
    """Whether ``USER[:GROUP]`` is root (also if empty), or Windows' administrator."""
    name = user.partition(":")[0]
    return name in ("", "root") or name.lower() == "containeradministrator" or identity(name) == 0


class Evidence(NamedTuple):
    """What was found, and the layer that it belongs to, if it is one layer."""

    text: str
    layer_index: int | None = None


class Unknown(Exception):
    """The check cannot be answered; the message is the reason."""


class HardeningRule(NamedTuple):
    """One rule: its name and severity, its ids elsewhere, what to do if it fails, and the check.

    The check yields evidence of a failure; without evidence the rule passes. It raises ``Unknown`` without an answer.
    """

    name: str
    severity: str
    cis: str | None
    dockle: str | None
    advice: str
    check: Callable[[Any], Iterator[Evidence]]


def load_rules(section: str, checks: Mapping[str, Callable[..., Any]]) -> tuple[HardeningRule, ...]:
    """The rules of a section of ``rules.toml``; ``checks`` has their functions, such as a module's ``globals()``.

    A rule with a ``setting`` compares one setting of a container: its function answers whether the value is wrong.
    """
    rows = tomllib.loads(Path(__file__).with_name("rules.toml").read_text("utf-8"))[section]
    rules = []
    for row in rows:
        check = checks[row["check"]]
        if "setting" in row:
            check = _setting_check(row["setting"], check, row["evidence"])
        rules.append(
            HardeningRule(row["name"], row["severity"], row.get("cis"), row.get("dockle"), row["advice"], check)
        )
    return tuple(rules)


def _setting_check(key: str, is_wrong: Callable[[Any], bool], evidence: str) -> Callable[[Any], Iterator[Evidence]]:
    def check(facts: Any) -> Iterator[Evidence]:
        if not facts.host:
            raise Unknown("docker inspect shows no HostConfig")
        if is_wrong(facts.host.get(key)):
            yield Evidence(evidence.format(facts.host.get(key)))

    return check


def run_rules(
    rules: Sequence[HardeningRule],
    facts: Any,
    reference: str,
    origins: Mapping[int, str] | None = None,
    accepted: Sequence[Decision] = (),
) -> pd.DataFrame:
    """Build the table of results: one row per piece of evidence; that of the base's layers is one row per rule."""
    rows: list[dict[str, Any]] = []
    for rule in rules:
        shown: dict[str, Any] = {"reference": reference, "rule": rule.name, "severity": rule.severity}
        shown |= {"cis": rule.cis, "dockle": rule.dockle}
        try:
            found = list(rule.check(facts))
        except Unknown as why:
            rows.append(shown | {"result": "unknown", "evidence": str(why), "advice": rule.advice})
            continue
        of_base: defaultdict[str | None, list[Evidence]] = defaultdict(list)  # by the reason that accepts it
        for item in found:
            origin = (origins or {}).get(item.layer_index if item.layer_index is not None else -1)
            reason = _accepting(rule.name, item.text, accepted)
            if origin == "base":
                of_base[reason].append(item)
            else:
                rows.append(shown | _failed(rule, item, origin, reason))
        for reason, items in of_base.items():
            several = f"{len(items)} in the base image, such as " if len(items) > 1 else ""
            rows.append(shown | _failed(rule, items[0]._replace(text=several + items[0].text), "base", reason))
        if not found:
            rows.append(shown | {"result": "passed"})
    frame = make_frame(rows, HARDENING_COLUMNS)
    order = frame.assign(rank=frame["result"].map({"failed": 0, "unknown": 1, "accepted": 2, "passed": 3}))
    keys, ascending = ["rank", "severity"], [True, False]
    return frame.loc[order.sort_values(keys, ascending=ascending, kind="stable").index].reset_index(drop=True)


def _failed(rule: HardeningRule, item: Evidence, origin: str | None, reason: str | None) -> dict[str, Any]:
    return {
        "result": "accepted" if reason else "failed",
        "evidence": item.text,
        "layer_index": item.layer_index,
        "origin": origin,
        "advice": rule.advice,
        "accepted": reason,
    }


def _accepting(rule: str, evidence: str, accepted: Sequence[Decision]) -> str | None:
    """The reason of the first decision about this rule, and about the path that the evidence begins with."""
    path = evidence.partition(" ")[0].rstrip(",").lstrip("/")
    fitting = (decision for decision in accepted if decision.id == rule)
    return next(
        (
            decision.statement
            for decision in fitting
            if not decision.paths or any(fits(path) for fits in decision.paths)
        ),
        None,
    )
