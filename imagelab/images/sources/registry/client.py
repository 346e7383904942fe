"""A registry over HTTP: the OCI distribution-spec's pull, and push of small artifacts, with Docker's token authentication.

None of the clients on PyPI verifies what it reads, keeps credentials on their host and tries again as is needed
here, so this is the thinnest thing over requests. Connections to a registry use TLS (``REQUESTS_CA_BUNDLE`` names
own certificates); plain HTTP only on loopback, and with hosts (``host:port``, comma-separated) that
``IMAGELAB_INSECURE_REGISTRIES`` names.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import random
import re
import threading
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from imagelab.core.errors import ArchiveError, ImagelabError, ImageNotFound, RegistryUnavailable
from imagelab.core.json_fields import mapping, mappings, object_of, parse_json, string, text
from imagelab.core.references import HUB
from imagelab.images.layers.blobs import decompressed
from imagelab.images.sources.members import JSON_LIMIT
from imagelab.images.sources.registry.auth import basic, challenges, credentials
from imagelab.images.sources.registry.certificates import CertificatesAdapter, certificate_folder
from imagelab.images.sources.transfer import PacedAdapter, body, bounded

TRIES = 5
TIMEOUT = (10.0, 30.0)  # seconds to connect, and between two pieces of an answer
PATIENCE = 60.0  # seconds: a registry that wants a longer wait is an error that says so
BACK_OFF = 0.5  # seconds before the second try, doubled for each further one
PAGES = 1000  # of 1,000 tags each
_AGAIN = (429, 500, 502, 503, 504)
# ValueError: addresses in a challenge or a redirect that are not addresses
_BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)


class _Session(requests.Session):
    """Credentials stay on their host, nothing is sent in the clear except where that is allowed, and the bodies of
    redirects are not read."""

    def __init__(self) -> None:
        super().__init__()
        for scheme in ("http://", "https://"):
            self.mount(scheme, PacedAdapter(RegistryUnavailable))
        self.hooks["response"].append(lambda answer, **_: answer.close() if answer.is_redirect else None)

    def rebuild_auth(self, prepared_request: Any, response: Any) -> None:
        if self.should_strip_auth(response.request.url, prepared_request.url):
            prepared_request.headers.pop("Authorization", None)

    def send(self, request: Any, **options: Any) -> requests.Response:
        where = urlsplit(request.url)
        if where.scheme != "https" and not may_be_plain(where.netloc):
            raise RegistryUnavailable(
                f"{where.netloc}: plain HTTP is allowed only for loopback and the hosts in IMAGELAB_INSECURE_REGISTRIES "
                "(host:port, comma-separated)."
            )
        return super().send(request, **options)

    def ask(self, method: str, url: str, authorization: str | None, **options: Any) -> requests.Response:
        """One request, its body not read yet."""

        def authorize(request: Any) -> Any:  # given always, so that no .netrc is consulted
            if authorization:
                request.headers["Authorization"] = authorization
            return request

        headers = {"User-Agent": "imagelab", "Accept-Encoding": "identity"} | options.pop("headers", {})
        return self.request(method, url, auth=authorize, headers=headers, stream=True, timeout=TIMEOUT, **options)


def may_be_plain(host: str) -> bool:
    """Whether ``host[:port]`` may be reached without TLS."""
    if host in os.environ.get("IMAGELAB_INSECURE_REGISTRIES", "").replace(" ", "").split(","):
        return True
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


@lru_cache(maxsize=64)
def connect(host: str) -> Registry:
    """The client of one registry, kept for the process with its connections and tokens."""
    return Registry(host)


class Registry:
    """One registry: ``host`` is its name in references (``docker.io`` for Docker Hub)."""

    def __init__(self, host: str) -> None:
        self.host = host
        self._session = _Session()
        if folder := certificate_folder(host):
            self._session.mount(f"https://{host}/", CertificatesAdapter(folder))
        self._authorization: dict[str, str | None] = {}  # by repository
        self._lock = threading.Lock()
        self._base = f"https://{'registry-1.docker.io' if host == HUB else host}/v2/"
        if may_be_plain(host):  # TLS where it speaks it, as Docker does with such hosts
            try:
                self._session.ask("GET", self._base, None).close()
            except _BROKEN as error:
                if "CERTIFICATE" not in str(error):
                    self._base = self._base.replace("https:", "http:", 1)

    def read(self, repository: str, path: str, accept: Iterable[str] = ("*/*",)) -> tuple[bytes, requests.Response]:
        """A small document's bytes, and the answer that brought it.

        Raises
        ------
        ImageNotFound
            The registry holds no such thing.
        RegistryUnavailable
            It does not answer, limits the rate, or refuses.
        ArchiveError
            The document is empty, or larger than a manifest or config can be.
        """
        url = urljoin(self._base, f"{repository}/{path}")
        pieces, answer, size = [], None, 0
        for piece, came_with in self._pieces(repository, url, {"Accept": ", ".join(accept)}):
            pieces.append(piece)
            answer, size = came_with, size + len(piece)
            if size > JSON_LIMIT:
                raise ArchiveError(f"{url} has more than {JSON_LIMIT} bytes, too many for a manifest or list.")
        if answer is None:
            raise ArchiveError(f"{url} is empty, where a manifest or list was expected.")
        if answer.headers.get("Content-Encoding", "identity") != "identity":  # sent so though it was not asked for
            pieces = list(bounded(decompressed(pieces, url), url, JSON_LIMIT))
        return b"".join(pieces), answer

    def blob(self, repository: str, digest: str, size: int | None) -> Iterator[bytes]:
        """A blob in pieces, verified; a cut connection is taken up where it broke.

        Raises
        ------
        ArchiveError
            At its end, where size or digest are not those promised.
        """
        url = urljoin(self._base, f"{repository}/blobs/{digest}")
        pieces = (piece for piece, _ in self._pieces(repository, url, {}, size))
        return verified(pieces, digest, f"{self.host}/{repository}: blob {digest}", size)

    def put_blob(self, repository: str, digest: str, data: bytes) -> None:
        """Upload a blob in one piece.

        Raises
        ------
        RegistryUnavailable
            The registry does not answer, or refuses; it is not asked again.
        """
        started = self.write("POST", repository, "blobs/uploads/")
        address = urljoin(started.url, started.headers.get("Location", ""))
        joined = "&" if urlsplit(address).query else "?"
        self.write("PUT", repository, f"{address}{joined}digest={digest}", data, "application/octet-stream")

    def write(self, method: str, repository: str, path: str, data: bytes = b"", kind: str = "") -> requests.Response:
        """Send a small document; ``path`` is relative to the repository, or an address that the registry gave."""
        url = urljoin(self._base, path if "://" in path else f"{repository}/{path}")
        try:
            with self._authorized(repository, url, {"Content-Type": kind} if kind else {}, method, data) as answer:
                if answer.status_code not in (201, 202):
                    raise self._refused(answer.status_code, repository, url.partition("?")[0], _complaint(answer))
                return answer
        except _BROKEN as error:
            raise RegistryUnavailable(
                f"{self.host} does not take {repository}: {type(error).__name__}: {error}"
            ) from error

    def pages(self, repository: str, path: str) -> Iterator[Any]:
        """The JSON documents of a paged list.

        Raises
        ------
        ArchiveError
            There are more than ``PAGES``.
        """
        start, seen = urljoin(self._base, f"{repository}/"), set()
        while path not in seen:
            seen.add(path)
            if len(seen) > PAGES:
                raise ArchiveError(f"{start} has more than {PAGES:,} pages, too many for a list of tags.")
            data, answer = self.read(repository, path)
            yield parse_json(data, f"{self.host}/{repository}/{path}")
            try:
                following = urljoin(start + path, answer.links.get("next", {}).get("url", ""))
            except ValueError:
                return
            if not following.startswith(start):  # another host gets no credentials
                return
            path = following.removeprefix(start)

    def _pieces(
        self, repository: str, url: str, headers: dict[str, str], size: int | None = None
    ) -> Iterator[tuple[bytes, requests.Response]]:
        """The body, tried again with back-off; ``size`` tells where one ends early without an error."""
        done = failures = 0
        while True:
            begun, wait, limited = done, None, False
            try:
                part = {"Range": f"bytes={done}-"} if done else {}
                with self._authorized(repository, url, headers | part) as answer:
                    if answer.status_code in (200, 206):
                        skip = done if answer.status_code == 200 else 0  # it sends all again
                        for piece in body(answer, url):
                            fresh, skip = piece[skip:], max(skip - len(piece), 0)
                            done += len(fresh)
                            if fresh:
                                yield fresh, answer
                        if size is None or done >= size:
                            return
                        what = f"the answer ends after {done} of {size} bytes"
                    else:
                        what = _complaint(answer)
                        if answer.status_code not in _AGAIN:
                            raise self._refused(answer.status_code, repository, url, what)
                        wait, limited = _retry_after(answer), answer.status_code == 429
            except requests.exceptions.SSLError as error:
                raise RegistryUnavailable(
                    f"{self.host}: TLS connection failed: {error}. Own certificates: certs.d/{self.host}/ca.crt in "
                    "/etc/docker or /etc/containers, or REQUESTS_CA_BUNDLE."
                ) from error
            except _BROKEN as error:
                message = re.sub(r"[?]\S+", "?…", str(error))  # addresses that redirects give can be signed
                what = f"{type(error).__name__}: {message}"
            failures = 1 if done - begun > 1 << 20 else failures + 1  # a long blob may break now and then
            if failures >= TRIES or (wait or 0) > PATIENCE:
                verb = "limits the rate of requests" if limited else "keeps failing"
                later = f" It asks to wait {wait:.0f} s." if wait else ""
                hint = f" Wait, or raise the limit with `docker login {self.host}`." if limited else ""
                raise RegistryUnavailable(f"{self.host} {verb} ({url}, tries: {failures}): {what}.{later}{hint}")
            time.sleep(wait if wait is not None else BACK_OFF * 2 ** (failures - 1) * (1 + random.random() / 2))

    def _authorized(
        self, repository: str, url: str, headers: dict[str, str], method: str = "GET", data: bytes = b""
    ) -> requests.Response:
        """One request; a challenge of the registry's own host is answered once, and no other host gets credentials."""
        own = urlsplit(url).netloc == urlsplit(self._base).netloc
        used = self._authorization.get(repository) if own else None
        answer = self._session.ask(method, url, used, headers=headers, data=data)
        asked = answer.headers.get("WWW-Authenticate")
        if answer.status_code != 401 or not asked or urlsplit(answer.url).netloc != urlsplit(self._base).netloc:
            return answer
        answer.close()
        with self._lock:
            if self._authorization.get(repository) == used:  # else another thread has just answered it
                self._authorization[repository] = self._answer(challenges(asked), repository)
        return self._session.ask(method, url, self._authorization[repository], headers=headers, data=data)

    def _answer(self, asked: dict[str, dict[str, str]], repository: str) -> str | None:
        """The Authorization header that a challenge wants; None where nothing is known that would do."""
        login = credentials(self.host)
        if not asked.get("bearer", {}).get("realm"):
            return basic(login) if login and "user" in login and "basic" in asked else None
        bearer = asked["bearer"]
        realm, fields = urljoin(self._base, bearer["realm"]), {"scope": f"repository:{repository}:pull"}
        fields |= {name: bearer[name] for name in ("service", "scope") if bearer.get(name)}
        if login and "refresh" in login:
            fields |= {"grant_type": "refresh_token", "refresh_token": login["refresh"], "client_id": "imagelab"}
            answer = self._session.ask("POST", realm, None, data=fields)
        else:
            answer = self._session.ask("GET", realm, basic(login) if login else None, params=fields)
        with answer:
            if answer.status_code in _AGAIN:  # tried again as any broken answer is
                raise requests.RequestException(f"{realm} gave no token: {_complaint(answer)}")
            if answer.status_code != 200:
                raise RegistryUnavailable(
                    f"{realm} gives no token for {self.host}/{repository}: {_complaint(answer)}. "
                    f"Try `docker login {self.host}`."
                )
            data = b"".join(body(answer, realm, limit=JSON_LIMIT))
        fields = object_of(parse_json(data, f"the answer of {realm}"), "a token's answer")
        token = string(fields.get("token")) or string(fields.get("access_token")) or ""
        return f"Bearer {token}" if token.isascii() and token.isprintable() else None

    def _refused(self, status: int, repository: str, url: str, what: str) -> ImagelabError:
        if status == 404:
            return ImageNotFound(f"{self.host}/{repository} holds no {url.rpartition('/')[2]}: {what}.")
        if status in (401, 403):
            known = "the stored credentials are not enough" if credentials(self.host) else "no credentials are known"
            return RegistryUnavailable(
                f"{self.host} refuses {repository}: {what}; {known}. Try `docker login {self.host}`. Some registries "
                "answer so where there is no such repository."
            )
        return RegistryUnavailable(f"{self.host} answers {url} with {what}.")


def verified(pieces: Iterable[bytes], digest: str, what: str, size: int | None = None) -> Iterator[bytes]:
    """The pieces as they come; at their end, an error where they are not what ``digest`` names."""
    state, done = hashlib.sha256(), 0
    for piece in pieces:
        state.update(piece)
        done += len(piece)
        if size is not None and done > size:
            raise ArchiveError(f"{what} has more than the {size} bytes that the manifest states.")
        yield piece
    if f"sha256:{state.hexdigest()}" != digest:
        raise ArchiveError(f"{what} is damaged: its {done} bytes have the digest sha256:{state.hexdigest()}.")


def _retry_after(answer: requests.Response) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110: seconds, or a date)."""
    try:
        return urllib3.Retry().parse_retry_after(answer.headers["Retry-After"])
    except (KeyError, urllib3.exceptions.InvalidHeader, ValueError, OverflowError):  # no such number, no such date
        return None


def _complaint(answer: requests.Response) -> str:
    """The status, and what the registry says of it, in one line."""
    try:
        data = b"".join(body(answer, "the complaint", limit=1 << 16))
        errors = mappings(mapping(parse_json(data, "the complaint")).get("errors"))[:3]
        message = "; ".join(filter(None, (text(error.get("message")) or text(error.get("code")) for error in errors)))
    except (*_BROKEN, ArchiveError):
        message = ""
    return " ".join(f"{answer.status_code} {message or answer.reason or ''}".split())[:400]
