"""Draw the findings of scans: by layer, by fix, before and after, and by scanner."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.colors import hex_to_rgb

from imagelab.charts import theme
from imagelab.core.text import escape
from imagelab.security.scans.findings import is_counted

_WORST_FIRST = list(theme.SEVERITY_COLOURS)[::-1]
NO_LAYER = "unknown layer"


def severity_bars(blamed: pd.DataFrame) -> go.Figure:
    """Findings by the layer that introduced them, one colour per severity.

    Parameters
    ----------
    blamed : pandas.DataFrame
        From `imagelab.blame`. The base's layers come first; suppressed findings and an SBOM's components are left out.
    """
    rows = blamed[is_counted(blamed)]
    if rows.empty:
        return theme.nothing("No findings")
    known = rows["layer_index"].notna()
    layer = rows["layer_index"].astype("Float64").fillna(1e9)
    label = rows["created_by"].map(lambda text: theme.step_label(text, 60)).where(known, NO_LAYER)
    label = ("layer " + rows["layer_index"].astype("string").fillna("") + ": " + label).where(known, NO_LAYER)
    counts = _count(rows["severity"], layer, label)
    finding = f"{len(rows)} findings of unknown layers"
    if known.any():
        worst = label[known].value_counts().index[0]
        finding = f"{label.eq(worst).sum()} of {len(rows)} findings come from {worst}"
    return _stacked(counts, finding, "Findings by layer, base first, and severity")


def fixable_bars(scan: pd.DataFrame) -> go.Figure:
    """How many vulnerabilities have a fix, by severity.

    Parameters
    ----------
    scan : pandas.DataFrame
        From `imagelab.read_scan`. Only vulnerabilities that are not suppressed are drawn.
    """
    rows = scan[is_counted(scan) & (scan["finding"] == "vulnerability")]
    if rows.empty:
        return theme.nothing("No vulnerabilities")
    fixed = rows["fixed_version"].notna() | rows["status"].eq("fixed").fillna(False)
    figure = go.Figure()
    order = [word for word in _WORST_FIRST if rows["severity"].eq(word).any()]
    colours = [theme.SEVERITY_COLOURS[word] for word in order]
    for name, part, shape in (("has a fix", rows[fixed], ""), ("no fix yet", rows[~fixed], "/")):
        counts = part["severity"].value_counts().reindex(order, fill_value=0)
        pattern = {"shape": shape, "bgcolor": colours, "fgcolor": "rgba(255,255,255,0.45)", "size": 8}
        texts = [theme.hover(word, f"{count} {name}") for word, count in counts.items()]
        theme.add_bars(figure, order, counts, colours, texts, name=name, marker={"pattern": pattern})
    figure.update_layout(barmode="stack")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    finding = f"{fixed.sum()} of {len(rows)} vulnerabilities have a fix"
    serious = rows["severity"] >= "high"
    if serious.any():
        share = "all" if (serious & ~fixed).sum() == 0 else f"{(serious & fixed).sum()}"
        finding += f"; {share} of the {serious.sum()} high or critical ones do"
    return theme.legend_above(
        theme.titled(figure, finding, "Vulnerabilities by severity", height=210 + 34 * len(order))
    )


def remediation_waterfall(changes: pd.DataFrame) -> go.Figure:
    """Draw a waterfall from today's findings to those that remain, a bar per change.

    Parameters
    ----------
    changes : pandas.DataFrame
        From `imagelab.remediation`.
    """
    if not changes["findings"].sum():
        return theme.nothing("No findings")
    edits = changes[changes["kind"] != "none"].head(15)
    today, removed = (frame[[*_WORST_FIRST, "findings"]].sum() for frame in (changes, edits))
    bars = pd.DataFrame([today, *(edits.loc[row, today.index] for row in edits.index), today - removed])
    lines = edits["line"].map(lambda line: "" if pd.isna(line) else f"line {line}: ")
    labels = ["today", *(lines + edits["change"]).map(lambda text: escape(text, 60)), "remaining"]
    figure = go.Figure()
    places = list(range(len(labels)))
    start = [0, *edits["remaining"], 0]
    figure.add_bar(y=places, x=start, orientation="h", opacity=0, hoverinfo="skip", showlegend=False)
    for word in _WORST_FIRST:
        if bars[word].any():
            texts = [f"{label}<br>{count} {word}" for label, count in zip(labels, bars[word], strict=True)]
            theme.add_bars(figure, places, bars[word], theme.SEVERITY_COLOURS[word], texts, name=word)
    figure.update_layout(barmode="stack")
    theme.label_rows(figure, labels)
    finding = f"{len(edits)} changes remove {removed['findings']} of {today['findings']} findings"
    if len(edits):
        finding += f"; the first one removes {edits['findings'].iloc[0]}"
    return theme.legend_above(
        theme.titled(
            figure, finding, "Findings by change and severity; each counts once", height=190 + 32 * len(labels)
        )
    )


def scan_flow(changes: pd.DataFrame) -> go.Figure:
    """Before and after an update: findings that are fixed, new, or still there, by severity.

    Parameters
    ----------
    changes : pandas.DataFrame
        From `imagelab.compare_scans`.
    """
    rows = changes[changes["finding"] != "package"]
    if rows.empty:
        return theme.nothing("No findings in either scan")
    before = rows["severity_before"].astype("object").where(rows["change"] != "new", "not found")
    after = rows["severity_after"].astype("object").where(rows["change"] != "fixed", "fixed")
    flows = pd.DataFrame({"before": before, "after": after}).fillna("unknown").value_counts()
    colours = theme.SEVERITY_COLOURS | {"not found": theme.REST, "fixed": theme.STATE_COLOURS["good"]}
    order = [*_WORST_FIRST, "not found", "fixed"]
    left, right = (flows.groupby(level=side).sum().reindex(order).dropna().astype("int64") for side in (0, 1))
    faint = "rgba({},{},{},0.25)"
    figure = go.Figure(
        go.Sankey(
            arrangement="fixed",
            node={
                "label": [f"{word} ({total})" for word, total in [*left.items(), *right.items()]],
                "color": [colours[word] for word in [*left.index, *right.index]],
                "x": [0.001] * len(left) + [0.999] * len(right),
                "y": _middles(list(left)) + _middles(list(right)),
                "pad": 18,
                "thickness": 16,
                "line": {"color": theme.OUTLINE, "width": 1},
                "hovertemplate": "%{label}<extra></extra>",
            },
            link={
                "source": [left.index.get_loc(before) for before, _ in flows.index],
                "target": [len(left) + right.index.get_loc(after) for _, after in flows.index],
                "value": list(flows),
                "color": [
                    faint.format(*hex_to_rgb(colours[after if old == "not found" else old]))
                    for old, after in flows.index
                ],
                "customdata": [f"{count}: {before} → {after}" for (before, after), count in flows.items()],
                "hovertemplate": "%{customdata}<extra></extra>",
            },
            textfont={"color": theme.INK, "size": 13, "shadow": "none"},
        )
    )
    counts = rows["change"].value_counts()
    stay = counts["persisting"] + counts["changed"]
    finding = f"{counts['fixed']} findings are fixed, {counts['new']} are new, {stay} remain"
    return theme.titled(figure, finding, "Findings before (left) and after (right), by severity", height=380)


def scanner_agreement(agreement: pd.DataFrame) -> go.Figure:
    """Findings by the set of scanners that report them.

    Parameters
    ----------
    agreement : pandas.DataFrame
        From `imagelab.compare_scanners`.
    """
    if agreement.empty:
        return theme.nothing("No scanner reports a finding")
    alone = agreement["missed_by"].notna()
    names = agreement["found_by"].map(lambda text: escape(text, 60)).astype("string")
    several = agreement["found_by"].str.contains(", ")
    label = ("only " + names).where(~several, names + " agree")
    rank = agreement["found_by"].str.count(", ").astype("Float64") * -1
    counts = _count(agreement["severity"], rank, label)
    differ = agreement["severity_differs"].sum()
    same = f"in {differ} of them the severities differ" if differ else "with the same severity"
    finding = f"All scanners report {(~alone).sum()} of the {len(agreement)} findings, {same}"
    return _stacked(counts, finding, "Findings by the scanners that report them, and highest severity")


def epss_cvss(scan: pd.DataFrame) -> go.Figure:
    """Probability of exploitation (EPSS) against severity (CVSS); the most urgent findings are at the top right.

    Parameters
    ----------
    scan : pandas.DataFrame
        From `imagelab.read_scan`; rows with both are drawn.
    """
    rows = scan[is_counted(scan) & scan["epss"].notna() & scan["cvss_score"].notna()].drop_duplicates(["id", "package"])
    if rows.empty:
        return theme.nothing("No vulnerability has both EPSS and CVSS")
    figure = go.Figure()
    for word in _WORST_FIRST:
        part = rows[rows["severity"] == word]
        if part.empty:
            continue
        exploited = part["known_exploited"].fillna(False)
        figure.add_scatter(
            x=part["cvss_score"].astype(float),
            y=part["epss"].astype(float).clip(lower=1e-5),
            mode="markers",
            name=word,
            marker={
                "color": theme.SEVERITY_COLOURS[word],
                "size": 10,
                "symbol": ["star" if known else "circle" for known in exploited],
                "line": {"color": theme.INK, "width": 1},
            },
            hovertext=[_point(row) for row in part.to_dict("records")],
            hoverinfo="text",
        )
    first = rows.assign(weight=rows["epss"] * rows["cvss_score"]).nlargest(1, "weight").iloc[0]
    finding = f"Fix first: {escape(first['id'])} in {escape(first['package'], 40)}, "
    finding += f"EPSS {first['epss']:.1%}, CVSS {first['cvss_score']:.1f}"
    ticks = {"tickvals": [1e-4, 1e-3, 1e-2, 1e-1, 1], "ticktext": ["0.01%", "0.1%", "1%", "10%", "100%"]}
    figure.update_yaxes(type="log", title="EPSS", **ticks)
    figure.update_xaxes(range=[0, 10.3], title="CVSS base score")
    measure = "Probability of exploitation within 30 days (EPSS) against severity (CVSS); a star: known to be exploited"
    return theme.legend_above(theme.titled(figure, finding, measure, height=460))


def _point(row: dict[Any, Any]) -> str:
    exploited = ["known to be exploited"] if row["known_exploited"] is True else []
    measured = [f"EPSS {row['epss']:.2%}", f"CVSS {row['cvss_score']:.1f}"]
    return theme.hover(row["id"], f"{escape(row['package'], 60)} {escape(row['version'], 40)}", *measured, *exploited)


def _count(severity: pd.Series, rank: pd.Series, label: pd.Series) -> pd.DataFrame:
    """Count rows per label and severity, ordered by rank."""
    rows = pd.DataFrame({"severity": severity.astype("object").fillna("unknown"), "rank": rank, "label": label})
    return rows.groupby(["rank", "label", "severity"]).size().rename("count").reset_index()


def _stacked(counts: pd.DataFrame, finding: str, measure: str, most: int = 25) -> go.Figure:
    """Bars of counts, one per label (small ones are folded), stacked by severity."""
    kept = set(counts.groupby("label")["count"].sum().nlargest(most).index)
    labels = [label for label in dict.fromkeys(counts["label"]) if label in kept]
    if folded := counts["label"].nunique() - len(kept):
        labels.append(f"{folded} others")
        counts = counts.assign(label=counts["label"].where(counts["label"].isin(kept), labels[-1]))
        counts = counts.groupby(["label", "severity"], sort=False)["count"].sum().reset_index()
    places = {label: place for place, label in enumerate(labels)}
    figure = go.Figure()
    for word in _WORST_FIRST:
        part = counts[counts["severity"] == word]
        if part.empty:
            continue
        texts = [f"{label}<br>{count} {word}" for label, count in zip(part["label"], part["count"], strict=True)]
        theme.add_bars(figure, part["label"].map(places), part["count"], theme.SEVERITY_COLOURS[word], texts, name=word)
    figure.update_layout(barmode="stack")
    theme.label_rows(figure, labels)
    return theme.legend_above(theme.titled(figure, finding, measure, height=190 + 32 * len(labels)))


def _middles(totals: list[int]) -> list[float]:
    """Vertical positions of the nodes of one side, in order, with gaps (0 is the top)."""
    gap = 0.06
    scale = max(1 - gap * (len(totals) - 1), 0.2) / (sum(totals) or 1)
    starts = [sum(totals[:n]) * scale + gap * n for n in range(len(totals))]
    return [min(max(start + total * scale / 2, 0.001), 0.999) for start, total in zip(starts, totals, strict=True)]
