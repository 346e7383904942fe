"""Which instruction let a finding in, and whether the base or one's own lines must change."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from itertools import takewhile

import pandas as pd

from imagelab.build.dockerfile.read import Dockerfile, read_dockerfile
from imagelab.core.errors import ArchiveError
from imagelab.core.frames import expect_frame
from imagelab.images.tables.files import squash
from imagelab.images.tables.history import history
from imagelab.images.tables.images import Reference, one_image
from imagelab.images.tables.layers import layers
from imagelab.images.tables.packages import packages
from imagelab.security.compare import package_key, plain_rows
from imagelab.security.scans.findings import FINDINGS_COLUMNS

BLAME_COLUMNS = {
    "layer_index": "Int64",
    "matched_by": "string",
    "instruction": "string",
    "created_by": "string",
    "dockerfile_line": "Int64",
    "origin": "string",
    "remedy": "string",
}
#: Ecosystems, by what scanners call them, in the names of ``il.packages``.
_MANAGERS = {
    "dpkg": "deb dpkg debian ubuntu wolfi-deb",
    "apk": "apk alpine wolfi chainguard",
    "python": "pypi python python-pkg pip pipenv poetry uv conda-pkg",
    "npm": "npm node-pkg yarn pnpm",
}
#: One file records all packages: that a layer wrote it last says little of one of them (so Syft's and Grype's do).
_RECORDS = r"/?(?:(?:usr/)?lib/apk/db/installed|var/lib/dpkg/status|(?:var/lib|usr/lib/sysimage)/rpm/.+)"
_MANAGER = {word: manager for manager, words in _MANAGERS.items() for word in words.split()}


def blame(
    scan: pd.DataFrame,
    image: Reference,
    *,
    base: Reference | None = None,
    dockerfile: Dockerfile | str | os.PathLike[str] | None = None,
) -> pd.DataFrame:
    """Join each finding with its layer, the layer's instruction, and what would make it go away.

    Parameters
    ----------
    scan : pandas.DataFrame
        From `read_scan` or `run_scan`, of this image.
    image : Image or reference
        Its files are listed only if a finding needs them: an engine then saves it.
    base : Image or reference, optional
        The image it is built on; its layers, as far as they are this image's first, are the base. Without it,
        ``from_base`` of the history decides where that is known, else the Dockerfile's length.
    dockerfile : Dockerfile, path or text, optional
        What it was built from: adds lines.

    Returns
    -------
    pandas.DataFrame
        The scan's columns and ``BLAME_COLUMNS``. ``matched_by`` says how the layer is known: diff_id or layer_digest (the
        report names it), package (by name, version and the layer that ``il.packages`` gives), path (the file's layer), ``<NA>``
        where nothing tells. ``origin``: base or own. ``remedy``: update the base, change own lines, no fix known (for a
        vulnerability that nobody has fixed yet), or ``<NA>`` where the origin is unknown.
        ``groupby("remedy").size()`` says how much goes away by which work. ``attrs["not_listed"]``: why the image's
        files could not be looked at, if so.
    """
    image = one_image(image)
    expect_frame(scan, FINDINGS_COLUMNS, "il.read_scan")
    layer_rows, steps_made = layers(image), history(image)
    joined = scan.copy()
    joined["layer_index"] = pd.Series(pd.NA, index=scan.index, dtype="Int64")
    joined["matched_by"] = pd.Series(pd.NA, index=scan.index, dtype="string")
    recorded = joined["path"].str.fullmatch(_RECORDS).fillna(False)
    said = []
    for column, key in (("diff_id", "diff_id"), ("layer_digest", "digest"), ("diff_id", "digest")):
        known = layer_rows.dropna(subset=[key]).drop_duplicates(key).set_index(key)["layer_index"]
        said.append((column, joined[column].map(known)))
        _fill(joined, said[-1][1].mask(recorded), column)
    try:
        if joined["layer_index"].isna().any() and joined["package"].notna().any():
            _fill(joined, _by_package(joined, packages(image)), "package")
        if (joined["layer_index"].isna() & joined["path"].notna()).any():
            visible = squash(image).drop_duplicates("path", keep="last").set_index("path")["layer_index"]
            paths = "/" + joined["path"].str.replace(r":\d+$", "", regex=True).str.lstrip("/")
            said.append(("path", paths.map(visible.astype("Int64"))))
            _fill(joined, said[-1][1].mask(recorded), "path")
    except ArchiveError as error:  # a source without files: what only they could tell stays unknown
        joined.attrs["not_listed"] = str(error)
    lines = _lines(steps_made, dockerfile) if dockerfile is not None else pd.Series(dtype="Int64")
    origins = _origins(layer_rows, steps_made, base, lines)
    for column, found in said:  # a record that the base wrote last holds the base's packages only
        _fill(joined, found.where((found == 0) | (found.map(origins) == "base")), column)
    steps = (
        steps_made.dropna(subset=["layer_index"]).drop_duplicates("layer_index", keep="last").set_index("layer_index")
    )
    made = layer_rows.set_index("layer_index")
    for column in ("instruction", "created_by"):
        joined[column] = joined["layer_index"].map(made[column]).astype("string")
    joined["dockerfile_line"] = joined["layer_index"].map(steps["step"].map(lines)).astype("Int64")
    joined["origin"] = joined["layer_index"].map(origins).astype("string")
    unfixed = joined["fixed_version"].isna() & (joined["status"] != "fixed").fillna(True)
    joined["remedy"] = joined["origin"].map({"base": "update the base", "own": "change own lines"}).astype("string")
    joined.loc[unfixed & (joined["finding"] == "vulnerability"), "remedy"] = "no fix known"
    return joined


def _fill(joined: pd.DataFrame, found: pd.Series, matched_by: str) -> None:
    """Take the layers found for the rows that have none yet."""
    new = joined["layer_index"].isna() & found.notna()
    joined.loc[new, "layer_index"] = found[new].astype("Int64")
    joined.loc[new, "matched_by"] = matched_by


def _by_package(scan: pd.DataFrame, packages: pd.DataFrame) -> pd.Series:
    """The layer of a package by its record, by name and version, or by name, where only one layer has such a one."""
    known: defaultdict[tuple[str | None, ...], set[int]] = defaultdict(set)
    for row in plain_rows(packages):
        names = [(manager, package_key(None, row.name)) for manager in (row.manager, None)]
        for key in [(row.path,), *names, *((*name, _version(row.version)) for name in names)]:
            known[key].add(row.layer_index)
    found = []
    for row in plain_rows(scan[["type", "purl", "package", "version", "path"]]):
        kind = (row.purl or "").removeprefix("pkg:").partition("/")[0]
        manager = _MANAGER.get(kind) or _MANAGER.get((row.type or "").lower())
        name = (manager, package_key(row.purl, row.package))
        # dpkg's one status file is the record of all its packages
        record = [("/" + (row.path or "").lstrip("/"),)] if manager in ("python", "npm") else []
        layers = next((known[key] for key in [*record, (*name, _version(row.version)), name] if key in known), set())
        found.append(min(layers) if len(layers) == 1 else None)
    return pd.Series(found, index=scan.index, dtype="Int64")


def _version(version: str | None) -> str:
    """Without Debian's epoch, which a purl keeps apart."""
    return re.sub(r"^\d+:", "", version or "")


def _origins(layer_rows: pd.DataFrame, steps_made: pd.DataFrame, base: Reference | None, lines: pd.Series) -> pd.Series:
    """layer_index → base or own, as far as it is known."""
    index = layer_rows["layer_index"]
    if base is not None:
        theirs = layers(one_image(base))["diff_id"]
        pairs = zip(layer_rows["diff_id"], theirs, strict=False)
        shared = len(list(takewhile(lambda pair: pd.notna(pair[0]) and pair[0] == pair[1], pairs)))
        return pd.Series(["base" if n < shared else "own" for n in index], index=index)
    made = steps_made.dropna(subset=["layer_index"])
    if made["from_base"].notna().any():
        return made.set_index("layer_index")["from_base"].map({True: "base", False: "own"})
    if not lines.empty:
        return made.set_index("layer_index")["step"].map(lambda step: "own" if step in lines.index else "base")
    return pd.Series(dtype="string")


def final_stages(stages: pd.DataFrame) -> list[int]:
    """Places of the last stage and of those that it starts from, in that order; a name can stand twice, and then means
    the nearest stage above. A text without FROM has none."""
    places = [len(stages) - 1] if len(stages) else []
    while places and stages["base_is_stage"].iloc[places[-1]]:
        above = stages["stage"].iloc[: places[-1]].str.casefold() == stages["base"].iloc[places[-1]].casefold()
        places.append(int(above[::-1].idxmax()))
    return places


def _lines(history: pd.DataFrame, dockerfile: Dockerfile | str | os.PathLike[str]) -> pd.Series:
    """history step → line, by pairing the last stage's instructions with the newest steps, as long as they agree.

    A stage that begins with another stage's result goes on with that stage's instructions.
    """
    read = dockerfile if isinstance(dockerfile, Dockerfile) else read_dockerfile(dockerfile)
    made = read.instructions[read.instructions["instruction"] != "FROM"]
    stage_of = read.stages["line"].searchsorted(made["line"], "right") - 1
    wanted = [
        pair
        for place in reversed(final_stages(read.stages))
        for pair in made.loc[stage_of == place, ["instruction", "line"]].itertuples(index=False, name=None)
    ]
    steps = list(history[["step", "instruction"]].itertuples(index=False, name=None))
    pairs = zip(reversed(steps), reversed(wanted), strict=False)
    agreeing = takewhile(lambda pair: pair[0][1] == pair[1][0], pairs)
    return pd.Series({int(step): int(line) for (step, _), (_, line) in agreeing}, dtype="Int64")
