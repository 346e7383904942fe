"""Files that come with imagelab: embedded data and notebooks, in a checkout as in an installed wheel."""

from __future__ import annotations

from pathlib import Path

from imagelab.core.errors import ImageNotFound, similar_names

_PACKAGE = Path(__file__).resolve().parents[1]


def data_path(name: str = "") -> Path:
    """A file or folder below ``data/``."""
    return _folder("data") / name


def notebook_paths() -> list[Path]:
    """Every notebook: the lessons in teaching order, then the report templates."""
    folder = _folder("notebooks")
    return [*sorted(folder.glob("*.ipynb")), *sorted(folder.glob("reports/*.ipynb"))]


def examples() -> list[str]:
    """Names of the embedded snapshots, for ``il.load_image("example:NAME")``."""
    return sorted(path.stem for path in data_path("snapshots").glob("*.parquet"))


def example_path(name: str) -> Path:
    """The embedded snapshot called ``name``.

    Raises
    ------
    ImageNotFound
        With similar names.
    """
    path = data_path("snapshots") / f"{name}.parquet"
    if "/" in name or not path.is_file():
        raise ImageNotFound(f"there is no example {name!r}. {similar_names(name, examples())}")
    return path


def _folder(name: str) -> Path:
    inside = _PACKAGE / name  # where the wheel puts it
    return inside if inside.is_dir() else _PACKAGE.parent / name
