"""An image as frozen plain data, in the terms of the OCI image-spec.

A source (``imagelab.sources``) fills these; everything downstream reads only these. Order is base
first, top last, everywhere. What a source cannot know is None.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from imagelab.images.layers.regions import Region
    from imagelab.images.layers.tar import LayerListing


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One entry of the config's history: what one instruction did.

    Attributes
    ----------
    created : str or None
        RFC 3339 time, as the config has it.
    created_by : str
        The command in the builder's dialect.
    comment, author : str
        As the config has them; empty where absent.
    empty_layer : bool or None
        True: made no layer. None: the source dropped it (Docker's history API does).
    size, disk_usage : int or None
        What the engine's history API said of the step, in bytes.
    """

    created: str | None
    created_by: str
    comment: str = ""
    author: str = ""
    empty_layer: bool | None = None
    size: int | None = None
    disk_usage: int | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: what it is (diff_id), how it is stored (digest), how big (DESIGN: three sizes).

    Attributes
    ----------
    diff_id : str or None
        Digest of the uncompressed tar.
    digest : str or None
        Digest of the blob as stored.
    media_type : str or None
    size : int or None
        Sum of the regular files' bytes in the tar.
    content_size : int or None
        Bytes of the blob as stored or sent.
    disk_usage : int or None
        Bytes that it occupies unpacked in the engine's store, block-rounded.
    entries : int or None
        Entries in the tar.
    annotations : dict
        Of the layer's descriptor.
    """

    diff_id: str | None
    digest: str | None = None
    media_type: str | None = None
    size: int | None = None
    content_size: int | None = None
    disk_usage: int | None = None
    entries: int | None = None
    annotations: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Redaction:
    """A value that looked like a secret and was masked on reading: where it stood, and its kind."""

    where: str
    kind: str


class Source(Protocol):
    """What an image's source can do, and the reading of its layers. Plain data, so that it pickles.

    A source inherits from this class and states only what differs.
    """

    #: Whether the files of every layer can be listed. A snapshot may contain the config and the history alone.
    listed: bool = True
    #: Whether the contents of files can be read. A snapshot has none.
    contents: bool = True
    #: Whether a listing can have the digests of the files' contents.
    digests: bool = True
    #: Whether listing reads local files only: then tables of layers list them.
    listing_is_local: bool = False
    #: Whether listing makes an engine save the image. A save also has the exact config, which the API does not show.
    saves: bool = False

    def layer_keys(self, image: Image) -> list[str | None]:
        """What identifies the bytes of each layer: a diff_id that is verified on reading, or a ``file_key``. None if
        nothing does."""
        return [None] * len(image.layers)

    def read_layers(
        self, image: Image, wanted: Iterable[int], *, digests: bool = False
    ) -> Iterator[tuple[int, LayerListing]]:
        """List the wanted layers, each once, in the order in which the source has them."""
        ...

    def read_range(self, image: Image, layer_index: int, offset: int, size: int) -> Iterator[bytes]:
        """The chunks of a part of one layer's uncompressed tar."""
        ...

    def attestations(self, image: Image) -> dict[str, Callable[[], bytes]]:
        """What BuildKit attested of the image: predicate type → a function that reads the in-toto statement."""
        return {}

    def regions(self) -> list[Region | None]:
        """Where each layer lies in a file, compressed or not; None for a layer that does not. Empty: none does."""
        return []


@dataclass(frozen=True, repr=False)
class Image:
    """One image of one platform.

    Attributes
    ----------
    reference : str
        How it was asked for; the label in every frame.
    transport : str
        ``docker-daemon``, ``docker-archive``, ``oci``, ``oci-archive``, ``docker`` or ``snapshot``.
    image_id : str or None
        The config's digest. None from an engine that shows only the index's.
    manifest_digest, index_digest : str or None
    platform : str or None
        ``os/architecture[/variant]``.
    tags : tuple of str
        Every name of this image in its source.
    config : dict
        The image's config (OCI image-spec ``config.md``), secrets masked.
    manifest : dict
        Its manifest, empty where the source has none.
    annotations : dict
        Of the manifest and of its descriptor.
    history : tuple of HistoryEntry
    layers : tuple of Layer
    content_size, disk_usage : int or None
        Of the whole image as its engine reports them, manifests and configs included.
    provenance : dict
        Where the data came from (engine and its version, file, digest of it …).
    redactions : tuple of Redaction
        What was masked, and where.
    source : Source or None
        Reads the layers on demand; no part of equality or repr.
    """

    reference: str
    transport: str
    layers: tuple[Layer, ...]
    history: tuple[HistoryEntry, ...] = ()
    image_id: str | None = None
    manifest_digest: str | None = None
    index_digest: str | None = None
    platform: str | None = None
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    content_size: int | None = None
    disk_usage: int | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    redactions: tuple[Redaction, ...] = ()
    source: Source | None = field(default=None, compare=False)

    @property
    def listed(self) -> bool:
        """Whether the files of its layers can be listed."""
        return self.source is not None and self.source.listed

    def __repr__(self) -> str:
        return f"Image({self.reference!r}, {self.transport}, {self.platform!r}, {len(self.layers)} layers)"

    @property
    def chain_ids(self) -> tuple[str | None, ...]:
        """Each layer's chain_id (OCI image-spec, config.md, "Layer ChainID"); None from the first unknown on."""
        chain: list[str | None] = []
        for layer in self.layers:
            if not chain:
                chain.append(layer.diff_id)
            elif chain[-1] is None or layer.diff_id is None:
                chain.append(None)
            else:
                chain.append("sha256:" + hashlib.sha256(f"{chain[-1]} {layer.diff_id}".encode()).hexdigest())
        return tuple(chain)
