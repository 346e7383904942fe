"""Find the layer, instruction and Dockerfile line that introduced each finding."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from typing import Any

import pandas as pd

from imagelab.build.dockerfile.read import Dockerfile
from imagelab.core.errors import ArchiveError
from imagelab.core.frames import expect_frame
from imagelab.core.model import Image
from imagelab.images.tables.files import files
from imagelab.images.tables.images import Reference, one_image
from imagelab.images.tables.layers import layers
from imagelab.images.tables.packages import packages
from imagelab.security.compare import package_key, plain_rows
from imagelab.security.origin import DockerfileLines, base_origins
from imagelab.security.scans.fields import WORDS, parse_purl
from imagelab.security.scans.findings import FINDINGS_COLUMNS

BLAME_COLUMNS = {
    "layer_index": "Int64",
    "matched_by": "string",
    "instruction": "string",
    "created_by": "string",
    "dockerfile_line": "Int64",
    "change_line": "Int64",
    "origin": "string",
    "origin_confidence": "string",
    "remedy": "string",
}
_MANAGER = {name: manager for manager, names in WORDS["package_managers"].items() for name in names.split()}
#: One file records all packages, so the layer that wrote it last is not the layer of each of them.
_RECORDS = r"/?(?:(?:usr/)?lib/apk/db/installed|var/lib/dpkg/status|(?:var/lib|usr/lib/sysimage)/rpm/.+)"
_ARCHIVED = r"(?i)^(.+?\.(?:jar|war|ear|sar|par|zip|nar))[:!/]"
_DOCKERFILE_LINE = r"(?i)(?:^|.*/)(?:[\w.-]*dockerfile|containerfile)[\w.-]*:(\d+)$"


def manager_of(purl: str | None, kind: str | None) -> str | None:
    """The package manager of a finding, from its purl or the scanner's package type."""
    parsed = parse_purl(purl)
    return _MANAGER.get(parsed.type if parsed else "") or _MANAGER.get((kind or "").lower())


def blame(
    scan: pd.DataFrame,
    image: Reference,
    *,
    base: Reference | None = None,
    dockerfile: Dockerfile | str | os.PathLike[str] | None = None,
) -> pd.DataFrame:
    """Add the layer that first brought each finding's files, its instruction, and what to change.

    Parameters
    ----------
    scan : pandas.DataFrame
        From `read_scan` or `run_scan`, of this image.
    image : Image or reference
        Its files are listed if a finding needs them: an engine then saves it.
    base : Image or reference, optional
        The base image; its layers begin this image's. Without it, the engine's other images are compared, then
        labels, the Dockerfile and the history's shape are used.
    dockerfile : Dockerfile, path or text, optional
        The Dockerfile of the image: adds lines. Without it, that in the image's provenance is used.

    Returns
    -------
    pandas.DataFrame
        The scan's columns and ``BLAME_COLUMNS``. ``layer_index``: the layer that first brought the bytes; a later
        ``chown`` or rewrite with the same content does not change it. ``matched_by``: diff_id or layer_digest (the
        report names the layer), package, source_package, path, line (the report names the Dockerfile's line), or
        ``<NA>``. ``dockerfile_line``: the instruction that made the layer; ``change_line``: the line to change, which
        is the builder stage's RUN behind a ``COPY --from``. ``origin``: base or own, and ``origin_confidence``: exact
        (the layers of the base are known), likely (labels, Dockerfile), possible (a guess from the history).
        ``remedy``: update the base, change own lines, no fix known, or ``<NA>``. ``attrs["not_listed"]``: why the files
        could not be listed, if so.
    """
    image = one_image(image)
    expect_frame(scan, FINDINGS_COLUMNS, "il.read_scan")
    layer_rows = layers(image)
    lines = DockerfileLines.of(image, dockerfile)
    joined = scan.copy()
    joined["layer_index"] = pd.Series(pd.NA, index=scan.index, dtype="Int64")
    joined["matched_by"] = pd.Series(pd.NA, index=scan.index, dtype="string")
    recorded = joined["path"].str.fullmatch(_RECORDS).fillna(False)
    reported = []
    for column, key in (("diff_id", "diff_id"), ("layer_digest", "digest"), ("diff_id", "digest")):
        known = layer_rows.dropna(subset=[key]).drop_duplicates(key).set_index(key)["layer_index"]
        reported.append((column, joined[column].map(known)))
        _fill(joined, reported[-1][1].mask(recorded), column)
    try:
        reported += _match_files(joined, image, recorded)
    except ArchiveError as error:  # a source without files
        joined.attrs["not_listed"] = str(error)
    origins = base_origins(image, base, lines)
    of_base = [0, *origins.index[origins["origin"] == "base"]]
    for column, found in reported:  # a record that the base wrote last lists only the base's packages
        _fill(joined, found.where(found.isin(of_base)), column)
    made = layer_rows.set_index("layer_index")
    for column in ("instruction", "created_by"):
        joined[column] = joined["layer_index"].map(made[column]).astype("string")
    for column in ("origin", "origin_confidence"):
        joined[column] = joined["layer_index"].map(origins[column]).astype("string")
    _add_lines(joined, lines)
    unfixed = joined["fixed_version"].isna() & (joined["status"] != "fixed").fillna(True)
    joined["remedy"] = joined["origin"].map({"base": "update the base", "own": "change own lines"}).astype("string")
    joined.loc[unfixed & (joined["finding"] == "vulnerability"), "remedy"] = "no fix known"
    return joined[[*scan.columns, *BLAME_COLUMNS]]


def _fill(joined: pd.DataFrame, found: pd.Series, matched_by: str | pd.Series) -> None:
    """Set the layers found for the rows that have none yet."""
    new = joined["layer_index"].isna() & found.notna()
    joined.loc[new, "layer_index"] = found[new].astype("Int64")
    joined.loc[new, "matched_by"] = matched_by[new] if isinstance(matched_by, pd.Series) else matched_by


def _match_files(joined: pd.DataFrame, image: Image, recorded: pd.Series) -> list[tuple[str, pd.Series]]:
    """Match packages and paths with the files of the image; returns what the records' paths give."""
    # Trivy itself reports the first layer of a package
    first_known = joined["scanner"].eq("trivy") & joined["finding"].eq("vulnerability") & joined["layer_index"].notna()
    if (first_known | (joined["path"].isna() & joined["package"].isna())).fillna(False).all():
        return []
    installed = packages(image)
    _fill(joined, *_by_package(joined, installed))
    seen = files(image)
    visible = seen[seen["visible"]].drop_duplicates("path", keep="last").set_index("path")["layer_index"]
    paths = "/" + joined["path"].fillna(joined["target"]).str.replace(r":\d+$", "", regex=True).str.lstrip("/")
    paths = paths.mask(_named_lines(joined).notna())  # a line of the Dockerfile is not a file of the image
    inside = paths.str.extract(_ARCHIVED)[0].fillna(paths)  # a jar in an archive
    paths = paths.where(paths.isin(visible.index), inside)
    by_path = paths.map(visible.astype("Int64")).astype("Int64")
    _fill(joined, by_path.mask(recorded), "path")
    first = installed.drop_duplicates("path").set_index("path")["layer_index"]
    by_record = paths.mask(recorded).map(first).astype("Int64")
    moved = by_record.where(by_record.notna(), _first_copies(image, seen, paths, joined["layer_index"].mask(recorded)))
    known = joined["layer_index"].notna() & moved.notna() & ~first_known.fillna(False)
    joined.loc[known, "layer_index"] = moved[known]
    return [("path", by_path)]


def _first_copies(image: Image, seen: pd.DataFrame, paths: pd.Series, layer: pd.Series) -> pd.Series:
    """The layer that first stored the bytes of a path, where later layers stored the same bytes again."""
    copies = seen[seen["path"].isin(paths.dropna().unique()) & (seen["kind"] == "file")]
    if not copies["path"].duplicated().any():
        return layer
    try:
        compared = files(image, digests="copies")
    except ArchiveError:  # a snapshot has no contents to compare
        return layer
    same = compared[compared["path"].isin(copies["path"]) & (compared["reason"] == "rewritten_unchanged")]
    below = dict(zip(zip(same["path"], same["removed_layer_index"], strict=True), same["layer_index"], strict=True))
    found = []
    for path, index in zip(paths, layer, strict=True):
        while pd.notna(index) and (path, index) in below:
            index = below[path, index]
        found.append(index)
    return pd.Series(found, index=paths.index, dtype="Int64")


def _by_package(scan: pd.DataFrame, installed: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """The layer of each package: by record, by name and version, by name; for each, as a binary or a source package."""
    known: defaultdict[tuple[str | None, ...], set[int]] = defaultdict(set)
    sources: defaultdict[tuple[str | None, ...], set[int]] = defaultdict(set)
    for row in plain_rows(installed):
        source, _, source_version = (row.source or "").partition(" ")
        for manager in (row.manager, None):
            for names, name, version in ((known, row.name, row.version), (sources, source, source_version)):
                if name:
                    key = (manager, package_key(None, name))
                    names[key].add(row.layer_index)
                    names[*key, _version(version)].add(row.layer_index)
        known[(row.path,)].add(row.layer_index)
    found, how = [], []
    for row in plain_rows(scan[["type", "purl", "package", "version", "path"]]):
        manager = manager_of(row.purl, row.type)
        name = (manager, package_key(row.purl, row.package))
        places: list[tuple[Any, Any]] = [
            (names, each) for each in ((*name, _version(row.version)), name) for names in (known, sources)
        ]
        if manager in ("python", "npm"):  # dpkg's status file is the record of all its packages
            places.insert(0, (known, ("/" + (row.path or "").lstrip("/"),)))
        match: Any = next((pair for pair in places if pair[1] in pair[0]), (known, None))
        indexes = match[0].get(match[1], set())
        is_source = match[0] is sources and not indexes <= known.get(name, set())
        found.append(min(indexes) if is_source or len(indexes) == 1 else None)
        how.append("source_package" if is_source else "package")
    return pd.Series(found, index=scan.index, dtype="Int64"), pd.Series(how, index=scan.index, dtype="string")


def _version(version: str | None) -> str:
    """Without Debian's epoch, which a purl keeps in a qualifier."""
    return re.sub(r"^\d+:", "", version or "")


def _named_lines(joined: pd.DataFrame) -> pd.Series:
    """The Dockerfile's line that a finding itself names."""
    lines = joined["path"].str.extract(_DOCKERFILE_LINE)[0].astype("Int64")
    return lines.where(joined["finding"].eq("misconfiguration"))


def _add_lines(joined: pd.DataFrame, lines: DockerfileLines) -> None:
    """Set the Dockerfile's lines; a finding that names a line itself keeps it."""
    joined["dockerfile_line"] = joined["layer_index"].map(lines.by_layer).astype("Int64")
    changes = [
        lines.change_line(row.dockerfile_line, row.package, manager_of(row.purl, row.type))
        for row in plain_rows(joined[["dockerfile_line", "package", "purl", "type"]])
    ]
    joined["change_line"] = pd.Series(changes, index=joined.index, dtype="Int64")
    named = _named_lines(joined)
    for column in ("dockerfile_line", "change_line"):
        joined[column] = named.fillna(joined[column])
    joined.loc[named.notna() & joined["matched_by"].isna(), "matched_by"] = "line"
    joined.loc[named.notna() & joined["origin"].isna(), ["origin", "origin_confidence"]] = ["own", "exact"]
