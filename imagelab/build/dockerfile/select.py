"""Select the paths of a build context that an instruction reads."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial

from imagelab.build.dockerfile.e2b import Pattern, compile_pattern, decide
from imagelab.build.dockerfile.syntax import Step
from imagelab.core.errors import DockerfileError

_REMOTE = re.compile(r"https?://|git@|git://|ssh://|[^/]+\.git(#|$)", re.I)


def context_path(path: str) -> str:
    """Normalise a path of the context: relative to the root, ``.`` for the root, never above it."""
    return posixpath.normpath("/" + path).lstrip("/") or "."


def is_remote(source: str) -> bool:
    """Whether an ADD's source is a URL or a Git repository."""
    return bool(_REMOTE.match(source))


def prefixes(path: str) -> list[str]:
    """Each directory above a path, from the top, and the path itself."""
    parts = path.split("/")
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def select(paths: Iterable[str], source: str, exclude: Collection[str] = (), include: str | None = None) -> list[str]:
    """The paths that ``source`` names, and everything below them.

    The wildcards of ``source`` are those of Go's ``path.Match``, where ``**`` is ``*``. The patterns in ``exclude``, and
    the pattern of ``COPY --parents`` in ``include``, are moby's and relative to the path that ``source`` matches. A
    directory is kept if something below it is kept.
    """
    source = context_path(source)
    depth = 0 if source == "." else source.count("/") + 1
    matches: Callable[[str], bool] = source.__eq__
    if re.search(r"[*?\[\\]", source):
        matches = _compiled(source, lambda: compile_pattern("./" + re.sub(r"\*{2,}", "*", source))).match
    # Unlike .dockerignore, --exclude keeps a leading slash, which no relative path has.
    excluded = _matcher(pattern for pattern in exclude if not pattern.lstrip("!").startswith("/"))
    included = None if include is None else _matcher([include])
    chosen, kept = [], []
    for path in paths:
        parts = path.split("/")
        if not depth or matches("/".join(parts[:depth])):
            relative = "/".join(parts[depth:])
            chosen.append(path)
            if not (excluded and excluded(relative)) and (included is None or included(relative)):
                kept.append(path)
    if excluded is None and included is None:
        return chosen
    wanted = {above for path in kept for above in prefixes(path)}
    return [path for path in chosen if path in wanted]


def _matcher(patterns: Iterable[str]) -> Callable[[str], bool] | None:
    listed = [pattern for pattern in patterns if pattern.strip()]
    compiled = [_compiled(pattern, partial(compile_pattern, pattern)) for pattern in listed]

    def matches(path: str) -> bool:
        matched, states = False, list[bool]()
        for above in prefixes(path):
            matched, _, states = decide(compiled, above, states)
        return matched

    return matches if compiled else None


def _compiled(what: str, make: Callable[[], Pattern]) -> Pattern:
    try:
        return make()
    except ValueError as error:
        raise DockerfileError(f"{what!r} is not a valid COPY pattern: {str(error).rpartition(': ')[2]}.") from error


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
