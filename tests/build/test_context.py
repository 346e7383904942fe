"""The build context against moby's matching tables, docker-py's cases, BuildKit's, and a real build."""

from __future__ import annotations

import json
import os
import subprocess

import pandas as pd
import pytest

from imagelab.build.cache.plan import plan_build
from imagelab.build.context import CONTEXT_COLUMNS, IgnoreFile, build_context, context_sizes, parse_ignore, walk
from imagelab.core.errors import DockerfileError


def rules(*patterns: str) -> IgnoreFile:
    return IgnoreFile(".dockerignore", parse_ignore("\n".join(patterns)))


def ignored(ignore: IgnoreFile, path: str) -> bool:
    """The answer for one path, asked from the top down as a walk does."""
    states: list[bool] = []
    result = False
    parts = path.rstrip("/").split("/")
    for depth in range(1, len(parts) + 1):
        result, _, states = ignore.match("/".join(parts[:depth]), states)
    return result


def write(root, files, folders=()) -> None:
    for name in folders:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, text in (files if isinstance(files, dict) else dict.fromkeys(files, "x")).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def sent(frame: pd.DataFrame) -> set[str]:
    return set(frame.loc[~frame["ignored"], "path"])


def table(corpus, name):
    return json.loads((corpus / "dockerignore" / f"{name}.json").read_text())["cases"]


@pytest.mark.parametrize("name", ["patternmatcher-matches", "patternmatcher-filepath-match", "patternmatcher-clean"])
def test_moby_tables(corpus, name):
    for case in table(corpus, name):
        if case.get("error"):
            with pytest.raises(DockerfileError, match="line 1"):
                rules(*case["patterns"])
        elif "match" in case:
            assert ignored(rules(*case["patterns"]), case["text"]) == case["match"], case
        elif "count" in case:
            assert len(parse_ignore("\n".join(case["patterns"]))) == case["count"]


def test_reading_an_ignore_file(corpus):
    content = table(corpus, "ignorefile-readall")[0]["content"]
    read = parse_ignore("\ufeff" + content)
    assert [line for _, line in read] == [1, 2, 3, 5, 7, 8, 9]
    with pytest.raises(DockerfileError, match="line 8"):
        IgnoreFile("x", read)
    assert ignored(IgnoreFile("x", read[:5]), "a/file/here")


def test_docker_py_cases(corpus, tmp_path):
    cases = json.loads((corpus / "dockerignore/docker-py-exclude-paths.json").read_text())
    # where docker-py differs from BuildKit, which was asked: a real build sends a/b.py, and a.py
    other = {"test_include_wildcard", "test_parent_directory"}
    for n, case in enumerate(case for case in cases["cases"] if not case["windows_only"] and case["test"] not in other):
        root = tmp_path / str(n)
        tree = cases["default_tree"] if case["tree"] == "default" else case["tree"]
        write(root, tree["files"], tree["dirs"])
        ignore = rules(*case["patterns"])
        kept = {entry.path for entry in walk(root, ignore) if not entry.ignored and entry.kind == "file"}
        always = {
            ".dockerignore",
            case["dockerfile"] or "Dockerfile",
        }  # docker-py adds them, as the classic builder does
        expected = {path for path in case["kept"] if (root / path).is_file()}
        assert kept | {path for path in always if (root / path).exists()} == expected, case


def test_buildkits_own_cases(corpus, tmp_path):
    first, bad, override = table(corpus, "buildkit-dockerignore")
    write(tmp_path / "a", {**dict.fromkeys(first["files"], "FROM scratch\n"), ".dockerignore": first["dockerignore"]})
    assert sent(build_context(tmp_path / "a")) == set(first["in_copy_dot"])
    write(tmp_path / "b", {"Dockerfile": "FROM scratch\n", ".dockerignore": bad["dockerignore"]})
    with pytest.raises(DockerfileError, match=r"\.dockerignore line 1"):
        build_context(tmp_path / "b")
    write(tmp_path / "c", {**dict.fromkeys(override["files"], "x"), **override["ignore_files"], ".dockerignore": "*\n"})
    for name, expected in override["by_dockerfile"].items():
        (tmp_path / "c" / name).write_text("FROM scratch\nCOPY foo /\n")
        found = sent(build_context(tmp_path / "c", name))
        assert set(expected["present"]) <= found and not set(expected["absent"]) & found


def test_rules_lines_sizes_and_use(tmp_path):
    write(
        tmp_path, {"Dockerfile": "FROM a\nCOPY src/*.py /x/\nRUN --mount=source=conf,target=/c true\n", "conf": "12345"}
    )
    write(tmp_path, {"src/a.py": "1", "src/b.md": "22", "big/data.bin": "4444", "big/keep": "1", "logs/x.log": "333"})
    write(tmp_path, {".dockerignore": "# logs\nlogs\n\nbig\n!big/keep\n"})
    (tmp_path / "link").symlink_to("conf")
    frame = build_context(tmp_path)
    rows = frame.set_index("path")
    assert rows.loc["logs/x.log", ["ignored", "rule", "rule_line"]].tolist() == [True, "logs", 2]
    assert rows.loc["big/keep", ["ignored", "rule", "rule_line"]].tolist() == [False, "!big/keep", 5]
    assert not rows.loc["big", "ignored"] and rows.loc["big/data.bin", "ignored"]
    assert set(frame.loc[frame["copied"], "path"]) == {"src/a.py", "conf"}
    assert rows.loc["link", "kind"] == "symlink"
    sizes = context_sizes(frame).set_index("directory")
    files = [p for p in tmp_path.rglob("*") if not p.is_dir()]
    assert sizes.loc[".", "total"] == sum(p.lstat().st_size for p in files)
    assert sizes.loc["big", ["files", "sent", "ignored", "total"]].tolist() == [2, 1, 4, 5]
    assert frame.dtypes.astype(str).to_dict() == CONTEXT_COLUMNS
    assert list(build_context(_empty(tmp_path)).columns) == list(CONTEXT_COLUMNS)


def _empty(tmp_path):
    (tmp_path / "nothing").mkdir()
    return tmp_path / "nothing"


def test_names_that_are_not_utf8(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9")).write_text("x")
    assert build_context(tmp_path)["path"].tolist() == ["caf\\xe9"]


def test_no_directory(tmp_path):
    for path in (tmp_path / "none", __file__, "a" * 5000, "nul\0"):
        with pytest.raises(DockerfileError, match="is not a directory"):
            build_context(path)
    with pytest.raises(DockerfileError, match=r"'Dokerfile' is neither in"):
        build_context(tmp_path, "Dokerfile")


@pytest.mark.parametrize("copy", ["COPY [a /x", "COPY --exclude=[ . /x"])
def test_a_bad_pattern_of_copy_is_refused(tmp_path, copy):
    write(tmp_path, {"Dockerfile": f"FROM a\n{copy}\n", "a": "x"})
    with pytest.raises(DockerfileError, match=r"not a valid COPY pattern: syntax error"):
        plan_build(tmp_path)


def test_ten_thousand_files_at_once(tmp_path):
    """benchmarks/dockerfile_speed.py has the hundred thousand."""
    for folder in range(10):
        (tmp_path / f"d{folder}").mkdir()
        for n in range(1000):
            os.close(os.open(tmp_path / f"d{folder}" / f"f{n}.txt", os.O_CREAT))
    patterns = ["**/*.log", "node_modules", "d1", "!d1/f1.txt", "**/.git", "*.md", "docs/**", "?.x", "dist", "build"]
    write(tmp_path, {".dockerignore": "\n".join(patterns), "Dockerfile": "FROM a\nCOPY d2 /x\nCOPY . /y\n"})
    frame = build_context(tmp_path)
    assert len(frame) == 10_012 and frame["ignored"].sum() == 999


SENDING = [
    "*\n!*/b.py\n",
    "../a.py\n/../b.py\n",
    "d\n!**/b.py\n",
    " #x\n**/t\n",
    "d/a/b.py\n",
    "[a-b].py\nd/*\n!d/c.py",
]


@pytest.mark.engine
@pytest.mark.parametrize("patterns", [*SENDING, "**\n!d\nd/a\n"])
def test_buildkit_sends_the_same(modern, tmp_path, patterns):
    root, out = tmp_path / "in", tmp_path / "out"
    write(root, ["a.py", "b.py", "d/a/b.py", "d/c.py", "e/b.py", "#x", "t/u", "d/t"])
    write(root, {"Dockerfile": "FROM scratch\nCOPY . /\n", ".dockerignore": patterns})
    subprocess.run(["docker", "buildx", "build", "--network=none", "-q", "-o", out, root], env=modern.env, check=True)
    assert {str(p.relative_to(out)) for p in out.rglob("*")} == sent(build_context(root))


def test_the_last_matching_rule_decides():
    """The precedence of .dockerignore, without the corpus: a later rule overrides an earlier one, in both directions."""
    for patterns, expected in (
        (("*.md", "!README.md"), False),
        (("!README.md", "*.md"), True),
        (("*.md", "!README.md", "README*"), True),
        (("docs", "!docs/README.md"), False),
    ):
        path = "docs/README.md" if "docs" in patterns else "README.md"
        assert ignored(rules(*patterns), path) == expected, patterns
    assert rules("a*", "!ab*").match("abc", [])[:2] == (False, 1)
