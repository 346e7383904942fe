"""``docker-daemon:``: images of a running engine, over Docker's API (Podman's too). The only importer of the SDK."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import docker
import docker.context
import docker.errors
import requests
from tqdm.auto import tqdm

from imagelab.core.errors import ArchiveError, DaemonUnavailable, ImageNotFound, similar_names
from imagelab.core.json_fields import array_of, byte_count, object_of, string
from imagelab.core.model import HistoryEntry, Image, Layer, Redaction, Source
from imagelab.images.layers.cache import cached, link_digest, recall_config, remember_config
from imagelab.images.layers.tar import LayerListing
from imagelab.images.sources import archive
from imagelab.images.sources.assemble import assemble, history_entries, platform_of
from imagelab.images.sources.streams import StreamArchive

_CHUNK = 1 << 20
_CONTAINERD = "io.containerd.snapshotter.v1"


def endpoint() -> tuple[str | None, Any]:
    """Host and TLS settings, found as Docker's CLI finds them: DOCKER_HOST, then DOCKER_CONTEXT, then the
    current context of the CLI's configuration; None for the default socket."""
    if os.environ.get("DOCKER_HOST"):
        return None, None  # the SDK reads it, with DOCKER_TLS_VERIFY and DOCKER_CERT_PATH
    name = os.environ.get("DOCKER_CONTEXT")
    try:
        context = docker.context.ContextAPI.get_context(name)
    except Exception as error:  # the SDK raises bare Exception for a damaged context file
        raise DaemonUnavailable(
            f"the current Docker context cannot be read: {error}. Try `docker context ls`."
        ) from error
    if context is None:
        raise DaemonUnavailable(
            f"there is no Docker context {name or 'of the configured name'}. Try `docker context ls`."
        )
    if context.name == "default":
        return None, None
    return context.Host, context.TLSConfig


@contextmanager
def client() -> Iterator[docker.DockerClient]:
    """A connected client; every error of the SDK or the connection leaves as an ImagelabError."""
    host, tls = endpoint()
    shown = host or os.environ.get("DOCKER_HOST") or "the default socket"
    connected = None
    try:
        if host:
            connected = docker.DockerClient(base_url=host, tls=tls, version="auto", timeout=600, use_ssh_client=True)
        else:
            connected = docker.from_env(version="auto", timeout=600, use_ssh_client=True)
        yield connected
    except docker.errors.NotFound as error:
        raise ImageNotFound(f"the engine at {shown} says: {error.explanation}") from error
    except docker.errors.APIError as error:
        raise DaemonUnavailable(f"the engine at {shown} refused: {error.explanation or error}") from error
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        raise DaemonUnavailable(
            f"no container engine answers at {shown}: {error}\n"
            "Start one (`sudo systemctl start docker`, Docker Desktop, `podman system service`), or point to one with "
            "DOCKER_HOST or `docker context use`. Archives work without: `docker save IMAGE -o image.tar` elsewhere, "
            "then docker-archive:image.tar."
        ) from error
    finally:
        if connected is not None:
            connected.close()


@dataclass(frozen=True)
class DaemonSource(Source):
    """Lists the layers of an engine's image by having it saved, once, as a stream."""

    id: str
    saves = True

    def layer_keys(self, image: Image) -> list[str | None]:
        return [layer.diff_id for layer in image.layers]

    def read_layers(
        self, image: Image, wanted: Iterable[int], *, digests: bool = False
    ) -> Iterator[tuple[int, LayerListing]]:
        wanted = set(wanted)
        with client() as engine, self._saved(engine, image.reference) as chunks:
            stream = StreamArchive(
                f"docker-daemon:{image.reference}",
                lambda: chunks,
                known=lambda member: cached("sha256:" + member.removeprefix("blobs/sha256/"), digests=digests),
                digests=digests,
            )
        saved = archive.load_from(stream, image.reference, "", None, image.platform, mask=True)
        if [layer.diff_id for layer in saved.layers] != [layer.diff_id for layer in image.layers]:
            raise ArchiveError(f"{image.reference}: the engine saved other layers than it names. Load the image again.")
        remember_config(self.id, _facts(saved))
        assert isinstance(saved.source, archive.ArchiveSource)
        members = saved.source.members
        for member, listing in stream.list_layers({members[index] for index in wanted}, digests=digests):
            yield from ((index, listing) for index in sorted(wanted) if members[index] == member)
            link_digest(listing.digest, listing.diff_id)

    def read_range(self, image: Image, layer_index: int, offset: int, size: int) -> Iterator[bytes]:
        # two passes over what the engine saves: the first says which member the layer is
        with client() as engine:

            def chunks() -> Iterator[bytes]:
                with self._saved(engine, image.reference) as stream:
                    yield from stream

            stream = StreamArchive(f"docker-daemon:{image.reference}", chunks)
            saved = archive.load_from(stream, image.reference, "", None, image.platform, mask=False)
            assert isinstance(saved.source, archive.ArchiveSource)
            yield from stream.read_range(saved.source.members[layer_index], offset, size)

    @contextmanager
    def _saved(self, engine: docker.DockerClient, reference: str) -> Iterator[Iterable[bytes]]:
        with tqdm(unit="B", unit_scale=True, desc=f"saving {reference}", delay=1, leave=False) as bar:

            def counted() -> Iterator[bytes]:
                for chunk in engine.api.get_image(self.id, chunk_size=_CHUNK):
                    bar.update(len(chunk))
                    yield chunk

            yield counted()


def load_daemon(reference: str, name: str, mask: bool) -> Image:
    """The engine's image ``name`` (name, name:tag, digest or id)."""
    with client() as engine:
        api = engine.api
        try:
            # API 1.48 adds each manifest; to ask the image list for it takes a minute where there are hundreds
            facts = api._result(api._get(api._url("/images/{0}/json", name), params={"manifests": 1}), json=True)
        except docker.errors.NotFound:
            raise ImageNotFound(_not_found(name, api)) from None
        facts = object_of(facts, "the engine's answer")
        version = api.version()
        in_containerd = _in_containerd(api)
        rows = api.history(facts["Id"])
        listed = _manifest_facts(facts) if in_containerd else {}
        podman = any(part.get("Name") == "Podman Engine" for part in version.get("Components") or ())
    saved = recall_config(facts["Id"]) if mask else None
    config = saved["config"] if saved else _config(facts)
    history = [_entry(row, in_containerd, podman) for row in reversed(array_of(rows, "the engine's history"))]
    if saved and len(config.get("history") or ()) == len(history):
        exact = history_entries(config)  # what the API drops; it adds how much each step takes
        history = [
            replace(told, size=row.size, disk_usage=row.disk_usage) for told, row in zip(exact, history, strict=True)
        ]
    layers = (
        [Layer(**layer) for layer in saved["layers"]]
        if saved
        else [Layer(item) for item in config["rootfs"]["diff_ids"]]
    )
    image = assemble(
        reference,
        "docker-daemon",
        config,
        mask=mask,
        layers=layers,
        history=history,
        source=DaemonSource(facts["Id"]),
        image_id=saved["image_id"] if saved else None if in_containerd else facts["Id"],
        manifest_digest=listed.get("manifest_digest"),
        index_digest=listed.get("index_digest"),
        tags=tuple(tag for tag in array_of(facts.get("RepoTags"), "RepoTags") if isinstance(tag, str)),
        content_size=listed.get("content_size"),
        disk_usage=listed.get("disk_usage"),
        provenance={
            "engine": string(version.get("Version")),
            "store": "containerd"
            if in_containerd
            else string(object_of(facts.get("GraphDriver"), "GraphDriver").get("Name")),
            "size": None if in_containerd else byte_count(facts.get("Size")),
        },
    )
    return replace(image, redactions=tuple(Redaction(**noted) for noted in saved["redactions"])) if saved else image


def _facts(saved: Image) -> dict[str, Any]:
    """What a save tells beyond the API: the exact config, its digest, and each layer's blob."""
    facts = {"image_id": saved.image_id, "config": saved.config, "layers": [asdict(layer) for layer in saved.layers]}
    return facts | {"redactions": [asdict(redaction) for redaction in saved.redactions]}


def _not_found(name: str, api: Any) -> str:
    names = sorted({tag for entry in api.images() for tag in entry.get("RepoTags") or ()})
    return (
        f"the engine has no image {name!r}. {similar_names(name, names)} Pull or build it first, or give the path of an "
        "archive."
    )


def _in_containerd(api: Any) -> bool:
    status = api.info().get("DriverStatus") or []
    return any(isinstance(pair, list) and _CONTAINERD in pair for pair in status)


def _manifest_facts(inspected: dict[str, Any]) -> dict[str, Any]:
    """Digests and both sizes of an image in the containerd store."""
    kind = object_of(inspected.get("Descriptor"), "Descriptor").get("mediaType", "")
    images = [
        item
        for item in array_of(inspected.get("Manifests"), "Manifests")
        if item.get("Kind") == "image" and item.get("Available")
    ]
    facts: dict[str, Any] = {"index_digest": inspected["Id"] if "index" in kind or "list" in kind else None}
    if len(images) == 1:
        facts["manifest_digest"] = images[0].get("ID")
        facts["content_size"] = byte_count(images[0].get("Size", {}).get("Content"))
        facts["disk_usage"] = byte_count(images[0].get("ImageData", {}).get("Size", {}).get("Unpacked"))
    return facts


def _config(facts: dict[str, Any]) -> dict[str, Any]:
    """What inspect shows, back in the shape of an OCI image config."""
    layers = array_of(object_of(facts.get("RootFS"), "RootFS").get("Layers"), "RootFS.Layers")
    config = {
        "created": string(facts.get("Created")),
        "author": string(facts.get("Author")),
        "architecture": string(facts.get("Architecture")),
        "os": string(facts.get("Os")),
        "variant": string(facts.get("Variant")),
        "os.version": string(facts.get("OsVersion")),
        "config": object_of(facts.get("Config"), "Config"),
        "rootfs": {"type": "layers", "diff_ids": layers},
    }
    return {key: value for key, value in config.items() if value not in (None, "")}


def _entry(row: dict[str, Any], in_containerd: bool, podman: bool) -> HistoryEntry:
    seconds, size = row.get("Created"), byte_count(row.get("Size"))
    created = None
    if isinstance(seconds, int) and 0 < seconds < 253_402_300_799:
        created = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return HistoryEntry(
        created=created,
        created_by=string(row.get("CreatedBy")) or "",
        comment=string(row.get("Comment")) or "",
        empty_layer=size == 0 if podman else None,  # its sizes are whole tars', and no tar is empty
        size=None if in_containerd or podman else size,
        disk_usage=size if in_containerd else None,
    )


def image_rows() -> list[dict[str, Any]]:
    """One row per image and name that the engine lists; columns as in ``tables.IMAGES_COLUMNS``."""
    with client() as engine:
        api = engine.api
        in_containerd = _in_containerd(api)
        params = {"manifests": 1} if in_containerd else {}
        listed = api._result(api._get(api._url("/images/json"), params=params), json=True)
    rows = []
    for entry in listed:
        held = [item for item in entry.get("Manifests") or () if item.get("Kind") == "image" and item.get("Available")]
        sizes = [(item.get("Size", {}).get("Content"), item["ImageData"]["Size"].get("Unpacked")) for item in held]
        base = {
            "image_id": None if in_containerd else entry.get("Id"),
            "index_digest": entry.get("Id") if in_containerd else None,
            "created": datetime.fromtimestamp(entry["Created"], UTC) if entry.get("Created") else None,
            "size": None if in_containerd else byte_count(entry.get("Size")),
            "content_size": sum(byte_count(content) or 0 for content, _ in sizes) if held else None,
            "disk_usage": sum(byte_count(unpacked) or 0 for _, unpacked in sizes) if held else None,
            "platforms": " ".join(platform_of(item["ImageData"]["Platform"]) or "unknown" for item in held) or None,
        }
        rows += [base | {"reference": tag} for tag in entry.get("RepoTags") or [entry.get("Id")]]
    return rows


def inspect_containers(name: str | None = None) -> list[dict[str, Any]]:
    """What the engine's inspect tells of each container, or of the one of that name or id."""
    with client() as engine:
        if name is not None:
            return [object_of(engine.api.inspect_container(name), "the engine's answer")]
        found = []
        for listed in engine.api.containers(all=True):
            try:
                found.append(object_of(engine.api.inspect_container(listed["Id"]), "the engine's answer"))
            except docker.errors.NotFound:  # removed since it was listed
                continue
        return found
