"""Images of a real registry, filled by skopeo and by both engines: read without pulling, and as they were."""

import gzip
import hashlib
import io
import json
import pickle
import subprocess
import tarfile
from pathlib import Path

import pandas as pd
import pytest

import imagelab as il
from imagelab.core.errors import ArchiveError, ImagelabError, ImageNotFound
from imagelab.core.memory import forget
from imagelab.images.sources.registry import client as registry_client
from imagelab.images.sources.registry.auth import challenges, credentials
from imagelab.images.sources.registry.client import RegistryUnavailable
from imagelab.images.sources.registry.source import PLATFORMS_COLUMNS, TAGS_COLUMNS, list_platforms, list_tags
from tests.support.registries import PASSWORD, USER, Proxy, Registry

pytestmark = [pytest.mark.registry, pytest.mark.xdist_group("registry")]


def layout(folder, layers, *, created_by="COPY . / # buildkit"):
    """A small OCI layout: each layer is a dict of path to content."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, kind: str) -> dict:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    diff_ids, descriptors = [], []
    for files in layers:
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as archive:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        diff_ids.append("sha256:" + hashlib.sha256(raw.getvalue()).hexdigest())
        packed = io.BytesIO()
        with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, compresslevel=1) as out:
            out.write(raw.getvalue())
        descriptors.append(put(packed.getvalue(), "layer.v1.tar+gzip"))
    history = [{"created": "2026-01-01T00:00:00Z", "created_by": created_by, "comment": "buildkit"} for _ in layers]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["TOKEN=ghp_abcdefghijklmnopqrstuvwxyz0123456789"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": history,
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(json.dumps(config).encode(), "config.v1+json"),
        "layers": descriptors,
        "annotations": {"org.opencontainers.image.base.name": "scratch"},
    }
    index = {"schemaVersion": 2, "manifests": [put(json.dumps(manifest).encode(), "manifest.v1+json")]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """No login, no waiting, an empty cache, and no connection of an earlier test."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("IMAGELAB_CACHE_DIR", str(tmp_path / "cache"))
    forget()
    monkeypatch.setattr(registry_client, "BACK_OFF", 0.001)
    registry_client.connect.cache_clear()


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Holds `small` (two layers) and `small:again`."""
    served = Registry(tmp_path_factory.mktemp("registry"))
    noise = bytes(range(256)) * 4000
    made = layout(tmp_path_factory.mktemp("layout") / "small", [{"etc/a": b"a" * 5000, "big": noise}, {"etc/a": b"b"}])
    served.copy(f"oci:{made}", "small:v1")
    served.copy(f"oci:{made}", "small:v2")
    served.layout = made
    yield served
    served.stop()


def login(tmp_path, host, auth="c29tZW9uZTpvcGVuIHNlc2FtZQ==", **more):
    folder = tmp_path / "docker"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}} | more))


@pytest.mark.parametrize(
    "reference",
    ["docker://", "docker://h.io/", "docker://h.io/UPPER", "docker://h.io/a:b:c", "docker://h.io/a/../b", "docker://h.io//a",
     "docker://h.io/a@sha256:12", "docker://h.io/a@md5:" + "0" * 32, "docker://h.io/a?x=1", "docker://a b/c",
     "docker://h.io:99x/a", "docker://h.io/a\n"],
)  # fmt: skip
def test_an_invalid_reference_is_refused(reference):
    with pytest.raises(ImageNotFound):
        il.load_image(reference)


def test_a_password_in_a_name_is_not_repeated():
    with pytest.raises(ImageNotFound) as caught:
        il.load_image("docker://someone:hunter22@registry.example/app:v1")
    assert "hunter22" not in str(caught.value)


def test_loading_reads_manifest_and_config_only(registry):
    proxy = Proxy(registry.host)
    image = il.load_image(f"docker://{proxy.host}/small:v1")
    local = il.load_image(f"oci:{registry.layout}")
    assert proxy.count("/blobs/") == 1  # the config
    assert image.layers == local.layers and image.history == local.history and image.config == local.config
    assert (image.image_id, image.manifest_digest) == (local.image_id, local.manifest_digest)
    assert image.annotations["org.opencontainers.image.base.name"] == "scratch"
    assert "ghp_" not in repr(image.config) and image.redactions
    layers = il.layers(image)
    assert layers["content_size"].gt(0).all() and layers["size"].isna().all()
    assert len(il.history(image)) == 2 and proxy.count("/blobs/") == 1
    proxy.stop()


def test_files_stream_only_what_the_cache_does_not_know(registry):
    proxy = Proxy(registry.host)
    image = il.load_image(f"docker://{proxy.host}/small:v1")
    files = il.files(image, digests=True)
    expected = il.files(f"oci:{registry.layout}", digests=True)
    pd.testing.assert_frame_equal(files.drop(columns="reference"), expected.drop(columns="reference"))
    assert proxy.count("/blobs/") == 3
    again = il.load_image(f"docker://{proxy.host}/small:v2")
    assert len(il.files(again)) == 3 and proxy.count("/blobs/") == 4  # the config once more, no layer
    assert il.read_file(image, "/etc/a") == b"b"
    assert il.read_file(image, "/etc/a", 0) == b"a" * 5000
    proxy.stop()


def test_by_digest_and_after_pickling(registry):
    tagged = il.load_image(f"docker://{registry.host}/small:v1")
    image = il.load_image(f"docker://{registry.host}/small@{tagged.manifest_digest}")
    assert image.image_id == tagged.image_id and image.tags == ()
    assert len(il.files(pickle.loads(pickle.dumps(image)))) == 3


def test_tags_are_listed(registry):
    frame = list_tags(f"docker://{registry.host}/small")
    assert frame.dtypes.astype(str).to_dict() == TAGS_COLUMNS
    assert list(frame["tag"]) == ["v1", "v2"]
    assert il.load_image(frame["reference"][1]).platform == "linux/amd64"


def test_a_missing_image_is_reported_with_similar_names(registry):
    with pytest.raises(ImageNotFound, match=r"small holds no v3.*Similar names: v[12]"):
        il.load_image(f"docker://{registry.host}/small:v3")
    with pytest.raises(ImageNotFound, match="nothing-here"):
        il.load_image(f"docker://{registry.host}/nothing-here:v1")
    with pytest.raises(ImageNotFound):
        list_tags(f"docker://{registry.host}/nothing-here")


def test_platforms_attestations_and_artifacts_of_an_index(registry):
    one = il.load_image(f"docker://{registry.host}/small:v1")
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest, _ = registry_client.connect(registry.host).read("small", f"manifests/{one.manifest_digest}", [kind])
    arm = layout(registry.layout.parent / "arm", [{"arm": b"1"}])
    registry.copy(f"oci:{arm}", "small:arm")
    other = il.load_image(f"docker://{registry.host}/small:arm")
    statement = json.loads(manifest) | {"config": one.manifest["config"]}
    statement["layers"] = [
        one.manifest["layers"][0] | {"annotations": {"in-toto.io/predicate-type": "https://spdx.dev/Document"}}
    ]
    registry.put_manifest("small:attestation", statement, kind)
    attestation = digest_of_tag(registry, "attestation")

    def entry(image, **more):
        return {"mediaType": kind, "digest": image.manifest_digest, "size": 1} | more

    about = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": one.manifest_digest}
    size = len(json.dumps(statement))
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            entry(one, platform={"os": "linux", "architecture": "amd64"}, size=len(manifest), annotations={"a": "b"}),
            entry(other, platform={"os": "linux", "architecture": "arm64", "variant": "v8"}, size=1),
            {"mediaType": kind, "digest": attestation, "size": size, "annotations": about}
            | {"platform": {"os": "unknown", "architecture": "unknown"}},
        ],
    }
    registry.put_manifest("small:many", index, index["mediaType"])
    reference = f"docker://{registry.host}/small:many"
    frame = list_platforms(reference)
    assert frame.dtypes.astype(str).to_dict() == PLATFORMS_COLUMNS
    assert list(frame["kind"]) == ["image", "image", "attestation"]
    assert list(frame["platform"].dropna()) == ["linux/amd64", "linux/arm64/v8"]
    assert frame["about"][2] == one.manifest_digest and frame["predicates"][2] == "https://spdx.dev/Document"
    with pytest.raises(ImageNotFound, match=r"2 images: choose one with platform=(.|\n)*linux/arm64/v8"):
        il.load_image(reference)
    image = il.load_image(reference, platform="linux/amd64")
    assert image.manifest_digest == one.manifest_digest and image.index_digest and image.annotations["a"] == "b"
    assert image.provenance["attestations"] == [attestation]
    assert il.load_image(frame["pinned"][0]).image_id == one.image_id
    assert list(list_platforms(f"docker://{registry.host}/small:v1")["kind"]) == ["image"]


def test_the_provenance_beside_an_image_is_read(registry):
    archive = Path(__file__).resolve().parents[2] / "data/images/provenance-max.oci.tar"
    registry.copy(f"oci-archive:{archive}", "provenance:max", "--all")
    image = il.load_image(f"docker://{registry.host}/provenance:max")
    assert set(il.history(image)["base_rule"]) == {"provenance"}
    stored, local = ((one.source.attestations(one)) for one in (image, il.load_image(archive)))
    assert {kind: read() for kind, read in stored.items()} == {kind: read() for kind, read in local.items()} != {}


def test_indexes_that_name_one_another_many_times_are_read_once(registry):
    kind = "application/vnd.oci.image.index.v1+json"
    one = il.load_image(f"docker://{registry.host}/small:v1")
    inner = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": one.manifest_digest, "size": 1}
    for level in range(3):
        registry.put_manifest(
            f"small:level{level}", {"schemaVersion": 2, "manifests": [inner] * 5, "level": level}, kind
        )
        inner = {"mediaType": kind, "digest": digest_of_tag(registry, f"level{level}"), "size": 1}
    assert len(list_platforms(f"docker://{registry.host}/small:level2")) == 5
    assert il.load_image(f"docker://{registry.host}/small:level2").image_id == one.image_id


def digest_of_tag(registry, tag):
    data, _ = registry_client.connect(registry.host).read(
        "small", f"manifests/{tag}", ["application/vnd.oci.image.manifest.v1+json"]
    )
    return "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.mark.engine
def test_an_image_pushed_by_an_engine_is_the_same_image(engine, registry):
    name = f"{registry.host}/pushed-{engine.kind}:v1"
    engine.docker(
        "build", "--network=none", "-t", name, "-", DOCKER_BUILDKIT="1",
        input="FROM localhost/busybox:static\nRUN echo one > /one\nRUN rm /one\nCMD [\"sh\"]\n",
    )  # fmt: skip
    try:
        engine.docker("push", name)
        saved = engine.docker("image", "inspect", name)
        image = il.load_image(f"docker://{name}", platform="linux/amd64")
        assert [layer.diff_id for layer in image.layers] == json.loads(saved)[0]["RootFS"]["Layers"]
        waste = il.waste(image)
        assert list(waste["path"]) == ["/one"] and list(waste["bytes"]) == [4]
        assert list(list_platforms(f"docker://{name}")["kind"]).count("image") == 1
    finally:
        engine.docker("rmi", name)


def test_basic_authentication(tmp_path, registry):
    guarded = Registry(tmp_path, auth=True)
    try:
        guarded.copy(f"oci:{registry.layout}", "small:v1", f"--dest-creds={USER}:{PASSWORD}")
        reference = f"docker://{guarded.host}/small:v1"
        with pytest.raises(RegistryUnavailable, match=r"401.*no credentials are known.*docker login"):
            il.load_image(reference)
        login(tmp_path, guarded.host, auth="c29tZW9uZTp3cm9uZw==")
        with pytest.raises(RegistryUnavailable, match="credentials are not enough"):
            il.load_image(reference)
        login(tmp_path, guarded.host)
        assert len(il.files(reference)) == 3
        assert list(list_tags(reference)["tag"]) == ["v1"]
    finally:
        guarded.stop()


def test_tls_with_an_own_certificate(tmp_path, registry, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    secure = Registry(tmp_path, tls=(certificate, key))
    try:
        secure.copy(f"oci:{registry.layout}", "small:v1")
        with pytest.raises(RegistryUnavailable, match="REQUESTS_CA_BUNDLE"):
            il.load_image(f"docker://{secure.host}/small:v1")
        registry_client.connect.cache_clear()
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert len(il.files(f"docker://{secure.host}/small:v1")) == 3
    finally:
        secure.stop()


def test_plain_http_only_where_it_is_allowed(monkeypatch):
    assert registry_client.may_be_plain("localhost:5000") and registry_client.may_be_plain("127.1.2.3")
    assert registry_client.may_be_plain("[::1]:5000") and not registry_client.may_be_plain(
        "localhost.evil.example:5000"
    )
    assert not registry_client.may_be_plain("10.0.0.1:5000")
    with pytest.raises(RegistryUnavailable, match="IMAGELAB_INSECURE_REGISTRIES"):
        registry_client._Session().ask("GET", "http://registry.example/v2/", None)
    monkeypatch.setenv("IMAGELAB_INSECURE_REGISTRIES", "a:1, registry.example:5000")
    assert registry_client.may_be_plain("registry.example:5000") and not registry_client.may_be_plain(
        "registry.example"
    )


@pytest.mark.parametrize(
    "config, expected",
    [
        ({"auths": {"h:1": {"auth": "dTpw"}}}, {"user": "u", "password": "p"}),
        ({"auths": {"https://h:1/v1/": {"auth": "dTpw"}}}, {"user": "u", "password": "p"}),
        ({"auths": {"h:1": {"identitytoken": "t"}}}, {"refresh": "t"}),
        ({"auths": {"other": {"auth": "dTpw"}}}, None),
        ({"auths": {"h:1": {}}}, None),
        ({"auths": {"h:1": {"auth": "%%"}}}, None),
        ({"auths": {"h:1": {"auth": 7}}}, None),
        ({"auths": {"h:1": None}}, None),
        ({"auths": [1]}, None),
        ([], None),
        ({"credsStore": "fake"}, {"user": "helped", "password": "h:1"}),
        ({"credHelpers": {"h:1": "fake"}}, {"user": "helped", "password": "h:1"}),
        ({"credHelpers": {"other": "fake"}, "auths": {"h:1": {"auth": "dTpw"}}}, {"user": "u", "password": "p"}),
        ({"credsStore": "absent", "auths": {"h:1": {"auth": "dTpw"}}}, {"user": "u", "password": "p"}),
        ({"credsStore": "../fake"}, None),
        ({"credsStore": 3}, None),
    ],
)
def test_credentials_are_found_where_docker_login_stores_them(config, expected, tmp_path, monkeypatch):
    helper = tmp_path / "docker-credential-fake"
    helper.write_text('#!/bin/sh\nread server\nprintf \'{"Username":"helped","Secret":"%s"}\' "$server"\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "config.json").write_text(json.dumps(config))
    assert credentials("h:1") == expected


@pytest.mark.parametrize(
    "variable, value, place",
    [
        ("XDG_RUNTIME_DIR", "run", "run/containers/auth.json"),
        ("REGISTRY_AUTH_FILE", "mine.json", "mine.json"),
        ("HOME", "home", "home/.config/containers/auth.json"),
    ],
)
def test_credentials_of_podman_login_are_the_fallback(variable, value, place, tmp_path, monkeypatch):
    monkeypatch.setenv(variable, str(tmp_path / value))
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text('{"auths": {"h:1": {"auth": "dTpw"}}}')
    login(tmp_path, "other", auth="ZDpk")
    assert credentials("h:1") == {"user": "u", "password": "p"}
    login(tmp_path, "h:1", auth="ZDpk")
    assert credentials("h:1") == {"user": "d", "password": "d"}


def test_docker_hub_has_its_own_name_in_the_configuration(tmp_path):
    login(tmp_path, "https://index.docker.io/v1/", auth="dTpw")
    assert credentials("docker.io") == {"user": "u", "password": "p"}


def test_several_challenges_in_one_header():
    header = 'Basic realm="a, b", Bearer realm="https://t.example/x",service=s,scope="repository:a:pull,push"'
    assert challenges(header) == {
        "basic": {"realm": "a, b"},
        "bearer": {"realm": "https://t.example/x", "service": "s", "scope": "repository:a:pull,push"},
    }


def test_an_unreachable_registry():
    with pytest.raises(RegistryUnavailable, match="keeps failing"):
        il.load_image("docker://localhost:1/small:v1")
    assert issubclass(RegistryUnavailable, ImagelabError) and not issubclass(RegistryUnavailable, ArchiveError)


def test_a_snapshot_is_pushed_and_read_back(registry, tmp_path, monkeypatch):
    image = il.load_image("example:whiteout-before")
    reference = f"docker://{registry.host}/snapshots/app:main"
    pinned = il.push_snapshot(image, reference)
    for name in (reference, pinned):
        back = il.load_image(name)
        pd.testing.assert_frame_equal(
            il.files(back).drop(columns="reference"), il.files(image).drop(columns="reference")
        )
        assert back.reference == name and back.transport == "snapshot"
    assert il.push_snapshot(image, reference) == pinned
    manifest = json.loads(connect_read(registry.host, "snapshots/app", "main"))
    assert manifest["artifactType"] == "application/vnd.imagelab.snapshot.v1"
    assert [layer["mediaType"] for layer in manifest["layers"]] == ["application/vnd.imagelab.snapshot.v1+parquet"]
    assert il.check_limits(image, against=reference, max_growth=0)["passed"].all()
    with pytest.raises(ImageNotFound, match="a digest is the result of a push"):
        il.push_snapshot(image, pinned)


def connect_read(host, repository, tag):
    return registry_client.connect(host).read(
        repository, f"manifests/{tag}", ["application/vnd.oci.image.manifest.v1+json"]
    )[0]


def test_a_push_needs_credentials_and_says_so(tmp_path):
    (tmp_path / "served").mkdir()
    served = Registry(tmp_path / "served", auth=True)
    try:
        reference = f"docker://{served.host}/snapshots/app:main"
        with pytest.raises(RegistryUnavailable, match="docker login"):
            il.push_snapshot("example:whiteout-before", reference)
        login(tmp_path, served.host)
        registry_client.connect.cache_clear()
        assert il.push_snapshot("example:whiteout-before", reference).startswith(
            f"docker://{served.host}/snapshots/app@sha256:"
        )
    finally:
        served.stop()


@pytest.mark.parametrize("layers", [[], [{"mediaType": "application/octet-stream"}], "none"])
def test_an_artifact_without_a_snapshot_is_named(registry, layers):
    from imagelab.images.sources.registry import artifacts

    manifest = {"schemaVersion": 2, "artifactType": artifacts.ARTIFACT_TYPE, "layers": layers}
    with pytest.raises(ArchiveError):
        artifacts.load("docker://x", registry_client.connect(registry.host), None, manifest)
