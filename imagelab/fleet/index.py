"""Index many images into one folder: a snapshot and a row of facts for each.

``FOLDER/NAME.parquet`` is an image's snapshot, ``FOLDER/index/NAME.parquet`` its row under ``FACTS``. Both files are
written atomically, the row last, so an image is complete when its row exists. `imagelab.query_fleet` and any other reader
of Parquet can query the folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from imagelab.core.atomic import write_atomically
from imagelab.core.errors import ImagelabError
from imagelab.core.frames import make_frame
from imagelab.core.model import Image
from imagelab.core.references import parse_reference, repository_and_tag
from imagelab.images.load import load_image
from imagelab.images.save import save_snapshot
from imagelab.images.tables.base_image import find_base
from imagelab.images.tables.created_by import parse_created_by
from imagelab.images.tables.files import files
from imagelab.images.tables.layers import layers
from imagelab.images.tables.packages import packages
from imagelab.images.tables.steps import join_layers, parsed, timestamp
from imagelab.size.waste import ledger

INDEX_COLUMNS = {
    "reference": "str",
    "state": "str",
    "snapshot": "string",
    "seconds": "float64",
    "error": "string",
}
_TIME = pa.timestamp("us")  # UTC
FACTS = pa.schema(
    {
        "image": pa.string(),  # the snapshot's name
        "reference": pa.string(),
        "repository": pa.string(),
        "tag": pa.string(),
        "image_id": pa.string(),
        "manifest_digest": pa.string(),
        "platform": pa.string(),
        "created": _TIME,
        "listed": pa.bool_(),  # whether the files are known
        "digests": pa.bool_(),  # and their contents' digests
        "base_name": pa.string(),  # as labels or annotations have it
        "base_layers": pa.int64(),
        "base_created": _TIME,
        "layers": pa.list_(
            pa.struct(
                {
                    "layer_index": pa.int64(),
                    "diff_id": pa.string(),
                    "chain_id": pa.string(),
                    "digest": pa.string(),
                    "size": pa.int64(),
                    "content_size": pa.int64(),
                    "instruction": pa.string(),  # its pattern
                }
            )
        ),
        "packages": pa.list_(
            pa.struct(
                {
                    "manager": pa.string(),
                    "package": pa.string(),
                    "version": pa.string(),
                    "size": pa.int64(),
                    "layer_index": pa.int64(),
                }
            )
        ),
        "waste": pa.list_(
            pa.struct({"instruction": pa.string(), "reason": pa.string(), "bytes": pa.int64(), "copies": pa.int64()})
        ),
    }
)


def index_images(
    references: Iterable[str | os.PathLike[str]],
    into: str | os.PathLike[str],
    executor: Executor | None = None,
    *,
    platform: str | None = None,
    digests: bool = False,
) -> pd.DataFrame:
    """Write a snapshot and a row of facts for each image. A failure does not stop the run, and a second run resumes.

    An image that is in the folder already, by its reference and digest, is not read again. Where a tag has moved, the new
    image is written beside the old one. Reads the layers: an engine saves each image, a registry sends its blobs.

    Parameters
    ----------
    references : iterable of str
        As `imagelab.load_image` takes them.
    into : path
        The fleet's folder.
    executor : concurrent.futures.Executor, optional
        Threads of this machine by default. On a Dask cluster that shares the folder: ``client.get_executor()``.
    platform : str, optional
        ``os/architecture[/variant]``, where a reference holds several.
    digests : bool
        Also hash file contents, so that equal files are recognised across images.

    Returns
    -------
    pandas.DataFrame
        ``INDEX_COLUMNS``, in the order given: ``state`` is ``indexed``, ``known`` (already in the folder) or
        ``failed`` (``error`` has the reason); ``snapshot`` is the file's name; ``seconds`` is the time it took.

    Raises
    ------
    ImagelabError
        There are no references, or the folder cannot be written. An error of one image stands in its row.
    """
    from tqdm.auto import tqdm  # imported here: slow to load

    if isinstance(references, str | os.PathLike):
        references = [references]
    try:
        wanted = list(dict.fromkeys(os.fspath(reference) for reference in references))
    except TypeError as error:
        raise ImagelabError(f"index_images needs references as il.load_image takes them: {error}.") from error
    folder = Path(into).absolute()
    try:
        (folder / "index").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImagelabError(f"{folder} cannot be written: {error.strerror}. Give a folder that can be.") from error
    own = ThreadPoolExecutor(min(4, os.cpu_count() or 1)) if executor is None else None
    try:
        submit = (own or executor).submit  # type: ignore[union-attr]
        waiting = {submit(index_image, ref, str(folder), platform, digests): ref for ref in wanted}
        rows: dict[str, dict[str, Any]] = {}
        for future in tqdm(as_completed(waiting), total=len(waiting), desc="indexing", delay=1, leave=False):
            try:
                row = future.result()
            except Exception as error:  # its worker died; the work of the others stays
                row = {"reference": waiting[future], "state": "failed", "error": f"{type(error).__name__}: {error}"}
            rows[waiting[future]] = row
    finally:
        if own:
            own.shutdown(cancel_futures=True)
    return make_frame([rows[reference] for reference in wanted], INDEX_COLUMNS)


def index_image(reference: str, folder: str, platform: str | None = None, digests: bool = False) -> dict[str, Any]:
    """Index one image and return its row of `index_images`. An executor runs this; running it twice is harmless."""
    import pyarrow.parquet as pq  # imported here: it loads its own TLS library

    started, row = time.monotonic(), {"reference": reference, "state": "failed"}
    try:
        image = load_image(reference, platform=platform)
        name = snapshot_name(image)
        snapshot, facts = Path(folder, f"{name}.parquet"), Path(folder, "index", f"{name}.parquet")
        row |= {"snapshot": snapshot.name, "state": "known"}
        there = snapshot.exists() and (not digests or load_image(f"snapshot:{snapshot}").source.digests)  # type: ignore[union-attr]
        if not there:
            save_snapshot(image, snapshot, digests=digests)
        if not there or not facts.exists():
            table = pa.Table.from_pylist(
                [image_facts(load_image(f"snapshot:{snapshot}"), name, reference)], schema=FACTS
            )
            write_atomically(facts, lambda file: pq.write_table(table, file, compression="zstd"))
            row["state"] = "indexed"
    except Exception as error:  # an error of one image must not stop the others
        row |= {"state": "failed", "error": str(error) if isinstance(error, ImagelabError) else repr(error)}
    return row | {"seconds": time.monotonic() - started}


def snapshot_name(image: Image) -> str:
    """A file name from the reference and the digest behind it, so that a moved tag gets a new file."""
    digest = image.manifest_digest or image.index_digest or image.image_id or repr(image.chain_ids)
    identity = hashlib.sha256(f"{image.reference} {image.platform} {digest}".encode(errors="replace")).hexdigest()
    readable = re.sub(r"[^\w.-]+", "_", image.reference.removeprefix("docker://"), flags=re.ASCII)
    return f"{readable[-100:].lstrip('._')}-{identity[:12]}"


def image_facts(image: Image, name: str, reference: str) -> dict[str, Any]:
    """The row under ``FACTS`` of one snapshot."""
    commands = parsed(image)
    indexes, _ = join_layers(image, commands)
    base = find_base(image, commands, indexes, None, [])
    times = [timestamp(entry.created) for entry in image.history]
    parts = parse_reference(reference)
    unnamed = parts.path is not None and parts.name is None and len(image.tags) == 1
    repository, tag = repository_and_tag(image.tags[0] if unnamed else reference)
    table = layers(image)
    facts = {
        "image": name,
        "reference": reference,
        "repository": repository,
        "tag": tag,
        "image_id": image.image_id,
        "manifest_digest": image.manifest_digest,
        "platform": image.platform,
        "created": _naive(timestamp(image.config.get("created"))),
        "listed": image.listed,
        "digests": image.listed and image.source is not None and image.source.digests,
        "base_name": base.name,
        "base_layers": base.layers,
        "base_created": _naive(max((when for when in times[: base.steps or 0] if when is not pd.NaT), default=pd.NaT)),
        "layers": _records(table.assign(instruction=_patterns(table["created_by"])), "layers"),
    }
    if image.listed:
        lost = ledger(files(image))
        lost = lost.assign(instruction=_patterns(lost["instruction"]), reason=lost["reason"].astype("str"), copies=1)
        lost = lost.groupby(["instruction", "reason"], as_index=False)[["bytes", "copies"]].sum()
        facts |= {"waste": _records(lost, "waste")}
        facts |= {"packages": _records(packages(image).rename(columns={"name": "package"}), "packages")}
    return facts


def instruction_pattern(created_by: str | None) -> str:
    """Classify a step: its instruction, and for RUN its programs and their subcommands.

    >>> instruction_pattern("RUN /bin/sh -c apt-get -y update && apt-get install -y curl # buildkit")
    'RUN apt-get update && apt-get install'
    """
    command = parse_created_by(created_by or "")
    if command.instruction != "RUN":
        return command.instruction or "(unknown)"
    found = []
    for part in re.split(r"&&|\|\|?|;|\n", command.arguments[:4000]):
        words = re.findall(r"(?<![\w=/.$-])[\w./-]*[a-z][\w.-]*(?![\w=/:])", part)[:2]
        program = words[0].rpartition("/")[2] if words else ""
        subcommand = words[1] if len(words) > 1 and re.fullmatch(r"[a-z][a-z-]{2,15}", words[1]) else ""
        if program and program not in ("set", "echo", "cd", "export", "then", "fi", "if", "do", "done", "true"):
            found.append(f"{program} {subcommand}".strip())
    return "RUN " + (" && ".join(list(dict.fromkeys(found))[:4])[:120] or "(no program)")


def _patterns(commands: pd.Series) -> pd.Series:
    kinds = {text: instruction_pattern(text) for text in commands.dropna().unique()}
    return commands.astype(object).map(kinds).astype("str").fillna("(unknown)")


def _records(frame: pd.DataFrame, field: str) -> list[dict[str, Any]]:
    names = [part.name for part in FACTS.field(field).type.value_type]
    rows: list[dict[str, Any]] = frame[names].astype(object).where(frame[names].notna(), None).to_dict("records")
    return rows


def _naive(when: Any) -> Any:
    return None if when is pd.NaT else when.floor("us").tz_localize(None).to_pydatetime()
