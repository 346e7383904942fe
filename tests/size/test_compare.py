"""Sums by group, sharing of layers, changed files and duplicates, each against counting by hand."""

import gzip
from collections import defaultdict
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import imagelab as il
from imagelab.core.errors import ImagelabError
from imagelab.core.model import Layer
from tests.support.images import docker_save, image_of, layer_tar, sha256, write_tar

BASE = [
    (b"etc/", "directory", b""),
    (b"etc/passwd", "file", b"root:x:0:0"),
    (b"usr/lib/a.so", "file", b"x" * 300),
    (b"usr/lib/b.so", "file", b"x" * 300),
    (b"usr/bin/tool", "file", b"y" * 50),
    (b"README", "file", b"hello"),
]
TOP = [
    (b"usr/lib/a.so", "file", b"z" * 400),
    (b"usr/bin/.wh.tool", "file", b""),
    (b"app/new.py", "file", b"print()"),
]


@pytest.fixture(scope="module")
def images():
    base, top = layer_tar(BASE), layer_tar(TOP)
    named = [Layer(sha256(base), content_size=1000), Layer(sha256(top), content_size=200)]
    below = replace(image_of([base], "below"), layers=(named[0],))
    above = replace(image_of([base, top], "above"), layers=tuple(named))
    return below, above


def grouped(frame):
    return dict(zip(frame["group"], frame["size"], strict=True))


def test_sums_by_group(images):
    below, above = images
    files = il.files(above)
    assert grouped(il.size_by(below, "directory")) == {"/usr": 650, "/etc": 10, "/": 5}
    assert grouped(il.size_by(below, "directory", depth=2)) == {"/usr/lib": 600, "/usr/bin": 50, "/etc": 10, "/": 5}
    assert grouped(il.size_by(below, "extension")) == {".so": 600, "(none)": 65}
    assert grouped(il.size_by(il.squash(above), "extension")) == {".so": 700, "(none)": 15, ".py": 7}
    assert grouped(il.size_by(files, "owner")) == {"0:0": 300 + 300 + 50 + 10 + 5 + 400 + 7}
    by_step = grouped(il.size_by(files, "instruction"))
    assert by_step == {"RUN step 0 # buildkit": 665, "RUN step 1 # buildkit": 407}
    assert il.size_by(files, "kind").set_index("group").loc["whiteout", "files"] == 1
    assert il.size_by(files, "directory")["share"].sum() == pytest.approx(1)


def test_size_by_reports_what_is_unknown(images):
    with pytest.raises(ImagelabError, match="directory, extension, package"):
        il.size_by(images[0], "colour")
    with pytest.raises(ImagelabError, match="images or references"):
        il.size_by(il.files(images[0]), "package")


def test_sharing(images):
    pairs = il.compare_layers(images).set_index(["reference", "other"])
    row = pairs.loc[("above", "below")]
    assert (row["shared_layers"], row["total"], row["shared"], row["pull"]) == (1, 1200, 1000, 200)
    assert pairs.loc[("below", "above"), "pull"] == 0
    assert pairs.loc[("above", "above"), "unique"] == 200 and pairs.loc[("below", "below"), "unique"] == 0
    assert set(pairs["measure"]) == {"content_size"} and set(pairs["identity"]) == {"diff_id"}
    with pytest.raises(ImagelabError, match="digest"):
        il.compare_layers(images, identity="digest")


@given(st.lists(st.lists(st.integers(0, 5), max_size=6), min_size=1, max_size=4))
def test_sharing_is_set_arithmetic(stacks):
    sizes = [3, 10, 100, 1000, 5000, 70000]
    images = [
        replace(
            image_of([], f"i{n}"),
            layers=tuple(Layer(f"sha256:{key:064x}", size=0, content_size=sizes[key]) for key in stack),
        )
        for n, stack in enumerate(stacks)
    ]
    frame = il.compare_layers(images).set_index(["reference", "other"])
    holders = defaultdict(set)
    for n, stack in enumerate(stacks):
        for key in stack:
            holders[key].add(n)
    for one, left in enumerate(stacks):
        for two, right in enumerate(stacks):
            if not left or not right:  # an image without layers has no row
                continue
            row = frame.loc[(f"i{one}", f"i{two}")]
            assert row["total"] == sum(sizes[key] for key in set(left))
            assert row["shared"] == sum(sizes[key] for key in set(left) & set(right))
            assert row["pull"] == row["total"] - row["shared"]
            assert row["unique"] == sum(sizes[key] for key in set(left) if holders[key] == {one})


def test_changes_and_their_causes(images):
    changes = il.compare_files(*images).set_index("path")
    assert changes["change"].to_dict() == {
        "/usr/lib/a.so": "changed",
        "/usr/bin/tool": "removed",
        "/app/new.py": "added",
    }
    assert changes.loc["/usr/lib/a.so", ["why", "delta"]].tolist() == ["content", 100]
    gone = changes.loc["/usr/bin/tool"]
    assert (gone["delta"], gone["layer_after"], gone["instruction_after"]) == (-50, 1, "RUN step 1 # buildkit")
    total = il.squash(images[1])["size"].sum() - il.squash(images[0])["size"].sum()
    assert changes["delta"].sum() == total


def test_why_a_file_changed():
    from tests.support.tars import END, header, padded

    def one(**header_fields):
        return image_of([header(b"f", size=3, **header_fields) + padded(b"abc") + END], "one")

    def why(before, after, **options):
        return il.compare_files(before, after, **options)["why"].tolist()

    assert why(one(), one(mode=0o755)) == ["mode"]
    assert why(one(), one(uid=7, mtime=9)) == ["owner, time"]
    assert why(one(), one()) == []
    other = image_of([header(b"f", size=3) + padded(b"xyz") + END], "other")
    assert why(one(), other) == [] and why(one(), other, digests=True) == ["content"]
    link = image_of([header(b"f", flag=b"2", link=b"g") + END], "link")
    assert why(one(), link) == ["type, mode"] or why(one(), link) == ["type"]


def test_duplicates(images):
    found = il.duplicates(images[1]).iloc[0]
    assert (found["size"], found["copies"], found["extra_bytes"]) == (300, 2, 300)
    assert found["paths"].splitlines() == ["/usr/lib/a.so", "/usr/lib/b.so"]


def test_digests_of_copies_give_the_same_duplicates_as_all_digests(tmp_path):
    first = [(b"app/same", "file", b"a" * 700), (b"app/other", "file", b"b" * 700), (b"app/grown", "file", b"c")]
    second = [(b"app/same", "file", b"a" * 700), (b"app/other", "file", b"x" * 700), (b"app/grown", "file", b"cc")]
    members = docker_save([layer_tar(first), layer_tar(second)])
    for name, pack in (("plain.tar", bytes), ("packed.tar.gz", gzip.compress)):
        archive = write_tar(tmp_path / name, members, pack)
        by_copies = il.waste(archive, digests="copies")
        pd.testing.assert_frame_equal(by_copies, il.waste(archive, digests=True))
        assert by_copies.set_index("path")["reason"].to_dict() == {
            "/app/same": "rewritten_unchanged", "/app/other": "overwritten", "/app/grown": "overwritten"
        }  # fmt: skip


def test_a_hardlink_with_swapped_names_has_the_same_content():
    one = image_of([layer_tar([(b"a", "file", b"12345"), (b"b", "hardlink", b"a")])], "one")
    two = image_of([layer_tar([(b"b", "file", b"12345"), (b"a", "hardlink", b"b")])], "two")
    for digests in (False, True):
        changes = il.compare_files(one, two, digests=digests)
        assert changes[["path", "why", "delta"]].values.tolist() == [["/a", "link", -5], ["/b", "link", 5]]


def test_bytes_kept_by_a_hardlink_alone_are_summed():
    image = image_of([layer_tar([(b"a", "file", b"12345"), (b"x/b", "hardlink", b"a")]),
                      layer_tar([(b".wh.a", "file", b"")])])  # fmt: skip
    assert grouped(il.size_by(il.squash(image), "directory")) == {"/x": 5}


def test_sizes_by_package_of_every_form_of_images(images):
    by_package = il.size_by((image for image in images), "package")
    assert set(by_package["reference"]) == {"below", "above"} and set(by_package["group"]) == {"(none)"}
    assert il.size_by([], "package").empty
    with pytest.raises(ImagelabError, match="no column path"):
        il.size_by(il.layers(images), "directory")
    with pytest.raises(ImagelabError, match="depth is -1"):
        il.size_by(images, "directory", depth=-1)


def test_unknown_sizes_give_unknown_shared_sizes():
    layers = Layer("sha256:a", content_size=7), Layer("sha256:b")
    pairs = il.compare_layers(
        [replace(image_of([], name), layers=own, source=None) for name, own in (("one", layers), ("two", layers[:1]))]
    )
    pairs = pairs.set_index(["reference", "other"])
    assert pairs.loc[("one", "two"), ["total", "shared", "unique"]].isna().tolist() == [True, False, True]
    assert pairs.loc[("two", "one"), ["total", "shared", "unique"]].tolist() == [7, 7, 0]
    with pytest.raises(ImagelabError, match="expected one of diff_id, chain_id, digest"):
        il.compare_layers([], identity="name")
    published = "example:published-ubuntu-22.04-2023"
    with pytest.raises(ImagelabError, match="they have: digest"):
        il.compare_layers(published)
    assert len(il.compare_layers(published, identity="digest")) == 1


def test_many_duplicates_are_found_in_linear_time():
    names = [(f"d/{number}".encode(), "file", b"%d" % (number // 12)) for number in range(24)]
    first, second = il.duplicates(image_of([layer_tar(names[:18]), layer_tar(names[18:])])).to_dict("records")
    assert (first["copies"], first["extra_bytes"], first["layers"]) == (12, 11, "0")
    assert second["layers"] == "0, 1" and second["paths"].splitlines() == [f"/d/{number}" for number in range(12, 22)]


def test_one_image_or_a_comparison(images):
    for wrong in ([], list(images)):
        with pytest.raises(ImagelabError, match=f"was given {len(wrong)}"):
            il.compare_files(wrong, images[0])
        with pytest.raises(ImagelabError, match=f"was given {len(wrong)}"):
            il.history(images[0], base=wrong)
    with pytest.raises(ImagelabError, match=r"il\.compare_files gives; this one has no column path"):
        il.sum_changes(il.layers(images), "directory")


def test_sharing_of_many_images():
    stacks = [[f"sha256:{key}" for key in range(5)] + [f"sha256:own-{n}"] for n in range(120)]
    made = [
        replace(image_of([], f"i{n}"), layers=tuple(Layer(key, content_size=10) for key in stack), source=None)
        for n, stack in enumerate(stacks)
    ]
    pairs = il.compare_layers(made)
    assert len(pairs) == 120**2 and (pairs["unique"] == 10).all()
    assert pairs["reference"].iloc[:2].tolist() == ["i0", "i0"] and pairs["other"].iloc[:2].tolist() == ["i0", "i1"]
    assert pairs["shared"].value_counts().to_dict() == {50: 120 * 119, 60: 120}
