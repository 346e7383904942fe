"""Treemaps and icicles: the size hierarchy, and the files, folded so that a million files draw at once."""

from __future__ import annotations

import textwrap
from collections.abc import Container
from typing import Any, Literal, NamedTuple

import pandas as pd
import plotly.graph_objects as go

from imagelab.charts import theme
from imagelab.charts.menu import per_image
from imagelab.core.errors import ImagelabError
from imagelab.core.frames import format_bytes
from imagelab.core.text import escape

Shape = Literal["treemap", "icicle"]
By = Literal["layer", "waste", "package"]
SMALLEST = 1 / 300  # of the whole: smaller entries are added up as "other" in their directory
DEEPEST = 8


class Node(NamedTuple):
    """A rectangle: its id and its parent's, its safe label and hover text, its bytes and colour."""

    id: str
    parent: str
    label: str
    bytes: int
    hover: str
    colour: str


def size_tree(history: pd.DataFrame, shape: Shape = "treemap") -> go.Figure:
    """Draw the size hierarchy: image, base or own, instruction, layer; the area is bytes.

    Parameters
    ----------
    history : pandas.DataFrame
        `imagelab.history` of one or many images.
    shape : {"treemap", "icicle"}
    """
    rows, measure = theme.sized(history)
    rows = rows[rows["bytes"] > 0]
    if rows.empty:
        return theme.nothing(f"No step of {theme.quoted(history['reference'].unique())} has a known size above zero")
    rows["kind"] = rows["instruction"].map(theme.instruction_kind)
    rows["origin"] = rows["from_base"].map({True: "base", False: "own"}).astype(object).fillna("base or own unknown")
    total, images = int(rows["bytes"].sum()), rows["reference"].nunique()
    colours = {"base": theme.INSTRUCTION_COLOURS["FROM"]} | theme.INSTRUCTION_COLOURS
    directory = theme.NODE_COLOURS["directory"]
    nodes = [Node("", "", f"{images} images", total, theme.hover(f"{images} images"), directory)] if images > 1 else []
    levels = ["reference", "origin", "kind"]
    for depth in (1, 2, 3):
        for parts, size in rows.groupby(levels[:depth], sort=False)["bytes"].sum().items():
            *above, name = [parts] if depth == 1 else parts
            colour = colours.get(name, directory) if depth > 1 else directory
            nodes.append(
                Node("\n".join([*above, name]), "\n".join(above), escape(name, 60), size, theme.hover(name), colour)
            )
    for row in rows.itertuples():
        parent = "\n".join((row.reference, row.origin, row.kind))
        text = theme.hover(row.created_by or row.comment or "no history", f"step {row.step}")
        label = theme.step_label(row.created_by, 66)
        nodes.append(Node(f"{parent}\n{row.step}", parent, label, row.bytes, text, colours[row.kind]))
    by_origin = rows.groupby("origin")["bytes"].sum()
    if "own" in by_origin and "base" in by_origin:
        finding = f"{theme.share(by_origin['own'], total)} of {format_bytes(total)} is from own layers, the rest from the base"
    else:
        brought = rows.groupby("kind")["bytes"].sum()
        part = f"{theme.share(brought.max(), total)} of {format_bytes(total)}"
        finding = f"{part} comes from {brought.idxmax()} instructions"
    if images == 1:
        finding = f"{escape(rows['reference'].iloc[0], 44)}: {finding}"
    figure = go.Figure(tree_trace(nodes, shape))
    drawn = set(rows["kind"])
    theme.legend_swatches(
        figure, [(kind, colour) for kind, colour in theme.INSTRUCTION_COLOURS.items() if kind in drawn]
    )
    measure = f"Image, base or own, instruction, layer; the area is {measure}. Click to zoom"
    return theme.titled(figure, finding, measure, height=540)


@per_image
def file_tree(
    files: pd.DataFrame,
    shape: Shape = "treemap",
    layer_index: int | None = None,
    by: By | None = None,
    packages: pd.Series | None = None,
) -> go.Figure:
    """Draw the final filesystem, or what one layer stored, as a tree of directories; the area is bytes of files.

    Parameters
    ----------
    files : pandas.DataFrame
        `imagelab.files` of one image; for several images, a menu selects one.
    shape : {"treemap", "icicle"}
    layer_index : int, optional
        Show what this layer stored instead, including files that a higher layer hides.
    by : {"layer", "waste", "package"}, optional
        What the colour means. By waste, the area includes the copies that containers cannot see.
    packages : pandas.Series, optional
        The package of each path (`imagelab.size.sizes.package_of`), for ``by="package"``.
    """
    name = escape(files["reference"].iloc[0], 44) if len(files) else "The image"
    shown = files[files["kind"].eq("file")]
    measure = "All stored files"
    if layer_index is not None:
        shown, measure = shown[shown["layer_index"].eq(layer_index)], f"Files that layer {layer_index} stored"
        name = f"Layer {layer_index}"
    elif by != "waste":
        shown, measure = shown[shown["visible"].fillna(True).astype(bool)], "Final filesystem"
    groups, colours = _grouped(shown, by, packages)
    nodes = join_chains(fold(shown["path"], shown["size"], groups=groups))
    total = int(nodes["bytes"].iloc[0])
    if not total:
        return theme.nothing(f"{name} has no bytes in files")
    directories = nodes[nodes["kind"].eq("directory") & nodes["path"].ne("/")]
    finding = f"{name}: {len(shown):,} files, {format_bytes(total)}"
    if len(directories):
        # The deepest directory with over half of the bytes, else the largest: the most specific answer.
        heavy = directories[directories["bytes"].gt(total / 2)]
        pick = heavy.iloc[-1] if len(heavy) else directories.nlargest(1, "bytes").iloc[0]
        finding += f", {theme.share(pick['bytes'], total)} of it under {escape(pick['path'], 50)}"
    figure = draw_tree(nodes, shape, colours)
    return theme.titled(
        figure, finding, f"{measure}; the area is bytes of files, uncompressed. Click to zoom", height=580
    )


def _grouped(shown: pd.DataFrame, by: By | None, packages: pd.Series | None) -> tuple[pd.Series, dict[str, str]]:
    """Return the group of each file, and the colours of the groups that a legend names."""
    if by is None:
        return pd.Series("files", shown.index), {"files": theme.NODE_COLOURS["file"]}
    if by == "waste":
        kept = shown["visible"].fillna(True).astype(bool)
        colours = {"in the final filesystem": theme.NODE_COLOURS["file"], "wasted": theme.REASON_COLOURS["deleted"]}
        return kept.map(dict(zip((True, False), colours, strict=True))), colours
    if by == "layer":
        step = shown["instruction"].drop_duplicates()
        labels = dict(zip(step, step.map(lambda text: theme.step_label(text, 30)), strict=True))
        groups = "layer " + shown["layer_index"].astype("str") + ": " + shown["instruction"].map(labels).astype("str")
    elif by == "package":
        found = shown["path"].map(packages if packages is not None else pd.Series(dtype="str"))
        groups = found.astype("object").fillna("no package").astype("str")
    else:
        raise ImagelabError(f"invalid by={by!r}; expected 'layer', 'waste' or 'package'")
    sums = shown["size"].groupby(groups).sum().drop("no package", errors="ignore")
    largest = sums[sums > sums.sum() / 100].nlargest(len(theme.GROUP_COLOURS))
    return groups, dict(zip(largest.index, theme.GROUP_COLOURS, strict=False)) | {f"other {by}s or none": theme.REST}


def draw_tree(nodes: pd.DataFrame, shape: Shape, colours: dict[str, str]) -> go.Figure:
    """Draw the nodes of `fold`: those without children have the colour of their group, directories are dark grey."""
    parents, rows = set(nodes["parent"]), []
    for node in nodes.to_dict("records"):
        count = "1 file" if node["files"] == 1 else f"{node['files']:,} files"
        colour = colours.get(node["group"], theme.REST)
        colour = theme.NODE_COLOURS["directory"] if node["id"] in parents else colour
        mostly = [f"mostly {escape(node['group'], 60)}"] if len(colours) > 1 else []
        text = theme.hover(node["path"], count, *mostly)
        rows.append(Node(node["id"], node["parent"], escape(node["label"], 48), node["bytes"], text, colour))
    figure = go.Figure(tree_trace(rows, shape))
    figure.update_traces(maxdepth=5)
    theme.legend_swatches(figure, [(escape(word, 40), colour) for word, colour in colours.items()])
    return figure


def fold(
    paths: pd.Series,
    sizes: pd.Series,
    smallest: float = SMALLEST,
    deepest: int = DEEPEST,
    groups: pd.Series | None = None,
) -> pd.DataFrame:
    """Build a tree of the entries that are big enough to see; the rest of a directory is one node.

    Returns
    -------
    pandas.DataFrame
        id, parent (of the root: ""), label, path, bytes, files, kind (``directory``, ``file``, ``other``), group (the one
        with most bytes, of nodes without children);
        parents come before their children, and a directory's bytes are the sum of its children's.
    """
    sizes = sizes.fillna(0).astype("int64").reset_index(drop=True)
    paths = paths.astype("str").reset_index(drop=True)
    total = int(sizes.sum())
    least = max(total * smallest, 1)
    big, groups = sizes.ge(least), pd.Series("", paths.index) if groups is None else groups.reset_index(drop=True)
    folder = paths[~big].str.replace(r"/[^/]*$", "", regex=True).rename("path")
    summed = sizes[~big].groupby([folder, groups[~big].rename("group")]).agg(["sum", "size"]).reset_index()
    single = pd.DataFrame({"path": paths[big], "group": groups[big], "bytes": sizes[big], "files": 1, "leaf": True})
    folded = summed.rename(columns={"sum": "bytes", "size": "files"}).assign(leaf=False)
    entries = pd.concat([single, folded], ignore_index=True)
    nodes = _nodes(entries, deepest, least)
    tree = pd.DataFrame(nodes.values())
    inside = tree.groupby("parent")[["bytes", "files"]].sum()
    folders = tree[tree["kind"].eq("directory")].set_index("id")
    rest = folders[["bytes", "files"]].sub(inside.reindex(folders.index).fillna(0)).astype("int64")
    rest = rest[rest["bytes"].gt(0) & rest.index.isin(inside.index)]
    names = {"id": rest.index + "/\0", "parent": rest.index, "path": rest.index + " (other)"}
    tree = pd.concat([tree, rest.assign(**names, label="other", kind="other")[list(tree)]], ignore_index=True)
    entries["node"] = [_nearest(path, nodes) for path in entries["path"]]
    summed = entries.groupby(["node", "group"], as_index=False)["bytes"].sum()
    main = summed.sort_values("bytes").drop_duplicates("node", keep="last").set_index("node")["group"]
    return tree.assign(group=tree["id"].str.removesuffix("/\0").map(main).astype("object").fillna(""))


def _nodes(entries: pd.DataFrame, deepest: int, least: float) -> dict[str, dict[str, Any]]:
    """The root, and each path of at least so many bytes and at most so many parts, by level."""

    def empty(place: str, above: str, name: str) -> dict[str, Any]:
        return {"id": place, "parent": above, "label": name, "path": place, "bytes": 0, "files": 0, "kind": "file"}

    root = empty("/", "", "/") | {"bytes": entries["bytes"].sum(), "files": entries["files"].sum(), "kind": "directory"}
    levels: list[dict[str, dict[str, Any]]] = [{} for _ in range(deepest)]
    for path, _, size, files, is_file in entries.itertuples(index=False, name=None):
        place = ""
        for level, name in zip(levels, path[1:].split("/") if path else (), strict=False):
            above, place = place, f"{place}/{name}"
            node = level.get(place) or level.setdefault(place, empty(place, above or "/", name))
            node["bytes"] += size
            node["files"] += files
            if not is_file or place != path:
                node["kind"] = "directory"
    return {"/": root} | {place: node for level in levels for place, node in level.items() if node["bytes"] >= least}


def _nearest(path: str, nodes: Container[str]) -> str:
    """The node that an entry is counted in: its own, or its nearest directory that has one."""
    while path not in nodes:
        path = path.rpartition("/")[0] or "/"
    return path


def join_chains(tree: pd.DataFrame, most: float = 0.99) -> pd.DataFrame:
    """Join each directory of `fold` with its only subdirectory where that has nearly all of its bytes."""
    nodes = {node["id"]: node for node in tree.to_dict("records")}
    inside: dict[Any, list[dict[Any, Any]]] = {}
    for node in nodes.values():
        inside.setdefault(node["parent"], []).append(node)
    for node in [*nodes.values()]:
        while node["id"] in nodes:
            children = inside.get(node["id"], [])
            named = [child for child in children if child["kind"] != "other"]
            if len(named) != 1 or named[0]["kind"] != "directory" or named[0]["bytes"] < most * node["bytes"]:
                break
            only = named[0]
            if only["id"] not in inside and len(children) > 1:
                break  # its bytes would be lost beside those of "other"
            nodes.pop(only["id"])
            inside[node["id"]].remove(only)
            for child in inside.pop(only["id"], []):
                child["parent"] = node["id"]
                inside[node["id"]].append(child)
            node["label"] = f"{node['label'].rstrip('/')}/{only['label']}"
            node |= {"path": only["path"], "group": only["group"]}
    return pd.DataFrame(nodes.values(), columns=tree.columns)


def tree_trace(nodes: list[Node], shape: Shape) -> Any:
    """Return a treemap or icicle trace; the root comes first."""
    if shape not in ("treemap", "icicle"):
        raise ImagelabError(f"invalid shape {shape!r}; expected 'treemap' or 'icicle'")
    ids = {node.id: str(place) for place, node in enumerate(nodes)}
    whole = nodes[0].bytes or 1
    parents = {node.parent for node in nodes}
    trace: dict[str, Any] = {
        "ids": list(ids.values()),
        "parents": ["", *(ids.get(node.parent, "") for node in nodes[1:])],
        "labels": ["<br>".join(_lines(node.label, shape, node.id not in parents)) for node in nodes],
        "values": [node.bytes for node in nodes],
        "text": [format_bytes(node.bytes) for node in nodes],
        "hovertext": [
            f"{node.hover}<br>{format_bytes(node.bytes)}, {theme.share(node.bytes, whole)}" for node in nodes
        ],
        "hoverinfo": "text",
        "textinfo": "label+text",
        "branchvalues": "total",
        "sort": True,
        "textfont": {"color": [theme.text_on(node.colour) for node in nodes]},
        "pathbar": {"visible": True, "thickness": 22, "textfont": {"color": theme.text_on(nodes[0].colour)}},
        "marker": {"colors": [node.colour for node in nodes], "line": {"width": 1, "color": "rgba(255,255,255,0.7)"}},
        "domain": {"x": [0, 1], "y": [0, 1]},
    }
    if shape == "icicle":
        return go.Icicle(**trace, leaf={"opacity": 1})
    trace["marker"]["pad"] = {"t": 22, "l": 3, "r": 3, "b": 3}
    return go.Treemap(**trace, tiling={"packing": "squarify", "pad": 2})


def _lines(label: str, shape: Shape, leaf: bool) -> list[str]:
    """Wrap the label of a leaf to fit its rectangle; entities are not broken."""
    return textwrap.wrap(label, 22, break_long_words=False)[: 3 if shape == "treemap" else 2] if leaf else [label]
