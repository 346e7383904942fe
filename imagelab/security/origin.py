"""Tell the base's layers from the image's own, and join layers with the Dockerfile's lines."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile

import pandas as pd

from imagelab.build.dockerfile.read import Dockerfile, read_dockerfile
from imagelab.core.errors import ImagelabError
from imagelab.core.model import Image
from imagelab.core.references import parse_reference
from imagelab.core.terms import EXACT, LIKELY, POSSIBLE
from imagelab.images.load import load_image
from imagelab.images.tables.history import history
from imagelab.images.tables.images import Reference, list_images, one_image
from imagelab.images.tables.provenance import image_provenance
from imagelab.security.scans.fields import WORDS

#: Commands that install packages or build programs, by package manager.
_COMMANDS = WORDS["install_commands"]


@dataclass(frozen=True)
class DockerfileLines:
    """The Dockerfile's lines of an image's layers; ``complete`` if every instruction of the last stage is matched."""

    read: Dockerfile | None
    by_layer: dict[int, int]
    complete: bool = False

    @classmethod
    def of(cls, image: Image, dockerfile: Dockerfile | str | os.PathLike[str] | None) -> DockerfileLines:
        """Pair the last stage's instructions with the newest steps of the history, as long as they agree.

        Without a Dockerfile, that in the image's provenance is used (BuildKit's ``mode=max``).
        """
        dockerfile = _attested_dockerfile(image) if dockerfile is None else dockerfile
        if dockerfile is None:
            return cls(None, {})
        read = dockerfile if isinstance(dockerfile, Dockerfile) else read_dockerfile(dockerfile)
        steps = history(image)
        lines = step_lines(steps, read)
        made = steps.dropna(subset=["layer_index"])
        by_layer = {
            int(layer): lines[step]
            for step, layer in zip(made["step"], made["layer_index"], strict=True)
            if step in lines
        }
        return cls(read, by_layer, bool(lines) and len(lines) == len(_last_stage(read)))

    def change_line(self, line: int | None, package: str | None, manager: str | None) -> int | None:
        """The line to change: behind a ``COPY --from``, the builder stage's RUN that brings the package."""
        if self.read is None or line is None:
            return line
        written = self.read.instructions
        copy = written[(written["line"] == line) & written["instruction"].isin(["COPY", "ADD"])]
        stage = _copied_stage(self.read, copy["flags"].iloc[0]) if len(copy) else None
        return line if stage is None else self._builder_run(stage, package, manager) or line

    def _builder_run(self, stage: int, package: str | None, manager: str | None, depth: int = 0) -> int | None:
        assert self.read is not None
        read = self.read
        chain = _with_parents(read.stages, stage)
        rows = read.instructions[_stage_of(read).isin(chain)]
        runs = rows[rows["instruction"] == "RUN"]
        patterns = [rf"(?<![\w-]){re.escape(package)}(?![\w-])"] if package else []
        patterns += [_COMMANDS[manager]] if manager in _COMMANDS else []
        for pattern in patterns:
            text = runs["arguments"] + runs["heredocs"].fillna("")
            if len(found := runs[text.str.contains(pattern, regex=True)]):
                return int(found["line"].iloc[-1])
        for flags in rows.loc[rows["instruction"] == "COPY", "flags"]:
            deeper = _copied_stage(read, flags)
            if deeper is not None and depth < 10 and (line := self._builder_run(deeper, package, manager, depth + 1)):
                return line
        return int(runs["line"].iloc[0]) if len(runs) == 1 else None


def _attested_dockerfile(image: Image) -> str | None:
    """The Dockerfile that the image's provenance contains, unless a stage before the last was built."""
    with suppress(ImagelabError, ValueError):  # a damaged attestation, a registry that does not answer
        attested = image_provenance(image)
        return None if attested.attributes.get("target") else attested.dockerfile
    return None


def base_origins(image: Image, base: Reference | None, lines: DockerfileLines) -> pd.DataFrame:
    """``origin`` (base or own) and ``origin_confidence`` by layer_index; empty where nothing is known."""
    count = len(image.layers)
    others = [one_image(base, like=image)] if base is not None else _at_hand(image)
    if fitting := [len(other.layers) for other in others if _is_prefix(other, image)]:
        return _origins(["base" if index < max(fitting) else "own" for index in range(count)], EXACT)
    steps = history(image, base=base).dropna(subset=["layer_index", "from_base"])
    rule = steps["base_rule"].iloc[0] if len(steps) else ""
    if lines.complete and rule != "provenance":
        return _origins(["own" if index in lines.by_layer else "base" for index in range(count)], LIKELY)
    confidence = {"provenance": EXACT, "label": LIKELY}.get(rule, POSSIBLE)
    known = steps.drop_duplicates("layer_index", keep="last").set_index("layer_index")["from_base"]
    return _origins(known.map({True: "base", False: "own"}), confidence)


def _origins(origin: list[str] | pd.Series, confidence: str) -> pd.DataFrame:
    frame = pd.DataFrame({"origin": pd.Series(origin, dtype="string")})
    return frame.assign(origin_confidence=confidence)


def _is_prefix(base: Image, image: Image) -> bool:
    lower = [layer.diff_id for layer in base.layers]
    is_shorter = 0 < len(lower) < len(image.layers) and None not in lower
    return is_shorter and lower == [layer.diff_id for layer in image.layers[: len(lower)]]


def _at_hand(image: Image) -> list[Image]:
    """The engine's other images, without other builds of the same repository."""
    if image.transport != "docker-daemon":
        return []
    own = {_repository(name) for name in (image.reference, *image.tags)}
    found = []
    with suppress(ImagelabError):
        for name in list_images()["reference"].dropna().unique():
            if _repository(name) not in own:
                with suppress(ImagelabError):  # removed meanwhile, or of another platform
                    found.append(load_image(name))
    return found


def _repository(reference: str) -> str | None:
    name = parse_reference(reference).image_name
    return name and name.familiar


def final_stages(stages: pd.DataFrame) -> list[int]:
    """Positions of the last stage and of the stages that it starts from, in that order."""
    return _with_parents(stages, len(stages) - 1) if len(stages) else []


def _with_parents(stages: pd.DataFrame, position: int) -> list[int]:
    """A stage and the stages that it starts from; a repeated name means the nearest stage above."""
    places = [position]
    while stages["base_is_stage"].iloc[places[-1]]:
        above = stages["stage"].iloc[: places[-1]].str.casefold() == stages["base"].iloc[places[-1]].casefold()
        places.append(int(above[::-1].idxmax()))
    return places


def _stage_of(read: Dockerfile) -> pd.Series:
    """The position of each instruction's stage."""
    positions = read.stages["line"].searchsorted(read.instructions["line"], "right") - 1
    return pd.Series(positions, index=read.instructions.index)


def _copied_stage(read: Dockerfile, flags: str | None) -> int | None:
    """The position of the stage that ``--from`` names, by name or number."""
    found = re.search(r"--from=(\S+)", flags if isinstance(flags, str) else "")
    if found is None:
        return None
    named = read.stages.index[read.stages["stage"].str.casefold() == found[1].casefold()]
    if len(named):
        return int(named[-1])
    return int(found[1]) if found[1].isdigit() and int(found[1]) < len(read.stages) else None


def _last_stage(read: Dockerfile) -> list[tuple[str, int]]:
    """Instruction and line of all steps of the last stage and its parents, in order."""
    made = read.instructions[read.instructions["instruction"] != "FROM"]
    stage_of = _stage_of(read).loc[made.index]
    return [
        pair
        for place in reversed(final_stages(read.stages))
        for pair in made.loc[stage_of == place, ["instruction", "line"]].itertuples(index=False, name=None)
    ]


def step_lines(steps: pd.DataFrame, dockerfile: Dockerfile | str | os.PathLike[str]) -> dict[int, int]:
    """Map history steps to lines by pairing the newest ones with the last stage's instructions while they agree."""
    read = dockerfile if isinstance(dockerfile, Dockerfile) else read_dockerfile(dockerfile)
    made = list(steps[["step", "instruction"]].itertuples(index=False, name=None))
    pairs = zip(reversed(made), reversed(_last_stage(read)), strict=False)
    agreeing = takewhile(lambda pair: pair[0][1] == pair[1][0], pairs)
    return {int(step): int(line) for (step, _), (_, line) in agreeing}
