"""Verbs on images: images, show, waste, advise, compare, check, snapshot, cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import imagelab as il
from imagelab.cli.app import PANELS, app
from imagelab.cli.output import Answer, with_arguments
from imagelab.cli.verb import Platform, verb
from imagelab.core.errors import ImagelabError

Image = Annotated[
    str,
    typer.Argument(
        help="A name in the engine, a path, or TRANSPORT:…; example:NAME for an image of the embedded data."
    ),
]


@verb()
def images() -> Answer:
    """List the engine's images."""
    return Answer({"images": il.list_images()})


@verb()
def show(image: Image, platform: Platform = None) -> Answer:
    """Show an image: how big it is, how efficient, and what each step added."""
    import pandas as pd

    from imagelab.core.frames import format_bytes

    loaded = il.load_image(image, platform=platform)
    names = ["reference", "platform", "image_id", "manifest_digest"]
    identity = pd.DataFrame({"fact": names, "value": [getattr(loaded, name) for name in names]})
    efficiency, history = il.efficiency(loaded), il.history(loaded)
    total = efficiency.iloc[0]
    stored, visible, wasted = (format_bytes(total[name]) for name in ("stored", "visible", "wasted"))
    sizes = [name for name in ("size", "content_size", "disk_usage") if history[name].fillna(0).any()]
    named = history.assign(arguments=history["arguments"].where(history["instruction"].notna(), history["comment"]))
    return Answer(
        {"image": identity, "efficiency": efficiency, "history": history},
        shown={"image": identity, "history": with_arguments(named[["step", *sizes, "instruction", "arguments"]])},
        summary=f"{stored} stored, {visible} visible, {wasted} wasted: efficiency {total['efficiency']:.4f}",
        hint=f"imagelab advise {image}",
    )


@verb(rows=20)
def waste(
    image: Image,
    digests: Annotated[
        bool, typer.Option("--digests", help="Compare contents: tell rewritten files from changed ones.")
    ] = False,
    platform: Platform = None,
) -> Answer:
    """List the wasted bytes: files that are stored and hidden, with the instructions that did it."""
    from imagelab.core.frames import format_bytes

    loaded = il.load_image(image, platform=platform)
    ledger = il.waste(loaded, digests="copies" if digests else False).drop(columns="reference")
    groups = ledger.groupby(["reason", "instruction", "removed_instruction"], observed=True, dropna=False, sort=False)
    sums = groups["bytes"].agg(bytes="sum", files="size").reset_index().sort_values("bytes", ascending=False)
    copies = "file copy" if len(ledger) == 1 else "file copies"
    return Answer(
        {"waste": ledger},
        shown={
            "by instruction": sums[["bytes", "files", "reason", "instruction", "removed_instruction"]],
            "files": ledger[["bytes", "reason", "layer_index", "path"]],
        },
        summary=f"{format_bytes(ledger['bytes'].sum())} wasted in {len(ledger):,} {copies} of {loaded.reference}",
        hint=f"imagelab advise {image}",
    )


@verb(rows=20)
def advise(
    image: Image,
    digests: Annotated[bool, typer.Option("--digests", help="Compare contents too.")] = False,
    accepted: Annotated[Path | None, typer.Option(help="A TOML file of accepted findings.")] = None,
    platform: Platform = None,
) -> Answer:
    """List what can be left out of an image, and what to write instead."""
    from imagelab.core.frames import format_bytes

    advice = il.advise(il.load_image(image, platform=platform), digests=digests, accepted=accepted)
    parts = (advice[~advice["accepted"]], advice[advice["accepted"]])
    still_open, set_apart = (f"{len(part)} ({format_bytes(part['bytes'].sum())})" for part in parts)
    columns = ["bytes", "what", "confidence", "rule", "instruction", "suggestion", "accepted_reason"]
    return Answer(
        {"advice": advice},
        shown={"advice": advice[columns]},
        summary=f"findings open: {still_open}; accepted: {set_apart}",
        prose=["instruction", "suggestion", "accepted_reason"],
        hint=f"imagelab report {image} -o report.html",
    )


@verb(rows=20)
def compare(
    before: Image,
    after: Image,
    digests: Annotated[bool, typer.Option("--digests", help="Compare contents, not only sizes.")] = False,
    platform: Platform = None,
) -> Answer:
    """Compare two images: the layers they share, the files that changed."""
    from imagelab.core.frames import format_bytes

    loaded = [il.load_image(reference, platform=platform) for reference in (before, after)]
    sharing = il.compare_layers(loaded)
    changes = il.compare_files(*loaded, digests=digests)
    delta, pair = changes["delta"].sum(), sharing.iloc[1]
    sums = il.sum_changes(changes, "instruction").rename(columns={"group": "instruction"})
    between = ["reference", "other", "shared", "pull", "unique", "total", "shared_layers", "layers", "measure"]
    return Answer(
        {"layers": sharing, "files": changes},
        shown={
            "layers": sharing.loc[sharing["reference"] != sharing["other"], between],
            "by instruction": sums[["delta", "paths", "added", "removed", "instruction"]],
            "files": changes[["delta", "change", "path", "why", "instruction_after"]],
        },
        summary=f"{'+' if delta > 0 else ''}{format_bytes(delta)} in {len(changes):,} changed paths; "
        f"{pair['shared_layers']} of {pair['layers']} layers shared",
        hint=f"imagelab report {before} {after} -o report.html",
    )


@verb()
def check(
    image: Image,
    max_size: Annotated[str | None, typer.Option(help="Stored bytes, such as 200MB.")] = None,
    max_layers: Annotated[int | None, typer.Option(help="Number of layers.")] = None,
    min_efficiency: Annotated[float | None, typer.Option(help="Visible ÷ stored bytes, 0 to 1.")] = None,
    max_wasted: Annotated[str | None, typer.Option(help="Wasted bytes, such as 10MB.")] = None,
    against: Annotated[str | None, typer.Option(help="An earlier build: an image or a snapshot.")] = None,
    max_growth: Annotated[str | None, typer.Option(help="Growth since the earlier build, such as 5MB.")] = None,
    dive_ci: Annotated[Path | None, typer.Option(help="A .dive-ci file: dive's rules on dive's numbers.")] = None,
    scan: Annotated[list[Path] | None, typer.Option(help="A scanner's report, for --fail-on; may be repeated.")] = None,
    fail_on: Annotated[
        str | None, typer.Option(help="Allow no finding of this severity or worse: low, medium, high …")
    ] = None,
    only_fixed: Annotated[bool, typer.Option("--only-fixed", help="Count only findings that an update fixes.")] = False,
    known_exploited: Annotated[
        bool, typer.Option("--known-exploited", help="Count only findings known to be exploited.")
    ] = False,
    epss: Annotated[float | None, typer.Option(help="Count only findings with at least this EPSS, 0 to 1.")] = None,
    own: Annotated[bool, typer.Option("--own", help="Leave out findings of the base image.")] = False,
    base: Annotated[str | None, typer.Option(metavar="REF", help="The base image, for --own.")] = None,
    ignore: Annotated[Path | None, typer.Option(help="VEX document, .trivyignore or accepted findings (TOML).")] = None,
    platform: Platform = None,
) -> Answer:
    """Check an image against limits: one line for each, exit code 1 if one is exceeded."""
    result = il.check_limits(
        il.load_image(image, platform=platform),
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
        known_exploited=known_exploited,
        epss=epss,
        own=own,
        base=base,
        ignore=ignore,
    )
    shown = result[["message"]].copy()
    shown.insert(0, "result", result["passed"].map({True: "ok", False: "FAIL"}))
    return Answer({"check": result}, shown={"check": shown}, failed=bool((~result["passed"]).any()))


@verb()
def snapshot(
    image: Image,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The Parquet file to write.")] = None,
    push: Annotated[str | None, typer.Option(help="Store it in a registry: docker://HOST/REPOSITORY:TAG.")] = None,
    digests: Annotated[bool, typer.Option("--digests", help="Also hash the files' contents.")] = False,
    platform: Platform = None,
) -> Answer:
    """Take a snapshot: save an image's config and file listing in one Parquet file, or in a registry as an OCI artifact."""
    import pandas as pd

    if output is None and push is None:
        raise ImagelabError("snapshot needs a place: -o FILE.parquet, or --push docker://HOST/REPOSITORY:TAG.")
    loaded, rows = il.load_image(image, platform=platform), []
    if output is not None:
        path = il.save_snapshot(loaded, output, digests=digests)
        rows.append({"path": str(path), "size": path.stat().st_size})
    if push is not None:
        rows.append({"path": il.push_snapshot(loaded, push, digests=digests)})
    return Answer({"snapshot": pd.DataFrame(rows)})


cache_app = typer.Typer(help="Inspect or clear the cache of layer listings.", no_args_is_help=True)
app.add_typer(cache_app, name="cache", rich_help_panel=PANELS["images"])


@verb(group=cache_app)
def info() -> Answer:
    """Show where the cache is and how large it is."""
    import pandas as pd

    from imagelab.images.layers.cache import cache_info

    folder, entries, size = cache_info()
    return Answer(
        {"cache": pd.DataFrame([{"folder": str(folder or "(turned off)"), "entries": entries, "size": size}])}
    )


@cache_app.command()
def clear() -> None:
    """Delete every listing."""
    from imagelab.images.layers.cache import clear_cache

    typer.echo(f"{clear_cache()} entries deleted")
