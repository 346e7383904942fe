"""Builds and changes on which the cache's model is compared with BuildKit's own second build.

``FRESH`` stands for a text of its own in every run, so that no case's cache serves another.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

BASE = "FROM localhost/busybox:static\nRUN echo FRESH\n"
BUILDER = "FROM localhost/busybox:static AS builder\nRUN echo FRESH\n"
FINAL = "FROM localhost/busybox:static\nRUN echo final FRESH\n"

APP = {"app.py": "print(1) # FRESH", "requirements.txt": "flask # FRESH", "src/a.py": "a FRESH", "src/b.py": "b FRESH"}


@dataclass(frozen=True)
class Case:
    """A first build, and what is different in the second."""

    name: str
    dockerfile: str
    files: dict[str, str] = field(default_factory=lambda: dict(APP))
    edit: dict[str, str | None] = field(default_factory=dict)  # path → new text; None removes
    modes: dict[str, int] = field(default_factory=dict)
    dockerfile_after: str | None = None
    args: dict[str, str] = field(default_factory=dict)
    args_after: dict[str, str] | None = None
    target: str | None = None
    same_results: bool = False
    options: tuple[str, ...] = ()
    contexts: dict[str, str] = field(default_factory=dict)  # named context → a directory below the case's, or an image
    network: str = "none"
    network_after: str = "none"
    classic: bool = True  # 20.10's BuildKit knows all of it


GOOD = BASE + "WORKDIR /app\nCOPY requirements.txt .\nRUN echo install\nCOPY . .\nRUN echo test\n"
BAD = BASE + "WORKDIR /app\nCOPY . .\nRUN echo install\n"
EDIT = {"app.py": "print(2) # FRESH"}
TWO = BUILDER + "COPY src /src\nRUN cat /src/a.py > /out\n" + FINAL + "COPY --from=builder /out /out\nRUN echo end\n"
WAYS = (
    "FROM localhost/busybox:static AS one\nCOPY src/a.py /a\nRUN echo one FRESH > /one\n"
    "FROM localhost/busybox:static AS two\nCOPY src/b.py /b\nRUN echo two FRESH > /two\n"
    + FINAL
    + "COPY --from=one /one /\nCOPY --from=two /two /\n"
)
LINK = BASE + "RUN echo first\nCOPY --link app.py /app.py\nRUN echo after\nCOPY --link src /src\n"
HEREDOC = BASE + "RUN <<EOF\necho one\nEOF\nCOPY <<EOF /conf\nkey=1\nEOF\nRUN echo end\n"
MOUNTS = (
    BASE + "RUN --mount=type=cache,target=/c,id=x --mount=type=bind,source=src,target=/src echo build\nRUN echo end\n"
)
SECRET = BASE + "RUN --mount=type=secret,id=token cat /run/secrets/token >/dev/null; true\nRUN echo end\n"


def swap(text: str, old: str, new: str) -> str:
    assert old in text, old
    return text.replace(old, new)


CASES = [
    Case("nothing changes", GOOD),
    Case("source edit, good order", GOOD, edit=EDIT),
    Case("source edit, bad order", BAD, edit=EDIT),
    Case("requirements edit", GOOD, edit={"requirements.txt": "django # FRESH"}),
    Case("touch only", GOOD, edit={"app.py": APP["app.py"]}),
    Case("mode of a file", GOOD, modes={"app.py": 0o755}),
    Case("mode of a file under --chmod", BASE + "COPY --chmod=600 app.py /\nRUN echo x\n", modes={"app.py": 0o755}),
    Case("mode of a directory", BASE + "COPY src /src\nRUN echo x\n", modes={"src": 0o700}),
    Case("mode of the context's root", BASE + "COPY . /src\nRUN echo x\n", modes={".": 0o711}),
    Case("new ignored file", GOOD, files={**APP, ".dockerignore": "*.log\n"}, edit={"debug.log": "FRESH"}),
    Case("ignored file edited", GOOD, files={**APP, ".dockerignore": "*.log\n", "x.log": "1"}, edit={"x.log": "2"}),
    Case(
        "re-included file edited",
        GOOD,
        files={**APP, ".dockerignore": "src\n!src/a.py\n"},
        edit={"src/a.py": "new FRESH"},
    ),
    Case(
        "held back by a re-including list",
        GOOD,
        files={**APP, ".dockerignore": "src\n!src/a.py\n"},
        edit={"src/b.py": "n"},
    ),
    Case(
        "ignore file changes what is sent", GOOD, files={**APP, ".dockerignore": "x\n"}, edit={".dockerignore": "src\n"}
    ),
    Case("new file", GOOD, edit={"new.py": "FRESH"}),
    Case("file removed", GOOD, edit={"src/b.py": None}),
    Case("file renamed", BASE + "COPY src /src\n", edit={"src/b.py": None, "src/c.py": APP["src/b.py"]}),
    Case("ARG used", BASE + "ARG V=1\nRUN echo $V\nRUN echo x\n", args_after={"V": "2"}),
    Case("ARG unused, in scope", BASE + "ARG V=1\nRUN echo x\n", args_after={"V": "2"}),
    Case("ARG below the step", BASE + "RUN echo x\nARG V=1\n", args_after={"V": "2"}),
    Case("ARG without value is given one", BASE + "ARG V\nRUN echo x\n", args_after={"V": ""}),
    Case("ARG only before FROM", "ARG V=1\n" + BASE + "RUN echo x\n", args_after={"V": "2"}),
    Case("ARG before FROM, declared again", "ARG V=1\n" + BASE + "ARG V\nRUN echo x\n", args_after={"V": "2"}),
    Case("ARG expanded in COPY", BASE + "ARG D=a\nCOPY app.py /$D\nRUN echo x\n", args_after={"D": "b"}),
    Case("ARG in scope of COPY, not expanded", BASE + "ARG D=a\nCOPY app.py /x\n", args_after={"D": "b"}),
    Case(
        "undeclared proxy",
        BASE + "RUN echo x\n",
        args={"HTTP_PROXY": "http://a"},
        args_after={"HTTP_PROXY": "http://b"},
    ),
    Case(
        "declared proxy",
        BASE + "ARG HTTP_PROXY\nRUN echo x\n",
        args={"HTTP_PROXY": "a"},
        args_after={"HTTP_PROXY": "b"},
    ),
    Case(
        "ENV changes",
        BASE + "ENV A=1\nCOPY app.py /\nRUN echo\n",
        dockerfile_after=BASE + "ENV A=2\nCOPY app.py /\nRUN echo\n",
    ),
    Case(
        "ENV in another order",
        BASE + "ENV A=1\nENV B=2\nRUN echo\n",
        dockerfile_after=BASE + "ENV B=2\nENV A=1\nRUN echo\n",
    ),
    Case(
        "ENV set again",
        BASE + "ENV A=1\nENV B=2\nENV A=1\nRUN echo\n",
        dockerfile_after=BASE + "ENV B=2\nENV A=1\nRUN echo\n",
    ),
    Case(
        "LABEL, CMD, EXPOSE",
        BASE + "LABEL a=1\nCMD ls\nRUN echo\n",
        dockerfile_after=BASE + "LABEL a=2\nEXPOSE 80\nRUN echo\n",
    ),
    Case(
        "comment and continuation",
        BASE + "RUN echo a \\\n b\n",
        dockerfile_after=BASE + "# c\nRUN echo a \\\n # c\n b\n",
    ),
    Case("spaces within a command", BASE + "RUN echo a b\n", dockerfile_after=BASE + "RUN echo a  b\n"),
    Case("exec form of the same", BASE + "RUN echo a\n", dockerfile_after=BASE + 'RUN ["/bin/sh", "-c", "echo a"]\n'),
    Case("SHELL", BASE + "RUN echo a\n", dockerfile_after=BASE + 'SHELL ["/bin/sh", "-ec"]\nRUN echo a\n'),
    Case(
        "USER", BASE + "USER 1\nCOPY app.py /\nRUN echo\n", dockerfile_after=BASE + "USER 2\nCOPY app.py /\nRUN echo\n"
    ),
    Case("WORKDIR", GOOD, dockerfile_after=swap(GOOD, "/app", "/srv")),
    Case(
        "WORKDIR with a slash more", BASE + "WORKDIR /a\nRUN echo\n", dockerfile_after=BASE + "WORKDIR /a/\nRUN echo\n"
    ),
    Case("WORKDIR /", BASE + "WORKDIR /\nUSER 1\nWORKDIR /w\nRUN echo\n", edit=EDIT),
    Case(
        "COPY reordered",
        BASE + "COPY app.py /\nCOPY src /src\n",
        dockerfile_after=BASE + "COPY src /src\nCOPY app.py /\n",
    ),
    Case(
        "sources reordered", BASE + "COPY app.py src/a.py /d/\n", dockerfile_after=BASE + "COPY src/a.py app.py /d/\n"
    ),
    Case("source spelled otherwise", BASE + "COPY ./app.py /d/\n", dockerfile_after=BASE + "COPY app.py /d/\n"),
    Case(
        "destination spelled otherwise",
        GOOD,
        dockerfile_after=swap(GOOD, "requirements.txt .", "requirements.txt /app/"),
    ),
    Case("--chown", BASE + "COPY app.py /\n", dockerfile_after=BASE + "COPY --chown=1:1 app.py /\n"),
    Case("COPY becomes ADD", BASE + "COPY app.py /\n", dockerfile_after=BASE + "ADD app.py /\n"),
    Case("ADD, other file edited", BASE + "ADD app.py /\nRUN echo\n", edit={"src/a.py": "n FRESH"}),
    Case("ADD, its file edited", BASE + "ADD app.py /\nRUN echo\n", edit=EDIT),
    Case("glob, new match", BASE + "COPY *.py /d/\nRUN echo\n", edit={"new.py": "FRESH"}),
    Case("glob, new file beside", BASE + "COPY *.py /d/\nRUN echo\n", edit={"new.md": "FRESH"}),
    Case("glob across one level", BASE + "COPY s*/a.?y /d/\nRUN echo\n", edit={"src/b.py": "n FRESH"}),
    Case("--exclude", BASE + "COPY --exclude=b.* src /d\nRUN echo\n", edit={"src/b.py": "n FRESH"}, classic=False),
    Case("stage with unchanged artefact", TWO, edit={"src/b.py": "n FRESH"}, same_results=True),
    Case("stage with changed artefact", TWO, edit={"src/a.py": "n FRESH"}),
    Case("stage renamed", TWO, dockerfile_after=TWO.replace("builder", "maker")),
    Case("stage by number", swap(TWO, "--from=builder", "--from=0"), edit={"src/a.py": "n FRESH"}),
    Case(
        "stage whose other file changed",
        BUILDER + "COPY src /src\n" + FINAL + "COPY --from=builder /src/a.py /\nRUN echo\n",
        edit={"src/b.py": "n FRESH"},
    ),
    Case(
        "stage's glob, other file changed",
        BUILDER + "COPY src /src\n" + FINAL + "COPY --from=builder /src/a* /d/\nRUN echo\n",
        edit={"src/b.py": "n FRESH"},
    ),
    Case(
        "stage's whole filesystem",
        BUILDER + "COPY src /src\n" + FINAL + "COPY --from=builder / /all/\nRUN echo\n",
        edit={"src/b.py": "n FRESH"},
    ),
    Case(
        "stage from scratch",
        "FROM scratch AS files\nCOPY src /src\n" + FINAL + "COPY --from=files / /f/\nRUN echo\n",
        edit={"src/b.py": "n FRESH"},
    ),
    Case("parallel stages, one edited", WAYS, edit={"src/b.py": "n FRESH"}, same_results=True),
    Case("pruned stage edited", WAYS, edit={"src/b.py": "n FRESH"}, target="one"),
    Case(
        "identical steps in two stages",
        BUILDER
        + "RUN echo same > /x\n"
        + BUILDER.replace("builder", "other")
        + "RUN echo same > /x\nRUN echo more\n"
        + FINAL
        + "COPY --from=builder /x /x\nCOPY --from=other /x /y\n",
    ),
    Case("stage continued", BUILDER + "COPY app.py /\nFROM builder\nRUN echo\nCOPY src /src\n", edit=EDIT),
    Case("ONBUILD of a stage", BUILDER + "ONBUILD COPY app.py /\nFROM builder\nRUN echo\n", edit=EDIT, classic=False),
    Case("--link, parent changes", LINK, dockerfile_after=swap(LINK, "echo first", "echo 1st"), classic=False),
    Case("--link, content changes", LINK, edit=EDIT, classic=False),
    Case("--link taken away", LINK, dockerfile_after=LINK.replace("--link ", ""), classic=False),
    Case("cache mount's id", MOUNTS, dockerfile_after=swap(MOUNTS, "id=x", "id=y,sharing=locked")),
    Case("cache mount's target", MOUNTS, dockerfile_after=swap(MOUNTS, "target=/c", "target=/k")),
    Case("bind mount, its file edited", MOUNTS, edit={"src/a.py": "n FRESH"}),
    Case("bind mount, other file edited", MOUNTS, edit=EDIT),
    Case(
        "bind mount's source renamed",
        BASE + "RUN --mount=source=app.py,target=/x echo\n",
        dockerfile_after=BASE + "RUN --mount=source=new.py,target=/x echo\n",
        edit={"new.py": APP["app.py"], "app.py": None},
    ),
    Case(
        "bind mount of a stage",
        BUILDER + "COPY src /src\n" + FINAL + "RUN --mount=from=builder,source=/src/a.py,target=/a echo\n",
        edit={"src/b.py": "n FRESH"},
    ),
    Case(
        "bind mount of a stage, changed",
        BUILDER + "COPY src /src\n" + FINAL + "RUN --mount=from=builder,target=/b echo\n",
        edit={"src/b.py": "n FRESH"},
    ),
    Case("tmpfs mount", BASE + "RUN --mount=type=tmpfs,target=/t echo\n", edit=EDIT),
    Case("secret's value", SECRET, options=("--secret", "id=token,src=SECRET")),
    Case("secret's id", SECRET, dockerfile_after=swap(SECRET, "id=token", "id=other")),
    Case("here-document edited", HEREDOC, dockerfile_after=swap(HEREDOC, "echo one", "echo two"), classic=False),
    Case("here-document's delimiter", HEREDOC, dockerfile_after=HEREDOC.replace("EOF", "END"), classic=False),
    Case("here-document of COPY edited", HEREDOC, dockerfile_after=swap(HEREDOC, "key=1", "key=2"), classic=False),
    Case(
        "here-document of COPY, ARG", BASE + "ARG A=1\nCOPY <<EOF /c\nk=$A\nEOF\n", args_after={"A": "2"}, classic=False
    ),
    Case("symlink's target edited", BASE + "COPY link /d\n", files={**APP, "link": "-> app.py"}, edit=EDIT),
    Case("symlink within a directory", BASE + "COPY src /d\n", files={**APP, "src/link": "-> ../app.py"}, edit=EDIT),
    Case("COPY . takes the Dockerfile along", BASE + "COPY . /d\n", dockerfile_after=BASE + "# a comment\nCOPY . /d\n"),
    Case(
        "instruction inserted", GOOD, dockerfile_after=swap(GOOD, "RUN echo install", "RUN echo new\nRUN echo install")
    ),
    Case("instruction removed", GOOD, dockerfile_after=swap(GOOD, "RUN echo install\n", "")),
]


DOCS = {
    "a/b.md": "1 FRESH",
    "a/m.rs": "1 FRESH",
    "a/sub/c.md": "1 FRESH",
    "a/sub/k.rs": "FRESH",
    "top.md": "1",
    "top.rs": "1",
}
#: (flags, source, edited file): --exclude is relative to the root of each source; * and ** in a source stay in a segment.
EXCLUDES = [
    ("*.md", ".", "a/b.md"), ("*.md", ".", "top.md"), ("**/*.md", ".", "a/b.md"), ("**/*.md", ".", "a/sub/c.md"),
    ("*.md", "a", "a/b.md"), ("*.md", "a", "a/sub/c.md"), ("a/b.md", "a", "a/b.md"), ("a/b.md", ".", "a/b.md"),
    ("*.md", "top.*", "top.md"), ("top.md", "top.md top.rs", "top.md"), ("*.md", "a/*", "a/b.md"),
    ("*.md", "a/*", "a/sub/c.md"), ("sub/c.md", "a/*", "a/sub/c.md"), ("c.md", "a/*", "a/sub/c.md"),
    ("/*.md", ".", "top.md"), ("./top.md", ".", "top.md"), ("*.md !b.md", "a", "a/b.md"), ("*", "top.*", "top.md"),
    ("sub !sub/k.rs", "a", "a/sub/k.rs"), ("sub !sub/k.rs", "a", "a/sub/c.md"), ("!b.md *.md", "a", "a/b.md"),
    ("a", ".", "a/sub/c.md"), ("sub/", "a", "a/sub/c.md"), ("**", "a", "a/b.md"), ("s?b", "a", "a/sub/k.rs"),
    ("", "a/**/c.md", "a/sub/c.md"), ("", "**/c.md", "a/sub/c.md"), ("", "a/**", "a/sub/c.md"), ("", "**.md", "top.md"),
    ("", "*/**/c.md", "a/sub/c.md"), ("", "**", "top.md"), ("", "**/*.md", "a/b.md"), ("", "**/*.md", "top.md"),
    ("", "a/[bm].*", "a/m.rs"), ("", "a/[^b].*", "a/b.md"),
]  # fmt: skip
CASES += [
    Case(
        f"--exclude={exclude} {source}, {edit} edited" if exclude else f"COPY {source}, {edit} edited",
        BASE + "COPY " + "".join(f"--exclude={pattern} " for pattern in exclude.split()) + f"{source} /d/\nRUN echo\n",
        DOCS,
        {edit: "changed FRESH"},
        classic=False,
    )
    for exclude, source, edit in EXCLUDES
]
STAGE_EXCLUDE = BUILDER + "COPY a /a\n" + FINAL + "COPY --from=builder --exclude=*.md /a /d/\nRUN echo\n"
ASSETS = {"assets/f": "1 FRESH", "assets/g": "1 FRESH", "assets/.dockerignore": "ign\n", "assets/ign": "1", "x": "1"}
CONTEXT = {"contexts": {"assets": "assets"}, "files": {**ASSETS, ".dockerignore": "assets\n"}, "classic": False}
CASES += [
    Case("stage's --exclude, excluded file", STAGE_EXCLUDE, DOCS, {"a/b.md": "2 FRESH"}, classic=False),
    Case("stage's --exclude, other file", STAGE_EXCLUDE, DOCS, {"a/m.rs": "2 FRESH"}, classic=False),
    *(
        Case(
            f"named context, {line}, {edit} edited",
            BASE + line + "\nRUN echo\n",
            edit={f"assets/{edit}": "2 FRESH"},
            **CONTEXT,
        )
        for line, edit in (
            ("COPY --from=assets f /d/", "f"),
            ("COPY --from=assets f /d/", "g"),
            ("COPY --from=assets . /d/", "ign"),
            ("COPY --from=assets / /d/", "g"),
            ("COPY --from=assets g* /d/", "f"),
            ("COPY --from=assets --exclude=g . /d/", "g"),
            ("RUN --mount=from=assets,source=f,target=/m true", "f"),
            ("RUN --mount=from=assets,source=f,target=/m true", "g"),
        )
    ),
    *(
        Case(
            f"named context as base, {lines or 'nothing added'}, {edit} edited",
            f"FROM assets AS one\n{lines}" + FINAL + "COPY --from=one /f /d/\nRUN echo\n",
            edit={f"assets/{edit}": "2 FRESH"},
            **CONTEXT,
        )
        for lines in ("", "COPY x /\nCOPY x /y\n")
        for edit in ("f", "g")
    ),
    Case(
        "named context with an ignore file of its own Dockerfile",
        BASE + "COPY --from=assets . /d/\nRUN echo\n",
        edit={"assets/f": "2 FRESH"},
        **CONTEXT | {"files": {**ASSETS, "assets/Dockerfile.dockerignore": "f\n"}},
    ),
    Case(
        "named context with a stage's name",
        BUILDER.replace("builder", "assets") + FINAL + "COPY --from=assets /f /d/\nRUN echo\n",
        edit={"assets/f": "2 FRESH"},
        **CONTEXT,
    ),
    Case("network of the build", BASE + "RUN true\nCOPY app.py /\n", network_after="host"),
    Case(
        "network of the build and of the step",
        BASE + "RUN true\n",
        dockerfile_after=BASE + "RUN --network=none true\n",
        classic=False,
    ),
]
CACHE = "type=cache,target=/c"
#: (mount, mount of the next build)
MOUNT_CHANGES = [
    (CACHE, CACHE + ",sharing=locked"), (CACHE, CACHE + ",sharing=shared"), (CACHE, CACHE + ",id=x"),
    (CACHE, CACHE + ",id=/c"), (CACHE + ",id=x", CACHE + ",id=y"), (CACHE + ",id=x", CACHE + ",sharing=locked"),
    (CACHE, CACHE + ",mode=0755"), (CACHE, CACHE + ",uid=0"), (CACHE, CACHE + ",readonly"),
    (CACHE + ",uid=1", CACHE + ",uid=1,sharing=locked"), (CACHE + ",sharing=shared", CACHE + ",sharing=locked"),
    (CACHE, CACHE + ",from=localhost/busybox:static,source=/bin"), ("type=cache,target=c", CACHE),
    ("type=tmpfs,target=/t", "type=tmpfs,target=/t,size=1m"), (CACHE, "type=tmpfs,target=/c"),
    ("type=secret,id=a", "type=secret,id=a,env=A"), ("source=src,target=/s", "source=src,target=/s,rw"),
    ("source=src,target=/s", "source=src,target=/t"), ("source=src,target=/s", "source=.,target=/s"),
    # other spellings of the same, and defaults written out
    (CACHE, CACHE + ",ro=false"), (CACHE + ",mode=0755", CACHE + ",mode=755"), (CACHE + ",gid=0", CACHE + ",uid=0"),
    ("type=secret,id=a", "type=secret,id=a,target=/run/secrets/a"), ("type=secret,id=a", "type=secret,id=a,mode=0400"),
    ("type=secret,id=a", "type=secret,id=a,required=false"), ("type=ssh", "type=ssh,id=default"),
    ("type=ssh", "type=ssh,mode=0600"), ("type=tmpfs,target=/t,size=1m", "type=tmpfs,target=/t,size=1024k"),
]  # fmt: skip
CASES += [
    Case(
        f"mount {before} → {after}",
        BASE + f"RUN --mount={before} true\nRUN echo\n",
        dockerfile_after=BASE + f"RUN --mount={after} true\nRUN echo\n",
        classic=False,
    )
    for before, after in MOUNT_CHANGES
]
PLACE = BASE + "WORKDIR /app\nRUN echo x\nCOPY app.py y\n"
CASES += [
    Case(f"{line!r} in place of WORKDIR /app", PLACE, dockerfile_after=swap(PLACE, "WORKDIR /app", line), classic=False)
    for line in ("WORKDIR /app/", "WORKDIR //app", "WORKDIR /b/../app", "WORKDIR app", "WORKDIR /app\nWORKDIR .")
]
CASES += [
    Case(f"{line} in place of RUN echo x", PLACE, dockerfile_after=swap(PLACE, "RUN echo x", line), classic=False)
    for line in ("RUN --network=default echo x", "WORKDIR .\nRUN echo x")
]


def generated(seed: int) -> Case:
    """A Dockerfile of random instructions and a random change."""
    draw = random.Random(seed)
    lines = ["FROM localhost/busybox:static AS first", "RUN echo FRESH"]
    stage = ""
    for _ in range(draw.randint(3, 8)):
        kind = draw.choice(
            ["RUN", "COPY", "COPY", "ENV", "ARG", "WORKDIR", "LABEL", "MOUNT", "STAGE", "FROM"]
            if seed < 16  # the first seeds keep their cases
            else [
                "RUN",
                "COPY",
                "ENV",
                "ARG",
                "WORKDIR",
                "MOUNT",
                "STAGE",
                "FROM",
                "USER",
                "HEREDOC",
                "EXCLUDE",
                "CACHE",
                "ADD",
            ]
        )
        number = draw.randint(1, 3)
        if kind == "RUN":
            lines.append(f"RUN echo {number} > /tmp/r{number}")
        elif kind == "COPY":
            lines.append(
                f"COPY {draw.choice(['app.py', 'src', '*.txt', '.', 'src/a.py'])} {draw.choice(['/d/', './', '/x/y/'])}"
            )
        elif kind == "MOUNT":
            lines.append(f"RUN --mount=source={draw.choice(['src', 'app.py', '.'])},target=/mnt echo {number}")
        elif kind == "USER":
            lines.append(f"USER {draw.choice(['1000', '1000:1000', '1:2'])}")
        elif kind == "HEREDOC":
            lines.append(draw.choice([f"COPY <<X /h{number}/\nvalue {number}\nX", f"RUN <<X\necho {number}\nX"]))
        elif kind == "EXCLUDE":
            exclude = draw.choice(["*.py", "**/*.py", "src/a.py", "a.py", "src", "*.txt"])
            lines.append(f"COPY --exclude={exclude} {draw.choice(['.', 'src', '*'])} /e{number}/")
        elif kind == "CACHE":
            options = draw.choice(["", ",id=x", ",sharing=locked", ",mode=0755"])
            lines.append(f"RUN --mount=type=cache,target=/cache{number}{options} echo {number}")
        elif kind == "ADD":
            lines.append(f"ADD --chmod=64{number} {draw.choice(['app.py', 'src/*.py', '*.txt'])} /a{number}/")
        elif kind == "STAGE" and not stage:
            stage = "first"
            lines += [f"FROM {draw.choice(['first', 'localhost/busybox:static'])} AS second", "RUN echo second FRESH"]
        elif kind == "FROM" and stage and not any("--from" in line for line in lines):
            lines += ["WORKDIR /got", f"COPY --from=first {draw.choice(['/d/', '/tmp/', '/d'])}* /got/"]
            lines[2:2] = ["COPY src /d/"]
            lines[2:2] = ["RUN echo made > /tmp/made"]
        elif kind in ("ENV", "ARG"):
            lines.append(f"{kind} N{number}={number}")
        elif kind == "WORKDIR":
            lines.append(f"WORKDIR {draw.choice(['/w', 'sub', '/'])}")
        elif kind == "LABEL":
            lines.append(f"LABEL n={number}")
    dockerfile = "\n".join([*lines, "RUN echo end"]) + "\n"
    edit = {draw.choice(list(APP)): "changed FRESH"} if draw.random() < 0.6 else {}
    after = dockerfile
    if draw.random() < 0.5:
        at = draw.randrange(1, len(lines))
        if lines[at].startswith(("RUN echo", "ENV", "ARG")) and "FRESH" not in lines[at]:
            after = dockerfile.replace(lines[at], lines[at] + "0", 1)
    args, modes = None, {}
    if seed >= 16 and after == dockerfile:
        change = draw.choice(["edit", "new", "remove", "mode", "argument", "ignore"])
        path = draw.choice(list(APP))
        edit = {"new": {"src/new.py": "FRESH"}, "remove": {path: None}, "edit": {path: "changed FRESH"}}.get(change, {})
        edit = {".dockerignore": f"{path}\n"} if change == "ignore" else edit
        modes = {path: 0o755} if change == "mode" else {}
        args = {f"N{draw.randint(1, 3)}": "other"} if change == "argument" else None
        sources = [
            word
            for line in lines
            if line.startswith(("COPY", "ADD", "RUN --mount=source"))
            for word in (path,)
            if word in line
        ]
        if change in ("remove", "ignore") and sources:  # the build would fail
            edit = {path: "changed FRESH"}
    return Case(
        f"generated {seed}",
        dockerfile,
        edit=edit,
        modes=modes,
        args_after=args,
        dockerfile_after=after,
        same_results=True,
        classic=seed < 16,
    )
