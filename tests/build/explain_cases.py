"""Pairs of builds with one known cause each, on which `explain_build` is compared with what was changed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.build.cache.cache_cases import APP, BASE, BUILDER, FINAL, GOOD, TWO, WAYS, Case, swap


@dataclass(frozen=True)
class Pair:
    """Two builds (as a `Case`), and the cause of each first miss, by the name of the step ("stage-0:3")."""

    case: Case
    causes: dict[str, str]
    options_after: tuple[str, ...] = ()  # of the second build
    base_after: bool = False  # the base image of that name is another one in the second build
    pruned: bool = False  # the cache is empty in the second build
    cache: str = ""  # the first build exports this kind of cache, which a pruned second build imports
    #: Causes that a log alone cannot tell apart from others: "not known" is right there.
    log_alone: str = "cause"
    plain: str = ""  # the same for --progress=plain, if it differs

    @property
    def name(self) -> str:
        return self.case.name


def pair(name: str, causes: dict[str, str], dockerfile: str, after: str | None = None, **more) -> Pair:
    own = {key: more.pop(key) for key in ("options_after", "base_after", "pruned", "log_alone", "plain") if key in more}
    return Pair(Case(name, dockerfile, dockerfile_after=after, **more), causes, **own)


UNKNOWN = "not known"
FILES, COMMAND, ARGUMENT, ENVIRONMENT = "context files", "command", "argument", "environment"
RUNS = BASE + "ENV E=1\nARG V=1\nRUN echo $V\nRUN echo end\n"
MOUNT = BASE + "RUN --mount=type=cache,target=/c true\nRUN echo end\n"
BIND = BASE + "RUN --mount=source=src,target=/s cat /s/a.py\nRUN echo end\n"
ENVS = BASE + "ENV E=1\nRUN true\nCOPY app.py /x/$E/\n"
STAGES = BUILDER + "RUN echo one > /out\n" + FINAL + "COPY --from=builder /out /out\nRUN echo end\n"

PAIRS = [
    # context files
    pair("app.py edited", {"stage-0:6": FILES}, GOOD, edit={"app.py": "2 FRESH"}),
    pair(
        "requirements edited",
        {"stage-0:5": FILES},
        swap(GOOD, "WORKDIR /app", "RUN true\nWORKDIR /app"),
        edit={"requirements.txt": "x FRESH"},
    ),
    pair("a new file", {"stage-0:6": FILES}, GOOD, edit={"new.py": "FRESH"}),
    pair("a file removed", {"stage-0:6": FILES}, GOOD, edit={"src/b.py": None}),
    pair("mode of a file", {"stage-0:3": FILES}, BASE + "COPY app.py /\nRUN echo\n", modes={"app.py": 0o755}),
    pair(
        ".dockerignore edited",
        {"stage-0:6": FILES},
        GOOD,
        files={**APP, ".dockerignore": "x\n"},
        edit={".dockerignore": "src\n"},
    ),
    pair("ADD's file edited", {"stage-0:3": FILES}, BASE + "ADD app.py /\nRUN echo\n", edit={"app.py": "2 FRESH"}),
    pair("a glob's file edited", {"stage-0:3": FILES}, BASE + "COPY *.py /d/\nRUN echo\n", edit={"app.py": "2 FRESH"}),
    pair("bind mount's file edited", {"stage-0:3": FILES}, BIND, edit={"src/a.py": "2 FRESH"}, log_alone=UNKNOWN),
    pair(
        "the second of two COPY edited",
        {"stage-0:4": FILES},
        BASE + "COPY app.py /\nCOPY src /src\n",
        edit={"src/a.py": "2 FRESH"},
    ),
    # command
    pair(
        "command edited",
        {"stage-0:3": COMMAND},
        BASE + "RUN echo 1\nRUN echo end\n",
        BASE + "RUN echo 2\nRUN echo end\n",
        log_alone=UNKNOWN,
    ),
    pair(
        "second command edited",
        {"stage-0:4": COMMAND},
        BASE + "RUN true\nRUN echo 1\n",
        BASE + "RUN true\nRUN echo 2\n",
        log_alone=UNKNOWN,
    ),
    pair(
        "exec form edited",
        {"stage-0:3": COMMAND},
        BASE + 'RUN ["echo", "1"]\n',
        BASE + 'RUN ["echo", "2"]\n',
        log_alone=UNKNOWN,
    ),
    pair(
        "SHELL changed",
        {"stage-0:3": COMMAND},
        BASE + "RUN echo a\n",
        BASE + 'SHELL ["/bin/sh", "-ec"]\nRUN echo a\n',
        log_alone=UNKNOWN,
    ),
    pair(
        "destination edited",
        {"stage-0:3": COMMAND},
        BASE + "COPY app.py /a\nRUN true\n",
        BASE + "COPY app.py /b\nRUN true\n",
        log_alone=UNKNOWN,
    ),
    pair(
        "--chown added",
        {"stage-0:3": COMMAND},
        BASE + "COPY app.py /a\n",
        BASE + "COPY --chown=1:1 app.py /a\n",
        log_alone=UNKNOWN,
    ),
    pair(
        "instruction added",
        {"stage-0:4": COMMAND},
        BASE + "RUN true\nCOPY app.py /\n",
        BASE + "RUN true\nWORKDIR /new\nCOPY app.py /\n",
    ),
    pair(
        "instruction removed",
        {"stage-0:4": COMMAND},
        BASE + "RUN true\nRUN echo 1\nCOPY app.py /\n",
        BASE + "RUN true\nCOPY app.py /\n",
    ),
    pair("WORKDIR edited", {"stage-0:3": COMMAND}, GOOD, swap(GOOD, "/app", "/srv"), log_alone=UNKNOWN),
    pair(
        "heredoc edited",
        {"stage-0:3": COMMAND},
        BASE + "RUN <<X\necho 1\nX\n",
        BASE + "RUN <<X\necho 2\nX\n",
        log_alone=UNKNOWN,
    ),
    pair(
        "a builder's command edited",
        {"builder:3": COMMAND, "stage-1:3": "stage result"},
        STAGES,
        swap(STAGES, "echo one", "echo two"),
        log_alone=UNKNOWN,
    ),
    pair("COPY becomes ADD", {"stage-0:3": COMMAND}, BASE + "COPY app.py /\n", BASE + "ADD app.py /\n"),
    # argument
    pair("ARG used", {"stage-0:3": ARGUMENT}, RUNS, args_after={"V": "2"}, log_alone=UNKNOWN),
    pair("ARG unused", {"stage-0:3": ARGUMENT}, swap(RUNS, "$V", "x"), args_after={"V": "2"}, log_alone=UNKNOWN),
    pair("ARG's default edited", {"stage-0:3": ARGUMENT}, RUNS, swap(RUNS, "V=1", "V=2"), log_alone=UNKNOWN),
    pair(
        "ARG in COPY",
        {"stage-0:3": ARGUMENT},
        BASE + "ARG D=a\nCOPY app.py /$D\nRUN true\n",
        args_after={"D": "b"},
        log_alone=UNKNOWN,
    ),
    pair(
        "ARG in WORKDIR",
        {"stage-0:3": ARGUMENT},
        BASE + "ARG D=a\nWORKDIR /$D\nRUN true\n",
        args_after={"D": "b"},
        log_alone=UNKNOWN,
    ),
    pair(
        "ARG between steps",
        {"stage-0:4": ARGUMENT},
        BASE + "RUN true\nARG V=1\nRUN echo x\n",
        args_after={"V": "2"},
        log_alone=UNKNOWN,
    ),
    pair(
        "two ARGs, one changed",
        {"stage-0:3": ARGUMENT},
        BASE + "ARG A=1\nARG B=1\nRUN echo $A $B\n",
        args_after={"B": "2"},
        log_alone=UNKNOWN,
    ),
    pair(
        "declared proxy",
        {"stage-0:3": ARGUMENT},
        BASE + "ARG HTTP_PROXY\nRUN echo x\n",
        args={"HTTP_PROXY": "a"},
        args_after={"HTTP_PROXY": "b"},
        log_alone=UNKNOWN,
    ),
    pair(
        "ARG of a builder",
        {"builder:3": ARGUMENT, "stage-1:3": "stage result"},
        swap(STAGES, "RUN echo one", "ARG V=1\nRUN echo $V"),
        args_after={"V": "2"},
        log_alone=UNKNOWN,
    ),
    # environment
    pair("ENV changed", {"stage-0:3": ENVIRONMENT}, ENVS, swap(ENVS, "E=1", "E=2"), log_alone=UNKNOWN),
    pair(
        "ENV in COPY",
        {"stage-0:3": ENVIRONMENT},
        swap(ENVS, "RUN true\n", ""),
        swap(swap(ENVS, "E=1", "E=2"), "RUN true\n", ""),
        log_alone=UNKNOWN,
    ),
    pair("ENV added", {"stage-0:3": ENVIRONMENT}, BASE + "RUN true\n", BASE + "ENV X=1\nRUN true\n", log_alone=UNKNOWN),
    pair(
        "order of ENV",
        {"stage-0:3": ENVIRONMENT},
        BASE + "ENV A=1\nENV B=2\nRUN true\n",
        BASE + "ENV B=2\nENV A=1\nRUN true\n",
        log_alone=UNKNOWN,
    ),
    pair(
        "USER changed",
        {"stage-0:3": ENVIRONMENT},
        BASE + "USER 1\nRUN true\n",
        BASE + "USER 2\nRUN true\n",
        log_alone=UNKNOWN,
    ),
    pair(
        "network of the build", {"stage-0:2": ENVIRONMENT}, BASE + "RUN true\n", network_after="host", log_alone=UNKNOWN
    ),
    pair(
        "ENV of a builder",
        {"builder:3": ENVIRONMENT, "stage-1:3": "stage result"},
        swap(STAGES, "RUN echo one", "ENV V=1\nRUN echo $V"),
        swap(STAGES, "RUN echo one", "ENV V=2\nRUN echo $V"),
        log_alone=UNKNOWN,
    ),
    # mount
    *(
        pair(f"mount {after}", {"stage-0:3": "mount"}, MOUNT, swap(MOUNT, "type=cache,target=/c", after))
        for after in (
            "type=cache,target=/d",
            "type=cache,target=/c,sharing=locked",
            "type=cache,target=/c,id=x",
            "type=tmpfs,target=/c",
            "type=cache,target=/c,mode=0700",
        )
    ),
    pair("secret added", {"stage-0:3": "mount"}, BASE + "RUN true\n", BASE + "RUN --mount=type=secret,id=a true\n"),
    # stage result
    pair(
        "a builder's file edited", {"builder:3": FILES, "stage-1:3": "stage result"}, TWO, edit={"src/a.py": "2 FRESH"}
    ),
    pair("one of two ways edited, with the same result", {"two:2": FILES}, WAYS, edit={"src/b.py": "2 FRESH"}),
    pair(
        "bind mount of a stage",
        {"builder:3": FILES, "stage-1:3": "stage result"},
        BUILDER + "COPY src /src\n" + FINAL + "RUN --mount=from=builder,target=/b true\n",
        edit={"src/b.py": "2 FRESH"},
    ),
    pair(
        "a builder's copy has the same files for the rest",
        {"builder:3": FILES},
        BUILDER + "COPY src /src\n" + FINAL + "COPY --from=builder /src/a.py /\n",
        edit={"src/b.py": "2 FRESH"},
    ),
    pair(
        "a base stage's file edited",
        {"builder:3": FILES},
        BUILDER + "COPY app.py /\nFROM builder\nRUN echo\nCOPY src /src\n",
        edit={"app.py": "2 FRESH"},
        plain=UNKNOWN,
    ),
    # named contexts
    pair(
        "named context edited",
        {"stage-0:3": FILES},
        BASE + "COPY --from=assets f /\nRUN true\n",
        files={"assets/f": "1 FRESH"},
        edit={"assets/f": "2 FRESH"},
        contexts={"assets": "assets"},
    ),
    # base image
    *(
        pair(
            f"base image, then {first}",
            {"stage-0:2": "base image"},
            f"FROM localhost/build-explain:FRESH\n{first}\nRUN echo end\n",
            base_after=True,
        )
        for first in (
            "RUN echo 1",
            "WORKDIR /w",
            "COPY app.py /",
            "ADD app.py /",
            "RUN --mount=source=src,target=/s true",
        )
    ),
    pair(
        "another base image",
        {"stage-0:2": "base image"},
        BASE,
        swap(BASE, "busybox:static", "build-explain:FRESH"),
        base_after=True,
    ),
    pair(
        "COPY --from=image",
        {"stage-0:3": "base image"},
        BASE + "COPY --from=localhost/build-explain:FRESH /etc/base /b\nRUN true\n",
        base_after=True,
        plain=UNKNOWN,
    ),
    # no cache
    pair("--no-cache", {"stage-0:2": "no cache"}, GOOD, options_after=("--no-cache",), plain=UNKNOWN),
    pair(
        "--no-cache, two stages",
        {"builder:2": "no cache", "stage-1:2": "no cache"},
        TWO,
        options_after=("--no-cache",),
        plain=UNKNOWN,
    ),
    pair("pruned", {"stage-0:2": "no cache"}, GOOD, pruned=True, plain=UNKNOWN),
    pair("pruned, two stages", {"builder:2": "no cache", "stage-1:2": "no cache"}, TWO, pruned=True, plain=UNKNOWN),
    pair(
        "pruned, COPY first",
        {"stage-0:2": UNKNOWN},
        "FROM localhost/busybox:static\nCOPY app.py /\nRUN echo FRESH\n",
        pruned=True,
    ),
    pair(
        "pruned, WORKDIR first",
        {"stage-0:2": "no cache"},
        "FROM localhost/busybox:static\nWORKDIR /FRESH\nCOPY app.py /\n",
        pruned=True,
    ),
    # nothing
    pair("nothing changed", {}, GOOD),
    pair("LABEL and CMD", {}, BASE + "LABEL a=1\nRUN true\n", BASE + "LABEL a=2\nCMD ls\nRUN true\n"),
]

THREE = (
    "FROM localhost/busybox:static AS one\nRUN echo FRESH > /one\nCOPY app.py /\n"
    "FROM localhost/busybox:static AS two\nCOPY --from=one /app.py /\nRUN cat /app.py > /two\n"
    + FINAL
    + "COPY --from=two /two /two\nRUN echo end\n"
)
CHILD = (
    "FROM localhost/busybox:static AS base\nRUN echo FRESH\nWORKDIR /srv\n"
    "FROM base AS build\nCOPY app.py .\nRUN cat app.py > /out\n"
    "FROM base\nCOPY --from=build /out .\nRUN echo end\n"
)
#: More forms of files, commands, stages and heredocs.
PAIRS += [
    pair(
        "a file of a chain of stages edited",
        {"one:3": FILES, "two:2": "stage result", "stage-2:3": "stage result"},
        THREE,
        edit={"app.py": "2 FRESH"},
    ),
    pair(
        "the middle command edited",
        {"two:3": COMMAND},
        THREE,
        swap(THREE, "cat /app.py >", "cat /app.py | cat >"),
        log_alone=UNKNOWN,
    ),
    pair(
        "COPY --chmod edited",
        {"stage-0:3": COMMAND},
        BASE + "COPY --chmod=644 app.py /\nRUN true\n",
        BASE + "COPY --chmod=755 app.py /\nRUN true\n",
        log_alone=UNKNOWN,
    ),
    pair(
        "--exclude added",
        {"stage-0:3": COMMAND},
        BASE + "COPY src /src\nRUN true\n",
        BASE + "COPY --exclude=b.py src /src\nRUN true\n",
        log_alone=UNKNOWN,
    ),
    pair(
        "a source added to COPY",
        {"stage-0:3": COMMAND},
        BASE + "COPY app.py /d/\nRUN true\n",
        BASE + "COPY app.py requirements.txt /d/\nRUN true\n",
        log_alone=UNKNOWN,
    ),
    pair(
        "ENTRYPOINT and USER after the last RUN", {}, BASE + "RUN true\n", BASE + 'RUN true\nUSER 5\nENTRYPOINT ["x"]\n'
    ),
    pair("a comment edited", {}, BASE + "# one\nRUN true\n", BASE + "# two\nRUN true\n"),
    pair(
        "an ignored file edited",
        {},
        BASE + "COPY . /d\nRUN true\n",
        files={**APP, ".dockerignore": "src\nDockerfile\n"},
        edit={"src/a.py": "2 FRESH"},
    ),
    pair(
        "an unneeded stage edited",
        {},
        "FROM localhost/busybox:static AS spare\nRUN echo 1 FRESH\n" + BASE + "RUN true\n",
        "FROM localhost/busybox:static AS spare\nRUN echo 2 FRESH\n" + BASE + "RUN true\n",
    ),
    pair("ENV after the steps", {}, BASE + "RUN true\nENV A=1\n", BASE + "RUN true\nENV A=2\n"),
    pair(
        "ENV used by WORKDIR",
        {"stage-0:3": ENVIRONMENT},
        BASE + "ENV D=a\nWORKDIR /$D\nRUN true\n",
        BASE + "ENV D=b\nWORKDIR /$D\nRUN true\n",
        log_alone=UNKNOWN,
    ),
    pair(
        "ARG of FROM",
        {"stage-0:2": "base image"},
        "ARG TAG=FRESH\nFROM localhost/build-explain:$TAG\nRUN echo FRESH\nRUN echo end\n",
        base_after=True,
    ),
    pair("global ARG that no stage declares", {}, "ARG V=1\n" + BASE + "RUN true\n", args_after={"V": "2"}),
    pair(
        "heredoc COPY edited",
        {"stage-0:3": COMMAND},
        BASE + "COPY <<X /x\none\nX\nRUN true\n",
        BASE + "COPY <<X /x\ntwo\nX\nRUN true\n",
        log_alone=UNKNOWN,
    ),
    pair(
        "a file in a deep folder edited",
        {"stage-0:4": FILES},
        BASE + "RUN true\nCOPY deep /d\nRUN echo end\n",
        files={**APP, "deep/a/b/c.txt": "1 FRESH"},
        edit={"deep/a/b/c.txt": "2 FRESH"},
    ),
    pair(
        "--link file edited",
        {"stage-0:3": FILES},
        BASE + "COPY --link app.py /\nRUN true\n",
        edit={"app.py": "2 FRESH"},
    ),
    pair(
        "a base stage's command edited",
        {"base:2": COMMAND},
        CHILD,
        swap(CHILD, "echo FRESH", "echo x FRESH"),
        log_alone=UNKNOWN,
    ),
    pair(
        "a child stage's file edited",
        {"build:1": FILES, "stage-2:1": "stage result"},
        CHILD,
        edit={"app.py": "2 FRESH"},
        plain=UNKNOWN,
    ),
    pair(
        "two RUNs joined",
        {"stage-0:3": COMMAND},
        BASE + "RUN echo 1\nRUN echo 2\n",
        BASE + "RUN echo 1 && echo 2\n",
        log_alone=UNKNOWN,
    ),
    pair("a step added at the end", {"stage-0:4": COMMAND}, BASE + "RUN true\n", BASE + "RUN true\nRUN echo new\n"),
    pair("a step removed at the end", {}, BASE + "RUN true\nRUN echo old\n", BASE + "RUN true\n"),
    pair(
        "--network of one RUN",
        {"stage-0:3": ENVIRONMENT},
        BASE + "RUN --network=none true\nRUN echo end\n",
        BASE + "RUN true\nRUN echo end\n",
        network="host",
        network_after="host",
        log_alone=UNKNOWN,
    ),
    pair(
        "mount from another stage's path",
        {"stage-1:3": "mount"},
        BUILDER + "RUN mkdir /a /b && touch /b/f\n" + FINAL + "RUN --mount=from=builder,source=/a,target=/m true\n",
        BUILDER + "RUN mkdir /a /b && touch /b/f\n" + FINAL + "RUN --mount=from=builder,source=/b,target=/m true\n",
    ),
    pair(
        "COPY --from another path",
        {"stage-1:3": COMMAND},
        BUILDER + "RUN echo 1 > /a; echo 2 > /b\n" + FINAL + "COPY --from=builder /a /x\nRUN true\n",
        BUILDER + "RUN echo 1 > /a; echo 2 > /b\n" + FINAL + "COPY --from=builder /b /x\nRUN true\n",
        log_alone=UNKNOWN,
    ),
    pair("a stage renamed", {}, TWO, TWO.replace("builder", "maker")),
    pair(
        "--no-cache-filter of the builder",
        {"builder:2": "no cache"},
        swap(TWO, "cat /src/a.py > /out", "date +%N > /out"),
        options_after=("--no-cache-filter=builder",),
        plain=UNKNOWN,
    ),
    pair(
        "SHELL of a builder",
        {"builder:3": COMMAND, "stage-1:3": "stage result"},
        swap(STAGES, "RUN echo one > /out", "RUN echo $0 > /out"),
        swap(STAGES, "RUN echo one > /out", 'SHELL ["/bin/ash", "-c"]\nRUN echo $0 > /out'),
        log_alone=UNKNOWN,
    ),
    pair(
        "renamed source folder",
        {"stage-0:3": COMMAND},
        BASE + "COPY src /d\n",
        BASE + "COPY lib /d\n",
        files={**APP, "lib/a.py": "a FRESH", "lib/b.py": "b FRESH"},
        log_alone=UNKNOWN,
    ),
    pair(
        "a heredoc of ADD edited",
        {"stage-0:3": COMMAND},
        BASE + "ADD <<X /x\none\nX\nRUN true\n",
        BASE + "ADD <<X /x\ntwo\nX\nRUN true\n",
        log_alone=UNKNOWN,
    ),
    pair(
        "a RUN after a heredoc edited",
        {"stage-0:4": COMMAND},
        BASE + "COPY <<X /x\none\nX\nRUN echo 1\n",
        BASE + "COPY <<X /x\none\nX\nRUN echo 2\n",
        log_alone=UNKNOWN,
    ),
    pair(
        "a heredoc of a builder edited",
        {"builder:3": COMMAND, "stage-1:3": "stage result"},
        BUILDER + "COPY <<X /x\none\nX\n" + FINAL + "COPY --from=builder /x /x\n",
        BUILDER + "COPY <<X /x\ntwo\nX\n" + FINAL + "COPY --from=builder /x /x\n",
        log_alone=UNKNOWN,
    ),
]

#: What a build on another machine sees: an empty cache, and the cache that the first build exported.
IMPORTED = [
    replace(known, case=replace(known.case, name=f"{known.name}, {cache} cache"), pruned=True, cache=cache)
    for cache in ("local", "registry", "inline")
    for known in PAIRS
    if known.name
    in {
        "app.py edited",
        "ADD's file edited",
        "bind mount's file edited",
        "second command edited",
        "instruction added",
        "ARG used",
        "ENV changed",
        "mount type=cache,target=/d",
        "base image, then RUN echo 1",
        "named context edited",
        "nothing changed",
        # inline caches have the last stage only
        *(("a builder's file edited", "ARG of a builder", "bind mount of a stage") if cache != "inline" else ()),
    }
]
LOST = [
    replace(
        known,
        case=replace(known.case, name=f"{known.name}, {cache} cache is not there"),
        cache=f"lost {cache}",
        plain="" if cache == "registry" else UNKNOWN,  # a log of buildx does not show that a directory is missing
    )
    for cache in ("local", "registry")
    for known in PAIRS
    if known.name in {"pruned", "pruned, two stages"}
]
PAIRS += IMPORTED + LOST

#: Pairs whose logs and provenance are in data/build/explained.
EXAMPLES = {"argument": "ARG of a builder", "files": "app.py edited", "stages": "a builder's file edited"}
