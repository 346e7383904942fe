"""Whose steps and layers are whose, in the histories that different tools write."""

from __future__ import annotations

import json

import pytest

import imagelab as il
from imagelab.core.model import HistoryEntry, Layer
from imagelab.images.tables import base_image
from imagelab.images.tables.base_image import find_base
from imagelab.images.tables.created_by import Command
from imagelab.images.tables.steps import parsed, timestamp
from tests.support.images import Layout, config_of, layer_tar, sha256, write_tar

TARS = [layer_tar([(b"file", "file", b"x" * number)]) for number in range(3)]


def load(tmp_path, history: list[dict], labels: dict | None = None) -> il.Image:
    layers = sum(not entry.get("empty_layer") for entry in history)
    config = config_of(TARS[:layers], history=history, config={"Labels": labels})
    layout = Layout()
    return il.load_image(write_tar(tmp_path / "x.tar", layout.close(layout.image(TARS[:layers], config=config))))


def step(created_by: str | None, **more) -> dict:
    return {"created_by": created_by} | more


WINDOWS = [step("Apply image 1809-RTM-amd64"), step("Install update 1809-amd64")]


@pytest.mark.parametrize(
    "history, own",
    {
        "Windows: an image and its updates": ([*WINDOWS, step("cmd /S /C #(nop)  USER u", empty_layer=True)], 2),
        "distroless": ([step("bazel build ..."), step("bazel build ..."), step("COPY app /", comment="buildkit.x")], 2),
        "an import": ([step("# debian.sh")], 1),
        "an import, and more": ([step("# debian.sh"), step("RUN x # buildkit")], 1),
        "apko and kaniko": ([step("apko"), step("COPY manager .", author="kaniko")], 1),
        "ko": ([step("apko"), step("ko build ko://a"), step("ko build ko://b")], None),
        "Nix": ([step(None, comment="store paths: a"), step(None, comment="store paths: b")], None),
    }.values(),
)
def test_histories_without_a_dockerfile(tmp_path, history, own):
    found = il.history(load(tmp_path, history))
    if own is None:
        assert found["from_base"].isna().all() and set(found["base_rule"]) == {"unknown"}
    else:
        assert found["from_base"].tolist() == [number < own for number in range(len(history))]


def test_a_history_shorter_than_the_layers_gives_no_base(tmp_path):
    config = config_of(TARS, history=[step("bazel build ...")])
    layout = Layout()
    image = il.load_image(write_tar(tmp_path / "x.tar", layout.close(layout.image(TARS, config=config))))
    assert il.history(image)[["from_base", "layer_index"]].isna().all(axis=None)


def test_the_buildpacks_label_names_the_last_layer_of_the_run_image(tmp_path):
    def label(told) -> dict:
        return {"io.buildpacks.lifecycle.metadata": told if isinstance(told, str) else json.dumps(told)}

    told = label({"runImage": {"topLayer": sha256(TARS[1]), "reference": "h.io/run@sha256:0"}})
    found = il.history(load(tmp_path, [{}, {}, {}], told))
    assert found["from_base"].tolist() == [True, True, False] and set(found["base_rule"]) == {"label"}
    for other in ("no JSON", [], {"runImage": None}, {"runImage": {"topLayer": "sha256:0"}}, {"runImage": ["x"]}):
        assert set(il.history(load(tmp_path, [{}, {}, {}], label(other)))["base_rule"]) == {"unknown"}


def test_buildah_names_the_base_in_its_first_step(tmp_path):
    """Its base's own CMD, and the base's base, are left behind."""
    base = [step("x"), step('/bin/sh -c #(nop) CMD ["a"]', empty_layer=True, comment="FROM h.io/older:1")]
    own = [
        step('/bin/sh -c #(nop) CMD ["b"]', empty_layer=True, comment="FROM h.io/base:2"),
        step("/bin/sh -c dnf install -y b", comment="FROM 8e8d3b76eca5"),
    ]
    image = load(tmp_path, base + own)
    assert il.history(image)["from_base"].tolist() == [True, True, False, False]
    assert find_base(image, parsed(image), [0, -1, -1, 1], None, []) == (2, 1, "h.io/base:2", "shape")


@pytest.mark.parametrize("version, known", [("1.33.7", False), (None, False), ("1.37.0", True), ("1.43.1-dev", True)])
def test_old_buildah_named_the_base_in_its_last_step(tmp_path, version, known):
    """buildah build --layers=false"""
    history = [step("x"), step("LABEL a", empty_layer=True), step("RUN b", comment="FROM h.io/base:2")]
    image = load(tmp_path, history, {"io.buildah.version": version})
    assert find_base(image, parsed(image), [0, -1, 1], None, []) == (2 if known else None, 1, "h.io/base:2", "shape")
    assert il.history(image)["from_base"].isna().all() != known


def test_the_zero_time_of_go_is_unknown():
    """What ko and kaniko leave where they set none."""
    assert timestamp("0001-01-01T00:00:00Z") is timestamp("")
    assert str(timestamp("1970-01-01T00:00:00Z")) == "1970-01-01 00:00:00+00:00"
    assert str(timestamp("2021-11-24T16:18:42.209146777-06:00")).startswith("2021-11-24 22:18:42.209146")


def test_the_largest_matching_image_is_the_base():
    image, middle, lowest = (load_plain(count) for count in (3, 2, 1))
    found = find_base(image, parsed(image), [0, 1, 2], None, [lowest, middle, image])
    assert (found.layers, found.name, found.rule) == (2, "of 2 layers", "prefix")
    given = find_base(image, parsed(image), [0, 1, 2], lowest, [middle])
    assert (given.layers, given.name, given.rule) == (1, "of 1 layers", "given")


def load_plain(layers: int) -> il.Image:
    made = [Layer(sha256(tar)) for tar in TARS[:layers]]
    history = [HistoryEntry(None, f"RUN step {number} # buildkit", empty_layer=False) for number in range(layers)]
    return il.Image(f"of {layers} layers", "docker-archive", tuple(made), tuple(history))


def test_the_shape_of_a_history_is_computed_once():
    """A hundred thousand steps took minutes when each step looked through all later ones."""

    class Unsliced(list):
        def __getitem__(self, key):
            assert not isinstance(key, slice)
            return super().__getitem__(key)

    commands = [Command("RUN", "x", "buildkit")] * 1000
    assert base_image._shape([Command("CMD", "sh", "buildkit"), *commands], Unsliced([-1, *range(1000)])) == 1
    assert base_image._shape(commands, Unsliced(range(1000))) == 0
