"""``docker-archive:``, ``oci-archive:`` and ``oci:``: images in files.

Formats: moby's image tarball specification (``manifest.json``; since 25.0 an OCI layout beside it) and the
OCI image-spec's image-layout.md. BuildKit's attestation manifests are not images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagelab.errors import ArchiveError, ImageNotFound
from imagelab.layer_tar import LayerListing
from imagelab.model import Image, Layer
from imagelab.sources.assemble import (
    INDEX_TYPES,
    PLAIN_LAYER,
    assemble,
    digest_of,
    manifest_layers,
    mapping,
    parse_json,
    platform_of,
    sequence,
    text,
    texts,
)  # fmt: skip
from imagelab.sources.containers import Container, open_archive

_REF_NAME = "org.opencontainers.image.ref.name"
_IMAGE_NAME = "io.containerd.image.name"
_EARLY_CONFIG = "application/octet-stream"  # what Docker 1.10 called an image's config
_MAX_DEPTH = 8  # of indexes in indexes


@dataclass(frozen=True)
class ArchiveSource:
    """Reads layers again out of the file or layout at ``path``."""

    path: str
    members: tuple[str, ...]  # each layer's
    listing_is_local = True

    def read_layers(
        self, image: Image, wanted: Iterable[int], *, digests: bool = False
    ) -> Iterator[tuple[int, LayerListing]]:
        by_member: dict[str, list[int]] = {}
        for index in wanted:
            check_listable(image.layers[index], image.reference)
            by_member.setdefault(self.members[index], []).append(index)
        for member, listing in open_archive(Path(self.path)).list_layers(by_member, digests=digests):
            for index in by_member[member]:
                yield index, listing

    def read_ranges(
        self, image: Image, layer_index: int, ranges: Sequence[tuple[int, int]]
    ) -> Iterator[Iterator[bytes]]:
        return open_archive(Path(self.path)).read_ranges(self.members[layer_index], ranges)


def check_listable(layer: Layer, reference: str) -> None:
    """Refuse, by name, layers whose contents are no plain tar here: foreign, Windows, encrypted."""
    kind = layer.media_type or ""
    for word, why in (("foreign", "foreign: its bytes are not in the image"), ("encrypted", "encrypted"),
                      ("nondistributable", "non-distributable: its bytes are not in the image")):  # fmt: skip
        if word in kind:
            raise ArchiveError(
                f"{reference}: layer {layer.digest} ({kind}) is {why}. Its history is read, its files are not."
            )
    if kind and not any(word in kind for word in ("tar", "layer", "diff")):
        raise ArchiveError(
            f"{reference}: layer {layer.digest} is of media type {kind}, which holds no files that are read here."
        )


@dataclass(frozen=True)
class Choice:
    """One image of a container: what it is called and where it stands."""

    names: tuple[str, ...]
    platform: str | None
    descriptor: dict[str, Any]  # an OCI descriptor, or an entry of manifest.json
    index_digest: str | None = None
    annotations: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str:
        label = ", ".join(self.names) or str(self.descriptor.get("digest") or self.descriptor.get("Config"))
        return f"{label} ({self.platform})" if self.platform else label


def load_archive(reference: str, path: Path, name: str | None, platform: str | None, mask: bool) -> Image:
    """The image called ``name``, or the only one, in the archive or layout at ``path``."""
    return load_from(open_archive(path), reference, str(path), name, platform, mask)


def load_from(
    container: Container, reference: str, path: str, name: str | None, platform: str | None, mask: bool
) -> Image:
    """As ``load_archive``, from an open container."""
    found = choices(container)
    # an engine can save an index of which it holds one platform only
    held = [
        choice
        for choice in found
        if "Config" in choice.descriptor or _blob(text(choice.descriptor.get("digest"))) in container.sizes
    ]
    chosen = choose(held or found, reference, name, platform)
    load = _docker_image if "Config" in chosen.descriptor else _oci_image
    image = load(container, chosen, reference, path, mask)
    if platform and image.platform and image.platform != platform:
        raise ImageNotFound(f"{reference} is for {image.platform}, not for {platform}.")
    return image


def choices(container: Container) -> list[Choice]:
    """Every image that a container holds.

    Raises
    ------
    ArchiveError
        It is no image archive or layout, and what it is instead where that is plain.
    """
    members = container.sizes
    if "manifest.json" in members:
        entries = sequence(
            parse_json(container.read("manifest.json"), f"{container.name}: manifest.json"), "manifest.json"
        )
        found = []
        for entry in entries:
            entry = mapping(entry, "an entry of manifest.json")
            tags = [tag for tag in sequence(entry.get("RepoTags"), "RepoTags") if isinstance(tag, str)]
            found.append(Choice(tuple(tags), None, entry))
        if found:
            return found
        raise ArchiveError(f"{container.name} holds an empty manifest.json: nothing was saved in it.")
    if "index.json" in members:
        index = mapping(parse_json(container.read("index.json"), f"{container.name}: index.json"), "index.json")
        found = list(_walk_index(container, index, None, (), 0, set()))
        if found:
            return found
        raise ArchiveError(
            f"{container.name} is an OCI layout without an image in it (attestations and artifacts are none)."
        )
    raise ArchiveError(f"{container.name} is not an image archive: {_what_else(members)}")


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


def _walk_index(
    container: Container,
    index: dict[str, Any],
    index_digest: str | None,
    names: tuple[str, ...],
    depth: int,
    seen: set[tuple[str | None, tuple[str, ...]]],
) -> Iterator[Choice]:
    """The image manifests of an index and of those below it; every descriptor's own names go to what it holds."""
    for descriptor in sequence(index.get("manifests"), "an index's manifests"):
        descriptor = mapping(descriptor, "a descriptor in an index")
        annotations = texts(descriptor.get("annotations"))
        own = tuple(annotations[key] for key in (_IMAGE_NAME, _REF_NAME) if annotations.get(key))
        listed = mapping(descriptor.get("platform"), "a descriptor's platform")
        if "vnd.docker.reference.type" in annotations or listed.get("os") == "unknown":
            continue  # BuildKit's attestations
        digest, kind = text(descriptor.get("digest")), text(descriptor.get("mediaType"))
        member = _blob(digest)
        if kind in INDEX_TYPES or (member in container.sizes and "manifests" in _peek(container, member)):
            if member not in container.sizes or depth >= _MAX_DEPTH:
                yield Choice(own or names, None, descriptor, digest)
                continue
            if (digest, own or names) in seen:  # indexes that name one another many times would multiply
                continue
            seen.add((digest, own or names))
            inner = mapping(parse_json(container.read(member), member), member)
            yield from _walk_index(
                container, inner, digest if depth == 0 else index_digest, own or names, depth + 1, seen
            )
        elif "artifactType" not in descriptor:
            yield Choice(own or names, platform_of(listed), descriptor, index_digest, tuple(annotations.items()))


def _peek(container: Container, member: str) -> dict[str, Any]:
    document = parse_json(container.read(member), member)
    return document if isinstance(document, dict) else {}


def choose(found: list[Choice], reference: str, name: str | None, platform: str | None) -> Choice:
    """The one image that is meant.

    Raises
    ------
    ImageNotFound
        None fits, or several do: the message lists them.
    """
    fitting = [choice for choice in found if name is None or name in choice.names or _matches(name, choice)]
    if platform is not None and len(fitting) >= 1:
        fitting = [choice for choice in fitting if choice.platform in (platform, None)]
    distinct: dict[str, Choice] = {}
    for choice in fitting:  # one image under several tags is one image
        key = str(choice.descriptor.get("digest") or choice.descriptor.get("Config"))
        first = distinct.get(key)
        names = tuple(dict.fromkeys((first.names if first else ()) + choice.names))
        distinct[key] = Choice(names, choice.platform, choice.descriptor, choice.index_digest, choice.annotations)
    if len(distinct) == 1:
        return next(iter(distinct.values()))
    listed = "\n  ".join(dict.fromkeys(choice.label for choice in (list(distinct.values()) or found)[:20]))
    if not distinct:
        wanted = " ".join(filter(None, [name, platform and f"for {platform}"]))
        raise ImageNotFound(f"{reference}: no image {wanted}. It holds:\n  {listed}")
    how = (
        "platform="
        if len({choice.names for choice in distinct.values()}) == 1
        else "a name behind the path (PATH:NAME)"
    )
    raise ImageNotFound(f"{reference} holds {len(distinct)} images: choose one with {how}:\n  {listed}")


def _matches(name: str, choice: Choice) -> bool:
    """Docker's own spelling: ``docker.io/library/x`` is ``x``; a missing tag is ``latest``; a digest."""
    digest = str(choice.descriptor.get("digest") or choice.descriptor.get("Config") or "")
    if name.startswith("sha256:") and name.removeprefix("sha256:") in digest.removesuffix(".json"):
        return True
    tagged = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
    short = {known.removeprefix("docker.io/").removeprefix("library/") for known in choice.names}
    return tagged.removeprefix("docker.io/").removeprefix("library/") in short


def _blob(digest: str | None) -> str:
    return "blobs/" + (digest or "").replace(":", "/")


def _checked_blob(container: Container, digest: str | None, what: str) -> bytes:
    if not digest or not digest.startswith("sha256:"):
        raise ArchiveError(f"{container.name}: the {what}'s digest is {digest!r}; sha256: is what is read.")
    data = container.read(_blob(digest))
    if digest_of(data) != digest:
        raise ArchiveError(f"{container.name}: the {what} {digest} is damaged: its content is {digest_of(data)}.")
    return data


def _oci_image(container: Container, chosen: Choice, reference: str, path: str, mask: bool) -> Image:
    digest = text(chosen.descriptor.get("digest"))
    kind = text(chosen.descriptor.get("mediaType")) or ""
    manifest = mapping(parse_json(_checked_blob(container, digest, "manifest"), "the manifest"), "the manifest")
    config_descriptor = check_manifest(manifest, container.name, kind)
    config_bytes = _checked_blob(container, text(config_descriptor.get("digest")), "config")
    config = mapping(parse_json(config_bytes, "the config"), "the config")
    layers = manifest_layers(manifest, config)
    return assemble(
        reference,
        "oci" if Path(path).is_dir() else "oci-archive",
        config,
        mask=mask,
        manifest=manifest,
        annotations=dict(chosen.annotations) | texts(manifest.get("annotations")),
        layers=layers,
        source=ArchiveSource(path, tuple(_blob(layer.digest) for layer in layers)),
        image_id=digest_of(config_bytes),
        manifest_digest=digest,
        index_digest=chosen.index_digest,
        tags=chosen.names,
        provenance={"path": path},
    )


def check_manifest(manifest: dict[str, Any], where: str, kind: str = "") -> dict[str, Any]:
    """The config's descriptor of an image manifest; other documents are refused by name."""
    if manifest.get("schemaVersion") == 1 or "fsLayers" in manifest:
        raise ArchiveError(
            f"{where}: a Docker schema 1 manifest, out of use since 2017. Pull and push the image again."
        )
    if "manifests" in manifest:
        raise ArchiveError(f"{where}: an index where a manifest was expected; indexes nest too deeply or are damaged.")
    descriptor = mapping(manifest.get("config"), "the manifest's config")
    config_type = text(descriptor.get("mediaType")) or ""
    if (
        not descriptor
        or manifest.get("artifactType")
        or ("image" not in config_type and config_type != _EARLY_CONFIG)
        or config_type.endswith("+encrypted")
    ):
        raise ArchiveError(
            f"{where}: not an image but an artifact ({manifest.get('artifactType') or config_type or kind or 'no config'})."
        )
    return descriptor


def _docker_image(container: Container, chosen: Choice, reference: str, path: str, mask: bool) -> Image:
    entry = chosen.descriptor
    config_member, members = text(entry.get("Config")), sequence(entry.get("Layers"), "Layers in manifest.json")
    if not config_member or not all(isinstance(member, str) for member in members):
        raise ArchiveError(
            f"{container.name}: an entry of manifest.json without Config or Layers. Save the image again."
        )
    config_bytes = container.read(config_member)
    config = mapping(parse_json(config_bytes, config_member), "the config")
    image_id = digest_of(config_bytes)
    stated = config_member.rpartition("/")[2].removesuffix(".json")
    if len(stated) == 64 and image_id != f"sha256:{stated}":
        raise ArchiveError(f"{container.name}: the config {config_member} is damaged: its content is {image_id}.")
    manifest, facts = _manifest_beside(container, image_id)
    layers = manifest_layers(manifest, config) if manifest else _plain_layers(container, config, members)
    if len(layers) != len(members):
        raise ArchiveError(
            f"{container.name}: {config_member} names {len(layers)} layers, manifest.json {len(members)}."
        )
    return assemble(
        reference,
        "docker-archive",
        config,
        mask=mask,
        manifest=manifest,
        annotations=facts.pop("annotations", {}),
        layers=layers,
        source=ArchiveSource(path, tuple(members)),
        image_id=image_id,
        tags=chosen.names,
        provenance={"path": path},
        **facts,
    )


def _plain_layers(container: Container, config: dict[str, Any], members: list[str]) -> list[Layer]:
    """Layers of an archive without an OCI manifest: a member named by its digest says which that is."""
    layers = manifest_layers({"layers": [{}] * len(members)}, config)
    if len(layers) != len(members):
        return layers  # refused by who asks
    placed = []
    for layer, member in zip(layers, members, strict=True):
        stated = member.rpartition("/")[2]
        digest = f"sha256:{stated}" if len(stated) == 64 else layer.diff_id
        plain = digest == layer.diff_id
        size = container.sizes.get(member)
        placed.append(Layer(layer.diff_id, digest, PLAIN_LAYER if plain else None, content_size=size))
    return placed


def _manifest_beside(container: Container, image_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The OCI manifest that a Docker 25 archive holds for the same config, with its digests."""
    if "index.json" not in container.sizes:
        return {}, {}
    index = mapping(parse_json(container.read("index.json"), "index.json"), "index.json")
    for choice in _walk_index(container, index, None, (), 0, set()):
        digest = text(choice.descriptor.get("digest"))
        if _blob(digest) not in container.sizes:
            continue
        manifest = _peek(container, _blob(digest))
        if isinstance(manifest.get("config"), dict) and manifest["config"].get("digest") == image_id:
            annotations = dict(choice.annotations) | texts(manifest.get("annotations"))
            return manifest, {
                "manifest_digest": digest,
                "index_digest": choice.index_digest,
                "annotations": annotations,
            }
    return {}, {}
