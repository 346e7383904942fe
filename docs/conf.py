"""The documentation site: `make docs`. What is in docs/reference is written here, from the code and the data."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import tomllib
from html import escape
from pathlib import Path

import typer
from typer.main import get_command

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import imagelab as il  # noqa: E402
from imagelab.cli.app import PANELS, app  # noqa: E402
from imagelab.report.run import report  # noqa: E402

project = "imagelab"
author = "The imagelab maintainers"
release = il.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "reference/pages"]
html_theme = "furo"
html_title = "imagelab"
html_static_path: list[str] = []
html_extra_path = ["reference/pages"]
html_show_sourcelink = False
html_copy_source = False
autodoc_typehints = "none"
napoleon_google_docstring = False
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing", "docutils", "image.not_readable"]
REFERENCE = HERE / "reference"
QUESTIONS = {
    "images": "Images",
    "size": "Size",
    "build": "Builds",
    "improve": "Advice and improvement",
    "security": "Security",
    "fleet": "Many images",
    "course": "The course",
    "widgets": "Tables in a notebook",
    "core": "Errors and data",
}


def api() -> str:
    """Every public name, by question."""
    folders: dict[str, list[str]] = {}
    for name in il.__all__:
        found = getattr(il, name)
        module = (
            getattr(found, "__module__", None) or found.__name__ if not isinstance(found, dict) else "imagelab.images"
        )
        folders.setdefault(module.split(".")[1], []).append(name)
    parts = ["# Functions\n\n`import imagelab as il` gives these names; each loads its module when it is first used.\n"]
    for folder, title in QUESTIONS.items():
        parts.append(f"## {title}\n")
        for name in folders.pop(folder, []):
            found = getattr(il, name)
            kind = "class" if inspect.isclass(found) else "function" if callable(found) else "data"
            if inspect.ismodule(found):
                parts.append(f"```{{eval-rst}}\n.. automodule:: {found.__name__}\n   :members:\n```\n")
            else:
                parts.append(f"```{{eval-rst}}\n.. auto{kind}:: imagelab.{name}\n```\n")
    assert not folders, f"no heading for {folders}"
    return "\n".join(parts)


def returned_by(constant: str, module: str) -> str:
    """The public functions whose docstrings promise these columns."""
    names = [
        f"`il.{name}`"
        for name in il.__all__
        if constant in (inspect.getdoc(getattr(il, name)) or "")
        and (getattr(il, name).__module__ or "").split(".")[1] == module.split(".")[1]
    ]
    return f"Returned by {', '.join(names)}." if names else f"In `{module}`."


def columns() -> str:
    """Every table of columns that a function promises, with the meanings in columns.toml."""
    parts = [
        "# Columns\n\nColumn, dtype, and meaning with its unit, of each DataFrame that a function returns. Unknown is `<NA>`.\n"
    ]
    meanings = tomllib.loads((HERE / "columns.toml").read_text(encoding="utf-8"))
    unused = {(table, column) for table, own in meanings.items() for column in own}
    for info in pkgutil.walk_packages(il.__path__, "imagelab."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            if name.endswith("COLUMNS") and isinstance(value, dict) and f"\n{name}" in "\n" + inspect.getsource(module):
                parts += [f"## {name}\n\n{returned_by(name, info.name)}\n\n| column | dtype | meaning |\n|---|---|---|"]
                for column, dtype in value.items():
                    table = name if column in meanings.get(name, {}) else "any"
                    unused.discard((table, column))
                    parts += [f"| `{column}` | {getattr(dtype, 'name', dtype)} | {escape(meanings[table][column])} |"]
                parts += [""]
    assert not unused, f"columns.toml describes columns that no table has: {sorted(unused)}"
    return "\n".join(parts)


def command_line() -> str:
    """The help of every verb."""
    for name in PANELS:
        importlib.import_module(f"imagelab.cli.{name}")
    parts = ["# Command line\n"]

    def walk(command: object, words: list[str], parent: typer.Context | None) -> None:
        context = command.make_context(words[-1], [], parent=parent, resilient_parsing=True)  # type: ignore[attr-defined]
        parts.append(f"## {' '.join(words)}\n\n```text\n{command.get_help(context)}\n```\n")  # type: ignore[attr-defined]
        for name, child in getattr(command, "commands", {}).items():
            walk(child, [*words, name], context)

    walk(get_command(app), ["imagelab"], None)
    return "\n".join(parts)


REFERENCE.mkdir(exist_ok=True)
for page, text in {"api": api(), "columns": columns(), "cli": command_line()}.items():
    (REFERENCE / f"{page}.md").write_text(text, encoding="utf-8")
(REFERENCE / "pages").mkdir(exist_ok=True)
report(["example:imagelab"], REFERENCE / "pages/imagelab.html")
