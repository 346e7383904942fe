"""Verbs on builds: plan-build, build-log, context, advise-build, improve."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import imagelab as il
from imagelab.cli.app import PANELS, app
from imagelab.cli.output import Answer, Form, print_answer, with_arguments
from imagelab.cli.verb import Platform, pairs, verb

if TYPE_CHECKING:
    import pandas as pd

Directory = Annotated[Path, typer.Argument(help="The build context.")]
File = Annotated[Path | None, typer.Option("-f", "--file", help="The Dockerfile, if it has another name.")]
Service = Annotated[
    str | None, typer.Option(help="The service of a compose.yaml, or the target of a bake file, given as DIRECTORY.")
]
Log = Annotated[Path | None, typer.Option("--log", help="A log of a build that ran the steps: adds their seconds.")]


@verb()
def plan_build(
    directory: Directory,
    changed: Annotated[list[str] | None, typer.Option(help="A path that is edited; may be repeated.")] = None,
    after: Annotated[Path | None, typer.Option(help="The next build's context, in place of --changed.")] = None,
    service: Service = None,
    file: File = None,
    args: Annotated[list[str] | None, typer.Option("--build-arg", help="NAME=VALUE; may be repeated.")] = None,
    args_after: Annotated[
        list[str] | None, typer.Option("--build-arg-after", help="The same for the next build.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The stage to build.")] = None,
    named: Annotated[list[str] | None, typer.Option("--build-context", help="NAME=DIR; may be repeated.")] = None,
    named_after: Annotated[
        list[str] | None, typer.Option("--build-context-after", help="The same for the next build.")
    ] = None,
    network: Annotated[str | None, typer.Option(help="The network mode of both builds.")] = None,
    network_after: Annotated[str | None, typer.Option(help="The network mode of the next build.")] = None,
    log: Log = None,
) -> Answer:
    """Predict which steps the next build repeats, and why, if the present build is in the cache."""
    plan = il.plan_build(
        directory,
        changed or (),
        after=after,
        service=service,
        dockerfile=file,
        contexts=pairs(named) or None,
        contexts_after=pairs(named_after) or None,
        network=network,
        network_after=network_after,
        args=pairs(args) if args else None,
        args_after=None if args_after is None else pairs(args_after),
        target=target,
        log=log,
    )
    columns = ["stage", "step", "hit", "certain", "seconds", "instruction", "arguments", "reason"]
    misses = ~plan["hit"]
    summary = f"{misses.sum()} of {len(plan)} steps run again in the next build{_seconds(plan.loc[misses, 'seconds'])}"
    return Answer({"plan": plan}, shown={"plan": with_arguments(plan[columns])}, summary=summary, prose=["reason"])


@verb(rows=100)
def build_log(
    file: Annotated[str, typer.Argument(help="A log or record of a build; @ID or last of the engine's history.")],
) -> Answer:
    """Read a build's log: its steps, how long each took, which ones came from the cache."""
    from imagelab.build.logs.cost import build_words

    steps = il.read_build_log(file)
    columns = ["stage", "step", "duration", "status", "bytes", "instruction", "arguments"]
    named = steps.assign(arguments=steps["arguments"].where(steps["instruction"].notna(), steps["name"]))
    summary = f"The build {build_words(steps)}"
    return Answer({"steps": steps}, shown={"steps": with_arguments(named[columns])}, summary=summary)


@verb("why-rebuilt", rows=100)
def why_rebuilt(
    before: Annotated[str, typer.Argument(help="The earlier build: a log, a .dockerbuild file, @ID or last.")],
    after: Annotated[str, typer.Argument(help="The build to explain, in the same forms.")],
    also_before: Annotated[
        list[Path] | None, typer.Option(help="Provenance or a metadata file of BEFORE; may be repeated.")
    ] = None,
    also_after: Annotated[list[Path] | None, typer.Option(help="The same for AFTER; may be repeated.")] = None,
    repository: Annotated[Path | None, typer.Option(help="A Git repository, to name the files that changed.")] = None,
) -> Answer:
    """Explain why the steps of a build ran again, from the logs or records of two builds."""
    steps = il.explain_build([before, *(also_before or ())], [after, *(also_after or ())], repository)
    misses = steps["hit"].eq(False).fillna(False)
    summary = f"{misses.sum()} of {len(steps)} steps ran again{_seconds(steps.loc[misses, 'seconds'])}"
    columns = ["stage", "step", "hit", "cause", "seconds", "instruction", "arguments", "detail"]
    return Answer({"steps": steps}, shown={"steps": with_arguments(steps[columns])}, summary=summary, prose=["detail"])


def _seconds(seconds: pd.Series) -> str:
    """The time of the steps that ran, if it is known."""
    return f"; {seconds.sum():.1f} s for the steps that run" if seconds.notna().any() else ""


@verb(rows=20)
def builds() -> Answer:
    """List the engine's build history; build-log and why-rebuilt read its builds as @ID, and the newest as last."""
    return Answer({"builds": il.builds()})


@verb(rows=20)
def context(directory: Directory, service: Service = None, file: File = None) -> Answer:
    """List a build context: what is sent, what each .dockerignore rule leaves out, and what no COPY uses."""
    paths = il.build_context(directory, file, service)
    sizes = il.context_sizes(paths)
    sent = paths[~paths["ignored"]].sort_values("size", ascending=False, kind="stable")
    largest = sent[["size", "copied", "path"]]
    return Answer(
        {"directories": sizes, "paths": paths},
        shown={"directories": sizes, "largest paths sent": largest},
        hint=f"imagelab advise-build {directory}" + (f" --service {service}" if service else ""),
    )


@verb(rows=20)
def advise_build(directory: Directory, service: Service = None, file: File = None, log: Log = None) -> Answer:
    """List what makes rebuilds slow, and what to write instead."""
    advice = il.advise_build(file, directory, log, service)
    columns = ["line", "rule", "what", "seconds", "confidence", "suggestion"]
    return Answer({"advice": advice}, shown={"advice": advice[columns]})


@app.command(rich_help_panel=PANELS["builds"])
def improve(
    directory: Directory,
    service: Service = None,
    file: File = None,
    target: Annotated[str | None, typer.Option(help="The stage to build.")] = None,
    args: Annotated[list[str] | None, typer.Option("--build-arg", help="NAME=VALUE; may be repeated.")] = None,
    contexts: Annotated[list[str] | None, typer.Option("--build-context", help="NAME=PATH; may be repeated.")] = None,
    network: Annotated[str | None, typer.Option(help="The network of the builds: none, host.")] = None,
    check: Annotated[str | None, typer.Option(help="A command that must succeed in a container of each image.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="A rule to apply; may be repeated.")] = None,
    without: Annotated[list[str] | None, typer.Option(help="A rule to leave out; may be repeated.")] = None,
    tries: Annotated[
        list[str] | None,
        typer.Option("--try", help="base=IMAGE or user=NAME: build and measure it as advice; never in the patch."),
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="An image of this project: predicts bytes without building.")
    ] = None,
    platform: Platform = None,
    log: Log = None,
    build: Annotated[bool, typer.Option(help="Build and prove the edits; without it they are only proposed.")] = True,
    write: Annotated[bool, typer.Option("--write", help="Write the proven patch to the project's files.")] = False,
    fail_if_possible: Annotated[
        bool, typer.Option("--fail-if-possible", help="Exit code 1 if something proven can be gained.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="A folder for improve.patch and improve.json, or a page.html.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: edits, before, after, patch.")] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown, for the comment of a pull request.")
    ] = False,
) -> None:
    """Turn advice on a Dockerfile into a patch that was built, compared with the original and measured."""
    found = il.improve(
        directory,
        file,
        service=service,
        target=target,
        args=pairs(args),
        contexts=pairs(contexts),
        network=network,
        check=check,
        only=only or (),
        without=without or (),
        tries=tries or (),
        image=image and il.load_image(image, platform=platform),
        log=log,
        build=build,
        write=write,
    )
    if output is not None and output.suffix == ".html":
        from imagelab.report.run import render

        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "improve.json"
            run.write_text(found.to_json(), encoding="utf-8")
            name = f"Improve {directory.resolve().name}"
            render("improve_report", {"run": str(run)}, output.resolve(), title=name, progress=False)
    elif output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "improve.patch").write_bytes(found.patch.encode("utf-8", "surrogateescape"))
        (output / "improve.json").write_text(found.to_json(), encoding="utf-8")
    if as_json or as_markdown:
        typer.echo(found.to_json() if as_json else found.to_markdown())
    else:
        names = ["rule", "path", "line", "predicted_bytes", "measured_bytes", "measured_rebuild_seconds", "result"]
        shown = found.edits[[*names, "why"]]
        print_answer(Answer({"edits": shown}, summary=found.headline, prose=["why"], diff=found.patch), Form.TEXT)
    if fail_if_possible and found.is_possible:
        raise typer.Exit(1)
