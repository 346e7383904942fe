"""Sum the bytes of files by directory, package, instruction and other groups."""

from __future__ import annotations

from typing import Literal

import pandas as pd

from imagelab.core.errors import ImagelabError
from imagelab.core.frames import expect_frame
from imagelab.core.model import Image
from imagelab.images.tables.files import files
from imagelab.images.tables.images import Images, load_images
from imagelab.images.tables.packages import package_files

By = Literal["directory", "extension", "package", "instruction", "owner", "kind"]
SIZES_COLUMNS = {"reference": "str", "group": "str", "size": "int64", "files": "int64", "share": "float64"}
REST = "(none)"  # files of no package, without an extension, or of an unknown instruction


def directory_of(paths: pd.Series, depth: int) -> pd.Series:
    """The first ``depth`` directories of each path."""
    if depth < 0:
        raise ImagelabError(f"depth is {depth}; expected a number of directories, 0 or more.")
    return paths.str.extract(rf"^((?:/[^/]+){{0,{depth}}})/", expand=False).replace("", "/")


def package_of(*images: Image) -> pd.Series:
    """Map each path to the ``manager:name`` of the package that owns it; of several images, the first that has it wins."""
    owned = pd.concat([package_files(image) for image in images]).drop_duplicates("path").set_index("path")
    return owned["manager"] + ":" + owned["package"]


def size_by(images: Images | pd.DataFrame, by: By, *, depth: int = 1) -> pd.DataFrame:
    """Sum bytes and count files by group, largest first.

    Reads the layers when it is given images: an engine saves the image, unless every layer was listed before.

    Parameters
    ----------
    images : frame of ``il.files`` or ``il.squash``, or Image, reference, or iterable of them
        A frame is summed as it is: ``il.files`` has what is stored, ``il.squash`` what is visible. For images, what
        is stored is summed. ``package`` needs images, because only their package databases name the owner of a file.
    by : str
        ``directory`` (to ``depth``), ``extension``, ``package`` (``manager:name``), ``instruction``, ``owner``
        (``uid:gid``) or ``kind``.
    depth : int
        Components of a directory's path that are kept.

    Returns
    -------
    pandas.DataFrame
        ``SIZES_COLUMNS``: ``size`` in bytes, ``share`` of the image's sum (0 to 1).

    Raises
    ------
    ImagelabError
        An unknown ``by``, or ``package`` without the images.
    """
    if isinstance(images, pd.DataFrame):
        expect_frame(images, ("reference", "path", "kind", "size", "uid", "gid", "instruction"), "il.files")
        frame, loaded = images, None
    else:
        loaded = load_images(images)
        frame = files(loaded)
    if by == "directory":
        group = directory_of(frame["path"], depth)
    elif by == "extension":
        group = frame["path"].str.extract(r"[^/](\.[^./]{1,12})$", expand=False)
    elif by == "package":
        if loaded is None:
            raise ImagelabError(
                "size_by(…, 'package') needs images or references: a frame does not name the package of a file."
            )
        names = [frame["path"][frame["reference"] == image.reference].map(package_of(image)) for image in loaded]
        group = pd.concat([pd.Series(dtype="str"), *names]).reindex(frame.index)
    elif by == "owner":
        group = frame["uid"].astype("str") + ":" + frame["gid"].astype("str")
    elif by in ("instruction", "kind"):
        group = frame[by].astype("str")
    else:
        raise ImagelabError(
            f"size_by(…, {by!r}): expected one of directory, extension, package, instruction, owner, kind."
        )
    keyed = frame.assign(group=group.astype("str").fillna(REST), reference=frame["reference"].astype("str"))
    if by != "kind":  # in a squash, a hardlink can carry the bytes of a file whose own name is gone
        keyed = keyed[(keyed["kind"] == "file") | (keyed["size"] > 0)]
    sums = keyed.groupby(["reference", "group"], sort=False)["size"].agg(size="sum", files="count").reset_index()
    total = sums.groupby("reference")["size"].transform("sum")
    sums["share"] = (sums["size"] / total).where(total > 0, 0.0)
    sums = sums.astype(SIZES_COLUMNS)[list(SIZES_COLUMNS)]
    return sums.sort_values(["reference", "size"], ascending=[True, False], kind="stable", ignore_index=True)
