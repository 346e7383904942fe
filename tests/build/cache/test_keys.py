"""What makes a step run again, one input of its key at a time. test_proof.py asks BuildKit; these tests need no engine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagelab.build.cache.plan import plan_build

FILES = {
    "app.py": "1",
    "src/a.py": "1",
    "src/docs/b.md": "1",
    "src/c.md": "1",
    "ignored/x": "1",
    ".dockerignore": "ignored\n",
}


def write(root: Path, lines: str, edits: dict[str, str | None]) -> Path:
    for name, text in {**FILES, "Dockerfile": f"FROM busybox\n{lines}\n", **edits}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is not None and text.startswith("-> "):
            path.symlink_to(text[3:])
        elif text is not None:
            path.write_text(text)
    return root


def last_step_hits(tmp_path: Path, before: str, after: str | None = None, edits: dict[str, str | None] | None = None,
                   at_first: dict[str, str | None] | None = None, **options) -> bool:  # fmt: skip
    first = write(tmp_path / "before", before, at_first or {})
    second = write(tmp_path / "after", before if after is None else after, {**(at_first or {}), **(edits or {})})
    plan = plan_build(first, after=second, **options)
    return bool(plan["hit"].iloc[-1])


BIND, CACHE = "RUN --mount=type=bind,source=src,target=/s make", "RUN --mount=type=cache,target=/c make"
LINES = {  # name: before, after, whether the last step is taken from the cache
    "the same": ("RUN make", "RUN make", True),
    "another command": ("RUN make", "RUN make all", False),
    "inner spaces": ("RUN make a", "RUN make  a", False),
    "a comment inside": ("RUN make \\\n a", "RUN make \\\n# why\n a", True),
    "exec form": ("RUN make", 'RUN ["make"]', False),
    "a heredoc": ("RUN <<E\nmake\nE", "RUN <<E\nmake all\nE", False),
    "unused ENV": ("ENV A=1\nRUN make", "ENV A=2\nRUN make", False),
    "unused ARG": ("ARG A=1\nRUN make", "ARG A=2\nRUN make", False),
    "ARG after": ("RUN make", "RUN make\nARG A=1", True),
    "LABEL": ("LABEL a=1\nRUN make", "LABEL a=2\nRUN make", True),
    "CMD": ("CMD a\nRUN make", "CMD b\nRUN make", True),
    "EXPOSE": ("EXPOSE 1\nRUN make", "EXPOSE 2\nRUN make", True),
    "USER": ("USER a\nRUN make", "USER b\nRUN make", False),
    "SHELL": ('SHELL ["/bin/sh", "-c"]\nRUN make', 'SHELL ["/bin/ash", "-c"]\nRUN make', False),
    "WORKDIR": ("WORKDIR /a\nRUN make", "WORKDIR /b\nRUN make", False),
    "network": ("RUN --network=default make", "RUN --network=none make", False),
    "a step before": ("RUN one\nRUN make", "RUN two\nRUN make", False),
    "target of a cache mount": (CACHE, CACHE.replace("/c", "/d"), False),
    "id of a bare cache mount": (CACHE, CACHE.replace("/c", "/c,id=x"), False),
    "sharing of a bare cache mount": (CACHE, CACHE.replace("/c", "/c,sharing=locked"), False),
    "id of a cache mount": (CACHE.replace("/c", "/c,id=x"), CACHE.replace("/c", "/c,id=y"), True),
    "a new mount": ("RUN make", CACHE, False),
    "target of a bind mount": (BIND, BIND.replace("/s ", "/t "), False),
    "id of a secret": ("RUN --mount=type=secret,id=a make", "RUN --mount=type=secret,id=b make", False),
    "ENV before COPY": ("ENV A=1\nCOPY app.py /", "ENV A=2\nCOPY app.py /", True),
    "ENV in COPY": ("ENV A=1\nCOPY app.py /$A", "ENV A=2\nCOPY app.py /$A", False),
    "USER before COPY": ("USER a\nCOPY app.py /", "USER b\nCOPY app.py /", True),
    "destination": ("COPY app.py /a", "COPY app.py /b", False),
    "chmod": ("COPY --chmod=644 app.py /", "COPY --chmod=600 app.py /", False),
    "chown": ("COPY --chown=1 app.py /", "COPY --chown=2 app.py /", False),
    "a COPY heredoc": ("COPY <<E /x\na\nE", "COPY <<E /x\nb\nE", False),
    "another source": ("COPY app.py /x", "COPY src/a.py /x", False),
    "name of a stage": ("RUN make\nFROM busybox AS a\nRUN a", "RUN make\nFROM busybox AS b\nRUN a", True),
    "COPY from a changed stage": (
        "RUN one\nFROM busybox\nCOPY --from=0 /x /", "RUN two\nFROM busybox\nCOPY --from=0 /x /", False),
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
def test_lines(tmp_path, name):
    before, after, hits = LINES[name]
    assert last_step_hits(tmp_path, before, after) == hits


EDITS = {  # name: the line, the files of the second build, whether the last step is taken from the cache
    "nothing": ("COPY . /", {}, True),
    "content": ("COPY app.py /", {"app.py": "2"}, False),
    "another file": ("COPY app.py /", {"src/a.py": "2"}, True),
    "a file below": ("COPY src /", {"src/docs/b.md": "2"}, False),
    "a new file": ("COPY src /", {"src/new": "1"}, False),
    "an ignored file": ("COPY . /", {"ignored/x": "2"}, True),
    "a wildcard's file": ("COPY src/*.py /", {"src/a.py": "2"}, False),
    "what a wildcard leaves out": ("COPY src/*.py /", {"src/c.md": "2"}, True),
    "an excluded file": ("COPY --exclude=*.md src /", {"src/c.md": "2"}, True),
    "an excluded name deeper down": ("COPY --exclude=*.md src /", {"src/docs/b.md": "2"}, False),
    "excluded at any depth": ("COPY --exclude=**/*.md src /", {"src/docs/b.md": "2"}, True),
    "re-included": ("COPY --exclude=**/*.md --exclude=!c.md src /", {"src/c.md": "2"}, False),
    "a bind mount's file": (BIND, {"src/a.py": "2"}, False),
    "outside a bind mount": (BIND, {"app.py": "2"}, True),
    "linked copy": ("COPY --link app.py /", {"src/a.py": "2"}, True),
    "the context that contains the Dockerfile": ("COPY . /", {"Dockerfile": "FROM busybox\nCOPY . /\n# more\n"}, False),
}


@pytest.mark.parametrize("name", EDITS)
def test_edits(tmp_path, name):
    line, edits, hits = EDITS[name]
    assert last_step_hits(tmp_path, line, edits=edits) == hits


def test_a_symbolic_link_counts_by_its_target(tmp_path):
    first = {"src/link": "-> a.py"}
    assert last_step_hits(tmp_path / "1", "COPY src /", at_first=first)
    assert not last_step_hits(tmp_path / "2", "COPY src /", edits={"src/link": "-> c.md"})


def test_the_mode_counts_and_the_time_does_not(tmp_path):
    first = write(tmp_path / "before", "COPY --chmod=644 app.py /", {})
    second = write(tmp_path / "after", "COPY --chmod=644 app.py /", {})
    os.utime(second / "app.py", (1, 1))
    assert plan_build(first, after=second)["hit"].iloc[-1]
    (second / "app.py").chmod(0o755)
    assert not plan_build(first, after=second)["hit"].iloc[-1]


def test_arguments_and_the_network_of_the_whole_build(tmp_path):
    root = write(tmp_path / "a", "ARG A=1\nRUN make", {})
    assert plan_build(root, args={"A": "1"})["hit"].iloc[-1]
    assert not plan_build(root, args_after={"A": "2"})["hit"].iloc[-1]
    assert plan_build(root, args_after={"SOURCE_DATE_EPOCH": "2"})["hit"].iloc[-1]
    assert not plan_build(root, network_after="none")["hit"].iloc[-1]
