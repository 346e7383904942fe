"""Kept listings: a layer is read once, answers for its own bytes only, and damaged entries are made again."""

from __future__ import annotations

import gzip
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import imagelab as il
from imagelab.core.errors import ArchiveError, ImagelabError
from imagelab.core.memory import forget
from imagelab.core.model import Image, Layer
from imagelab.images.layers import cache as layer_cache
from imagelab.images.layers.blobs import StreamWindow
from imagelab.images.layers.listing import layer_listings
from imagelab.images.layers.tar import list_tar
from imagelab.images.sources import members
from imagelab.images.sources.archive import ArchiveSource
from imagelab.images.tables import files as filesystem
from tests.support.images import TarsSource, docker_save, image_of, layer_tar, sha256, write_tar

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


def test_a_layer_is_read_once_by_all_verbs_and_processes(cache, reads, image):
    first = il.files(image)
    assert len(reads) == 2
    il.files(image), il.waste(image), il.packages(image)
    forget()
    assert il.files(il.load_image(image.reference)).equals(first) and il.packages(image).empty
    assert len(reads) == 2
    assert layer_cache.cache_info()[1] == len(list(cache.iterdir())) == 2


def test_a_changed_file_is_read_again(cache, reads, tmp_path, image):
    assert il.files(image)["path"].tolist() == ["/a", "/b"]
    changed = [layer_tar([(b"c", "file", b"one")]), TARS[1]]
    size, time = os.path.getsize(image.reference), os.stat(image.reference).st_mtime_ns
    write_tar(Path(image.reference), docker_save(changed))
    assert os.path.getsize(image.reference) == size
    os.utime(image.reference, ns=(time + 1, time + 1))
    assert il.files(image.reference)["path"].tolist() == ["/c", "/b"]


def lying(tars, claims) -> dict[str, bytes]:
    """The members of an archive whose config claims other diff_ids than its layers have."""
    archive = docker_save(tars)
    config = next(name for name in archive if name.endswith(".json") and name != "manifest.json")
    for tar, claim in zip(tars, claims, strict=True):
        archive[config] = archive[config].replace(sha256(tar).encode(), claim.encode())
    archive["config.json"] = archive.pop(config)
    archive["manifest.json"] = archive["manifest.json"].replace(config.encode(), b"config.json")
    return archive


def test_a_listing_of_one_archive_is_not_used_for_another(tmp_path, cache):
    """Both claim the same diff_id; the first one's config is wrong."""
    honest = sha256(TARS[0])
    evil = write_tar(tmp_path / "evil.tar", lying([TARS[1]], [honest]))
    good = write_tar(tmp_path / "good.tar", docker_save([TARS[0]]))
    assert il.files(evil)["path"].tolist() == ["/b"]
    for _ in range(2):
        assert il.files(good)["path"].tolist() == ["/a"]
        assert il.files(evil)["path"].tolist() == ["/b"]
        forget()
    assert layer_cache.cached(honest) is None  # nothing for an engine or a registry: nobody hashed the layers


def test_two_layers_with_the_same_claimed_diff_id(tmp_path, cache):
    claims = [sha256(TARS[0])] * 2
    archive = write_tar(tmp_path / "twice.tar", lying(TARS, claims))
    assert il.files(archive)["path"].tolist() == ["/a", "/b"]


@dataclass(frozen=True)
class HashedSource(TarsSource):
    """A source that hashes the layers which it reads, as an engine's is."""

    def layer_keys(self, image):
        return [layer.diff_id for layer in image.layers]

    def read_layers(self, image, wanted, *, digests=False):
        for index, listing in super().read_layers(image, wanted, digests=digests):
            yield index, replace(listing, diff_id=sha256(self.tars[index]))


def test_a_hashed_layer_is_shared_and_a_wrong_one_is_refused(cache):
    def image(tar, diff_id):
        return Image("app", "docker-daemon", (Layer(diff_id),), source=HashedSource((tar,)))

    with pytest.raises(ArchiveError, match="should be sha256:"):
        il.files(image(TARS[1], sha256(TARS[0])))
    assert il.files(image(TARS[0], sha256(TARS[0])))["path"].tolist() == ["/a"]
    forget()
    assert il.files(image(b"not read", sha256(TARS[0])))["path"].tolist() == ["/a"]


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
    forget()
    assert layer_listings(image) == first
    assert len(reads) == 4
    layer_listings(image)
    assert len(reads) == 4


def test_another_format_is_not_read(cache, reads, image, monkeypatch):
    layer_listings(image)
    monkeypatch.setattr(layer_cache, "FORMAT", b"next")
    forget()
    layer_listings(image)
    assert len(reads) == 4


def test_a_frame_is_built_once_and_callers_get_copies(cache, image, monkeypatch):
    first = il.files(image)
    monkeypatch.setattr(filesystem, "_files", None)  # not made again
    first["size"] = 0
    first.loc[0, "path"] = "/changed"
    again = il.files(image)
    assert again["size"].tolist() == [3, 3] and again["path"].tolist() == ["/a", "/b"]
    with pytest.raises(TypeError):
        il.files(image, digests=True)  # another question


def test_only_recent_frames_are_kept(tmp_path, cache):
    for number in range(7):
        il.files(write_tar(tmp_path / f"{number}.tar", docker_save(TARS)))
    assert len(filesystem._frames._kept) == 4


def test_threads_share_the_frames(tmp_path, cache):
    archives = [write_tar(tmp_path / f"{number}.tar", docker_save(TARS)) for number in range(6)]
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda archive: len(il.files(archive)), archives * 20)) == {2}


def test_an_answer_does_not_depend_on_what_was_asked_before(tmp_path, cache):
    archive = write_tar(tmp_path / "twice.tar", docker_save([TARS[0], layer_tar([(b"a", "file", b"one")])]))
    first = il.waste(archive)
    assert il.waste(archive, digests=True)["reason"].tolist() == ["rewritten_unchanged"]
    filesystem._frames.clear()
    assert il.waste(archive).equals(first) and first["reason"].tolist() == ["overwritten"]


def test_an_entry_with_a_wrong_checksum_is_made_again(cache, reads, image):
    """The entry is a complete Arrow file, of other rows than were stored."""
    il.files(image)
    first, second = sorted(cache.glob("*.arrow"))
    first.write_bytes(first.read_bytes()[:4] + second.read_bytes()[4:])
    second.write_bytes(second.read_bytes()[:4] + b"")
    forget()
    assert il.files(image)["path"].tolist() == ["/a", "/b"] and len(reads) == 4


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_not_a_regular_file_is_ignored(cache, reads, image, make):
    il.files(image)
    for entry in cache.glob("*.arrow"):
        entry.unlink()
        make(entry)
    forget()
    assert len(il.files(image)) == 2 and len(reads) == 4
    assert layer_cache.cache_info()[1] == (2 if make is os.mkfifo else 0)  # a FIFO is replaced, a folder is left alone


def test_without_the_folder_an_image_is_still_read_once(cache, reads, image, monkeypatch, tmp_path):
    monkeypatch.setenv("IMAGELAB_CACHE_DIR", "")
    il.files(image), il.packages(image), il.waste(image)
    assert len(reads) == 2 and layer_cache.cache_info() == (None, 0, 0) and layer_cache.clear_cache() == 0
    in_memory = image_of(TARS)
    calls = []
    monkeypatch.setattr(TarsSource, "read_layers", counted_reads(TarsSource.read_layers, calls))
    il.files(in_memory), il.packages(in_memory), il.files(in_memory)
    assert calls == [0, 1]
    assert il.files(image_of([TARS[1]]))["path"].tolist() == ["/b"]  # another source, whatever its address
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IMAGELAB_CACHE_DIR", str(tmp_path / "file" / "below"))
    forget()
    assert len(il.files(image)) == 2


def counted_reads(read, calls):
    def counted(self, image, wanted, **more):
        wanted = list(wanted)
        calls.extend(wanted)
        return read(self, image, wanted, **more)

    return counted


def test_cleared(cache, reads, image):
    il.files(image)
    assert layer_cache.clear_cache() == 2 and layer_cache.cache_info()[1:] == (0, 0)
    il.files(image)
    assert len(reads) == 4


def test_the_folder_is_private(cache, image):
    cache.mkdir(mode=0o755)
    il.files(image)
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


def test_the_folder_is_bounded_and_least_recently_used_entries_go_first(cache, monkeypatch):
    listings = [list_tar(StreamWindow([layer_tar([(os.urandom(40).hex().encode(), "file", b"")])])) for _ in range(4)]
    keys = [f"file:{number}" for number in range(4)]
    for number in range(3):
        layer_cache.store(keys[number], listings[number])
        os.utime(layer_cache._path(keys[number]), (number, number))
    size = layer_cache.cache_info()[2]
    forget()
    assert layer_cache.cached(keys[0])  # now the newest
    monkeypatch.setenv("IMAGELAB_CACHE_SIZE", str(size + 50))
    layer_cache.store(keys[3], listings[3])
    forget()
    assert [layer_cache.cached(key) is not None for key in keys] == [True, False, True, True]
    assert layer_cache.cache_info()[2] <= size + 50
    monkeypatch.setenv("IMAGELAB_CACHE_SIZE", "1 GB")
    with pytest.raises(ImagelabError, match="IMAGELAB_CACHE_SIZE is '1 GB'; expected a number of bytes"):
        layer_cache.store(keys[0], listings[0])


def test_memory_is_bounded(cache, monkeypatch):
    listing = list_tar(StreamWindow([TARS[0]]))
    monkeypatch.setattr(layer_cache._listings, "limit", 2 * listing.table.nbytes)
    forget()
    for number in range(5):
        layer_cache.store(f"object:{number}", listing)
    assert list(layer_cache._listings._kept) == ["object:3", "object:4"]
    assert layer_cache.cached("object:3") and list(layer_cache._listings._kept) == ["object:4", "object:3"]


def test_tables_of_layers_have_exact_sizes_as_long_as_the_frame_of_files_is_kept(cache, monkeypatch):
    """An engine's history has estimates until the layers were listed."""
    monkeypatch.setenv("IMAGELAB_CACHE_DIR", "")
    monkeypatch.setattr(TarsSource, "listing_is_local", False)
    image = image_of(TARS)
    il.files(image)
    layer_cache._listings.clear()  # as if larger images had taken its place
    il.files(image)
    assert il.history(image)["size"].tolist() == [3, 3]


def test_temporary_files_of_killed_writers_are_counted_and_cleared(cache, image):
    il.files(image)
    old, new = (cache / f".{name}.imagelab-partial" for name in ("old", "new"))
    old.write_bytes(b"x" * 10), new.write_bytes(b"x" * 10)
    os.utime(old, (1, 1))
    assert layer_cache.cache_info()[1] == 4
    layer_cache.store("file:other", list_tar(StreamWindow([TARS[0]])))
    assert not old.exists() and new.exists()
    assert layer_cache.clear_cache() == 4 and not list(cache.iterdir())


def test_a_diff_id_is_never_used_as_a_path(cache, image):
    from imagelab.core.model import Layer

    assert layer_cache.cached("sha256:../../etc/passwd") is None
    assert layer_cache.cached(Layer("sha256:" + "g" * 64).diff_id) is None


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_archive_is_read_once_for_all_verbs(tmp_path, cache, monkeypatch, pack):
    """Passes over the archive, with the cache folder off."""
    monkeypatch.setenv("IMAGELAB_CACHE_DIR", "")
    passes = []
    opened = members._opened
    monkeypatch.setattr(members, "_opened", lambda path: passes.append("open") or opened(path))
    inflate = members.decompressed
    monkeypatch.setattr(members, "decompressed", lambda *args: passes.append("inflate") or inflate(*args))
    archive = write_tar(tmp_path / "x.tar", docker_save(TARS), pack)
    for verb in (il.history, il.waste, il.files, il.packages, il.layers, il.efficiency):
        verb(archive)
    assert passes == (["open"] if pack is bytes else ["open", "inflate"])


def test_a_damaged_layer_does_not_hide_the_others(tmp_path, cache):
    """A compressed archive is listed in one pass; the error comes when the layer is wanted."""
    saved = docker_save([TARS[0], layer_tar([(b"b", "file", b"two"), (b"c", "file", b"three")])])
    layer = next(name for name in saved if name.startswith("1".rjust(64, "0")))
    saved[layer] = saved[layer][:1024] + b"x" * 512 + saved[layer][1536:]
    archive = write_tar(tmp_path / "x.tar.gz", saved, gzip.compress)
    assert len(il.history(archive)) == 2
    with pytest.raises(ArchiveError, match="checksum"):
        il.files(archive)
