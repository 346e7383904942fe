"""Load an image from the source that its reference names."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from imagelab.core.errors import ArchiveError, ImagelabError, ImageNotFound
from imagelab.core.model import Image
from imagelab.core.references import TRANSPORTS, parse_reference
from imagelab.core.resources import example_path
from imagelab.images.sources.assemble import normal_platform

_FORMS = ", ".join(f"{transport}:…" for transport in TRANSPORTS)


def load_image(reference: str | os.PathLike[str], *, platform: str | None = None, redact: bool = True) -> Image:
    """Load one image from the source that its reference names.

    Touches an engine, a registry or the disk, as the reference says.

    Parameters
    ----------
    reference : str or path
        ``docker-daemon:NAME``, ``docker-archive:PATH[:NAME]``, ``oci:DIR[:TAG]``, ``oci-archive:PATH[:TAG]``,
        ``dir:DIR``, ``docker://HOST/REPO:TAG``, ``containers-storage:NAME`` (the names of containers-transports(5)),
        ``snapshot:PATH``, ``-`` for an archive on standard input, or ``example:NAME`` for the snapshots that come with
        imagelab. A bare path is opened to see what it is; any other bare name is the engine's. Behind the path of an
        archive, ``@0``, ``@1`` … or ``sha256:…`` choose an image that has no tag.
    platform : str, optional
        ``os/architecture[/variant]``, if the source has several; ``os(version)/architecture`` for Windows.
    redact : bool
        Mask what looks like a secret (the default).

    Returns
    -------
    Image
        No layer is read yet: ``il.files`` reads them, and then an engine saves the image. An archive on standard input or
        in ``containers-storage`` is copied into a temporary file, which is deleted at exit.

    Raises
    ------
    ImagelabError
        ``DaemonUnavailable``, ``ImageNotFound`` or ``ArchiveError``, with what to do next.
    """
    reference = os.fspath(reference)
    image = _load(reference, platform, redact)
    label = image.reference.encode(errors="surrogateescape").decode(errors="backslashreplace")  # a path may be no text
    if label != image.reference:
        image = replace(image, reference=label)
    if platform and image.platform and not _is_for(platform, image.platform):
        raise ImageNotFound(f"{reference} is for {image.platform}, not for {platform}.")
    return image


def _is_for(wanted: str, own: str) -> bool:
    """Whether the platforms are the same; either may omit the variant, which only the index may state."""
    full = normal_platform(wanted)
    omits_variant = own.count("/") == 1 and full.startswith(f"{own}/")
    return normal_platform(own) == full or omits_variant or own.startswith(f"{wanted}/")


def _load(reference: str, platform: str | None, redact: bool) -> Image:
    transport, path, name = parse_reference(reference)
    if not (path or name):
        raise ImageNotFound(f"{reference!r} is an empty reference; expected a name, a path or one of {_FORMS}.")
    if transport == "example":
        return _load_path(reference, "snapshot", example_path(str(name)), None, platform, redact)
    if transport == "docker":
        from imagelab.images.sources.registry.source import load_registry

        return load_registry(reference, str(name), platform, redact)
    if transport == "containers-storage":
        from imagelab.images.sources.spool import spool_storage

        return _load_path(reference, transport, spool_storage(str(name)), None, platform, redact)
    if path is None:
        from imagelab.images.sources.daemon_images import load_daemon

        try:
            return load_daemon(reference, str(name), platform, redact)
        except ImagelabError as error:
            if transport is None and os.path.isdir(reference):
                raise ImageNotFound(
                    f"{error}\nThe folder {reference} here is not an image: no index.json, and no manifest.json with version."
                ) from error
            raise
    return _load_path(reference, transport, Path(path), name, platform, redact)


def _load_path(
    reference: str, transport: str | None, path: Path, name: str | None, platform: str | None, redact: bool
) -> Image:
    is_stdin = str(path) in ("-", "/dev/stdin")
    if not is_stdin and not os.path.exists(path):
        raise ImageNotFound(f"there is no file or layout {path}. Paths are taken from {Path.cwd()}.")
    if is_stdin or path.is_fifo():
        from imagelab.images.sources.spool import spool_pipe, spool_stdin

        path = spool_stdin() if is_stdin else spool_pipe(path)
    if transport == "snapshot" or (transport is None and _is_parquet(path)):
        from imagelab.images.sources.snapshot import load_snapshot

        return load_snapshot(path.stem if path.suffix == ".parquet" else path.name, path)
    from imagelab.images.sources.archive import load_archive

    if transport == "oci" and not path.is_dir():
        raise ArchiveError(f"{path} is not a folder; an OCI layout in a file is oci-archive:{path}")
    return load_archive(reference, path, name, platform, redact)


def _is_parquet(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError:  # a folder, or one that cannot be read: the reader of archives says which
        return False
