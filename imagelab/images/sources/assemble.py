"""The one place where a config and a manifest become an ``Image``: types checked, secrets masked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from imagelab.core import redact
from imagelab.core.errors import ArchiveError
from imagelab.core.json_fields import array_of, byte_count, labels, object_of, objects, string
from imagelab.core.model import HistoryEntry, Image, Layer, Redaction, Source

MANIFEST_TYPES = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
INDEX_TYPES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
#: What an image's config is called; in a descriptor's ``artifactType`` too (OCI image-spec 1.1, descriptor.md).
CONFIG_TYPES = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
_SAME_PLATFORMS = {"x86_64": "amd64", "aarch64": "arm64", "amd64/v1": "amd64", "arm64/v8": "arm64", "arm": "arm/v7"}
PLAIN_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def platform_of(config: Mapping[str, Any]) -> str | None:
    """``os/architecture[/variant]``, as containerd formats it."""
    parts = [config.get(key) for key in ("os", "architecture", "variant")]
    if not all(isinstance(part, str) and part for part in parts[:2]):
        return None
    return "/".join(part for part in parts if isinstance(part, str) and part)


def normal_platform(platform: str) -> str:
    """A platform as containerd normalises it: without the default variant and the system's version."""
    system, _, rest = re.sub(r"\(.*?\)", "", platform).partition("/")
    return f"{system}/{_SAME_PLATFORMS.get(rest, rest)}"


def history_entries(config: Mapping[str, Any]) -> tuple[HistoryEntry, ...]:
    """The config's history (OCI image-spec, config.md): oldest first."""
    return tuple(
        HistoryEntry(
            created=string(entry.get("created")),
            created_by=string(entry.get("created_by")) or "",
            comment=string(entry.get("comment")) or "",
            author=string(entry.get("author")) or "",
            empty_layer=entry.get("empty_layer") is True,
        )
        for entry in objects(config.get("history"), "the config's history")
    )


def diff_ids(config: Mapping[str, Any]) -> list[str]:
    rootfs = object_of(config.get("rootfs"), "the config's rootfs")
    ids = array_of(rootfs.get("diff_ids"), "the config's diff_ids")
    if not all(isinstance(item, str) for item in ids):
        raise ArchiveError("the config's diff_ids are not all text: this is not an image's config.")
    return ids


def manifest_layers(manifest: Mapping[str, Any], config: Mapping[str, Any]) -> list[Layer]:
    """The manifest's descriptors joined with the config's diff_ids, base first.

    Raises
    ------
    ArchiveError
        Where both are there and their counts differ: nothing says which belong together.
    """
    ids = diff_ids(config)
    blobs = objects(manifest.get("layers"), "the manifest's layers")
    if ids and blobs and len(ids) != len(blobs):
        raise ArchiveError(f"the config names {len(ids)} layers, its manifest {len(blobs)}: they are not of one image.")
    return [
        Layer(
            diff_id=ids[index] if ids else None,
            digest=string(blob.get("digest")),
            media_type=string(blob.get("mediaType")),
            content_size=byte_count(blob.get("size")),
            annotations=labels(blob.get("annotations")),
        )
        for index, blob in enumerate(blobs or [{}] * len(ids))
    ]


def assemble(
    reference: str,
    transport: str,
    config: Mapping[str, Any],
    *,
    mask: bool,
    layers: Sequence[Layer],
    history: Sequence[HistoryEntry] | None = None,
    manifest: Mapping[str, Any] | None = None,
    annotations: Mapping[str, str] | None = None,
    source: Source | None = None,
    **facts: Any,
) -> Image:
    """An ``Image`` of these parts; with ``mask``, what looks like a secret is masked and noted."""
    parts = {"config": dict(config), "manifest": dict(manifest or {}), "annotations": dict(annotations or {})}
    if history is not None:
        parts["config"].pop("history", None)
    found: list[tuple[str, str]] = []
    if mask:
        for name in parts:
            parts[name], more = redact.mask_document(parts[name], name)
            found += more
        # these stand in the manifest too, where they were noted
        layers = [replace(layer, annotations=redact.mask_document(layer.annotations)[0]) for layer in layers]
        if history is not None:
            history, more = _masked_history(history)
            found += more
    return Image(
        reference=reference,
        transport=transport,
        layers=tuple(layers),
        history=history_entries(parts["config"]) if history is None else tuple(history),
        config=parts["config"],
        manifest=parts["manifest"],
        annotations=parts["annotations"],
        platform=platform_of(parts["config"]),
        redactions=tuple(Redaction(where, kind) for where, kind in found),
        source=source,
        **facts,
    )


def _masked_history(entries: Sequence[HistoryEntry]) -> tuple[list[HistoryEntry], list[tuple[str, str]]]:
    masked, found = redact.mask_document(
        [{"created_by": entry.created_by, "comment": entry.comment, "author": entry.author} for entry in entries],
        "config.history",
    )
    return [replace(entry, **fields) for entry, fields in zip(entries, masked, strict=True)], found
