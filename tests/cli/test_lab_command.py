"""The lab on the command line: recipes listed, built on a real engine, held against what is recorded."""

import json
import subprocess
import tomllib

import pandas as pd
import pytest
from typer.testing import CliRunner

import imagelab as il
from imagelab.cli import lab  # noqa: F401  # registers its verbs
from imagelab.cli.app import app
from imagelab.core.errors import ImagelabError, ImageNotFound
from imagelab.course import recipes


def run(*words, code=0):
    done = CliRunner().invoke(app, ["lab", *words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.stdout  # progress bars go to stderr


def test_every_recipe_is_listed_with_what_it_shows():
    rows = json.loads(run("list", "--json"))["recipes"]
    folders = {path.name for path in il.data_path("recipes").iterdir() if path.is_dir()} - {"stand-ins"}
    assert {row["name"] for row in rows} == folders
    assert all(row["shows"] and row["engine"] for row in rows)
    assert "BuildKit 0.10 or newer" in run("list")


def test_an_unknown_recipe_or_base_is_named():
    with pytest.raises(ImagelabError, match=r"no recipe 'whitout'.*whiteout"):
        run("build", "whitout")
    with pytest.raises(ImagelabError, match="'x' is not NAME=VALUE"):
        run("build", "whiteout", "--base", "x")


def test_no_docker_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImagelabError, match="docker cannot be run"):
        run("build", "whiteout", "--local")


@pytest.fixture
def engine_with(monkeypatch):
    """As if an engine had the images of a recipe, with these stored bytes."""

    def pretend(stored):
        monkeypatch.setattr(recipes, "docker", lambda *words, **_: subprocess.CompletedProcess(words, 0, "", ""))
        real = recipes.efficiency
        monkeypatch.setattr(
            recipes,
            "efficiency",
            lambda names: real(names) if names[0].startswith("example:") else pd.DataFrame({"stored": stored}),
        )

    return pretend


@pytest.mark.parametrize(
    ("factor", "verdict", "code"),
    [(1, "confirmed", 0), (0.6, "partly confirmed", 0), (0, "not confirmed", 1), (-1, "not confirmed", 1)],
)
def test_savings_are_compared_with_the_recorded_ones(engine_with, factor, verdict, code):
    before, after = il.efficiency(["example:whiteout-before", "example:whiteout-after"])["stored"]
    engine_with([before, before - round(factor * (before - after))])
    row = json.loads(run("measure", "whiteout", "--json", code=code))["measured"][0]
    assert (row["variant"], row["verdict"], row["recorded"]) == ("after", verdict, 8 * 2**20)


def test_two_savings_near_zero_show_nothing(engine_with):
    engine_with([1_000_000, 990_000])
    assert json.loads(run("measure", "apt-upgrade", "--json"))["measured"][0]["verdict"] == "not measured"


@pytest.mark.parametrize(("codes", "verdicts"), [((1, 0), ["confirmed"] * 2), ((0, 0), ["not confirmed", "confirmed"])])
def test_a_recipe_is_measured_by_its_point(monkeypatch, codes, verdicts):
    """A container that runs although it should not is noticed, whatever the bytes are."""

    def docker(*words, **_):
        code = 0 if words[0] == "image" else codes["after" in words[-1]]
        return subprocess.CompletedProcess(words, code, "", "")

    monkeypatch.setattr(recipes, "docker", docker)
    rows = json.loads(run("measure", "read-only", "--json", code=int("not confirmed" in verdicts)))["measured"]
    assert [row["verdict"] for row in rows] == verdicts and rows[0]["point"] == "exit code under --read-only"


def test_every_point_belongs_to_a_recipe_and_covers_its_variants():
    points = tomllib.loads(il.data_path("recipes/points.toml").read_text(encoding="utf-8"))
    for name, point in points.items():
        assert set(point["recorded"]) == {path.parts[-2] for path in recipes.variants(name)}


def test_a_missing_base_is_named_with_how_to_make_it(monkeypatch, tmp_path):
    """As if an engine had no image at all."""
    (tmp_path / "docker").write_text("#!/bin/sh\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImagelabError, match=r"localhost/debian:minbase is not on the engine.*docker import"):
        run("build", "layer-order", "--local")


# Left to `make data`, which records them: these install compilers or scientific packages, and take minutes on an engine
# that has not built them before. The first engine builds all others, the older one those that show what it can.
LONG = {"base-choice", "cache-mount", "fix-dockerfile", "multi-stage", "no-cache-dir", "same-layer-cleanup", "wheels"}
RECIPES = sorted({path.parts[-3] for path in recipes.variants()} - LONG)
ON_CLASSIC = ["cap-drop", "chmod-in-layer", "dockerignore", "opaque-directory", "secret-mount", "ssh-mount", "whiteout"]
CASES = [("modern", name) for name in RECIPES] + [("classic", name) for name in ON_CLASSIC]


@pytest.mark.engine
@pytest.mark.parametrize(("kind", "name"), CASES, ids=[f"{kind}-{name}" for kind, name in CASES])
def test_a_recipe_is_built_and_what_is_recorded_holds(kind, name, request, monkeypatch):
    engine = request.getfixturevalue("debian" if kind == "modern" else kind)
    for key, value in engine.env.items():
        monkeypatch.setenv(key, value)
    assert f"next: imagelab lab measure {name}" in run("build", name, "--local")
    rows = json.loads(run("measure", name, "--json"))["measured"]
    assert {row["verdict"] for row in rows} == {"not measured" if name == "apt-upgrade" else "confirmed"}, rows
    if name == "whiteout":
        assert rows[0]["here"] == rows[0]["recorded"] == 8 * 2**20


@pytest.mark.engine
def test_an_engine_that_is_too_old_is_told_which_it_needs(classic, monkeypatch):
    for key, value in classic.env.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(ImagelabError, match=r"copy-link:after did not build.*Docker 23"):
        run("build", "copy-link", "--local", "--network", "none")


@pytest.mark.engine
def test_what_is_not_built_is_named(classic, monkeypatch):
    for key, value in classic.env.items():
        monkeypatch.setenv(key, value)
    if not classic.docker("images", "-q", "recipe/base-choice:service-full"):
        with pytest.raises(ImageNotFound, match="imagelab lab build base-choice"):
            run("measure", "base-choice")
