"""Turn findings into changes: what to edit, and which findings each edit removes."""

from __future__ import annotations

import difflib
import os
import re
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from imagelab.build.dockerfile.read import Dockerfile, read_dockerfile
from imagelab.core.errors import ArchiveError, ImagelabError
from imagelab.core.frames import make_frame
from imagelab.core.terms import LIKELY, POSSIBLE, SEVERITIES
from imagelab.images.tables.images import Reference, one_image
from imagelab.security.blame import BLAME_COLUMNS, blame, manager_of
from imagelab.security.compare import finding_key, names_of, plain_rows
from imagelab.security.origin import final_stages
from imagelab.security.prove import prove as prove_changes
from imagelab.security.removable import removable
from imagelab.security.scans.findings import is_counted

NO_FIX = "no fix yet"
REMEDIATION_COLUMNS: dict[str, str] = {
    "change": "string",
    "findings": "Int64",
    **dict.fromkeys(reversed(SEVERITIES), "Int64"),
    "known_exploited": "Int64",
    "epss": "Float64",
    "remaining": "Int64",
    "kind": "string",
    "file": "string",
    "line": "Int64",
    "packages": "string",
    "origin": "string",
    "confidence": "string",
    "diff": "string",
    "outcome": "string",
}
_SYSTEM = ("dpkg", "apk", "rpm")


class _Change(NamedTuple):
    """One edit; findings with an equal change are removed together."""

    kind: str  # base, package, system, remove, secret, setting or none
    line: int | None = None
    subject: str | None = None  # the package, file or rule


def remediation(
    scan: pd.DataFrame,
    image: Reference | None = None,
    *,
    dockerfile: Dockerfile | str | os.PathLike[str] | None = None,
    base: Reference | None = None,
    prove: str | None = None,
) -> pd.DataFrame:
    """List the changes that remove findings, the most effective first; each finding counts once.

    The first change is the one that removes most; every next one is chosen for what the changes before it leave.

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
    prove : str, optional
        A scanner of `run_scan`. It builds the Dockerfile (a path; its folder is the context) as it is and with each
        diff, on the engine that ``docker`` uses, and scans both: minutes.

    Returns
    -------
    pandas.DataFrame
        ``REMEDIATION_COLUMNS``, a row per change: ``change`` (what to do), ``findings`` that it removes, also by severity,
        ``known_exploited`` among them, the highest ``epss``, ``remaining`` findings after this change and the ones above,
        ``kind`` (base, package, system: packages of the distribution, remove, secret, setting, none), ``file`` and
        ``line``, ``packages``, ``origin`` (base or own), ``confidence`` (possible, likely, or proven: built and scanned
        again), ``diff`` (unified, if the Dockerfile itself names the version or the package), ``outcome`` (of
        ``prove``). Findings without a fix are the last row. The same vulnerability of the same package and layer counts
        once, also when several scanners report it. ``remove``: a program that a layer above the base installed, which
        no package depends on and the image's command does not start; it takes along what only it needs.
    """
    if image is not None and not set(BLAME_COLUMNS) <= set(scan.columns):
        scan = blame(scan, image, base=base, dockerfile=dockerfile)
    elif missing := {name: pd.NA for name in BLAME_COLUMNS if name not in scan}:
        scan = scan.assign(**missing)
    file = os.fspath(dockerfile) if isinstance(dockerfile, str | os.PathLike) and "\n" not in str(dockerfile) else None
    if prove and file is None:
        raise ImagelabError("prove builds the changes: give dockerfile, a path.")
    read = read_dockerfile(dockerfile) if isinstance(dockerfile, str | os.PathLike) else dockerfile
    findings = scan[is_counted(scan)]
    names = names_of([findings])
    distinct = {(*finding_key(row, names), row.layer_index): row for row in plain_rows(findings.iloc[::-1])}
    candidates = _candidates(list(reversed(distinct.values())), image)
    from_line = _from_line(read)
    rows = []
    while candidates:
        change, members = max(candidates.items(), key=lambda item: (item[0].kind != "none", *_weight(item[1])))
        line = from_line if change.kind == "base" else change.line
        text, diff = _describe(change, members, _source(dockerfile, file), line)
        rows.append(
            _row(change, members) | {"change": text, "line": line, "file": file if line else None, "diff": diff}
        )
        removed = set(map(id, members))
        left = {other: [row for row in found if id(row) not in removed] for other, found in candidates.items()}
        candidates = {other: found for other, found in left.items() if found}
    ranked = make_frame(rows, REMEDIATION_COLUMNS)
    ranked["remaining"] = int(ranked["findings"].sum()) - ranked["findings"].cumsum()
    unfixed = ranked["kind"].eq("none")
    ranked.loc[unfixed, "remaining"] = ranked.loc[unfixed, "findings"]
    ranked = ranked[list(REMEDIATION_COLUMNS)].astype(REMEDIATION_COLUMNS)
    return prove_changes(ranked, Path(file), prove) if prove and file else ranked


def _candidates(rows: list[Any], image: Reference | None) -> dict[_Change, list[Any]]:
    """Every change with the findings that it would remove; a finding can have several."""
    groups: defaultdict[_Change, list[Any]] = defaultdict(list)
    for row in rows:
        groups[_change_of(row)].append(row)
    system = [row for row in rows if row.origin == "own" and manager_of(row.purl, row.type) in ("dpkg", "apk")]
    unneeded: dict[str, set[str]] = {}
    if image is not None and system:
        with suppress(ArchiveError):  # a source without files
            unneeded = removable(one_image(image))
    for name, gone in unneeded.items():
        members = [row for row in system if row.package in gone]
        if members:
            own = [row for row in members if row.package == name] or members
            groups[_Change("remove", own[0].change_line, name)] = members
    return dict(groups)


def _weight(rows: list[Any]) -> tuple[int, ...]:
    """What ranks a change: known exploited findings, then those of each severity from critical down."""
    severities = [row.severity or "unknown" for row in rows]
    return (sum(row.known_exploited is True for row in rows), *map(severities.count, reversed(SEVERITIES)))


def _change_of(row: Any) -> _Change:
    """The change that fixes a finding."""
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
    known_exploited, *counts = _weight(members)
    origins = {row.origin for row in members} - {None}
    guessed = any(row.origin is None or row.origin_confidence == POSSIBLE for row in members)
    packages = sorted({row.package for row in members if row.package})
    return dict(zip(reversed(SEVERITIES), counts, strict=True)) | {
        "kind": change.kind,
        "findings": len(members),
        "known_exploited": known_exploited,
        "epss": max((row.epss for row in members if row.epss is not None), default=None),
        "packages": ", ".join(packages) or None,
        "origin": origins.pop() if len(origins) == 1 else None,
        "confidence": None if change.kind == "none" else POSSIBLE if guessed or change.kind == "remove" else LIKELY,
    }


def _describe(change: _Change, members: list[Any], source: str | None, line: int | None) -> tuple[str, str | None]:
    """What to do, and the diff of the Dockerfile if it names the version."""
    if change.kind == "none":
        return NO_FIX, None
    if change.kind == "base":
        return "rebuild on a newer base image", None
    if change.kind == "remove":
        name = rf"(?<=\s){re.escape(str(change.subject))}(?:=\S+)?(?:[ \t]|(?=\s|$))"
        return f"remove {change.subject}: nothing needs it", _diff(source, line, {name: ""})
    if change.kind == "secret":
        return f"remove {change.subject or 'the secret'} from the image and replace the secret", None
    if change.kind == "setting":
        return members[0].title or str(change.subject), None
    upgrades, pins = {}, {}
    for name in sorted({row.package for row in members if row.package}):
        own = [row for row in members if row.package == name]
        version, target = upgrades[name] = (own[0].version, _target(own))
        if version and target:
            spelled = re.sub(r"\\?[-_.]", "[-_.]", re.escape(name))  # as pip compares names
            # pip's extras in brackets; Go writes v before a version
            operator = r"(?:\[[\w ,.-]*\])?\s*(?:===?|~=|@|=)\s*v?"
            pin = rf"(?<![\w.-])((?i:{spelled}){operator}){re.escape(version.removeprefix('v'))}(?![\w.])"
            pins[pin] = r"\g<1>" + target.removeprefix("v").replace("\\", r"\\")
    diff = _diff(source, line, pins)
    if change.kind == "system":
        return "upgrade " + ", ".join(upgrades), diff
    steps = [f"{name} {version or ''} → {target or 'a fixed version'}" for name, (version, target) in upgrades.items()]
    return "; ".join(steps) or "upgrade the package", diff


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
    text = dockerfile if isinstance(dockerfile, str) else None
    return text if file is None else Path(file).read_text("utf-8", "replace")


def _diff(source: str | None, line: int | None, edits: dict[str, str]) -> str | None:
    """A unified diff of the instruction at ``line``, with every pattern replaced by its text."""
    if source is None or line is None:
        return None
    lines = source.splitlines(keepends=True)
    changed = list(lines)
    ends = read_dockerfile(f"{source}\n").instructions.set_index("line")["end_line"]
    for number in range(line - 1, ends.get(line, line)):
        for pattern, text in {} if lines[number].lstrip().startswith("#") else edits.items():
            changed[number] = re.sub(pattern, text, changed[number])
    return "".join(difflib.unified_diff(lines, changed, "Dockerfile", "Dockerfile", n=1)) or None


def _from_line(read: Dockerfile | None) -> int | None:
    """The FROM that names the base image of the last stage."""
    if read is None or not len(read.stages):
        return None
    return int(read.stages["line"].iloc[final_stages(read.stages)[-1]])
