"""Bad input: every time an ImagelabError that says what to do next, never another exception."""

from __future__ import annotations

import contextlib
import copy
import gzip
import json
import os
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import imagelab as il
from tests.support.images import OCI, Layout, config_of, docker_save, layer_tar, sha256, write_folder, write_tar

TARS = [layer_tar([(b"a", "file", b"one")]), layer_tar([(b".wh.a", "file", b"")])]
CONFIG = {
    "config": {"Env": ["A=b"], "Cmd": ["sh"], "Labels": {"k": "v"}, "ExposedPorts": {"80/tcp": {}}, "User": "x",
               "Healthcheck": {"Test": ["CMD", "x"], "Interval": 1}, "Volumes": {"/v": {}}, "OnBuild": ["RUN x"]},
    "author": "me", "variant": "v1", "created": "2024-01-01T00:00:00Z",
}  # fmt: skip
WRONG = st.sampled_from(
    [None, 7, -1, 1.5, 10**40, True, "", "text", "\ud800lone", "\x00\x1b[31m", "x" * 5000, [], {}, [None], [[]], {"a": None},
     [1, "x"], {"digest": 5}, float("nan"), {"mediaType": []}]
)  # fmt: skip


def nodes(document, path=()):
    yield path
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield from nodes(value, (*path, key))


def replaced(document, path, value):
    if not path:
        return value
    document = copy.deepcopy(document)
    at = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return document


def use(reference: str) -> None:
    """Everything that a user asks of an image; an ImagelabError may end it."""
    try:
        image = il.load_image(reference)
    except il.ImagelabError as error:
        assert len(str(error)) > 20
        return
    repr(image)
    for verb in (il.history, il.layers, il.settings, il.files, il.waste, il.packages, il.dive_efficiency):
        with contextlib.suppress(il.ImagelabError):
            verb(image)


RELAXED = settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])


@RELAXED
@given(st.data())
def test_any_node_of_a_docker_archive_of_any_type(tmp_path, data):
    members = docker_save(TARS, **CONFIG)
    name = data.draw(st.sampled_from([name for name in members if name.endswith(".json")]))
    document = json.loads(members[name])
    for _ in range(data.draw(st.integers(1, 2))):
        document = replaced(document, data.draw(st.sampled_from(list(nodes(document)))), data.draw(WRONG))
    if name != "manifest.json":  # under its right digest, or it is refused as damaged
        members.pop(name)
        manifest = json.loads(members["manifest.json"])
        manifest[0]["Config"] = sha256(json.dumps(document).encode())[7:] + ".json"
        members["manifest.json"], name = json.dumps(manifest).encode(), manifest[0]["Config"]
    use("docker-archive:" + write_tar(tmp_path / "x.tar", members | {name: json.dumps(document).encode()}))


@RELAXED
@given(st.data())
def test_any_node_of_a_layout_of_any_type(tmp_path, data):
    which = data.draw(st.sampled_from(["config", "manifest", "index", "index.json"]))

    def bent(document, name):
        if name != which:
            return document
        return replaced(document, data.draw(st.sampled_from(list(nodes(document)))), data.draw(WRONG))

    layout = Layout()
    config = layout.document(bent(config_of(TARS, **CONFIG), "config"), OCI + "config.v1+json")
    layers = [layout.blob(tar, OCI + "layer.v1.tar", annotations={"k": "v"}) for tar in TARS]
    manifest = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": config, "layers": layers,
                "annotations": {"a": "b"}}  # fmt: skip
    described = layout.document(bent(manifest, "manifest"), OCI + "manifest.v1+json", annotations={"c": "d"},
                                platform={"os": "linux", "architecture": "amd64"})  # fmt: skip
    inner = layout.document(bent({"schemaVersion": 2, "manifests": [described]}, "index"), OCI + "index.v1+json")
    layout.close()
    layout["index.json"] = json.dumps(bent({"schemaVersion": 2, "manifests": [inner]}, "index.json")).encode()
    use("oci-archive:" + write_tar(tmp_path / "x.tar", layout))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_flipped_byte_of_an_archive(tmp_path, data):
    plain = write_tar(tmp_path / "x.tar", docker_save(TARS, **CONFIG))
    damaged = bytearray((tmp_path / "x.tar").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    whole = gzip.compress(bytes(damaged)) if data.draw(st.booleans()) else bytes(damaged)  # read as a stream, too
    if data.draw(st.booleans()):
        whole = whole[: data.draw(st.integers(0, len(whole)))]
    (tmp_path / "x.tar").write_bytes(whole)
    use(f"docker-archive:{plain}")


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 200_000, b'"\xff"', b"nul", b"7", b"[]", b"[{}]", b"null", b"{}",
                                  b'[{"Config": "x.json"}]', b'{"manifests": null}', b"\xef\xbb\xbf[]", b"1" * 5000])  # fmt: skip
def test_json_of_every_wrong_shape(tmp_path, text):
    for name in ("manifest.json", "index.json"):
        use("docker-archive:" + write_tar(tmp_path / "x.tar", {name: text, "oci-layout": b"{}"}))
        with pytest.raises(il.ImagelabError):
            il.load_image("oci:" + write_folder(tmp_path / "folder", {name: text, "oci-layout": b"{}"}))
        os.unlink(tmp_path / "folder" / name)


def test_lone_surrogates_reach_every_table_as_text(tmp_path):
    config = CONFIG | {"history": [{"created_by": "RUN \ud800", "comment": "\udfff"}, {"created_by": "x"}]}
    image = il.load_image(write_tar(tmp_path / "x.tar", docker_save(TARS, **config)))
    il.history(image)["created_by"].str.encode("utf-8")
    il.save_snapshot(image, tmp_path / "x.parquet")
    assert il.load_image(tmp_path / "x.parquet").history == image.history


def test_paths_without_an_image_are_errors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.tar").write_text("not a tar, but long enough to be read as one\n" * 100)
    (tmp_path / "short.tar").write_bytes(b"x")
    (tmp_path / "empty.tar").write_bytes(b"")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
    for reference, error, told in [
        ("./missing.tar", il.ImageNotFound, "Paths are taken from"),
        ("docker-archive:missing.tar", il.ImageNotFound, "missing.tar"),
        ("oci:missing", il.ImagelabError, "missing"),
        ("oci:text.tar", il.ArchiveError, "oci-archive:"),
        ("snapshot:missing.parquet", il.ImageNotFound, "missing.parquet"),
        ("example:no-such", il.ImageNotFound, "Similar names"),
        ("./folder", il.ImagelabError, "folder"),
        ("oci:folder", il.ArchiveError, "folder"),
        ("docker-archive:folder", il.ArchiveError, "folder"),
        ("text.tar", il.ArchiveError, "not a tar"),
        ("short.tar", il.ArchiveError, "not a tar"),
        ("empty.tar", il.ArchiveError, "nothing is in it"),
        ("x.parquet", il.ArchiveError, "Parquet"),
        ("snapshot:text.tar", il.ArchiveError, "snapshot"),
        ("docker-archive:x\0y", il.ImagelabError, "x.*y"),
    ]:
        with pytest.raises(error, match=told):
            il.load_image(reference)
    for wrong in (7, None, [object()]):
        with pytest.raises(il.ImagelabError, match="reference"):
            il.history(wrong)


def test_a_folder_without_a_layout_is_not_searched(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "walk", lambda *args: pytest.fail("walked a folder that may be a whole disk"))
    (tmp_path / "x").mkdir()
    with pytest.raises(il.ArchiveError, match="is a folder, but not an image"):
        il.load_image(f"oci:{tmp_path}/x")


def test_no_engine(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    for look in (lambda: il.load_image("busybox"), il.list_images, lambda: il.history("busybox")):
        with pytest.raises(il.DaemonUnavailable, match=r"(?s)/nowhere/docker.sock.*DOCKER_HOST.*docker save"):
            look()
    monkeypatch.setenv("DOCKER_HOST", "gopher://x")
    with pytest.raises(il.DaemonUnavailable, match="gopher"):
        il.load_image("busybox")


def test_a_missing_context_is_an_error(tmp_path, monkeypatch):
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONTEXT", "no-such")
    with pytest.raises(il.DaemonUnavailable, match="docker context ls"):
        il.load_image("busybox")


def test_the_command_line_prints_one_line(tmp_path):
    done = subprocess.run(["imagelab", "show", str(tmp_path / "missing.tar")], capture_output=True, text=True,
                          env=os.environ | {"PATH": os.path.dirname(os.sys.executable) + ":" + os.environ["PATH"]})  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr and "missing.tar" in done.stderr
