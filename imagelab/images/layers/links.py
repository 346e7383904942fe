"""Follow symbolic links: in the final filesystem, in package lists, and in image archives."""

from __future__ import annotations

from collections.abc import Mapping

_PATH_MAX, _LINKS_MAX = 4096, 40  # bytes of a path that Linux opens, and links that it follows


def follow_links(path: str, links: Mapping[str, str]) -> str:
    """The absolute path that ``path`` leads to, links in its folders and at its end followed, kept below the root.

    Parameters
    ----------
    path : str
        Absolute.
    links : mapping
        Absolute clean path of each symbolic link → its target, absolute or relative.

    >>> follow_links("/lib/x", {"/lib": "usr/lib", "/usr/lib/x": "../y"})
    '/usr/y'
    """
    done, waiting, followed = "", path.split("/")[::-1], 0
    while waiting and links:
        part = waiting.pop()
        target = links.get(f"{done}/{part}")
        if part == "..":
            done = done.rpartition("/")[0]
        elif target is not None:
            followed += 1
            done = "" if target.startswith("/") else done
            waiting += target.split("/")[::-1]
        elif part not in ("", "."):
            done = f"{done}/{part}"
        if followed > _LINKS_MAX or len(done) > _PATH_MAX or len(target or "") > _PATH_MAX:
            return path
    return done if links else path
