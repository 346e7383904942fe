"""The errors that imagelab raises: each says what was given, what was expected and what to do next."""

import difflib
from collections.abc import Iterable

from imagelab.core.text import printable


class ImagelabError(Exception):
    """Base of every error that imagelab raises for something its user can act on. Its text is safe to print."""

    def __str__(self) -> str:
        return printable(super().__str__())


class DaemonUnavailable(ImagelabError):
    """No container engine answers where one was looked for."""


class ImageNotFound(ImagelabError):
    """The engine, archive or layout holds no image of this name, or several that fit."""


class RegistryUnavailable(ImagelabError):
    """A registry does not answer, answers with errors, limits the rate, or refuses these credentials."""


class ArchiveError(ImagelabError):
    """An image archive, layout, layer or snapshot that is damaged or is not one."""


class ScanFormatError(ImagelabError):
    """A scanner's report that is damaged, or of a kind that is not read."""


class DockerfileError(ImagelabError):
    """A Dockerfile, build context or build log that cannot be read; names the line where there is one."""


class MissingExtra(ImagelabError, ImportError):
    """A part of the package needs an optional dependency that is not installed; names the extra."""


def similar_names(name: object, known: Iterable[str]) -> str:
    """A sentence for an error message: the known names most like ``name``, else the first ones.

    >>> similar_names("buzybox", ["alpine", "busybox", "debian"])
    'Similar names: busybox.'
    >>> similar_names("x", ["alpine", "busybox"])
    'Known names: alpine, busybox.'
    """
    known = list(dict.fromkeys(known))
    if near := difflib.get_close_matches(str(name), known, 5, 0.4):
        return f"Similar names: {', '.join(near)}."
    more = f" and {len(known) - 20} more" if len(known) > 20 else ""
    return f"Known names: {', '.join(known[:20]) or '(none)'}{more}."
