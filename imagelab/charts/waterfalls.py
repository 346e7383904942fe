"""Waterfalls: from base to final image, and from one image to another, instruction by instruction."""

from __future__ import annotations

from difflib import SequenceMatcher
from itertools import accumulate
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go

from imagelab.charts import theme
from imagelab.charts.menu import per_image
from imagelab.core.errors import ImagelabError
from imagelab.core.frames import format_bytes
from imagelab.core.text import escape
from imagelab.improve.answer import Improvement


class Step(NamedTuple):
    """A bar of a waterfall: the command, its bytes, its kind of instruction, a note for the hover text."""

    command: str
    bytes: int
    kind: str
    note: str


@per_image
def growth(history: pd.DataFrame) -> go.Figure:
    """Draw a waterfall from the base to the final image, a bar per instruction; small steps are added up.

    Parameters
    ----------
    history : pandas.DataFrame
        `imagelab.history` of one image; for several images, a menu selects one.
    """
    rows, measure = theme.sized(history)
    total, name = int(rows["bytes"].sum()), escape(history["reference"].iloc[0], 44) if len(history) else "The image"
    if not total:
        return theme.nothing(f"No step of {name} has a known size above zero")
    inherited = rows["from_base"].fillna(False).astype(bool)
    base = int(rows.loc[inherited, "bytes"].sum())
    own = [
        Step(row.created_by or row.comment, row.bytes, theme.instruction_kind(row.instruction), f"step {row.step}")
        for row in rows[~inherited & rows["bytes"].gt(0)].fillna({"created_by": "", "comment": ""}).itertuples()
    ]
    grown = f"grows from {format_bytes(base)} to {format_bytes(total)}" if base else f"is {format_bytes(total)}"
    finding = f"{name} {grown}"
    if own:
        most = max(own, key=lambda step: step.bytes)
        finding += f", mostly from {theme.step_label(most.command, 50)}: {signed(most.bytes)}"
    first = [Step("base image", base, "FROM", "the image that this one is built on")] if base else []
    last = Step("final image", total, "FROM", "all layers")
    return draw_waterfall([*first, *shorten(own)], last, finding, f"Steps from base to final image, in {measure}")


def size_difference(history: pd.DataFrame) -> go.Figure:
    """Draw a waterfall from one image to another: what each instruction made bigger or smaller.

    Steps are matched in order by their command (`difflib`). A step of both images counts with the difference of its
    sizes, a step of one image with its whole size.

    Parameters
    ----------
    history : pandas.DataFrame
        `imagelab.history` of two images, the earlier first.
    """
    rows, measure = theme.sized(history)
    references = list(rows["reference"].unique())
    if len(references) != 2:
        raise ImagelabError(f"expected the history of two images, got {len(references)}")
    before, after = (
        [
            Step(command, size, theme.instruction_kind(instruction), "")
            for command, size, instruction in zip(own["created_by"], own["bytes"], own["instruction"], strict=True)
        ]
        for own in (rows[rows["reference"].eq(name)].fillna({"created_by": ""}) for name in references)
    )
    matched = SequenceMatcher(None, [step.command for step in before], [step.command for step in after], autojunk=False)
    changes: list[Step] = []
    for verb, b0, b1, a0, a1 in matched.get_opcodes():
        if verb == "equal":
            for old, new in zip(before[b0:b1], after[a0:a1], strict=True):
                changes.append(new._replace(bytes=new.bytes - old.bytes, note=f"was {format_bytes(old.bytes)}"))
        else:
            changes += [step._replace(bytes=-step.bytes, note="removed") for step in before[b0:b1]]
            changes += [step._replace(note="new") for step in after[a0:a1]]
    first, last = (sum(step.bytes for step in steps) for steps in (before, after))
    names = [escape(reference, 34) for reference in references]
    changes = [step for step in changes if step.bytes]
    if not changes:
        return theme.nothing(f"{names[0]} and {names[1]} have the same size, step by step: {format_bytes(last)}")
    most = max(changes, key=lambda step: abs(step.bytes))
    difference = f"{format_bytes(abs(last - first))} {'bigger' if last > first else 'smaller'} than"
    finding = f"{names[1]} is {'as big as' if last == first else difference} {names[0]}"
    finding += f", mostly from {theme.step_label(most.command, 46)}: {signed(most.bytes)}"
    steps = [Step(references[0], first, "FROM", "before"), *shorten(changes)]
    measure = f"Differences by step, in {measure}"
    return draw_waterfall(steps, Step(references[1], last, "FROM", "after"), finding, measure)


def improvement_waterfall(found: Improvement) -> go.Figure:
    """Draw what each proven edit takes from an image's stored bytes.

    Parameters
    ----------
    found : Improvement
        `imagelab.improve`, or a recorded run (`imagelab.read_improvement`).
    """
    if found.before is None or found.after is None or not found.is_possible:
        return theme.nothing(found.headline)
    proven = found.edits[found.edits["result"] == "proven"].fillna({"measured_bytes": 0})
    steps = [
        Step(f"{row.rule} ({row.path}:{row.line})", -int(row.measured_bytes), "RUN", row.why)
        for row in proven.itertuples()
    ]
    rest = found.after.size - found.before.size - sum(step.bytes for step in steps)
    steps += [Step("not stored in this image, or by several edits", rest, "unknown", "")] if rest else []
    first, last = (
        Step("before", found.before.size, "FROM", "unchanged"),
        Step("after", found.after.size, "FROM", "the whole patch"),
    )
    return draw_waterfall(
        [first, *steps], last, found.headline, "Bytes stored in all layers; .dockerignore: bytes sent"
    )


def shorten(steps: list[Step], most: int = 14) -> list[Step]:
    """Return the biggest ``most`` steps in their order, and the others added up at the end."""
    least = sorted((abs(step.bytes) for step in steps), reverse=True)[most - 1] if len(steps) > most else 0
    # Bars of a pixel or two are added up as well.
    least = max(least, max((abs(step.bytes) for step in steps), default=0) // 200)
    small = [step for step in steps if abs(step.bytes) < least]
    if len(small) < 2:
        return steps
    rest = Step(f"{len(small)} smaller steps", sum(step.bytes for step in small), "unknown", "")
    return [*(step for step in steps if abs(step.bytes) >= least), rest]


def signed(size: int) -> str:
    """Return a difference in bytes with its sign."""
    return ("−" if size < 0 else "+") + format_bytes(abs(size))


def draw_waterfall(steps: list[Step], total: Step, finding: str, measure: str) -> go.Figure:
    """Draw bars that start where the one above ends, and a total; a first bar of kind ``FROM`` has no sign."""
    ends = list(accumulate(step.bytes for step in steps))
    starts = [0, *ends[:-1], 0]
    ends.append(total.bytes)
    rows = [*steps, total]
    words = [format_bytes(step.bytes) if step.kind == "FROM" else signed(step.bytes) for step in rows]
    lefts, rights = zip(*(sorted(pair) for pair in zip(starts, ends, strict=True)), strict=True)
    figure = go.Figure()
    theme.add_bars(
        figure,
        list(range(len(rows))),
        [right - left for left, right in zip(lefts, rights, strict=True)],
        [theme.INSTRUCTION_COLOURS[step.kind] for step in rows],
        [theme.hover(step.command, word, step.note) for step, word in zip(rows, words, strict=True)],
        base=lefts,
    )
    theme.label_ends(figure, rights, words)
    labels = [theme.step_label(step.command) for step in rows]
    theme.label_rows(figure, [*labels[:-1], f"<b>{labels[-1]}</b>"])
    theme.titled(figure, finding, measure, height=130 + 32 * len(rows))
    low, top = min(lefts), max(rights) or 1
    figure.update_xaxes(theme.bytes_ticks(top, low) | {"range": [low * 1.12, top * 1.18]})
    return figure.update_layout(showlegend=False)
