"""One image in one Parquet file: complete, atomic, and opened by everybody."""

from __future__ import annotations

import contextlib
import json
import os
import pickle

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import imagelab as il
from imagelab.core.errors import ImagelabError
from imagelab.images.sources.snapshot import KEY
from tests.core.test_errors import CONFIG, WRONG, nodes, replaced
from tests.support.images import config_of, docker_save, layer_tar, write_tar

TARS = [
    layer_tar([(b"a", "file", b"one"), (b"\xff\xfe", "file", b"x"), (b"l", "symlink", b"a"), (b"h", "hardlink", b"a")]),
    layer_tar([(b".wh.a", "file", b""), (b"a2", "file", b"two")]),
]


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    """So that the snapshot itself is read, not what is remembered of its layers."""
    monkeypatch.setenv("IMAGELAB_CACHE_DIR", "")


@pytest.fixture
def image(tmp_path) -> il.Image:
    return il.load_image(write_tar(tmp_path / "made.tar", docker_save(TARS, **CONFIG)))


@pytest.mark.parametrize("digests", [False, True])
def test_round_trip_of_every_field_and_frame(tmp_path, image, digests):
    again = il.load_image(f"snapshot:{il.save_snapshot(image, tmp_path / 'x.parquet', digests=digests)}")
    for name in ("history", "image_id", "manifest_digest", "index_digest", "platform", "tags", "config", "manifest",
                 "annotations", "content_size", "disk_usage", "redactions", "chain_ids"):  # fmt: skip
        assert getattr(again, name) == getattr(image, name), name
    assert (again.reference, again.transport) == ("x", "snapshot")
    assert again.provenance["recorded_as"] == image.reference
    for verb in (il.history, il.layers, il.settings, il.waste, il.efficiency, il.dive_efficiency, il.packages):
        ours, theirs = verb(again).drop(columns="reference"), verb(image).drop(columns="reference")
        pd.testing.assert_frame_equal(ours, theirs)
    ours, theirs = il.files(again, digests=digests), il.files(image, digests=digests)
    pd.testing.assert_frame_equal(ours.drop(columns="reference"), theirs.drop(columns="reference"))
    assert pickle.loads(pickle.dumps(again)) == again
    assert il.load_image(il.save_snapshot(again, tmp_path / "y.parquet")).layers == again.layers


def test_any_parquet_reader_opens_it(tmp_path, image):
    path = il.save_snapshot(image, tmp_path / "x.parquet")
    count = len(il.files(image))
    assert len(pd.read_parquet(path)) == len(pl.read_parquet(path)) == count
    assert duckdb.sql(f"select count(*), sum(size) from '{path}'").fetchall() == [(count, 7)]
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"


def test_a_snapshot_without_contents_or_digests_raises_an_error(tmp_path, image):
    again = il.load_image(il.save_snapshot(image, tmp_path / "x.parquet"))
    with pytest.raises(il.ArchiveError, match="snapshot"):
        il.read_file(again, "/a2")
    with pytest.raises(il.ArchiveError, match="digests=True"):
        il.files(again, digests=True)


def test_a_source_without_a_listing_keeps_config_and_history(tmp_path):
    facts = il.Image("published", "docker", (il.load_image(write_tar(tmp_path / "x.tar", docker_save(TARS))).layers))
    again = il.load_image(il.save_snapshot(facts, tmp_path / "facts.parquet"))
    assert [layer.diff_id for layer in again.layers] == [layer.diff_id for layer in facts.layers]
    with pytest.raises(il.ArchiveError, match="without the files"):
        il.files(again)
    assert len(il.layers(again)) == 2


def test_secrets_stay_masked(tmp_path):
    config = config_of(TARS)
    config["config"] = {"Env": ["API_TOKEN=ghp_" + "a" * 36]}
    path = write_tar(tmp_path / "x.tar", docker_save(TARS, **config))
    snapshot = il.save_snapshot(il.load_image(path), tmp_path / "x.parquet")
    assert b"ghp_aaaa" not in snapshot.read_bytes() and "ghp_aaaa" not in str(pq.read_schema(snapshot).metadata)
    assert il.load_image(snapshot).redactions
    plain = il.save_snapshot(il.load_image(path, redact=False), tmp_path / "y.parquet")
    assert "ghp_aaaa" in str(pq.read_schema(plain).metadata)


def test_a_snapshot_is_complete_or_absent(tmp_path, image, monkeypatch):
    path = il.save_snapshot(image, tmp_path / "deep" / "x.parquet")
    before = path.read_bytes()

    def fails(table, file, **options):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(pq, "write_table", fails)
    with pytest.raises((OSError, il.ImagelabError)):
        il.save_snapshot(image, path)
    assert path.read_bytes() == before and os.listdir(path.parent) == ["x.parquet"]


def test_damage_is_detected(tmp_path, image):
    whole = il.save_snapshot(image, tmp_path / "x.parquet").read_bytes()
    bad = tmp_path / "bad.parquet"
    for cut in (0, 3, 50, len(whole) // 2, len(whole) - 1):
        bad.write_bytes(whole[:cut])
        with pytest.raises(il.ArchiveError, match="bad"):
            il.files(f"snapshot:{bad}")
    pd.DataFrame({"x": [1]}).to_parquet(bad)
    with pytest.raises(il.ArchiveError, match="no snapshot"):
        il.load_image(bad)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_flipped_bytes(tmp_path, data):
    path = tmp_path / "x.parquet"
    if not path.exists():
        il.save_snapshot(il.load_image(write_tar(tmp_path / "made.tar", docker_save(TARS, **CONFIG))), path)
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    (tmp_path / "bad.parquet").write_bytes(damaged)
    try:
        image = il.load_image(f"snapshot:{tmp_path / 'bad.parquet'}")
        for verb in (il.history, il.layers, il.settings, il.waste):
            verb(image)
    except il.ImagelabError as error:
        assert len(str(error)) > 20


def rewritten(path, change) -> None:
    table = pq.read_table(path)
    document = json.loads(table.schema.metadata[KEY])
    pq.write_table(table.replace_schema_metadata({KEY: json.dumps(change(document)).encode()}), path)


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_node_of_its_metadata_of_any_type(tmp_path, data):
    path = tmp_path / "x.parquet"
    il.save_snapshot(il.load_image(write_tar(tmp_path / "made.tar", docker_save(TARS, **CONFIG))), path)
    rewritten(
        path, lambda document: replaced(document, data.draw(st.sampled_from(list(nodes(document)))), data.draw(WRONG))
    )
    try:
        image = il.load_image(f"snapshot:{path}")
    except il.ImagelabError as error:
        assert len(str(error)) > 20
        return
    repr(image)
    for verb in (il.history, il.layers, il.settings, il.files, il.waste, il.packages, il.dive_efficiency):
        with contextlib.suppress(il.ImagelabError):
            verb(image)


def test_a_newer_format_asks_for_an_upgrade(tmp_path, image):
    path = il.save_snapshot(image, tmp_path / "x.parquet")
    rewritten(path, lambda document: document | {"format": 99})
    with pytest.raises(il.ArchiveError, match=r"format 99.*Upgrade"):
        il.load_image(path)


@pytest.mark.parametrize(("column", "value"), [("kind", 200), ("layer_index", 7), ("path", None), ("size", None),
                                               ("path", b"no slash"),
                                               ("size", -5), ("layer_index", None), ("mode", None)])  # fmt: skip
def test_rows_of_a_missing_layer_are_refused(tmp_path, image, column, value):
    path = il.save_snapshot(image, tmp_path / "x.parquet")
    table = pq.read_table(path)
    values = table[column].to_pylist()
    values[1] = value
    at = table.schema.get_field_index(column)
    pq.write_table(
        table.set_column(at, table.schema.field(column), pa.array(values, table.schema.field(column).type)), path
    )
    with pytest.raises(il.ArchiveError, match=r"x\.parquet"):
        il.files(f"snapshot:{path}")


def test_an_unwritable_path_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "x.parquet"):
        with pytest.raises(ImagelabError, match="cannot be written"):
            il.save_snapshot("example:base-busybox", path)
    with pytest.raises(ImagelabError, match="was given 2"):
        il.save_snapshot(["example:base-busybox"] * 2, tmp_path / "x.parquet")
