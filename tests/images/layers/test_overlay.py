"""The final filesystem and the ledger, against a slow reference that applies one entry after another."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imagelab as il
from imagelab.core.errors import ImagelabError, ImageNotFound
from tests.support.images import image_of, layer_tar


@dataclass(eq=False)
class Entry:
    layer: int
    path: bytes
    kind: str
    what: Any
    gone: int | None = None
    deleted: bool = False
    successor: Entry | None = None
    target: Entry | None = None
    change: str | None = None
    names: list[Entry] = field(default_factory=list)

    @property
    def inode(self) -> Entry | None:
        entry: Entry | None = self
        for _ in range(1000):
            if entry is None or entry.kind == "file":
                return entry
            entry = entry.target if entry.kind == "hardlink" else None
        return None


def inside(path: bytes, folder: bytes) -> bool:
    return path != folder and path.startswith(folder.rstrip(b"/") + b"/")


def named(layer: int, name: bytes, kind: str, what: Any) -> Entry:
    path = b"/" + name.strip(b"/")
    folder, _, last = path.rpartition(b"/")
    if last == b".wh..wh..opq":
        return Entry(layer, folder or b"/", "opaque_whiteout", None)
    if last.startswith(b".wh."):
        return Entry(layer, folder + b"/" + last[4:], "whiteout", None)
    return Entry(layer, path, kind, what)


def apply(layers: list[list[tuple[bytes, str, Any]]]) -> list[Entry]:
    """The image-spec's "Applying Changesets", one entry after another on a dict of paths."""
    every: list[Entry] = []
    live: dict[bytes, Entry] = {}

    def lose(path: bytes, layer: int, deleted: bool) -> None:
        entry = live.pop(path)
        entry.gone, entry.deleted = layer, deleted

    for number, names in enumerate(layers):
        entries = [named(number, *name) for name in names]
        lower = dict(live)
        last = {entry.path: entry for entry in entries if not entry.kind.endswith("whiteout")}
        for marker in entries:
            if marker.kind.endswith("whiteout"):
                hidden = [path for path in live if inside(path, marker.path)]
                would = [path for path in lower if inside(path, marker.path)]
                if marker.kind == "whiteout" and marker.path in live:
                    hidden.append(marker.path)
                for path in hidden:
                    lose(path, number, True)
                marker.change = "removed" if marker.kind == "whiteout" or would else None
        before: dict[bytes, Entry] = {}  # of this tar
        for entry in entries:
            if entry.kind.endswith("whiteout"):
                continue
            entry.change = "modified" if entry.path in lower else "added"
            for path in [path for path in live if inside(entry.path, path) and live[path].kind != "directory"]:
                lose(path, number, False)
            if entry.path in live:
                lose(entry.path, number, False)
            if entry.kind != "directory":
                for path in [path for path in live if inside(path, entry.path)]:
                    lose(path, number, False)
            if entry.kind == "hardlink":
                wanted = b"/" + entry.what.strip(b"/")
                entry.target = before.get(wanted) or lower.get(wanted) or last.get(wanted)
            live[entry.path] = before[entry.path] = entry
        for entry in [*every, *entries]:
            if entry.gone == number and not entry.deleted:
                entry.successor = None if last.get(entry.path) is entry else last.get(entry.path)
        every += entries
    for entry in every:
        if entry.inode is not None:
            entry.inode.names.append(entry)
    return every


PARTS = [b"a", b"ab", b"a!", b"a\x01", b"a.b", b"b"]
PATHS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=3).map(b"/".join)
CONTENTS = st.sampled_from([b"", b"x", b"y", b"yy", b"zzz"])
ENTRIES = st.one_of(
    st.tuples(PATHS, st.just("file"), CONTENTS),
    st.tuples(PATHS, st.just("file"), CONTENTS),
    st.tuples(PATHS, st.just("directory"), st.none()),
    st.tuples(PATHS, st.just("hardlink"), PATHS),
    st.tuples(PATHS, st.just("symlink"), PATHS),
    st.tuples(PATHS.map(lambda path: b"/".join([*path.split(b"/")[:-1], b".wh." + path.split(b"/")[-1]])),
              st.just("file"), st.just(b"")),
    st.tuples(PATHS.map(lambda path: path + b"/.wh..wh..opq"), st.just("file"), st.just(b"")),
    st.just((b".wh..wh..opq", "file", b"")),
    st.just((b".", "directory", None)),
)  # fmt: skip
LAYERS = st.lists(st.lists(ENTRIES, max_size=6), min_size=1, max_size=4)


def check(layers: list[list[tuple[bytes, str, Any]]]) -> None:
    image = image_of([layer_tar([(name.replace(b"./", b""), *rest) for name, *rest in layer]) for layer in layers])
    expected = apply([[(b"" if name == b"." else name, *rest) for name, *rest in layer] for layer in layers])
    for digests in (False, True):
        frame = il.files(image, digests=digests)
        assert len(frame) == len(expected)
        for row, entry in zip(frame.itertuples(), expected, strict=True):
            told = f"{entry.kind} {entry.path!r} of layer {entry.layer}"
            assert (row.path.encode(), row.kind, row.layer_index) == (entry.path, entry.kind, entry.layer)
            assert (None if pd.isna(row.change) else row.change) == entry.change, told
            assert row.visible == (entry.gone is None and not entry.kind.endswith("whiteout")), told
            inode = entry.inode
            assert (None if pd.isna(row.inode) else row.inode) == (None if inode is None else expected.index(inode)), (
                told
            )
            lost = entry.kind == "file" and all(name.gone is not None for name in entry.names)
            if not lost:
                assert pd.isna(row.reason) and pd.isna(row.removed_layer_index), told
                continue
            when = max(name.gone for name in entry.names)
            last = [name for name in entry.names if name.gone == when]
            last = [entry] if entry in last else last
            reasons = set()
            for name in last:
                again = name.successor.inode if name.successor and digests else None
                unchanged = again is not None and again.what == entry.what
                reasons.add("deleted" if name.deleted else "rewritten_unchanged" if unchanged else "overwritten")
            assert row.removed_layer_index == when, told
            assert row.reason in reasons, told
        stored = sum(len(entry.what) for entry in expected if entry.kind == "file")
        seen = {id(entry.inode): entry.inode for entry in expected if entry.gone is None and entry.inode is not None}
        visible = sum(len(inode.what) for inode in seen.values())
        ledger = il.waste(image, digests=digests)
        assert ledger["bytes"].sum() == stored - visible
        assert il.squash(image, digests=digests)["size"].sum() == visible
        (row,) = il.efficiency(image).itertuples()
        assert (row.stored, row.visible, row.wasted) == (stored, visible, stored - visible)
        assert row.efficiency == (visible / stored if stored else 1.0)
        assert set(zip(ledger["instruction"], ledger["layer_index"], strict=True)) <= {
            (f"RUN step {index} # buildkit", index) for index in range(len(layers))}  # fmt: skip
        assert (
            ledger["removed_instruction"] == ledger["removed_layer_index"].map("RUN step {} # buildkit".format)
        ).all()


@settings(max_examples=150)
@given(LAYERS)
def test_any_layers(layers):
    check(layers)


F, D, H, S = "file", "directory", "hardlink", "symlink"
CASES = {
    "whiteout first and last": [[(b"a/b", F, b"x")], [(b"a/.wh.b", F, b""), (b"a/b", F, b"y")],
                                [(b"a/b", F, b"zz"), (b"a/.wh.b", F, b"")]],
    "opaque at the end": [[(b"a", D, None), (b"a/b", F, b"x")],
                          [(b"a", D, None), (b"a/c", F, b"y"), (b"a/.wh..wh..opq", F, b"")]],
    "opaque root": [[(b"a", F, b"x"), (b"b/ab", F, b"y")], [(b".wh..wh..opq", F, b""), (b"b/c", F, b"z")]],
    "a file takes a tree's place": [[(b"a", D, None), (b"a/b", F, b"x"), (b"a!", F, b"y")], [(b"a", F, b"zzz")]],
    "a tree takes a file's place, without a directory entry": [[(b"a", F, b"zzz")], [(b"a/b/ab", F, b"x")]],
    "a symlink takes a directory's place": [[(b"a/b", F, b"x")], [(b"a", S, b"b")]],
    "thrice in one tar": [[(b"a", F, b"x"), (b"a", F, b"yy"), (b"a", F, b"zzz")]],
    "the target goes, the link stays": [[(b"a", F, b"zzz"), (b"b", H, b"a")], [(b".wh.a", F, b"")]],
    "a link across layers": [[(b"a", F, b"zzz")], [(b"b", H, b"a")], [(b".wh.a", F, b"")], [(b".wh.b", F, b"")]],
    "a chain of links": [[(b"a", F, b"zzz"), (b"b", H, b"a"), (b"ab", H, b"b")], [(b".wh.a", F, b""), (b".wh.b", F, b"")]],
    "a link to nothing": [[(b"b", H, b"a")]],
    "links in a ring": [[(b"b", H, b"a"), (b"a", H, b"b")]],
    "a link before its target": [[(b"b", H, b"a"), (b"a", F, b"zzz")]],
    "a link to itself": [[(b"a", F, b"zzz")], [(b"a", H, b"a")]],
    "the target rewritten": [[(b"a", F, b"zzz"), (b"b", H, b"a")], [(b"a", F, b"x")]],
    "same bytes again": [[(b"a", F, b"zzz")], [(b"a", F, b"zzz")], [(b"a", F, b"zzx")]],
    "whiteout of nothing": [[(b".wh.a", F, b"")], [(b".wh.a", F, b""), (b"a", F, b"x")]],
    "names around the separator": [[(b"a", D, None), (b"a/b", F, b"x"), (b"a\x01", F, b"y"), (b"a!", F, b"yy"),
                                    (b"ab", F, b"zzz")],
                                   [(b".wh.a", F, b"")]],
    "no entries": [[], [], []],
    "links among dead": [[(b"a/b", F, b"x"), (b"a", F, b"y"), (b"ab", H, b"a/b")]],
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_cases(case):
    check(CASES[case])


def test_two_images_keep_their_own():
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


def test_no_image_is_a_frame_with_all_columns():
    assert list(il.files([]).columns) == list(il.files(image_of([layer_tar([])])).columns)
    for verb in (il.files, il.waste, il.squash, il.efficiency, il.dive_efficiency, il.layers, il.history, il.packages):
        assert len(verb([])) == 0
