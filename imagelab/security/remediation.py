"""Turn findings into changes: what to edit, and which findings each edit removes."""

from __future__ import annotations

import difflib
import os
import re
from collections import defaultdict
from typing import Any, NamedTuple

import pandas as pd

from imagelab.build.dockerfile.read import Dockerfile, read_dockerfile
from imagelab.core.frames import make_frame
from imagelab.core.terms import LIKELY, POSSIBLE, SEVERITIES
from imagelab.images.tables.images import Reference
from imagelab.security.blame import BLAME_COLUMNS, blame, manager_of
from imagelab.security.compare import finding_key, names_of, plain_rows
from imagelab.security.origin import final_stages
from imagelab.security.scans.findings import is_counted

NO_FIX = "no fix yet"
REMEDIATION_COLUMNS: dict[str, str] = {
    "change": "string",
    "kind": "string",
    "file": "string",
    "line": "Int64",
    "findings": "Int64",
    **dict.fromkeys(reversed(SEVERITIES), "Int64"),
    "known_exploited": "Int64",
    "epss": "Float64",
    "packages": "string",
    "origin": "string",
    "confidence": "string",
    "remaining": "Int64",
    "diff": "string",
}
_SYSTEM = ("dpkg", "apk", "rpm")


class _Change(NamedTuple):
    """One edit; findings with an equal change are removed together."""

    kind: str  # base, package, system, secret, setting or none
    line: int | None = None
    subject: str | None = None  # the package, file or rule


def remediation(
    scan: pd.DataFrame,
    image: Reference | None = None,
    *,
    dockerfile: Dockerfile | str | os.PathLike[str] | None = None,
    base: Reference | None = None,
) -> pd.DataFrame:
    """List the changes that remove findings, the most effective first; each finding counts once.

    Parameters
    ----------
    scan : pandas.DataFrame
        From `read_scan` or `run_scan`; with ``image`` it is blamed first, and its files may be listed. A table from
        `blame` needs no image.
    image : Image or reference, optional
        The scanned image.
    dockerfile : Dockerfile, path or text, optional
        Adds lines; a path or text also adds diffs.
    base : Image or reference, optional
        The base image.

    Returns
    -------
    pandas.DataFrame
        ``REMEDIATION_COLUMNS``, a row per change: ``change`` (what to do), ``kind`` (base, package, system: packages of
        the distribution, secret, setting, none), ``file`` and ``line``, ``findings`` that it removes, also by severity,
        ``known_exploited`` among them, the highest ``epss``, ``packages``, ``origin`` (base or own), ``confidence``
        (likely or possible: nothing was built), ``remaining`` findings after this change and the ones above, ``diff``
        (unified, if the Dockerfile itself names the version). Findings without a fix are the last row. The same
        vulnerability of the same package and layer counts once, also when several scanners report it.
    """
    if image is not None:
        scan = blame(scan, image, base=base, dockerfile=dockerfile)
    elif missing := {name: pd.NA for name in BLAME_COLUMNS if name not in scan}:
        scan = scan.assign(**missing)
    file = os.fspath(dockerfile) if isinstance(dockerfile, str | os.PathLike) and "\n" not in str(dockerfile) else None
    read = read_dockerfile(dockerfile) if isinstance(dockerfile, str | os.PathLike) else dockerfile
    findings = scan[is_counted(scan)]
    names = names_of([findings])
    groups: defaultdict[_Change, list[Any]] = defaultdict(list)
    distinct = {(*finding_key(row, names), row.layer_index): row for row in plain_rows(findings.iloc[::-1])}
    for row in reversed(distinct.values()):
        groups[_change_of(row)].append(row)
    from_line = _from_line(read)
    rows = []
    for change, members in groups.items():
        line = from_line if change.kind == "base" else change.line
        text, diff = _describe(change, members, _source(dockerfile, file), line)
        rows.append(
            _row(change, members) | {"change": text, "line": line, "file": file if line else None, "diff": diff}
        )
    frame = make_frame(rows, REMEDIATION_COLUMNS)
    order = ["known_exploited", *reversed(SEVERITIES)]
    ranked = frame.assign(last=frame["kind"].eq("none")).sort_values(
        ["last", *order, "change"], ascending=[True, *[False] * len(order), True], kind="stable", ignore_index=True
    )
    ranked["remaining"] = int(frame["findings"].sum()) - ranked["findings"].cumsum()
    unfixed = ranked["kind"].eq("none")
    ranked.loc[unfixed, "remaining"] = ranked.loc[unfixed, "findings"]
    return ranked[list(REMEDIATION_COLUMNS)].astype(REMEDIATION_COLUMNS)


def _change_of(row: Any) -> _Change:
    """The change that removes a finding."""
    line = row.change_line
    if row.finding == "secret":
        return _Change("secret", line, row.path)
    if row.finding != "vulnerability":
        return _Change("setting", line, row.id) if row.finding == "misconfiguration" else _Change("none")
    if not row.fixed_version and row.status != "fixed":
        return _Change("none")
    if row.origin == "base":
        return _Change("base")
    manager = manager_of(row.purl, row.type)
    if manager in _SYSTEM:
        return _Change("system", line, f"layer {row.layer_index}" if row.layer_index is not None else None)
    return _Change("package", line, row.package)


def _row(change: _Change, members: list[Any]) -> dict[str, Any]:
    counts = {word: sum((row.severity or "unknown") == word for row in members) for word in SEVERITIES}
    origins = {row.origin for row in members} - {None}
    guessed = any(row.origin is None or row.origin_confidence == POSSIBLE for row in members)
    packages = sorted({row.package for row in members if row.package})
    return counts | {
        "kind": change.kind,
        "findings": len(members),
        "known_exploited": sum(row.known_exploited is True for row in members),
        "epss": max((row.epss for row in members if row.epss is not None), default=None),
        "packages": ", ".join(packages) or None,
        "origin": origins.pop() if len(origins) == 1 else None,
        "confidence": None if change.kind == "none" else POSSIBLE if guessed else LIKELY,
    }


def _describe(change: _Change, members: list[Any], source: str | None, line: int | None) -> tuple[str, str | None]:
    """What to do, and the diff of the Dockerfile if it names the version."""
    if change.kind == "none":
        return NO_FIX, None
    if change.kind == "base":
        return "rebuild on a newer base image", None
    if change.kind == "secret":
        return f"remove {change.subject or 'the secret'} from the image and replace the secret", None
    if change.kind == "setting":
        return members[0].title or str(change.subject), None
    upgrades = {}
    for name in sorted({row.package for row in members if row.package}):
        own = [row for row in members if row.package == name]
        upgrades[name] = (own[0].version, _target(own))
    if change.kind == "system":
        return "upgrade " + ", ".join(upgrades), _diff(source, line, upgrades)
    steps = [f"{name} {version or ''} → {target or 'a fixed version'}" for name, (version, target) in upgrades.items()]
    return "; ".join(steps) or "upgrade the package", _diff(source, line, upgrades)


def _target(rows: list[Any]) -> str | None:
    """The lowest version that fixes all findings: per finding the lowest fix above the installed version."""
    wanted = []
    for row in rows:
        fixes = sorted(filter(None, re.split(r"[,\s|]+", row.fixed_version or "")), key=_version_key)
        above = [fix for fix in fixes if _version_key(fix) > _version_key(row.version or "")]
        wanted += (above or fixes)[:1]
    return max(wanted, key=_version_key, default=None)


def _version_key(version: str) -> list[tuple[int, int, str]]:
    """Numbers compare as numbers; a pre-release (letters) is below the release."""
    parts = re.findall(r"\d+|[a-z]+", version.lower().removeprefix("v"))
    return [(1, int(part), "") if part.isdigit() else (-1, 0, part) for part in parts] + [(0, 0, "")]


def _source(dockerfile: Any, file: str | None) -> str | None:
    if file is not None:
        with open(file, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    return dockerfile if isinstance(dockerfile, str) else None


def _diff(source: str | None, line: int | None, upgrades: dict[str, tuple[str | None, str | None]]) -> str | None:
    """A unified diff with the new versions, from the instruction's line on."""
    if source is None or line is None:
        return None
    lines = source.splitlines(keepends=True)
    changed = list(lines)
    for number in range(line - 1, len(lines)):
        for name, (version, target) in upgrades.items():
            if version and target:
                pin = rf"(?<![\w.-])({re.escape(name)}\s*(?:===?|~=|@|=))\s*{re.escape(version)}(?![\w.])"
                changed[number] = re.sub(pin, lambda match, to=target: match[1] + to, changed[number])  # type: ignore[misc]
        if not lines[number].rstrip().endswith("\\"):
            break
    return "".join(difflib.unified_diff(lines, changed, "Dockerfile", "Dockerfile", n=1)) or None


def _from_line(read: Dockerfile | None) -> int | None:
    """The FROM that names the base image of the last stage."""
    if read is None or not len(read.stages):
        return None
    return int(read.stages["line"].iloc[final_stages(read.stages)[-1]])
