"""The command, its errors and its exit codes: 0 done, 1 a gate did not hold, 2 it could not be done."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import imagelab
from imagelab.core.errors import ImagelabError

app = typer.Typer(
    help="Why is this image so big, so slow to build, so full of findings?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
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
    from imagelab.cli import builds, fleet, images, lab, reports, scans  # noqa: F401  # they register their verbs

    try:
        app()
    except BrokenPipeError:  # `imagelab … | head`
        sys.stderr.close()
        sys.exit(0)
    except (ImagelabError, OSError) as error:  # OSError: where to write is no place for it
        if _debug:
            raise
        print(f"imagelab: {error}", file=sys.stderr)
        sys.exit(2)
