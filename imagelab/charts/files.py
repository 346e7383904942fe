"""The files of an image as a tree whose area is bytes, folded so that a million files draw at once."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from imagelab.charts.sizes import Shape, _tree_trace, nothing, one_image
from imagelab.charts.theme import NODE_COLOURS, hover, legend_swatches, share, titled
from imagelab.display import escape
from imagelab.frames import format_bytes

SMALLEST = 1 / 300  # of the whole: what is smaller is folded into its directory's "other"
DEEPEST = 8


def file_tree(files: pd.DataFrame, shape: Shape = "treemap") -> go.Figure:
    """The final filesystem as a tree of directories; area is bytes of files.

    Parameters
    ----------
    files : pandas.DataFrame
        `imagelab.files` of one image; files that a higher layer hides are left out.
    shape : {"treemap", "icicle"}
    """
    reference = one_image(files)
    shown = files[files["kind"].eq("file") & files["visible"].fillna(True).astype(bool)]
    nodes = fold(shown["path"], shown["size"])
    total = int(nodes["bytes"].iloc[0])
    if not total:
        return nothing(f"{escape(reference, 60)} holds no bytes in files")
    rows = [
        (
            node["id"],
            node["parent"],
            escape(node["label"], 48),
            node["bytes"],
            hover(node["path"], "1 file" if node["files"] == 1 else f"{node['files']:,} files"),
            node["kind"],
        )
        for node in nodes.to_dict("records")
    ]
    directories = nodes[nodes["kind"].eq("directory")].iloc[1:]
    finding = f"{escape(reference, 44)}: {len(shown):,} files, {format_bytes(total)}"
    if len(directories):
        # The deepest directory that still holds over half, or the largest: the one that says most.
        heavy = directories[directories["bytes"].gt(total / 2)]
        pick = heavy.iloc[-1] if len(heavy) else directories.loc[directories["bytes"].idxmax()]
        finding += f", {share(pick['bytes'], total)} of it under {escape(pick['path'], 50)}"
    figure = go.Figure(_tree_trace(rows, shape, [NODE_COLOURS[row[5]] for row in rows]))
    figure.update_traces(maxdepth=5)
    legend_swatches(
        figure,
        [
            (name, NODE_COLOURS[key])
            for key, name in (("directory", "directory"), ("file", "one file"), ("other", "smaller ones, together"))
        ],
    )
    return titled(figure, finding, "Final filesystem; area is bytes of files, uncompressed. Click to zoom", height=580)


def fold(paths: pd.Series, sizes: pd.Series, smallest: float = SMALLEST, deepest: int = DEEPEST) -> pd.DataFrame:
    """A tree of what is big enough to see, from paths and sizes; the rest of a directory is one node.

    Returns
    -------
    pandas.DataFrame
        id, parent (of the root: ""), label, path, bytes, files, kind (``directory``, ``file``, ``other``);
        parents stand before their children, and a directory's bytes are the sum of its children's.
    """
    sizes = sizes.fillna(0).astype("int64").reset_index(drop=True)
    paths = paths.astype("str").reset_index(drop=True)
    total = int(sizes.sum())
    least = max(total * smallest, 1)
    big = sizes.ge(least)
    folder = paths[~big].str.replace(r"/[^/]*$", "", regex=True)
    summed = sizes[~big].groupby(folder).agg(["sum", "size"])
    entries = pd.concat(
        [
            pd.DataFrame({"rest": paths[big], "bytes": sizes[big], "files": 1, "leaf": True}),
            pd.DataFrame(
                {"rest": summed.index.astype("str"), "bytes": summed["sum"], "files": summed["size"], "leaf": False}
            ),
        ],
        ignore_index=True,
    )
    entries["rest"] = entries["rest"].str.strip("/")
    entries["node"] = "/"
    columns = ["id", "parent", "label", "path", "bytes", "files", "kind"]
    nodes = [pd.DataFrame([["/", "", "/", "/", total, len(paths), "directory"]], columns=columns)]
    for _ in range(deepest):
        entries = entries[entries["rest"].ne("")]
        if entries.empty:
            break
        split = entries["rest"].str.partition("/")
        entries = entries.assign(head=split[0], rest=split[2], last=entries["leaf"] & split[2].eq(""))
        level = entries.groupby(["node", "head"], sort=False, as_index=False).agg(
            bytes=("bytes", "sum"), files=("files", "sum"), last=("last", "all")
        )
        level = level[level["bytes"].ge(least)]
        level["id"] = level["node"].str.rstrip("/") + "/" + level["head"]
        level["kind"] = level["last"].map({True: "file", False: "directory"})
        nodes.append(level.assign(parent=level["node"], label=level["head"], path=level["id"])[columns])
        entries = entries.merge(level[["node", "head", "id"]], on=["node", "head"])
        entries = entries.assign(node=entries["id"]).drop(columns=["id", "head"])
    tree = pd.concat(nodes, ignore_index=True)
    inside = tree.groupby("parent")[["bytes", "files"]].sum()
    folders = tree[tree["kind"].eq("directory")].set_index("id")
    rest = folders[["bytes", "files"]].sub(inside.reindex(folders.index).fillna(0)).astype("int64")
    rest = rest[rest["bytes"].gt(0) & rest.index.isin(inside.index)]
    other = rest.assign(
        id=rest.index + "/\0", parent=rest.index, label="other", path=rest.index + " (other)", kind="other"
    )
    return pd.concat([tree, other.reset_index(drop=True)[columns]], ignore_index=True)
