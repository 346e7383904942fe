"""The lab on the command line: recipes listed, built on a real engine, held against what is recorded."""

import json

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
    folders = {path.name for path in il.data_path("recipes").iterdir()} - {"stand-ins"}
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


@pytest.mark.parametrize(
    ("factor", "said", "code"), [(1, "confirmed", 0), (0.6, "partly confirmed", 0), (0, "not confirmed", 1)]
)
def test_the_verdict_compares_what_is_saved(monkeypatch, factor, said, code):
    """As if an engine had the images, whose second saves another part."""
    recorded = {side: recipes._facts(f"example:whiteout-{side}") for side in ("before", "after")}
    stored = [bytes_ for bytes_, _ in recorded.values()]
    here = {"before": stored[0], "after": stored[0] - round(factor * (stored[0] - stored[1]))}

    def facts(reference):
        side = reference[-6:].strip(":-")
        return recorded[side] if reference.startswith("example:") else (here[side], recorded[side][1])

    monkeypatch.setattr(recipes, "_facts", facts)
    row = json.loads(run("measure", "whiteout", "--json", code=code))["measured"][0]
    assert (row["variants"], row["verdict"]) == ("before → after", said)
    assert row["recorded_bytes"] == 8 * 2**20 and row["recorded_rules"] == row["here_rules"] == ""


@pytest.mark.parametrize(
    ("here", "said"),
    [
        ({"user", "key"}, "confirmed"),
        ({"user"}, "partly confirmed"),
        (set(), "not confirmed"),
        ({"port"}, "not confirmed"),
    ],
)
def test_the_verdict_compares_what_is_put_right(monkeypatch, here, said):
    def facts(reference):
        if reference.endswith("before"):
            return 0, dict.fromkeys(("user", "key", "port"), "failed")
        right = {"user", "key"} if reference.startswith("example:") else here
        return 0, {rule: "passed" if rule in right else "failed" for rule in ("user", "key", "port")}

    monkeypatch.setattr(recipes, "_facts", facts)
    row = recipes.measure_recipe("whiteout").iloc[0]
    assert row["verdict"] == said and row["here_rules"] == ", ".join(sorted(here))


def test_what_a_snapshot_cannot_tell_is_not_compared(monkeypatch):
    def facts(reference):
        after = "unknown" if reference.startswith("example:") else "passed"
        return 0, {"owner": "failed" if reference.endswith("before") else after}

    monkeypatch.setattr(recipes, "_facts", facts)
    assert recipes.measure_recipe("whiteout")["verdict"].iloc[0] == "confirmed"


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
    assert [row["verdict"] for row in rows] == ["confirmed"] * len(rows)
    if name == "whiteout":
        assert rows[0]["here_bytes"] == rows[0]["recorded_bytes"] == 8 * 2**20


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
