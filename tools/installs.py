"""Count the distributions of an install and their size on disk, as the README shows them: ``python tools/installs.py``.

Run it in an environment that has everything (``make test`` makes one).
"""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def distributions(*extras: str) -> dict[str, Distribution]:
    """Distributions that ``pip install imagelab[extras]`` installs beside imagelab itself, by name."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(Requirement(line), "") for line in lines]
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        part = distribution(requirement.name)
        found[part.name.lower()] = part
        for wanted in ("", *requirement.extras):
            if (part.name, wanted) not in seen:
                seen.add((part.name, wanted))
                todo += [(Requirement(line), wanted) for line in part.requires or ()]
    return found


def size(parts: dict[str, Distribution]) -> int:
    """Bytes of the distributions' files, bytecode included."""
    paths = {Path(str(part.locate_file(file))) for part in parts.values() for file in part.files or ()}
    return sum(path.stat().st_size for path in paths if path.is_file())


def row(command: str, *extras: str) -> str:
    """A row of the README's table."""
    parts = distributions(*extras)
    return f"| `{command}` | {len(parts)} | {size(parts) / 1e6:.0f} MB |"


if __name__ == "__main__":
    sys.stdout.write("| | distributions | on disk |\n| --- | ---: | ---: |\n")
    for command, extras in {
        "pip install imagelab": (),
        "pip install 'imagelab[notebook]'": ("notebook",),
        "pip install 'imagelab[notebook,fleet]'": ("notebook", "fleet"),
    }.items():
        sys.stdout.write(row(command, *extras) + "\n")
