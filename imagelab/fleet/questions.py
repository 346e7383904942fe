"""Read the questions for a fleet from ``questions.toml``: the SQL (DuckDB's) and the columns of each answer."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, NamedTuple


class Question(NamedTuple):
    """One question: its text, the columns of the answer, the SQL, and whether it takes a pattern (``*`` matches any text)."""

    text: str
    columns: dict[str, str]
    sql: str
    pattern: bool = False


def _question(entry: dict[str, Any]) -> Question:
    sql = _READ["tables"] + (_READ["represented"] if entry.get("reads_files") else "") + entry["sql"]
    return Question(entry["text"], entry["columns"], sql, entry.get("pattern", False))


_READ = tomllib.loads(Path(__file__).with_name("questions.toml").read_text(encoding="utf-8"))
FINDINGS_BY_BASE: dict[str, str] = _READ.pop("findings")["columns"]
QUESTIONS = {name: _question(entry) for name, entry in _READ.items() if "sql" in entry}
WHERE_FILES, BASED = QUESTIONS.pop("where_files"), QUESTIONS.pop("based")
