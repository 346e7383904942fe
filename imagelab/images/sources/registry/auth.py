"""Registry credentials: find those that ``docker login`` stored, and parse the challenge of a registry.

Sources: CNCF Distribution's "Token Authentication Specification" and "OAuth2 Token Authentication"; Docker CLI's
``config.json`` and the credential helpers' protocol; containers-auth.json(5).
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from requests.utils import parse_dict_header

from imagelab.core.json_fields import mapping, string
from imagelab.core.references import HUB

_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", HUB)  # the first is what Docker's CLI writes
_CHALLENGE = re.compile(r"(?<!\w)(\w++)\s++((?:\w+=(?:\"[^\"]*\"|[^\s,]*)(?:\s*,\s*)?)+)")


def credentials(host: str) -> dict[str, str] | None:
    """The credentials for a registry in Docker's ``config.json`` (``DOCKER_CONFIG``, else ``~/.docker``), else in Podman's and
    skopeo's ``auth.json``: ``user`` and ``password``, or ``refresh`` (an identity token). None if there are none, or if a
    helper does not answer."""
    names = _HUB_KEYS if host == HUB else (host, f"https://{host}", f"https://{host}/v1/", f"https://{host}/v2/")
    return next(filter(None, (_login(_read(path), names) for path in _config_files())), None)


def _config_files() -> Iterator[Path]:
    home = Path.home()
    yield Path(os.environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
    if named := os.environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    if running := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(running) / "containers" / "auth.json"
    elif hasattr(os, "getuid"):  # not on Windows
        yield Path(f"/run/containers/{os.getuid()}/auth.json")
    yield home / ".config" / "containers" / "auth.json"


def _login(config: dict[str, Any], names: tuple[str, ...]) -> dict[str, str] | None:
    helpers, auths = (mapping(config.get(key)) for key in ("credHelpers", "auths"))
    helper = next((helpers[name] for name in names if name in helpers), config.get("credsStore"))
    if isinstance(helper, str) and re.fullmatch(r"[\w.-]+", helper) and (found := _helped(helper, names[0])):
        return found
    entry: dict[str, Any] = next((auths[name] for name in names if isinstance(auths.get(name), dict)), {})
    if token := string(entry.get("identitytoken")):
        return {"refresh": token}
    try:
        user, colon, password = base64.b64decode(string(entry.get("auth")) or "").decode().partition(":")
    except ValueError:
        return None
    return {"user": user, "password": password} if colon else None


def basic(login: dict[str, str]) -> str:
    """The header of HTTP's Basic scheme (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{login['user']}:{login['password']}".encode()).decode()


def challenges(header: str) -> dict[str, dict[str, str]]:
    """The parameters of each scheme in a WWW-Authenticate header.

    >>> challenges('Bearer realm="https://auth.example/token",service="r",scope="repository:a:pull,push"')
    {'bearer': {'realm': 'https://auth.example/token', 'service': 'r', 'scope': 'repository:a:pull,push'}}
    """
    return {
        scheme.lower(): {key: value or "" for key, value in parse_dict_header(rest).items() if key}
        for scheme, rest in _CHALLENGE.findall(header)
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        return mapping(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return {}


def _helped(helper: str, server: str) -> dict[str, str] | None:
    """What ``docker-credential-HELPER get`` says of a server."""
    command = [f"docker-credential-{helper}", "get"]
    try:
        done = subprocess.run(command, input=server.encode(), capture_output=True, timeout=30)
        found = mapping(json.loads(done.stdout)) if done.returncode == 0 else {}
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    user, secret = string(found.get("Username")), string(found.get("Secret"))
    if not user or not secret:
        return None
    return {"refresh": secret} if user == "<token>" else {"user": user, "password": secret}
