"""A history entry's command, read back: both builders' dialects, and what stands between instruction and command."""

from __future__ import annotations

import pytest

from imagelab.images.tables.created_by import parse_created_by


@pytest.mark.parametrize(
    ("recorded", "arguments"),
    [
        ("/bin/sh -c make", "make"),
        ("|1 V=2 /bin/sh -c make", "make"),
        ("|2 A=b c D=e /bin/sh -c make", "make"),  # a value with spaces
        ("|1 PYTHON=/usr/bin/python3 /bin/sh -c make", "make"),  # a value with a path of programs
        ("|1 V=2 /bin/bash -o pipefail -c make", "make"),
        ("|1 V=2 /bin/bash -euxo pipefail -c make", "/bin/bash -euxo pipefail -c make"),
        ("|1 V=2 /usr/bin/python3 -c print()", "/usr/bin/python3 -c print()"),
        ("|2 V=2 PATH=/bin/x /bin/true --all", "/bin/true --all"),  # the exec form
        ("|1 V=2 cmd /S /C make", "cmd /S /C make"),
    ],
)
@pytest.mark.parametrize(("form", "builder"), [("RUN {} # buildkit", "buildkit"), ("{}", "classic")])
def test_build_arguments_and_the_usual_shells_are_left_out(recorded, arguments, form, builder):
    assert parse_created_by(form.format(recorded)) == ("RUN", arguments, builder)


@pytest.mark.parametrize(
    ("recorded", "read"),
    [
        ("/bin/bash -o pipefail -c #(nop)  ENV A=b", ("ENV", "A=b", "classic")),
        ("cmd /S /C #(nop) WORKDIR C:\\app", ("WORKDIR", "C:\\app", "classic")),
        ("powershell -Command $X = 'y'; #(nop)  EXPOSE 80", ("EXPOSE", "80", "classic")),
        ("cmd /S /C dir", ("RUN", "cmd /S /C dir", "classic")),
        ("powershell -NoProfile -Command dir", ("RUN", "powershell -NoProfile -Command dir", "classic")),
        ("/bin/ash -eo pipefail -c apk add a", ("RUN", "/bin/ash -eo pipefail -c apk add a", "classic")),
        ("/usr/bin/env bash -lc make", ("RUN", "/usr/bin/env bash -lc make", "classic")),
        ("Apply image 1809-amd64", (None, "Apply image 1809-amd64", "unknown")),
    ],
)
def test_the_classic_builder_behind_another_shell(recorded, read):
    assert parse_created_by(recorded) == read


@pytest.mark.parametrize(
    "text",
    [
        "|1 " + "A=b " * 50_000,
        "|1 A=" + " /a -x" * 50_000,
        "/bin/sh -c #(nop)" + " " * 200_000,
        "/bin/bash -c" + " -x" * 50_000 + " -c y #(nop)  CMD z",
    ],
)
def test_long_commands_are_parsed_in_linear_time(text):
    assert parse_created_by(text).builder == "classic"
