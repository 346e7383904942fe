"""What `data/` promises: listed, small, made by recipes that anyone can build."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import imagelab as il
from tests.conftest import ROOT

DATA = ROOT / "data"
DOCKERFILES = sorted((DATA / "recipes").glob("*/*/Dockerfile"))
SNAPSHOTS = sorted((DATA / "snapshots").glob("*.parquet"))


@pytest.fixture(scope="module")
def make():
    """data/make.py as a module."""
    spec = importlib.util.spec_from_file_location("data_make", DATA / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def data_files() -> list[Path]:
    return [path for path in DATA.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def test_every_file_is_in_the_registry_with_its_checksum(make):
    listed = dict(line.split(" sha256:") for line in (DATA / "registry.txt").read_text().splitlines())
    present = {path.relative_to(DATA).as_posix(): path for path in data_files()}
    assert set(listed) == {name for name, path in present.items() if path.name not in make.NOT_LISTED}
    for name, checksum in listed.items():
        assert hashlib.sha256(present[name].read_bytes()).hexdigest() == checksum, name


def test_data_stays_under_20_megabytes():
    assert sum(path.stat().st_size for path in data_files()) < 20_000_000


def test_the_readme_names_every_folder_and_recipe():
    text = (DATA / "README.md").read_text()
    for folder in [*DATA.iterdir(), *(DATA / "recipes").iterdir()]:
        if folder.is_dir() and folder.name != "__pycache__":
            assert f"`{folder.name}" in text, folder


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: "/".join(path.parts[-3:-1]))
def test_a_recipe_has_a_purpose_and_an_open_base(path):
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# what this shows: ")
    assert any(line.startswith("# engine: ") for line in lines)
    assert not any(re.match(r"#\s*syntax\b", line) for line in lines)
    assert max(map(len, lines)) <= 120
    arguments = {line.split()[1].split("=")[0] for line in lines if line.startswith("ARG ") and "=" in line}
    stages = {"scratch"}
    for _, source, *name in (line.split() for line in lines if line.startswith("FROM ")):
        assert source in stages or re.fullmatch(r"\$\{(\w+)\}", source)[1] in arguments, source
        stages |= set(name[1:])


def test_every_technique_has_both_sides():
    for technique in {path.parent.parent for path in DOCKERFILES} - {DATA / "recipes" / "stand-ins"}:
        variants = {path.parent.name for path in technique.glob("*/Dockerfile")}
        assert variants >= {"before", "after"} or all(variant.startswith("service-") for variant in variants)


def test_stand_ins_cover_every_base(make):
    for path in DOCKERFILES:
        head = re.findall(r"^ARG (?:BASE|FULL|SITE_PACKAGES)=(\S+)$", path.read_text(), re.MULTILINE)
        assert head
        assert set(head) <= set(make.STAND_INS)


def test_every_recipe_is_recorded(make):
    tags = [make.recipe_tag(path) for path in DOCKERFILES if path.parts[-3] != "stand-ins"]
    assert {make.snapshot_name(tag) for tag in tags} <= {path.stem for path in SNAPSHOTS}


@pytest.mark.parametrize("path", SNAPSHOTS, ids=lambda path: path.stem)
def test_a_snapshot_loads(path):
    layers = il.layers(il.load_image(f"snapshot:{path}"))
    assert len(layers) > 0
    published = path.stem.startswith("published-")
    assert layers["size"].isna().all() if published else layers["size"].notna().all()
    assert layers["content_size"].notna().all()


def test_generated_contexts_are_reproducible(make, tmp_path):
    dockerfile = DATA / "recipes" / "dockerignore" / "before" / "Dockerfile"
    for name in "ab":
        make.make_context(dockerfile, tmp_path / name)
    first, second = (
        {path.relative_to(root): (path.read_bytes(), path.stat().st_mtime) for path in root.rglob("data/raw/*")}
        for root in (tmp_path / "a", tmp_path / "b")
    )
    assert first == second
    assert len(first) == 8


def test_published_facts_are_the_collected_ones(make, corpus):
    facts = json.loads((DATA / "facts" / "published.json").read_text())
    assert facts == make.select_facts(corpus / "history" / "image-facts.json")
    # A total from a page about another build is no fact about this one.
    known = {(fact["image"], fact["published"][:4]) for fact in facts if fact["virtual_size"]}
    assert ("python:3.10", "2023") in known
    assert ("python:3.10", "2026") not in known


def test_section_sizes():
    sizes = pd.read_csv(DATA / "facts" / "section_sizes.csv").set_index("image")
    for image, row in sizes.iterrows():
        assert f"{row['size'] / 1e6:.0f} MB" == row["text"], image


@pytest.mark.engine
@pytest.mark.parametrize(("technique", "bytes_saved"), [("whiteout", 8 * 2**20), ("opaque-directory", 40 * 2**16)])
def test_the_small_recipes_build_on_both_engines(engine, technique, bytes_saved):
    subprocess.run(
        [sys.executable, DATA / "make.py", technique, "--local", "--network", "none", "--no-record"],
        env=engine.env,
        check=True,
        capture_output=True,
    )
    tags = [f"recipe/{technique}:{variant}" for variant in ("before", "after")]
    shown = [engine.docker("history", "--human=false", "--format", "{{.Size}}", tag).split() for tag in tags]
    before, after = (sum(map(int, sizes)) for sizes in shown)
    # The containerd store counts blocks, inodes and directories too.
    assert bytes_saved <= before - after < bytes_saved * 1.1
