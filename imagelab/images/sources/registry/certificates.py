"""Certificates of single registries, as Docker and containers-certs.d(5) keep them: ``certs.d/HOST[:PORT]``."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagelab.core.errors import RegistryUnavailable
from imagelab.images.sources.transfer import PacedAdapter


class CertificatesAdapter(PacedAdapter):
    """Trusts a registry's own authorities (``*.crt``) beside the usual ones, and shows a client's ``*.cert``, ``*.key``."""

    def __init__(self, folder: Path) -> None:
        self._context = ssl.create_default_context()
        path = folder
        try:
            for path in sorted(folder.glob("*.crt")):
                self._context.load_verify_locations(path)
            for path in sorted(folder.glob("*.cert")):
                self._context.load_cert_chain(path, path.with_suffix(".key"))
        except OSError as error:  # ssl.SSLError is one
            raise RegistryUnavailable(f"{path} cannot be read as a certificate with its key: {error}.") from error
        super().__init__(RegistryUnavailable)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **options)


def certificate_folder(host: str) -> Path | None:
    """The first folder of certificates for a registry, where podman and Docker look."""
    return next((folder for folder in _folders(host) if folder.is_dir()), None)


def _folders(host: str) -> Iterator[Path]:
    for parent in (Path.home() / ".config" / "containers", Path("/etc/containers"), Path("/etc/docker")):
        yield parent / "certs.d" / host
    yield Path.home() / ".config" / "docker" / "certs.d" / host  # rootless
