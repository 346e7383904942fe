"""``docker-archive:``, ``oci-archive:`` and ``oci:``: images in files.

Formats: moby's image tarball specification (``manifest.json``; since 25.0 an OCI layout beside it) and the
OCI image-spec's image-layout.md. BuildKit's attestation manifests are not images.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagelab.core.errors import ArchiveError
from imagelab.core.json_fields import array_of, labels, object_of, parse_json, string
from imagelab.core.model import Image, Layer, Source
from imagelab.images.layers.cache import file_key
from imagelab.images.layers.listing import check_listable, holds_files
from imagelab.images.layers.regions import Region
from imagelab.images.layers.tar import LayerListing
from imagelab.images.sources.assemble import CONFIG_TYPES, PLAIN_LAYER, assemble, digest_of, manifest_layers
from imagelab.images.sources.choices import ABOUT, Choice, blob_member, choices, choose, indexed, peek, statements
from imagelab.images.sources.members import Archive, member_name, open_archive

_EARLY_CONFIG = "application/octet-stream"  # what Docker 1.10 called an image's config


@dataclass(frozen=True)
class ArchiveSource(Source):
    """Reads layers again out of the file or layout at ``path``."""

    path: str
    members: tuple[str, ...]  # each layer's
    listing_is_local = True

    def layer_keys(self, image: Image) -> list[str | None]:
        folder = Path(self.path)
        if not folder.is_dir():
            return [file_key(folder, f"{image.transport}:{member}") for member in self.members]
        part = f"{image.transport}:{folder.resolve()}"
        files = [folder / member for member in self.members]
        # skopeo's dir: is flat
        return [file_key(file if file.exists() else folder / file.name, part) for file in files]

    def read_layers(
        self, image: Image, wanted: Iterable[int], *, digests: bool = False
    ) -> Iterator[tuple[int, LayerListing]]:
        archive = open_archive(Path(self.path))
        by_member: dict[str, list[int]] = {}
        for index in wanted:
            member = self.members[index]
            check_listable(image.layers[index], image.reference, present=member in archive.sizes)
            by_member.setdefault(member, []).append(index)
        for member, listing in archive.list_layers(by_member, digests=digests):
            for index in by_member[member]:
                yield index, listing

    def read_range(self, image: Image, layer_index: int, offset: int, size: int) -> Iterator[bytes]:
        return open_archive(Path(self.path)).read_range(self.members[layer_index], offset, size)

    def attestations(self, image: Image) -> dict[str, Callable[[], bytes]]:
        archive = open_archive(Path(self.path))
        found = indexed(archive, peek(archive, "index.json")) if "index.json" in archive.sizes else []
        about = [choice for choice in found if dict(choice.annotations).get(ABOUT) == (image.manifest_digest or "")]
        manifests = [peek(archive, blob_member(choice.digest)) for choice in about]
        return statements(manifests, lambda layer: _checked_blob(archive, string(layer.get("digest")), "attestation"))

    def regions(self) -> list[Region | None]:
        archive = open_archive(Path(self.path))
        sizes = archive.sizes  # an incomplete image's other layers are listed all the same
        return [archive.region(member) if member in sizes else None for member in self.members]


def load_archive(reference: str, path: Path, name: str | None, platform: str | None, mask: bool) -> Image:
    """The image called ``name``, or the only one, in the archive or layout at ``path``."""
    return load_from(open_archive(path), reference, str(path), name, platform, mask)


def load_from(archive: Archive, reference: str, path: str, name: str | None, platform: str | None, mask: bool) -> Image:
    """As ``load_archive``, from an open archive."""
    found = choices(archive)
    # an engine can save an index of which it has one platform only
    present = [
        choice for choice in found if "Config" in choice.descriptor or blob_member(choice.digest) in archive.sizes
    ]
    chosen = choose(present or found, reference, name, platform)
    load = _docker_image if "Config" in chosen.descriptor else _oci_image
    return load(archive, chosen, reference, path, mask)


def _checked_blob(archive: Archive, digest: str | None, what: str) -> bytes:
    if not digest or not digest.startswith("sha256:"):
        raise ArchiveError(
            f"{archive.name}: the {what} has the unsupported digest {digest!r}; expected sha256:<64 hex>."
        )
    data = archive.read(blob_member(digest))
    if digest_of(data) != digest:
        raise ArchiveError(f"{archive.name}: the {what} {digest} is damaged: its content is {digest_of(data)}.")
    return data


def _oci_image(archive: Archive, chosen: Choice, reference: str, path: str, mask: bool) -> Image:
    digest = string(chosen.descriptor.get("digest"))
    kind = string(chosen.descriptor.get("mediaType")) or ""
    manifest = object_of(parse_json(_checked_blob(archive, digest, "manifest"), "the manifest"), "the manifest")
    config_descriptor = check_manifest(manifest, archive.name, kind)
    config_bytes = _checked_blob(archive, string(config_descriptor.get("digest")), "config")
    config = object_of(parse_json(config_bytes, "the config"), "the config")
    layers = manifest_layers(manifest, config)
    return assemble(
        reference,
        "oci-archive" if chosen.transport == "oci" and not Path(path).is_dir() else chosen.transport,
        config,
        mask=mask,
        manifest=manifest,
        annotations=dict(chosen.annotations) | labels(manifest.get("annotations")),
        layers=layers,
        source=ArchiveSource(path, tuple(blob_member(layer.digest) for layer in layers)),
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
    descriptor = object_of(manifest.get("config"), "the manifest's config")
    config_type = string(descriptor.get("mediaType")) or ""
    if (
        not descriptor
        or manifest.get("artifactType") not in (None, "", *CONFIG_TYPES)
        or ("image" not in config_type and config_type != _EARLY_CONFIG)
        or config_type.endswith("+encrypted")
    ):
        raise ArchiveError(
            f"{where}: not an image but an artifact ({manifest.get('artifactType') or config_type or kind or 'no config'})."
        )
    layers = [layer for layer in array_of(manifest.get("layers"), "the manifest's layers") if isinstance(layer, dict)]
    kinds = [string(layer.get("mediaType")) or "" for layer in layers]
    if kinds and not any(map(holds_files, kinds)):  # cosign's signatures, BuildKit's attestations
        raise ArchiveError(f"{where}: not an image but an artifact under an image's config ({kinds[0]}).")
    return descriptor


def _docker_image(archive: Archive, chosen: Choice, reference: str, path: str, mask: bool) -> Image:
    entry = chosen.descriptor
    config_member, members = string(entry.get("Config")), array_of(entry.get("Layers"), "Layers in manifest.json")
    if not config_member or not all(isinstance(member, str) for member in members):
        raise ArchiveError(f"{archive.name}: an entry of manifest.json without Config or Layers. Save the image again.")
    # names are paths, not digests to check
    config_member, members = member_name(config_member), [member_name(member) for member in members]
    config_bytes = archive.read(config_member)
    config = object_of(parse_json(config_bytes, config_member), "the config")
    layers = manifest_layers({"layers": [{}] * len(members)}, config)
    if len(layers) != len(members):
        raise ArchiveError(f"{archive.name}: {config_member} names {len(layers)} layers, manifest.json {len(members)}.")
    return assemble(
        reference,
        "docker-archive",
        config,
        mask=mask,
        layers=_plain_layers(archive, layers, members),
        source=ArchiveSource(path, tuple(members)),
        image_id=digest_of(config_bytes),
        tags=chosen.names,
        provenance={"path": path},
    )


def _plain_layers(archive: Archive, layers: list[Layer], members: list[str]) -> list[Layer]:
    """Layers of an archive without an OCI manifest: a member named by its digest says which that is."""
    placed = []
    for layer, member in zip(layers, members, strict=True):
        packed = member.endswith(".gz")  # go-containerregistry and jib name these by the blob's digest
        stated = member.rpartition("/")[2].removesuffix(".tar.gz")
        digest = f"sha256:{stated}" if re.fullmatch(r"[0-9a-f]{64}", stated) else None if packed else layer.diff_id
        plain = digest == layer.diff_id
        size = archive.sizes.get(member)
        placed.append(Layer(layer.diff_id, digest, PLAIN_LAYER if plain else None, content_size=size))
    return placed
