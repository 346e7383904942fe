"""The waste ledger against a slow reference, and its sum against stored minus visible bytes."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings

import imagelab as il
from imagelab.core.errors import ImagelabError, ImageNotFound
from imagelab.size.waste import EFFICIENCY_COLUMNS, WASTE_COLUMNS
from tests.support.images import image_of, layer_tar
from tests.support.overlay import CASES, LAYERS, Entry, F, H, made


def removal(entry: Entry, digests: bool) -> tuple[int, set[str]] | None:
    """The layer that made a file's bytes invisible and the reasons that the ledger may give; None while they are seen."""
    if entry.kind != "file" or any(name.gone is None for name in entry.names):
        return None
    layer = max(name.gone for name in entry.names)
    last = [name for name in entry.names if name.gone == layer]
    reasons = set()
    for name in [entry] if entry in last else last:
        again = name.successor.inode if name.successor and digests else None
        unchanged = again is not None and again.what == entry.what
        reasons.add("deleted" if name.deleted else "rewritten_unchanged" if unchanged else "overwritten")
    return layer, reasons


def check(layers):
    image, expected = made(layers)
    stored = sum(len(entry.what) for entry in expected if entry.kind == "file")
    seen = {id(entry.inode): entry.inode for entry in expected if entry.gone is None and entry.inode is not None}
    visible = sum(len(inode.what) for inode in seen.values())
    for digests in (False, True):
        for row, entry in zip(il.files(image, digests=digests).itertuples(), expected, strict=True):
            name, gone = f"{entry.kind} {entry.path!r} of layer {entry.layer}", removal(entry, digests)
            if gone is None:
                assert pd.isna(row.reason) and pd.isna(row.removed_layer_index), name
            else:
                assert row.removed_layer_index == gone[0] and row.reason in gone[1], name
        ledger = il.waste(image, digests=digests)
        assert ledger["bytes"].sum() == stored - visible
        assert il.squash(image, digests=digests)["size"].sum() == visible
        (row,) = il.efficiency(image).itertuples()
        assert (row.stored, row.visible, row.wasted) == (stored, visible, stored - visible)
        assert row.efficiency == (visible / stored if stored else 1.0)
        assert list(ledger["instruction"]) == [f"RUN step {index} # buildkit" for index in ledger["layer_index"]]
        removers = ledger["removed_layer_index"]
        assert list(ledger["removed_instruction"]) == [f"RUN step {index} # buildkit" for index in removers]


@pytest.mark.parametrize("case", CASES)
def test_cases(case):
    check(CASES[case])


@settings(max_examples=150)
@given(LAYERS)
def test_any_layers(layers):
    check(layers)


def test_two_images_keep_their_own_ledgers():
    one = image_of([layer_tar([(b"a", F, b"xx")]), layer_tar([(b".wh.a", F, b"")])], "one")
    two = image_of([layer_tar([(b"b", F, b"yyy"), (b"c", H, b"b")]), layer_tar([(b"b", F, b"z")])], "two")
    assert il.squash([one, two])[["reference", "path", "size"]].values.tolist() == [["two", "/c", 3], ["two", "/b", 1]]
    assert il.waste([one, two])[["reference", "path", "bytes"]].values.tolist() == [["one", "/a", 2]]
    assert il.waste([one, one])["bytes"].tolist() == [2, 2]
    assert list(map(str, il.files([one, two]).dtypes)) == list(map(str, il.files(one).dtypes))


def test_images_that_share_a_name_are_kept_apart():
    one = image_of([layer_tar([(b"a", F, b"12345")]), layer_tar([(b"a", F, b"123")])], "app")
    two = image_of([layer_tar([(b"b", F, b"12345678")]), layer_tar([(b".wh.b", F, b"")])], "app")
    two = replace(two, history=tuple(replace(entry, created_by=f"RUN {n}") for n, entry in enumerate(two.history)))
    arm = replace(one, platform="linux/arm64")
    for verb in (il.waste, il.files, il.history, il.efficiency):
        assert set(verb([one, two, arm])["reference"]) == {"app", "app (2)", "app (linux/arm64)"}
    pair = [one, two]
    assert il.waste(pair)["bytes"].sum() == il.efficiency(pair)["wasted"].sum() == 13
    assert il.waste(pair)["removed_instruction"].tolist() == ["RUN 1", "RUN step 1 # buildkit"]
    assert il.squash(pair)["size"].sum() == il.efficiency(pair)["visible"].sum() == 3
    with pytest.raises(ImagelabError, match="not DataFrame"):
        il.waste(il.files(one))


def test_an_image_without_layers_among_others():
    some = image_of([layer_tar([(b"a", F, b"12345")])], "some")
    none = image_of([], "none")
    for images in (none, [none, some], [some, none]):
        assert list(map(str, il.files(images).dtypes)) == list(map(str, il.files(some).dtypes))
        assert il.waste(images).empty
    with pytest.raises(ImageNotFound, match="holds no regular file"):
        il.read_file(none, "a")
    with pytest.raises(ImageNotFound, match="no layer 1"):
        il.read_file(some, "a", 1)
    assert il.read_file(some, "a", 0) == b"12345"


def test_no_images_give_an_empty_frame_with_all_columns():
    assert list(il.files([]).columns) == list(il.files(image_of([layer_tar([])])).columns)
    for verb in (il.files, il.waste, il.squash, il.efficiency, il.dive_efficiency, il.layers, il.history, il.packages):
        assert len(verb([])) == 0


def test_the_ledger_has_its_contract_and_no_row_without_bytes():
    image = image_of(
        [layer_tar([(b"a", F, b"xx"), (b"empty", F, b"")]), layer_tar([(b".wh.a", F, b""), (b".wh.empty", F, b"")])]
    )
    ledger = il.waste(image)
    assert list(ledger.columns) == list(WASTE_COLUMNS) and list(ledger["path"]) == ["/a"]
    assert {name: str(ledger[name].dtype) for name in ledger} == WASTE_COLUMNS
    frame = il.efficiency(image)
    assert {name: str(frame[name].dtype) for name in frame} == EFFICIENCY_COLUMNS


def test_the_ledger_starts_with_the_most_bytes():
    image = image_of(
        [layer_tar([(b"a", F, b"x"), (b"b", F, b"xxx"), (b"c", F, b"xx")]), layer_tar([(b".wh..wh..opq", F, b"")])]
    )
    assert il.waste(image)["bytes"].tolist() == [3, 2, 1]


def test_instructions_are_unknown_if_history_is():
    known = image_of([layer_tar([(b"a", F, b"xx")]), layer_tar([(b".wh.a", F, b"")])], "known")
    (row,) = il.waste(replace(known, history=())).itertuples()
    assert pd.isna(row.instruction) and pd.isna(row.removed_instruction)
    assert (row.layer_index, row.removed_layer_index) == (0, 1)
    half = replace(known, history=(known.history[0], replace(known.history[1], created_by="")))
    (row,) = il.waste(half).itertuples()
    assert row.instruction == "RUN step 0 # buildkit" and pd.isna(row.removed_instruction)
