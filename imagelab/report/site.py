"""Several pages and the index that leads to them: of a folder of snapshots, with pages over time, and of notebooks."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from imagelab.core.errors import ImagelabError
from imagelab.core.frames import format_bytes
from imagelab.core.model import Image
from imagelab.core.references import repository_and_tag
from imagelab.core.text import clean
from imagelab.images.load import load_image
from imagelab.images.tables.layers import layers
from imagelab.report.run import TEMPLATE, find_notebook, heading, render, stamp, write_page
from imagelab.size.waste import efficiency

# What lies beside a snapshot NAME.parquet: a scanner's report NAME.trivy.json, NAME.sarif; a build's log NAME.log.
SCANS = (".json", ".json.gz", ".sarif")
LOGS = (".log", ".log.gz", ".rawjson", ".rawjson.gz")


def report_site(folder: str | os.PathLike[str], output: str | os.PathLike[str]) -> Path:
    """Write a report for each snapshot of a folder, trends, and an ``index.html`` that leads to them.

    Snapshots of one repository (of one of its tags, where a tag was recorded twice) are builds of one image: they
    have a page of size, waste, layers and findings by build, in the order in which they were built. Findings are
    those of a scanner's report beside the snapshot: of ``app.parquet`` in ``app.json``, ``app.trivy.json`` …; the build's
    seconds those of a log beside it: ``app.log``, ``app.rawjson`` …

    Parameters
    ----------
    folder : path
        Holds ``*.parquet`` that `imagelab.save_snapshot` wrote.
    output : path
        A folder. Each page in it is one file that opens with no network.

    Returns
    -------
    pathlib.Path
        The index.

    Raises
    ------
    ImagelabError
        No snapshot there, one that cannot be read, or an output that is a file.
    """
    folder, output = Path(folder).resolve(), Path(output)
    paths = sorted(folder.glob("*.parquet"))
    if not paths:
        raise ImagelabError(
            f"{folder} holds no *.parquet: make snapshots with `imagelab snapshot IMAGE -o NAME.parquet`"
        )
    if output.exists() and not output.is_dir():
        raise ImagelabError(f"{output} is a file; a folder's reports are several: give a folder with -o")
    images = {path: load_image(f"snapshot:{path}") for path in paths}  # a bad one is told before the long work
    trends = builds_of_one_image(images)
    pages = []
    with tqdm(total=len(images) + len(trends), desc="reports", unit="page") as bar:
        for place, (name, members) in enumerate(trends.items(), 1):
            title, file = f"{name} over time", f"trends/{place}-{re.sub(r'[^A-Za-z0-9.]+', '-', name).strip('-')}.html"
            scans = {f"snapshot:{path}": str(scan) for path in members if (scan := beside(path, SCANS))}
            given: dict[str, Any] = {"references": [f"snapshot:{path}" for path in members], "scans": scans}
            _page("trend_report", given, output / file, title)
            pages.append({"file": file, "title": title, "summary": f"{len(members)} builds"})
            bar.update()
        for path, image in images.items():
            title, file = recorded_name(image), f"images/{path.stem}.html"
            near = {"scans": beside(path, SCANS), "logs": beside(path, LOGS)}
            given = {what: {f"snapshot:{path}": str(other)} for what, other in near.items() if other}
            _page("image_report", {"references": [f"snapshot:{path}"], **given}, output / file, title)
            pages.append({"file": file, "title": title, "summary": f"{path.stem}: {_summary(image)}"})
            bar.update()
    write_index(output / "index.html", f"Images of {folder.name}", pages)
    return output / "index.html"


def render_all(notebooks: Iterable[str | Path], folder: str | Path) -> Path:
    """Render each notebook with its own defaults into ``folder``, and an ``index.html`` that lists them."""
    import nbformat

    paths = [find_notebook(notebook) for notebook in notebooks]
    folder = Path(folder)
    pages = []
    for path in tqdm(paths, desc="notebooks", unit="page"):
        render(path, {}, folder / f"{path.stem}.html", progress=False, home="index.html")
        book = nbformat.read(path, as_version=4)
        text = next((cell.source for cell in book.cells if cell.cell_type == "markdown"), "")
        sentences = [
            line for line in text.splitlines() if line and not line.startswith(("#", "-", "*", "|", ">", "```"))
        ]
        summary = re.sub(r"[*`_]|\[([^]]*)\]\([^)]*\)", r"\1", " ".join(sentences[:2]))
        pages.append({"file": f"{path.stem}.html", "title": heading(book) or path.stem, "summary": summary})
    write_index(folder / "index.html", "imagelab reports", pages)
    return folder / "index.html"


def write_index(path: Path, title: str, pages: Sequence[Mapping[str, str]]) -> None:
    """Write a page that leads to others: ``file``, ``title`` and ``summary`` of each."""
    from jinja2 import Template

    source = (TEMPLATE / "overview.html.j2").read_text(encoding="utf-8")
    style = (TEMPLATE / "report.css").read_text(encoding="utf-8")
    write_page(path, Template(source).render(title=title, pages=pages, style=style, **stamp()))


def builds_of_one_image(images: dict[Path, Image]) -> dict[str, list[Path]]:
    """Names that several snapshots bear, each with its snapshots from the first built to the last."""
    repositories: dict[tuple[str, str], dict[str, list[Path]]] = {}
    for path, image in images.items():
        repository, tag = repository_and_tag(recorded_name(image).partition(" (")[0])
        repositories.setdefault((repository, image.platform or ""), {}).setdefault(tag or "", []).append(path)
    found: dict[str, list[Path]] = {}
    for (repository, platform), tags in repositories.items():
        again = {f"{repository}:{tag}": paths for tag, paths in tags.items() if len(paths) > 1}
        for name, members in (again or {repository: [path for paths in tags.values() for path in paths]}).items():
            if len(members) > 1:
                label = f"{name} {platform}" if name in found else name
                found[label] = sorted(members, key=lambda path: (_built(images[path]), path.name))
    return found


def beside(path: Path, endings: tuple[str, ...]) -> Path | None:
    """The file of the same name that lies beside a snapshot and ends so."""
    near = (other for other in path.parent.iterdir() if other.name.startswith(f"{path.stem}."))
    return next(iter(sorted(other for other in near if other.name.endswith(endings))), None)


def recorded_name(image: Image) -> str:
    """The name under which a snapshot's image was known: a tag, else as it was asked for."""
    if image.provenance.get("recorded_from") not in ("docker-daemon", "docker") and image.tags:
        return clean(image.tags[0], 80)
    return clean(image.provenance.get("recorded_as") or image.reference, 80)


def _built(image: Image) -> str:
    """When it was built, in RFC 3339, which sorts as text; empty where that is unknown."""
    times: Iterable[Any] = (image.config.get("created"), *(entry.created for entry in reversed(image.history)))
    return next((time for time in times if isinstance(time, str) and time), "")


def _summary(image: Image) -> str:
    layer_rows = layers(image)
    size = layer_rows["size"].sum(min_count=1)
    if layer_rows["size"].isna().any():
        return f"{format_bytes(layer_rows['content_size'].sum(min_count=1))} compressed in {len(layer_rows)} layers"
    wasted = efficiency(image)["wasted"].iloc[0]
    return f"{format_bytes(size)} in {len(layer_rows)} layers, {format_bytes(wasted)} of it wasted"


def _page(notebook: str, parameters: dict[str, Any], output: Path, title: str) -> None:
    render(notebook, parameters, output, title=title, progress=False, folder=Path.cwd(), home="../index.html")
