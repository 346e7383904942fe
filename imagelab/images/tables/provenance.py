"""Read BuildKit's SLSA provenance, and join it with an image's history.

BuildKit's docs/attestations/slsa-definitions.md describes the fields. ``mode=min`` has the digests of the images that a
build read; ``mode=max`` also has the Dockerfile, the build's steps (LLB operations) and the lines that they come from.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote

from imagelab.core.json_fields import first, labels, mapping, mappings, parse_json, string
from imagelab.core.model import Image
from imagelab.core.references import ImageName, parse_image_name

if TYPE_CHECKING:
    from e2b_dockerfile_utils import DockerfileInstruction

Lines: TypeAlias = tuple[int, int]  # first and last line in the Dockerfile

PROVENANCE = "https://slsa.dev/provenance/"  # in-toto predicate types, without the version
_BUILDKIT = "https://mobyproject.org/buildkit@v1#metadata"
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?-([^}]*))?\})")


@dataclass
class Provenance:
    """What a provenance says about a build; None or empty if it does not say it."""

    attributes: Mapping[str, str] = field(default_factory=dict)  # of the frontend: build-arg:NAME, target, platform …
    images: Mapping[str, str] = field(default_factory=dict)  # that the build read: name → digest
    dockerfile: str | None = None
    operations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # vertex → LLB operation
    lines: Mapping[str, Lines] = field(default_factory=dict)  # vertex → its lines
    revision: str | None = None

    @property
    def build_args(self) -> dict[str, str]:
        """The build arguments among the attributes."""
        prefix = "build-arg:"
        return {key[len(prefix) :]: value for key, value in self.attributes.items() if key.startswith(prefix)}


def image_provenance(image: Image) -> Provenance:
    """Read the provenance that is attached to an image; an empty one if there is none.

    Raises
    ------
    ImagelabError, ValueError
        It is damaged, or cannot be reached.
    """
    attached = image.source.attestations(image) if image.source else {}
    read = first(read for kind, read in attached.items() if kind.startswith(PROVENANCE))
    return read_provenance(mapping(parse_json(read(), "the provenance"), "predicate")) if read else Provenance()


def read_provenance(predicate: Mapping[str, Any]) -> Provenance:
    """Read the predicate of SLSA provenance 0.2 or 1."""
    definition, invocation = mapping(predicate, "buildDefinition"), mapping(predicate, "invocation")
    parameters = mapping(definition, "externalParameters", "request") or mapping(invocation, "parameters")
    config = mapping(predicate, "buildConfig") or mapping(definition, "internalParameters", "buildConfig")
    details = mapping(predicate, "runDetails", "metadata")
    metadata = mapping(predicate, "metadata", _BUILDKIT) or mapping(details, "buildkit_metadata")
    metadata = metadata or mapping(details, _BUILDKIT)
    steps = {str(step.get("id")): step for step in mappings(config.get("llbDefinition"))}
    vertices = {vertex: step for vertex, step in labels(config.get("digestMapping")).items() if step in steps}
    places = {step: _lines(mapping(metadata, "source", "locations", step)) for step in steps}
    sources = mappings(mapping(metadata, "source").get("infos"))
    texts = [base64.b64decode(string(source.get("data")) or "").decode("utf-8", "replace") for source in sources]
    attributes = labels(parameters.get("args"))
    return Provenance(
        attributes,
        images_of(mappings(predicate.get("materials") or definition.get("resolvedDependencies"))),
        next(iter(texts), None),
        {vertex: mapping(steps[step], "op", "Op") for vertex, step in vertices.items()},
        {vertex: places[step][0] for vertex, step in vertices.items() if places[step]},
        attributes.get("vcs:revision") or string(mapping(metadata, "vcs").get("revision")),
    )


def _lines(place: Mapping[str, Any]) -> list[Lines]:
    found = []
    for location in mappings(place.get("locations")):
        ends = [mapping(item, end).get("line") for item in mappings(location.get("ranges")) for end in ("start", "end")]
        numbers = [line for line in ends if isinstance(line, int)]
        found += [(min(numbers), max(numbers))] if numbers else []
    return found


def images_of(materials: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Image → digest, of the materials that are images."""
    found = {}
    for material in materials:
        uri, digest = string(material.get("uri")) or "", string(mapping(material, "digest").get("sha256"))
        if digest and uri.startswith("pkg:docker/"):
            name, _, version = unquote(uri.removeprefix("pkg:docker/").partition("?")[0]).rpartition("@")
            found[name if version.startswith("sha256:") else f"{name}:{version}"] = f"sha256:{digest}"
    return found


@dataclass(frozen=True)
class Attested:
    """What a provenance says about an image's history."""

    base: str | None = None  # NAME@DIGEST of the base image
    base_steps: int | None = None  # steps of the history that are the base's
    lines: Mapping[int, Lines] = field(default_factory=dict)  # step of the history → its lines in the Dockerfile


def join_provenance(provenance: Provenance, instructions: Sequence[str | None]) -> Attested:
    """Join a provenance with a history, given by the instruction of each step.

    A history ends with the instructions of the target's stage and of the stages that it starts from. The steps before them
    are the base's, unless the base has triggers (ONBUILD), whose operations have the line of FROM.
    """
    images = [f"{name}@{digest}" for name, digest in provenance.images.items()]
    own = _target(provenance)
    before = len(instructions) - len(own[1:])
    if not own or before < 0 or [node.name for node in own[1:]] != list(instructions[before:]):
        return Attested(images[0] if len(images) == 1 and not own else None)
    wanted = parse_image_name(own[0].args[0])
    names = [parse_image_name(image) for image in images]
    base = [image for image, name in zip(images, names, strict=True) if wanted and name and _is_same(wanted, name)]
    starts = {vertex for vertex, (line, _) in provenance.lines.items() if line == own[0].start_line}
    triggers = any("source" not in provenance.operations[vertex] for vertex in starts)
    lines = {before + n: (node.start_line, node.end_line) for n, node in enumerate(own[1:])}
    return Attested(next(iter(base), None), None if triggers else before, lines)


def _is_same(wanted: ImageName, name: ImageName) -> bool:
    by_digest = wanted.digest is not None and wanted.digest == name.digest
    return wanted[:2] == name[:2] and (by_digest or (wanted.tag or "latest") == name.tag)


def _target(provenance: Provenance) -> list[DockerfileInstruction]:
    """FROM with the base image, and the instructions of the target's stage and of those that it starts from."""
    from e2b_dockerfile_utils import DockerfileSyntaxError, parse_dockerfile_ast  # few images have a provenance

    try:
        nodes = parse_dockerfile_ast(provenance.dockerfile or "").instructions
        starts = [n for n, node in enumerate(nodes) if node.name == "FROM" and node.args[0]]
    except (DockerfileSyntaxError, ValueError, RecursionError, IndexError):
        return []
    values = dict(word.partition("=")[::2] for node in nodes[: min(starts, default=0)] for word in node.args)
    values |= provenance.build_args

    def expanded(match: re.Match[str]) -> str:
        return values.get(match[1] or match[2]) or match[3] or ""

    stages: dict[str, list[DockerfileInstruction]] = {}
    for number, (start, stop) in enumerate(pairwise([*starts, len(nodes)])):
        words = [_VARIABLE.sub(expanded, word) for word in nodes[start].args]
        above = stages.get(words[0].lower()) or [replace(nodes[start], args=words)]
        stages[str(number)] = stages[words[-1].lower() if len(words) > 1 else ""] = [*above, *nodes[start + 1 : stop]]
    return stages.get(provenance.attributes.get("target", str(len(starts) - 1)).lower(), [])
