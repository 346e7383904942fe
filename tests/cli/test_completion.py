"""Shell completion: typer's own, without the welcome of the bare command."""

import os
import subprocess
import sys

import pytest


def complete(words: str, **env: str) -> list[str]:
    env = (
        os.environ
        | {"_IMAGELAB_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        | env
    )
    command = [sys.executable, "-c", "import sys; sys.argv[0] = 'imagelab'; from imagelab.cli import main; main()"]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("imagelab sna", "snapshot"),
        ("imagelab snapshot --pu", "--push"),
        ("imagelab course gr", "grade"),
        ("imagelab nothing", ""),
    ],
)
def test_verbs_and_options_are_completed(words, expected):
    assert complete(words) == expected.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(shell):
    assert "_IMAGELAB_COMPLETE" in " ".join(complete("imagelab", _IMAGELAB_COMPLETE=f"source_{shell}"))
