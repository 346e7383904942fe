"""The forms in which people have images: platforms, untagged images, folders, pipes, compressions, storages."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zstandard
from typer.main import get_command
from typer.testing import CliRunner

import imagelab as il
from imagelab.cli.app import PANELS, app
from imagelab.core.errors import ArchiveError, ImageNotFound
from imagelab.images.sources import spool
from tests.conftest import needs
from tests.support.images import OCI, Layout, config_of, docker_save, layer_tar, sha256, tar_of, write_folder, write_tar

for panel in PANELS:  # registers the verbs
    import_module(f"imagelab.cli.{panel}")
TARS = [layer_tar([(b"file", "file", b"x" * number)]) for number in (100, 200, 300)]


def platform(architecture: str) -> dict:
    return {"platform": {"os": "linux", "architecture": architecture}}


def two_platforms() -> Layout:
    layout = Layout()
    images = [
        layout.image([tar], config=config_of([tar], architecture=name), **platform(name))
        for tar, name in zip(TARS[:2], ("amd64", "arm64"), strict=True)
    ]
    index = layout.document({"schemaVersion": 2, "manifests": images}, OCI + "index.v1+json")
    names = {"io.containerd.image.name": "docker.io/library/app:1", "org.opencontainers.image.ref.name": "1"}
    return layout.close(index | {"annotations": names})


def engine_save() -> Layout:
    """As Engine 28 saves it: manifest.json lists one platform."""
    layout = two_platforms()
    config = json.dumps(config_of(TARS[:1], architecture="amd64")).encode()
    entry = {"Config": "blobs/" + sha256(config).replace(":", "/"), "RepoTags": ["app:1"], "Layers": ["blobs/sha256/x"]}
    layout["manifest.json"] = json.dumps([entry]).encode()
    return layout


def sizes(reference: str, **more) -> list[int]:
    return il.files(il.load_image(reference, **more))["size"].tolist()


@pytest.mark.parametrize("make", [two_platforms, engine_save])
@pytest.mark.parametrize(
    "form", ["{tar}", "oci-archive:{tar}", "oci:{folder}", "{tar}:app:1", "oci:{folder}:docker.io/library/app:1"]
)
def test_every_platform_is_read_and_the_error_names_the_option(tmp_path, make, form):
    reference = form.format(tar=write_tar(tmp_path / "x.tar", make()), folder=write_folder(tmp_path / "x", make()))
    assert sizes(reference, platform="linux/amd64") == [100] and sizes(reference, platform="linux/arm64") == [200]
    with pytest.raises(ImageNotFound, match=r"2 images: choose one with platform= \(--platform on the command line\)"):
        il.load_image(reference)


def test_the_tags_of_manifest_json_apply_to_every_platform(tmp_path):
    path = write_tar(tmp_path / "x.tar", engine_save())
    images = [il.load_image(path, platform=f"linux/{name}") for name in ("amd64", "arm64")]
    assert [image.tags for image in images] == [("app:1",)] * 2
    pinned = il.load_image(f"{path}:{images[1].manifest_digest}")
    assert pinned.platform == "linux/arm64" and pinned.transport == "docker-archive"
    named = il.load_image(f"{path}:app@{images[1].index_digest}", platform="linux/amd64")
    assert named.manifest_digest == images[0].manifest_digest


def test_untagged_images_are_chosen_by_position_or_digest(tmp_path):
    members, entries = {}, []
    for tar in TARS[:2]:
        one = docker_save([tar], tags=None)
        entries += json.loads(one.pop("manifest.json"))
        members |= {
            f"{len(entries)}/{name}" if name.endswith("layer.tar") else name: data for name, data in one.items()
        }
        entries[-1]["Layers"] = [f"{len(entries)}/{name}" for name in entries[-1]["Layers"]]
    path = write_tar(tmp_path / "x.tar", members | {"manifest.json": json.dumps(entries).encode()})
    assert sizes(f"{path}:@0") == [100] and sizes(f"{path}:@1") == [200]
    assert sizes(f"{path}:sha256:{entries[1]['Config'][:12]}") == [200]
    with pytest.raises(ImageNotFound, match=r"2 images: choose one with its digest or position .*@1"):
        il.load_image(path)
    with pytest.raises(ImageNotFound, match="no image @2"):
        il.load_image(f"{path}:@2")


def test_a_config_with_another_file_name(tmp_path):
    members = docker_save(TARS[:1])
    entry = json.loads(members["manifest.json"])[0]
    config = members.pop(entry["Config"])
    name = "0" * 64 + ".json"
    members |= {name: config, "manifest.json": json.dumps([entry | {"Config": name}]).encode()}
    assert il.load_image(write_tar(tmp_path / "x.tar", members)).image_id == sha256(config)


@pytest.mark.parametrize(
    "media_type",
    ["application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", OCI + "layer.nondistributable.v1.tar+gzip"],
)
def test_non_distributable_layers_are_listed_if_present(tmp_path, media_type):
    layout = Layout()
    layers = [layout.blob(gzip.compress(TARS[0]), media_type)]
    config = layout.document(config_of(TARS[:1]), OCI + "config.v1+json")
    manifest = {"schemaVersion": 2, "config": config, "layers": layers}
    layout.close(layout.document(manifest, OCI + "manifest.v1+json"))
    assert sizes(write_tar(tmp_path / "x.tar", layout)) == [100]


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard.ZstdCompressor().compress}


@pytest.mark.parametrize("ending", PACKERS)
def test_whole_archives_and_layers_of_docker_in_every_compression(tmp_path, ending):
    assert sizes(write_tar(tmp_path / f"x.tar.{ending}", docker_save(TARS), PACKERS[ending])) == [100, 200, 300]
    packed = {
        name: PACKERS[ending](data) if name.endswith("layer.tar") else data for name, data in docker_save(TARS).items()
    }
    assert sizes(write_tar(tmp_path / "packed.tar", packed)) == [100, 200, 300]


@pytest.mark.parametrize("ending", ["bz2", "xz"])
def test_concatenated_and_damaged_compressed_streams(tmp_path, ending):
    data = tar_of(docker_save(TARS))
    halves = PACKERS[ending](data[:5000]) + PACKERS[ending](data[5000:])
    (tmp_path / "x.tar").write_bytes(halves)
    assert sizes(str(tmp_path / "x.tar")) == [100, 200, 300]
    for damaged in (halves[: len(halves) // 2], halves[:100] + b"\xff" * 50 + halves[150:]):
        (tmp_path / "x.tar").write_bytes(damaged)
        with pytest.raises(ArchiveError, match="damaged or truncated"):
            il.load_image(str(tmp_path / "x.tar"))


@pytest.mark.parametrize("ending", ["bz2", "xz"])
def test_an_oci_layer_in_another_compression_is_refused_by_name(tmp_path, ending):
    layout = Layout()
    tar = layer_tar([(ending.encode(), "file", b"refused")])
    members = layout.close(layout.image([tar], PACKERS[ending]))
    paths = [write_tar(tmp_path / "x.tar", members), write_tar(tmp_path / "x.tar.gz", members, gzip.compress)]
    for path in [*paths, write_folder(tmp_path / "x", members)]:
        image = il.load_image(path)
        for read in (il.files, lambda image: list(image.source.read_range(image, 0, 0, 9))):
            with pytest.raises(
                ArchiveError, match=r"is compressed with (xz|bzip2); an OCI layer is plain, gzip or zstd"
            ):
                read(image)


def test_the_spelling_of_dive(tmp_path):
    assert sizes(f"docker-archive://{write_tar(tmp_path / 'x.tar', docker_save(TARS))}") == [100, 200, 300]


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_an_archive_on_standard_input(tmp_path, monkeypatch, name):
    spool.spool_stdin.cache_clear()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(gzip.compress(tar_of(docker_save(TARS))))))
    assert sizes(name) == [100, 200, 300] and il.read_file(name, "/file") == b"x" * 300
    spool.spool_stdin.cache_clear()


def test_a_named_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(tar_of(docker_save(TARS))))
    writer.start()
    assert sizes(str(tmp_path / "pipe")) == [100, 200, 300]
    writer.join()


def folder_of_skopeo(layout: Layout, *, every_platform: bool = False) -> dict[str, bytes]:
    """The members that ``skopeo copy oci:… dir:…`` writes."""
    index = json.loads(layout["index.json"])
    blobs = {name.rpartition("/")[2]: data for name, data in layout.items() if name.startswith("blobs/")}
    top = blobs.pop(index["manifests"][0]["digest"].removeprefix("sha256:"))
    if every_platform:
        for listed in json.loads(top)["manifests"]:
            name = listed["digest"].removeprefix("sha256:")
            blobs[f"{name}.manifest.json"] = blobs.pop(name)
    return blobs | {"manifest.json": top, "version": b"Directory Transport Version: 1.1\n"}


def test_dir_folders_of_skopeo(tmp_path, monkeypatch):
    layout = Layout()
    path = write_folder(tmp_path / "one", folder_of_skopeo(layout.close(layout.image(TARS))))
    (tmp_path / "one" / "version").write_text("Directory Transport Version: 1.1\n")
    monkeypatch.chdir(tmp_path)
    for reference in (f"dir:{path}", path, "one"):
        assert sizes(reference) == [100, 200, 300] and il.load_image(reference).transport == "dir"
    path = write_folder(tmp_path / "all", folder_of_skopeo(two_platforms(), every_platform=True))
    assert sizes(f"dir:{path}", platform="linux/arm64") == [200]


def test_a_folder_that_skopeo_wrote(tmp_path):
    needs("skopeo")
    layout = write_folder(tmp_path / "layout", two_platforms())
    subprocess.run(["skopeo", "copy", "-q", "--all", f"oci:{layout}", f"dir:{tmp_path}/dir"], check=True)
    assert sizes(f"dir:{tmp_path}/dir", platform="linux/arm64") == [200]


def test_links_in_a_layout(tmp_path):
    """The blobs may be a link to a folder inside; a link that leads out of the layout is refused."""
    layout = Layout()
    path = tmp_path / "x"
    write_folder(path, layout.close(layout.image(TARS)))
    (path / "blobs" / "sha256").rename(path / "store")
    (path / "blobs" / "sha256").symlink_to("../store")
    (path / "loop").symlink_to("..")
    assert sizes(f"oci:{path}") == [100, 200, 300]
    (path / "store").rename(tmp_path / "outside")
    (path / "blobs" / "sha256").unlink()
    (path / "blobs" / "sha256").symlink_to(tmp_path / "outside")
    with pytest.raises(ArchiveError, match="symbolic link that leads out"):
        il.load_image(f"oci:{path}")
    (tmp_path / "secret.json").write_text('{"schemaVersion": 2, "manifests": []}')
    (path / "index.json").unlink()
    (path / "index.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(ArchiveError):
        il.load_image(f"oci:{path}")


def test_a_path_is_never_looked_up_in_an_engine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_HOST", "unix:///none")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "app").mkdir()
    for reference, message in [
        ("gone.tar.xz", "there is no file or layout gone.tar.xz"),
        ("./gone", "there is no file or layout"),
        ("notes.txt", "is not a tar"),
        ("app", "The folder app here is not an image"),
        ("./app", "is a folder, but not an image"),
    ]:
        with pytest.raises(il.ImagelabError, match=message):
            il.load_image(reference)


def test_containers_storage_needs_podman_or_skopeo(monkeypatch):
    monkeypatch.setenv("PATH", "/none")
    with pytest.raises(ImageNotFound, match="podman or skopeo: install one"):
        il.load_image("containers-storage:localhost/app")


@pytest.mark.engine
def test_containers_storage_of_podman(tmp_path):
    needs("podman")
    name = "localhost/sources-test:storage"
    path = write_tar(tmp_path / "x.tar", docker_save(TARS, tags=[name]))
    subprocess.run(["podman", "load", "-q", "-i", path], check=True, capture_output=True)
    try:
        assert sizes(f"containers-storage:{name}") == [100, 200, 300]
        with pytest.raises(ImageNotFound, match="podman cannot export localhost/none"):
            il.load_image("containers-storage:localhost/none")
    finally:
        subprocess.run(["podman", "rmi", "-f", name], check=True, capture_output=True)


# which test shows each row of the README's table of sources
ROWS = {
    "Docker (Desktop": "test_engines.py::test_an_engine_behind_tls",
    "Podman": "test_daemon.py::test_podman",
    "a file from": "test_forms.py::test_whole_archives_and_layers_of_docker_in_every_compression",
    "an archive that another program writes": "test_forms.py::test_an_archive_on_standard_input",
    "an OCI layout": "test_forms.py::test_every_platform_is_read_and_the_error_names_the_option",
    "a folder that `skopeo copy` wrote": "test_forms.py::test_a_folder_that_skopeo_wrote",
    "podman's or skopeo's local storage": "test_forms.py::test_containers_storage_of_podman",
    "a registry": "test_registry.py::test_loading_reads_manifest_and_config_only",
    "a snapshot": "test_daemon.py::test_history_is_the_same_from_every_source",
    "none": "test_archives.py::test_an_invalid_reference_is_refused",
}


def test_every_row_of_the_readmes_table_of_sources_has_a_test():
    folder = Path(__file__).parent
    text = (
        (folder.parents[2] / "README.md").read_text().partition("## Where images come from")[2].partition("\n\n## ")[0]
    )
    rows = [line[2:] for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == len(ROWS)
    for row, (start, test) in zip(rows, ROWS.items(), strict=True):
        file, _, name = test.partition("::")
        assert row.startswith(start) and f"def {name}(" in (folder / file).read_text(), row


@pytest.mark.parametrize(
    "verb",
    [["show"], ["waste"], ["advise"], ["check", "--max-size", "150B"], ["snapshot", "-o", "x.parquet"], ["harden"]],
)
def test_verbs_take_a_platform(tmp_path, monkeypatch, verb):
    monkeypatch.chdir(tmp_path)
    arguments = [*verb, write_tar(tmp_path / "x.tar", engine_save())]
    assert isinstance(CliRunner().invoke(app, arguments).exception, ImageNotFound)  # of two platforms
    done = CliRunner().invoke(app, [*arguments, "--platform", "linux/amd64"])
    assert done.exit_code == 0, done.output


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield " ".join(words), command
    for word, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*words, word))


def test_every_verb_that_takes_an_image_takes_a_platform():
    named = {"image", "images", "references", "reference", "subject", "base"}
    compared = {"compare"}  # why-rebuilt and compare-scans compare other things
    with_images = {
        name
        for name, command in commands(get_command(app))
        if name in compared or named & {option.name for option in command.params}
    } - {"lab build"}  # its base= replaces names in a recipe
    platforms = {
        name for name, command in commands(get_command(app)) if "platform" in {option.name for option in command.params}
    }
    assert with_images == platforms >= {"show", "harden", "report", "improve", "index"}


def test_a_base_and_an_earlier_build_have_the_platform_of_the_image(tmp_path):
    earlier = write_tar(tmp_path / "x.tar", engine_save())
    tars = [TARS[1], TARS[2]]
    config = config_of(tars, architecture="arm64")
    image = il.load_image(
        write_tar(tmp_path / "y.tar", docker_save(tars, architecture="arm64", history=config["history"]))
    )
    assert set(il.history(image, base=earlier)["base_rule"]) == {"given"}
    assert "growth 300 B" in il.check_limits(image, against=earlier, max_growth="1B")["message"].iloc[0]
