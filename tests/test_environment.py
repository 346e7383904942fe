"""environment.yml and pyproject.toml name the same dependencies, each with a comment that says where it is used."""

import re
import tomllib

import yaml

from tests.conftest import ROOT

CONDA_NAMES = {"docker-py": "docker", "python-duckdb": "duckdb", "python-isal": "isal"}


def requirements() -> dict[str, str]:
    """Distribution → versions, of the package and of the extras that everything needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *extras["notebook"], *extras["fleet"]]
    return dict(re.fullmatch(r"([\w.-]+(?:\[\w+\])?)(.*)", line).groups() for line in lines)


def test_conda_and_pip_install_the_same():
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    nested = next(item["pip"] for item in dependencies if isinstance(item, dict))
    lines = [item for item in [*dependencies, *nested] if isinstance(item, str) and item not in ("pip", "-e .")]
    listed = dict(re.fullmatch(r"([\w.-]+)(.*)", line).groups() for line in lines)
    assert listed.pop("python") == ">=3.11"
    assert listed.pop("distributed") == listed["dask"]
    listed["dask[distributed]"] = listed.pop("dask")
    assert {CONDA_NAMES.get(name, name): version for name, version in listed.items()} == requirements()


def test_every_dependency_names_its_use():
    for file in ("pyproject.toml", "environment.yml"):
        text = (ROOT / file).read_text()
        for name in [*requirements(), *CONDA_NAMES] if file == "environment.yml" else requirements():
            found = re.search(rf'^\s*(?:- |")({re.escape(name)})[>=].*$', text, re.MULTILINE)
            assert found is None or re.search(r"#.*\w", found[0]), f"{file}: {name} has no comment"


def test_declared_dependencies_are_imported():
    import_names = {"e2b-dockerfile-utils": "e2b_dockerfile_utils", "packageurl-python": "packageurl", "pyyaml": "yaml"}
    import_names |= {"lazy-loader": "lazy_loader", "ipython": "IPython"}
    not_imported = {"jupyterlab", "dask[distributed]"}  # a program; users pass its executor
    source = "\n".join(path.read_text() for path in (ROOT / "imagelab").rglob("*.py"))
    for name in requirements().keys() - not_imported:
        module = import_names.get(name, name)
        assert re.search(rf"^\s*(?:from|import) {module}\b", source, re.MULTILINE), f"{name} is declared, not imported"
