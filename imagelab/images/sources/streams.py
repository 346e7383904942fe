"""Archives that can only be read from their start, once: compressed ones, and what an engine saves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from imagelab.core.errors import ArchiveError
from imagelab.images.layers.blobs import StreamWindow, decompressed, is_compressed, refuse_in_oci
from imagelab.images.layers.links import follow_links
from imagelab.images.layers.tar import LayerListing, Member, list_tar, walk_members
from imagelab.images.layers.tar_columns import TextBudget
from imagelab.images.layers.tar_headers import clean_path, is_tar, text_of
from imagelab.images.sources.members import JSON_LIMIT, add_links, incomplete_archive, read_range

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

_SMALL_LIMIT = 1 << 28  # bytes of all JSON in one archive


class StreamArchive:
    """A tar that can only be read from its start: a compressed archive, or what an engine saves.

    Opening reads it once: the small members whole, and the listing of every layer. ``known`` is for engines: it
    returns the listing of a member that is known already, and the others are hashed, as an engine only claims digests.
    """

    def __init__(
        self,
        name: str,
        chunks: Callable[[], Iterable[bytes]],
        *,
        known: Callable[[str], LayerListing | None] | None = None,
        digests: bool = False,
    ) -> None:
        self.name = name
        self._chunks = chunks
        self._hashed = known is not None
        self.sizes: dict[str, int] = {}
        self._small: dict[str, bytes] = {}
        self._listed: dict[str, LayerListing | ArchiveError] = {}
        self._heads: dict[str, bytes] = {}  # of the layers
        self._links: dict[str, str] = {}
        small, budget = 0, TextBudget()
        for member, entry, window in self._members():
            if entry.flag in b"12":
                hard = "/" if entry.flag == ord("1") else ""  # from the root of the archive
                self._links["/" + member] = hard + text_of(entry.link)
            elif entry.flag in b"07\0":  # a regular file, also of old tars
                self.sizes[member] = entry.size
                head = window.fetch(entry.offset)[: min(entry.size, 512)]
                if is_compressed(head) or is_tar(head):
                    listing = known(member) if known else None
                    self._heads[member] = head[:6]
                    self._listed[member] = listing or self._list(member, entry, window, digests, budget)
                elif entry.size <= JSON_LIMIT and head.lstrip()[:1] in (b"{", b"["):
                    self._small[member] = b"".join(self._contents(member, entry, window))
                    small += entry.size
                    if small > _SMALL_LIMIT:
                        raise ArchiveError(
                            f"{name} has more than {_SMALL_LIMIT:,} bytes of JSON: not an image archive."
                        )
        add_links(self.sizes, self._links)

    def read(self, member: str) -> bytes:
        try:
            return self._small[self._target(member)]
        except KeyError:
            raise incomplete_archive(self.name, member) from None

    def list_layers(self, members: Collection[str], *, digests: bool) -> Iterator[tuple[str, LayerListing]]:
        targets = {member: self._target(member) for member in members}
        listed = self._listed
        if any(_lacks_digests(listed.get(target)) for target in targets.values()) and digests:
            listed = {
                member: self._list(member, entry, window, digests, TextBudget())
                for member, entry, window in self._members()
                if member in targets.values()
            }
        for member, target in targets.items():
            self._check_compression(target)
            listing = listed.get(target) or incomplete_archive(self.name, member)
            if isinstance(listing, ArchiveError):
                raise listing
            yield member, listing

    def read_range(self, member: str, offset: int, size: int) -> Iterator[bytes]:
        target = self._target(member)
        self._check_compression(target)
        for name, entry, window in self._members():
            if name == target:
                tar = StreamWindow(decompressed(self._contents(name, entry, window), f"{self.name}: {member}"))
                yield from read_range(tar, f"{self.name}: layer {member}", offset, size)
                return
        raise incomplete_archive(self.name, member)

    def region(self, member: str) -> None:
        """Members of a stream have no place in a file."""

    def _check_compression(self, member: str) -> None:
        if "manifest.json" not in self.sizes:
            refuse_in_oci(self._heads.get(member, b""), f"{self.name}: {member}")

    def _target(self, member: str) -> str:
        return follow_links("/" + member, self._links)[1:]

    def _list(
        self, member: str, entry: Member, window: StreamWindow, digests: bool, budget: TextBudget
    ) -> LayerListing | ArchiveError:
        """The listing of a layer, or the error of a damaged one: another layer may be the one that is wanted."""
        name = f"{self.name}: layer {member}"
        blob, tar = (hashlib.sha256(), hashlib.sha256()) if self._hashed else (None, None)
        try:
            chunks = _hashing(self._contents(member, entry, window), blob)
            inner = StreamWindow(_hashing(decompressed(chunks, name), tar))
            listing = list_tar(inner, name=name, digests=digests, budget=budget)
        except ArchiveError as error:
            return error
        if not blob or not tar:
            return listing
        return replace(listing, digest=f"sha256:{blob.hexdigest()}", diff_id=f"sha256:{tar.hexdigest()}")

    def _contents(self, member: str, entry: Member, window: StreamWindow) -> Iterator[bytes]:
        try:
            yield from window.contents(entry.offset, entry.size)
        except EOFError:
            raise ArchiveError(f"{self.name} is cut off in {member}. Save or download it again.") from None

    def _members(self) -> Iterator[tuple[str, Member, StreamWindow]]:
        window = StreamWindow(self._chunks())
        for entry in walk_members(window, self.name):
            yield text_of(clean_path(entry.name))[1:], entry, window


def _hashing(chunks: Iterable[bytes], state: Hash | None) -> Iterator[bytes]:
    for chunk in chunks:
        if state:
            state.update(chunk)
        yield chunk


def _lacks_digests(listing: LayerListing | ArchiveError | None) -> bool:
    return isinstance(listing, LayerListing) and not listing.digests
