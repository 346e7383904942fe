"""Count lines of code (no docstrings, comments or blank lines) by folder of the package: ``python tools/lines.py``."""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMITS = {
    ("core", "images"): 5_345,
    ("size",): 866,
    ("build",): 2_651,
    ("improve",): 2_500,
    ("security",): 3_193,
    ("charts", "widgets", "report"): 2_922,
}
"""Folders → lines of code that they may have together. Lower a limit when you delete code; CONTRIBUTING.md has the goals."""
ALL = 19_386
"""Lines of code that the package may have."""
_LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(source: str) -> int:
    """Lines of ``source`` with code: lines with a token that is neither layout nor part of a docstring."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                docstrings |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _LAYOUT:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def by_folder(package: Path = ROOT / "imagelab") -> dict[str, int]:
    """Folder of the package → lines of code; modules at its root count as ``.``."""
    count: Counter[str] = Counter()
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).parts
        count[parts[0] if len(parts) > 1 else "."] += code_lines(path.read_text(encoding="utf-8"))
    return dict(count)


def table() -> str:
    """The counts as a Markdown table, as CONTRIBUTING.md shows them."""
    counts = by_folder()
    rows = [f"| `{folder}/` | {lines:,} |" for folder, lines in counts.items() if folder != "."]
    return "\n".join(["| folder | lines of code |", "|---|---:|", *rows, f"| all | {sum(counts.values()):,} |"])


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
