"""Faults put between: cut connections, wrong digests, 429, 500, slow answers, truncated bodies, redirects, tokens.

Each ends in the right numbers or in a clear error; never in a wrong number or a half-cached layer.
"""

import contextlib
import gzip
import hashlib
import http.server
import itertools
import json
import socket
import ssl
import subprocess
import threading
import time

import pytest

import imagelab as il
from imagelab.core.errors import ArchiveError, ImageNotFound
from imagelab.images.layers.cache import cache_info, cached
from imagelab.images.sources import transfer
from imagelab.images.sources.registry import client as registry_client
from imagelab.images.sources.registry.auth import challenges
from imagelab.images.sources.registry.client import RegistryUnavailable
from imagelab.images.sources.registry.source import list_tags
from tests.images.sources.test_registry import fresh, login, registry  # noqa: F401  # fixtures
from tests.support.registries import Fault, Proxy

pytestmark = [pytest.mark.registry, pytest.mark.xdist_group("registry")]


@pytest.fixture
def proxy(registry):  # noqa: F811
    made = Proxy(registry.host)
    made.reference = f"docker://{made.host}/small:v1"
    made.true = il.load_image(f"oci:{registry.layout}")
    yield made
    made.stop()


def on(word, fault, times=99):
    """Spoil the first answers to paths that hold a word."""
    return lambda path, asked: fault if word in path and asked <= times else None


def layer(proxy, index=0):
    return proxy.true.layers[index].digest.removeprefix("sha256:")


def assert_right(proxy):
    assert len(il.files(il.load_image(proxy.reference))) == 3


TEMPORARY = {
    "500": Fault(500),
    "503 and when to come back": Fault(503, {"Retry-After": "0"}),
    "429": Fault(429, {"Retry-After": "0"}),
    "429 without a time": Fault(429),
    "cut at once": Fault(cut=lambda body: b""),
    "cut in the middle": Fault(cut=lambda body: body[: len(body) // 2]),
    "truncated, with a length that fits": Fault(body=lambda body: body[: len(body) // 2]),
}


@pytest.mark.parametrize("name", TEMPORARY)
def test_transient_errors_are_retried(proxy, name):
    proxy.fault = on(layer(proxy), TEMPORARY[name], times=2)
    assert_right(proxy)
    assert proxy.count(layer(proxy)) == 3


def test_an_interrupted_layer_is_resumed(proxy):
    proxy.fault = on(layer(proxy), Fault(cut=lambda body: body[:3000]), times=1)
    assert_right(proxy)
    first, second = (headers for path, headers in proxy.asked if layer(proxy) in path)
    assert "Range" not in first and second["Range"] == "bytes=3000-"


def test_a_registry_without_ranges_sends_the_layer_again(proxy):
    proxy.ranges = False
    proxy.fault = on(layer(proxy), Fault(cut=lambda body: body[:3000]), times=2)
    assert_right(proxy)


@pytest.mark.parametrize("word", ["manifests/", "blobs/"])
@pytest.mark.parametrize("name", ["500", "429", "cut in the middle"])
def test_interrupted_manifests_are_requested_again(proxy, word, name):
    proxy.fault = on(word, TEMPORARY[name], times=2)
    assert_right(proxy)


@pytest.mark.parametrize("name", TEMPORARY)
def test_a_permanent_error_is_raised_and_nothing_is_cached(proxy, name):
    proxy.fault = on(layer(proxy), TEMPORARY[name])
    image = il.load_image(proxy.reference)
    with pytest.raises((RegistryUnavailable, ArchiveError)) as caught:
        il.files(image)
    assert proxy.host in str(caught.value) or "small" in str(caught.value)
    assert cached(image.layers[0].diff_id) is None
    proxy.fault = on("nothing", None)
    assert len(il.files(image)) == 3


def test_a_rate_limit_is_named(proxy):
    proxy.fault = on("manifests/", Fault(429, {"Retry-After": "3600"}))
    with pytest.raises(RegistryUnavailable, match=r"limits the rate.*wait 3600 s.*docker login"):
        il.load_image(proxy.reference)
    assert proxy.count("manifests/") == 1


@pytest.mark.parametrize(
    "spoil",
    [lambda body: body[:-9] + b"\0" + body[-8:], lambda body: body + b"more", lambda body: bytes(len(body)),
     lambda body: bytes([31, 139]) + bytes(len(body) - 2)],
    ids=["one byte", "longer", "zeros", "broken gzip"],
)  # fmt: skip
@pytest.mark.parametrize("digests", [False, True])
def test_a_wrong_layer_is_an_error_and_nothing_is_cached(proxy, spoil, digests):
    proxy.fault = on(layer(proxy), Fault(body=spoil))
    image = il.load_image(proxy.reference)
    with pytest.raises(ArchiveError, match=r"is damaged: its|more than the"):
        il.files(image, digests=digests)
    with pytest.raises(ArchiveError):
        il.files(image, digests=digests)
    assert cached(image.layers[0].diff_id) is None


def test_a_layer_with_the_diff_id_of_another_is_an_error(proxy, registry):  # noqa: F811
    """Else an image could put its own listing into the cache under a well-known layer's name."""
    kind = "application/vnd.oci.image.manifest.v1+json"
    data, _ = registry_client.connect(registry.host).read("small", "manifests/v1", [kind])
    manifest = json.loads(data)
    config = json.loads(
        b"".join(registry_client.connect(registry.host).blob("small", manifest["config"]["digest"], None))
    )
    config["rootfs"]["diff_ids"][0] = "sha256:" + "ab" * 32
    forged = json.dumps(config).encode()
    digest = "sha256:" + hashlib.sha256(forged).hexdigest()
    manifest["config"] |= {"digest": digest, "size": len(forged)}
    proxy.fault = lambda path, times: (
        Fault(200, {"Content-Type": kind}, body=lambda body: json.dumps(manifest).encode())
        if "manifests/" in path
        else Fault(200, body=lambda body: forged)
        if digest in path
        else None
    )
    image = il.load_image(proxy.reference)
    assert image.layers[0].diff_id == "sha256:" + "ab" * 32
    with pytest.raises(ArchiveError, match="decompressed, is damaged"):
        il.files(image)
    assert cached("sha256:" + "ab" * 32) is None


@pytest.mark.parametrize("word", ["manifests/", "blobs/"])
def test_wrong_documents_are_errors(proxy, word):
    proxy.fault = on(word, Fault(body=lambda body: body.replace(b"2", b"3")))
    with pytest.raises(ArchiveError, match="is damaged"):
        il.load_image(proxy.reference)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"7", b"{", b"[" * 100_000, b'{"manifests": 3}', b'{"manifests": [null]}', b'{"manifests": [3]}',
     b'{"manifests": [{"digest": 3}]}', b'{"manifests": [{"digest": "sha256:../../x"}]}', b'{"config": 3}', b'{"layers": {}}',
     b'{"config": {"digest": "x"}}', b'{"schemaVersion": 1, "fsLayers": []}', b"\xff\xfe", b'{"manifests": []}',
     b"{" + b" " * (1 << 24)],
)  # fmt: skip
def test_an_invalid_manifest_is_an_error(proxy, body):
    fault = Fault(200, {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}, body=lambda _: body)
    proxy.fault = on("manifests/", fault)
    with pytest.raises((ArchiveError, ImageNotFound)):
        il.load_image(proxy.reference)


def test_slow_answers_are_read_until_the_limit(proxy, monkeypatch):
    monkeypatch.setattr(registry_client, "TIMEOUT", (1, 0.4))
    proxy.fault = on(layer(proxy), Fault(wait=0.8), times=1)
    assert_right(proxy)
    proxy.fault = on("manifests/", Fault(wait=0.8))
    with pytest.raises(RegistryUnavailable, match=r"keeps failing.*[Tt]imed out"):
        il.load_image(proxy.reference)


def test_other_layers_are_cached_when_one_fails(proxy):
    proxy.fault = on(layer(proxy, 0), Fault(body=lambda body: bytes(len(body))))
    image = il.load_image(proxy.reference)
    with pytest.raises(ArchiveError):
        il.files(image)
    assert cache_info()[1] <= 1 and cached(image.layers[0].diff_id) is None


def test_redirects_carry_no_credentials_to_another_host(proxy, registry, tmp_path):  # noqa: F811
    other = Proxy(registry.host)
    login(tmp_path, proxy.host)

    def fault(path, times):
        headers = dict(proxy.asked[-1][1])
        if "Authorization" not in headers:
            return Fault(401, {"WWW-Authenticate": 'Basic realm="test"'})
        return Fault(307, {"Location": f"http://{other.host}{path}"}) if "blobs/" in path else None

    proxy.fault = fault
    assert_right(proxy)
    assert other.count("blobs/") == 3
    assert all("Authorization" not in headers for _, headers in other.asked)
    # and a challenge of the other host is not answered
    other.fault = on("blobs/", Fault(401, {"WWW-Authenticate": 'Basic realm="test"'}))
    with pytest.raises(RegistryUnavailable, match="401"):
        il.load_image(proxy.reference)
    assert all("Authorization" not in headers for _, headers in other.asked)
    other.stop()


def test_a_redirect_to_plain_http_elsewhere_is_refused(proxy):
    proxy.fault = on("blobs/", Fault(307, {"Location": "http://192.0.2.1/blob"}))
    with pytest.raises(RegistryUnavailable, match=r"192\.0\.2\.1: plain HTTP is allowed only for loopback"):
        il.load_image(proxy.reference)


class Tokens:
    """A registry that wants a bearer token of a token server, both of them behind one proxy each."""

    def __init__(self, proxy, lifetime=99):
        self.server, self.given, self.lifetime = Proxy("localhost:1"), 0, lifetime
        self.uses = {}
        self.server.fault = self.give
        proxy.fault = lambda path, times: self.check(dict(proxy.asked[-1][1]).get("Authorization", ""))

    def give(self, path, times):
        self.given += 1
        return Fault(200, body=lambda _: json.dumps({"token": f"t{self.given}", "expires_in": 60}).encode())

    def check(self, authorization):
        token = authorization.removeprefix("Bearer ")
        self.uses[token] = self.uses.get(token, 0) + 1
        if authorization.startswith("Bearer t") and self.uses[token] <= self.lifetime:
            return None
        realm = f'Bearer realm="http://{self.server.host}/token",service="reg",scope="repository:small:pull"'
        return Fault(401, {"WWW-Authenticate": realm})


def test_anonymous_tokens(proxy):
    tokens = Tokens(proxy)
    assert_right(proxy)
    assert tokens.given == 1
    path, headers = tokens.server.asked[0]
    assert "scope=repository%3Asmall%3Apull" in path and "service=reg" in path and "Authorization" not in headers
    tokens.server.stop()


def test_tokens_use_credentials_and_are_renewed(proxy, tmp_path):
    login(tmp_path, proxy.host)
    tokens = Tokens(proxy, lifetime=2)
    assert_right(proxy)
    assert tokens.given >= 2
    assert all(headers["Authorization"].startswith("Basic ") for _, headers in tokens.server.asked)
    assert all(not dict(headers).get("Authorization", "").startswith("Basic") for _, headers in proxy.asked)
    tokens.server.stop()


@pytest.mark.parametrize(
    "fault, error",
    [
        (Fault(401), "gives no token"),
        (Fault(500), "gave no token"),
        (Fault(200, body=lambda _: b"no JSON"), "is not JSON"),
        (Fault(200, body=lambda _: b'{"token": 3}'), "401"),
        (Fault(200, body=lambda _: b'{"token": "a\\nb"}'), "401"),
    ],
)
def test_failing_token_servers(proxy, fault, error):
    tokens = Tokens(proxy)
    tokens.server.fault = lambda path, times: fault
    with pytest.raises((RegistryUnavailable, ArchiveError), match=error):
        il.load_image(proxy.reference)
    tokens.server.stop()


def test_a_token_server_over_plain_http_elsewhere_is_not_asked(proxy, tmp_path):
    login(tmp_path, proxy.host)
    proxy.fault = on("manifests/", Fault(401, {"WWW-Authenticate": 'Bearer realm="http://192.0.2.1/token"'}))
    with pytest.raises(RegistryUnavailable, match="plain HTTP"):
        il.load_image(proxy.reference)


def test_a_netrc_is_not_consulted(proxy, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine localhost login someone password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert_right(proxy)
    assert all("Authorization" not in headers for _, headers in proxy.asked)


def test_pages_of_tags_stay_on_their_host(proxy, registry):  # noqa: F811
    other = Proxy(registry.host)
    following = '</v2/small/tags/list?n=1000&last=v1>; rel="next"'
    proxy.fault = lambda path, times: Fault(headers={"Link": following}) if path.endswith("n=1000") else None
    assert set(list_tags(proxy.reference)["tag"]) >= {"v1", "v2"} and proxy.count("tags/list") == 2
    proxy.fault = on("tags/", Fault(headers={"Link": f'<http://{other.host}/v2/small/tags/list>; rel="next"'}))
    list_tags(proxy.reference)
    assert not other.asked
    proxy.fault = on("tags/", Fault(headers={"Link": '</v2/small/tags/list?n=1000>; rel="next"'}))
    list_tags(proxy.reference)  # a page that names itself
    proxy.fault = on("tags/", Fault(200, body=lambda _: b'{"tags": [1, "v1", null]}'))
    assert list(list_tags(proxy.reference)["tag"]) == ["v1"]
    proxy.fault = on("tags/", Fault(200, body=lambda _: b'{"tags": "v1"}'))
    with pytest.raises(ArchiveError):
        list_tags(proxy.reference)
    other.stop()


def test_endless_pages_of_tags(proxy, monkeypatch):
    monkeypatch.setattr(registry_client, "PAGES", 5)
    numbers = itertools.count()
    proxy.fault = lambda path, times: Fault(headers={"Link": f'</v2/small/tags/list?last={next(numbers)}>; rel="next"'})
    with pytest.raises(ArchiveError, match="more than 5 pages"):
        list_tags(proxy.reference)


@pytest.mark.parametrize("promised", ["", "sha512:" + "0" * 128, "md5:1", '"{own}"', "{own}"])
def test_a_digest_header_in_another_form_is_ignored(proxy, promised):
    headers = {"Docker-Content-Digest": promised.format(own=proxy.true.manifest_digest)}
    proxy.fault = on("manifests/", Fault(headers=headers))
    assert_right(proxy)
    pinned = il.load_image(f"docker://{proxy.host}/small@{proxy.true.manifest_digest}")
    assert pinned.manifest_digest == proxy.true.manifest_digest


def test_a_manifest_by_digest_is_verified_whatever_the_header(proxy):
    def spoil(body: bytes) -> bytes:
        return body.replace(b'"schemaVersion"', b' "schemaVersion"')

    proxy.fault = on("manifests/", Fault(headers={"Docker-Content-Digest": "sha512:0"}, body=spoil))
    with pytest.raises(ArchiveError, match="is damaged"):
        il.load_image(f"docker://{proxy.host}/small@{proxy.true.manifest_digest}")


def test_a_manifest_under_content_encoding(proxy):
    proxy.fault = on("manifests/", Fault(headers={"Content-Encoding": "gzip"}, body=gzip.compress))
    assert_right(proxy)
    bomb = gzip.compress(bytes(registry_client.JSON_LIMIT + 1))
    proxy.fault = on("manifests/", Fault(headers={"Content-Encoding": "gzip"}, body=lambda _: bomb))
    with pytest.raises(ArchiveError, match="has more than 8,388,608 bytes"):
        il.load_image(proxy.reference)


@pytest.mark.parametrize("realm", ["https://[::1", "http://a b", "//", "\\\\x", "https://[::1]:port/"])
def test_an_invalid_realm(proxy, realm):
    proxy.fault = on("", Fault(401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="s"'}))
    with pytest.raises(RegistryUnavailable):
        il.load_image(proxy.reference)


def test_a_long_challenge_is_parsed_in_linear_time():
    assert challenges("a" * 60_000) == {} == challenges("a " * 30_000)
    assert challenges("Bearer " + "a=" * 30_000) == {"bearer": {"a": "a=" * 29_999}}


@pytest.mark.parametrize("wait", ["9" * 5000, "Fri, 31 Dec 99999 23:59:59 GMT", "soon"])
def test_an_unreadable_time_to_wait(proxy, wait):
    proxy.fault = on("manifests/", Fault(429, {"Retry-After": wait}))
    with pytest.raises(RegistryUnavailable, match="limits the rate"):
        il.load_image(proxy.reference)


@pytest.mark.parametrize("location", ["https://[::1", "http://h:port/"])
def test_a_redirect_to_an_invalid_address(proxy, location):
    proxy.fault = on("manifests/", Fault(307, {"Location": location}))
    with pytest.raises(RegistryUnavailable):
        il.load_image(proxy.reference)


def test_an_answer_that_comes_too_slowly(proxy, monkeypatch):
    seconds = itertools.count(0, 100)
    monkeypatch.setattr(transfer.time, "monotonic", lambda: next(seconds))
    with pytest.raises(RegistryUnavailable, match="came too slowly"):
        il.load_image(proxy.reference)


def test_headers_that_come_too_slowly(monkeypatch):
    monkeypatch.setattr(transfer, "GRACE", 0.05)
    monkeypatch.setattr(transfer, "SLOWEST", 1 << 40)

    def trickle() -> None:
        while True:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while True:
                    connection.sendall(b"X")
                    time.sleep(0.005)

    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=trickle, daemon=True).start()
    with pytest.raises(RegistryUnavailable, match=r"127\.0\.0\.1 came too slowly"):
        il.load_image(f"docker://127.0.0.1:{server.getsockname()[1]}/app:1")


def test_the_body_of_a_redirect_is_not_read(proxy, monkeypatch):
    """It could be without end."""
    read = []
    real = transfer.body
    monkeypatch.setattr(
        registry_client, "body", lambda answer, *a, **k: read.append(answer.status_code) or real(answer, *a, **k)
    )
    target = f"http://{proxy.host}/v2/small/manifests/{proxy.true.manifest_digest}"
    proxy.fault = lambda path, asked: (
        Fault(307, {"Location": target}, body=lambda _: bytes(1 << 24)) if path.endswith("manifests/v1") else None
    )
    assert_right(proxy)
    assert 307 not in read


def test_certificates_of_one_registry(monkeypatch, tmp_path):
    """As Docker and podman keep them; the usual authorities stay trusted."""
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    folder = tmp_path / ".config" / "containers" / "certs.d" / "registry.example:5000"
    folder.mkdir(parents=True)
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2",
               "-addext", "subjectAltName=DNS:localhost", "-keyout", "server.key", "-out", "server.pem"]  # fmt: skip
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    manifest = json.dumps({"name": "a", "tags": ["v1"]}).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(manifest)))
            self.end_headers()
            self.wfile.write(manifest)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    host = f"localhost:{server.server_port}"
    with pytest.raises(RegistryUnavailable, match="TLS connection failed"):
        list_tags(f"{host}/a")
    folder = folder.rename(folder.with_name(host))
    (folder / "ca.crt").write_bytes((tmp_path / "server.pem").read_bytes())
    registry_client.connect.cache_clear()
    assert list_tags(f"{host}/a")["tag"].tolist() == ["v1"]
    (folder / "ca.crt").write_text("not a certificate")
    registry_client.connect.cache_clear()
    with pytest.raises(RegistryUnavailable, match="cannot be read as a certificate"):
        list_tags(f"{host}/a")
    server.shutdown()
