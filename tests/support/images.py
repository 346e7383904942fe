"""Images made for tests: in memory, and as the archives and layouts that tools write."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagelab.core.model import HistoryEntry, Image, Layer, Source
from imagelab.images.layers.blobs import StreamWindow
from imagelab.images.layers.tar import list_tar
from tests.support.tars import END, header, padded

FLAGS = {"file": b"0", "directory": b"5", "symlink": b"2", "hardlink": b"1", "fifo": b"6"}
OCI = "application/vnd.oci.image."


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer_tar(entries: Sequence[tuple[bytes, str, Any]]) -> bytes:
    """A tar of (name, kind, contents or link target) in exactly this order."""
    blocks = []
    for name, kind, what in entries:
        data = what if kind == "file" else b""
        link = what if kind in ("hardlink", "symlink") else b""
        blocks.append(header(name, size=len(data), flag=FLAGS[kind], link=link) + padded(data))
    return b"".join(blocks) + END


@dataclass(frozen=True)
class TarsSource(Source):
    """A source whose layers are at hand."""

    tars: tuple[bytes, ...]
    listing_is_local = True

    def read_layers(self, image, wanted, *, digests=False):
        for index in wanted:
            yield index, list_tar(StreamWindow([self.tars[index]]), name=f"layer {index}", digests=digests)

    def read_range(self, image, layer_index, offset, size):
        return iter([self.tars[layer_index][offset : offset + size]])


def image_of(tars: Sequence[bytes], reference: str = "made") -> Image:
    history = tuple(HistoryEntry(None, f"RUN step {index} # buildkit", empty_layer=False) for index in range(len(tars)))
    return Image(reference, "docker-archive", tuple(Layer(None) for _ in tars), history, source=TarsSource(tuple(tars)))


def config_of(tars: Sequence[bytes], **more: Any) -> dict[str, Any]:
    steps = [{"created": "2024-01-02T03:04:05Z", "created_by": f"RUN step {number}"} for number in range(len(tars))]
    rootfs = {"type": "layers", "diff_ids": [sha256(tar) for tar in tars]}
    return {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs, "history": steps} | more


def tar_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def docker_save(tars: Sequence[bytes], *, tags: Sequence[str] | None = ("made:latest",), blobs: bool = False,
                **config: Any) -> dict[str, bytes]:  # fmt: skip
    """Members of a `docker save` archive, in the classic form or (from 25.0 on) with blobs."""
    data = json.dumps(config_of(tars, **config)).encode()
    identity = sha256(data).removeprefix("sha256:")
    name = f"blobs/sha256/{identity}" if blobs else f"{identity}.json"
    layers = [
        f"blobs/sha256/{sha256(tar).removeprefix('sha256:')}" if blobs else f"{number:064x}/layer.tar"
        for number, tar in enumerate(tars)
    ]
    members = {name: data} | dict(zip(layers, tars, strict=True))
    manifest = [{"Config": name, "RepoTags": tags and list(tags), "Layers": layers}]
    return members | {"manifest.json": json.dumps(manifest).encode()}


class Layout(dict[str, bytes]):
    """Members of an OCI layout, made up blob by blob."""

    def blob(self, data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
        digest = sha256(data)
        self["blobs/" + digest.replace(":", "/")] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data)} | more

    def document(self, document: Any, media_type: str, **more: Any) -> dict[str, Any]:
        return self.blob(json.dumps(document).encode(), media_type, **more)

    def image(self, tars: Sequence[bytes], pack: Callable[[bytes], bytes] = gzip.compress, suffix: str = "+gzip",
              config: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:  # fmt: skip
        described = self.document(config or config_of(tars), OCI + "config.v1+json")
        layers = [self.blob(pack(tar), f"{OCI}layer.v1.tar{suffix}") for tar in tars]
        manifest = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": described, "layers": layers}
        return self.document(manifest, OCI + "manifest.v1+json", **more)

    def close(self, *descriptors: dict[str, Any]) -> Layout:
        self["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
        self["index.json"] = json.dumps({"schemaVersion": 2, "manifests": descriptors}).encode()
        return self


def write_tar(path: Path, members: dict[str, bytes], pack: Callable[[bytes], bytes] = bytes) -> str:
    path.write_bytes(pack(tar_of(members)))
    return str(path)


def write_folder(path: Path, members: dict[str, bytes]) -> str:
    for name, data in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return str(path)
