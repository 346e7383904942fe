"""How images differ: the layers that they share, and the files that changed."""

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
    """What every image shares with every other.

    Parameters
    ----------
    images : iterable of Image or reference
    identity : str
        What makes two layers the same: ``diff_id`` (the content), ``chain_id`` (storage in an engine: the layers below
        count too) or ``digest`` (a registry's blobs). A layer without one is shared with nothing.

    Returns
    -------
    pandas.DataFrame
        ``SHARING_COLUMNS``, a row per pair (each with itself too): ``total`` bytes of ``reference``, ``shared`` with ``other``,
        ``pull`` (what fetching ``reference`` costs where ``other`` is there), and ``unique`` (in no other image of
        the set). ``measure`` says which size these are: the first of content_size, size and
        disk_usage that is known for every layer of every image; bytes are ``<NA>`` where it is not. A layer that an
        image holds twice counts once, and an image without layers has no row.

    Raises
    ------
    ImagelabError
        An unknown ``identity``, or one that no layer has.
    """
    frame = layers(images)
    if identity not in IDENTITIES:
        raise ImagelabError(f"compare_layers(…, identity={identity!r}): one of {', '.join(IDENTITIES)}.")
    if frame.empty:
        return make_frame([], SHARING_COLUMNS)
    if frame[identity].isna().all():
        told = [other for other in IDENTITIES if frame[other].notna().any()]
        raise ImagelabError(f"no layer of these images has a {identity}; what they have: {', '.join(told) or 'none'}.")
    measure = next((name for name in MEASURES if frame[name].notna().all()), MEASURES[0])
    key = frame[identity].fillna(frame["reference"] + "#" + frame["layer_index"].astype("string"))
    held = pd.DataFrame({"reference": frame["reference"], "key": key, "bytes": frame[measure]})
    held = held.drop_duplicates(["reference", "key"])
    both = held.merge(held[["reference", "key"]].rename(columns={"reference": "other"}), on="key")
    pairs = pd.MultiIndex.from_product([names := held["reference"].unique(), names], names=["reference", "other"])
    common = _known_sums(both, ["reference", "other"]).reindex(pairs, fill_value=0).reset_index()
    alone = held[held.groupby("key")["reference"].transform("size") == 1]
    unique = _known_sums(alone, ["reference"])["bytes"].reindex(names, fill_value=0)
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


def _known_sums(held: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Number of ``layers`` and sum of ``bytes`` by group; unknown where one layer's are."""
    sums = held.groupby(by)["bytes"].agg(layers="size", known="count", bytes="sum")
    sums["bytes"] = sums["bytes"].where(sums["layers"] == sums["known"])
    return sums[["layers", "bytes"]]


def compare_files(before: Reference, after: Reference, *, digests: bool = False) -> pd.DataFrame:
    """What changed between two images' final filesystems, and which instruction made it so.

    Parameters
    ----------
    before, after : Image or reference
    digests : bool
        Compare contents by their SHA-256. Without, a file counts as changed in content where its size differs.

    Returns
    -------
    pandas.DataFrame
        ``CHANGES_COLUMNS``, largest difference first; unchanged paths have no row. ``change``: added, removed, changed;
        ``why`` it counts as changed: of type, content, link (the same bytes, which stand with another of the file's
        names), target, mode, owner, time, joined by commas. ``delta`` is ``size_after − size_before`` in bytes (absent
        counts as 0). Layer and instruction are those that stored the file; after a removal, those that removed it,
        where the later image still stores it.
    """
    one, two = one_image(before), one_image(after)
    return _changes(files(one, digests=digests), files(two, digests=digests), package_of(one, two))


def _changes(before: pd.DataFrame, after: pd.DataFrame, packages: pd.Series) -> pd.DataFrame:
    """Of two frames that ``il.files`` gave, and the package of each path."""
    gone = after[after["removed_layer_index"].notna() & ~after["path"].isin(after.loc[after["visible"], "path"])]
    gone = gone.drop_duplicates("path", keep="last").set_index("path")["removed_layer_index"]
    told = after.drop_duplicates("layer_index").set_index("layer_index")["instruction"].astype("string")
    both = _side(before).merge(_side(after), on="key", how="outer", suffixes=("_before", "_after"), indicator=True)
    there = both["_merge"] == "both"

    def differs(*columns: str) -> pd.Series:
        different = pd.Series(False, index=both.index)
        for column in columns:
            one, two = both[f"{column}_before"], both[f"{column}_after"]
            different |= (one != two).fillna(False).astype(bool) & one.notna() & two.notna()
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
    blamed = both["path"].map(gone).astype("Int64").where(both["change"] == "removed")
    both["layer_index_after"] = both["layer_index_after"].astype("Int64").fillna(blamed)
    both["instruction_after"] = both["instruction_after"].astype("string").fillna(blamed.map(told).astype("string"))
    both["delta"] = both["size_after"].fillna(0) - both["size_before"].fillna(0)
    both = both.rename(columns={"layer_index_before": "layer_before", "layer_index_after": "layer_after"})
    both["package"] = both["path"].map(packages)
    return _largest_first(both[list(CHANGES_COLUMNS)].astype(CHANGES_COLUMNS), "path")


def _largest_first(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    return frame.iloc[np.lexsort((frame[name], -frame["delta"].abs()))].reset_index(drop=True)


def _side(frame: pd.DataFrame) -> pd.DataFrame:
    """One image's final filesystem as it is compared: ``content`` is what a file holds, whichever of its names ``size``
    stands with."""
    seen = squashed(frame)
    exact = seen["path_raw"].notna()
    return pd.DataFrame(
        {
            "key": seen["path"].where(~exact, seen["path_raw"].map(repr)),
            "content": seen["inode"].map(frame["size"].reset_index(drop=True)),
            **{name: seen[name] for name in _COMPARED},
        }
    ).astype({"kind": "str", "instruction": "str"})


def sum_changes(
    comparison: pd.DataFrame, by: Literal["directory", "package", "instruction"], *, depth: int = 1
) -> pd.DataFrame:
    """The frame of ``compare_files``, summed by who is behind the differences.

    Parameters
    ----------
    comparison : frame of ``compare_files``
    by : str
        ``directory`` (to ``depth``), ``package``, or ``instruction`` (what stored the later file, or removed the earlier one;
        else what had stored it).

    Returns
    -------
    pandas.DataFrame
        ``CHANGE_SUMS_COLUMNS``, largest difference first: number of ``paths``, bytes ``added`` and ``removed``, and their
        sum ``delta``.

    Raises
    ------
    ImagelabError
        An unknown ``by``.
    """
    expect_frame(comparison, CHANGES_COLUMNS, "il.compare_files")
    if by == "directory":
        group = directory_of(comparison["path"], depth)
    elif by == "package":
        group = comparison["package"]
    elif by == "instruction":
        group = comparison["instruction_after"].fillna(comparison["instruction_before"])
    else:
        raise ImagelabError(f"sum_changes(…, {by!r}): one of directory, package, instruction.")
    keyed = pd.DataFrame({"group": group.astype("string").fillna(REST), "delta": comparison["delta"]})
    keyed["added"], keyed["removed"] = keyed["delta"].clip(lower=0), -keyed["delta"].clip(upper=0)
    sums = keyed.groupby("group", sort=False).agg(
        paths=("delta", "size"), added=("added", "sum"), removed=("removed", "sum"), delta=("delta", "sum")
    )
    return _largest_first(sums.reset_index().astype(CHANGE_SUMS_COLUMNS), "group")


def duplicates(images: Images) -> pd.DataFrame:
    """Contents that an image stores more than once, under several names or in several layers.

    Parameters
    ----------
    images : Image, reference, or iterable of them
        Every file is read, to hash it.

    Returns
    -------
    pandas.DataFrame
        ``DUPLICATES_COLUMNS``, most bytes first: ``copies`` stored (hardlinks are none), ``extra_bytes`` (all but one),
        the ``layers`` and the first ten ``paths`` that hold them, a line each.
    """
    content = ["reference", "digest"]
    stored = files(images, digests=True)
    stored = stored[(stored["kind"] == "file") & (stored["size"] > 0) & stored.duplicated(content, keep=False)]
    stored = stored[stored["digest"].notna()].astype({"reference": "str", "layer_index": "str"})
    found = stored.groupby(content, sort=False).agg(size=("size", "first"), copies=("size", "size"))
    found["extra_bytes"] = found["size"] * (found["copies"] - 1)
    # rows come in the order of the layers
    layers = stored.drop_duplicates([*content, "layer_index"])
    found["layers"] = layers.groupby(content, sort=False)["layer_index"].agg(", ".join)
    paths = stored[stored.groupby(content, sort=False).cumcount() < 10]
    found["paths"] = paths.groupby(content, sort=False)["path"].agg("\n".join)
    found = found.sort_values("extra_bytes", ascending=False, kind="stable").reset_index()
    return found[list(DUPLICATES_COLUMNS)].astype(DUPLICATES_COLUMNS)
