"""Reaching engines: ssh, TLS, contexts, several platforms; and engines that answer nonsense."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import stat
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import imagelab as il
from imagelab.core.errors import ArchiveError, DaemonUnavailable
from imagelab.images.sources import transfer
from imagelab.images.sources.daemon import inspect_containers
from imagelab.images.sources.endpoint import endpoint
from tests.images.sources.test_forms import TARS
from tests.support.images import OCI, Layout, config_of, write_tar

ID = "sha256:" + "1" * 64
GOOD = {
    "/version": {"ApiVersion": "1.44", "Version": "29.0"},
    "/info": {"DriverStatus": None},
    "/images/app/json": {"Id": ID, "RootFS": {"Layers": [ID]}, "Config": {}, "Os": "linux", "Architecture": "amd64"},
    f"/images/{ID}/history": [{"Created": 1, "CreatedBy": "RUN x # buildkit", "Size": 5}],
    "/images/json": [{"Id": ID, "RepoTags": ["app:latest"], "Created": 1, "Size": 5}],
    "/containers/json": [],
}


@pytest.fixture
def engine_of(monkeypatch):
    """Start an engine that gives these answers instead of the good ones: JSON, or bytes as they are."""
    servers = []

    def start(answers: dict, **headers: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                version, _, rest = path.removeprefix("/v").partition("/")
                path = path if path == "/version" else "/" + rest
                refused = path == self.path.partition("?")[0] != "/version" or (rest and version != "1.44")
                answer = (GOOD | answers).get(path, {"message": "no such thing"})
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(400 if refused else 200 if path in GOOD | answers else 404)
                for name, value in ({"Content-Length": str(len(data))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")

    yield start
    for server in servers:
        server.shutdown()


def test_docker_29_whose_api_begins_at_1_44(engine_of):
    engine_of({})
    image = il.load_image("app")
    assert image.provenance["engine"] == "29.0" and image.history[0].created_by == "RUN x # buildkit"
    assert il.list_images()["reference"].tolist() == ["app:latest"] and inspect_containers() == []


NONSENSE = [None, 7, "x", [], {}, [None], [7], {"a": []}, b"", b"{", b"[" * 100_000, b'{"Id": "\\ud800"}', True, 1e308]


@pytest.mark.parametrize("path", [path for path in GOOD if path != "/version"])
@pytest.mark.parametrize("answer", NONSENSE, ids=lambda value: repr(value)[:12])
def test_malformed_answers_of_an_engine_are_read_or_reported(engine_of, path, answer):
    engine_of({path: answer})
    for ask in (lambda: il.history("app"), lambda: il.settings("app"), il.list_images, inspect_containers):
        try:
            ask()
        except il.ImagelabError:
            continue


@pytest.mark.parametrize(
    "key", ["Id", "RootFS", "Config", "Created", "Os", "RepoTags", "Manifests", "Descriptor", "GraphDriver"]
)
@pytest.mark.parametrize(
    "value", [None, 7, [7], {"Layers": 7}, "\ud800", -1, 1e300, [[{}]], 10**30], ids=lambda value: repr(value)[:12]
)
def test_malformed_configs_of_an_engine(engine_of, key, value):
    path = "/images/app/json"
    engine_of({path: GOOD[path] | {key: value}, "/images/json": [GOOD["/images/json"][0] | {key: value}]})
    for ask in (lambda: il.history("app"), il.list_images):
        try:
            ask()
        except il.ImagelabError:
            continue


def test_a_server_that_is_not_an_engine(engine_of):
    for answer in (b"<html>", {"ApiVersion": None}, {"ApiVersion": "x"}, []):
        engine_of({"/version": answer})
        with pytest.raises(DaemonUnavailable):
            il.load_image("app")


def test_an_endless_answer(engine_of, monkeypatch):
    engine_of({"/images/app/json": b" " * 100_000})
    monkeypatch.setattr("imagelab.images.sources.daemon._ANSWER_LIMIT", 50_000)
    with pytest.raises(ArchiveError, match="more than 50,000 bytes"):
        il.load_image("app")


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", b"HTTP/1"]
)
@pytest.mark.parametrize("by", ["tcp", "unix"])
def test_an_engine_that_sends_its_headers_or_its_body_byte_by_byte(tmp_path, monkeypatch, by, head):
    server = socket.create_server(("127.0.0.1", 0)) if by == "tcp" else socket.socket(socket.AF_UNIX)
    address = f"tcp://127.0.0.1:{server.getsockname()[1]}" if by == "tcp" else f"unix://{tmp_path}/s"
    if by == "unix":
        server.bind(f"{tmp_path}/s")
        server.listen()
    monkeypatch.setenv("DOCKER_HOST", address)
    monkeypatch.setattr(transfer, "GRACE", 0.05)
    monkeypatch.setattr(transfer, "SLOWEST", 1 << 40)

    def trickle() -> None:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(head)
            while True:
                connection.sendall(b"x")
                time.sleep(0.005)

    threading.Thread(target=trickle, daemon=True).start()
    with server, pytest.raises(DaemonUnavailable, match="came too slowly: "):
        il.load_image("app")


def test_contexts_where_there_is_no_config_json(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    assert endpoint().host is None
    command = ["docker", "context", "create", "other", "--docker", "host=ssh://me@far"]
    if shutil.which("docker"):
        subprocess.run(command, check=True, capture_output=True)
        monkeypatch.setenv("DOCKER_CONTEXT", "other")
        assert endpoint() == ("ssh://me@far", None, True)
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    with pytest.raises(DaemonUnavailable, match="no Docker context 'gone'"):
        endpoint()
    (tmp_path / "config.json").write_text("{")
    monkeypatch.delenv("DOCKER_CONTEXT")
    with pytest.raises(DaemonUnavailable, match=r"config\.json cannot be read"):
        endpoint()


def test_an_ssh_host_that_does_not_answer(monkeypatch, tmp_path):
    (tmp_path / "ssh").write_text("#!/bin/sh\nexit 255\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("DOCKER_HOST", "ssh://nowhere")
    with pytest.raises(DaemonUnavailable, match="try `ssh HOST docker version`"):
        il.load_image("app")


LOADED = f"imagelab-test/platforms-{os.getpid()}"


@pytest.fixture
def platforms(modern, tmp_path):
    """An image of two platforms in the containerd store."""
    layout = Layout()
    images = []
    for tar, name in zip(TARS[:2], ("amd64", "arm64"), strict=True):
        platform = {"platform": {"os": "linux", "architecture": name}}
        images.append(layout.image([tar], config=config_of([tar], architecture=name), **platform))
    index = layout.document({"schemaVersion": 2, "manifests": images}, OCI + "index.v1+json")
    layout.close(index | {"annotations": {"io.containerd.image.name": f"docker.io/{LOADED}:1"}})
    modern.docker("load", "-i", write_tar(tmp_path / "x.tar", layout))
    yield modern, f"{LOADED}:1"
    modern.docker("rmi", "-f", f"{LOADED}:1")


@pytest.mark.engine
def test_every_platform_of_an_image_in_the_engine(platforms, monkeypatch):
    engine, name = platforms
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    images = [il.load_image(name, platform=f"linux/{platform}") for platform in ("amd64", "arm64")]
    assert [image.config["architecture"] for image in images] == ["amd64", "arm64"]
    assert len({image.manifest_digest for image in images}) == 2 and len({image.index_digest for image in images}) == 1
    assert [il.files(image)["size"].tolist() for image in images] == [[100], [200]]
    assert [il.load_image(name, platform=image.platform).image_id is None for image in images] == [False, False]
    assert il.read_file(images[1], "/file") == b"x" * 200
    with pytest.raises(il.ImageNotFound, match=r"no image for linux/s390x(.|\n)*linux/arm64"):
        il.load_image(name, platform="linux/s390x")


@pytest.mark.engine
def test_an_engine_over_ssh(modern, monkeypatch, tmp_path):
    """A stand-in for the ssh command, which runs the remote command here."""
    docker = shutil.which("docker", path=modern.env["PATH"])
    scripts = {
        "ssh": 'for last; do :; done\nexec sh -c "$last"',
        "docker": f'DOCKER_HOST={modern.host} exec {docker} "$@"',
    }
    for name, text in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("DOCKER_HOST", "ssh://someone@far:2222")
    monkeypatch.setenv("IMAGELAB_CACHE_DIR", "")
    assert "/bin/busybox" in set(il.files("localhost/busybox:static")["path"])


@pytest.fixture
def tls_engine(modern, tmp_path):
    """The engine behind TLS on loopback, as ``dockerd --tlsverify`` listens; gives its address."""

    def openssl(*command: str) -> None:
        subprocess.run(["openssl", *command], cwd=tmp_path, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca-key.pem", "-out", "ca.pem", "-subj", "/CN=ca",
            "-addext", "basicConstraints=critical,CA:TRUE")  # fmt: skip
    openssl(
        "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=localhost"
    )
    (tmp_path / "names").write_text("subjectAltName=IP:127.0.0.1")
    openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial",
            "-out", "cert.pem", "-extfile", "names")  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    context.load_verify_locations(tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def serve() -> None:
        while True:
            try:
                outside = context.wrap_socket(listener.accept()[0], server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            inside = socket.socket(socket.AF_UNIX)
            inside.connect(modern.host.removeprefix("unix://"))
            for ends in ((outside, inside), (inside, outside)):
                threading.Thread(target=pump, args=ends, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


@pytest.mark.engine
def test_an_engine_behind_tls(tls_engine, monkeypatch, tmp_path):
    """Beside REQUESTS_CA_BUNDLE, which names the registries' authorities; from the environment and from a context."""
    monkeypatch.setenv(
        "REQUESTS_CA_BUNDLE", ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    )
    monkeypatch.setenv("DOCKER_HOST", tls_engine)
    with pytest.raises(DaemonUnavailable):
        il.load_image("localhost/busybox:static")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    assert il.load_image("localhost/busybox:static").platform == "linux/amd64"
    for name in ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    files = ",".join(f"{name}={tmp_path}/{name}.pem" for name in ("ca", "cert", "key"))
    command = ["docker", "context", "create", "secure", "--docker", f"host={tls_engine},{files}"]
    subprocess.run(command, check=True, capture_output=True)
    monkeypatch.setenv("DOCKER_CONTEXT", "secure")
    assert il.load_image("localhost/busybox:static").platform == "linux/amd64"
