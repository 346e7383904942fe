"""Declare a verb of the command line: a function that returns an `Answer` becomes a command that prints it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from imagelab.cli.app import PANELS, app
from imagelab.cli.output import Answer, Form, print_answer
from imagelab.core.errors import ImagelabError

_Json = Annotated[bool, typer.Option("--json", help="Print JSON: every row and column, sizes in bytes.")]
_Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown, for the comment of a pull request.")]
_Full = Annotated[bool, typer.Option("--full", help="Print every row and column, not fitted to the terminal.")]
_Rows = Annotated[int, typer.Option("--rows", min=1, help="Rows to print of each table; --json prints all.")]

# no square brackets in a help text: rich reads them as markup
#: For every verb that takes images: pass it to ``il.load_image(…, platform=platform)``.
Platform = Annotated[
    str | None,
    typer.Option(metavar="OS/ARCH", help="Which platform of an image that has several: linux/arm64, linux/arm/v7."),
]


def verb(
    name: str | None = None, *, rows: int | None = None, group: typer.Typer = app
) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    """Register the function below as a command with ``--json`` and ``--markdown``, and print the `Answer` it returns.

    The function declares its own arguments and options as typer reads them, and imports what it needs when it runs.

    Parameters
    ----------
    name
        Name of the command, if it is not the function's.
    rows
        Rows printed of each table by default: the command gets ``--rows``. All rows if None.
    group
        The typer app to register with.
    """
    added: list[tuple[str, Any, Any]] = [
        ("full", _Full, False),
        ("as_json", _Json, False),
        ("as_markdown", _Markdown, False),
    ]
    if rows is not None:
        added.insert(0, ("rows", _Rows, rows))

    def register(function: Callable[..., Answer]) -> Callable[..., Answer]:
        @wraps(function)
        def run(*, full: bool, as_json: bool, as_markdown: bool, rows: int | None = None, **given: Any) -> None:
            answer = function(**given)
            forms = {Form.JSON: as_json, Form.MARKDOWN: as_markdown, Form.FULL: full}
            print_answer(answer, next((form for form, chosen in forms.items() if chosen), Form.TEXT), rows)
            if answer.failed:
                raise typer.Exit(1)

        # typer reads parameters from the signature and their types from the annotations
        hints = get_type_hints(function, include_extras=True)
        hints.pop("return", None)
        own = inspect.signature(function, eval_str=True).parameters.values()
        keyword = inspect.Parameter.KEYWORD_ONLY
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [parameter.replace(kind=keyword) for parameter in own]
            + [inspect.Parameter(key, keyword, default=default, annotation=kind) for key, kind, default in added]
        )
        run.__annotations__ = hints | {key: kind for key, kind, _ in added}
        group.command(name, rich_help_panel=PANELS.get(function.__module__.rpartition(".")[2]))(run)
        return function

    return register


def pairs(given: list[str] | None) -> dict[str, str]:
    """The values of a repeated ``NAME=VALUE`` option."""
    for item in given or ():
        if "=" not in item:
            raise ImagelabError(f"{item!r} is not NAME=VALUE, as the option expects.")
    return dict(item.split("=", 1) for item in given or ())
