"""Which of an image's steps and layers are its base image's."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from imagelab.core.json_fields import mapping, string
from imagelab.core.model import Image
from imagelab.images.tables.created_by import LAYER_MAKERS, Command
from imagelab.images.tables.provenance import Attested

#: OCI image-spec, annotations.md; Docker's official images and BuildKit's attestations fill them.
BASE_NAME = "org.opencontainers.image.base.name"
#: Cloud Native Buildpacks' platform specification: runImage.topLayer is the diff_id of the base's last layer.
BUILDPACKS = "io.buildpacks.lifecycle.metadata"


class Base(NamedTuple):
    """How many history steps and layers are the base's (None: unknown), its name, and how that is known."""

    steps: int | None
    layers: int | None
    name: str | None
    rule: str


def find_base(
    image: Image,
    commands: Sequence[Command],
    indexes: Sequence[int | None],
    given: Image | None,
    at_hand: Sequence[Image],
    attested: Attested | None = None,
) -> Base:
    """The base of ``image``.

    In this order: the image that is ``given``; what BuildKit's provenance says (``attested``); the largest one
    ``at_hand`` whose diff_ids begin this image's; the run image whose last layer is in the label of Cloud Native
    Buildpacks; the image in buildah's comment; else the shape of the history, with the name in labels or annotations.

    Parameters
    ----------
    commands, indexes
        Of each history step: its instruction, and the layer that it made (-1: none).
    """
    others = [other for other in at_hand if other is not image] if given is None else [given]
    fitting = [other for other in others if _begins(other, image)]
    if attested and attested.base_steps is not None and not (given and fitting):
        own = attested.base_steps
        return Base(own, sum(index != -1 for index in indexes[:own]), attested.base, "provenance")
    if fitting:
        base = max(fitting, key=lambda other: len(other.layers))
        return Base(
            _steps_of(base, image, indexes), len(base.layers), base.reference, "prefix" if given is None else "given"
        )
    labels = mapping(image.config, "config", "Labels")
    if base_found := _buildpacks_base(labels.get(BUILDPACKS), image, indexes) or _buildah_base(
        str(labels.get("io.buildah.version")), image, indexes
    ):
        return base_found
    name = {**labels, **image.annotations}.get(BASE_NAME)
    steps = _shape(commands, indexes)
    rule = "unknown" if steps is None else "label" if name else "shape"
    made = None if steps is None else [index for index in indexes[:steps] if index != -1]
    return Base(steps, None if made is None else len(made), string(name), rule)


def _begins(base: Image, image: Image) -> bool:
    lower = [layer.diff_id for layer in base.layers]
    return (
        0 < len(lower) < len(image.layers)
        and None not in lower
        and [layer.diff_id for layer in image.layers[: len(lower)]] == lower
    )


def _steps_of(base: Image, image: Image, indexes: Sequence[int | None]) -> int | None:
    """The base's steps in this history: as many as its own has, where they are there to the letter."""
    own = [entry.created_by for entry in base.history]
    if own and [entry.created_by for entry in image.history[: len(own)]] == own:
        return len(own)
    last = len(base.layers) - 1
    return indexes.index(last) + 1 if last in indexes else None


def _buildpacks_base(label: Any, image: Image, indexes: Sequence[int | None]) -> Base | None:
    try:
        run_image = json.loads(label)["runImage"]
        top, name = run_image["topLayer"], run_image.get("reference")
        count = [layer.diff_id for layer in image.layers].index(top) + 1
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):  # another, or none
        return None
    steps = indexes.index(count - 1) + 1 if count - 1 in indexes else None
    return Base(steps, count, string(name), "label")


def _buildah_base(version: str, image: Image, indexes: Sequence[int | None]) -> Base | None:
    """buildah and Podman note ``FROM NAME`` on the first step of their own, on later ones the id of the step before;
    until buildah 1.37, where one layer is made of several steps, on the last: which are the base's is not known then.
    """
    for step in range(len(image.history) - 1, 0, -1):
        found = re.search(r"(?:^|\s)FROM (?![0-9a-f]{12,64}$|scratch$)(\S+)$", image.history[step].comment)
        if found:
            last = step + 1 == len(image.history) and image.history[step - 1].empty_layer
            known = not last or [int(part) for part in re.findall(r"\d+", version)[:2]] >= [1, 37]
            return Base(step if known else None, sum(index != -1 for index in indexes[:step]), found[1], "shape")
    return None


def _shape(commands: Sequence[Command], indexes: Sequence[int | None]) -> int | None:
    """A base ends with the last CMD or ENTRYPOINT that more layers follow; else an ADD of a whole filesystem, or what
    is no instruction before the first that is (imports, Windows' updates, distroless) is the base by itself, and other
    instructions start from scratch. Tools that write none (Nix, jib, ko) leave nothing to tell it by."""
    if not commands:
        return None
    last = max((step for step, index in enumerate(indexes) if index != -1), default=0)
    for step in range(last - 1, -1, -1):
        if commands[step].instruction in ("CMD", "ENTRYPOINT"):
            return step + 1
    first = commands[0]
    if first.instruction is None:
        known = next((step for step, command in enumerate(commands) if command.instruction is not None), None)
        return 1 if indexes == [0] else known
    if first.instruction == "ADD" and first.arguments.rstrip().endswith(("in /", " /")):
        return 1
    return 0 if first.instruction in LAYER_MAKERS else None
