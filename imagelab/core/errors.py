"""What can go wrong, in one place: every error says what was given, what was expected, what to do next."""


class ImagelabError(Exception):
    """Base of every error that imagelab raises for something its user can act on."""


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
