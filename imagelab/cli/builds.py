"""Verbs on builds: plan-build, build-log, context, advise-build."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import imagelab as il
from imagelab.cli.output import Answer, with_arguments
from imagelab.cli.verb import pairs, verb

Directory = Annotated[Path, typer.Argument(help="The build context.")]
File = Annotated[Path | None, typer.Option("-f", "--file", help="The Dockerfile, if it has another name.")]
Log = Annotated[Path | None, typer.Option("--log", help="A log of a build that ran the steps: adds their seconds.")]


@verb()
def plan_build(
    directory: Directory,
    changed: Annotated[list[str] | None, typer.Option(help="A path that is edited; may be repeated.")] = None,
    after: Annotated[Path | None, typer.Option(help="The next build's context, in place of --changed.")] = None,
    file: File = None,
    args: Annotated[list[str] | None, typer.Option("--build-arg", help="NAME=VALUE; may be repeated.")] = None,
    args_after: Annotated[
        list[str] | None, typer.Option("--build-arg-after", help="The same for the next build.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The stage to build.")] = None,
    log: Log = None,
) -> Answer:
    """Predict which steps the next build repeats, and why, if the present build is in the cache."""
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
    columns = ["stage", "step", "hit", "certain", "seconds", "instruction", "arguments", "reason"]
    return Answer({"plan": plan}, shown={"plan": with_arguments(plan[columns])}, prose=["reason"])


@verb(rows=100)
def build_log(
    file: Annotated[Path, typer.Argument(help="A build's log: rawjson, plain, or the classic builder's text.")],
) -> Answer:
    """Read a build's log: its steps, how long each took, which ones came from the cache."""
    steps = il.read_build_log(file)
    columns = ["stage", "step", "duration", "status", "bytes", "instruction", "arguments"]
    return Answer({"steps": steps}, shown={"steps": with_arguments(steps[columns])})


@verb(rows=20)
def context(directory: Directory, file: File = None) -> Answer:
    """List a build context: what is sent, what each .dockerignore rule leaves out, and what no COPY uses."""
    paths = il.build_context(directory, file)
    sizes = il.context_sizes(paths)
    sent = paths[~paths["ignored"]].sort_values("size", ascending=False, kind="stable")
    largest = sent[["size", "copied", "path"]]
    return Answer(
        {"directories": sizes, "paths": paths},
        shown={"directories": sizes, "largest paths sent": largest},
        hint=f"imagelab advise-build {directory}",
    )


@verb(rows=20)
def advise_build(directory: Directory, file: File = None, log: Log = None) -> Answer:
    """List what makes rebuilds slow, and what to write instead."""
    from imagelab.build.context import find_dockerfile

    root, dockerfile = find_dockerfile(directory, file)
    advice = il.advise_build(dockerfile, root, log)
    columns = ["line", "rule", "what", "seconds", "confidence", "suggestion"]
    return Answer({"advice": advice}, shown={"advice": advice[columns]})
