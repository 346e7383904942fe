"""What a run of improve answers: a table of edits, the measures before and after, and one patch."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from imagelab.core.errors import ImagelabError
from imagelab.core.frames import format_bytes, make_frame
from imagelab.core.json_fields import json_text
from imagelab.core.redact import mask
from imagelab.core.text import clean, escape, printable
from imagelab.improve.edits import Edit, Project, unified
from imagelab.improve.prove import Built

IMPROVE_COLUMNS = {
    "rule": "string",
    "path": "string",
    "line": "Int64",
    "predicted_bytes": "Int64",
    "measured_bytes": "Int64",
    "predicted_rebuild_seconds": "Float64",
    "measured_rebuild_seconds": "Float64",
    "result": "string",
    "why": "string",
    "diff": "string",
}
RESULTS = ("proven", "no gain", "breaks the build", "changes the image", "fails the check", "not built")
_SHOWN = ["rule", "path", "line", "predicted_bytes", "measured_bytes", "measured_rebuild_seconds", "result", "why"]


@dataclass(frozen=True)
class Measures:
    """An image and its builds: bytes, and seconds of a cold build and of a rebuild after one source line changed."""

    size: int
    content_size: int | None
    wasted: int
    cold_seconds: float
    rebuild_seconds: float | None

    @classmethod
    def of(cls, built: Built, cold: float, rebuild: float | None) -> Measures:
        rounded = None if rebuild is None else round(rebuild, 2)
        return cls(built.size, built.image.content_size, built.wasted, round(cold, 2), rounded)


@dataclass(frozen=True)
class Outcome:
    """What became of an edit; seconds are those that a rebuild saves."""

    edit: Edit
    before: Project
    after: Project
    predicted: int | None
    predicted_seconds: float | None
    result: str
    why: str
    measured: int | None = None
    measured_seconds: float | None = None

    def failed(self, why: str) -> Outcome:
        """The outcome where the whole patch is not proven."""
        return replace(self, result="changes the image", why=why) if self.result == "proven" else self

    def without_gain(self, why: str) -> Outcome:
        return replace(self, result="no gain", why=why)

    def row(self) -> dict[str, Any]:
        values = (
            self.edit.rule,
            self.before.ignore if self.edit.ignore else self.before.dockerfile,
            1 if self.edit.ignore else self.edit.step.line,
            self.predicted,
            self.measured,
            self.predicted_seconds,
            None if self.measured_seconds is None else round(self.measured_seconds, 2),
            self.result,
            mask(self.why).text,
            unified(self.before, self.after),
        )
        return dict(zip(IMPROVE_COLUMNS, values, strict=True))


@dataclass(frozen=True, eq=False)
class Improvement:
    """The answer of `improve`.

    Attributes
    ----------
    edits : DataFrame
        `IMPROVE_COLUMNS`, a row per edit in the order in which they were tried; ``line`` and ``diff`` are of the text
        that the edits proven before it left. Bytes are those that the image stores (for ``.dockerignore``: that the
        builder is sent) less; seconds those that a rebuild after one source line takes less. ``result`` is one of
        `RESULTS`, and ``why`` its reason.
    before, after : Measures or None
        Of the unchanged Dockerfile and with every proven edit; None where nothing was built.
    patch : str
        A unified diff of the proven edits for ``patch -p1`` and ``git apply``; without an engine, of every edit.
    not_built : str
        Why nothing was built, or empty.
    size : int or None
        Where nothing was built: the stored bytes of the image that the predictions are about.
    """

    edits: pd.DataFrame
    before: Measures | None
    after: Measures | None
    patch: str
    not_built: str = ""
    size: int | None = None

    @property
    def is_possible(self) -> bool:
        """Whether something proven can be gained."""
        return bool((self.edits["result"] == "proven").any())

    @property
    def headline(self) -> str:
        """The result in one line."""
        count = len(self.edits)
        if self.not_built and self.size is not None:
            less = int(self.edits.loc[~self.edits["path"].str.endswith(".dockerignore"), "predicted_bytes"].sum())
            sizes = f"{format_bytes(self.size)} → about {format_bytes(self.size - less)}"
            return f"{sizes} with {count} change{'s' * (count != 1)}, 0 of them proven ({clean(self.not_built, 120)})"
        if self.not_built:
            return f"not built, predictions only: {count} edits proposed ({clean(self.not_built, 120)})"
        if self.before is None or self.after is None or not self.is_possible:
            return f"nothing to gain: none of {count} edits is proven" if count else "nothing to improve"
        proven = int((self.edits["result"] == "proven").sum())
        sizes = f"{format_bytes(self.before.size)} → {format_bytes(self.after.size)}"
        text = f"{sizes} with {proven} proven edit{'s' * (proven != 1)} of {count}"
        is_faster = (self.edits["measured_rebuild_seconds"] > 0)[self.edits["result"] == "proven"].any()
        if is_faster and self.before.rebuild_seconds is not None and self.after.rebuild_seconds is not None:
            text += f"; rebuild {self.before.rebuild_seconds:.1f} s → {self.after.rebuild_seconds:.1f} s"
        return text

    def to_json(self) -> str:
        """The answer as JSON; bytes and seconds as numbers, unknown as null."""
        rows = json.loads(self.edits.to_json(orient="records", force_ascii=False))
        measures = {
            name: None if m is None else asdict(m) for name, m in (("before", self.before), ("after", self.after))
        }
        return json_text({"edits": rows, **measures, "patch": self.patch})

    def to_markdown(self) -> str:
        """A pull request's comment: the result, and the diff folded."""
        lost = self.edits.loc[self.edits["result"] != "proven", ["rule", "result"]]
        rest = "; ".join(f"`{rule}` {result}" for rule, result in lost.itertuples(index=False)) or "none"
        measured = "" if self.before is None or self.after is None else _measured(self.before, self.after)
        fence = "`" * max(3, 1 + _longest_run(self.patch))
        lines = [f"**imagelab improve**: {self.headline}", measured, f"Not in the patch: {rest}"]
        folded = f"<details><summary>The patch</summary>\n\n{fence}diff\n{self.patch}{fence}\n\n</details>"
        return printable(
            "\n".join([line + "  " for line in lines if line] + (["", folded] if self.patch else [])) + "\n"
        )

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.headline)}</p>{self.edits[_SHOWN].to_html(index=False, escape=True, na_rep='–')}"


def _measured(before: Measures, after: Measures) -> str:
    parts = [f"Stored {format_bytes(before.size)} → {format_bytes(after.size)}"]
    parts += [f"wasted {format_bytes(before.wasted)} → {format_bytes(after.wasted)}"]
    parts += [f"cold build {before.cold_seconds:.1f} s → {after.cold_seconds:.1f} s"]
    if before.rebuild_seconds is not None and after.rebuild_seconds is not None:
        parts += [f"rebuild after one line changes {before.rebuild_seconds:.1f} s → {after.rebuild_seconds:.1f} s"]
    return "; ".join(parts)


def _longest_run(text: str) -> int:
    return max((len(run) for run in text.replace("\n", " ").split() if set(run) == {"`"}), default=0)


def read_improvement(path: str | os.PathLike[str]) -> Improvement:
    """Read what ``imagelab improve --json`` printed, for showing a recorded run.

    Raises
    ------
    ImagelabError
        The file is not such JSON.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        before, after = (found[name] and Measures(**found[name]) for name in ("before", "after"))
        why = "" if before else "recorded without a build"
        return Improvement(make_frame(found["edits"], IMPROVE_COLUMNS), before, after, found["patch"], why)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImagelabError(f"{path}: expected the JSON of `imagelab improve --json` ({clean(error, 100)}).") from error
