"""Real engines: one image from the daemon, its `docker save`, skopeo's OCI layouts and snapshots of each."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pandas as pd
import pytest

import imagelab as il
from imagelab.core.memory import forget
from imagelab.images.sources import daemon
from tests.conftest import missing
from tests.support.images import docker_save, layer_tar, write_tar

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("engine")]

DOCKERFILE = """FROM localhost/busybox:static
ENV MODE=test TOKEN_NAME=none
WORKDIR /srv
COPY hello.txt /srv/hello.txt
RUN echo one > /srv/one && mkdir /srv/d && echo two > /srv/d/two
RUN true
RUN true
ARG VERSION=7
RUN echo $VERSION > /srv/version && rm /srv/one
RUN chmod 600 /srv/hello.txt
LABEL purpose=test
USER 1000
EXPOSE 80
CMD ["sh", "-c", "cat /srv/hello.txt"]
"""
LOADED = f"imagelab-test/loaded-{os.getpid()}:1"
NAME = f"imagelab-test/history-{os.getpid()}:1"  # several runs can share an engine
EXACT = ["step", "instruction", "arguments", "created_by", "builder", "empty_layer", "layer_index", "diff_id", "size"]


def build(engine, folder, name: str, text: str, **env: str) -> None:
    (folder / "hello.txt").write_text("hello " * 100)
    engine.docker("build", "--network=none", "-q", "-t", name, "-f", "-", str(folder), input=text, **env)


@pytest.fixture(scope="module", params=["modern", "classic", "classic builder"])
def built(request, tmp_path_factory):
    """Engine, image name, archive: of each engine's BuildKit, and of the classic builder."""
    kind, _, classic_builder = request.param.partition(" ")
    engine = request.getfixturevalue(kind)
    folder = tmp_path_factory.mktemp("build")
    build(engine, folder, NAME, DOCKERFILE, DOCKER_BUILDKIT="0" if classic_builder else "1")
    archive = tmp_path_factory.mktemp("saved") / "saved.tar"
    engine.docker("save", NAME, "-o", str(archive))
    yield engine, NAME, archive, bool(classic_builder)
    engine.docker("rmi", "-f", NAME)


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """A cache of its own for each test."""
    monkeypatch.setenv("IMAGELAB_CACHE_DIR", str(tmp_path / "cache"))
    forget()


def at(monkeypatch, engine) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)


def agree(told: pd.DataFrame, exact: pd.DataFrame, columns=EXACT) -> None:
    """Equal, but for what a source cannot know."""
    assert len(told) == len(exact)
    for column in columns:
        known = told[column].notna()
        assert told[column][known].tolist() == exact[column][known].tolist(), column


def layouts(archive, folder):
    """skopeo's OCI layouts of an archive: gzip'd (its default) and zstd."""
    if not shutil.which("skopeo"):
        missing("skopeo is not on this machine")
    for pack in ("gzip", "zstd"):
        command = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-compress", "--dest-compress-format", pack]
        subprocess.run(
            [*command, f"docker-archive:{archive}", f"oci:{folder}/{pack}:v"], check=True, capture_output=True
        )
        yield f"oci:{folder}/{pack}:v"


def test_history_is_the_same_from_every_source(built, monkeypatch, tmp_path):
    engine, name, archive, classic_builder = built
    at(monkeypatch, engine)
    exact = il.history(f"docker-archive:{archive}")
    assert (exact["layer_join"] == "config").all()
    assert exact["instruction"].dropna().tolist()[-11 if not classic_builder else -13 :][-3:] == [
        "USER",
        "EXPOSE",
        "CMD",
    ]
    told = il.history(name)
    agree(told, exact, EXACT if engine.kind == "modern" else [column for column in EXACT if column != "size"])
    if not classic_builder:  # BuildKit's joins are known without a save
        assert told["layer_index"].tolist() == exact["layer_index"].tolist()
        assert told["empty_layer"].tolist() == exact["empty_layer"].tolist()
    assert told["builder"].tolist() == exact["builder"].tolist()
    monkeypatch.setenv("IMAGELAB_CACHE_DIR", str(tmp_path / "another"))
    il.files(name)  # now the engine has saved it: all is known
    for again in (il.history(name), il.history(il.save_snapshot(name, tmp_path / "daemon.parquet"))):
        agree(again, exact)
        assert again["layer_index"].tolist() == exact["layer_index"].tolist()
        assert again["size"].tolist() == exact["size"].tolist()
    for reference in [
        *layouts(archive, tmp_path),
        il.save_snapshot(f"docker-archive:{archive}", tmp_path / "x.parquet"),
    ]:
        again = il.history(reference)
        pd.testing.assert_frame_equal(again[EXACT], exact[EXACT])
        pd.testing.assert_frame_equal(again[["created", "comment"]], exact[["created", "comment"]])


def test_files_are_the_same_from_every_source(built, monkeypatch, tmp_path):
    engine, name, archive, classic_builder = built
    at(monkeypatch, engine)
    monkeypatch.setenv("IMAGELAB_CACHE_DIR", "")  # every source reads for itself
    exact = il.files(f"docker-archive:{archive}", digests=True).drop(columns=["reference", "instruction"])
    for reference in [name, *layouts(archive, tmp_path), il.save_snapshot(name, tmp_path / "x.parquet", digests=True)]:
        again = il.files(reference, digests=True).drop(columns=["reference", "instruction"])
        pd.testing.assert_frame_equal(again, exact)
    assert il.read_file(name, "/srv/version") == b"7\n" == il.read_file(f"docker-archive:{archive}", "/srv/version")
    # without a cache nothing is remembered of the save: which classic step made which layer stays open
    ledger = il.waste(f"docker-archive:{archive}" if classic_builder else name)
    assert set(ledger["path"]) == {"/srv/one", "/srv/hello.txt"}
    by_path = ledger.set_index("path")
    assert (
        by_path.loc["/srv/one", "reason"] == "deleted"
        and "rm /srv/one" in by_path.loc["/srv/one", "removed_instruction"]
    )
    assert "chmod" in by_path.loc["/srv/hello.txt", "removed_instruction"]
    assert "COPY" in by_path.loc["/srv/hello.txt", "instruction"]
    digested = il.waste(name, digests=True).set_index("path")
    assert digested.loc["/srv/hello.txt", "reason"] == "rewritten_unchanged"


def test_layers_that_change_nothing(built, monkeypatch):
    """Two `RUN true` are one diff_id twice with BuildKit; the classic builder makes no layer of them."""
    engine, name, archive, classic_builder = built
    at(monkeypatch, engine)
    history = il.history(f"docker-archive:{archive}")
    twice = history[history["arguments"].str.fullmatch("true").fillna(False)]
    if classic_builder:
        assert len(twice) == 2 and twice["empty_layer"].all() and twice["layer_index"].isna().all()
        return
    assert len(twice) == 2 and twice["diff_id"].nunique() == 1 and twice["layer_index"].nunique() == 2
    assert (twice["size"] == 0).all() and not twice["empty_layer"].any()
    layers = il.layers(name)
    assert layers["chain_id"].nunique() == len(layers)


def test_settings_are_the_same(built, monkeypatch):
    engine, name, archive, _ = built
    at(monkeypatch, engine)
    told, exact = il.settings(name), il.settings(f"docker-archive:{archive}")
    wanted = ["user", "cmd", "env", "workdir", "port", "label"]
    for frame in (told, exact):
        assert set(wanted) <= set(frame["setting"])
    columns = ["setting", "name", "value"]
    left = told[told["setting"].isin(wanted)][columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(left, exact[exact["setting"].isin(wanted)][columns].reset_index(drop=True))


def test_by_id_digest_and_short_name(built, monkeypatch):
    engine, name, archive, _ = built
    at(monkeypatch, engine)
    identity = engine.docker("inspect", "-f", "{{.Id}}", name).strip()
    images = [il.load_image(reference) for reference in (name, identity, identity[7:19], f"docker-daemon:{name}")]
    assert len({image.chain_ids for image in images}) == 1
    assert all(name in image.tags for image in images)
    exact = il.load_image(archive)
    assert images[0].image_id in (None, exact.image_id) and (engine.kind == "modern") == (images[0].image_id is None)
    assert images[0].chain_ids == exact.chain_ids
    il.files(images[0])
    assert il.load_image(name).image_id == exact.image_id


def test_known_layers_are_not_saved_again(built, monkeypatch, tmp_path):
    engine, name, _, _ = built
    at(monkeypatch, engine)
    monkeypatch.setenv("IMAGELAB_CACHE_DIR", str(tmp_path))
    saved = []
    real = daemon.Client.save
    monkeypatch.setattr(daemon.Client, "save", lambda *args: saved.append(args) or real(*args))
    il.history(name), il.layers(name), il.settings(name)
    assert not saved
    il.files(name)
    assert len(saved) == 1
    (
        il.files(name),
        il.waste(name),
        il.packages(name),
        il.save_snapshot(name, os.environ["IMAGELAB_CACHE_DIR"] + "/x.parquet"),
    )
    assert len(saved) == 1


def test_layers_that_an_engine_saved_once_agree_with_the_archive(built, monkeypatch):
    engine, name, archive, _ = built
    at(monkeypatch, engine)
    il.files(name)
    monkeypatch.setattr(daemon.Client, "save", lambda *args: pytest.fail("saved"))
    assert len(il.files(name)) == len(il.files(f"docker-archive:{archive}"))


def test_loaded_from_an_archive(engine, monkeypatch, tmp_path):
    """What an engine shows of a loaded image whose archive tells nothing of builders."""
    at(monkeypatch, engine)
    tars = [layer_tar([(b"a", "file", b"x" * 9000)]), layer_tar([]), layer_tar([(b"b", "symlink", b"a")])]
    archive = write_tar(tmp_path / "x.tar", docker_save(tars, tags=[LOADED]))
    engine.docker("load", "-i", archive)
    try:
        exact, told = il.history(archive), il.history(LOADED)
        agree(told, exact, ["created_by", "layer_index", "empty_layer"])
        assert il.files(LOADED)["path"].tolist() == ["/a", "/b"]
        assert il.history(LOADED)["size"].tolist() == [9000, 0, 0]
    finally:
        engine.docker("rmi", LOADED)


def test_list_images(built, monkeypatch):
    engine, name, _, _ = built
    at(monkeypatch, engine)
    frame = il.list_images()
    row = frame[frame["reference"] == name].iloc[0]
    if engine.kind == "modern":
        assert (
            row["content_size"] > 0
            and row["disk_usage"] > 0
            and pd.isna(row["size"])
            and row["platforms"] == "linux/amd64"
        )
    else:
        assert row["size"] > 0 and pd.isna(row["content_size"])
    assert frame["created"].dropna().is_monotonic_decreasing
    assert "localhost/busybox:static" in set(frame["reference"])


def test_near_names(built, monkeypatch):
    engine, name, _, _ = built
    at(monkeypatch, engine)
    with pytest.raises(il.ImageNotFound, match=r"Similar names: .*imagelab-test/history-"):
        il.load_image(NAME.replace("history", "hystory"))
    with pytest.raises(il.ImageNotFound, match="linux/amd64"):
        il.load_image(name, platform="linux/arm64")


def test_contexts(modern, classic, monkeypatch, tmp_path):
    """As Docker's CLI: DOCKER_HOST, then DOCKER_CONTEXT, then `docker context use`."""
    config = {"DOCKER_CONFIG": str(tmp_path)}
    env = {key: value for key, value in os.environ.items() if not key.startswith("DOCKER_")} | config
    for engine in (modern, classic):
        subprocess.run(["docker", "context", "create", engine.kind, "--docker", f"host={engine.host}"], env=env, check=True,
                       capture_output=True)  # fmt: skip
    subprocess.run(["docker", "context", "use", "classic"], env=env, check=True, capture_output=True)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    assert il.load_image("localhost/busybox:static").provenance["engine"].startswith("20.10")
    monkeypatch.setenv("DOCKER_CONTEXT", "modern")
    assert il.load_image("localhost/busybox:static").provenance["engine"].startswith("28")
    monkeypatch.setenv("DOCKER_HOST", classic.host)
    assert il.load_image("localhost/busybox:static").provenance["engine"].startswith("20.10")


@pytest.fixture(scope="module")
def podman():
    """Podman's Docker-compatible socket, with a store of its own."""
    if not shutil.which("podman") or os.geteuid() != 0:
        missing("podman is not on this machine, or this is not root")
    folder = Path(tempfile.mkdtemp(prefix="pod"))  # podman wants its paths short
    command = ["podman", "--root", folder / "root", "--runroot", folder / "run", "--storage-driver", "vfs",
               "--cgroup-manager", "cgroupfs", "--events-backend", "file"]  # fmt: skip
    service = subprocess.Popen([*command, "system", "service", "--time", "0", f"unix://{folder}/podman.sock"])
    for _ in range(100):
        if (folder / "podman.sock").exists():
            break
        time.sleep(0.1)
    yield command, f"unix://{folder}/podman.sock"
    service.terminate()
    service.wait(20)
    shutil.rmtree(folder, ignore_errors=True)


def test_podman(podman, monkeypatch, corpus):
    command, host = podman
    monkeypatch.setenv("DOCKER_HOST", host)
    archive = corpus / "archives" / "dive-test-docker-image.tar"
    done = subprocess.run([*command, "load", "-q", "-i", archive], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "localhost/dive-test:latest" in set(il.list_images()["reference"])
    exact, told = il.history(f"docker-archive:{archive}"), il.history("dive-test:latest")
    agree(told, exact)
    assert told["layer_index"].tolist() == exact["layer_index"].tolist()
    assert told["diff_id"].tolist() == exact["diff_id"].tolist()
    columns = ["path", "kind", "size", "change", "visible", "reason"]
    pd.testing.assert_frame_equal(il.files("dive-test:latest")[columns], il.files(f"docker-archive:{archive}")[columns])
    with pytest.raises(il.ImageNotFound, match="Similar names"):
        il.load_image("dive-tset:latest")
