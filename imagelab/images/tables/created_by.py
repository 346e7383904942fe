"""A history entry's command, read back as the instruction that it was.

Two dialects, as measured on Engine 20.10 and 28: BuildKit writes ``RUN /bin/sh -c … # buildkit`` or
``RUN |1 K=V /bin/sh -c … # buildkit`` and everything else as in the Dockerfile; the classic builder writes
``/bin/sh -c #(nop)  CMD …`` for what runs nothing, and the bare command for RUN, behind the SHELL that was set (on
Windows ``cmd /S /C``).
"""

from __future__ import annotations

import re
from typing import NamedTuple

INSTRUCTIONS = frozenset(
    ("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD")
) | {"RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}
#: What makes a layer, even an empty one (BuildKit), or can make one (classic builder).
LAYER_MAKERS = frozenset({"ADD", "COPY", "RUN", "WORKDIR"})

_NOP = re.compile(r"(?:(?:\|\d+ .*?)?/bin/sh -c|[^#]{1,400}?) #\(nop\)\s+", re.DOTALL)  # behind whichever SHELL was set
_SHELL = re.compile(r"(?:/bin/(?:ba|da|a)?sh|/bin/bash -o pipefail) -c ")
_OTHER_SHELL = re.compile(  # it stays in the arguments, but tells a RUN
    r"/\S*bin/(?:env )?\w*sh(?: -\S+(?: pipefail)?){0,9}? -\w*c |cmd(?:\.exe)? /S /C "
    r"|(?:powershell|pwsh)(?:\.exe)? .{0,200}?-Command ",
    re.IGNORECASE,
)
_BUILD_ARGS = re.compile(r"\|\d+ ")
_SHELL_FOLLOWS = re.compile(r" (?=/\S+ (?:-\S+ |pipefail )*-\S*c |cmd /S /C |powershell )")
_PAIRS = re.compile(r"(?:[A-Za-z_]\w*=\S* )*")


class Command(NamedTuple):
    """``instruction`` is None where the text is of no known dialect (imports, other builders)."""

    instruction: str | None
    arguments: str
    builder: str


def parse_created_by(created_by: str, comment: str = "") -> Command:
    """Instruction, its arguments, and which builder wrote the entry.

    >>> parse_created_by("RUN |1 V=2 /bin/sh -c echo $V # buildkit", "buildkit.dockerfile.v0")
    Command(instruction='RUN', arguments='echo $V', builder='buildkit')
    >>> parse_created_by('/bin/sh -c #(nop)  CMD ["sh"]')
    Command(instruction='CMD', arguments='["sh"]', builder='classic')
    """
    text = created_by.strip()
    word, _, rest = text.partition(" ")
    if comment.startswith("buildkit") or text.endswith("# buildkit"):
        if word.upper() in INSTRUCTIONS:
            rest = rest.removesuffix("# buildkit").rstrip()
            return Command(word.upper(), _shell_command(rest) if word.upper() == "RUN" else rest, "buildkit")
        return Command(None, text, "buildkit")
    if nop := _NOP.match(text):
        word, _, rest = text[nop.end() :].partition(" ")
        known = word.upper() in INSTRUCTIONS
        return Command(word.upper() if known else None, rest.strip() if known else text[nop.end() :], "classic")
    if _SHELL.match(text) or _OTHER_SHELL.match(text) or _BUILD_ARGS.match(text):
        return Command("RUN", _shell_command(text), "classic")
    if word.upper() in INSTRUCTIONS and word.isupper():  # other builders (buildah, kaniko, debuerreotype's pages)
        return Command(word, _shell_command(rest) if word == "RUN" else rest, "unknown")
    return Command(None, text, "unknown")


def _shell_command(text: str) -> str:
    """Without the recorded build arguments and the shell in front."""
    if found := _BUILD_ARGS.match(text):
        # values can hold spaces and paths, so the shell tells where they end; the exec form has none
        end = _SHELL_FOLLOWS.search(text, found.end()) or _PAIRS.match(text, found.end())
        text = text[end.end() if end else found.end() :]
    return text[found.end() :] if (found := _SHELL.match(text)) else text
