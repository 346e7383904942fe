"""Define the rules of ``il.advise``: which stored files can be left out, and what to write instead.

The order matters: a file belongs to the first rule that fits it, so that no byte counts twice. The paths come from the
tools' own documentation: apt-get(8), apk(5), dnf.conf(5), ``pip cache dir``, ``npm config get cache``, conda, Cargo
home, ``go env GOCACHE GOMODCACHE``, hier(7).
"""

from __future__ import annotations

from typing import NamedTuple

from imagelab.core.terms import EXACT, LIKELY, POSSIBLE


class Rule(NamedTuple):
    """One rule.

    Attributes
    ----------
    name : str
    paths : str
        Regular expression over the absolute paths of visible files; empty where more than a path decides.
    what, suggestion : str
        What the files are, and what to write instead.
    confidence : str
        ``exact`` (the ledger counts the bytes, or the files are a cache that no program needs), ``likely``, or
        ``possible`` (look before you delete).
    only_copy : bool
        The rule applies only to files that a COPY or ADD brought from the build context.
    """

    name: str
    paths: str
    what: str
    suggestion: str
    confidence: str = LIKELY
    only_copy: bool = False


_HOME = r"^/(?:root|home/[^/]+|var/www|github/home)"
_BUILT = r"(?:^|/)(?:usr|lib|include|bin|sbin|opt)/"

BUILD_TOOLS = Rule("build-tools", "", "compilers, headers and development packages",
    "compile in a separate stage and COPY --from the result; or install wheels instead of compiling")  # fmt: skip
RULES = (
    Rule("apt-lists", r"^/var/lib/apt/lists/.", "package lists of apt",
         "&& rm -rf /var/lib/apt/lists/* at the end of the same RUN; or RUN --mount=type=cache,target=/var/lib/apt/lists", EXACT),
    Rule("apt-cache", r"^/var/cache/(?:apt/.|debconf/.*-old$)", "downloaded packages and indexes of apt, backups of debconf",
         "&& apt-get clean && rm -rf /var/cache/apt/* /var/cache/debconf/*-old in the same RUN; or RUN --mount=type=cache,target=/var/cache/apt", EXACT),
    Rule("apk-cache", r"^/(?:var/cache/apk|etc/apk/cache)/.", "package index and downloads of apk", "apk add --no-cache", EXACT),
    Rule("dnf-cache", r"^/var/cache/(?:dnf|yum|libdnf5|zypp)/.", "metadata and downloads of dnf or yum",
         "&& dnf clean all && rm -rf /var/cache/dnf in the same RUN", EXACT),
    Rule("pip-cache", _HOME + r"/\.cache/(?:pip|uv|pypoetry)/.|^/tmp/pip-", "downloads of pip, uv or Poetry",
         "pip install --no-cache-dir …; or RUN --mount=type=cache,target=/root/.cache/pip", EXACT),
    Rule("npm-cache", _HOME + r"/(?:\.npm/_|\.cache/(?:yarn|node|pnpm)|\.yarn/(?:berry/)?cache)|^/usr/local/share/\.cache/yarn/",
         "downloads of npm or yarn", "npm ci && npm cache clean --force in one RUN; or RUN --mount=type=cache,target=/root/.npm", EXACT),
    Rule("conda-cache", r"(?:conda|mamba)[^/]*/pkgs/.", "downloads of conda", "&& conda clean -afy in the same RUN", EXACT),
    Rule("cargo-cache", r"/\.?cargo/(?:registry|git)/.", "sources and downloads of cargo",
         "build in a separate stage; or RUN --mount=type=cache,target=/usr/local/cargo/registry", LIKELY),
    Rule("go-cache", _HOME + r"/\.cache/go-build/.|/go/pkg/mod/.", "build cache and modules of go",
         "build in a separate stage and COPY --from the binary", LIKELY),
    Rule("git", r"/\.(?:git|hg|svn)/.", "version control history", ".git in .dockerignore; clone with --depth 1 and delete it in the same RUN"),
    Rule("virtual-environment", r"/(?:\.venv|venv|virtualenv|env)/(?:lib|lib64|bin|Scripts|include)/", "a virtual environment of the build context",
         ".venv, venv and env in .dockerignore: install in the image", LIKELY, True),
    Rule("copied-node-modules", r"/node_modules/.", "node_modules of the build context",
         "node_modules in .dockerignore; npm ci --omit=dev in the image", LIKELY, True),
    Rule("bytecode", r"/__pycache__/|\.py[co]$", "Python bytecode (.pyc), recreated at start",
         "PYTHONDONTWRITEBYTECODE=1, pip install --no-compile (then every new container starts slower)", POSSIBLE),
    BUILD_TOOLS,
    Rule("static-libraries", _BUILT + r".*\.(?:a|la)$", "static libraries, for linking only", "build in a separate stage"),
    Rule("headers", r"^/(?:usr|usr/local|opt/[^/]+)/include/", "header files, for compiling only", "build in a separate stage"),
    Rule("test-suites", r"/(?:site|dist)-packages/(?:.*/)?tests?/|/lib/python3[^/]*/(?:test|idlelib|lib2to3/tests|unittest/test)/",
         "test suites of installed packages", "delete them in the RUN that installs", POSSIBLE),
    Rule("documentation", r"^/usr/(?:local/)?share/(?:doc|man|info|gtk-doc|help|groff|lintian|linda)/", "manuals and documentation",
         "dpkg: path-exclude=/usr/share/doc/* in /etc/dpkg/dpkg.cfg.d before installing; dnf: tsflags=nodocs"),
    Rule("locales", r"^/usr/(?:local/)?share/(?:locale|i18n/locales)/|^/usr/lib/locale/", "translations",
         "dpkg: path-exclude=/usr/share/locale/* before installing", POSSIBLE),
    Rule("logs", r"^/var/log/.", "logs written during the build", "&& rm -rf /var/log/* in the same RUN", EXACT),
    Rule("temporary-files", r"^/(?:var/)?tmp/.", "temporary files left in /tmp", "delete them in the RUN that makes them"),
    Rule("context-leftovers",
         r"/(?:\.github|\.gitlab|\.vscode|\.idea|\.pytest_cache|\.mypy_cache|\.ruff_cache|\.tox|\.nox|htmlcov|notebooks?|docs?)/"
         r"|/(?:\.git(?:ignore|attributes|modules)|\.gitlab-ci\.yml|\.dockerignore|\.DS_Store|Thumbs\.db|\.coverage"
         r"|(?:[\w.-]+\.)?Dockerfile(?:\.[\w.-]+)?|(?:docker-)?compose[\w.-]*\.ya?ml|README[^/]*|CHANGELOG[^/]*|[^/]+\.(?:swp|log|md))$",
         "files of the build context that the application probably does not read", "list them in .dockerignore, or COPY only what is needed", POSSIBLE, True),
)  # fmt: skip
ANY_PATH = "|".join(f"(?:{rule.paths})" for rule in RULES if rule.paths)

DELETED = Rule("deleted-later", "", "files that a later instruction deletes",
    "delete them in the RUN that makes them (join the two with &&), or build in a separate stage", EXACT)  # fmt: skip
REWRITTEN = Rule("rewritten-unchanged", "", "files that a later instruction stores again unchanged, as chmod -R and chown -R do",
    "COPY --chown=… --chmod=…, or chmod and chown in the RUN that makes them", EXACT)  # fmt: skip
OVERWRITTEN = Rule("overwritten-later", "", "files that a later instruction overwrites",
    "write only the last version", EXACT)  # fmt: skip
HEAVY_BASE = Rule("heavy-base", "", "compilers, headers and development packages of the base image",
    "a smaller base of the same family (for example the -slim variant), and a build stage where you compile")  # fmt: skip
DUPLICATED = Rule("duplicate-content", "", "contents that the image already stores",
    "link instead of copying (ln, COPY once)", POSSIBLE)  # fmt: skip
NAMES = [rule.name for rule in (*RULES, DELETED, REWRITTEN, OVERWRITTEN, HEAVY_BASE, DUPLICATED)]

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
