"""``docker://``: images of a registry, without pulling: manifest and config tell everything but the files, and
those are listed while the layers stream by; no blob is stored.

Formats: OCI image-spec (``manifest.md``, ``image-index.md``, ``annotations.md``), Docker's image manifest
version 2 schema 2, BuildKit's attestation storage.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from imagelab.core.errors import ArchiveError, ImageNotFound, similar_names
from imagelab.core.frames import make_frame
from imagelab.core.json_fields import array_of, byte_count, labels, object_of, objects, parse_json, string, strings
from imagelab.core.model import Image, Layer, Source
from imagelab.core.references import DIGEST, ImageName, parse_image_name
from imagelab.images.layers.blobs import StreamWindow, decompressed
from imagelab.images.layers.listing import check_listable
from imagelab.images.layers.tar import LayerListing, list_tar
from imagelab.images.sources.archive import check_manifest
from imagelab.images.sources.assemble import INDEX_TYPES, MANIFEST_TYPES, assemble, digest_of, manifest_layers
from imagelab.images.sources.choices import ABOUT, Choice, choose, statements, walk_index
from imagelab.images.sources.members import read_range
from imagelab.images.sources.registry import artifacts
from imagelab.images.sources.registry.client import Registry, connect, verified

AT_ONCE = 4  # layers that are streamed at a time

PLATFORMS_COLUMNS = {
    "reference": "str",
    "kind": "str",
    "platform": "string",
    "os_version": "string",
    "digest": "str",
    "media_type": "string",
    "content_size": "Int64",
    "about": "string",
    "predicates": "string",
    "pinned": "str",
}
TAGS_COLUMNS = {"repository": "str", "tag": "str", "reference": "str"}


@dataclass(frozen=True)
class RegistrySource(Source):
    """Streams layers out of a registry. Plain data: the connection is the process's own."""

    host: str
    repository: str

    def layer_keys(self, image: Image) -> list[str | None]:
        return [layer.diff_id for layer in image.layers]

    def read_layers(
        self, image: Image, wanted: Iterable[int], *, digests: bool = False
    ) -> Iterator[tuple[int, LayerListing]]:
        wanted = list(wanted)
        for index in wanted:
            check_listable(image.layers[index], image.reference)
        total = sum(image.layers[index].content_size or 0 for index in wanted)
        what = f"reading {image.reference[-40:]}"
        bar = tqdm(total=total, unit="B", unit_scale=True, desc=what, delay=1, leave=False)

        def read(index: int) -> tuple[int, LayerListing]:
            name = f"{image.reference}: layer {image.layers[index].digest}"
            try:
                with self._tar(image.layers[index], name, bar.update) as window:
                    return index, list_tar(window, name=name, digests=digests)
            except ImageNotFound:
                check_listable(image.layers[index], image.reference, present=False)
                raise

        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            largest = sorted(wanted, key=lambda index: -(image.layers[index].content_size or 0))
            for future in as_completed([pool.submit(read, index) for index in largest]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)
            bar.close()

    def read_range(self, image: Image, layer_index: int, offset: int, size: int) -> Iterator[bytes]:
        name = f"{image.reference}: layer {image.layers[layer_index].digest}"
        with self._tar(image.layers[layer_index], name) as window:
            yield from read_range(window, name, offset, size)

    def attestations(self, image: Image) -> dict[str, Callable[[], bytes]]:
        registry, name = connect(self.host), _registry_name(f"{self.host}/{self.repository}")
        digests = strings(image.provenance.get("attestations"))

        def read(layer: Any) -> bytes:
            digest, size = _sha256(layer, "the attestation"), byte_count(layer.get("size"))
            return b"".join(registry.blob(self.repository, digest, size))

        return statements([_manifest(registry, name, digest)[0] for digest in digests], read)

    @contextmanager
    def _tar(
        self, layer: Layer, name: str, came: Callable[[int], object] = lambda size: None
    ) -> Iterator[StreamWindow]:
        """A layer's tar as it streams; at the end both digests are verified, so that nothing wrong is kept: the
        blob's, and that of the tar, under which the listing is cached."""
        if not layer.digest or not DIGEST.fullmatch(layer.digest) or not layer.diff_id:
            raise ArchiveError(f"{name}: unsupported digest; expected sha256:<64 hex>.")
        blob = connect(self.host).blob(self.repository, layer.digest, layer.content_size)

        def counted() -> Iterator[bytes]:
            for piece in blob:
                came(len(piece))
                yield piece

        tar = verified(decompressed(counted(), name, oci=True), layer.diff_id, f"{name}, decompressed,")
        try:
            yield StreamWindow(tar)
        except ArchiveError:
            for _ in blob:  # where the blob itself is wrong, that is the error to tell
                pass
            raise
        for rest in (tar, blob):
            for _ in rest:
                pass


def load_registry(reference: str, rest: str, platform: str | None, mask: bool) -> Image:
    """The image that ``docker:`` and ``rest`` (``//HOST/REPO:TAG``) name: two or three small requests, no layer.

    Raises
    ------
    ImageNotFound
        No such image (with near tags), or several platforms.
    RegistryUnavailable
        The registry does not answer, limits the rate, or refuses.
    ArchiveError
        What it sent is damaged, or is not an image.
    """
    name = _registry_name(rest)
    registry = connect(name.host)
    document, digest, kind = _top(registry, name)
    if document.get("artifactType") == artifacts.ARTIFACT_TYPE:
        return artifacts.load(reference, registry, name, document)
    listed = _choices(registry, name, document, digest, kind)
    found = [choice for choice in listed if choice.kind == "image"]
    if not found:
        raise ArchiveError(f"{reference} contains no image: attestations and artifacts are not images.")
    chosen = choose(found, reference, None, platform)
    own = str(chosen.descriptor["digest"])
    manifest = document if own == digest else _manifest(registry, name, own)[0]
    descriptor = check_manifest(manifest, reference, string(chosen.descriptor.get("mediaType")) or "")
    config_digest = _sha256(descriptor, f"{reference}: the config")
    data = b"".join(registry.blob(name.repository, config_digest, byte_count(descriptor.get("size"))))
    config = object_of(parse_json(data, f"{reference}: the config"), "the config")
    return assemble(
        reference,
        "docker",
        config,
        mask=mask,
        manifest=manifest,
        annotations=dict(chosen.annotations) | labels(manifest.get("annotations")),
        layers=manifest_layers(manifest, config),
        source=RegistrySource(name.host, name.repository),
        image_id=config_digest,
        manifest_digest=own,
        index_digest=digest if own != digest else None,
        tags=() if name.digest else (f"{name.host}/{name.repository}:{name.target}",),
        provenance={
            "registry": name.host,
            "repository": name.repository,
            "platforms": [choice.platform for choice in found if choice.platform],
            "attestations": [choice.digest for choice in listed if dict(choice.annotations).get(ABOUT) == own],
        },
    )


def push_snapshot_file(path: Path, reference: str) -> str:
    """Store a snapshot file in a registry; return its reference by digest."""
    name = _registry_name(reference)
    if name.digest:
        raise ImageNotFound(f"{reference}: a digest is the result of a push; expected docker://HOST/REPOSITORY:TAG.")
    digest = artifacts.push(connect(name.host), name, path)
    return f"docker://{name.host}/{name.repository}@{digest}"


def list_tags(repository: str) -> pd.DataFrame:
    """The tags of a repository in a registry.

    Parameters
    ----------
    repository : str
        ``[docker://]HOST/REPO``, or a Docker Hub name; a tag is ignored.

    Returns
    -------
    pandas.DataFrame
        ``TAGS_COLUMNS``; ``reference`` is what `imagelab.load_image` takes.

    Raises
    ------
    ImageNotFound, RegistryUnavailable
    """
    name = _registry_name(repository)
    rows = [
        {"repository": f"{name.host}/{name.repository}", "tag": tag}
        | {"reference": f"docker://{name.host}/{name.repository}:{tag}"}
        for tag in _tags(connect(name.host), name)
    ]
    return make_frame(rows, TAGS_COLUMNS)


def list_platforms(reference: str | os.PathLike[str]) -> pd.DataFrame:
    """What an image's index in a registry holds, platform by platform; attestations too, as what they are.

    Returns
    -------
    pandas.DataFrame
        ``PLATFORMS_COLUMNS``. ``kind``: image, attestation, artifact or index (nested too deeply to be read).
        ``content_size``: bytes of the manifest. ``about``: of an attestation, the digest of the image it speaks of, and
        ``predicates`` the types of its statements (in-toto). ``pinned``: loads exactly this.

    Raises
    ------
    ImageNotFound, RegistryUnavailable, ArchiveError
    """
    reference = os.fspath(reference)
    name = _registry_name(reference)
    registry = connect(name.host)
    rows = []
    for choice in _choices(registry, name, *_top(registry, name)):
        descriptor, digest = choice.descriptor, _sha256(choice.descriptor, f"{reference}: a manifest")
        predicates = None
        if choice.kind == "attestation":
            manifest, _, _ = _manifest(registry, name, digest)
            layers = objects(manifest.get("layers"), "the manifest's layers")
            kinds = [labels(layer.get("annotations")).get("in-toto.io/predicate-type") for layer in layers]
            predicates = ", ".join(kind for kind in kinds if kind) or None
        rows.append(
            {
                "reference": reference,
                "kind": choice.kind,
                "platform": choice.platform,
                "os_version": string(object_of(descriptor.get("platform"), "a platform").get("os.version")),
                "digest": digest,
                "media_type": string(descriptor.get("mediaType")),
                "content_size": byte_count(descriptor.get("size")),
                "about": dict(choice.annotations).get(ABOUT),
                "predicates": predicates,
                "pinned": f"docker://{name.host}/{name.repository}@{digest}",
            }
        )
    return make_frame(rows, PLATFORMS_COLUMNS)


def _registry_name(reference: str) -> ImageName:
    rest = reference.removeprefix("docker:").removeprefix("//")
    name = parse_image_name(rest)
    if name is None or (name.digest and not DIGEST.fullmatch(name.digest)):
        # what could be a password is not repeated
        shown = reference if "@" not in rest.partition("/")[0] else f"docker://…@{rest.rpartition('@')[2]}"
        raise ImageNotFound(
            f"{shown} is not a name in a registry; expected docker://HOST/REPOSITORY:TAG or docker://HOST/REPOSITORY@sha256:"
            "<64 hex>, in lower case. Credentials come from `docker login`."
        )
    return name


def _top(registry: Registry, name: ImageName) -> tuple[dict[str, Any], str, str]:
    """The manifest or index that a name names, its digest and media type."""
    try:
        return _manifest(registry, name, name.target)
    except ImageNotFound as error:
        try:
            tags = list(_tags(registry, name))
        except (ImageNotFound, ArchiveError):
            raise error from None
        raise ImageNotFound(f"{error} {similar_names(name.target, sorted(tags, reverse=True))}") from None


def _manifest(registry: Registry, name: ImageName, target: str) -> tuple[dict[str, Any], str, str]:
    data, answer = registry.read(name.repository, f"manifests/{target}", (*MANIFEST_TYPES, *INDEX_TYPES))
    digest = digest_of(data)
    promised = target if DIGEST.fullmatch(target) else answer.headers.get("Docker-Content-Digest", "").strip('"')
    where = f"{name.host}/{name.repository}: the manifest {target}"
    # a header of another form promises nothing that can be checked
    if DIGEST.fullmatch(promised) and promised != digest:
        raise ArchiveError(f"{where} is damaged: {promised} was promised, its {len(data)} bytes have {digest}.")
    document = object_of(parse_json(data, where), where)
    kind = string(document.get("mediaType")) or answer.headers.get("Content-Type", "").partition(";")[0].strip()
    return document, digest, kind


def _choices(registry: Registry, name: ImageName, document: dict[str, Any], digest: str, kind: str) -> list[Choice]:
    """The one image that a manifest is, or what an index lists."""
    if kind not in INDEX_TYPES and "manifests" not in document:
        return [Choice((), None, {"digest": digest, "mediaType": kind})]

    def read_index(descriptor: dict[str, Any]) -> dict[str, Any] | None:
        own = _sha256(descriptor, f"{name.host}/{name.repository}: a manifest in an index")
        return _manifest(registry, name, own)[0] if descriptor.get("mediaType") in INDEX_TYPES else None

    return list(walk_index(document, read_index))


def _tags(registry: Registry, name: ImageName) -> Iterator[str]:
    for page in registry.pages(name.repository, "tags/list?n=1000"):
        tags = array_of(object_of(page, "the list of tags").get("tags"), "the list of tags")
        yield from (tag for tag in tags if isinstance(tag, str))


def _sha256(descriptor: dict[str, Any], what: str) -> str:
    digest = string(descriptor.get("digest")) or ""
    if not DIGEST.fullmatch(digest):
        raise ArchiveError(f"{what} has the digest {digest[:90]!r}; expected sha256:<64 hex>.")
    return digest
