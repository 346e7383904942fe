"""Charts of builds: seconds by step, what a rebuild repeats, and the context's bytes."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from imagelab.build.context import context_sizes
from imagelab.build.logs.cost import critical_steps
from imagelab.charts import theme
from imagelab.charts.trees import SMALLEST, Node, tree_trace
from imagelab.core.frames import format_bytes
from imagelab.core.text import escape

HIT, MISS = "#009e73", "#d55e00"  # distinguishable for colour-blind readers; the shapes differ too
CRITICAL = "#d0343a"
OWN_WORK = "builder"
#: The colour for what happens to a path of the context.
FATES = {
    "sent": theme.INSTRUCTION_COLOURS["COPY"],
    "ignored": theme.NODE_COLOURS["other"],
    "partly ignored": theme.NODE_COLOURS["directory"],
}


def build_gantt(logs: pd.DataFrame | Mapping[str, pd.DataFrame]) -> go.Figure:
    """Draw a build over time: a lane per stage, cached steps hollow, the critical path outlined.

    Parameters
    ----------
    logs : DataFrame or mapping of name to DataFrame
        `read_build_log`'s frame; several are drawn below each other on one axis of seconds. Without timestamps,
        each lane starts at 0 and the title says so.
    """
    frames = {"": logs} if isinstance(logs, pd.DataFrame) else dict(logs)
    drawn = {name: _placed(log) for name, log in frames.items() if log["duration"].notna().any()}
    if not drawn:
        return theme.nothing("These logs have no durations")
    findings = []
    for name, frame in drawn.items():
        end, hits = (frame["start"] + frame["seconds"]).max(), int(frame["cached"].sum())
        findings.append(f"{escape(name, 40) or 'This build'} took {end:.1f} s, {hits} step{'s' * (hits != 1)} cached")
    return _gantt(drawn, "; ".join(findings), "seconds by stage")


def rebuild_gantt(explained: pd.DataFrame, before: pd.DataFrame, after: pd.DataFrame) -> go.Figure:
    """Draw two builds with a row per step; the first miss of each chain is marked with its cause.

    Parameters
    ----------
    explained : DataFrame
        `explain_build`'s frame of the two builds.
    before, after : DataFrame
        `read_build_log`'s frames.
    """
    drawn = {}
    for name, log in (("before", before), ("after", after)):
        frame = _placed(log)
        steps = frame["step"].notna() & ~frame["instruction"].isin(["FROM", "LINK"])
        drawn[name] = frame[steps].assign(lane=_step_names(frame[steps]))
    if any(frame.empty for frame in drawn.values()):
        return theme.nothing("These logs have no steps with a duration")
    lost = explained.loc[~explained["hit"].fillna(True), "seconds"].sum()
    figure = _gantt(drawn, f"{lost:.1f} s in steps that ran again", "seconds by step")
    first = explained[explained["cause"].notna() & explained["cause"].ne("parent")]
    for lane, cause in zip(_step_names(first), first["cause"], strict=True):
        figure.add_annotation(
            x=1, y=escape(lane, 34), xref="x2 domain", yref="y2", text=cause, showarrow=False, font={"color": MISS}
        )
    return figure


def _step_names(steps: pd.DataFrame) -> pd.Series:
    stage = steps["stage"].fillna("").str.cat(steps["step"].astype("string"), " ").str.strip()
    return stage + " " + steps["instruction"] + " " + steps["arguments"].fillna("")


def _gantt(drawn: Mapping[str, pd.DataFrame], finding: str, measure: str) -> go.Figure:
    lanes = [frame["lane"].nunique() for frame in drawn.values()]
    height = 130 + 46 * sum(lanes) + 30 * len(drawn)
    gap = 34 / height if len(drawn) > 1 else 0
    titles = {"subplot_titles": [f"<b>{escape(name, 60)}</b>" if name else "" for name in drawn]}
    figure = make_subplots(len(drawn), 1, shared_xaxes=True, vertical_spacing=gap, row_heights=lanes, **titles)
    figure.update_annotations(x=0, xanchor="left", font_size=13)
    for row, frame in enumerate(drawn.values(), 1):
        _bars(figure, frame, row)
        figure.update_yaxes(autorange="reversed", row=row, col=1)
    theme.kind_swatches(figure, pd.concat(drawn.values())["kind"])
    figure.update_layout(barmode="overlay", xaxis={"visible": True}, yaxis={"visible": True})
    figure.update_xaxes(ticksuffix=" s", row=len(drawn), col=1)
    exact = all(frame["exact"].all() for frame in drawn.values())
    measure += "; hollow: cached; red outline: critical path"
    measure += "" if exact else "; no timestamps: each stage starts at 0"
    theme.titled(figure, finding, measure, height=height)
    # below the axis, also in a flat chart
    return figure.update_layout(
        legend={"yref": "container", "y": 0, "yanchor": "bottom"}, margin={"b": 72, "t": figure.layout.margin.t + 18}
    )


def _placed(log: pd.DataFrame) -> pd.DataFrame:
    """Add a lane, a start and seconds to each row."""
    frame = log[log["duration"].notna() & (log["status"] != "gap")].copy()
    frame["critical"] = critical_steps(log)[frame.index]
    frame["cached"] = frame["cached"].fillna(False).astype(bool)
    steps = frame["step"].notna()
    lane = frame["stage"].fillna("build").where(steps, OWN_WORK)
    frame["lane"] = lane + (" (" + frame["platform"] + ")").fillna("")
    frame["kind"] = frame["instruction"].map(theme.instruction_kind).where(steps, "other")
    frame["seconds"] = frame["duration"].astype(float)
    frame["exact"] = frame["started"].notna().all()
    if frame["exact"].all():
        frame["start"] = (frame["started"] - frame["started"].min()).dt.total_seconds()
    else:
        frame["start"] = frame.groupby("lane")["seconds"].cumsum() - frame["seconds"]
    return frame


def _bars(figure: go.Figure, frame: pd.DataFrame, row: int) -> None:
    least = float((frame["start"] + frame["seconds"]).max()) / 150 or 0.01  # keeps cached steps visible
    colours = frame["kind"].map(theme.INSTRUCTION_COLOURS)
    texts = [
        theme.hover(
            step.name, f"{step.seconds:.2f} s", *["cached"] * step.cached, *["on the critical path"] * step.critical
        )
        for step in frame.itertuples()
    ]
    edge = {"color": colours.mask(frame["critical"], CRITICAL), "width": 1.5 + 1.5 * frame["critical"]}
    theme.add_bars(
        figure,
        [escape(lane, 34) for lane in frame["lane"]],
        frame["seconds"].clip(lower=least),
        colours.mask(frame["cached"], "rgba(0,0,0,0)"),
        texts,
        base=frame["start"],
        width=0.62,
        marker={"line": edge},
        showlegend=False,
        row=row,
        col=1,
    )


def stage_graph(plan: pd.DataFrame) -> go.Figure:
    """Draw the steps of a plan by stage, with their dependencies; hits are hollow circles, misses filled squares."""
    if plan.empty:
        return theme.nothing("This build has no steps")
    stages = list(dict.fromkeys(plan["stage"]))
    drawn = plan.assign(x=plan["stage"].map(stages.index), y=-plan.groupby("stage").cumcount())
    place = {f"{step.stage}:{step.step}": (step.x, step.y) for step in drawn.itertuples()}
    edges = [
        end
        for step in drawn.fillna({"needs": ""}).itertuples()
        for other in step.needs.split()
        for end in (place[other], (step.x, step.y), (None, None))
    ]
    x, y = zip(*edges, strict=True) if edges else ((), ())
    figure = go.Figure()
    figure.add_scatter(
        x=x, y=y, mode="lines", line={"color": theme.INK, "width": 1}, hoverinfo="skip", showlegend=False
    )
    for hit, colour, symbol, words in (
        (True, HIT, "circle-open", "from the cache"),
        (False, MISS, "square", "runs again"),
    ):
        rows = drawn[drawn["hit"] == hit]
        seconds = rows["seconds"].map("{:.1f} s".format, na_action="ignore").astype(object).fillna("")
        figure.add_scatter(
            x=rows["x"],
            y=rows["y"],
            mode="markers+text",
            name=words,
            marker={"color": colour, "symbol": symbol, "size": 15, "line": {"width": 3, "color": colour}},
            text=[f"{step.instruction} {escape(step.arguments, 22)}" for step in rows.itertuples()],
            textposition="middle right",
            hovertext=[
                theme.hover(f"{step.instruction} {step.arguments}", escape(step.reason, 200), took)
                for step, took in zip(rows.itertuples(), seconds, strict=True)
            ],
            hoverinfo="text",
        )
    ticks = {"tickvals": list(range(len(stages))), "ticktext": [escape(stage, 24) for stage in stages]}
    figure.update_xaxes(ticks, side="top", range=[-0.3, len(stages) - 0.2])
    figure.update_yaxes(visible=False)
    misses = int((~plan["hit"]).sum())
    finding = f"{misses} of {len(plan)} steps run again" if misses else "Every step comes from the cache"
    height = 130 + 44 * int(plan.groupby("stage").size().max())
    return theme.titled(figure, finding, "steps by stage; a line connects a step with what it waits for", height=height)


def context_treemap(context: pd.DataFrame) -> go.Figure:
    """Draw the build context by directory; the area is bytes, ignored paths are grey."""
    sizes = context_sizes(context)
    total = int(sizes["total"].iloc[0])
    if not total:
        return theme.nothing("The build context is empty")
    least = total * SMALLEST  # smaller paths are combined into "…"
    found: dict[str, tuple[int, str]] = {}
    for row in sizes[sizes["total"] >= least].itertuples():
        fate = "ignored" if row.sent == 0 else "partly ignored" if row.ignored > 0 else "sent"
        found[row.directory] = row.total, fate
    for row in context[(context["kind"] != "directory") & (context["size"] >= least)].itertuples():
        found[row.path] = row.size, "ignored" if row.ignored else "sent"
    parents = {path: "" if path == "." else (path.rpartition("/")[0] or ".") for path in found}
    inside = pd.Series({path: size for path, (size, _) in found.items()}).groupby(parents).sum()
    for path, drawn in inside.drop("").items():
        size, fate = found[path]
        if size > drawn:
            found[f"{path}/…"], parents[f"{path}/…"] = (size - drawn, fate), path
    nodes = [
        Node(
            path,
            parents[path],
            "context" if path == "." else escape(path.rpartition("/")[2], 40),
            int(size),
            theme.hover(path, fate),
            FATES[fate],
        )
        for path, (size, fate) in found.items()
    ]
    figure = go.Figure(tree_trace(nodes, "treemap"))
    theme.legend_swatches(figure, list(zip(("sent", "ignored", "both"), FATES.values(), strict=True)))
    ignored = int(sizes["ignored"].iloc[0])
    finding = (
        f".dockerignore excludes {theme.share(ignored, total)} of the context: "
        f"{format_bytes(total - ignored)} of {format_bytes(total)} remain"
    )
    return theme.titled(figure, finding, "bytes of files, uncompressed", height=460)
