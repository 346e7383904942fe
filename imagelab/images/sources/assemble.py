"""The one place where a config and a manifest become an ``Image``: types checked, secrets masked."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from imagelab.core import redact
from imagelab.core.errors import ArchiveError
from imagelab.core.model import HistoryEntry, Image, Layer, Redaction, Source

INDEX_TYPES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
#: What an image's config is called; in a descriptor's ``artifactType`` too (OCI image-spec 1.1, descriptor.md).
CONFIG_TYPES = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
_SAME_PLATFORMS = {"x86_64": "amd64", "aarch64": "arm64", "amd64/v1": "amd64", "arm64/v8": "arm64", "arm": "arm/v7"}
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
PLAIN_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def parse_json(data: bytes, what: str) -> Any:
    """``data`` as JSON.

    Raises
    ------
    ArchiveError
        Damaged, nested too deeply, or not the text of a JSON document.
    """
    try:
        document = json.loads(data)
        if _ESCAPED_SURROGATE.search(data):  # halves of a character are no text: "?" from here on
            document = json.loads(json.dumps(document, ensure_ascii=False).encode(errors="replace"))
        return document
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{what} is not JSON: {error}. The image is damaged; save or copy it again.") from None


def mapping(value: Any, what: str) -> dict[str, Any]:
    """``value``, which must be a JSON object (null counts as an empty one)."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ArchiveError(f"{what} is a {type(value).__name__}, not a JSON object: this is not an image.")
    return value


def sequence(value: Any, what: str) -> list[Any]:
    """``value``, which must be a JSON array (null counts as an empty one)."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise ArchiveError(f"{what} is a {type(value).__name__}, not a JSON array: this is not an image.")
    return value


def text(value: Any) -> str | None:
    """``value`` where it is text; anything else is unknown."""
    return value if isinstance(value, str) else None


def number(value: Any) -> int | None:
    """``value`` where it is a size; anything else is unknown."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62 else None


def texts(value: Any) -> dict[str, str]:
    """Annotations and labels: the pairs of text in ``value``."""
    return {key: item for key, item in value.items() if isinstance(item, str)} if isinstance(value, dict) else {}


def platform_of(config: Mapping[str, Any]) -> str | None:
    """``os/architecture[/variant]``, as containerd formats it."""
    parts = [config.get(key) for key in ("os", "architecture", "variant")]
    if not all(isinstance(part, str) and part for part in parts[:2]):
        return None
    return "/".join(part for part in parts if isinstance(part, str) and part)


def normal_platform(platform: str) -> str:
    """A platform as containerd normalises it: without the variant that goes without saying, and the system's version."""
    system, _, rest = re.sub(r"\(.*?\)", "", platform).partition("/")
    return f"{system}/{_SAME_PLATFORMS.get(rest, rest)}"


def history_entries(config: Mapping[str, Any]) -> tuple[HistoryEntry, ...]:
    """The config's history (OCI image-spec, config.md): oldest first."""
    entries = []
    for entry in sequence(config.get("history"), "the config's history"):
        entry = mapping(entry, "an entry of the config's history")
        entries.append(
            HistoryEntry(
                created=text(entry.get("created")),
                created_by=text(entry.get("created_by")) or "",
                comment=text(entry.get("comment")) or "",
                author=text(entry.get("author")) or "",
                empty_layer=entry.get("empty_layer") is True,
            )
        )
    return tuple(entries)


def diff_ids(config: Mapping[str, Any]) -> list[str]:
    rootfs = mapping(config.get("rootfs"), "the config's rootfs")
    ids = sequence(rootfs.get("diff_ids"), "the config's diff_ids")
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
    blobs = [
        mapping(blob, "a layer's descriptor") for blob in sequence(manifest.get("layers"), "the manifest's layers")
    ]
    if ids and blobs and len(ids) != len(blobs):
        raise ArchiveError(f"the config names {len(ids)} layers, its manifest {len(blobs)}: they are not of one image.")
    return [
        Layer(
            diff_id=ids[index] if ids else None,
            digest=text(blob.get("digest")),
            media_type=text(blob.get("mediaType")),
            content_size=number(blob.get("size")),
            annotations=texts(blob.get("annotations")),
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
