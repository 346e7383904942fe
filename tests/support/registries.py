"""A real registry on loopback (Debian's docker-registry), and a proxy before it that makes faults on purpose."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

from tests.conftest import needs

USER, PASSWORD = "someone", "open sesame"
HTPASSWD = "someone:$2b$04$n.eTB1EU7VogN219SkrmDeSTzQiX/gbeIhIGPVhqPrG7nej.3lHq.\n"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Registry:
    """docker-registry, serving a folder; with ``auth`` only to `USER`, with ``tls`` (certificate, key) over TLS."""

    def __init__(self, folder: Path, *, auth: bool = False, tls: tuple[Path, Path] | None = None) -> None:
        needs("docker-registry")
        self.host = f"localhost:{free_port()}"
        config: dict = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
            "http": {"addr": self.host.replace("localhost", "127.0.0.1"), "secret": "not one"},
        }
        if auth:
            (folder / "htpasswd").write_text(HTPASSWD)
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
        if tls:
            config["http"]["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
        (folder / "config.yml").write_text(yaml.safe_dump(config))
        self._process = subprocess.Popen(
            ["docker-registry", "serve", folder / "config.yml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", int(self.host.partition(":")[2])), 1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("docker-registry did not start")

    def copy(self, source: str, name: str, *options: str) -> None:
        """Fill it with skopeo."""
        needs("skopeo")
        command = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", *options]
        subprocess.run([*command, source, f"docker://{self.host}/{name}"], check=True, capture_output=True)

    def put_manifest(self, name: str, document: dict, kind: str) -> None:
        repository, _, tag = name.partition(":")
        url = f"http://{self.host}/v2/{repository}/manifests/{tag}"
        request = urllib.request.Request(url, json.dumps(document).encode(), {"Content-Type": kind}, method="PUT")
        urllib.request.urlopen(request).close()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)


class Fault:
    """What goes wrong with an answer. ``body`` changes it, ``cut`` ends it early with the length still promised."""

    def __init__(
        self,
        status: int | None = None,
        headers: dict[str, str] | None = None,
        body: Callable[[bytes], bytes] | None = None,
        cut: Callable[[bytes], bytes] | None = None,
        wait: float = 0,
    ) -> None:
        self.status, self.headers, self.body, self.cut, self.wait = status, headers or {}, body, cut, wait


class Proxy:
    """Passes GETs on to ``upstream`` (host:port); ``fault(path, times asked)`` says what to spoil.

    ``asked`` holds every request: path and headers.
    """

    def __init__(self, upstream: str) -> None:
        self.fault: Callable[[str, int], Fault | None] = lambda path, times: None
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.ranges = True  # whether parts can be had
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                proxy.asked.append((self.path, dict(self.headers)))
                times = sum(path == self.path for path, _ in proxy.asked)
                fault = proxy.fault(self.path, times) or Fault()
                time.sleep(fault.wait)
                if fault.status:
                    status, headers, body = fault.status, dict(fault.headers), b"{}"
                else:
                    status, headers, body = self.upstream()
                    headers |= fault.headers
                body = fault.body(body) if fault.body else body
                sent = fault.cut(body) if fault.cut else body
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(sent)
                if sent != body:
                    self.close_connection = True

            def upstream(self) -> tuple[int, dict[str, str], bytes]:
                connection = HTTPConnection(upstream, timeout=60)
                dropped = ("Host", "Connection") if proxy.ranges else ("Host", "Connection", "Range")
                kept = {name: value for name, value in self.headers.items() if name not in dropped}
                connection.request("GET", self.path, headers=kept)
                answer = connection.getresponse()
                body = answer.read()
                dropped = ("content-length", "connection", "transfer-encoding", "date")
                headers = {name: value for name, value in answer.getheaders() if name.lower() not in dropped}
                connection.close()
                return answer.status, headers, body

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"localhost:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def count(self, word: str) -> int:
        return sum(word in path for path, _ in self.asked)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
