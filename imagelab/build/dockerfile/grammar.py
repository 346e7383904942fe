"""Parse a Dockerfile's text into instructions, with e2b-dockerfile-utils' port of BuildKit's parser."""

from __future__ import annotations

import re

from e2b_dockerfile_utils import DockerfileInstruction, DockerfileSyntaxError, parse_dockerfile_ast

from imagelab.build.dockerfile import e2b  # noqa: F401  heredocs after ONBUILD
from imagelab.core.errors import DockerfileError

MAX_LINE = 65_535  # bytes; BuildKit's parser refuses longer ones

_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*$")

_MOUNT_ALIASES = {"dst": "target", "destination": "target", "src": "source", "ro": "readonly", "readwrite": "rw"}


def instructions(text: str) -> tuple[list[DockerfileInstruction], str]:
    """The instructions and the escape character; DockerfileError, with the line, on a syntax error."""
    for n, line in enumerate(text.split("\n"), 1):
        if len(line) > MAX_LINE // 4 and len(line.encode("utf-8", "replace")) > MAX_LINE:
            raise DockerfileError(f"Dockerfile line {n}: longer than {MAX_LINE:,} bytes, BuildKit's limit.")
    try:
        tree = parse_dockerfile_ast(text)
    except DockerfileSyntaxError as error:
        message = str(error).removeprefix("Dockerfile parse error ").removeprefix(f"on line {error.line}: ")
        raise DockerfileError(f"Dockerfile line {error.line or 1}: {message[:300]}.") from error
    except (ValueError, RecursionError, IndexError) as error:
        raise DockerfileError(f"The Dockerfile cannot be parsed: {str(error)[:300]}.") from error
    if not tree.instructions:
        what = "contains only comments" if text.strip() else "is empty"
        raise DockerfileError(f"Dockerfile line 1: the file {what}; it needs at least one FROM instruction.")
    return tree.instructions, tree.escape_token


def written(node: DockerfileInstruction) -> str:
    """The arguments as written, with continuation lines joined."""
    return re.sub(r"^\s*\S+\s*", "", node.original).strip()


def parse_mount(text: str) -> dict[str, str]:
    """The fields of a ``--mount`` flag; aliases are replaced by the long names."""
    fields = (part.partition("=")[::2] for part in text.split(","))
    named = {name.strip().lower(): value for name, value in fields}
    return {"type": "bind", "target": "", **{_MOUNT_ALIASES.get(name, name): value for name, value in named.items()}}


def directives(text: str) -> dict[str, str]:
    """The parser directives (``syntax``, ``escape``, ``check``) in the comments at the start of the file."""
    found: dict[str, str] = {}
    for line in text.removeprefix("\ufeff").split("\n"):
        match = _DIRECTIVE.match(line.strip())
        if not match or match[1].lower() not in ("syntax", "escape", "check"):
            break
        found[match[1].lower()] = match[2]
    return found
