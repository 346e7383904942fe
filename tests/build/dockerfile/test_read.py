"""Dockerfiles as frames: BuildKit's parser cases with their results, real projects, scoping, errors with lines."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagelab.build.dockerfile.read import GRAPH_COLUMNS, INSTRUCTIONS_COLUMNS, STAGES_COLUMNS, read_dockerfile
from imagelab.build.dockerfile.syntax import parse
from imagelab.core.errors import DockerfileError

TWO = """# syntax=docker/dockerfile:1
ARG VERSION=3
FROM python:${VERSION} AS Builder
ARG VERSION
ENV PATH=/opt/bin:$PATH MODE=fast
WORKDIR /src
COPY --chown=app:app requirements.txt ${MODE}/
RUN --mount=type=cache,target=/root/.cache \\
    pip install $MODE
FROM scratch
COPY --from=builder /src /src
RUN --mount=type=bind,from=alpine:3,target=/a true
CMD ["run"]
"""


def quoted(text: str) -> str:
    """As Go's %q prints it."""
    names = {"\\": "\\\\", '"': '\\"', "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(names.get(c, c if c.isprintable() else f"\\x{ord(c):02x}") for c in text) + '"'


def as_parser_prints(step) -> str:
    """A step in the form of BuildKit's own parser results."""
    words = [step.instruction.lower()]
    if step.node.flags:
        words.append("[" + " ".join(quoted(flag) for flag in step.node.flags) + "]")
    if step.instruction == "ONBUILD":
        inner = parse("FROM x\n" + re.sub(r"^\S+\s+", "", step.node.original) + "\n").stages[0].steps[1]
        words.append(as_parser_prints(inner))
    else:
        words += [quoted(arg) for arg in step.node.args]
    return "(" + " ".join(words) + ")"


def test_buildkits_parser_cases(corpus):
    cases = sorted((corpus / "dockerfiles/parser-testfiles").iterdir())
    assert len(cases) > 15
    for case in cases:
        build = parse((case / "Dockerfile").read_text())
        steps = [*build.before, *(step for stage in build.stages for step in stage.steps)]
        assert [as_parser_prints(step) for step in steps] == (case / "result").read_text().strip().split("\n"), (
            case.name
        )
        assert len(read_dockerfile(case / "Dockerfile").instructions) == len(steps)


def test_the_negative_cases_name_the_line(corpus):
    for case in (corpus / "dockerfiles/parser-testfiles-negative").iterdir():
        with pytest.raises(DockerfileError, match="line 1"):
            read_dockerfile(case / "Dockerfile")


def test_real_projects(corpus):
    read = 0
    for path in sorted((corpus / "dockerfiles/projects").iterdir()):
        if "hello-err" in path.name:
            with pytest.raises(DockerfileError, match="line 18: unknown instruction: ARGGG"):
                read_dockerfile(path)
            continue
        dockerfile = read_dockerfile(path)
        lines = path.read_text().splitlines()
        for row in dockerfile.instructions.itertuples():
            assert re.match(rf"\s*{row.instruction}\b", lines[row.line - 1], re.I), (path.name, row.line)
        named = set(dockerfile.stages["stage"])
        assert set(dockerfile.graph.loc[dockerfile.graph["source_is_stage"], "source"]) <= named
        read += 1
    assert read > 20


def test_scopes_steps_and_graph():
    dockerfile = read_dockerfile(TWO, {"VERSION": "4"})
    frame = dockerfile.instructions.set_index("line")
    assert dockerfile.directives == {"syntax": "docker/dockerfile:1"}
    assert frame["expanded"][3] == "python:4 AS Builder"
    assert frame["expanded"][4] == "VERSION=4"
    assert frame["expanded"][5] == "PATH=/opt/bin:${PATH} MODE=fast"
    assert frame["expanded"][7] == "requirements.txt fast/"
    assert frame["arguments"][7] == "--chown=app:app requirements.txt ${MODE}/"
    assert frame["expanded"][8] == "pip install $MODE"  # the shell expands it, not BuildKit
    assert (frame["end_line"][8], frame["form"][8], frame["form"][13]) == (9, "shell", "exec")
    assert frame["step"].tolist() == [pd.NA, 1, pd.NA, pd.NA, 2, 3, 4, pd.NA, 1, 2, pd.NA]
    assert dockerfile.stages["stage"].tolist() == ["builder", "stage-1"]
    assert dockerfile.graph[["stage", "source", "via"]].to_numpy().tolist() == [
        ["builder", "python:4", "from"],
        ["stage-1", "scratch", "from"],
        ["stage-1", "builder", "copy"],
        ["stage-1", "alpine:3", "mount"],
    ]
    assert frame.reset_index().dtypes.astype(str).to_dict() == INSTRUCTIONS_COLUMNS
    assert dockerfile.stages.dtypes.astype(str).to_dict() == STAGES_COLUMNS
    assert dockerfile.graph.dtypes.astype(str).to_dict() == GRAPH_COLUMNS


def test_heredocs_and_onbuild():
    text = (
        "FROM a AS base\nARG WHO=me\nCOPY <<EOF <<'RAW' /x/\nhello $WHO\nEOF\nhello $WHO\nRAW\n"
        "RUN <<-END\n\techo $WHO\n\tEND\nONBUILD RUN make\nFROM base\nRUN true\n"
    )
    frame = read_dockerfile(text).instructions
    assert frame["heredocs"][2] == "<<EOF\nhello me\nEOF\n<<RAW\nhello $WHO\nRAW\n"
    assert frame["heredocs"][3] == "<<END\necho $WHO\nEND\n"
    assert (frame["line"][3], frame["end_line"][3]) == (8, 10)
    triggered = frame[frame["onbuild"]]
    assert triggered[["stage", "step", "instruction"]].to_numpy().tolist() == [["stage-1", 1, "RUN"]]


def test_a_workdir_that_comes_to_the_root_is_no_step():
    frame = read_dockerfile("FROM a\nWORKDIR ..\nWORKDIR /w/..\nWORKDIR /w\n").instructions
    assert frame["step"].tolist() == [1, pd.NA, pd.NA, 2]


def test_secrets_are_masked_and_named():
    frame = read_dockerfile(
        "FROM a\nENV DB_PASSWORD=hunter2secret\nARG API_TOKEN=abcdef123456\nLABEL a=b\n"
    ).instructions
    assert not frame.astype(str).apply(lambda column: column.str.contains("hunter2|abcdef123456")).any(axis=None)
    assert frame["masked"].notna().tolist() == [False, True, True, False]


def test_what_cannot_be_expanded_is_unknown_but_read():
    frame = read_dockerfile("FROM a\nWORKDIR ${NOPE:?must be set}\nENV A='open\n").instructions
    assert frame["expanded"].isna().tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("FROM a\nRUNN x\n", 2),
        ("# c\n\nFROM a b\n", 3),
        ("FROM a\nCOPY <<EOF /x\nnever ends\n", 2),
        ("# escape=x\nFROM a\n", 1),
        ("FROM a\nENV novalue\n", 2),
        ("FROM a AS b\n\n\n\nONBUILD RUNN x\nFROM b\n", 5),
        ("FROM a\n\nONBUILD ENV A\n", 3),
        ("FROM a\n\nONBUILD ONBUILD RUN x\n", 3),
        ("FROM a\n\nONBUILD FROM x\n", 3),
        ("FROM a\n\nONBUILD\n", 3),
        ("\n", 1),
        ("", 1),
    ],
)
def test_errors_name_the_line(text, line):
    with pytest.raises(DockerfileError, match=f"line {line}"):
        read_dockerfile(text)


def test_arguments_are_text_as_on_a_command_line():
    text = "ARG BASE=a\nFROM $BASE\nARG V=1\nCOPY $V $TARGETPLATFORM /x\n"
    expanded = read_dockerfile(text, {"V": 3, "BASE": None, "TARGETPLATFORM": 7}).instructions["expanded"]
    assert expanded.tolist()[1:3] == ["a", "V=3"]


def test_a_path_that_is_none(tmp_path):
    for path in (tmp_path, tmp_path / "none", "FROM scratch", "a" * 5000, "nul\0"):
        with pytest.raises(DockerfileError, match="cannot be read"):
            read_dockerfile(path)


def test_targets():
    build = parse(TWO)
    assert [stage.name for stage in build.needed()] == ["builder", "stage-1"]
    assert [stage.name for stage in build.needed("BUILDER")] == [s.name for s in build.needed("0")] == ["builder"]
    with pytest.raises(DockerfileError, match=r"'nope'.*builder, stage-1"):
        build.needed("nope")
    with pytest.raises(DockerfileError, match="no FROM"):
        parse("ARG a\n").needed()


PIECES = ["FROM a\n", "RUN x", " \\\n", "ENV a=b ", "'", '"', "$", "{", "<<E\n", "E\n", "\ud800", "COPY ", "\0"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PIECES)))
def test_any_text_is_read_or_refused(parts):
    try:
        read_dockerfile("".join(parts) + "\n")
    except DockerfileError as error:
        assert len(str(error)) < 800
