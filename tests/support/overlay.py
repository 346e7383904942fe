"""A slow reference of the final filesystem: the image-spec's "Applying Changesets", one entry after another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from imagelab.core.model import Image
from tests.support.images import image_of, layer_tar

Layers = list[list[tuple[bytes, str, Any]]]


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


def apply(layers: Layers) -> list[Entry]:
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


def made(layers: Layers) -> tuple[Image, list[Entry]]:
    """An image of these layers, and what the reference says of each entry."""
    image = image_of([layer_tar([(name.replace(b"./", b""), *rest) for name, *rest in layer]) for layer in layers])
    return image, apply([[(b"" if name == b"." else name, *rest) for name, *rest in layer] for layer in layers])


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
    "a link between two files of one path": [[(b"a", F, b"zzz"), (b"b", H, b"a"), (b"a", F, b"x")]],
    "links between three files of one path": [[(b"a", F, b"x"), (b"b", F, b"zzz"), (b"a!", H, b"b"), (b"b", F, b"yy"),
                                               (b"ab", H, b"b"), (b"b", F, b"x")]],
    "a link before two files of one path": [[(b"ab", H, b"b"), (b"b", F, b"zzz"), (b"a", F, b"x"), (b"b", F, b"yy")]],
    "no entries": [[], [], []],
    "links among dead": [[(b"a/b", F, b"x"), (b"a", F, b"y"), (b"ab", H, b"a/b")]],
}  # fmt: skip
