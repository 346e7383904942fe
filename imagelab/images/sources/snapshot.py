"""``snapshot:``: one image in one Parquet file, complete enough to be analysed without the image.

Rows are file entries (``tar_columns.SCHEMA`` behind a ``layer_index``; none where the source gave no
listing). The schema's metadata holds, under the key ``imagelab``, JSON with ``format`` (this
version), ``image`` (every field of ``model.Image`` but its source) and ``listed`` (the layers whose
entries are there, and whether contents were hashed). pandas, DuckDB and Polars open it as any Parquet.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagelab.core.atomic import write_atomically
from imagelab.core.errors import ArchiveError
from imagelab.core.json_fields import object_of, parse_json
from imagelab.core.model import HistoryEntry, Image, Layer, Redaction, Source
from imagelab.images.layers.cache import file_key
from imagelab.images.layers.tar import LayerListing
from imagelab.images.layers.tar_columns import KINDS, SCHEMA

FORMAT = 1
KEY = b"imagelab"
_Record = TypeVar("_Record", Image, Layer, HistoryEntry, Redaction)
_SCHEMA = pa.schema([pa.field("layer_index", pa.int32()), *SCHEMA])


@dataclass(frozen=True)
class SnapshotSource(Source):
    """Reads the listing back out of the file."""

    path: str
    layers: tuple[int, ...]  # whose files it lists
    listed: bool
    digests: bool
    contents = False
    listing_is_local = True

    def layer_keys(self, image: Image) -> list[str | None]:
        # not a key for the cache folder: the file itself is as quick to read
        key = file_key(self.path)
        return [key and f"snapshot:{key}:{index}" for index in range(len(image.layers))]

    def read_layers(
        self, image: Image, wanted: Iterable[int], *, digests: bool = False
    ) -> Iterator[tuple[int, LayerListing]]:
        wanted = set(wanted)
        if absent := wanted - set(self.layers):
            raise ArchiveError(
                f"{self.path} was made without the files of layer {min(absent)}. Take the snapshot again from the image."
            )
        if digests and not self.digests:
            raise ArchiveError(f"{self.path} was made without digests. Take it again with digests=True (--digests).")
        table = _read(Path(self.path))
        indexes = table["layer_index"].to_numpy()
        table = table.select(SCHEMA.names)
        for index in sorted(wanted):  # rows are sorted by layer
            start, stop = indexes.searchsorted(index, "left"), indexes.searchsorted(index, "right")
            yield index, LayerListing(table.slice(start, stop - start), self.digests)

    def read_range(self, image: Image, layer_index: int, offset: int, size: int) -> Iterator[bytes]:
        raise ArchiveError(
            f"{Path(self.path).name} is a snapshot: it lists the files without their contents; read them from the image."
        )


def write_snapshot(image: Image, listings: Mapping[int, LayerListing], path: Path) -> Path:
    """Write ``image`` with the listings of its layers, atomically, zstd-compressed."""
    import pyarrow.parquet as pq  # it loads an ssl of its own: only where it is needed

    listed = sorted(listings)
    digests = bool(listings) and all(listing.digests for listing in listings.values())
    tables = [
        listings[index].table.add_column(
            0, _SCHEMA.field(0), pa.repeat(pa.scalar(index, pa.int32()), listings[index].entries)
        )
        for index in listed
    ]
    table = pa.concat_tables(tables) if tables else _SCHEMA.empty_table()
    fields = {field.name: getattr(image, field.name) for field in dataclasses.fields(image) if field.name != "source"}
    fields |= {
        name: [dataclasses.asdict(item) for item in fields[name]] for name in ("layers", "history", "redactions")
    }
    document = {"format": FORMAT, "image": fields, "listed": {"layers": listed, "digests": digests}}
    table = table.replace_schema_metadata(
        {KEY: json.dumps(document, ensure_ascii=False).encode(errors="surrogatepass")}
    )
    write_atomically(
        path,
        lambda file: pq.write_table(table, file, compression="zstd", compression_level=9, write_page_checksum=True),
    )
    return path


def load_snapshot(reference: str, path: Path) -> Image:
    """The image that a snapshot holds, under its own name.

    Raises
    ------
    ArchiveError
        Not Parquet, not a snapshot, damaged, or of a later format.
    """
    import pyarrow.parquet as pq  # it loads an ssl of its own: only where it is needed

    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: names that are no UTF-8
        raise ArchiveError(f"{path} cannot be read as a snapshot (a Parquet file): {error}") from error
    if KEY not in metadata:
        raise ArchiveError(
            f"{path} is a Parquet file, but no snapshot: its schema has no {KEY.decode()!r} metadata. "
            "Make one with `imagelab snapshot`."
        )
    document = object_of(parse_json(metadata[KEY], f"{path}: its metadata"), "its metadata")
    if document.get("format") != FORMAT:
        raise ArchiveError(
            f"{path} has snapshot format {document.get('format')!r}; this imagelab reads {FORMAT}. Upgrade, or take it again."
        )
    try:
        fields = dict(document["image"])
        fields["layers"] = tuple(_typed(Layer(**layer)) for layer in fields["layers"])
        fields["history"] = tuple(_typed(HistoryEntry(**entry)) for entry in fields["history"])
        fields["redactions"] = tuple(_typed(Redaction(**entry)) for entry in fields["redactions"])
        fields["tags"] = tuple(fields["tags"])
        layers = tuple(map(int, document["listed"]["layers"]))
        listed = len(layers) == len(fields["layers"])
        source = SnapshotSource(str(path), layers, listed, bool(document["listed"]["digests"]))
        fields["provenance"] = fields["provenance"] | {
            "recorded_as": fields["reference"],
            "recorded_from": fields["transport"],
        }
        return _typed(Image(**fields | {"reference": reference, "transport": "snapshot"}, source=source))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ArchiveError(f"{path}: its snapshot metadata is damaged ({error!r}). Take it again.") from error


def _read(path: Path) -> pa.Table:
    import pyarrow.parquet as pq  # it loads an ssl of its own: only where it is needed

    try:
        table = pq.read_table(path, page_checksum_verification=True).cast(_SCHEMA).combine_chunks()
        if not _holds_entries(table):
            raise pa.ArrowInvalid("its rows are no entries of layers")
        return table
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: other columns
        raise ArchiveError(f"{path} is damaged: {error}. Take the snapshot again.") from error


def _holds_entries(table: pa.Table) -> bool:
    """What every listing keeps to, and the tables rely on."""
    needed = ("layer_index", "path", "kind", "size", "mode", "uid", "gid")
    return not table.num_rows or (
        not any(table[name].null_count for name in needed)
        and bool((np.diff(table["layer_index"].to_numpy()) >= 0).all())
        and pc.max(table["kind"]).as_py() < len(KINDS)
        and pc.min(table["size"]).as_py() >= 0
        and pc.all(pc.starts_with(table["path"], pattern="/")).as_py()
    )


def _typed(record: _Record) -> _Record:
    """``record``, whose fields hold what they declare: JSON promises nothing."""
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        declared = [part.partition("[")[0] for part in str(field.type).split(" | ")]
        if field.name != "source" and type(value).__name__.replace("NoneType", "None") not in declared:
            raise TypeError(f"{field.name} is a {type(value).__name__}")
        if isinstance(value, int) and abs(value) >> 62:
            raise ValueError(f"{field.name} is {value}")
        if isinstance(value, tuple) and field.name == "tags" and not all(isinstance(tag, str) for tag in value):
            raise TypeError("a tag that is no text")
    return record
