"""Verbs on images: show, waste, compare, advise, check, snapshot, cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

import imagelab as il
from imagelab.cli.app import app
from imagelab.cli.output import Form, Json, Markdown, Rows, form, print_frames
from imagelab.core.frames import format_bytes
from imagelab.images.layers.cache import cache_info, clear_cache

Image = Annotated[
    str, typer.Argument(help="A name in the engine, a path, or TRANSPORT:…; example:NAME for embedded data.")
]


@app.command()
def images(as_json: Json = False, as_markdown: Markdown = False) -> None:
    """List the engine's images."""
    print_frames({"images": il.list_images()}, form(as_json, as_markdown))


@app.command()
def show(image: Image, as_json: Json = False, as_markdown: Markdown = False) -> None:
    """Show an image: how big, how efficient, and what each step added."""
    loaded = il.load_image(image)
    efficiency = il.efficiency(loaded)
    history = il.history(loaded)[
        ["step", "layer_index", "instruction", "arguments", "size", "content_size", "disk_usage"]
    ]
    names = ["reference", "platform", "image_id", "manifest_digest"]
    identity = pd.DataFrame({"fact": names, "value": [getattr(loaded, name) for name in names]})
    print_frames({"image": identity, "efficiency": efficiency, "history": history}, form(as_json, as_markdown))


@app.command()
def waste(
    image: Image,
    digests: Annotated[bool, typer.Option("--digests", help="Compare contents: tell rewrites from changes.")] = False,
    rows: Rows = 20,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """List the bytes that no container sees, and the instructions to blame."""
    loaded = il.load_image(image)
    ledger = il.waste(loaded, digests="copies" if digests else False)
    how = form(as_json, as_markdown)
    if how is Form.TEXT:
        typer.echo(f"{format_bytes(ledger['bytes'].sum())} wasted in {len(ledger)} file copies of {loaded.reference}\n")
    print_frames({"waste": ledger.drop(columns="reference")}, how, rows=rows)


@app.command()
def advise(
    image: Image,
    digests: Annotated[bool, typer.Option("--digests", help="Compare contents too.")] = False,
    accepted: Annotated[Path | None, typer.Option(help="A TOML file of accepted findings.")] = None,
    rows: Rows = 20,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Say what could be left out, and what to write instead."""
    advice = il.advise(image, digests=digests, accepted=accepted)
    columns = ["rule", "what", "confidence", "layer_index", "instruction", "from_base", "suggestion", "accepted"]
    how = form(as_json, as_markdown)
    print_frames({"advice": advice}, how, rows=rows, columns={"advice": columns})
    if how is not Form.JSON:
        shares = (advice[~advice["accepted"]], advice[advice["accepted"]])
        still_open, apart = (f"{len(share)} ({format_bytes(share['bytes'].sum())})" for share in shares)
        typer.echo(f"findings open: {still_open}; accepted: {apart}")


@app.command()
def compare(
    before: Image,
    after: Image,
    digests: Annotated[bool, typer.Option("--digests", help="Compare contents, not only sizes.")] = False,
    rows: Rows = 20,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Compare two images: layers that they share, files that changed."""
    loaded = [il.load_image(before), il.load_image(after)]
    sharing = il.compare_layers(loaded)
    changes = il.compare_files(*loaded, digests=digests)
    how = form(as_json, as_markdown)
    if how is not Form.JSON:
        changes = changes[["change", "why", "path", "delta", "instruction_after"]].rename(
            columns={"delta": "delta_bytes"}
        )
    print_frames({"layers": sharing, "files": changes}, how, rows=rows)


@app.command()
def check(
    image: Image,
    max_size: Annotated[str | None, typer.Option(help="Stored bytes, such as 200MB.")] = None,
    max_layers: Annotated[int | None, typer.Option(help="Number of layers.")] = None,
    min_efficiency: Annotated[float | None, typer.Option(help="Visible ÷ stored, 0 to 1.")] = None,
    max_wasted: Annotated[str | None, typer.Option(help="Wasted bytes, such as 10MB.")] = None,
    against: Annotated[str | None, typer.Option(help="An earlier build: an image or a snapshot.")] = None,
    max_growth: Annotated[str | None, typer.Option(help="Growth since then, such as 5MB.")] = None,
    dive_ci: Annotated[Path | None, typer.Option(help="A .dive-ci file: dive's rules on dive's numbers.")] = None,
    scan: Annotated[list[Path] | None, typer.Option(help="A scanner's report, for --fail-on; may be repeated.")] = None,
    fail_on: Annotated[
        str | None, typer.Option(help="No finding of this severity or worse: low, medium, high …")
    ] = None,
    only_fixed: Annotated[bool, typer.Option("--only-fixed", help="Of those, count what an update would fix.")] = False,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Hold an image against limits: a line for each, exit code 1 where one does not hold."""
    result = il.check_limits(
        image,
        max_size=max_size,
        max_layers=max_layers,
        min_efficiency=min_efficiency,
        max_wasted=max_wasted,
        against=against,
        max_growth=max_growth,
        dive_ci=dive_ci,
        scan=il.read_scan(scan) if scan else None,
        fail_on=fail_on,
        only_fixed=only_fixed,
    )
    how = form(as_json, as_markdown)
    if how is Form.TEXT:
        for row in result.itertuples():
            typer.echo(f"{'ok  ' if row.passed else 'FAIL'}  {row.message}")
    else:
        print_frames({"check": result}, how, columns={"check": ["rule", "passed", "message"]})
    if not result["passed"].all():
        raise typer.Exit(1)


@app.command()
def snapshot(
    image: Image,
    output: Annotated[Path, typer.Option("-o", "--output", help="The Parquet file to write.")],
    digests: Annotated[bool, typer.Option("--digests", help="Also hash the files' contents.")] = False,
) -> None:
    """Take a snapshot: an image's facts and file listing in one Parquet file."""
    path = il.save_snapshot(image, output, digests=digests)
    typer.echo(f"{path}: {format_bytes(path.stat().st_size)}")


cache_app = typer.Typer(help="The cache of layer listings.", no_args_is_help=True)
app.add_typer(cache_app, name="cache")


@cache_app.command("info")
def info(as_json: Json = False) -> None:
    """Show where the cache is and how much it holds."""
    folder, entries, size = cache_info()
    place = str(folder or "(turned off)")
    if as_json:
        facts = pd.DataFrame([{"folder": place, "entries": entries, "size": size}])
        print_frames({"cache": facts}, Form.JSON)
    else:
        typer.echo(f"folder: {place}\nentries: {entries}\nsize: {format_bytes(size)}")


@cache_app.command("clear")
def clear() -> None:
    """Forget every listing."""
    typer.echo(f"{clear_cache()} entries forgotten")
