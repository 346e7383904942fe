"""Parse references to images: the transport, the path of an archive, and the name of an image.

Sources: containers-transports(5); distribution's reference grammar, and how Docker completes a short name.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

HUB = "docker.io"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
#: Transports whose reference begins with a path.
PATH_TRANSPORTS = ("docker-archive", "oci-archive", "oci", "dir", "snapshot")
TRANSPORTS = ("docker-daemon", *PATH_TRANSPORTS, "docker", "containers-storage", "example")
_HUB_HOSTS = (HUB, "index.docker.io", "registry-1.docker.io")
_PATH_STARTS = ("/", ".", "~")
_PATH_ENDS = (".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst", ".parquet")
#: What the folder of an image contains: an OCI layout one of the first two, skopeo's ``dir:`` both files of the last.
_LAYOUT_FILES = ({"index.json"}, {"oci-layout"}, {"manifest.json", "version"})
_REPOSITORY = re.compile(
    r"([a-z0-9._/-]{1,255}?)(?::(\w[\w.-]{0,127}))?(?:@([A-Za-z][\w+.-]*:[0-9a-fA-F]+))?", re.ASCII
)
_HOST = re.compile(r"(?:[\w.-]+|\[[0-9a-fA-F:]+\])(?::\d{1,5})?", re.ASCII)


class ImageName(NamedTuple):
    """A name of an image in full: ``busybox`` is the repository ``library/busybox`` of the host ``docker.io``."""

    host: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def target(self) -> str:
        """The digest, else the tag, else ``latest``."""
        return self.digest or self.tag or "latest"

    @property
    def familiar(self) -> str:
        """The name without tag and digest, as Docker shows it.

        >>> parse_image_name("index.docker.io/library/busybox:latest").familiar
        'busybox'
        """
        return self.repository.removeprefix("library/") if self.host == HUB else f"{self.host}/{self.repository}"


class ParsedReference(NamedTuple):
    """A reference in its parts.

    Attributes
    ----------
    transport : str or None
        One of `TRANSPORTS`; None for a bare path or name.
    path : str or None
        Of an archive, layout or snapshot.
    name : str or None
        An image's name, tag, digest or position (``@1``): behind the path, or the whole name.
    """

    transport: str | None
    path: str | None
    name: str | None

    @property
    def image_name(self) -> ImageName | None:
        return parse_image_name(self.name or "")


def parse_image_name(name: str) -> ImageName | None:
    """``[HOST/]REPOSITORY[:TAG][@DIGEST]`` as Docker reads it; None if it is not such a name, as an image's id.

    >>> parse_image_name("busybox")
    ImageName(host='docker.io', repository='library/busybox', tag=None, digest=None)
    """
    if DIGEST.fullmatch(name):
        return None
    host, slash, path = name.partition("/")
    if not slash or not (set(host) & set(".:[") or host == "localhost"):
        host, path = HUB, name
    host = HUB if host in _HUB_HOSTS else host
    path = f"library/{path}" if host == HUB and "/" not in path.partition("@")[0] else path
    found = _REPOSITORY.fullmatch(path)
    if not found or not _HOST.fullmatch(host) or any(part in ("", ".", "..") for part in found[1].split("/")):
        return None
    return ImageName(host, found[1], found[2], found[3])


def parse_reference(reference: str) -> ParsedReference:
    """A reference in its parts. Looks at the disk: of several ways to split ``PATH:NAME``, an existing path wins.

    >>> parse_reference("docker-archive:/tmp/v1.tar:app:v1")
    ParsedReference(transport='docker-archive', path='/tmp/v1.tar', name='app:v1')
    """
    transport, colon, rest = reference.partition(":")
    if not colon or transport not in TRANSPORTS or (transport == "docker" and not rest.startswith("//")):
        path, name = _split_path(reference)  # docker:24 is a name in the engine
        return ParsedReference(None, path, name) if looks_like_path(path) else ParsedReference(None, None, reference)
    if transport in ("snapshot", "dir"):
        return ParsedReference(transport, _path(rest), None)
    if transport in PATH_TRANSPORTS:
        return ParsedReference(transport, *_split_path(_path(rest)))
    return ParsedReference(transport, None, rest.removeprefix("//") if transport == "docker" else rest)


def repository_and_tag(reference: str) -> tuple[str, str | None]:
    """The familiar name of a reference's repository, and its tag; the path if it has no name.

    >>> repository_and_tag("docker://docker.io/library/busybox:1.36")
    ('busybox', '1.36')
    """
    parsed = parse_reference(reference)
    if parsed.transport in ("oci", "oci-archive") and parsed.name and ":" not in parsed.name:
        return str(parsed.path), parsed.name  # these transports put a tag behind the path
    if name := parsed.image_name:
        return name.familiar, name.tag
    return parsed.path or parsed.name or reference, None


def looks_like_path(path: str) -> bool:
    """Whether a bare reference is a path: it is spelled as one, or it exists and is a file or a layout."""
    if path == "-" or path.startswith(_PATH_STARTS) or path.endswith(_PATH_ENDS):
        return True
    if os.path.isdir(path):
        own = set(os.listdir(path)) if os.access(path, os.R_OK) else set()
        return os.sep in path or any(files <= own for files in _LAYOUT_FILES)
    return os.path.exists(path)


def _path(rest: str) -> str:
    """The path behind a transport; dive writes ``docker-archive://FILE``."""
    bare = rest.removeprefix("//")
    return bare if os.path.exists(bare) or not os.path.exists(rest) else rest


def _split_path(rest: str) -> tuple[str, str | None]:
    """``PATH[:NAME]``: the longest beginning that exists is the path, else what is before the first colon."""
    end = len(rest)
    while end > 0:
        if os.path.exists(rest[:end]):
            return rest[:end], rest[end + 1 :] or None
        end = rest.rfind(":", 0, end)
    path, _, name = rest.partition(":")
    return path, name or None
