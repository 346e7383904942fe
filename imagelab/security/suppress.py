"""Apply decisions about findings (VEX documents, ignore files) to a scan."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import pandas as pd
from packageurl import PackageURL

from imagelab.core.frames import expect_frame
from imagelab.core.json_fields import first, mapping
from imagelab.core.redact import mask
from imagelab.core.references import parse_image_name
from imagelab.security.decisions import SUPPRESSING, Decision, read_decisions
from imagelab.security.scans.fields import parse_purl
from imagelab.security.scans.findings import FINDINGS_COLUMNS, check_name


class ImageNames(NamedTuple):
    """The names, digests and architecture of the image that a scan is about."""

    names: frozenset[str]
    architecture: str | None

    @classmethod
    def of(cls, scan: pd.DataFrame) -> ImageNames:
        names, architectures = set(scan["reference"].dropna()), set()
        for report in scan.attrs.get("reports", []):
            names |= {*report.get("digests", ()), *report.get("tags", ()), report.get("image_id") or ""} - {""}
            architectures.add(report.get("architecture"))
        return cls(frozenset(names), architectures.pop() if len(architectures) == 1 else None)


def suppress(scan: pd.DataFrame, *files: str | os.PathLike[str], on: date | None = None) -> pd.DataFrame:
    """Mark the findings that a decision suppresses.

    Reads OpenVEX, CycloneDX VEX and CSAF VEX documents, ``.trivyignore`` and ``.trivyignore.yaml`` files, and the tables
    with ``id`` of a TOML file of accepted findings (`read_accepted`).

    Parameters
    ----------
    scan : pandas.DataFrame
        From `read_scan`.
    *files : path
        A later file overrides an earlier one, and in a VEX document a later statement an earlier one.
    on : datetime.date, optional
        The day for expiry dates; today by default. An entry expires on its date.

    Returns
    -------
    pandas.DataFrame
        The same rows. Findings that are ignored, ``not_affected`` or ``fixed`` have the reason in ``suppressed`` and
        the file in ``suppressed_by``; the decision's status is in ``status``, also for ``affected`` and
        ``under_investigation``.

    Raises
    ------
    ScanFormatError
        A file of another format.
    """
    expect_frame(scan, FINDINGS_COLUMNS, "il.read_scan")
    today = on or datetime.now(UTC).date()
    decisions = [(os.fspath(file), decision) for file in files for decision in read_decisions(file, today)]
    by_name: dict[str, set[int]] = defaultdict(set)
    for number, (_, decision) in enumerate(decisions):
        for name in (decision.id, check_name(decision.id), *decision.aliases):
            by_name[name].add(number)
    image = ImageNames.of(scan)
    result = scan.copy()
    rows: Any = scan.astype(object).where(scan.notna(), None)
    for row in rows[scan["suppressed"].isna()].itertuples():
        names = {row.id, "", *(row.aliases or "").split(", ")}  # "" is a decision by purl or path alone
        names |= {check_name(row.id)} if row.finding == "misconfiguration" else set()
        latest = sorted(set().union(*(by_name.get(name, ()) for name in names)), reverse=True)
        covering = (decisions[number] for number in latest)
        found = first(pair for pair in covering if _covers(pair[1], row, image))
        if found is None:
            continue
        file, decision = found
        result.loc[row.Index, "status"] = decision.status
        if decision.status in SUPPRESSING:
            result.loc[row.Index, ["suppressed", "suppressed_by"]] = [mask(decision.reason).text, file]
    return result


def suppressed(scan: pd.DataFrame) -> pd.DataFrame:
    """The rows of a scan that do not count: ``suppressed`` has the reason, ``suppressed_by`` the file."""
    expect_frame(scan, FINDINGS_COLUMNS, "il.read_scan")
    return scan[scan["suppressed"].notna()].reset_index(drop=True)


def _covers(decision: Decision, row: Any, image: ImageNames) -> bool:
    """Whether a decision applies to a finding that has one of its names."""
    if decision.finding and decision.finding != row.finding:
        return False
    places = {re.sub(r":\d+$", "", place).lstrip("/") for place in (row.path, row.target) if place}
    if decision.paths and not any(matches(place) for matches in decision.paths for place in places):
        return False
    package = parse_purl(row.purl)
    if decision.products and not any(_is_product(product, package, image) for product in decision.products):
        return False
    return not decision.purls or (package is not None and any(_matches(purl, package) for purl in decision.purls))


def _is_product(product: str, package: PackageURL | None, image: ImageNames) -> bool:
    """Whether a product is the package, or the image: by name, or as ``pkg:oci`` with all its qualifiers."""
    purl = parse_purl(product)
    if purl is None:
        return product in image.names
    if purl.type not in ("oci", "docker"):
        return package is not None and _matches(purl, package)
    is_digest = ":" in (purl.version or "")
    if is_digest and not any(name.endswith(str(purl.version)) for name in image.names):
        return False
    wanted = dict(mapping(purl.qualifiers))
    if purl.version and not is_digest:
        wanted["tag"] = purl.version
    for name in image.names:
        repository, tag = _split(name)
        known = {"repository_url": repository, "tag": tag, "arch": image.architecture}
        url = {"repository_url": _split(wanted["repository_url"])[0]} if "repository_url" in wanted else {}
        named = is_digest or repository.rpartition("/")[2] == purl.name
        if named and (wanted | url).items() <= known.items():
            return True
    return False


def _split(image: str) -> tuple[str, str | None]:
    """The repository as Docker shows it, and the tag, of an image's name."""
    name = parse_image_name(image)
    return (name.familiar, name.tag) if name else (image, None)


def _matches(decided: PackageURL, package: PackageURL) -> bool:
    """As Trivy and OpenVEX match: a version, qualifier or subpath that the decision leaves open fits any value."""
    parts = [(purl.type, purl.namespace or "", purl.name) for purl in (decided, package)]
    if parts[0] != parts[1] or decided.subpath not in (None, "", package.subpath):
        return False
    qualifiers = mapping(decided.qualifiers).items()
    return decided.version in (None, "", package.version) and qualifiers <= mapping(package.qualifiers).items()
