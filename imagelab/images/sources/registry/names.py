"""Names of images in registries, as Docker reads them (distribution's reference grammar)."""

from __future__ import annotations

import re
from typing import NamedTuple

from imagelab.core.errors import ImageNotFound
from imagelab.images.sources.registry.auth import HUB

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Name(NamedTuple):
    """What a reference names: ``target`` is a tag or a digest."""

    host: str
    repository: str
    target: str


def parse_name(reference: str) -> Name:
    """``[docker://][HOST/]REPO[:TAG][@DIGEST]``; without a host it is Docker Hub's, as Docker reads it.

    >>> parse_name("docker://busybox")
    Name(host='docker.io', repository='library/busybox', target='latest')

    Raises
    ------
    ImageNotFound
        It is no such name. (What could be a password in it is not repeated.)
    """
    rest = reference.removeprefix("docker:").removeprefix("//")
    head, slash, tail = rest.partition("/")
    if not slash or not (set(head) & set(".:[") or head == "localhost"):
        head, tail = HUB, rest if slash else f"library/{rest}"
    head = HUB if head in ("index.docker.io", "registry-1.docker.io") else head
    tail = f"library/{tail}" if head == HUB and "/" not in tail else tail
    found = re.fullmatch(r"([a-z0-9._/-]{1,255}?)(?::(\w[\w.-]{0,127}))?(?:@([\w+.-]+:[0-9a-fA-F]+))?", tail, re.ASCII)
    host = re.fullmatch(r"(?:[\w.-]+|\[[0-9a-fA-F:]+\])(?::\d{1,5})?", head, re.ASCII)
    if not found or not host or any(part in ("", ".", "..") for part in found[1].split("/")):
        shown = reference if "@" not in rest.partition("/")[0] else f"docker://…@{rest.rpartition('@')[2]}"
        raise ImageNotFound(
            f"{shown} names no image in a registry: docker://HOST/REPO:TAG or docker://HOST/REPO@sha256:…, lower case, "
            "credentials from `docker login`."
        )
    if found[3] and not DIGEST.fullmatch(found[3]):
        raise ImageNotFound(f"{reference}: sha256: and 64 hexadecimal digits is the digest that is read.")
    return Name(head, found[1], found[3] or found[2] or "latest")
