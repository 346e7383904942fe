"""Select the paths of a build context that an instruction reads."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator

from e2b_dockerfile_utils import PatternMatcher

from imagelab.build.dockerfile.syntax import Step
from imagelab.core.errors import DockerfileError

_REMOTE = re.compile(r"https?://|git@|git://|ssh://|[^/]+\.git(#|$)", re.I)


def context_path(path: str) -> str:
    """Normalise a path of the context: relative to the root, ``.`` for the root, never above it."""
    return posixpath.normpath("/" + path).lstrip("/") or "."


def is_remote(source: str) -> bool:
    """Whether an ADD's source is a URL or a Git repository."""
    return bool(_REMOTE.match(source))


def select(paths: Iterable[str], source: str, exclude: Iterable[str] = ()) -> list[str]:
    """The paths that ``source`` names, and everything below them; wildcards are those of Go's ``filepath.Match``."""
    source = context_path(source)
    if source == ".":
        chosen = list(paths)
    elif re.search(r"[*?\[\\]", source):
        matcher = _matcher("./", [source])
        chosen = [path for path in paths if matcher.matches(path)]
    else:
        chosen = [path for path in paths if path == source or path.startswith(source + "/")]
    if exclude:
        matcher = _matcher("**/", [pattern.lstrip("/") for pattern in exclude])
        chosen = [path for path in chosen if not matcher.matches(path)]
    return chosen


def _matcher(root: str, patterns: list[str]) -> PatternMatcher:
    try:
        return PatternMatcher([root + pattern for pattern in patterns])
    except ValueError as error:
        why = str(error).rpartition(": ")[2]
        raise DockerfileError(f"{' '.join(patterns)!r} is not a valid COPY pattern: {why}.") from error


def copied(step: Step) -> list[str]:
    """The file sources of a COPY or ADD: paths of the context, or of what ``--from`` names."""
    if step.instruction not in ("COPY", "ADD"):
        return []
    inline = {name for name, _ in step.heredocs}
    sources = [word for word in step.words[:-1] if not (word.startswith("<<") and word.strip("<-\"'") in inline)]
    return [word for word in sources if step.instruction == "COPY" or not is_remote(word)]


def context_sources(step: Step) -> Iterator[str]:
    """The context paths that a step reads: sources of COPY and ADD, and of bind mounts without ``from``."""
    if step.flag("from") is None:
        yield from copied(step)
    for mount in step.mounts:
        if mount["type"] == "bind" and "from" not in mount:
            yield mount.get("source", ".")
