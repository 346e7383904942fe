"""Archives and layouts: the corpus' with the facts of its FACTS.json, and made ones in every shape."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
import zstandard

import imagelab as il
from imagelab.images.sources import streams as archive_streams
from tests.conftest import ROOT
from tests.support.images import OCI, Layout, config_of, docker_save, layer_tar, sha256, tar_of, write_folder, write_tar
from tests.support.tars import header, padded

SHARED = ROOT.parent / "shared" / "corpus"
FACTS = json.loads((SHARED / "archives" / "FACTS.json").read_text()) if SHARED.is_dir() else {}
KINDS = {"dir": "directory"}


def facts_of(archive: str) -> list[dict]:
    """The images that a FACTS entry tells of, attestations apart."""
    return [image for image in FACTS[archive].get("images", []) if not image.get("attestation")]


def load(path: Path, facts: dict, count: int) -> il.Image:
    """The one image that these facts are of, by tag, platform or digest."""
    if count == 1:
        return il.load_image(path)
    if facts.get("manifest_digest"):
        return il.load_image(
            f"oci:{path}:{facts['manifest_digest']}"
            if path.is_dir()
            else f"oci-archive:{path}:{facts['manifest_digest']}"
        )
    return il.load_image(f"docker-archive:{path}:{facts['tags'][0]}")


@pytest.mark.parametrize("name", FACTS)
def test_corpus(corpus, name):
    path = corpus / "archives" / name
    images = facts_of(name)
    if not images:
        with pytest.raises(il.ArchiveError, match=name.replace(".", r"\.")) as caught:
            il.load_image(f"oci:{path}" if path.is_dir() else f"docker-archive:{path}")
        assert len(str(caught.value)) > len(str(path)) + 20
        return
    for facts in images:
        if any("error" in str(layer) or "missing" in str(layer) for layer in [facts]) and not facts.get("layers"):
            continue
        try:
            image = load(path, facts, len(images))
        except il.ImagelabError as error:
            missing = [digest for digest in (facts.get("manifest_digest"), facts.get("config_digest")) if digest]
            assert any(digest in str(error) or digest[7:] in str(error) for digest in missing), error
            continue
        assert image.image_id == facts["config_digest"]
        assert facts.get("manifest_digest") in (None, image.manifest_digest)
        assert set(facts.get("tags") or ()) <= set(image.tags)
        history = il.history(image)
        assert len(history) == facts["history"]
        assert int(history["empty_layer"].sum()) == facts["empty_layers"]
        if facts.get("platform"):
            assert image.platform.split("/")[:2] == [facts["platform"]["os"], facts["platform"]["architecture"]]
        layers = il.layers(image)
        assert len(layers) == len(facts["layers"])
        listed = [layer for layer in facts["layers"] if "entries" in layer]
        files = il.files(image) if listed == facts["layers"] else None
        for index, (layer, fact) in enumerate(zip(layers.itertuples(), facts["layers"], strict=True)):
            assert layer.diff_id == fact["diff_id"]
            assert layer.content_size == fact["blob_size"]
            assert fact.get("digest") in (None, layer.digest)
            assert fact.get("media_type") in (None, layer.media_type)
            if files is None:
                continue
            own = files[files["layer_index"] == index]
            assert layer.size == own["size"].sum() == fact["file_bytes"]
            assert layer.entries == len(own) == sum(fact["entries"].values())
            assert (own["kind"].isin(["whiteout", "opaque_whiteout"])).sum() == len(fact["whiteouts"])
            counted = own["kind"].replace({"whiteout": "file", "opaque_whiteout": "file"}).value_counts()
            for kind, number in fact["entries"].items():
                assert counted[KINDS.get(kind, kind)] == number


TARS = [
    layer_tar([(b"etc", "directory", None), (b"etc/conf", "file", b"one"), (b"big", "file", b"x" * 5000)]),
    layer_tar([(b"etc/conf", "file", b"two!"), (b".wh.big", "file", b"")]),
    layer_tar([]),
]
PATHS = ["/etc", "/etc/conf", "/big", "/etc/conf", "/big"]


def right(image: il.Image) -> None:
    assert il.files(image)["path"].tolist() == PATHS
    assert il.layers(image)["diff_id"].tolist() == [sha256(tar) for tar in TARS]
    assert il.layers(image)["size"].tolist() == [5003, 4, 0]
    assert il.waste(image)["bytes"].tolist() == [5000, 3]
    assert il.read_file(image, "/etc/conf") == b"two!"
    assert il.read_file(image, "/etc/conf", layer_index=0) == b"one"
    assert len(il.history(image)) == 3 and il.history(image)["layer_index"].tolist() == [0, 1, 2]


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    """Made layers are the same bytes in many shapes: each is to be read, not remembered."""
    monkeypatch.setenv("IMAGELAB_CACHE_DIR", "")


@pytest.mark.parametrize("whole", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
@pytest.mark.parametrize("blobs", [False, True])
def test_docker_archives(tmp_path, blobs, whole):
    image = il.load_image(write_tar(tmp_path / "made.tar", docker_save(TARS, blobs=blobs), whole))
    right(image)
    assert image.transport == "docker-archive" and image.tags == ("made:latest",)


PACKS = {
    "plain": (bytes, ""),
    "gzip": (gzip.compress, "+gzip"),
    "zstd": (zstandard.ZstdCompressor().compress, "+zstd"),
    "gzip called plain": (gzip.compress, ""),
    "estargz": (lambda tar: b"".join(gzip.compress(tar[at : at + 700]) for at in range(0, len(tar), 700)), "+gzip"),
    "zstd:chunked": (
        lambda tar: b"".join(zstandard.ZstdCompressor().compress(tar[at : at + 700]) for at in range(0, len(tar), 700)), "+zstd"),
}  # fmt: skip


def test_an_unpacked_archive_of_an_older_docker(tmp_path):
    right(il.load_image(str(write_folder(tmp_path / "unpacked", docker_save(TARS)))))


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("where", ["file", "folder", "gzip'd file"])
def test_oci_layouts(tmp_path, pack, where):
    layout = Layout()
    layout.close(layout.image(TARS, *PACKS[pack]))
    if where == "folder":
        reference = f"oci:{write_folder(tmp_path / 'made', layout)}"
    else:
        whole = gzip.compress if where == "gzip'd file" else bytes
        reference = f"oci-archive:{write_tar(tmp_path / 'made.tar', layout, whole)}"
    right(il.load_image(reference))
    right(il.load_image(reference.partition(":")[2]))  # looked at


def test_a_path_can_hold_colons_and_a_tag_can_follow(tmp_path):
    path = write_tar(tmp_path / "a:b:c.tar", docker_save(TARS, tags=["x:1", "docker.io/library/y:latest"]))
    for reference in (
        path,
        f"docker-archive:{path}",
        f"docker-archive:{path}:x:1",
        f"docker-archive:{path}:y",
        f"{path}:y",
    ):
        right(il.load_image(reference))
    with pytest.raises(il.ImageNotFound, match="x:1"):
        il.load_image(f"docker-archive:{path}:z")


def test_several_images_are_chosen_from_by_name(tmp_path):
    one, two = docker_save(TARS, tags=["one:1"]), docker_save(TARS[:1], tags=["two:2"])
    both = one | two
    both["manifest.json"] = json.dumps([json.loads(part["manifest.json"])[0] for part in (one, two)]).encode()
    path = write_tar(tmp_path / "both.tar", both)
    right(il.load_image(f"docker-archive:{path}:one:1"))
    with pytest.raises(il.ImageNotFound, match=r"2 images.*\n.*one:1\n.*two:2"):
        il.load_image(path)


def test_platforms_are_chosen_from_and_attestations_are_none(tmp_path):
    layout = Layout()
    arm = layout.image(TARS, config=config_of(TARS) | {"architecture": "arm64", "variant": "v8"},
                       platform={"os": "linux", "architecture": "arm64", "variant": "v8"})  # fmt: skip
    amd = layout.image(TARS[:1], platform={"os": "linux", "architecture": "amd64"})
    proof = layout.image(TARS[:1], config={"architecture": "unknown", "os": "unknown"},
                         platform={"os": "unknown", "architecture": "unknown"},
                         annotations={"vnd.docker.reference.type": "attestation-manifest"})  # fmt: skip
    index = layout.document({"schemaVersion": 2, "manifests": [amd, arm, proof]}, OCI + "index.v1+json",
                            annotations={"org.opencontainers.image.ref.name": "v1"})  # fmt: skip
    layout.close(index)
    path = write_tar(tmp_path / "multi.tar", layout)
    with pytest.raises(il.ImageNotFound, match=r"2 images.*platform=.*\n.*linux/amd64.*\n.*linux/arm64/v8"):
        il.load_image(path)
    image = il.load_image(f"oci-archive:{path}:v1", platform="linux/arm64/v8")
    right(image)
    assert image.index_digest == index["digest"] and image.tags == ("v1",)
    assert len(il.load_image(path, platform="linux/amd64").layers) == 1
    with pytest.raises(il.ImageNotFound, match="linux/s390x"):
        il.load_image(path, platform="linux/s390x")


def test_indexes_that_fan_out_are_read_in_linear_time(tmp_path):
    """A thousand references to a thousand references … of eight levels are one image."""
    layout = Layout()
    descriptor = layout.image(TARS)
    for _ in range(7):
        descriptor = layout.document({"schemaVersion": 2, "manifests": [descriptor] * 60}, OCI + "index.v1+json")
    layout.close(*[descriptor] * 60)
    right(il.load_image(f"oci-archive:{write_tar(tmp_path / 'x.tar', layout)}"))


def test_a_diff_id_twice_and_links_to_a_layer(tmp_path):
    tars = [TARS[0], TARS[2], TARS[2]]
    members = docker_save(tars)
    image = il.load_image(write_tar(tmp_path / "x.tar", members))
    layers = il.layers(image)
    assert layers["diff_id"].nunique() == 2 and layers["chain_id"].nunique() == 3
    assert layers["size"].tolist() == [5003, 0, 0]
    assert il.history(image)["layer_index"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("media_type", ["application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                                        OCI + "layer.nondistributable.v1.tar+gzip",
                                        OCI + "layer.v1.tar+gzip+encrypted"])  # fmt: skip
def test_missing_layers_are_refused_by_name_and_history_is_read(tmp_path, media_type):
    layout = Layout()
    config = config_of(TARS[:1])
    blob = {"mediaType": media_type, "digest": "sha256:" + "7" * 64, "size": 9}
    manifest = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "layers": [blob],
                "config": layout.document(config, OCI + "config.v1+json")}  # fmt: skip
    layout.close(layout.document(manifest, OCI + "manifest.v1+json"))
    image = il.load_image(f"oci-archive:{write_tar(tmp_path / 'x.tar', layout)}")
    assert il.history(image)["created_by"].tolist() == ["RUN step 0"]
    assert il.layers(image)["content_size"].tolist() == [9] and il.layers(image)["size"].isna().all()
    with pytest.raises(il.ArchiveError, match=r"7777.*foreign|7777.*distributable|7777.*encrypted"):
        il.files(image)


def test_secrets_in_a_layers_annotations_are_masked(tmp_path):
    layout = Layout()
    token = "ghp_" + "abcdefghij" * 4
    blob = layout.blob(TARS[0], OCI + "layer.v1.tar", annotations={"source": f"https://x:{token}@git.example/a"})
    manifest = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "layers": [blob],
                "config": layout.document(config_of(TARS[:1]), OCI + "config.v1+json")}  # fmt: skip
    layout.close(layout.document(manifest, OCI + "manifest.v1+json"))
    path = write_tar(tmp_path / "x.tar", layout)
    assert token not in str([il.load_image(path).layers, il.load_image(path).manifest])
    assert token in il.load_image(path, redact=False).layers[0].annotations["source"]


def test_a_streamed_archive_of_endless_json_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_streams, "_SMALL_LIMIT", 1000)
    members = docker_save(TARS[:1]) | {f"{number}.json": b"[%s]" % (b" " * 300) for number in range(4)}
    with pytest.raises(il.ArchiveError, match="of JSON"):
        il.load_image(write_tar(tmp_path / "x.tar.gz", members, gzip.compress))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_layer_missing_from_the_archive_is_reported(tmp_path, pack):
    members = docker_save(TARS[:2])
    layer = json.loads(members["manifest.json"])[0]["Layers"][1]
    image = il.load_image(write_tar(tmp_path / "x.tar", {k: v for k, v in members.items() if k != layer}, pack))
    with pytest.raises(il.ArchiveError, match=f"holds no {layer}"):
        il.files(image)


def pax(key: bytes, value: bytes) -> bytes:
    record = b" %s=%s\n" % (key, value)
    record = b"%d%s" % (len(record) + 2, record)  # all of them have two digits
    return header(b"x", size=len(record), flag=b"x") + padded(record) + header(b"f", size=0, flag=b"0")


@pytest.mark.parametrize(
    ("hostile", "message"),
    [
        (pax(b"size", b"-5"), "an impossible size .-5. at offset"),
        (pax(b"size", b"9" * 30), "a PAX size that cannot be parsed at offset"),
        ((header(b"l", size=3, flag=b"L") + padded(b"abc")) * 3000, "the image is incomplete"),
    ],
    ids=["negative", "huge", "deep"],
)
def test_hostile_headers_of_a_streamed_archive_are_refused_at_once(tmp_path, hostile, message):
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(hostile + tar_of(docker_save(TARS[:1]))))
    with pytest.raises(il.ArchiveError, match=message):
        il.load_image(path)


@pytest.mark.parametrize(
    "reference, error, said",
    [
        ("", il.ImageNotFound, "empty reference"),
        ("oci:", il.ImageNotFound, "empty reference"),
        ("docker-archive:" + "a" * 5000, il.ImageNotFound, "no file or layout"),
        ("snapshot:" + "a" * 5000, il.ImageNotFound, "no file or layout"),
        ("a" * 5000, il.DaemonUnavailable, "no container engine"),
        ("docker:24", il.DaemonUnavailable, "no container engine"),  # an image that is called docker
        ("/", il.ArchiveError, "is a folder, but not an image"),
        ("..", il.ArchiveError, "is a folder, but not an image"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_an_invalid_reference_is_refused(monkeypatch, reference, error, said):
    monkeypatch.setenv("DOCKER_HOST", "unix:///none")
    with pytest.raises(error, match=said):
        il.load_image(reference)


def test_every_source_checks_the_platform():
    assert il.load_image("example:whiteout-before", platform="linux/amd64").platform == "linux/amd64"
    with pytest.raises(il.ImageNotFound, match="is for linux/amd64, not for linux/arm64"):
        il.load_image("example:whiteout-before", platform="linux/arm64")


def history_documents() -> dict[str, str]:
    folder = SHARED / "history"
    return {path.name: path.read_text() for path in sorted(folder.glob("*.json"))} if folder.is_dir() else {}


def is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


DOCUMENTS = history_documents()
OBJECTS = [name for name, text in DOCUMENTS.items() if is_object(text)]


@pytest.mark.parametrize("name", sorted(DOCUMENTS.keys() - set(OBJECTS)))
def test_documents_that_are_not_json_objects_are_refused(tmp_path, name):
    """Lists and streams of documents, as engines answer: in the place of a config and of a manifest."""
    data = DOCUMENTS[name].encode()
    for place in ("config", "manifest"):
        layout = Layout()
        described = layout.blob(data, OCI + f"{place}.v1+json")
        if place == "config":
            manifest = {"schemaVersion": 2, "config": described, "layers": []}
            described = layout.document(manifest, OCI + "manifest.v1+json")
        layout.close(described)
        with pytest.raises(il.ImagelabError, match=r"not JSON|JSON object"):
            il.load_image(f"oci-archive:{write_tar(tmp_path / 'x.tar', layout)}")


@pytest.mark.parametrize("name", OBJECTS)
def test_every_real_document_loads_or_is_refused_by_name(tmp_path, name):
    """Each config, manifest and index of the corpus, where a layout holds such a thing."""
    document = json.loads(DOCUMENTS[name])
    outcomes = []
    for kind in ("config.v1+json", "manifest.v1+json", "index.v1+json"):
        layout = Layout()
        if kind.startswith("config"):
            ids = document.get("rootfs", {}).get("diff_ids", []) if isinstance(document.get("rootfs"), dict) else []
            layers = [{"mediaType": OCI + "layer.v1.tar", "digest": "sha256:" + "0" * 64, "size": 1} for _ in ids]
            manifest = {"schemaVersion": 2, "config": layout.document(document, OCI + kind), "layers": layers}
            described = layout.document(manifest, OCI + "manifest.v1+json")
        elif kind.startswith("manifest"):
            described = layout.document(document, document.get("mediaType") or OCI + kind)
            if isinstance(document.get("config"), dict):  # as their layouts hold them: with a config
                ids = [sha256(str(number).encode()) for number, _ in enumerate(document.get("layers", []))]
                config = layout.document(
                    config_of([]) | {"rootfs": {"type": "layers", "diff_ids": ids}}, OCI + "config.v1+json"
                )
                document["config"] |= {"digest": config["digest"], "size": config["size"]}
                described = layout.document(document, document.get("mediaType") or OCI + kind)
        else:
            described = layout.document(document, document.get("mediaType") or OCI + kind)
        layout.close(described)
        try:
            image = il.load_image(f"oci-archive:{write_tar(tmp_path / 'x.tar', layout)}")
            il.history(image), il.layers(image), il.settings(image)
            outcomes.append(len(image.history) or len(image.layers))
        except il.ImagelabError as error:
            assert len(str(error)) > 40
            outcomes.append(0)
    if "rootfs" in document and "history" in document:
        assert outcomes[0] == len(document["history"])
    if document.get("schemaVersion") == 2 and isinstance(document.get("layers"), list) and (
            "artifactType" not in document and "artifact" not in name and "encrypted" not in name
            and "everything" not in name):  # fmt: skip
        assert outcomes[1] == len(document["layers"]), name


def test_members_named_by_their_blobs_digest(tmp_path):
    """As go-containerregistry (crane, ko, rules_oci) and jib save images; another .tar.gz has no digest that is known."""
    members = docker_save(TARS)
    (entry,) = json.loads(members["manifest.json"])
    packed = [gzip.compress(members.pop(name)) for name in entry["Layers"]]
    entry["Layers"] = [f"{sha256(packed[0])[7:]}.tar.gz", "layer1.tar.gz", f"{sha256(TARS[2])[7:]}.tar"]
    members |= dict(zip(entry["Layers"], [*packed[:2], TARS[2]], strict=True))
    members["manifest.json"] = json.dumps([entry]).encode()
    image = il.load_image(write_tar(tmp_path / "made.tar", members))
    right(image)
    assert [layer.digest for layer in image.layers] == [sha256(packed[0]), None, sha256(TARS[2])]
    assert [bool(layer.media_type) for layer in image.layers] == [False, False, True]


def test_the_keys_of_manifest_json_are_read_in_any_case(tmp_path):
    """As Docker does."""
    members = docker_save(TARS)
    (entry,) = json.loads(members["manifest.json"])
    members["manifest.json"] = json.dumps([{key.lower(): value for key, value in entry.items()}]).encode()
    right(il.load_image(write_tar(tmp_path / "lower.tar", members)))
    members["manifest.json"] = b"[{}]"
    with pytest.raises(il.ArchiveError, match="no Config"):
        il.load_image(write_tar(tmp_path / "empty.tar", members))


def test_an_archive_whose_name_is_not_utf8(tmp_path):
    image = il.load_image(write_tar(tmp_path / os.fsdecode(b"made\xff.tar"), docker_save(TARS)))
    assert image.reference.endswith("made\\xff.tar")
    assert il.files(image)["reference"].unique().tolist() == [image.reference]


def test_a_missing_file_has_a_hint(tmp_path):
    hidden = [layer_tar([(b"etc/motd", "file", b"hello")]), layer_tar([(b"etc/.wh.motd", "file", b"")])]
    archive = write_tar(tmp_path / "hidden.tar", docker_save(hidden))
    with pytest.raises(il.ImageNotFound, match=r"Layer 0 stores it.*layer_index=0"):
        il.read_file(archive, "/etc/motd")
    with pytest.raises(il.ImageNotFound, match=r"Similar names: /etc/motd"):
        il.read_file(archive, "/etc/mot", 0)
    with pytest.raises(il.ImageNotFound, match=r"il\.files lists"):
        il.read_file(archive, "/x/y")


def test_a_layer_is_read_although_another_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGELAB_CACHE_DIR", str(tmp_path / "cache"))
    members = docker_save([layer_tar([(b"a", "file", b"here")]), layer_tar([(b"b", "file", b"gone")])])
    del members[json.loads(members["manifest.json"])[0]["Layers"][1]]
    archive = write_tar(tmp_path / "part.tar", members)
    assert il.read_file(archive, "/a", 0) == b"here"
    for digests in (False, "copies"):
        with pytest.raises(il.ArchiveError, match="incomplete"):
            il.files(archive, digests=digests)
