"""Which way the rooms depend on each other, and what stays in its room."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "imagelab"
FILES = sorted(PACKAGE.rglob("*.py"))

# lower rooms know nothing of higher ones
LEVELS = {
    "errors": 0, "model": 0, "frames": 0, "atomic": 0, "resources": 1, "redact": 1, "created_by": 1, "package_files": 1,
    "display": 1, "blobs": 1, "regions": 1, "tar_headers": 1, "tar_columns": 2, "layer_tar": 3, "layer_cache": 4, "sources": 5,
    "overlay": 4, "base": 4,
    "listing": 5, "tables": 6, "dockerfile": 6, "scans": 6, "snapshots": 7, "analyses": 8, "fleet": 8,
    "exercises_rules": 9, "exercises": 9,
    "charts": 9, "widgets": 10, "report": 11, "site": 11, "cli": 12, "__init__": 12, "__main__": 13,
}  # fmt: skip
ROOMS = {
    "docker": {"sources/daemon.py"},
    "plotly": {"charts", "widgets", "report.py"},
    "ipywidgets": {"widgets"},
    "anywidget": {"widgets"},
}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[str, bool]]:
    """Modules that a file imports, and whether as it loads (not in a function, not for types alone)."""
    found: list[tuple[str, bool]] = []

    def walk(node: ast.AST, loading: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend((alias.name, loading) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: imports are absolute"
                found.extend((f"{child.module}.{alias.name}", loading) for alias in child.names)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            else:
                walk(child, loading and not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)))

    walk(ast.parse(path.read_text()), True)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    own = room(path)
    assert own in LEVELS, f"say in this test where {own} stands"
    for module, _ in imports(path):
        if not module.startswith("imagelab."):
            continue
        other = module.split(".")[1]
        if other in LEVELS and other != own:
            assert LEVELS[other] <= LEVELS[own], f"{path.relative_to(PACKAGE)} imports {module}, which stands above it"
        if {own, other} <= {"dockerfile", "scans", "tables"}:
            assert own == other, f"{path.relative_to(PACKAGE)} imports {module}: these stand beside each other"


@pytest.mark.parametrize("library", ROOMS)
def test_libraries_stay_in_their_rooms(library):
    for path in FILES:
        place = path.relative_to(PACKAGE)
        if any(module.split(".")[0] == library for module, _ in imports(path)):
            assert {str(place), place.parts[0]} & ROOMS[library], f"{place} imports {library}"


def test_some_are_imported_where_they_are_used():
    for path in FILES:
        loading = {module.split(".")[0] for module, loading in imports(path) if loading}
        assert not loading & {"duckdb", "dask"}, f"{path.name} imports {loading & {'duckdb', 'dask'}} as it loads"


@pytest.mark.parametrize(
    "verb", ["import imagelab", "import imagelab as il; il.history('example:' + il.examples()[0])"]
)
def test_the_package_loads_without_what_draws(verb):
    heavy = "plotly", "ipywidgets", "docker", "duckdb", "dask", "IPython", "matplotlib"
    code = f"{verb}\nimport sys\nprint([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.strip() == "[]"


def test_files_stay_short():
    long = {
        str(path.relative_to(PACKAGE)): lines for path in FILES if (lines := len(path.read_text().splitlines())) > 350
    }
    assert not long


def test_importing_the_package_loads_none_of_its_rooms():
    code = "import imagelab, sys\nprint([name for name in sys.modules if name.partition('.')[0] in %r])"
    rooms = ("imagelab", "pandas", "numpy", "pyarrow", "yaml", "requests")
    done = subprocess.run([sys.executable, "-c", code % (rooms,)], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.stdout.strip() == "['imagelab']", done.stderr


def test_every_name_of_the_shop_window_is_there():
    import imagelab

    assert imagelab.__all__ == sorted(imagelab.__all__) == dir(imagelab)
    assert all(getattr(imagelab, name) is not None for name in imagelab.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        imagelab.nonsense  # noqa: B018


def test_type_checkers_see_what_python_sees():
    import imagelab

    stub = ast.parse((PACKAGE / "__init__.pyi").read_text())
    imported = [alias for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert all(alias.asname == alias.name for alias in imported), "a stub shows others only what it names again"
    assert sorted(alias.name for alias in imported) == imagelab.__all__
