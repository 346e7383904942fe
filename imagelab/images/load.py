"""Where images come from: ``load_image`` picks the source by transport."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from imagelab.core.errors import ArchiveError, ImageNotFound
from imagelab.core.model import Image
from imagelab.core.resources import example_path
from imagelab.images.sources.assemble import normal_platform

TRANSPORTS = ("docker-daemon", "docker-archive", "oci", "oci-archive", "docker", "snapshot", "example")
_PARQUET = b"PAR1"


def load_image(reference: str | os.PathLike[str], *, platform: str | None = None, redact: bool = True) -> Image:
    """One image, from wherever the reference says.

    Parameters
    ----------
    reference : str or path
        ``docker-daemon:NAME``, ``docker-archive:PATH[:NAME]``, ``oci:DIR[:TAG]``, ``oci-archive:PATH[:TAG]``,
        ``docker://HOST/REPO:TAG``, ``snapshot:PATH`` (the names of containers-transports(5)), or
        ``example:NAME`` for the snapshots that come with imagelab. A bare path is looked at; any
        other bare name is the engine's.
    platform : str, optional
        ``os/architecture[/variant]``, where the source holds several; ``os(version)/architecture`` for Windows'.
    redact : bool
        Mask what looks like a secret (the default).

    Returns
    -------
    Image
        Reads no layer yet: ``il.files`` does, and then an engine saves the image.

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
    """The variant may be left out of what is wanted, and of a config, where the index tells it."""
    full = normal_platform(wanted)
    told_less = own.count("/") == 1 and full.startswith(f"{own}/")
    return normal_platform(own) == full or told_less or own.startswith(f"{wanted}/")


def _load(reference: str, platform: str | None, redact: bool) -> Image:
    transport, colon, rest = reference.partition(":")
    # docker:24 is a name in the engine
    if not colon or transport not in TRANSPORTS or (transport == "docker" and not rest.startswith("//")):
        transport, rest = _looked_at(reference)
    if not rest:
        raise ImageNotFound(
            f"{reference!r} names no image: give a name, a path, or more behind one of {', '.join(TRANSPORTS)}."
        )
    if transport == "docker-daemon":
        from imagelab.images.sources.daemon import load_daemon

        return load_daemon(reference, rest, redact)
    if transport == "docker":
        from imagelab.images.sources.registry.source import load_registry

        return load_registry(reference, rest, platform, redact)
    if transport == "example":
        from imagelab.images.sources.snapshot import load_snapshot

        return load_snapshot(rest, example_path(rest))
    path, name = _split(rest)
    if transport == "snapshot":
        from imagelab.images.sources.snapshot import load_snapshot

        return load_snapshot(path.stem if path.suffix == ".parquet" else path.name, _existing(Path(rest)))
    from imagelab.images.sources.archive import load_archive

    if transport == "oci" and not path.is_dir():
        raise ArchiveError(f"{path} is no directory; an OCI layout in a file is oci-archive:{path}")
    return load_archive(reference, _existing(path), name, platform, redact)


def _looked_at(reference: str) -> tuple[str, str]:
    """Transport and rest of a bare path or name."""
    path, _ = _split(reference)
    if os.path.isfile(path):
        try:
            with path.open("rb") as file:
                return "snapshot" if file.read(4) == _PARQUET else "docker-archive", reference
        except OSError as error:
            raise ArchiveError(f"{path} cannot be read: {error.strerror}.") from error
    if any(os.path.isfile(path / name) for name in ("index.json", "oci-layout")):
        return "docker-archive", reference
    no_name = reference.startswith(("/", ".", "~")) or path.suffix in (".tar", ".parquet", ".tgz", ".gz", ".zst")
    if os.path.isdir(path) and (no_name or os.sep in reference):
        if os.path.isfile(path / "manifest.json"):
            return "docker-archive", reference
        raise ArchiveError(f"{path} is a directory, but no OCI layout: it has no index.json.")
    if no_name:
        _existing(path)
    return "docker-daemon", reference


def _split(rest: str) -> tuple[Path, str | None]:
    """PATH[:NAME]: the longest beginning that exists is the path."""
    end = len(rest)
    while end > 0:
        if os.path.exists(rest[:end]):
            return Path(rest[:end]), rest[end + 1 :] or None
        end = rest.rfind(":", 0, end)
    head, _, name = rest.partition(":")
    return Path(head), name or None


def _existing(path: Path) -> Path:
    if not os.path.exists(path):
        raise ImageNotFound(f"there is no file or layout {path}. Paths are taken from {Path.cwd()}.")
    return path
