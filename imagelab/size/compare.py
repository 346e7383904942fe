"""Compare images: the layers that they share and the files that changed."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from imagelab.core.errors import ImagelabError
from imagelab.core.frames import expect_frame, make_frame
from imagelab.images.tables.files import files, squashed
from imagelab.images.tables.images import Images, Reference, one_image
from imagelab.images.tables.layers import layers
from imagelab.size.sizes import REST, directory_of, package_of

SHARING_COLUMNS = {
    "reference": "str",
    "other": "str",
    "identity": "str",
    "measure": "str",
    "layers": "int64",
    "shared_layers": "int64",
    "total": "Int64",
    "shared": "Int64",
    "pull": "Int64",
    "unique": "Int64",
}
CHANGES_COLUMNS = {
    "path": "str",
    "change": "category",
    "why": "str",
    "size_before": "Int64",
    "size_after": "Int64",
    "delta": "int64",
    "kind_before": "string",
    "kind_after": "string",
    "layer_before": "Int64",
    "layer_after": "Int64",
    "instruction_before": "string",
    "instruction_after": "string",
    "package": "string",
}
CHANGE_SUMS_COLUMNS = {"group": "str", "paths": "int64", "added": "int64", "removed": "int64", "delta": "int64"}
_COMPARED = (
    "path", "kind", "size", "mode", "uid", "gid", "mtime", "link_target", "digest", "layer_index", "instruction"
)  # fmt: skip
DUPLICATES_COLUMNS = {
    "reference": "str",
    "digest": "str",
    "size": "int64",
    "copies": "int64",
    "extra_bytes": "int64",
    "layers": "str",
    "paths": "str",
}
MEASURES = ("content_size", "size", "disk_usage")
IDENTITIES = ("diff_id", "chain_id", "digest")


def compare_layers(images: Images, *, identity: Literal["diff_id", "chain_id", "digest"] = "diff_id") -> pd.DataFrame:
    """Measure what each image shares with each other image. Reads no layers of an engine or a registry.

    Parameters
    ----------
    images : iterable of Image or reference
    identity : str
        What makes two layers the same: ``diff_id`` (the content), ``chain_id`` (storage in an engine, where the layers
        below count too) or ``digest`` (a registry's blobs). A layer without one is shared with no image.

    Returns
    -------
    pandas.DataFrame
        ``SHARING_COLUMNS``, a row per pair (each image with itself too): ``total`` bytes of ``reference``, bytes ``shared``
        with ``other``, ``pull`` (bytes to fetch ``reference`` where ``other`` is present), and ``unique`` (bytes in no
        other image of the set). ``identity`` names what makes two layers the same, and ``measure`` names the size: the
        first of content_size, size and disk_usage that is known for every layer of every image; bytes are ``<NA>``
        where none is. A layer that an image has twice counts once; an image without layers has no row.

    Raises
    ------
    ImagelabError
        ``identity`` is unknown, or no layer has it.
    """
    frame = layers(images)
    if identity not in IDENTITIES:
        raise ImagelabError(f"compare_layers(…, identity={identity!r}): expected one of {', '.join(IDENTITIES)}.")
    if frame.empty:
        return make_frame([], SHARING_COLUMNS)
    if frame[identity].isna().all():
        present = [name for name in IDENTITIES if frame[name].notna().any()]
        raise ImagelabError(f"no layer of these images has a {identity}; they have: {', '.join(present) or 'none'}.")
    measure = next((name for name in MEASURES if frame[name].notna().all()), MEASURES[0])
    key = frame[identity].fillna(frame["reference"] + "#" + frame["layer_index"].astype("string"))
    stored = pd.DataFrame({"reference": frame["reference"], "key": key, "bytes": frame[measure]})
    stored = stored.drop_duplicates(["reference", "key"])
    both = stored.merge(stored[["reference", "key"]].rename(columns={"reference": "other"}), on="key")
    pairs = pd.MultiIndex.from_product([names := stored["reference"].unique(), names], names=["reference", "other"])
    common = _known_sums(both, ["reference", "other"]).reindex(pairs, fill_value=0).reset_index()
    only_here = stored[stored.groupby("key")["reference"].transform("size") == 1]
    unique = _known_sums(only_here, ["reference"])["bytes"].reindex(names, fill_value=0)
    own = common[common["reference"] == common["other"]].set_index("reference")
    total = common["reference"].map(own["bytes"])
    frame = common.rename(columns={"layers": "shared_layers", "bytes": "shared"}).assign(
        identity=identity,
        measure=measure,
        layers=common["reference"].map(own["layers"]),
        total=total,
        pull=total - common["bytes"],
        unique=common["reference"].map(unique),
    )
    return frame[list(SHARING_COLUMNS)].astype(SHARING_COLUMNS)


def _known_sums(stored: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Number of ``layers`` and sum of ``bytes`` by group; the sum is unknown where the bytes of one layer are."""
    sums = stored.groupby(by)["bytes"].agg(layers="size", known="count", bytes="sum")
    sums["bytes"] = sums["bytes"].where(sums["layers"] == sums["known"])
    return sums[["layers", "bytes"]]


def compare_files(before: Reference, after: Reference, *, digests: bool = False) -> pd.DataFrame:
    """Compare the final filesystems of two images, with the instruction behind each change.

    Reads the layers: an engine saves an image, unless every layer was listed before.

    Parameters
    ----------
    before, after : Image or reference
    digests : bool
        Compare contents by SHA-256. Without it, the content counts as changed where the size differs.

    Returns
    -------
    pandas.DataFrame
        ``CHANGES_COLUMNS``, largest difference first; unchanged paths have no row. ``change``: added, removed or changed.
        ``why`` lists what changed, joined by commas: type, content, link (the same bytes now belong to another of the
        file's names), target, mode, owner, time. ``delta`` is ``size_after − size_before`` in bytes (an absent file
        counts as 0). Layer and instruction are those that stored the file. For a removed file, the later ones are
        those that removed it, where the later image still stores it.
    """
    earlier, later = one_image(before), one_image(after)
    return changes(files(earlier, digests=digests), files(later, digests=digests), package_of(earlier, later))


def changes(before: pd.DataFrame, after: pd.DataFrame, packages: pd.Series) -> pd.DataFrame:
    """Make the frame of `compare_files` from two frames of ``il.files`` and the package of each path."""
    gone = after[after["removed_layer_index"].notna() & ~after["path"].isin(after.loc[after["visible"], "path"])]
    gone = gone.drop_duplicates("path", keep="last").set_index("path")["removed_layer_index"]
    instructions = after.drop_duplicates("layer_index").set_index("layer_index")["instruction"].astype("string")
    both = _side(before).merge(_side(after), on="key", how="outer", suffixes=("_before", "_after"), indicator=True)
    there = both["_merge"] == "both"

    def differs(*columns: str) -> pd.Series:
        different = pd.Series(False, index=both.index)
        for column in columns:
            old, new = both[f"{column}_before"], both[f"{column}_after"]
            different |= (old != new).fillna(False).astype(bool) & old.notna() & new.notna()
        return different & there

    files_both = both["kind_before"].isin(["file", "hardlink"]) & both["kind_after"].isin(["file", "hardlink"])
    retyped = differs("kind") & ~files_both
    changed = differs("content", "digest") & files_both
    reasons = {
        "type": retyped,
        "content": changed,
        "link": differs("size") & files_both & ~changed,
        "target": ~retyped & differs("link_target") & (both["kind_after"] == "symlink"),
        "mode": differs("mode"),
        "owner": differs("uid", "gid"),
        "time": differs("mtime"),
    }
    why = pd.Series("", index=both.index)
    for name, mask in reasons.items():
        why = why.where(~mask, why + name + ", ")
    both["why"] = why.str.removesuffix(", ")
    both["change"] = both["_merge"].map({"left_only": "removed", "right_only": "added", "both": "changed"})
    both = both[~there | (both["why"] != "")]
    both["path"] = both["path_after"].fillna(both["path_before"])
    # a file that the later image still stores was removed by one of its own instructions
    removed_by = both["path"].map(gone).astype("Int64").where(both["change"] == "removed")
    both["layer_index_after"] = both["layer_index_after"].astype("Int64").fillna(removed_by)
    both["instruction_after"] = (
        both["instruction_after"].astype("string").fillna(removed_by.map(instructions).astype("string"))
    )
    both["delta"] = both["size_after"].fillna(0) - both["size_before"].fillna(0)
    both = both.rename(columns={"layer_index_before": "layer_before", "layer_index_after": "layer_after"})
    both["package"] = both["path"].map(packages)
    return _largest_first(both[list(CHANGES_COLUMNS)].astype(CHANGES_COLUMNS), "path")


def _largest_first(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    return frame.iloc[np.lexsort((frame[name], -frame["delta"].abs()))].reset_index(drop=True)


def _side(frame: pd.DataFrame) -> pd.DataFrame:
    """The final filesystem of one image, ready to compare; ``content`` is a file's size, whichever of its hardlinked
    names carries it."""
    visible = squashed(frame)
    undecodable = visible["path_raw"].notna()
    return pd.DataFrame(
        {
            "key": visible["path"].where(~undecodable, visible["path_raw"].map(repr)),
            "content": visible["inode"].map(frame["size"].reset_index(drop=True)),
            **{name: visible[name] for name in _COMPARED},
        }
    ).astype({"kind": "str", "instruction": "str"})


def sum_changes(
    comparison: pd.DataFrame, by: Literal["directory", "package", "instruction"], *, depth: int = 1
) -> pd.DataFrame:
    """Sum the frame of `compare_files` by directory, package or instruction.

    Parameters
    ----------
    comparison : frame of ``compare_files``
    by : str
        ``directory`` (to ``depth``), ``package``, or ``instruction`` (the one that stored the later file or removed the
        earlier one; else the one that stored the earlier file).

    Returns
    -------
    pandas.DataFrame
        ``CHANGE_SUMS_COLUMNS``, largest difference first: number of ``paths``, bytes ``added`` and ``removed``, and their
        sum ``delta``.

    Raises
    ------
    ImagelabError
        ``by`` is unknown.
    """
    expect_frame(comparison, CHANGES_COLUMNS, "il.compare_files")
    if by == "directory":
        group = directory_of(comparison["path"], depth)
    elif by == "package":
        group = comparison["package"]
    elif by == "instruction":
        group = comparison["instruction_after"].fillna(comparison["instruction_before"])
    else:
        raise ImagelabError(f"sum_changes(…, {by!r}): expected one of directory, package, instruction.")
    keyed = pd.DataFrame({"group": group.astype("string").fillna(REST), "delta": comparison["delta"]})
    keyed["added"], keyed["removed"] = keyed["delta"].clip(lower=0), -keyed["delta"].clip(upper=0)
    sums = keyed.groupby("group", sort=False).agg(
        paths=("delta", "size"), added=("added", "sum"), removed=("removed", "sum"), delta=("delta", "sum")
    )
    return _largest_first(sums.reset_index().astype(CHANGE_SUMS_COLUMNS), "group")


def duplicates(images: Images) -> pd.DataFrame:
    """List contents that an image stores more than once, under several names or in several layers.

    Reads every file of every layer, to hash it: an engine saves the image.

    Parameters
    ----------
    images : Image, reference, or iterable of them

    Returns
    -------
    pandas.DataFrame
        ``DUPLICATES_COLUMNS``, most bytes first: ``copies`` stored (a hardlink is not a copy), ``extra_bytes`` (of all copies
        but one), the ``layers`` and the first ten ``paths`` of the copies, one a line.
    """
    content = ["reference", "digest"]
    stored = files(images, digests=True)
    stored = stored[(stored["kind"] == "file") & (stored["size"] > 0) & stored.duplicated(content, keep=False)]
    stored = stored[stored["digest"].notna()].astype({"reference": "str", "layer_index": "str"})
    found = stored.groupby(content, sort=False).agg(size=("size", "first"), copies=("size", "size"))
    found["extra_bytes"] = found["size"] * (found["copies"] - 1)
    # rows come in the order of the layers
    by_layer = stored.drop_duplicates([*content, "layer_index"])
    found["layers"] = by_layer.groupby(content, sort=False)["layer_index"].agg(", ".join)
    paths = stored[stored.groupby(content, sort=False).cumcount() < 10]
    found["paths"] = paths.groupby(content, sort=False)["path"].agg("\n".join)
    found = found.sort_values("extra_bytes", ascending=False, kind="stable").reset_index()
    return found[list(DUPLICATES_COLUMNS)].astype(DUPLICATES_COLUMNS)
