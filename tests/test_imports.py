"""Which way the rooms depend on each other, and what stays in its room."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "imagelab"
FILES = sorted(PACKAGE.rglob("*.py"))

# What each folder may import, besides itself and core (DESIGN, section 1).
IMAGES = {"images"}
QUESTION = IMAGES | {"build/dockerfile"}
MANY = IMAGES | {"size", "build", "improve", "security"}
ALLOWED = {
    "core": set(),
    "images": set(),
    "size": QUESTION,
    "size/overview.py": QUESTION | {"security", "build"},  # it puts the answers of the three side by side
    "size/limits.py": QUESTION | {"security"},  # a gate limits the answers of both
    "security": QUESTION,
    "build": IMAGES,
    "improve": IMAGES | {"build"},  # it edits what build reads
    "fleet": MANY,
    "course": MANY,
    "charts": MANY | {"fleet", "course"},
    "widgets": MANY | {"fleet", "course", "charts"},
    "report": MANY | {"fleet", "course", "charts", "widgets"},
    "cli": MANY | {"fleet", "course", "charts", "widgets", "report"},
}
# The order inside images: later ones may import earlier ones.
INSIDE_IMAGES = ("layers", "sources", "load", "tables", "save")
LIBRARIES = {
    "docker": {"images/sources/daemon.py"},
    "plotly": {"charts", "widgets", "report"},
    "ipywidgets": {"widgets"},
    "anywidget": {"widgets"},
}


def place(path: Path) -> str:
    """``size/waste.py`` for a module of the package."""
    return path.relative_to(PACKAGE).as_posix()


def within(module: str, folders: set[str]) -> bool:
    """Whether a module's place is one of the folders or files, or below one."""
    return any(module == folder or module.startswith(f"{folder}/") for folder in folders)


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


@pytest.mark.parametrize("path", [path for path in FILES if path.parent != PACKAGE], ids=place)
def test_imports_go_one_way(path):
    own = place(path)
    folder = own.split("/")[0]
    allowed = {folder, "core"} | ALLOWED.get(own, ALLOWED[folder])
    for module, _ in imports(path):
        if module.startswith("imagelab."):
            other = module.removeprefix("imagelab.").replace(".", "/")
            assert folder == "cli" or within(other, allowed), f"{own} imports {module}"
            if folder == "images" and other.startswith("images/"):
                below, above = (INSIDE_IMAGES.index(name.split("/")[1].removesuffix(".py")) for name in (other, own))
                assert below <= above, f"{own} imports {module}, which is built on it"


@pytest.mark.parametrize("library", LIBRARIES)
def test_libraries_stay_in_their_folders(library):
    for path in FILES:
        if any(module.split(".")[0] == library for module, _ in imports(path)):
            assert within(place(path), LIBRARIES[library]), f"{place(path)} imports {library}"


def test_lazy_imports_stand_in_functions():
    for path in FILES:
        loading = {module.split(".")[0] for module, loading in imports(path) if loading}
        assert not loading & {"duckdb", "dask"}, f"{path.name} imports {loading & {'duckdb', 'dask'}} as it loads"


@pytest.mark.parametrize(
    "verb", ["import imagelab", "import imagelab as il; il.history('example:' + il.examples()[0])"]
)
def test_the_package_loads_without_plotting_libraries(verb):
    heavy = "plotly", "ipywidgets", "docker", "duckdb", "dask", "IPython", "matplotlib"
    code = f"{verb}\nimport sys\nprint([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.strip() == "[]"


def test_files_stay_short():
    long = {
        str(path.relative_to(PACKAGE)): lines for path in FILES if (lines := len(path.read_text().splitlines())) > 350
    }
    assert not long


def test_importing_the_package_loads_no_subpackage():
    code = "import imagelab, sys\nprint([name for name in sys.modules if name.partition('.')[0] in %r])"
    rooms = ("imagelab", "pandas", "numpy", "pyarrow", "yaml", "requests")
    done = subprocess.run([sys.executable, "-c", code % (rooms,)], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.stdout.strip() == "['imagelab']", done.stderr


def test_every_public_name_exists():
    import imagelab

    assert imagelab.__all__ == sorted(imagelab.__all__) == dir(imagelab)
    assert all(getattr(imagelab, name) is not None for name in imagelab.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        imagelab.nonsense  # noqa: B018


def test_type_checkers_and_python_see_the_same_names():
    import imagelab

    stub = ast.parse((PACKAGE / "__init__.pyi").read_text())
    imported = [alias for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert all(alias.asname == alias.name for alias in imported), "a stub shows others only what it names again"
    assert sorted(alias.name for alias in imported) == imagelab.__all__


def test_improve_is_the_function_even_when_its_folder_is_loaded_first():
    code = "import imagelab.improve.edits, imagelab as il\nprint(callable(il.improve))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.stdout.strip() == "True", done.stderr
