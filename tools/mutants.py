"""Change one operator, number or return value of a module at a time, and see whether the module's tests notice.

    python tools/mutants.py                       every module below, every mutant
    python tools/mutants.py --sample 0.2 cache    a fifth of the mutants of the modules whose path contains "cache"

A mutant is killed when a test fails or the time limit (CPU seconds) ends the run. Each survivor is printed with its
line: either a test is missing, or the change makes no difference that a caller can see.

Tests run in a child that is forked after the heavy libraries are imported, so a mutant costs its tests alone.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import os
import random
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAYERS, CACHE = "tests/images/layers/", "tests/build/cache/"
TAR_TESTS = [LAYERS + "test_tar.py"]
#: The tests of each module, the fastest first.
TESTS = {
    "imagelab/size/waste.py": ["tests/size/test_waste.py"],
    "imagelab/images/tables/files.py": ["tests/size/test_waste.py", LAYERS + "test_overlay.py", LAYERS + "test_cache.py"],
    "imagelab/images/layers/overlay.py": [LAYERS + "test_overlay.py", "tests/size/test_waste.py"],
    "imagelab/images/layers/tar.py": TAR_TESTS,
    "imagelab/images/layers/tar_columns.py": TAR_TESTS,
    "imagelab/images/layers/tar_headers.py": TAR_TESTS,
    "imagelab/build/cache/keys.py": [CACHE + "test_keys.py", CACHE + "test_plan.py"],
    "imagelab/build/cache/plan.py": [CACHE + "test_keys.py", CACHE + "test_plan.py"],
    "imagelab/build/cache/reasons.py": [CACHE + "test_keys.py", CACHE + "test_plan.py"],
    "imagelab/core/redact.py": ["tests/core/test_redact.py", "tests/core/test_masking_rates.py"],
    "imagelab/security/suppress.py": ["tests/security/test_suppress.py"],
    "imagelab/security/decisions.py": ["tests/security/test_suppress.py"],
}  # fmt: skip
LIBRARIES = ("numpy", "pandas", "pyarrow", "pyarrow.compute", "pyarrow.parquet", "hypothesis", "pytest", "yaml")
OPPOSITE: dict[type[ast.AST], list[type[ast.AST]]] = {
    ast.Lt: [ast.LtE, ast.GtE], ast.LtE: [ast.Lt, ast.Gt], ast.Gt: [ast.GtE, ast.LtE], ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq], ast.Is: [ast.IsNot], ast.IsNot: [ast.Is], ast.In: [ast.NotIn],
    ast.NotIn: [ast.In], ast.And: [ast.Or], ast.Or: [ast.And], ast.Add: [ast.Sub], ast.Sub: [ast.Add],
    ast.Mult: [ast.FloorDiv], ast.FloorDiv: [ast.Mult], ast.Div: [ast.Mult], ast.BitAnd: [ast.BitOr],
    ast.BitOr: [ast.BitAnd], ast.LShift: [ast.RShift], ast.RShift: [ast.LShift],
}  # fmt: skip
SKIPPED = (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom, ast.Assert)  # messages are not behaviour


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """Every way to change one node (its children are changed in their turn)."""
    match node:
        case ast.Compare(ops=ops):
            for place, operator in enumerate(ops):
                for other in OPPOSITE[type(operator)]:
                    yield _with(node, ops=[*ops[:place], other(), *ops[place + 1 :]])
        case ast.BoolOp(op=operator) | ast.BinOp(op=operator) | ast.AugAssign(op=operator):
            for other in OPPOSITE.get(type(operator), []):
                yield _with(node, op=other())
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield ast.Constant(value + 1)
        case ast.Name(id="min" | "max" | "any" | "all" as name):
            yield _with(node, id={"min": "max", "max": "min", "any": "all", "all": "any"}[name])
        case ast.Attribute(attr="minimum" | "maximum" as name):
            yield _with(node, attr="maximum" if name == "minimum" else "minimum")
        case ast.Return(value=value) if value is not None and not isinstance(value, ast.Constant):
            yield _with(node, value=ast.Constant(None))
        case ast.If(test=test) | ast.IfExp(test=test) if isinstance(test, ast.Name | ast.Call | ast.Attribute):
            yield _with(node, test=ast.UnaryOp(ast.Not(), test))


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def places(tree: ast.AST) -> Iterator[tuple[ast.AST, str, int | None]]:
    """Every field that contains a node to change: parent, field, index in a list."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or isinstance(child, SKIPPED) or _is_docstring(child):
                continue
            yield tree, field, index
            yield from places(child)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def mutants(source: str) -> Iterator[tuple[int, str, str]]:
    """The line of each change, the change in words, and the changed module."""
    tree = ast.parse(source)
    for parent, field, index in list(places(tree)):
        value = getattr(parent, field)
        node = value if index is None else value[index]
        for changed in changes(node):
            line = getattr(node, "lineno", getattr(parent, "lineno", 0))
            words = f"{_short(node)}  →  {_short(changed)}"
            _put(parent, field, index, ast.copy_location(changed, node))
            yield line, words, ast.unparse(ast.fix_missing_locations(tree))
            _put(parent, field, index, node)


def _put(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def _short(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())[:90]


class Mutated(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Imports one module from changed source."""

    def __init__(self, module: str, path: Path, source: str) -> None:
        self.module, self.path, self.source = module, path, source

    def find_spec(self, fullname, path=None, target=None):  # type: ignore[no-untyped-def]
        return (
            importlib.util.spec_from_loader(fullname, self, origin=str(self.path)) if fullname == self.module else None
        )

    def get_filename(self, fullname: str) -> str:
        return str(self.path)

    def get_data(self, path: str) -> bytes:
        return self.source.encode()

    def get_source(self, fullname: str) -> str:
        return self.source


def survives(path: str, source: str, seconds: int) -> bool:
    """Run the module's tests on changed source, in a child."""
    child = os.fork()
    if not child:
        import pytest

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        output = os.open(os.devnull, os.O_WRONLY)
        os.dup2(output, 1), os.dup2(output, 2)
        sys.meta_path.insert(0, Mutated(path.removesuffix(".py").replace("/", "."), ROOT / path, source))
        options = ["-x", "-q", "-m", "not engine", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0"]
        os._exit(int(pytest.main([*options, *TESTS[path]])))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="parts of paths; default: all")
    parser.add_argument("--sample", type=float, default=1.0, help="fraction of the mutants to try")
    parser.add_argument("--seed", type=int, default=0, help="which sample")
    options = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    for name in LIBRARIES:
        importlib.import_module(name)
    killed = tried = 0
    for path in TESTS:
        if options.modules and not any(part in path for part in options.modules):
            continue
        source = Path(path).read_text()
        start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        if not survives(path, source, 600):
            sys.exit(f"{path}: its tests fail without any change; run {' '.join(TESTS[path])}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        limit = 10 + 3 * int(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        every = list(mutants(source))
        chosen = sorted(random.Random(options.seed).sample(every, max(1, round(len(every) * options.sample))))
        survivors = []
        for line, words, changed in chosen:
            if survives(path, changed, limit):
                survivors.append(words)
                print(f"  survived  {path}:{line}  {words}", flush=True)
        killed, tried = killed + len(chosen) - len(survivors), tried + len(chosen)
        share = 100 * (1 - len(survivors) / len(chosen))
        minutes = (time.monotonic() - start) / 60
        print(f"{path}: {len(chosen) - len(survivors)} of {len(chosen)} killed ({share:.0f} %; {len(every)} possible, "
              f"{minutes:.1f} min)", flush=True)  # fmt: skip
    print(f"all: {killed} of {tried} killed ({100 * killed / max(tried, 1):.1f} %)")


if __name__ == "__main__":
    main()
