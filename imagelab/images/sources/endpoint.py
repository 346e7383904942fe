"""Find the container engine as Docker's CLI does, and connect to its socket, or over ssh with the system's ``ssh``.

Sources: Docker CLI's context store (``contexts/meta``, ``contexts/tls``), its ``connhelper/ssh``, and "Environment
variables" of its reference.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import socket
import subprocess
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import urllib3.connection
from requests.adapters import HTTPAdapter

from imagelab.core.errors import DaemonUnavailable
from imagelab.core.json_fields import mapping, string
from imagelab.images.sources.transfer import paced


class Endpoint(NamedTuple):
    """An engine's host (None: the default socket), and its TLS: the certificates' folder, and whether to verify."""

    host: str | None
    certificates: Path | None = None
    verify: bool = True


def endpoint() -> Endpoint:
    """``DOCKER_HOST``, else the context that ``DOCKER_CONTEXT`` or the CLI's config.json names, else the default socket.

    Raises
    ------
    DaemonUnavailable
        The context does not exist or cannot be read.
    """
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    if host := os.environ.get("DOCKER_HOST"):
        verify, named = bool(os.environ.get("DOCKER_TLS_VERIFY")), os.environ.get("DOCKER_CERT_PATH")
        tls = host.startswith(("tcp://", "https://")) and (verify or named)
        return Endpoint(host, Path(named or folder) if tls else None, verify)
    name = os.environ.get("DOCKER_CONTEXT") or string(_read(folder / "config.json").get("currentContext")) or "default"
    if name == "default":
        return Endpoint(None)
    identity = hashlib.sha256(name.encode()).hexdigest()
    context = mapping(_read(folder / "contexts" / "meta" / identity / "meta.json"), "Endpoints", "docker")
    host = string(context.get("Host"))
    if not host:
        raise DaemonUnavailable(f"there is no Docker context {name!r} in {folder}. Try `docker context ls`.")
    tls_folder = folder / "contexts" / "tls" / identity / "docker"
    return Endpoint(host, tls_folder if tls_folder.is_dir() else None, not context.get("SkipTLSVerify"))


def _read(path: Path) -> dict[str, Any]:
    try:
        return mapping(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise DaemonUnavailable(f"{path} cannot be read: {error}. Try `docker context ls`.") from error


class DialAdapter(HTTPAdapter):
    """Requests to an engine behind a Unix socket, or on another machine: each connection is then a process
    ``ssh HOST docker system dial-stdio``."""

    def __init__(self, host: str) -> None:
        super().__init__()
        self._pool = urllib3.HTTPConnectionPool("localhost", maxsize=4)
        self._pool.ConnectionCls = partial(paced(_Dialled, DaemonUnavailable), host)  # type: ignore[assignment]

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> urllib3.HTTPConnectionPool:
        return self._pool

    def request_url(self, request: Any, proxies: Any) -> str:
        return str(request.path_url)  # no proxy is between

    def close(self) -> None:
        self._pool.close()


def _ssh_command(host: str) -> list[str]:
    parts = urlsplit(host)
    options = [*(["-l", parts.username] if parts.username else []), *(["-p", str(parts.port)] if parts.port else [])]
    remote = ["docker", *(["--host", f"unix://{parts.path}"] if parts.path.strip("/") else [])]
    dial = shlex.join([*remote, "system", "dial-stdio"])
    return ["ssh", "-o", "ConnectTimeout=30", "-T", *options, "--", str(parts.hostname), dial]


class _Dialled(urllib3.connection.HTTPConnection):
    def __init__(self, address: str, **options: Any) -> None:
        super().__init__(**options)
        self._address = address
        self._ssh: subprocess.Popen[bytes] | None = None

    def connect(self) -> None:
        timeout = self.timeout if isinstance(self.timeout, int | float) else None
        if self._address.startswith("ssh://"):
            self.sock, theirs = socket.socketpair()
            with theirs:
                end = theirs.fileno()
                command = _ssh_command(self._address)
                self._ssh = subprocess.Popen(command, stdin=end, stdout=end, stderr=subprocess.DEVNULL)
            self.sock.settimeout(timeout)
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(timeout)
            self.sock.connect(self._address.removeprefix("http+unix://"))

    def close(self) -> None:
        super().close()
        if self._ssh is not None:
            self._ssh.terminate()
            self._ssh.wait()
            self._ssh = None
