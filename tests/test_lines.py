"""The package stays thin: limits on lines of code, and the table in CONTRIBUTING.md."""

import re

import pytest

from tests.conftest import ROOT
from tools.lines import ALL, LIMITS, by_folder, code_lines

COUNTS = by_folder()


@pytest.mark.parametrize("folders", LIMITS, ids="+".join)
def test_a_question_can_be_read_in_an_afternoon(folders):
    assert sum(COUNTS[folder] for folder in folders) <= LIMITS[folders]


def test_the_package_stays_within_its_limit():
    assert sum(COUNTS.values()) <= ALL


def test_contributing_shows_the_lines_of_code():
    rows = re.findall(r"^\| `(\w+)/` \| ([\d,]+) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    shown = {folder: int(lines.replace(",", "")) for folder, lines in rows}
    counted = {folder: lines for folder, lines in COUNTS.items() if folder != "."}
    assert shown == pytest.approx(counted, rel=0.05), "python tools/lines.py prints the new table"


def test_docstrings_comments_and_blank_lines_do_not_count():
    source = '"""Module."""\n\n# why\ndef f():\n    """Function."""\n    return [\n        1,  # one\n    ]\n'
    assert code_lines(source) == 4
