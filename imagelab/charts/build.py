"""Builds: where their seconds went, what a rebuild repeats, and what the context holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from imagelab.analyses.cache_log import critical_steps
from imagelab.charts.theme import (
    INK,
    INSTRUCTION_COLOURS,
    NODE_COLOURS,
    hover,
    instruction_kind,
    legend_swatches,
    nothing,
    share,
    titled,
)
from imagelab.charts.trees import tree_trace
from imagelab.display import escape
from imagelab.dockerfile.context import context_sizes
from imagelab.frames import format_bytes

HIT, MISS = "#009e73", "#d55e00"  # the theme's palette: apart for colour-blind people too; shapes differ as well
CRITICAL = "#d0343a"
OWN_WORK = "the builder itself"
SMALLEST = 1 / 300  # of the whole context: smaller paths are folded into "other"


def build_gantt(logs: pd.DataFrame | Mapping[str, pd.DataFrame]) -> go.Figure:
    """A build over time: a lane per stage, cached steps hollow, the critical path outlined.

    Parameters
    ----------
    logs : DataFrame or mapping of name to DataFrame
        `read_build_log`'s frame; several are drawn below each other on one axis of seconds. Where a log has no
        timestamps, each lane begins at 0 and the title says so.
    """
    frames = {"": logs} if isinstance(logs, pd.DataFrame) else dict(logs)
    drawn = {name: _placed(log) for name, log in frames.items() if log["duration"].notna().any()}
    if not drawn:
        return nothing("No step of these logs has a known duration")
    lanes = [frame["lane"].nunique() for frame in drawn.values()]
    height = 130 + 46 * sum(lanes) + 30 * len(drawn)
    names = [f"<b>{escape(name, 60)}</b>" if name else "" for name in drawn]
    figure = make_subplots(
        rows=len(drawn),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=34 / height if len(drawn) > 1 else 0,
        row_heights=lanes,
        subplot_titles=names,
    )
    figure.update_annotations(x=0, xanchor="left", font_size=13)
    for row, frame in enumerate(drawn.values(), 1):
        _bars(figure, frame, row)
        figure.update_yaxes(autorange="reversed", row=row, col=1)
    kinds = {kind for frame in drawn.values() for kind in frame["kind"]}
    legend_swatches(figure, [(kind, colour) for kind, colour in INSTRUCTION_COLOURS.items() if kind in kinds])
    figure.update_layout(barmode="overlay", xaxis={"visible": True}, yaxis={"visible": True})
    figure.update_xaxes(ticksuffix=" s", row=len(drawn), col=1)
    ends = {name: float((frame["start"] + frame["seconds"]).max()) for name, frame in drawn.items()}
    hits = {name: int(frame["cached"].fillna(False).sum()) for name, frame in drawn.items()}
    told = [
        f"{escape(name, 40) or 'This build'} took {ends[name]:.1f} s, {hits[name]} step{'s' * (hits[name] != 1)} cached"
        for name in drawn
    ]
    exact = all(frame["exact"].all() for frame in drawn.values())
    measure = "seconds by stage; hollow: cached; red outline: critical path"
    measure += "" if exact else "; without timestamps each stage is drawn from 0"
    titled(figure, "; ".join(told), measure, height=height)
    # below the seconds, however flat the chart is
    return figure.update_layout(
        legend={"yref": "container", "y": 0, "yanchor": "bottom"}, margin={"b": 72, "t": figure.layout.margin.t + 18}
    )


def _placed(log: pd.DataFrame) -> pd.DataFrame:
    """Rows with a lane, a start and seconds."""
    frame = log[log["duration"].notna() & (log["status"] != "gap")].copy()
    frame["critical"] = critical_steps(log)[frame.index]
    steps = frame["step"].notna()
    lane = frame["stage"].fillna("build").where(steps, OWN_WORK)
    frame["lane"] = lane + (" (" + frame["platform"] + ")").fillna("")
    frame["kind"] = [
        instruction_kind(i) if step else "other" for i, step in zip(frame["instruction"], steps, strict=True)
    ]
    frame["seconds"] = frame["duration"].astype(float)
    frame["exact"] = bool(frame["started"].notna().all())
    if frame["exact"].all():
        frame["start"] = (frame["started"] - frame["started"].min()).dt.total_seconds()
    else:
        frame["start"] = frame.groupby("lane")["seconds"].cumsum() - frame["seconds"]
    return frame


def _bars(figure: go.Figure, frame: pd.DataFrame, row: int) -> None:
    least = float((frame["start"] + frame["seconds"]).max()) / 150 or 0.01  # else a cached step could not be seen
    colours = frame["kind"].map(INSTRUCTION_COLOURS)
    cached = frame["cached"].fillna(False).astype(bool)
    texts = [
        hover(name, f"{seconds:.2f} s", *(["cached"] if hit else []), *(["on the critical path"] if critical else []))
        for name, seconds, hit, critical in zip(frame["name"], frame["seconds"], cached, frame["critical"], strict=True)
    ]
    figure.add_trace(
        go.Bar(
            orientation="h",
            y=[escape(lane, 34) for lane in frame["lane"]],
            x=frame["seconds"].clip(lower=least),
            base=frame["start"],
            width=0.62,
            marker={
                "color": ["rgba(0,0,0,0)" if hit else colour for hit, colour in zip(cached, colours, strict=True)],
                "line": {
                    "color": [
                        CRITICAL if on else colour for on, colour in zip(frame["critical"], colours, strict=True)
                    ],
                    "width": [3 if on else 1.5 for on in frame["critical"]],
                },
            },
            hovertext=texts,
            hoverinfo="text",
            showlegend=False,
        ),
        row=row,
        col=1,
    )


def stage_graph(plan: pd.DataFrame) -> go.Figure:
    """The steps of a plan by stage, with what waits for what; hits are hollow circles, misses filled squares."""
    if plan.empty:
        return nothing("This build has no steps to judge")
    ids = [f"{stage}:{step}" for stage, step in zip(plan["stage"], plan["step"], strict=True)]
    stages = list(dict.fromkeys(plan["stage"]))
    heights = -plan.groupby("stage").cumcount()
    place = {name: (stages.index(stage), y) for name, stage, y in zip(ids, plan["stage"], heights, strict=True)}
    lines: dict[str, list[float | None]] = {"x": [], "y": []}
    for name, needs in zip(ids, plan["needs"].fillna(""), strict=True):
        for other in needs.split():
            for axis, which in (("x", 0), ("y", 1)):
                lines[axis] += [place[other][which], place[name][which], None]
    figure = go.Figure(
        go.Scatter(**lines, mode="lines", line={"color": INK, "width": 1}, hoverinfo="skip", showlegend=False)
    )
    for hit, colour, symbol, words in (
        (True, HIT, "circle-open", "from the cache"),
        (False, MISS, "square", "runs again"),
    ):
        rows = plan[plan["hit"] == hit]
        at = [place[f"{stage}:{step}"] for stage, step in zip(rows["stage"], rows["step"], strict=True)]
        figure.add_trace(
            go.Scatter(
                x=[x for x, _ in at],
                y=[y for _, y in at],
                mode="markers+text",
                name=words,
                marker={"color": colour, "symbol": symbol, "size": 15, "line": {"width": 3, "color": colour}},
                text=[f"{i} {escape(a, 22)}" for i, a in zip(rows["instruction"], rows["arguments"], strict=True)],
                textposition="middle right",
                hovertext=[
                    hover(f"{i} {a}", escape(reason, 200), "" if pd.isna(s) else f"{s:.1f} s")
                    for i, a, reason, s in rows[["instruction", "arguments", "reason", "seconds"]].itertuples(
                        index=False
                    )
                ],
                hoverinfo="text",
            )
        )
    figure.update_xaxes(
        tickvals=list(range(len(stages))),
        ticktext=[escape(s, 24) for s in stages],
        side="top",
        range=[-0.3, len(stages) - 0.2],
    )
    figure.update_yaxes(visible=False)
    misses = int((~plan["hit"]).sum())
    finding = f"{misses} of {len(plan)} steps run again" if misses else "Every step comes from the cache"
    height = 130 + 44 * int(plan.groupby("stage").size().max())
    return titled(figure, finding, "steps by stage; lines: what a step waits for", height=height)


def context_treemap(context: pd.DataFrame) -> go.Figure:
    """The build context by directory: area is bytes; what .dockerignore holds back is grey."""
    sizes = context_sizes(context)
    total = int(sizes["total"].iloc[0])
    if not total:
        return nothing("The build context holds no bytes")
    leaves = context[(context["kind"] != "directory") & (context["size"] >= total * SMALLEST)]
    nodes: dict[str, dict[str, Any]] = {}
    for row in sizes[sizes["total"] >= total * SMALLEST].itertuples():
        nodes[row.directory] = {"size": row.total, "ignored": row.sent == 0, "mixed": row.ignored > 0 and row.sent > 0}
    for row in leaves.itertuples():
        nodes[row.path] = {"size": row.size, "ignored": bool(row.ignored), "mixed": False}
    parents = {path: "" if path == "." else (path.rpartition("/")[0] or ".") for path in nodes}
    for path in [path for path in nodes if path in set(parents.values())]:
        rest = nodes[path]["size"] - sum(nodes[child]["size"] for child in nodes if parents.get(child) == path)
        if rest > 0:
            nodes[f"{path}/…"] = {"size": rest, "ignored": nodes[path]["ignored"], "mixed": nodes[path]["mixed"]}
            parents[f"{path}/…"] = path
    colour = {(True, False): NODE_COLOURS["other"], (False, False): INSTRUCTION_COLOURS["COPY"]}
    drawn = [
        (
            path,
            parents[path],
            "context" if path == "." else escape(path.rpartition("/")[2], 40),
            int(node["size"]),
            hover(path, "partly ignored" if node["mixed"] else "ignored" if node["ignored"] else "sent"),
            "",
        )
        for path, node in nodes.items()
    ]
    colours = [colour.get((n["ignored"], n["mixed"]), NODE_COLOURS["directory"]) for n in nodes.values()]
    figure = go.Figure(tree_trace(drawn, "treemap", colours))
    legend_swatches(
        figure,
        [
            ("sent", INSTRUCTION_COLOURS["COPY"]),
            ("ignored", NODE_COLOURS["other"]),
            ("both", NODE_COLOURS["directory"]),
        ],
    )
    held = int(sizes["ignored"].iloc[0])
    sent, all_ = format_bytes(total - held), format_bytes(total)
    finding = f".dockerignore holds back {share(held, total)} of the context: {sent} of {all_} can be sent"
    return titled(figure, finding, "bytes of files, uncompressed", height=460)
