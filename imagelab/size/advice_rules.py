"""Read the rules of ``il.advise`` from ``advice_rules.toml``, and know which packages compile and link."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from imagelab.core.terms import LIKELY


class Rule(NamedTuple):
    """One rule.

    Attributes
    ----------
    name : str
    what, suggestion : str
        What the files are, and what to write instead.
    paths : str
        Regular expression over the absolute paths of visible files; empty where more than a path decides.
    confidence : str
        ``exact`` (the ledger counts the bytes, or the files are a cache that no program needs), ``likely``, or
        ``possible`` (look before you delete).
    only_copy : bool
        The rule applies only to files that a COPY or ADD brought from the build context.
    """

    name: str
    what: str
    suggestion: str
    paths: str = ""
    confidence: str = LIKELY
    only_copy: bool = False


def _read() -> Iterator[Rule]:
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    for name, fields in table.items():
        yield Rule(name, **fields)


_BY_NAME = {rule.name: rule for rule in _read()}
NAMES = list(_BY_NAME)
#: A file belongs to the first of these that fits it; build tools are found by their packages.
RULES = tuple(rule for rule in _BY_NAME.values() if rule.paths or rule.name == "build-tools")
BUILD_TOOLS, HEAVY_BASE = _BY_NAME["build-tools"], _BY_NAME["heavy-base"]
DELETED, OVERWRITTEN = _BY_NAME["deleted-later"], _BY_NAME["overwritten-later"]
REWRITTEN, DUPLICATED = _BY_NAME["rewritten-unchanged"], _BY_NAME["duplicate-content"]
ANY_PATH = "|".join(f"(?:{rule.paths})" for rule in RULES if rule.paths)

#: Packages of Debian, Alpine and Fedora that compile and link, by the distributions' own package descriptions.
BUILD_PACKAGES = (
    r"^(?:build-essential|build-base|binutils(?:-.*)?|libbinutils|g?cc(?:-[\d.]+)?(?:-base)?|g\+\+(?:-[\d.]+)?|gcc-c\+\+|cpp(?:-[\d.]+)?|"
    r"make|cmake(?:-data)?|ninja-build|autoconf|automake|libtool|m4|bison|flex|patch|pkg-?conf(?:ig)?(?:-bin)?|dpkg-dev|libdpkg-perl|"
    r"fakeroot|libfakeroot|clang(?:-.*)?|llvm(?:-.*)?|libllvm\d*|rustc|cargo|golang(?:-.*)?|lib(?:gcc|stdc\+\+|c6?|asan\d*|tsan\d*|ubsan\d*|"
    r"lsan\d*|itm\d*|cc1-\d+|isl\d+|mpc\d+|mpfr\d+|ctf\d*|ctf-nobfd\d*|gprofng\d*|quadmath\d*)(?:-\d+)?(?:-dev)?|linux-libc-dev|linux-headers|"
    r".+-(?:dev|devel|headers|static))$"
)
#: Names among them that programs need at run time.
RUNTIME_PACKAGES = r"^(?:libgcc(?:-s1)?|libstdc\+\+6?|libc6?|gcc-\d+-base|gcc-base)$"
