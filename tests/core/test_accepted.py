"""One reader checks every entry of a file of accepted findings, whichever question asks for it."""

from __future__ import annotations

from datetime import date

import pytest

from imagelab.core.accepted import read_entries
from imagelab.core.errors import ScanFormatError

GOOD = """
[[accept]]
rule = "logs"
path = "/var/log"
instruction = "RUN make"
reason = "small"
expires = 2030-01-01
[[accept]]
id = "CVE-1"
path = "app"
purl = "pkg:deb/debian/openssl"
reason = "not reachable"
[[accept]]
check = "health check"
path = "/app"
reason = "the platform asks"
"""


def read(folder, text, kind="rule", **more):
    file = folder / "accepted.toml"
    file.write_text(text, "utf-8-sig")
    return read_entries(file, kind, lambda entry: [entry], **more)


def test_each_question_gets_its_own_entries(tmp_path):
    rules, ids, checks = (read(tmp_path, GOOD, kind) for kind in ("rule", "id", "check"))
    assert [entry["expires"] for entry in rules] == [date(2030, 1, 1)]
    assert [entry["purl"] for entry in ids] == ["pkg:deb/debian/openssl"]
    assert [entry["check"] for entry in checks] == ["health check"]
    assert read(tmp_path, "") == []


@pytest.mark.parametrize("kind", ["rule", "id", "check"])
@pytest.mark.parametrize(
    "entry",
    [
        'reason = "none of rule, id and check"',
        'rule = "logs"\nid = "CVE-1"\nreason = "two of them"',
        'id = "CVE-1"',
        'id = "CVE-1"\nreason = ""',
        'id = "CVE-1"\nreason = "x"\npath = ""',
        'id = "CVE-1"\nreason = "x"\ninstruction = "RUN"',
        'rule = "logs"\nreason = "x"\npurl = "pkg:npm/a"',
        'check = "health check"\nreason = "x"\npurl = "pkg:npm/a"',
        'rule = "logs"\nreason = "x"\nexpires = "2030-01-01"',
        'rule = "logs"\nreason = "x"\nexpires = 2030-01-01T00:00:00',
        'rule = ["logs"]\nreason = "x"',
        'rule = "logs"\nreason = "x"\nunknown = "y"',
    ],
)
def test_an_entry_of_another_form_is_named_whoever_reads_the_file(tmp_path, kind, entry):
    with pytest.raises(ScanFormatError, match=r"accepted\.toml: accept entry 4 is .* it needs \w+ and reason"):
        read(tmp_path, f"{GOOD}[[accept]]\n{entry}\n", kind)


@pytest.mark.parametrize("text", ["accept = 3", "not toml [", "accept = [3]"])
def test_a_file_of_another_format_is_refused(tmp_path, text):
    with pytest.raises(ScanFormatError, match=r"accepted\.toml.*accept"):
        read(tmp_path, text)


def test_an_unknown_name_is_refused_by_its_reader(tmp_path):
    assert read(tmp_path, GOOD, "id", known=["CVE-1"])
    with pytest.raises(ScanFormatError, match=r"entry 3 .*unknown check 'health check'\. Known names: a\."):
        read(tmp_path, GOOD, "check", known=["a"])
