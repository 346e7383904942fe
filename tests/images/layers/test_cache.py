"""Listings by diff_id: a layer is read once; damage is dropped; it can be moved and turned off."""

from __future__ import annotations

import gzip
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import imagelab as il
from imagelab.images.layers import cache as layer_cache
from imagelab.images.layers.listing import layer_listings
from imagelab.images.sources.archive import ArchiveSource
from imagelab.images.tables import files as filesystem
from tests.support.images import docker_save, layer_tar, sha256, write_tar

TARS = [layer_tar([(b"a", "file", b"one")]), layer_tar([(b"b", "file", b"two")])]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGELAB_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def reads(monkeypatch):
    """Which layers are read, in order."""
    seen = []
    real = ArchiveSource.read_layers

    def counted(self, image, wanted, **more):
        wanted = list(wanted)
        seen.extend(image.layers[index].diff_id for index in wanted)
        return real(self, image, wanted, **more)

    monkeypatch.setattr(ArchiveSource, "read_layers", counted)
    return seen


@pytest.fixture
def image(tmp_path):
    return il.load_image(write_tar(tmp_path / "x.tar", docker_save(TARS)))


def test_a_layer_is_read_once_whichever_image_it_is_in(tmp_path, cache, reads, image):
    first = il.files(image)
    assert len(reads) == 2
    il.files(image), il.waste(image), il.packages(image)
    other = il.load_image(write_tar(tmp_path / "y.tar", docker_save([TARS[0], layer_tar([(b"c", "file", b"")])])))
    il.files(other)
    assert len(reads) == 3
    assert il.files(image).equals(first)
    assert layer_cache.cache_info()[1] == len(list(cache.iterdir())) >= 3


def test_digests_are_read_when_first_asked_for(cache, reads, image):
    il.files(image)
    assert il.files(image, digests=True)["digest"].notna().all()
    assert len(reads) == 4
    assert il.files(image, digests=True)["digest"].notna().all() and il.files(image)["path"].tolist() == ["/a", "/b"]
    assert len(reads) == 4


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-5],
                                    lambda data: b"PAR1" + data[4:100],
                                    lambda data: data[: len(data) // 2] + b"\xff" * len(data)])  # fmt: skip
def test_damaged_entries_are_made_again(cache, reads, image, damage):
    first = layer_listings(image)
    for entry in cache.glob("*.arrow"):
        entry.write_bytes(damage(entry.read_bytes()))
    assert layer_listings(image) == first
    assert len(reads) == 4
    layer_listings(image)
    assert len(reads) == 4


def test_another_format_is_not_read(cache, reads, image, monkeypatch):
    layer_listings(image)
    monkeypatch.setattr(layer_cache, "FORMAT", b"next")
    layer_listings(image)
    assert len(reads) == 4


def test_a_frame_is_made_once_and_is_the_callers_own(cache, image, monkeypatch):
    first = il.files(image)
    monkeypatch.setattr(filesystem, "_files", None)  # not made again
    first["size"] = 0
    first.loc[0, "path"] = "/changed"
    again = il.files(image)
    assert again["size"].tolist() == [3, 3] and again["path"].tolist() == ["/a", "/b"]
    with pytest.raises(TypeError):
        il.files(image, digests=True)  # another question


def test_few_frames_are_kept(tmp_path, cache):
    for number in range(7):
        il.files(write_tar(tmp_path / f"{number}.tar", docker_save(TARS)))
    assert len(filesystem._recent) == filesystem._RECENT


def test_threads_share_the_frames(tmp_path, cache):
    archives = [write_tar(tmp_path / f"{number}.tar", docker_save(TARS)) for number in range(6)]
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda archive: len(il.files(archive)), archives * 20)) == {2}


def test_an_answer_does_not_depend_on_what_was_asked_before(tmp_path, cache):
    archive = write_tar(tmp_path / "twice.tar", docker_save([TARS[0], layer_tar([(b"a", "file", b"one")])]))
    first = il.waste(archive)
    assert il.waste(archive, digests=True)["reason"].tolist() == ["rewritten_unchanged"]
    filesystem._recent.clear()
    assert il.waste(archive).equals(first) and first["reason"].tolist() == ["overwritten"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_what_an_archive_claims_is_verified_for_an_engine(tmp_path, cache, pack):
    """An engine and a registry verify a diff_id, an archive only says it: its listing counts once its bytes agree."""
    honest = sha256(TARS[0])
    lying = docker_save([TARS[1]])
    config = next(name for name in lying if name.endswith(".json") and name != "manifest.json")
    lying["lie.json"] = lying.pop(config).replace(sha256(TARS[1]).encode(), honest.encode())
    lying["manifest.json"] = lying["manifest.json"].replace(config.encode(), b"lie.json")
    layer = next(name for name in lying if name.endswith("layer.tar"))
    lying[layer] = pack(lying[layer])
    assert il.files(write_tar(tmp_path / "lying.tar", lying))["path"].tolist() == ["/b"]
    assert layer_cache.cached(honest) and not layer_cache.cached(honest, verified=True)
    layer_cache.clear_cache()

    truthful = docker_save([TARS[0]])
    truthful[layer] = pack(truthful[layer])
    archive = write_tar(tmp_path / "truthful.tar", truthful)
    il.files(archive)
    assert layer_cache.cached(honest, verified=True).table["path"].to_pylist() == [b"/a"]
    Path(archive).unlink()
    assert layer_cache.cached(honest, verified=True)  # once is enough


def test_a_folder_in_the_place_of_an_entry(cache, reads, image):
    il.files(image)
    for entry in cache.glob("*.arrow"):
        entry.unlink()
        entry.mkdir()
    filesystem._recent.clear()
    assert len(il.files(image)) == 2 and len(reads) == 4


def test_off_cleared_and_unwritable(cache, reads, image, monkeypatch, tmp_path):
    il.files(image)
    assert layer_cache.clear_cache() == 2 and layer_cache.cache_info()[1:] == (0, 0)
    monkeypatch.setenv("IMAGELAB_CACHE_DIR", "")
    il.files(image), il.files(image)
    assert len(reads) == 6 and layer_cache.cache_info()[0] is None and layer_cache.clear_cache() == 0
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IMAGELAB_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert len(il.files(image)) == 2


def test_a_diff_id_is_no_path(cache, image):
    from imagelab.core.model import Layer

    assert layer_cache.cached("sha256:../../etc/passwd") is None
    assert layer_cache.cached(Layer("sha256:" + "g" * 64).diff_id) is None
