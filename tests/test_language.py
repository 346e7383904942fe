"""Worn and unclear phrases stay out of what people read: strings and docstrings of the package, lessons, documentation."""

import ast
import json
import re

import pytest

from tests.conftest import ROOT

# phrase → what to write instead
PHRASES = {
    r"in vain": "wasted",
    r"shop window": "public API",
    r"\b(?:each|every|its|own|their) rooms?\b|the rooms? that": "module, package",
    r"beneath": "below",
    r"goes without saying": "default",
    r"as whom": "with the credentials that …",
    r"of them its own": "unique to it",
    r"likeness": "similarity",
    r"set aside": "suppressed",
    r"holds in part|does not hold\b": "partly confirmed, not confirmed; is exceeded",
    r"\blet (?:a|the|each|every|these|them|it)\b[\w ]{0,20}\bin\b(?! )": "introduced the finding",
    r"no container (?:can )?sees?": "hidden from containers",
    r"is no (?:size|severity|image|path|name|tag|digest|number)\b": "is not a …; expected …",
    r"(?-i:(?<!there )(?:\bis|\bare) none\b)": "is not one; invalid",
    r"names no image": "empty reference; expected …",
    r"does not answer well": "keeps failing",
    r"spoken to": "connection",
    r"would be asked": "allowed only for",
    r"stands? on changed": "its base changed",
    r"is made again by": "is rebuilt by",
    r"bytes that could go|if it went|what goes if": "can be removed; space freed if you delete it",
    r"until then\b": "until …",
    r"gone later": "deleted later",
    r"\bever was\b": "the whole history",
    r"nothing of the kind": "not applicable",
    r"entries forgotten": "entries deleted",
    r"a second time for": "again, only to",
    r"speaks? over": "overrides",
    r"holds no more": "expires",
    r"known by sight|tells itself": "recognised by",
    r"minds no case": "case-insensitive",
    r"by someone's hand": "by the user",
    r"puts? right|\bput right": "fixes",
    r"what is told|as told\b|is told\b": "what the value is",
    r"stops telling the truth": "can mislead you",
    r"holds? (?:an image )?against": "check, compare",
    r"makes the mess": "clean up in the same RUN",
    r"to blame\b": "which instruction did it",
    r"it is no such": "invalid",
}
PATTERN = re.compile("|".join(f"(?:{phrase})" for phrase in PHRASES), re.IGNORECASE)
SOURCES = sorted((ROOT / "imagelab").rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")]
PAGES += (ROOT / "data").rglob("README.md")


def strings(path):
    """The texts of a file that people read."""
    if path.suffix == ".py":
        tree = ast.parse(path.read_text())
        return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    if path.suffix == ".ipynb":
        return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"]]
    lines = path.read_text().splitlines()
    return [line for line in lines if not line.startswith("| ")] if path.name == "CHANGELOG.md" else lines


@pytest.mark.parametrize("path", [*SOURCES, *NOTEBOOKS, *sorted(PAGES)], ids=lambda path: str(path.relative_to(ROOT)))
def test_plain_words(path):
    found = {match[0] for text in strings(path) for match in PATTERN.finditer(" ".join(text.split()))}
    assert not found, f"{path.relative_to(ROOT)}: language.md and PHRASES say what to write instead"
