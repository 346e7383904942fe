"""Read decisions about findings: VEX documents, Trivy's ignore files and the file of accepted findings."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml
from packageurl import PackageURL

from imagelab.core.accepted import read_entries
from imagelab.core.errors import ScanFormatError
from imagelab.core.json_fields import Object, mapping, mappings, sequence, text, texts
from imagelab.core.patterns import doublestar_pattern
from imagelab.security.scans.fields import WORDS, parse_purl

#: Statuses of a decision that suppress a finding; the others only set its status.
SUPPRESSING = ("ignored", "accepted", "not_affected", "fixed")
_SECTIONS = WORDS["trivyignore_section"]


@dataclass(frozen=True)
class Decision:
    """One decision: the findings that it covers, and their status.

    An empty ``id`` covers every finding of the purls or paths. ``products`` are the names of the packages or images,
    ``purls`` the packages inside them.
    """

    id: str
    finding: str | None = None
    aliases: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    purls: tuple[PackageURL, ...] = ()
    paths: tuple[Callable[[str], bool], ...] = ()
    status: str = "ignored"
    statement: str = ""

    @property
    def reason(self) -> str:
        return f"{self.status}: {self.statement}" if self.statement else self.status


def read_decisions(path: str | os.PathLike[str], today: date) -> list[Decision]:
    """Read one file of decisions; entries that have expired by ``today`` are left out.

    Raises
    ------
    ScanFormatError
        The file's format is unknown, or an entry could cover more findings than intended.
    """
    path = Path(path)
    if path.suffix == ".toml":
        return read_accepted_decisions(path, today)
    try:
        content = path.read_text("utf-8-sig")
        if path.suffix in (".yaml", ".yml"):
            return list(_trivy_yaml(yaml.safe_load(content), today))
        if content.lstrip().startswith(("{", "[")):
            return list(_vex(json.loads(content)))
        return list(_trivyignore(content, today))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ScanFormatError(
            f"{path}: {error}. Expected an OpenVEX, CycloneDX VEX or CSAF VEX document (JSON), a .trivyignore, a "
            ".trivyignore.yaml, or accepted findings (TOML)."
        ) from error


def read_accepted_decisions(
    path: str | os.PathLike[str], today: date, kind: str = "id", known: Collection[str] = ()
) -> list[Decision]:
    """Read the ``[[accept]]`` tables with ``id`` (of a finding) or ``check`` (a hardening rule) from a file of accepted
    findings; entries that have expired by ``today`` are left out.

    Raises
    ------
    ScanFormatError
        The file is not TOML, or an entry has another form or an unknown name.
    """

    def decide(entry: Object) -> Iterator[Decision]:
        purl = parse_purl(entry.get("purl"))
        if "purl" in entry and purl is None:
            raise ValueError("invalid purl")
        place = entry["path"].strip("/") if "path" in entry else None
        paths = () if place is None else (doublestar_pattern(place), doublestar_pattern(f"{place}/**"))
        if today <= entry.get("expires", today):
            purls = (purl,) if purl else ()
            yield Decision(entry[kind], purls=purls, paths=paths, status="accepted", statement=entry["reason"])

    return read_entries(path, kind, decide, known)


def _trivyignore(content: str, today: date) -> Iterator[Decision]:
    for line in content.splitlines():
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        expiry = next((field.removeprefix("exp:") for field in fields[1:] if field.startswith("exp:")), None)
        with contextlib.suppress(ValueError):  # like Trivy: an entry with an unreadable date does not apply
            if expiry is None or date.fromisoformat(expiry) > today:
                yield Decision(fields[0])


def _trivy_yaml(document: Any, today: date) -> Iterator[Decision]:
    if document is not None and not (isinstance(document, dict) and document.keys() & _SECTIONS.keys()):
        raise ValueError(f"it has none of the sections {', '.join(_SECTIONS)}")
    for section, finding in _SECTIONS.items():
        for item in _list(mapping(document), section):
            if not isinstance(item, dict):
                raise ValueError(f"an entry of {section} is {type(item).__name__}, not an object with an id")
            listed = _list(item, "purls")
            purls = tuple(purl for value in listed if (purl := parse_purl(value)))
            if len(purls) < len(listed):
                raise ValueError(f"invalid purl in {section}")  # without it the entry would cover more
            paths = tuple(doublestar_pattern(str(value).lstrip("/")) for value in _list(item, "paths"))
            name, expiry = text(item.get("id")) or "", _date(item.get("expired_at"))
            if (name or purls or paths) and not (expiry and expiry <= today):
                yield Decision(name, finding, purls=purls, paths=paths, statement=text(item.get("statement")) or "")


def _date(value: Any) -> date | None:
    value = datetime.fromisoformat(value) if isinstance(value, str) else value
    value = value.date() if isinstance(value, datetime) else value
    if not isinstance(value, date | None):
        raise ValueError(f"expired_at is {type(value).__name__}, not a date")
    return value


def _list(item: Object, key: str) -> list[Any]:
    value = item.get(key)
    if value is not None and not isinstance(value, list):
        raise ValueError(f"{key} is {type(value).__name__}, not a list")
    return value or []


def _vex(document: Any) -> Iterator[Decision]:
    document = mapping(document, "predicate") or mapping(document)  # an attestation wraps the document
    if "openvex" in str(document.get("@context")) and isinstance(document.get("statements"), list):
        return _openvex(document)
    if document.get("bomFormat") == "CycloneDX" and isinstance(document.get("vulnerabilities"), list):
        return _cyclonedx_vex(document)
    if "product_tree" in document and "csaf_version" in mapping(document, "document"):
        return _csaf_vex(document)
    raise ValueError("JSON, but not a VEX document")


def _openvex(document: Object) -> Iterator[Decision]:
    """OpenVEX 0.0.1 (strings) to 0.2.0 (objects); statements in the order of their times (spec, "Data inheritance")."""
    written = document.get("timestamp")
    for statement in sorted(
        mappings(document["statements"]), key=lambda item: _instant(item.get("timestamp") or written)
    ):
        named = statement.get("vulnerability")
        vulnerability = {"name": named} if isinstance(named, str) else mapping(named)
        names = [vulnerability.get("name"), vulnerability.get("@id"), *sequence(vulnerability.get("aliases"))]
        names = [name.rpartition("/")[2] if "://" in name else name for name in texts(names)]
        explanation = statement.get("impact_statement") or statement.get("action_statement")
        for product in sequence(statement.get("products")) or [None]:
            parts = [name for part in sequence(mapping(product).get("subcomponents")) for name in _product_names(part)]
            parts += texts(statement.get("subcomponents"))
            products = tuple(_product_names(product))
            # a product or part that is named in an unknown way must not cover all products or parts
            if names and (products or product is None):
                yield from _of_products(
                    names,
                    text(statement.get("status")) or "under_investigation",
                    texts([statement.get("justification"), explanation]),
                    products,
                    parts,
                )


def _cyclonedx_vex(document: Object) -> Iterator[Decision]:
    """The analysis of each vulnerability, for each component that it affects."""
    known: dict[str | None, Object] = {}
    pending = [*mappings(document.get("components")), mapping(document, "metadata", "component")]
    while pending:
        component = pending.pop()
        known[text(component.get("bom-ref"))] = component
        pending += mappings(component.get("components"))
    for item in mappings(document["vulnerabilities"]):
        analysis = mapping(item, "analysis")
        names = texts([item.get("id"), *(reference.get("id") for reference in mappings(item.get("references")))])
        status = WORDS["cyclonedx_state"].get(str(analysis.get("state")), "under_investigation")
        statement = texts([analysis.get("justification"), analysis.get("detail")])
        for reference in texts([affected.get("ref") for affected in mappings(item.get("affects"))]):
            target = reference.rpartition("#")[2] if reference.startswith("urn:cdx:") else reference
            product = text(mapping(known.get(target)).get("purl")) or target
            if analysis.get("state") and names:
                yield from _of_products(names, status, statement, (product,), [])


def _csaf_vex(document: Object) -> Iterator[Decision]:
    """CSAF 2.0 (profile 5, VEX): products by their purl; a relationship's product is a component of another."""
    purls: dict[str | None, str | None] = {}
    pending = [mapping(document, "product_tree")]
    while pending:
        branch = pending.pop()
        pending += mappings(branch.get("branches"))
        for product in [*mappings(branch.get("full_product_names")), mapping(branch, "product")]:
            helper = mapping(product, "product_identification_helper")
            purls[text(product.get("product_id"))] = text(helper.get("purl")) or text(product.get("name"))
    parts = {
        text(mapping(relation, "full_product_name").get("product_id")): (
            purls.get(text(relation.get("relates_to_product_reference"))),
            purls.get(text(relation.get("product_reference"))),
        )
        for relation in mappings(mapping(document, "product_tree").get("relationships"))
    }
    for item in mappings(document.get("vulnerabilities")):
        names = texts([item.get("cve"), *(name.get("text") for name in mappings(item.get("ids")))])
        notes = [*mappings(item.get("flags")), *mappings(item.get("threats"))]
        for group, status in WORDS["csaf_status"].items():
            for product_id in texts(mapping(item, "product_status").get(group)):
                about = [note for note in notes if product_id in sequence(note.get("product_ids"))]
                name, part = parts.get(product_id, (purls.get(product_id), None))
                if names and name and (product_id not in parts or part):
                    statement = texts([note.get("label") or note.get("details") for note in about])
                    yield from _of_products(names, status, statement, (name,), texts([part]))


def _of_products(
    names: list[str], status: str, statement: list[str], products: tuple[str, ...], parts: list[str]
) -> Iterator[Decision]:
    """A VEX decision; parts that are not purls cannot be matched, and must not widen it."""
    purls = tuple(purl for part in parts if (purl := parse_purl(part)))
    if purls or not parts:
        yield Decision(
            names[0],
            "vulnerability",
            aliases=tuple(names[1:]),
            products=products,
            purls=purls,
            status=status,
            statement=", ".join(statement),
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
