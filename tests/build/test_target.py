"""Compose files, bake files and directories as the definition of a build."""

from __future__ import annotations

import contextlib
import json
import re

import pandas as pd
import pytest

from imagelab.build import target as module
from imagelab.build.cache.plan import plan_build
from imagelab.build.context import build_context
from imagelab.build.target import read_target
from imagelab.cli import main
from imagelab.core.errors import DockerfileError
from imagelab.improve.advice import advise_build
from imagelab.improve.improve import improve
from tests.conftest import missing

COMPOSE = """
services:
  db: {image: postgres}
  web:
    build:
      context: ./app
      dockerfile: Dockerfile.${KIND:-prod}
      target: final
      network: host
      args: {VERSION: "${VERSION-1}", COUNT: 3, PORT: "$$x"}
      additional_contexts: {assets: ../assets, base: "docker-image://alpine:3", other: "service:db"}
  job:
    build:
      context: .
      dockerfile_inline: |
        FROM busybox
        COPY app /app
      args: [A=1, FROM_ENV]
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_run", lambda *command: (None, "no docker"))  # as without Docker
    for name in ("KIND", "VERSION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FROM_ENV", "yes")
    root = tmp_path / "project"
    (root / "app").mkdir(parents=True)
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets/f").write_text("x")
    (root / "compose.yaml").write_text(COMPOSE)
    (root / "app/Dockerfile.prod").write_text("FROM busybox AS final\nCOPY --from=assets f /f\nRUN true\n")
    return root


def test_a_compose_service(project):
    target = read_target(project / "compose.yaml", "web")
    assert (target.context, target.dockerfile.name) == (project / "app", "Dockerfile.prod")
    assert target.args == {"VERSION": "1", "COUNT": "3", "PORT": "$x"}
    assert target.contexts == {
        "assets": str(project / "../assets"),
        "base": "docker-image://alpine:3",
        "other": "service:db",
    }
    assert (target.target, target.network) == ("final", "host")
    changed = read_target(project / "compose.yaml", "web", args={"VERSION": "2"}, contexts={"other": "x"})
    assert changed.args == {"VERSION": "2", "COUNT": "3", "PORT": "$x"}
    assert changed.contexts == target.contexts | {"other": "x"}


def test_variables_come_from_the_environment_and_from_env_files(project, monkeypatch):
    (project / ".env").write_text("# a comment\nVERSION='7'\nKIND=prod\n")
    assert read_target(project / "compose.yaml", "web").args["VERSION"] == "7"
    monkeypatch.setenv("VERSION", "8")
    assert read_target(project / "compose.yaml", "web").args["VERSION"] == "8"
    (project / "compose.yaml").write_text("services: {a: {build: '${DIR:?set it}'}}")
    with pytest.raises(DockerfileError, match="needs the variable DIR: set it"):
        read_target(project / "compose.yaml")


def test_an_inline_dockerfile(project):
    target = read_target(project / "compose.yaml", "job")
    assert target.text == "FROM busybox\nCOPY app /app\n" and target.args == {"A": "1", "FROM_ENV": "yes"}
    assert len(advise_build(project / "compose.yaml", service="job"))
    with pytest.raises(DockerfileError, match="contains the Dockerfile's text"):
        improve(project / "compose.yaml", service="job", build=False)
    frame = build_context(project / "compose.yaml", service="job")
    assert frame.loc[frame["copied"], "path"].tolist() == ["app", "app/Dockerfile.prod"]


def test_advice_and_improve_take_a_service(project, capsys, monkeypatch):
    (project / "app/Dockerfile.prod").write_text(
        "FROM busybox AS final\nCOPY --from=assets f /f\nRUN apk add curl\nCMD curl\n"
    )
    found = improve(project / "compose.yaml", service="web", build=False)
    assert "a/Dockerfile.prod" in found.patch and "--no-cache" in found.patch
    advice = advise_build(context=project / "compose.yaml", service="web")
    assert "apk-cleanup" in set(advice["rule"])
    pd.testing.assert_frame_equal(advice, advise_build("Dockerfile.prod", project / "app"))
    monkeypatch.setattr(
        "sys.argv", ["imagelab", "advise-build", str(project / "compose.yaml"), "--service=web", "--json"]
    )
    with contextlib.suppress(SystemExit):
        main()
    assert {row["rule"] for row in json.loads(capsys.readouterr().out)["advice"]} == set(advice["rule"])


def test_the_plan_of_a_service_sees_its_named_context(project):
    steps = plan_build(project / "compose.yaml", service="web")
    assert steps["hit"].all() and steps["certain"].all() and len(steps) == 2
    with pytest.raises(DockerfileError, match=r"needs a service or target. Known names: web, job"):
        plan_build(project / "compose.yaml")
    with pytest.raises(DockerfileError, match=r"no service or target 'wep' with a build. Similar names: web"):
        plan_build(project / "compose.yaml", service="wep")
    with pytest.raises(DockerfileError, match="has no services"):
        plan_build(project / "app", service="web")


def test_a_saved_bake_file(project):
    printed = {
        "target": {"web": {"context": "app", "dockerfile": "Dockerfile.prod", "contexts": {"assets": "../assets"}}}
    }
    (project / "bake.json").write_text(json.dumps(printed))
    target = read_target(project / "bake.json")
    assert target.dockerfile == project / "app/Dockerfile.prod" and target.contexts == {
        "assets": str(project / "../assets")
    }
    (project / "docker-bake.hcl").write_text('target "web" {}')
    with pytest.raises(DockerfileError, match=r"docker buildx bake --print -f docker-bake\.hcl > bake\.json"):
        read_target(project / "docker-bake.hcl")
    (project / "bake.json").write_text(json.dumps({"target": {"web": {"context": "https://example.org/a.git"}}}))
    with pytest.raises(DockerfileError, match="clone it and give the directory"):
        read_target(project / "bake.json")


def test_a_group_of_a_bake_file_is_its_only_target(project):
    groups = {"one": ["inner"], "inner": ["web", "inner"], "all": ["web", "job"]}
    printed = {
        "group": {name: {"targets": targets} for name, targets in groups.items()},
        "target": {"web": {"context": "app"}, "job": {"context": "."}},
    }
    (project / "bake.json").write_text(json.dumps(printed))
    assert read_target(project / "bake.json", "one").context == project / "app"
    with pytest.raises(DockerfileError, match=r"all is a group of several targets in bake\.json; choose one: web, job"):
        read_target(project / "bake.json", "all")
    with pytest.raises(DockerfileError, match=r"no service or target 'wep' with a build\. Similar names: web"):
        read_target(project / "bake.json", "wep")


def test_a_bake_file_that_buildx_did_not_resolve_is_refused(project):
    for text in (
        '{"target": {"_c": {"args": {"A": "1"}}, "web": {"inherits": ["_c"]}}}',
        '{"variable": {"TAG": {"default": "1"}}, "target": {"web": {"context": "app"}}}',
        '{"target": {"web": {"context": "${DIR}"}}}',
        '{"target": ',
    ):
        (project / "bake.json").write_text(text)
        with pytest.raises(DockerfileError, match=r"cannot be resolved by buildx .* run `docker buildx bake --print"):
            read_target(project / "bake.json", "web")
    inline = {"context": ".", "dockerfile-inline": "FROM a\nRUN echo $${HOME}\n"}
    (project / "bake.json").write_text(json.dumps({"target": {"web": inline}}))
    assert read_target(project / "bake.json").text == "FROM a\nRUN echo ${HOME}\n"


def test_compose_without_docker(project, monkeypatch):
    compose = project / "compose.yaml"
    compose.write_text("services:\n  a: {build: app, extends: {service: b}}\n  b: {build: '${X:-${Y:-${Z:-app}}}'}\n")
    assert read_target(compose, "b").context == project / "app"
    (project / "assets").mkdir()
    monkeypatch.setenv("Y", "assets")
    assert read_target(compose, "b", dockerfile=project / "app/Dockerfile.prod").context.name == "assets"
    with pytest.raises(DockerfileError, match=r"extends or include.*docker compose -f compose\.yaml config"):
        read_target(compose, "a")


def test_no_cache_makes_steps_run_again(project):
    app = project / "app"
    (app / "Dockerfile").write_text(
        "FROM busybox AS one\nRUN true\nFROM busybox AS two\nCOPY --from=one /a /\nRUN id\n"
    )
    (project / "compose.yaml").write_text("services: {web: {build: {context: app, no_cache: true}}}")
    plan = plan_build(project / "compose.yaml")
    assert not plan["hit"].any() and "no_cache" in plan["reason"][0]
    bake = {"target": {"web": {"context": "app", "no-cache-filter": ["two"]}}}
    (project / "bake.json").write_text(json.dumps(bake))
    assert plan_build(project / "bake.json")["hit"].tolist() == [True, False, False]


@pytest.mark.parametrize("context", ["https://example.org/a.git", "github.com/example/a"])
def test_a_git_context_is_cloned_first(context):
    with pytest.raises(DockerfileError, match="is not local; clone it and give the directory"):
        plan_build(context)


def test_a_boolean_argument_is_written_as_compose_writes_it(project):
    (project / "compose.yaml").write_text("services: {web: {build: {context: ., args: {A: true, B: 1, FROM_ENV: }}}}")
    assert read_target(project / "compose.yaml").args == {"A": "true", "B": "1", "FROM_ENV": "yes"}


def test_the_engine_decides_about_flags_without_a_syntax_line(tmp_path, monkeypatch):
    (tmp_path / "f").write_text("x")
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text("FROM busybox\nCOPY --parents f /\n")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    for version, why in (("20.10.24+dfsg1", "not 1.2"), ("28.5.2", "not 1.19"), (None, "not 1.19"), ("29.1.0", None)):
        module.engine_frontend.cache_clear()
        monkeypatch.setattr(
            module, "_run", lambda command, version=version: (version, "") if "version" in command else 1
        )
        with (
            pytest.raises(DockerfileError, match=f"--parents needs .* 1.20, {why}") if why else contextlib.nullcontext()
        ):
            plan_build(tmp_path)
    module.engine_frontend.cache_clear()
    assert plan_build(tmp_path, frontend="1.20")["hit"].all()
    dockerfile.write_text("FROM busybox\nCOPY f /\n")
    monkeypatch.setattr(module, "_run", None)  # an engine is asked only about a flag that some versions do not have
    assert plan_build(tmp_path)["hit"].all()


def test_the_next_command_keeps_the_service(project, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["imagelab", "context", str(project / "compose.yaml"), "--service=web"])
    with contextlib.suppress(SystemExit):
        main()
    assert re.search(r"next: imagelab advise-build \S+compose\.yaml --service web", capsys.readouterr().out)


@pytest.mark.engine
def test_a_bake_file_is_resolved_by_buildx(modern, tmp_path, monkeypatch):
    for name, value in modern.env.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "docker-bake.hcl").write_text(
        'variable "V" { default = "1" }\ntarget "_c" {\n  context = "."\n  network = "none"\n}\ntarget "web" {\n'
        '  inherits = ["_c"]\n  args = { V = V }\n  dockerfile-inline = "FROM busybox\\nRUN echo $${HOME} $$\\n"\n}\n'
    )
    monkeypatch.setenv("V", "2")
    target = read_target(tmp_path / "docker-bake.hcl", "web")
    assert (target.args, target.network, target.text) == ({"V": "2"}, "none", "FROM busybox\nRUN echo ${HOME} $$\n")
    assert plan_build(tmp_path / "docker-bake.hcl", service="web")["hit"].tolist() == [True]
    (tmp_path / "docker-bake.hcl").write_text('target "web" { context = "." network = "none" }')
    with pytest.raises(DockerfileError, match="Invalid single-argument block definition"):
        read_target(tmp_path / "docker-bake.hcl", "web")


@pytest.mark.engine
def test_compose_resolves_its_own_file(modern, tmp_path, monkeypatch):
    for name, value in modern.env.items():
        monkeypatch.setenv(name, value)
    if module._run(["compose", "version", "--format", "json"], tmp_path / "compose.yaml")[0] is None:
        missing("the compose plugin of Docker is not installed")
    app = tmp_path / "app"
    app.mkdir()
    (app / "Dockerfile.dev").write_text("FROM busybox AS dev\nARG V\nCOPY --from=assets . /a\nRUN true\n")
    (tmp_path / "assets").mkdir()
    (tmp_path / "common.yaml").write_text("services: {base: {build: {context: app, target: dev}}}")
    (tmp_path / ".env").write_text("KIND=dev\n")
    (tmp_path / "compose.yaml").write_text(
        "x-args: &args {V: '1'}\nservices:\n  web:\n    extends: {file: common.yaml, service: base}\n"
        "    build:\n      dockerfile: Dockerfile.${KIND}\n      args: {<<: *args, W: $$x}\n"
        "      additional_contexts: [assets=./assets]\n      network: none\n"
        "  job:\n    profiles: [manual]\n    build: {context: ., dockerfile_inline: 'FROM $$X'}\n"
    )
    target = read_target(tmp_path / "compose.yaml", "web")
    assert (target.context, target.dockerfile) == (app, app / "Dockerfile.dev")
    assert (target.target, target.args, target.network) == ("dev", {"V": "1", "W": "$x"}, "none")
    assert target.contexts == {"assets": str(tmp_path / "assets")}
    assert read_target(tmp_path / "compose.yaml", "job").text == "FROM $X"
    assert plan_build(tmp_path / "compose.yaml", service="web")["certain"].all()
