"""``docker-daemon:``: the images of a running engine, for each platform that it has; its layers come with a save."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from imagelab.core.errors import ArchiveError, DaemonUnavailable, ImageNotFound, similar_names
from imagelab.core.json_fields import byte_count, mapping, mappings, object_of, sequence, string, strings
from imagelab.core.model import HistoryEntry, Image, Layer, Redaction, Source
from imagelab.images.layers.cache import cached, link_digest, recall_config, remember_config
from imagelab.images.layers.tar import LayerListing
from imagelab.images.sources import archive
from imagelab.images.sources.assemble import assemble, diff_ids, history_entries, platform_of
from imagelab.images.sources.choices import Choice, choose
from imagelab.images.sources.daemon import Client, client
from imagelab.images.sources.streams import StreamArchive

_CONTAINERD = "io.containerd.snapshotter.v1"


@dataclass(frozen=True)
class DaemonSource(Source):
    """Lists the layers of an engine's image by having it saved, once, as a stream."""

    id: str
    key: str  # under which the exact config is remembered: each platform's manifest has its own
    platform: str | None  # as the API takes it, where the engine has several
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
            raise ArchiveError(f"{image.reference}: the saved layers differ from the inspected layers. Load it again.")
        remember_config(self.key, _facts(saved))
        assert isinstance(saved.source, archive.ArchiveSource)
        members = saved.source.members
        for member, listing in stream.list_layers({members[index] for index in wanted}, digests=digests):
            yield from ((index, listing) for index in sorted(wanted) if members[index] == member)
            link_digest(listing.digest, listing.diff_id)

    def read_range(self, image: Image, layer_index: int, offset: int, size: int) -> Iterator[bytes]:
        # the archive is read twice: first to find the layer's member
        with client() as engine:

            def chunks() -> Iterator[bytes]:
                with self._saved(engine, image.reference) as stream:
                    yield from stream

            stream = StreamArchive(f"docker-daemon:{image.reference}", chunks)
            saved = archive.load_from(stream, image.reference, "", None, image.platform, mask=False)
            assert isinstance(saved.source, archive.ArchiveSource)
            yield from stream.read_range(saved.source.members[layer_index], offset, size)

    @contextmanager
    def _saved(self, engine: Client, reference: str) -> Iterator[Iterable[bytes]]:
        from tqdm.auto import tqdm  # imported here: slow to load, and a known image is not saved

        with tqdm(unit="B", unit_scale=True, desc=f"saving {reference}", delay=1, leave=False) as bar:

            def counted() -> Iterator[bytes]:
                for chunk in engine.save(self.id, self.platform):
                    bar.update(len(chunk))
                    yield chunk

            yield counted()


def load_daemon(reference: str, name: str, platform: str | None, mask: bool) -> Image:
    """The engine's image ``name`` (name, name:tag, digest or id): for ``platform``, else as the engine chooses."""
    with client() as engine:
        facts, manifest = _inspect(engine, reference, name, platform)
        version = engine.version_facts
        in_containerd = _in_containerd(engine)
        wanted = {"platform": manifest["api"]} if manifest.get("api") else {}
        rows = sequence(engine.ask(f"/images/{quote(str(facts['Id']), safe=':')}/history", **wanted))
        podman = any(part.get("Name") == "Podman Engine" for part in mappings(version.get("Components")))
    key = manifest.get("digest") or facts["Id"]
    saved = recall_config(key) if mask else None
    config = saved["config"] if saved else _config(facts)
    history = [_entry(row, in_containerd, podman) for row in reversed(mappings(rows))]
    if saved and len(config.get("history") or ()) == len(history):
        exact = history_entries(config)  # the API lacks empty_layer and has the size of each step
        history = [
            replace(entry, size=row.size, disk_usage=row.disk_usage) for entry, row in zip(exact, history, strict=True)
        ]
    layers = [Layer(**layer) for layer in saved["layers"]] if saved else [Layer(item) for item in diff_ids(config)]
    image = assemble(
        reference,
        "docker-daemon",
        config,
        mask=mask,
        layers=layers,
        history=history,
        source=DaemonSource(facts["Id"], key, manifest.get("api")),
        image_id=saved["image_id"] if saved else None if in_containerd else facts["Id"],
        manifest_digest=manifest.get("digest"),
        index_digest=manifest.get("index"),
        tags=tuple(strings(facts.get("RepoTags"))),
        content_size=manifest.get("content_size"),
        disk_usage=manifest.get("disk_usage"),
        provenance={
            "engine": string(version.get("Version")),
            "store": "containerd" if in_containerd else string(mapping(facts, "GraphDriver").get("Name")),
            "size": None if in_containerd else byte_count(facts.get("Size")),
        },
    )
    return replace(image, redactions=tuple(Redaction(**noted) for noted in saved["redactions"])) if saved else image


def _facts(saved: Image) -> dict[str, Any]:
    """What a save tells beyond the API: the exact config, its digest, and each layer's blob."""
    facts = {"image_id": saved.image_id, "config": saved.config, "layers": [asdict(layer) for layer in saved.layers]}
    return facts | {"redactions": [asdict(redaction) for redaction in saved.redactions]}


def _inspect(engine: Client, reference: str, name: str, platform: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The answer to inspect, and the manifest of the platform that it is about (containerd store, API 1.48)."""
    path = f"/images/{quote(name, safe='/:@')}/json"
    try:
        # to ask the image list for manifests takes a minute if there are hundreds of images
        facts = object_of(engine.ask(path, manifests=1), "the engine's answer")
    except ImageNotFound:
        known = sorted(
            {tag for entry in mappings(engine.ask("/images/json")) for tag in strings(entry.get("RepoTags"))}
        )
        raise ImageNotFound(
            f"the engine has no image {name!r}. {similar_names(name, known)} Pull or build it first, or give the path of "
            "an archive."
        ) from None
    if not string(facts.get("Id")):
        raise DaemonUnavailable(f"the engine's answer about {name} has no Id. Does something else answer in its place?")
    kind = string(mapping(facts, "Descriptor").get("mediaType")) or ""
    index = facts["Id"] if "index" in kind or "list" in kind else None
    manifests = _manifests(facts)
    found = [Choice((), manifest["platform"], {"digest": manifest["digest"]}) for manifest in manifests]
    own = platform_of(_config(facts))
    if platform and len(found) > 1:
        digest: str | None = choose(found, reference, None, platform).digest
    else:
        digest = next((choice.digest for choice in found if len(found) == 1 or choice.platform == own), None)
    manifest: dict[str, Any] = next((manifest for manifest in manifests if manifest["digest"] == digest), {})
    if len(found) > 1 and manifest and manifest["platform"] != own:
        asked = object_of(engine.ask(path, platform=manifest["api"]), "the engine's answer")
        facts = asked | {"Id": facts["Id"]}
    return facts, manifest | {"index": index, "api": manifest.get("api") if len(found) > 1 else None}


def _manifests(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Digest, platform and both sizes of each image that the containerd store has of an index."""
    found = []
    for item in mappings(facts.get("Manifests")):
        if item.get("Kind") == "image" and item.get("Available"):
            platform = mapping(item, "ImageData", "Platform")
            found.append(
                {
                    "digest": string(item.get("ID")) or "",
                    "platform": platform_of(platform),
                    "api": json.dumps(
                        {key: platform[key] for key in ("os", "architecture", "variant") if key in platform}
                    ),
                    "content_size": byte_count(mapping(item, "Size").get("Content")),
                    "disk_usage": byte_count(mapping(item, "ImageData", "Size").get("Unpacked")),
                }
            )
    return found


def _in_containerd(engine: Client) -> bool:
    status = sequence(mapping(engine.ask("/info")).get("DriverStatus"))
    return any(isinstance(pair, list) and _CONTAINERD in pair for pair in status)


def _config(facts: dict[str, Any]) -> dict[str, Any]:
    """The answer to inspect in the form of an OCI image config."""
    same = ("Created", "Author", "Architecture", "Os", "Variant")
    names = {"OsVersion": "os.version"} | {name: name.lower() for name in same}
    config = {key: facts[name] for name, key in names.items() if string(facts.get(name))}
    rootfs = {"type": "layers", "diff_ids": strings(mapping(facts, "RootFS").get("Layers"))}
    return config | {"config": mapping(facts, "Config"), "rootfs": rootfs}


def _entry(row: dict[str, Any], in_containerd: bool, podman: bool) -> HistoryEntry:
    created, size = _time(row.get("Created")), byte_count(row.get("Size"))
    return HistoryEntry(
        created=created.strftime("%Y-%m-%dT%H:%M:%SZ") if created else None,
        created_by=string(row.get("CreatedBy")) or "",
        comment=string(row.get("Comment")) or "",
        empty_layer=size == 0 if podman else None,  # its sizes are whole tars', and no tar is empty
        size=None if in_containerd or podman else size,
        disk_usage=size if in_containerd else None,
    )


def _time(seconds: Any) -> datetime | None:
    known = isinstance(seconds, int) and 0 < seconds < 253_402_300_799  # up to the year 9999
    return datetime.fromtimestamp(seconds, UTC) if known else None


def image_rows() -> list[dict[str, Any]]:
    """One row per image and name that the engine lists; columns as in ``tables.IMAGES_COLUMNS``."""
    with client() as engine:
        in_containerd = _in_containerd(engine)
        listed = mappings(engine.ask("/images/json", **({"manifests": 1} if in_containerd else {})))
    rows = []
    for entry in listed:
        identity, manifests = string(entry.get("Id")) or "", _manifests(entry)
        base = {
            "image_id": None if in_containerd else identity,
            "index_digest": identity if in_containerd else None,
            "created": _time(entry.get("Created")),
            "size": None if in_containerd else byte_count(entry.get("Size")),
            "content_size": sum(manifest["content_size"] or 0 for manifest in manifests) if manifests else None,
            "disk_usage": sum(manifest["disk_usage"] or 0 for manifest in manifests) if manifests else None,
            "platforms": " ".join(manifest["platform"] or "unknown" for manifest in manifests) or None,
        }
        rows += [base | {"reference": tag} for tag in strings(entry.get("RepoTags")) or [identity]]
    return rows
