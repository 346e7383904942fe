"""Keep snapshots in a registry: OCI artifacts (image-spec 1.1) whose one layer is the Parquet file."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from imagelab.core.errors import ArchiveError
from imagelab.core.json_fields import byte_count, objects, string
from imagelab.core.model import Image
from imagelab.core.references import DIGEST, ImageName
from imagelab.images.sources.assemble import MANIFEST_TYPES, digest_of
from imagelab.images.sources.registry.client import Registry
from imagelab.images.sources.snapshot import load_snapshot
from imagelab.images.sources.spool import spool

ARTIFACT_TYPE = "application/vnd.imagelab.snapshot.v1"
LAYER_TYPE = "application/vnd.imagelab.snapshot.v1+parquet"
_LIMIT = 1 << 30  # bytes of a snapshot that is fetched


def push(registry: Registry, name: ImageName, path: Path) -> str:
    """Store a snapshot under a name; return the manifest's digest."""
    contents = (("application/vnd.oci.empty.v1+json", b"{}"), (LAYER_TYPE, path.read_bytes()))
    config, layer = ({"mediaType": kind, "digest": digest_of(data), "size": len(data)} for kind, data in contents)
    for _, data in contents:
        registry.put_blob(name.repository, digest_of(data), data)
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPES[0], "artifactType": ARTIFACT_TYPE, "config": config}
    data = json.dumps(manifest | {"layers": [layer]}).encode()
    registry.write("PUT", name.repository, f"manifests/{name.target}", data, MANIFEST_TYPES[0])
    return digest_of(data)


def load(reference: str, registry: Registry, name: ImageName, manifest: dict[str, Any]) -> Image:
    """Load the image that a pushed snapshot describes."""
    layers = objects(manifest.get("layers"), "the manifest's layers")
    stored = next((layer for layer in layers if layer.get("mediaType") == LAYER_TYPE), {})
    digest, size = string(stored.get("digest")) or "", byte_count(stored.get("size"))
    if not DIGEST.fullmatch(digest) or size is None or size > _LIMIT:
        raise ArchiveError(
            f"{reference} has no layer of the type {LAYER_TYPE} with a sha256 digest and a size up to 1 GiB."
        )
    data = b"".join(registry.blob(name.repository, digest, size))
    return load_snapshot(reference, spool(io.BytesIO(data), "snapshot"))
