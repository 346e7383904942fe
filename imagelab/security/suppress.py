"""What people have decided about findings: OpenVEX documents and Trivy's ignore files, applied to a scan."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from packageurl import PackageURL

from imagelab.core.errors import ScanFormatError
from imagelab.core.frames import make_frame
from imagelab.core.json_fields import Object, first, mapping, mappings, sequence, text, texts
from imagelab.core.redact import mask
from imagelab.security.scans.fields import parse_purl
from imagelab.security.scans.findings import check_name

SUPPRESSED_COLUMNS = dict.fromkeys(("file", "finding", "id", "package", "severity", "reason"), "string")
_SECTIONS = {
    "vulnerabilities": "vulnerability",
    "misconfigurations": "misconfiguration",
    "secrets": "secret",
    "licenses": "license",
}


@dataclass(frozen=True)
class _Rule:
    """One decision: which findings it is about, and what it says of them."""

    id: str
    finding: str | None = None
    aliases: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    purls: tuple[PackageURL, ...] = ()
    paths: tuple[re.Pattern[str], ...] = ()
    status: str = "ignored"
    statement: str = ""

    def covers(self, row: Any, images: set[str]) -> bool:
        """Whether a finding of one of the rule's names is meant."""
        if self.finding and self.finding != row.finding:
            return False
        places = {re.sub(r":\d+$", "", place).lstrip("/") for place in (row.path, row.target) if place}
        if self.paths and not any(pattern.fullmatch(place) for pattern in self.paths for place in places):
            return False
        purl = parse_purl(row.purl)
        if self.products and not any(_is_product(product, purl, images) for product in self.products):
            return False
        return not self.purls or (purl is not None and any(_matches(rule, purl) for rule in self.purls))


def suppress(scan: pd.DataFrame, *files: str | os.PathLike[str], on: date | None = None) -> pd.DataFrame:
    """Apply OpenVEX documents, ``.trivyignore`` and ``.trivyignore.yaml`` files to a scan.

    Parameters
    ----------
    scan : pandas.DataFrame
        From `read_scan`.
    *files : path
        A later file, and in a VEX document a later statement, speaks over an earlier one.
    on : datetime.date, optional
        The day that expiry dates are compared with; today by default. On its date an entry holds no more.

    Returns
    -------
    pandas.DataFrame
        Without what was ignored, ``not_affected`` or ``fixed``: those are in ``attrs["suppressed"]`` (see `suppressed`)
        with file, status and statement. ``affected`` and ``under_investigation`` set ``status``.

    Raises
    ------
    ScanFormatError
        A file that is none of these.
    """
    on = on or datetime.now(UTC).date()
    rules = [(os.fspath(file), rule) for file in files for rule in _read_rules(Path(file), on)]
    by_name: dict[str, set[int]] = defaultdict(set)
    for number, (_, decision) in enumerate(rules):
        for name in (decision.id, check_name(decision.id), *decision.aliases):
            by_name[name].add(number)
    images: set[str] = set()
    for report in scan.attrs.get("reports", []):
        images |= {*report.get("digests", ()), *report.get("tags", ()), report.get("image_id") or ""} - {""}
    keep, statuses, hidden = [], [], []
    rows: Any = scan.astype(object).where(scan.notna(), None)
    for row in rows.itertuples():
        own = images | ({row.reference} - {None})
        names = {row.id, "", *(row.aliases or "").split(", ")}  # "" is what names no id, but purls or paths
        names |= {check_name(row.id)} if row.finding == "misconfiguration" else set()
        latest = sorted(set().union(*(by_name.get(name, ()) for name in names)), reverse=True)
        file, rule = first(rules[number] for number in latest if rules[number][1].covers(row, own)) or ("", None)
        hides = rule is not None and rule.status in ("ignored", "not_affected", "fixed")
        keep.append(not hides)
        statuses.append(rule.status if rule else row.status)
        if rule and hides:
            reason = mask(f"{rule.status}: {rule.statement}" if rule.statement else rule.status).text
            facts = {key: text(getattr(row, key)) for key in ("finding", "id", "package", "severity")}
            hidden.append(facts | {"file": file, "reason": reason})
    result = scan.assign(status=pd.Series(statuses, index=scan.index, dtype="string"))
    result = result[pd.Series(keep, index=scan.index, dtype=bool)].reset_index(drop=True)
    result.attrs = scan.attrs | {"suppressed": [*scan.attrs.get("suppressed", ()), *hidden]}
    return result


def suppressed(scan: pd.DataFrame) -> pd.DataFrame:
    """What a scan's files hold and its rows do not, and why: ``SUPPRESSED_COLUMNS``."""
    return make_frame(scan.attrs.get("suppressed", []), SUPPRESSED_COLUMNS)


def _read_rules(path: Path, on: date) -> Iterator[_Rule]:
    try:
        content = path.read_text("utf-8-sig")
        if path.suffix in (".yaml", ".yml"):
            yield from _yaml_rules(yaml.safe_load(content), on)
        elif content.lstrip().startswith(("{", "[")):
            yield from _vex_rules(json.loads(content), path)
        else:
            yield from _lines(content, on)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ScanFormatError(
            f"{path}: {error}. Expected an OpenVEX document (JSON), a .trivyignore or a .trivyignore.yaml."
        ) from error


def _lines(content: str, on: date) -> Iterator[_Rule]:
    """Trivy's list: an id, perhaps ``exp:YYYY-MM-DD``; a wrong date ignores nothing (pkg/result/ignore.go).

    Dates are midnights: on the day itself a line holds no more.
    """
    for line in content.splitlines():
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        until = first(field.removeprefix("exp:") for field in fields[1:] if field.startswith("exp:"))
        with contextlib.suppress(ValueError):
            if until is None or date.fromisoformat(until) > on:
                yield _Rule(fields[0])


def _yaml_rules(document: Any, on: date) -> Iterator[_Rule]:
    if document is not None and not (isinstance(document, dict) and document.keys() & _SECTIONS.keys()):
        raise ValueError(f"none of {', '.join(_SECTIONS)} is in it")
    for section, finding in _SECTIONS.items():
        for item in _entries(mapping(document), section):
            if not isinstance(item, dict):
                raise ValueError(f"an entry of {section} is {type(item).__name__}, not an object with an id")
            listed = _entries(item, "purls")
            purls = tuple(purl for one in listed if (purl := parse_purl(one)))
            if len(purls) < len(listed):
                raise ValueError(f"a purl of {section} is none")  # without it the entry would ignore more
            paths = tuple(_glob(str(one)) for one in _entries(item, "paths"))
            name, until = text(item.get("id")) or "", _expiry(item.get("expired_at"))
            if (name or purls or paths) and not (until and until <= on):
                yield _Rule(name, finding, purls=purls, paths=paths, statement=text(item.get("statement")) or "")


def _expiry(value: Any) -> date | None:
    value = datetime.fromisoformat(value) if isinstance(value, str) else value
    value = value.date() if isinstance(value, datetime) else value
    if not isinstance(value, date | None):
        raise ValueError(f"expired_at is {type(value).__name__}, not a date")
    return value


def _entries(item: Object, key: str) -> list[Any]:
    value = item.get(key)
    if value is not None and not isinstance(value, list):
        raise ValueError(f"{key} is {type(value).__name__}, not a list")
    return value or []


def _vex_rules(document: Any, path: Path) -> Iterator[_Rule]:
    """OpenVEX 0.0.1 (texts) to 0.2.0 (objects); statements in the order of their times (spec, "Data inheritance")."""
    document = mapping(document, "predicate") or mapping(document)  # an attestation's, or itself
    if "openvex" not in str(document.get("@context")) or not isinstance(document.get("statements"), list):
        raise ScanFormatError(f"{path}: JSON, but no OpenVEX document: it has no statements under OpenVEX's @context.")
    written = document.get("timestamp")
    for one in sorted(mappings(document["statements"]), key=lambda one: _instant(one.get("timestamp") or written)):
        named = one.get("vulnerability")
        vulnerability = {"name": named} if isinstance(named, str) else mapping(named)
        names = texts([vulnerability.get("name"), vulnerability.get("@id"), *sequence(vulnerability.get("aliases"))])
        names = [name.rpartition("/")[2] if "://" in name else name for name in names]
        why = texts([one.get("justification"), one.get("impact_statement") or one.get("action_statement")])
        for product in sequence(one.get("products")) or [None]:
            parts = [name for part in sequence(mapping(product).get("subcomponents")) for name in _product_names(part)]
            parts += texts(one.get("subcomponents"))
            purls = tuple(purl for part in parts if (purl := parse_purl(part)))
            products = tuple(_product_names(product))
            # what names its product or its part in a way that is not known here is not of all products and parts
            if names and (products or product is None) and (purls or not parts):
                yield _Rule(
                    names[0],
                    "vulnerability",
                    aliases=tuple(names[1:]),
                    products=products,
                    purls=purls,
                    status=text(one.get("status")) or "under_investigation",
                    statement=", ".join(why),
                )


def _instant(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(text(value) or "")
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _product_names(product: Any) -> list[str]:
    if isinstance(product, str):
        return [product]
    return texts([mapping(product).get("@id"), *mapping(product, "identifiers").values()])


def _is_product(product: str, package: PackageURL | None, images: set[str]) -> bool:
    """A product is the package itself, or the image: by name, by digest, or as ``pkg:oci`` by its last part."""
    purl = parse_purl(product)
    if purl is None:
        return product in images
    if purl.type not in ("oci", "docker"):
        return package is not None and _matches(purl, package)
    digest = purl.version if purl.version and ":" in purl.version else None
    known = {image.rpartition("@")[2] for image in images if "sha256:" in image}
    if digest and known:
        return digest in known
    return any(re.split(r"[:@]", image.rpartition("/")[2])[0] == purl.name for image in images)


def _matches(rule: PackageURL, package: PackageURL) -> bool:
    """As Trivy and OpenVEX match: a version or qualifiers that the rule leaves open fit anything."""
    if (rule.type, rule.namespace or "", rule.name) != (package.type, package.namespace or "", package.name):
        return False
    return rule.version in (None, "", package.version) and (
        mapping(rule.qualifiers).items() <= mapping(package.qualifiers).items()
    )


def _glob(pattern: str) -> re.Pattern[str]:
    """A path pattern as doublestar has it: ``**`` crosses folders, ``*`` does not; ``[a-z]`` and ``{a,b}`` too."""

    def source(part: str) -> str:
        if part.startswith("{") and part.endswith("}"):
            return f"(?:{'|'.join(map(translate, part[1:-1].split(',')))})"
        if part.startswith("[") and part.endswith("]"):
            return "[" + re.sub(r"^!", "^", part[1:-1]).replace("\\", r"\\").replace("[", r"\[") + "]"
        return meaning.get(part, re.escape(part))

    def translate(line: str) -> str:
        parts = re.split(r"(/\*\*(?=/|$)|\*\*/|\*\*|\*|\?|\[[^\]]+\]|\{[^{}]*\})", line)
        return "".join(source(part) for part in parts)

    meaning = {"/**": "(?:/.*)?", "**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    try:
        return re.compile(translate(pattern.lstrip("/")), re.S)
    except re.error as error:
        raise ValueError(f"a path is no pattern: {error}") from None
