"""Verbs on builds: plan-build, build-log, context, advise-build."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import imagelab as il
from imagelab.build.context import find_dockerfile
from imagelab.cli.app import app
from imagelab.cli.output import Form, Json, Markdown, Rows, form, pairs, print_frames

Directory = Annotated[Path, typer.Argument(help="The build context.")]
File = Annotated[Path | None, typer.Option("-f", "--file", help="The Dockerfile, where it has another name.")]
Log = Annotated[Path | None, typer.Option("--log", help="A log of a build that ran the steps: prices them.")]


@app.command("plan-build")
def plan_build(
    directory: Directory,
    changed: Annotated[
        list[str] | None, typer.Option("--changed", help="A path that is edited; may be repeated.")
    ] = None,
    after: Annotated[Path | None, typer.Option("--after", help="The next build's context instead.")] = None,
    file: File = None,
    args: Annotated[list[str] | None, typer.Option("--build-arg", help="NAME=VALUE; may be repeated.")] = None,
    args_after: Annotated[list[str] | None, typer.Option("--build-arg-after", help="For the next build.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="The stage to build.")] = None,
    log: Log = None,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Say what the next build repeats, and why, with the present one in the cache."""
    plan = il.plan_build(
        directory,
        changed or (),
        after=after,
        dockerfile=file,
        args=pairs(args),
        args_after=None if args_after is None else pairs(args_after),
        target=target,
        log=log,
    )
    columns = ["stage", "step", "instruction", "arguments", "hit", "certain", "reason", "seconds"]
    print_frames({"plan": plan}, form(as_json, as_markdown), columns={"plan": columns})


@app.command("build-log")
def build_log(
    file: Annotated[Path, typer.Argument(help="rawjson, plain or the classic builder's text.")],
    rows: Rows = 100,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Read a build's log: its steps, what they took, what came from the cache."""
    columns = ["stage", "step", "instruction", "arguments", "duration", "cached", "status", "bytes"]
    frames = {"steps": il.read_build_log(file)}
    print_frames(frames, form(as_json, as_markdown), rows=rows, columns={"steps": columns})


@app.command()
def context(
    directory: Directory, file: File = None, rows: Rows = 20, as_json: Json = False, as_markdown: Markdown = False
) -> None:
    """List a build context: what is sent, what is held back by which rule, and what no COPY uses."""
    frame = il.build_context(directory, file)
    how = form(as_json, as_markdown)
    sizes = il.context_sizes(frame)
    if how is not Form.JSON:
        frame = frame[~frame["ignored"]].nlargest(rows, "size")[["path", "size", "copied"]]
    print_frames({"directories": sizes, "paths" if how is Form.JSON else "largest paths sent": frame}, how, rows=rows)


@app.command("advise-build")
def advise_build(
    directory: Directory,
    file: File = None,
    log: Log = None,
    rows: Rows = 20,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Say what makes rebuilds slow, and what to write instead."""
    root, dockerfile = find_dockerfile(directory, file)
    frames = {"advice": il.advise_build(dockerfile, root, log)}
    columns = ["line", "rule", "what", "seconds", "confidence", "suggestion"]
    print_frames(frames, form(as_json, as_markdown), rows=rows, columns={"advice": columns})
