"""The lab on the command line: recipes listed, built on a real engine, held against what is recorded."""

import json

import pytest
from typer.testing import CliRunner

import imagelab as il
from imagelab.cli import lab
from imagelab.cli.app import app
from imagelab.errors import ImagelabError, ImageNotFound


def run(*words, code=0):
    done = CliRunner().invoke(app, ["lab", *words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output


def test_every_recipe_is_listed_with_what_it_shows():
    rows = json.loads(run("list", "--json"))["recipes"]
    folders = {path.name for path in il.data_path("recipes").iterdir()} - {"stand-ins"}
    assert {row["name"] for row in rows} == folders
    assert all(row["shows"] and row["engine"] for row in rows)
    assert "whiteout" in run("list")


def test_an_unknown_recipe_or_base_is_named():
    with pytest.raises(ImagelabError, match=r"no recipe 'whitout'.*whiteout"):
        run("build", "whitout")
    with pytest.raises(ImagelabError, match="'x' is no base"):
        run("build", "whiteout", "--base", "x")


def test_no_docker_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImagelabError, match="docker cannot be run"):
        run("build", "whiteout", "--local")


@pytest.mark.parametrize(
    ("factor", "said", "code"), [(1, "holds", 0), (0.6, "holds in part", 0), (0, "does not hold", 1)]
)
def test_the_verdict_compares_what_is_saved(monkeypatch, factor, said, code):
    """As if an engine had the images, whose second saves another part."""
    recorded = [il.efficiency(f"example:whiteout-{side}")["stored"].sum() for side in ("before", "after")]
    here = [recorded[0], recorded[0] - round(factor * (recorded[0] - recorded[1]))]
    real = il.efficiency

    def efficiency(what):
        if what.startswith("example:"):
            return real(what)
        return real("example:whiteout-before").assign(stored=here[what.endswith("after")])

    monkeypatch.setattr(lab.il, "efficiency", efficiency)
    monkeypatch.setattr(lab.il, "load_image", lambda reference: reference)
    row = json.loads(run("measure", "whiteout", "--json", code=code))["measured"][0]
    assert (row["variants"], row["verdict"]) == ("before → after", said)
    assert row["recorded_bytes"] == 8 * 2**20


@pytest.mark.engine
def test_a_recipe_is_built_and_measured_on_both_engines(engine, monkeypatch):
    for key, value in engine.env.items():
        monkeypatch.setenv(key, value)
    assert "Next: imagelab lab measure whiteout" in run("build", "whiteout", "--local", "--network", "none")
    row = json.loads(run("measure", "whiteout", "--json"))["measured"][0]
    assert row["here_bytes"] == row["recorded_bytes"] == 8 * 2**20 and row["verdict"] == "holds"


@pytest.mark.engine
def test_what_is_not_built_is_named(classic, monkeypatch):
    for key, value in classic.env.items():
        monkeypatch.setenv(key, value)
    if not classic.docker("images", "-q", "recipe/base-choice:service-full"):
        with pytest.raises(ImageNotFound, match="imagelab lab build base-choice"):
            run("measure", "base-choice")
