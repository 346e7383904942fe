"""Fleets of small made-up images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from imagelab.core.model import HistoryEntry, Image, Layer
from imagelab.fleet.index import FACTS, image_facts, snapshot_name
from imagelab.images.layers.tar import LayerListing
from imagelab.images.layers.tar_columns import SCHEMA
from imagelab.images.load import load_image
from imagelab.images.sources.snapshot import write_snapshot


@dataclass
class Member:
    """One image: layers as (name, path → size); layers of one name are one layer."""

    reference: str
    layers: list[tuple[str, dict[str, int]]]
    created: str = "2026-01-01"
    packages: str = ""  # dpkg's status file, in the lowest layer
    base_name: str | None = None
    base_layers: int = 0
    raw: dict[bytes, int] = field(default_factory=dict)


def write_fleet(members: list[Member], folder: Path) -> Path:
    """What `imagelab.index_images` would write of them."""
    (folder / "index").mkdir(parents=True)
    for member in members:
        image, listings = made(member)
        name = snapshot_name(image)
        path = write_snapshot(image, listings, folder / f"{name}.parquet")
        row = image_facts(load_image(f"snapshot:{path}"), name, member.reference)
        pq.write_table(pa.Table.from_pylist([row], schema=FACTS), folder / "index" / f"{name}.parquet")
    return folder


def made(member: Member) -> tuple[Image, dict[int, LayerListing]]:
    listings, layers, steps = {}, [], []
    for index, (name, files) in enumerate(member.layers):
        rows = [
            {"path": path.encode(), "kind": 0, "size": size, "mode": 420, "uid": 0, "gid": 0}
            for path, size in files.items()
        ]
        rows += [
            {"path": path, "kind": 0, "size": size, "mode": 420, "uid": 0, "gid": 0}
            for path, size in member.raw.items()
        ]
        if index == 0 and member.packages:
            rows.append({"path": b"/var/lib/dpkg/status", "kind": 0, "size": 0, "mode": 420, "uid": 0, "gid": 0})
            rows[-1]["content"] = member.packages.encode()
        listings[index] = LayerListing(pa.Table.from_pylist(rows, schema=SCHEMA))
        diff_id = "sha256:" + hashlib.sha256(name.encode()).hexdigest()
        layers.append(Layer(diff_id, size=listings[index].size, entries=listings[index].entries))
        steps.append(
            HistoryEntry(
                f"{member.created}T00:00:00Z", f"COPY {name} / # buildkit", "buildkit.dockerfile.v0", "", False
            )
        )
    if member.base_layers:
        steps.insert(
            member.base_layers, HistoryEntry("2025-06-01T00:00:00Z", "CMD x", "buildkit.dockerfile.v0", "", True)
        )
    image = Image(
        reference=f"docker://{member.reference}",
        transport="docker",
        layers=tuple(layers),
        history=tuple(steps),
        manifest_digest="sha256:" + hashlib.sha256(repr(member).encode()).hexdigest(),
        annotations={"org.opencontainers.image.base.name": member.base_name} if member.base_name else {},
        config={"created": f"{member.created}T00:00:00Z", "os": "linux", "architecture": "amd64"},
        platform="linux/amd64",
    )
    return image, listings
