"""A Dockerfile's text → its instructions, by BuildKit's grammar as e2b-dockerfile-utils ports it."""

from __future__ import annotations

import re

from e2b_dockerfile_utils import DockerfileInstruction, DockerfileSyntaxError, parse_dockerfile_ast, syntax

from imagelab.core.errors import DockerfileError

MAX_LINE = 65_535  # bytes; BuildKit's parser refuses longer ones

_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*$")

_MOUNT_ALIASES = {"dst": "target", "destination": "target", "src": "source", "ro": "readonly", "readwrite": "rw"}

# A trigger can hold documents too (BuildKit's heredocCompoundDirectives), which the port does not know.
syntax._HEREDOC_INSTRUCTIONS.add("ONBUILD")


def instructions(text: str) -> tuple[list[DockerfileInstruction], str]:
    """The instructions and the escape character; DockerfileError, with the line, where the grammar does not hold."""
    for n, line in enumerate(text.split("\n"), 1):
        if len(line) > MAX_LINE // 4 and len(line.encode("utf-8", "replace")) > MAX_LINE:
            raise DockerfileError(f"Dockerfile line {n}: it is longer than {MAX_LINE:,} bytes, which BuildKit refuses.")
    try:
        tree = parse_dockerfile_ast(text)
    except DockerfileSyntaxError as error:
        message = str(error).removeprefix("Dockerfile parse error ").removeprefix(f"on line {error.line}: ")
        raise DockerfileError(f"Dockerfile line {error.line or 1}: {message[:300]}.") from error
    except (ValueError, RecursionError, IndexError) as error:
        raise DockerfileError(f"The Dockerfile cannot be parsed: {str(error)[:300]}.") from error
    if not tree.instructions:
        what = "only comments" if text.strip() else "nothing"
        raise DockerfileError(f"Dockerfile line 1: the file holds {what}; it needs one instruction, FROM, at least.")
    return tree.instructions, tree.escape_token


def written(node: DockerfileInstruction) -> str:
    """The arguments as they stand in the file, continuation lines joined."""
    return re.sub(r"^\s*\S+\s*", "", node.original).strip()


def parse_mount(text: str) -> dict[str, str]:
    """The fields of a ``--mount``, names in their long form."""
    fields = (part.partition("=")[::2] for part in text.split(","))
    named = {name.strip().lower(): value for name, value in fields}
    return {"type": "bind", "target": "", **{_MOUNT_ALIASES.get(name, name): value for name, value in named.items()}}


def directives(text: str) -> dict[str, str]:
    """``syntax``, ``escape`` and ``check``, from the comments that begin the file."""
    found: dict[str, str] = {}
    for line in text.removeprefix("\ufeff").split("\n"):
        match = _DIRECTIVE.match(line.strip())
        if not match or match[1].lower() not in ("syntax", "escape", "check"):
            break
        found[match[1].lower()] = match[2]
    return found
