"""Which images an archive holds, and which of them is meant.

Formats: moby's image tarball specification (``manifest.json``) and the OCI image-spec's image-layout.md, indexes in
indexes. BuildKit's attestation manifests are not images.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from imagelab.core.errors import ArchiveError, ImageNotFound
from imagelab.core.json_fields import array_of, labels, mapping, mappings, object_of, parse_json, string, strings
from imagelab.core.references import parse_image_name
from imagelab.images.sources.assemble import CONFIG_TYPES, INDEX_TYPES, digest_of, normal_platform, platform_of
from imagelab.images.sources.members import Archive

ABOUT = "vnd.docker.reference.digest"  # of an attestation: the image that it is about
_REF_NAME = "org.opencontainers.image.ref.name"
_IMAGE_NAME = "io.containerd.image.name"
_COSIGN = re.compile(r"sha256-[0-9a-f]{64}\.(?:sig|att|sbom)")  # the tags of what it attaches to an image
_SAVED = {key.lower(): key for key in ("Config", "RepoTags", "Layers")}  # Go decodes JSON keys case-insensitively
_MAX_DEPTH = 8  # of indexes in indexes


@dataclass(frozen=True)
class Choice:
    """One image of an archive: what it is called and where it stands."""

    names: tuple[str, ...]
    platform: str | None
    descriptor: dict[str, Any]  # an OCI descriptor, or an entry of manifest.json
    index_digest: str | None = None
    annotations: tuple[tuple[str, str], ...] = ()
    transport: str = "oci"  # docker-archive, oci or dir: the form in which it is stored
    kind: str = "image"  # or attestation (BuildKit's), artifact, index (one that is not read)

    @property
    def label(self) -> str:
        label = ", ".join(self.names) or self.digest
        return f"{label} ({self.full_platform})" if self.platform else label

    @property
    def digest(self) -> str:
        config = str(self.descriptor.get("Config") or "").removesuffix(".json").rpartition("/")[2]
        return str(self.descriptor.get("digest") or f"sha256:{config}")

    @property
    def full_platform(self) -> str | None:
        """With the system's version, which tells Windows' images apart: ``windows(10.0.17763.1697)/amd64``."""
        listed = self.descriptor.get("platform")
        version = string(listed.get("os.version")) if isinstance(listed, dict) else None
        return self.platform.replace("/", f"({version})/", 1) if self.platform and version else self.platform


def choices(archive: Archive) -> list[Choice]:
    """Every image in an archive. If it has an index, the index decides: manifest.json names one platform only.

    Raises
    ------
    ArchiveError
        It is not an image archive or layout; says what it is instead, if that is clear.
    """
    members = archive.sizes
    saved = _saved(archive) if "manifest.json" in members else []
    if "index.json" not in members:
        if saved:
            return saved
        raise ArchiveError(f"{archive.name} is not an image archive: {_what_else(members)}")
    index = object_of(parse_json(archive.read("index.json"), f"{archive.name}: index.json"), "index.json")
    found = _images(archive, index)
    if saved:
        found = _joined(archive, saved, found)
    if not found:
        raise ArchiveError(
            f"{archive.name} is an OCI layout without an image (attestations and artifacts are not images)."
        )
    return found


def _saved(archive: Archive) -> list[Choice]:
    """The images that manifest.json lists; in a folder of skopeo's ``dir:``, the image or index that it is."""
    data = archive.read("manifest.json")
    entries = parse_json(data, f"{archive.name}: manifest.json")
    if isinstance(entries, dict) and "schemaVersion" in entries:
        if "manifests" in entries:
            return [replace(choice, transport="dir") for choice in _images(archive, entries)]
        return [Choice((), None, {"digest": digest_of(data), "mediaType": entries.get("mediaType")}, transport="dir")]
    found = []
    for entry in array_of(entries, "manifest.json"):
        entry = object_of(entry, "an entry of manifest.json")
        entry = {_SAVED.get(key.lower(), key): value for key, value in entry.items()}
        if "Config" not in entry:
            raise ArchiveError(f"{archive.name}: an entry of manifest.json has no Config. Save the image again.")
        found.append(Choice(tuple(strings(array_of(entry.get("RepoTags"), "RepoTags"))), None, entry))
    if not found:
        raise ArchiveError(f"{archive.name} has an empty manifest.json: no image was saved in it.")
    return [replace(choice, transport="docker-archive") for choice in found]


def _joined(archive: Archive, saved: list[Choice], indexed: list[Choice]) -> list[Choice]:
    """The index's images under the tags of manifest.json, which the other platforms of the same index share."""
    by_config = {string(choice.descriptor["Config"]): choice for choice in saved}
    configs = []
    for choice in indexed:
        member = blob_member(choice.digest)
        manifest = peek(archive, member) if member in archive.sizes else {}
        configs.append(blob_member(string(mapping(manifest, "config").get("digest"))))
    tags = {
        choice.index_digest: by_config[config].names
        for choice, config in zip(indexed, configs, strict=True)
        if config in by_config
    }
    found = []
    for choice, config in zip(indexed, configs, strict=True):
        entry = by_config.pop(config, None)
        names = entry.names if entry else choice.index_digest and tags.get(choice.index_digest)
        found.append(replace(choice, names=names or choice.names, transport="docker-archive"))
    return [*found, *by_config.values()]


def _what_else(members: dict[str, int]) -> str:
    if "repositories" in members:
        return "it was saved by a Docker older than 1.10, without manifest.json. Load it and `docker save` it again."
    if "oci-layout" in members:
        return "an OCI layout without index.json. Copy it again, for example with skopeo."
    if not members:
        return "nothing is in it."
    some = ", ".join(sorted(members)[:3])
    return (
        f"no manifest.json and no index.json, but {some} …: a single layer or a root filesystem "
        "(`docker export`, buildx `type=tar`)? Use `docker save`, or buildx `type=docker` or `type=oci`."
    )


def walk_index(
    index: dict[str, Any],
    read_index: Callable[[dict[str, Any]], dict[str, Any] | None],
    index_digest: str | None = None,
    names: tuple[str, ...] = (),
    seen: set[Any] | None = None,
    depth: int = 0,
) -> Iterator[Choice]:
    """What an index and the indexes in it list, attestations and artifacts too; a descriptor's names go to what is in it.

    ``read_index`` is given a descriptor, and returns the index that it describes, or None if it describes something else.
    """
    seen = set() if seen is None else seen
    for descriptor in array_of(index.get("manifests"), "an index's manifests"):
        descriptor = object_of(descriptor, "a descriptor in an index")
        annotations, kind = labels(descriptor.get("annotations")), kind_of(descriptor)
        own = tuple(annotations[key] for key in (_IMAGE_NAME, _REF_NAME) if annotations.get(key)) or names
        digest = string(descriptor.get("digest"))
        if descriptor.get("mediaType") in INDEX_TYPES:
            kind = "index"
        inner = read_index(descriptor) if kind != "attestation" and depth < _MAX_DEPTH else None
        if inner is None:
            listed = {} if kind == "attestation" else object_of(descriptor.get("platform"), "a descriptor's platform")
            yield Choice(own, platform_of(listed), descriptor, index_digest, tuple(annotations.items()), kind=kind)
        elif (digest, own) not in seen:  # indexes that name one another many times would multiply
            seen.add((digest, own))
            top = digest if depth == 0 else index_digest
            yield from walk_index(inner, read_index, top, own, seen, depth + 1)


def indexed(archive: Archive, index: dict[str, Any]) -> list[Choice]:
    """What an index in an archive lists; indexes that are missing or nest too deeply are listed themselves."""

    def read_index(descriptor: dict[str, Any]) -> dict[str, Any] | None:
        member = blob_member(string(descriptor.get("digest")))
        document = peek(archive, member) if member in archive.sizes else {}
        return document if "manifests" in document else None

    return list(walk_index(index, read_index))


def _images(archive: Archive, index: dict[str, Any]) -> list[Choice]:
    return [choice for choice in indexed(archive, index) if choice.kind in ("image", "index")]


def kind_of(descriptor: dict[str, Any]) -> str:
    """What a descriptor in an index names: image, attestation (BuildKit's) or artifact."""
    listed = object_of(descriptor.get("platform"), "a descriptor's platform")
    if "vnd.docker.reference.type" in labels(descriptor.get("annotations")) or listed.get("os") == "unknown":
        return "attestation"
    if _COSIGN.fullmatch(labels(descriptor.get("annotations")).get(_REF_NAME, "")):
        return "artifact"
    return "image" if descriptor.get("artifactType") in (None, "", *CONFIG_TYPES) else "artifact"


def statements(manifests: Iterable[Any], read: Callable[[Any], bytes]) -> dict[str, Callable[[], bytes]]:
    """What attestation manifests list: predicate type → a function that reads the statement.

    ``read`` returns the blob of a descriptor.
    """
    layers = [layer for manifest in manifests for layer in mappings(manifest.get("layers"))]
    kinds = [labels(layer.get("annotations")).get("in-toto.io/predicate-type") for layer in layers]
    return {kind: partial(read, layer) for kind, layer in zip(kinds, layers, strict=True) if kind}


def peek(archive: Archive, member: str) -> dict[str, Any]:
    """A member's JSON object; an empty one where it is something else."""
    document = parse_json(archive.read(member), member)
    return document if isinstance(document, dict) else {}


def choose(found: list[Choice], reference: str, name: str | None, platform: str | None) -> Choice:
    """The one image that ``name`` and ``platform`` mean.

    Raises
    ------
    ImageNotFound
        No image fits, or several do: the message lists them, and how to choose.
    """
    position = re.fullmatch(r"@(\d{1,9})", name or "")
    if position:
        fitting = found[int(position[1]) :][:1]
    else:
        fitting = [choice for choice in found if name is None or name in choice.names or _matches(name, choice)]
    if platform is not None:
        fitting = _of_platform(fitting, platform)
    distinct: dict[str, Choice] = {}
    for choice in fitting:  # one image under several tags is one image
        first = distinct.get(choice.digest)
        names = tuple(dict.fromkeys((first.names if first else ()) + choice.names))
        distinct[choice.digest] = replace(choice, names=names)
    if len(distinct) == 1:
        return next(iter(distinct.values()))
    labels = [choice.label for choice in list(distinct.values()) or found]
    several = [choice.digest for choice in distinct.values() if labels.count(choice.label) > 1]
    listed = "\n  ".join(list(dict.fromkeys(several or labels))[:20])
    if not distinct:
        wanted = " ".join(filter(None, [name, platform and f"for {platform}"]))
        raise ImageNotFound(f"{reference}: no image {wanted}. It contains:\n  {listed}")
    called, platforms = ({getattr(choice, key) for choice in distinct.values()} for key in ("names", "full_platform"))
    if len(called) == len(distinct) and () not in called:
        how = "a name behind the path (PATH:NAME)"
    elif len(platforms) == len(distinct):
        how = "platform= (--platform on the command line)"
    else:
        how = "its digest or position (PATH:sha256:…, NAME@sha256:…, or PATH:@0, PATH:@1 …)"
    raise ImageNotFound(f"{reference} contains {len(distinct)} images: choose one with {how}:\n  {listed}")


def _of_platform(found: list[Choice], platform: str) -> list[Choice]:
    """The choices of a platform: literally it, else the same when normalised, else with a more exact variant."""
    wanted = normal_platform(platform)
    own = [(choice, choice.full_platform if "(" in platform else choice.platform) for choice in found]
    literal = [choice for choice, known in own if known == platform]
    same = [
        choice for choice, known in own if known is None or ("(" not in platform and normal_platform(known) == wanted)
    ]
    return literal or same or [choice for choice, known in own if known and known.startswith(f"{platform}/")]


def _matches(name: str, choice: Choice) -> bool:
    """Whether ``name`` is one of the choice's names in any spelling, its digest, or a beginning of that."""
    wanted = parse_image_name(name)
    digest = name if name.startswith("sha256:") else wanted.digest if wanted else None
    if digest and any(digest.removeprefix("sha256:") in str(own) for own in (choice.digest, choice.index_digest)):
        return True
    known = filter(None, map(parse_image_name, choice.names))
    return wanted is not None and any(wanted[:2] == own[:2] and wanted.target == own.target for own in known)


def blob_member(digest: str | None) -> str:
    """Where a layout keeps a blob (OCI image-spec, image-layout.md)."""
    return "blobs/" + (digest or "").replace(":", "/")
