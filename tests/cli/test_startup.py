"""What the command line imports: help and version need typer, and nothing that reads images."""

import subprocess
import sys

import pytest

from imagelab.cli.app import PANELS

ALLOWED = {
    "imagelab",
    "imagelab.__main__",
    "imagelab.core",
    "imagelab.core.errors",
    "imagelab.core.text",
    "imagelab.cli",
}
ALLOWED |= {f"imagelab.cli.{name}" for name in ("app", "verb", "output", *PANELS)}
HEAVY = {
    "pandas",
    "numpy",
    "pyarrow",
    "docker",
    "requests",
    "yaml",
    "plotly",
    "ipywidgets",
    "duckdb",
    "tqdm",
    "IPython",
    "rich.console",
}
HELP_OF_EVERY_VERB = """
import sys
from typer.main import get_command
from imagelab.cli import app, main
sys.argv = ["imagelab", "--version"]
try:
    main()
except SystemExit:
    pass
def walk(command, words):
    command.main([*words, "--help"], prog_name="imagelab", standalone_mode=False)
    for name, child in getattr(command, "commands", {}).items():
        walk(child, [])
walk(get_command(app.app), [])
print("MODULES", *sys.modules)
"""


def modules(*command):
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)
    return done.stdout.rpartition("MODULES ")[2].split()


def test_the_help_of_every_verb_imports_only_the_command_line():
    loaded = modules("-c", HELP_OF_EVERY_VERB)
    assert {name for name in loaded if name.split(".")[0] == "imagelab"} <= ALLOWED
    assert not HEAVY & set(loaded)


@pytest.mark.parametrize("verb", ["show", "waste", "check"])
def test_a_verb_on_an_image_imports_no_other_question(verb):
    words = [verb, "example:whiteout-before", *(["--max-size", "1GB"] if verb == "check" else [])]
    code = f"import sys, imagelab.cli as cli\nsys.argv = ['imagelab', *{words}]\ncli.main()\nprint('MODULES', *sys.modules)"
    loaded = {name.split(".")[1] for name in modules("-c", code) if name.startswith("imagelab.")}
    assert loaded <= {"cli", "core", "images", "size"}
