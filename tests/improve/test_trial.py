"""Real builds: every edit is built, compared and checked on an engine, and a trial leaves nothing behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imagelab.cli import builds  # noqa: F401  # registers the verb
from imagelab.cli.app import app
from imagelab.core.errors import DockerfileError, ImagelabError
from imagelab.improve.answer import Improvement
from imagelab.improve.improve import improve
from tests.conftest import ROOT, Engine

pytestmark = pytest.mark.engine
#: The rules that `test_bytes_stored_twice_and_sent_for_nothing_are_proven` builds.
PROVEN_RULES = {"bind-mount", "wide-copy", "delete-in-same-run", "copy-chown", "copy-chmod"}
BUSYBOX = "FROM localhost/busybox:static\nWORKDIR /app\n"


def run(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, folder: Path, files: dict[str, str | bytes], **more
) -> Improvement:
    for name in ("DOCKER_HOST", "DOCKER_CONFIG", "PATH"):
        monkeypatch.setenv(name, engine.env[name])
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return improve(folder, network="none", **more)


def results(found: Improvement) -> dict[str, str]:
    return dict(zip(found.edits["rule"], found.edits["result"], strict=True))


def test_bytes_stored_twice_and_sent_for_nothing_are_proven(engine, monkeypatch, tmp_path):
    text = (
        BUSYBOX + "COPY . .\nRUN head -c 3000000 /dev/zero > /app/big\nRUN rm /app/big\n"
        "COPY data.bin /tmp/\nRUN md5sum /tmp/data.bin > /sum\nRUN rm /tmp/data.bin\n"
        'RUN chown -R 1000:1000 /app\nCOPY run.sh /run.sh\nRUN chmod +x /run.sh\nUSER 1000\nCMD ["/run.sh"]\n'
    )
    files = {
        "Dockerfile": text,
        "run.sh": "#!/bin/sh\nsleep 60\n",
        "data.bin": bytes(400_000),
        ".git/pack": bytes(200_000),
        "m.py": "1\n",
    }
    found = run(engine, monkeypatch, tmp_path, files)
    assert results(found) == dict.fromkeys(PROVEN_RULES, "proven")
    bytes_of = found.edits.set_index("rule")["measured_bytes"]
    assert bytes_of["wide-copy"] == 200_000 and 3_000_000 <= bytes_of["delete-in-same-run"] < 3_000_100
    assert 400_000 <= bytes_of["copy-chown"] < 403_000 and 399_900 < bytes_of["bind-mount"] <= 400_000
    assert found.before.wasted > 3_800_000 and found.after.wasted < 1_000
    assert found.before.size - found.after.size == pytest.approx(
        found.edits["measured_bytes"].sum(), abs=1_000 + 400_000
    )
    assert (tmp_path / "Dockerfile").read_text() == text  # the project is not touched
    subprocess.run(["git", "apply"], input=found.patch.encode(), cwd=tmp_path, check=True)
    rest = improve(tmp_path, network="none")
    assert not rest.is_possible and rest.before.size == found.after.size


def test_a_check_catches_a_lost_file(modern, monkeypatch, tmp_path):
    files = {"Dockerfile": BUSYBOX + 'COPY . .\nCMD ["sleep", "60"]\n', ".git/HEAD": "main\n", "m.py": "1\n"}
    found = run(modern, monkeypatch, tmp_path, files, check="cat /app/.git/HEAD")
    assert results(found) == {"wide-copy": "fails the check"} and found.patch == "" and not found.is_possible
    with pytest.raises(ImagelabError, match="fails in the unchanged image"):
        improve(tmp_path, network="none", check="false")


def test_an_edit_that_breaks_the_build_or_changes_the_image_is_not_in_the_patch(modern, monkeypatch, tmp_path):
    text = BUSYBOX + "COPY . .\nRUN test -d .git\nRUN ls node_modules > /listed; : npm ci\n"
    files = {"Dockerfile": text, ".git/HEAD": "main\n", "node_modules/a": "1", "m.py": "1\n"}
    found = run(modern, monkeypatch, tmp_path, files)
    assert results(found)["wide-copy"] == "breaks the build" and ".git" in found.edits["why"].iloc[0]
    (tmp_path / ".git/HEAD").unlink()
    (tmp_path / "Dockerfile").write_text(text.replace("RUN test -d .git\n", ""))
    changed = improve(tmp_path, network="none")
    assert results(changed)["wide-copy"] == "changes the image" and "changed /listed" in changed.edits["why"].iloc[0]


def test_nothing_is_proposed_for_what_is_already_good(modern, monkeypatch, tmp_path):
    files = {"Dockerfile": BUSYBOX + 'COPY m.py ./\nCMD ["sleep", "60"]\n', "m.py": "1\n"}
    found = run(modern, monkeypatch, tmp_path, files)
    assert found.edits.empty and found.headline == "nothing to improve" and found.before == found.after


def test_a_dockerfile_that_does_not_build_says_so(modern, monkeypatch, tmp_path):
    with pytest.raises(DockerfileError, match="The unchanged Dockerfile does not build"):
        run(modern, monkeypatch, tmp_path, {"Dockerfile": BUSYBOX + "RUN false\n"})


def test_options_of_docker_build_and_writing(engine, monkeypatch, tmp_path):
    text = (
        "ARG NAME=none\n" + BUSYBOX.replace("\n", " AS made\n", 1) + "ARG NAME\nCOPY . .\nCOPY --from=more word more\n"
        'RUN test $NAME = given && head -c 900000 /dev/zero > big\nRUN rm big\nCMD ["sleep", "60"]\n'
        "FROM made AS other\nRUN false\n"
    )
    files = {"project/Dockerfile": text, "project/.git/pack": bytes(50_000), "project/m.py": "1\n", "more/word": "1\n"}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    if engine.kind == "classic":  # 20.10 has no named contexts
        (tmp_path / "project/Dockerfile").write_text(text.replace("COPY --from=more word more\n", ""))
    options = [
        "--target",
        "made",
        "--build-arg",
        "NAME=given",
        "--network",
        "none",
        "--check",
        "test ! -e big",
        "--write",
    ]
    options += ["--build-context", f"more={tmp_path / 'more'}"] if engine.kind == "modern" else []
    words = [
        "improve",
        str(tmp_path / "project"),
        *options,
        "--fail-if-possible",
        "--json",
        "-o",
        str(tmp_path / "out"),
    ]
    for name in ("DOCKER_HOST", "DOCKER_CONFIG", "PATH"):
        monkeypatch.setenv(name, engine.env[name])
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1, done.output  # something is proven
    found = json.loads(done.stdout)
    assert {edit["rule"]: edit["result"] for edit in found["edits"]} == {
        "wide-copy": "proven",
        "delete-in-same-run": "proven",
    }
    written = (tmp_path / "project/Dockerfile").read_text()
    assert "> big && rm big\n" in written and (tmp_path / "project/.dockerignore").read_text() == ".git\n"
    subprocess.run(["patch", "-p1", "-R", "-s"], input=found["patch"].encode(), cwd=tmp_path / "project", check=True)
    assert (tmp_path / "project/Dockerfile").read_text() == written.replace(" && rm big\n", "\nRUN rm big\n")
    assert found["before"]["size"] - found["after"]["size"] == pytest.approx(950_000, rel=0.05)


def test_another_base_is_measured_and_never_in_the_patch(modern, monkeypatch, tmp_path):
    modern.docker("tag", "localhost/busybox:static", "localhost/improve-other:test")
    files = {
        "Dockerfile": BUSYBOX + 'COPY . .\nRUN ls / > listed\nCMD ["sleep", "60"]\n',
        ".git/x": bytes(9_000),
        "m.py": "",
    }
    tries = ["base=localhost/improve-other:test", "user=nobody", "base=localhost/improve-none:test"]
    found = run(modern, monkeypatch, tmp_path, files, tries=tries)
    assert found.edits["result"].tolist() == ["proven", "no gain", "fails the check", "breaks the build"]
    assert "localhost/improve-other:test instead of localhost/busybox:static" in found.edits["why"].iloc[1]
    assert "improve-other" not in found.patch and "nobody" not in found.patch


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_killed_leaves_nothing(engine, tmp_path, number):
    command = f"sleep 4; echo {tmp_path.name}-{number}-{engine.kind} > /x"
    (tmp_path / "Dockerfile").write_text(
        BUSYBOX + f"COPY m.py ./\nRUN echo {tmp_path.name}-first > /y\nRUN {command}\n"
    )
    (tmp_path / "m.py").write_text("1\n")
    arguments = [sys.executable, "-m", "imagelab", "improve", str(tmp_path), "--network", "none"]
    env = engine.env | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        arguments,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    folder = wait_for(lambda: next(tmp_path.glob("imagelab-improve-*/context/Dockerfile"), None)).parents[1]
    run_id = folder.name.split("-")[2]
    time.sleep(2)
    process.send_signal(number)
    process.wait(120)
    wait_for(lambda: not folder.exists(), 120)
    label = ["--filter", f"label=imagelab.improve={run_id}", "-q"]
    assert not engine.docker("ps", "-a", *label) and not engine.docker("images", *label)

    def build_cache() -> tuple[str] | None:
        with suppress(RuntimeError):  # while another build unpacks a layer, the engine cannot count it
            return (engine.docker("system", "df", "-v", "--format", "{{json .BuildCache}}"),)

    assert not [record for record in json.loads(*wait_for(build_cache)) if tmp_path.name in record["Description"]]


def wait_for(ready, seconds: float = 60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := ready():
            return found
        time.sleep(0.1)
    raise AssertionError("not in time")
