"""Talk to a running engine over Docker's API (Podman's too). The only importer of the SDK."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import docker
import docker.errors
import docker.tls
import docker.utils
import requests
from urllib3.exceptions import HTTPError

from imagelab.core.errors import ArchiveError, DaemonUnavailable, ImagelabError, ImageNotFound
from imagelab.core.json_fields import mapping, mappings, object_of, parse_json, string
from imagelab.images.sources.endpoint import DialAdapter, Endpoint, endpoint
from imagelab.images.sources.transfer import PacedAdapter, body

_TIMEOUT = 600  # seconds between two pieces of an answer: an engine lists hundreds of images in a minute
_ANSWER_LIMIT = 1 << 27  # bytes of one JSON answer


class Client(docker.APIClient):  # type: ignore[misc]  # the SDK has no types
    """The SDK's client, with bounds on answers, ssh through the system's command, and TLS beside ``REQUESTS_CA_BUNDLE``."""

    def __init__(self, place: Endpoint) -> None:
        tls, host = _tls(place), place.host or ""
        host = host if host.startswith("ssh://") else docker.utils.parse_host(host, os.name == "nt", bool(tls))
        dialled = host.startswith(("ssh://", "http+unix://"))
        super().__init__("tcp://localhost:2375" if dialled else host, version="1.44", tls=tls, timeout=_TIMEOUT)
        for scheme in ("http://", "https://"):
            self.mount(scheme, DialAdapter(host) if dialled else PacedAdapter(DaemonUnavailable))
        try:
            self.version_facts = mapping(self.ask("/version"))
        except ArchiveError as error:
            raise DaemonUnavailable(str(error)) from None
        self._version = string(self.version_facts.get("ApiVersion")) or ""  # the newest that it speaks
        if not re.fullmatch(r"\d{1,4}\.\d{1,4}", self._version):
            raise DaemonUnavailable(
                f"what answers at {place.host or 'the default socket'} is not a container engine: its API has no version."
            )

    def merge_environment_settings(self, *args: Any) -> Any:
        # the variable is for registries; requests would prefer it to the engine's own certificates
        return super().merge_environment_settings(*args) | {"verify": self.verify}

    def ask(self, path: str, **params: Any) -> Any:
        """The JSON answer to a GET request."""
        with self._get_stream(path, params) as answer:
            return parse_json(b"".join(_pieces(answer, path, _ANSWER_LIMIT)), f"the engine's answer to {path}")

    def save(self, image: str, platform: str | None) -> Iterator[bytes]:
        """The chunks of the archive that the engine makes of an image."""
        path = f"/images/{quote(image, safe='/:@')}/get"
        with self._get_stream(path, {"platform": platform} if platform else {}) as answer:
            yield from _pieces(answer, path)

    def _get_stream(self, path: str, params: dict[str, Any]) -> requests.Response:
        url = self.base_url + (path if path == "/version" else f"/v{self.api_version}{path}")
        answer: requests.Response = self.get(
            url, params=params, timeout=self.timeout, stream=True, allow_redirects=False
        )
        if answer.status_code == 200:
            return answer
        with answer:
            body = b"".join(_pieces(answer, path, 1 << 16))
        try:
            message = string(mapping(parse_json(body, path)).get("message")) or answer.reason
        except ArchiveError:
            message = answer.reason
        if answer.status_code == 404:
            raise ImageNotFound(f"the engine says: {message}")
        raise DaemonUnavailable(f"the engine answers {path} with {answer.status_code}: {message}")


def _pieces(answer: requests.Response, path: str, limit: int | None = None) -> Iterator[bytes]:
    return body(answer, f"the engine's answer to {path}", limit=limit)


def _tls(place: Endpoint) -> Any:
    if place.certificates is None:
        return False
    ca, cert, key = (place.certificates / f"{name}.pem" for name in ("ca", "cert", "key"))
    pair = (str(cert), str(key)) if cert.is_file() and key.is_file() else None
    return docker.tls.TLSConfig(
        client_cert=pair, ca_cert=str(ca) if ca.is_file() and place.verify else None, verify=place.verify
    )


@contextmanager
def client() -> Iterator[Client]:
    """A connected client; every error of the SDK or the connection leaves as an ImagelabError."""
    place = endpoint()
    shown = place.host or "the default socket"
    connected = None
    try:
        connected = Client(place)
        yield connected
    except ImagelabError:
        raise
    except (docker.errors.DockerException, requests.RequestException, HTTPError, OSError, ValueError) as error:
        by_ssh = " ssh must work without a password prompt: try `ssh HOST docker version`." if "ssh:" in shown else ""
        raise DaemonUnavailable(
            f"no container engine answers at {shown}: {error}.{by_ssh}\n"
            "Start one (`sudo systemctl start docker`, Docker Desktop, `podman system service`), or point to one with "
            "DOCKER_HOST or `docker context use`. Archives work without: `docker save IMAGE -o image.tar` elsewhere, "
            "then docker-archive:image.tar."
        ) from error
    finally:
        if connected is not None:
            connected.close()


def inspect_containers(name: str | None = None) -> list[dict[str, Any]]:
    """The engine's inspect of each container, or of the one of that name or id."""
    with client() as engine:
        names = [name] if name else [string(row.get("Id")) for row in mappings(engine.ask("/containers/json", all=1))]
        found = []
        for each in filter(None, names):
            try:
                answer = engine.ask(f"/containers/{quote(each, safe='')}/json")
                found.append(object_of(answer, "the engine's answer"))
            except ImageNotFound:
                if name:
                    raise
                # else it was removed since it was listed
        return found
