"""The recipes for CI: the scripts in the YAML files run here as they run there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.support.registries import Registry

BEFORE, AFTER = "example:whiteout-before", "example:whiteout-after"
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def run(script, folder, **env):
    env = os.environ | {"PATH": PATH, "IMAGELAB_CACHE_DIR": "", "RUNNER_TEMP": str(folder)} | env
    env |= {"GITHUB_OUTPUT": str(folder / "output"), "GITHUB_STEP_SUMMARY": str(folder / "summary")}
    return subprocess.run(["bash", "-e", "-c", script], cwd=folder, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def action():
    return yaml.safe_load((ROOT / "action.yml").read_text())


@pytest.mark.parametrize(
    ("image", "limits", "code"),
    [(AFTER, "--max-size 100MB --max-wasted 1MB", 0), (BEFORE, "--max-wasted 1MB", 1), (BEFORE, "--max-wasted few", 2)],
)
def test_the_github_action_checks_and_compares(action, image, limits, code, tmp_path):
    script = next(step["run"] for step in action["runs"]["steps"] if step.get("id") == "check")
    done = run(script, tmp_path, IMAGE=image, LIMITS=limits, BASELINE=BEFORE, REPORT="", PUSH="")
    assert done.returncode == code, done.stderr
    output = (tmp_path / "output").read_text()
    assert f"passed={'true' if code == 0 else 'false'}" in output
    summary = (tmp_path / "summary").read_text()
    assert ("### by instruction" in summary) == (code < 2) and ("FAIL" in summary) == (code == 1)


@pytest.mark.registry
def test_a_passed_build_is_the_baseline_of_the_next(action, tmp_path):
    script = next(step["run"] for step in action["runs"]["steps"] if step.get("id") == "check")
    _, job = yaml.safe_load_all((ROOT / "templates/check.yml").read_text())
    gitlab = "\n".join(line for line in job["imagelab"]["script"] if "report" not in line)
    server = Registry(tmp_path)
    try:
        main = f"docker://{server.host}/snapshots/app:main"
        given = {"LIMITS": "--max-wasted 1MB", "BASELINE": "", "REPORT": "", "PUSH": main}
        refused = run(script, tmp_path, IMAGE=BEFORE, **given)
        assert refused.returncode == 1 and run(gitlab, tmp_path, IMAGE=BEFORE, **given).returncode == 1
        assert run(
            script, tmp_path, IMAGE=AFTER, **given | {"BASELINE": main, "PUSH": ""}
        ).returncode  # nothing was stored
        for recipe in (script, gitlab):
            stored = run(recipe, tmp_path, IMAGE=AFTER, **given)
            assert stored.returncode == 0, stored.stderr
            compared = run(
                recipe,
                tmp_path,
                IMAGE=AFTER,
                **given | {"BASELINE": main, "LIMITS": "--max-growth 0MB --against " + main},
            )
            assert compared.returncode == 0, compared.stderr
    finally:
        server.stop()


def test_the_report_of_both_recipes_shows_what_changed(action, tmp_path):
    script = next(step["run"] for step in action["runs"]["steps"] if step.get("id") == "check")
    given = {"IMAGE": AFTER, "BASELINE": BEFORE, "LIMITS": "--max-size 1GB", "PUSH": "", "REPORT": "imagelab.html"}
    done = run(script, tmp_path, **given)
    assert done.returncode == 0 and "<strong>was 10.4 MB" in (tmp_path / "imagelab.html").read_text(), done.stderr
    _, job = yaml.safe_load_all((ROOT / "templates/check.yml").read_text())
    written = next(line for line in job["imagelab"]["script"] if "report" in line)
    (tmp_path / "imagelab.html").unlink()
    done = run(written, tmp_path, **given)
    assert done.returncode == 0 and "<strong>was 10.4 MB" in (tmp_path / "imagelab.html").read_text(), done.stderr


def test_the_github_action_passes_what_it_declares(action):
    steps = action["runs"]["steps"]
    used = set(re.findall(r"inputs\.([a-z]+)", (ROOT / "action.yml").read_text()))
    assert used == set(action["inputs"]) and action["runs"]["using"] == "composite"
    for step in steps:
        assert "${{" not in step.get("run", ""), "a script reads the environment: an expression in it can be injected"
        assert ("run" in step) == ("shell" in step)


def test_the_gitlab_component_runs(tmp_path):
    header, job = yaml.safe_load_all((ROOT / "templates/check.yml").read_text())
    job = job["imagelab"]
    named = set(re.findall(r"\$\[\[ inputs\.([a-z]+) \]\]", (ROOT / "templates/check.yml").read_text()))
    assert named == set(header["spec"]["inputs"])
    script = "\n".join(line for line in job["script"] if "report" not in line)
    env = dict.fromkeys(job["variables"], "")
    done = run(script, tmp_path, **env | {"IMAGE": BEFORE, "BASELINE": AFTER, "LIMITS": "--max-wasted 20MB"})
    assert done.returncode == 0, done.stderr
    assert "| delta |" in (tmp_path / "imagelab.md").read_text()
    assert run(script, tmp_path, **env | {"IMAGE": BEFORE, "LIMITS": "--max-wasted 1MB"}).returncode == 1


def test_the_pre_commit_hook_runs(tmp_path):
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert re.search(hook["files"], "app/Dockerfile") and not re.search(hook["files"], "Dockerfile.md")
    (tmp_path / "Dockerfile").write_text("FROM python:3\nCOPY . .\nRUN pip install flask\n")
    done = run(hook["entry"], tmp_path)
    assert done.returncode == 0 and "suggestion" in done.stdout


def test_the_recipes_of_the_documentation_give_inputs_that_exist(action):
    page = (ROOT / "docs/howto/ci.md").read_text()
    github, gitlab, hooks = map(yaml.safe_load, re.findall(r"^```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE))
    uses = [step["with"] for step in github["jobs"]["image"]["steps"] if "imagelab" in step.get("uses", "")]
    assert len(uses) == 2 and all(set(given) <= set(action["inputs"]) for given in uses)
    spec, _ = yaml.safe_load_all((ROOT / "templates/check.yml").read_text())
    assert set(gitlab["include"][0]["inputs"]) <= set(spec["spec"]["inputs"])
    known = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert {hook["id"] for hook in hooks["repos"][0]["hooks"]} <= {hook["id"] for hook in known}
