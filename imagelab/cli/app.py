"""The command, its errors and its exit codes: 0 done, 1 a limit is exceeded, 2 it could not be done."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import imagelab
from imagelab.core.errors import ImagelabError

PANELS = {
    "images": "One image, or two",
    "builds": "Builds",
    "scans": "Findings",
    "fleet": "Many images",
    "reports": "Pages",
    "lab": "Lessons",
}
"""Module with verbs → their heading in ``imagelab --help``."""
WELCOME = """\
Why is this container image so big, so slow to build, so full of findings?

  imagelab show IMAGE                    how big it is, and what each step added
  imagelab advise IMAGE                  what to leave out, and how
  imagelab advise-build .                what makes rebuilds slow
  imagelab compare BEFORE AFTER          what changed, and by which step
  imagelab report IMAGE -o report.html   all of it on one page, offline

IMAGE is a name in the engine, an archive such as app.tar, or docker://HOST/NAME
for a registry. Without Docker, try example:service-full.

imagelab --help lists every verb."""


class _Verbs(TyperGroup):
    """Help with the verbs under their headings."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        headings: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            heading = getattr(command, "rich_help_panel", None) or "Verbs"
            headings.setdefault(heading, []).append((name, command.get_short_help_str(300)))
        for heading, rows in headings.items():
            with formatter.section(heading):
                formatter.write_dl(rows)


app = typer.Typer(
    cls=_Verbs,
    rich_markup_mode=None,  # plain help: its layout by rich takes longer than all the rest
    help="Why is this container image so big, so slow to build, so full of findings?",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_debug = False


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"imagelab {imagelab.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    global _debug
    _debug = debug


def main() -> None:
    """Run the command line."""
    if len(sys.argv) == 1 and "_IMAGELAB_COMPLETE" not in os.environ:
        print(WELCOME)
        return
    # nearly all objects of a verb stay until its end: looking for cycles among them takes up to a sixth of its time
    gc.set_threshold(100_000)
    for name in PANELS:  # each registers its verbs
        import_module(f"imagelab.cli.{name}")
    try:
        app()
    except BrokenPipeError:  # `imagelab … | head`
        sys.stderr.close()
        sys.exit(0)
    except (ImagelabError, OSError) as error:  # OSError: a path that cannot be read or written
        if _debug:
            raise
        from imagelab.core.text import clean

        message = "\n".join(clean(line, 2000) for line in str(error).splitlines())
        print(f"imagelab: {message}", file=sys.stderr)
        sys.exit(2)
