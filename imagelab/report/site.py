"""Sites: several pages and the index that leads to them, of a folder of snapshots or of notebooks."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import partial
from html import unescape
from itertools import pairwise
from pathlib import Path
from typing import Any

import imagelab
from imagelab.core.errors import ImagelabError
from imagelab.core.frames import format_bytes
from imagelab.core.model import Image
from imagelab.core.references import repository_and_tag
from imagelab.core.text import clean
from imagelab.images.load import load_image
from imagelab.images.tables.layers import layers
from imagelab.report.page import ASSETS, headings, index_html, write_page, write_shared
from imagelab.report.run import find_notebook, first_heading, make_job, read_notebook, run_jobs, short_name
from imagelab.report.thumbnail import thumbnail
from imagelab.size.limits import check_limits
from imagelab.size.waste import efficiency
from imagelab.widgets.view import module_html, view_html

# Files beside a snapshot NAME.parquet: a scanner's report NAME.trivy.json, NAME.sarif; a build log NAME.log.
SCANS = (".json", ".json.gz", ".sarif")
LOGS = (".log", ".log.gz", ".rawjson", ".rawjson.gz")
#: Name, kind and style of the columns of a folder's index; a narrow page has room for the first ones.
COLUMNS = (
    ("image", "link", "long"),
    ("size", "bytes", "right"),
    ("change", "change", "right"),
    ("limits", "text", "short"),
    ("wasted", "bytes", "right"),
    ("builds", "spark", "short"),
    ("layers", "number", "right"),
    ("snapshot", "text", "short"),
)


def report_site(folder: str | os.PathLike[str], output: str | os.PathLike[str]) -> Path:
    """Write a report for each snapshot of a folder, trends, and an ``index.html`` that leads to them.

    Snapshots of one repository (of one tag, where a tag was recorded twice) are builds of one image. They get a page of
    size, waste, layers and findings by build, in the order in which they were built. Findings come from a scanner's
    report beside the snapshot (of ``app.parquet``: ``app.json``, ``app.trivy.json`` …), the seconds of the build from
    a log beside it (``app.log``, ``app.rawjson`` …). A ``.dive-ci`` file in the folder sets limits, and the index marks
    images that exceed one.

    Parameters
    ----------
    folder : path
        Contains ``*.parquet`` that `imagelab.save_snapshot` wrote.
    output : path
        A folder. The pages open with no network and share plotly's code in ``assets/``.

    Returns
    -------
    pathlib.Path
        The index.

    Raises
    ------
    ImagelabError
        There is no snapshot, one cannot be read, or the output is a file.
    """
    folder, output = Path(folder).resolve(), Path(output)
    paths = sorted(folder.glob("*.parquet"))
    if not paths:
        raise ImagelabError(f"{folder} has no *.parquet; make snapshots with `imagelab snapshot IMAGE -o NAME.parquet`")
    if output.exists() and not output.is_dir():
        raise ImagelabError(f"{output} is a file; the reports of a folder are several pages: give a folder with -o")
    images = {path: load_image(f"snapshot:{path}") for path in paths}  # fails before the long work
    trends = builds_of_one_image(images)
    jobs, cards = [], []
    options = {"home": "../index.html", "shared": f"../{ASSETS}"}
    new_job = partial(make_job, folder=Path.cwd(), options=options)
    for place, (name, members) in enumerate(trends.items(), 1):
        file = f"trends/{place}-{re.sub(r'[^A-Za-z0-9.]+', '-', name).strip('-')}.html"
        scans = {f"snapshot:{path}": str(scan) for path in members if (scan := beside(path, SCANS))}
        given: dict[str, Any] = {"references": [f"snapshot:{path}" for path in members], "scans": scans}
        jobs.append(new_job("trend_report", given, output / file, title=f"{name} over time"))
        sizes = " → ".join(format_bytes(size) for at in (0, -1) if (size := _size(images[members[at]])) is not None)
        cards.append({"file": file, "title": f"{name} over time", "summary": f"{len(members)} builds: {sizes}"})
    earlier = {path: before for members in trends.values() for before, path in pairwise(members)}
    for path, image in images.items():
        reference, before = f"snapshot:{path}", earlier.get(path)
        given = {"references": [reference], "before": {reference: f"snapshot:{before}"} if before else {}}
        near = [other for other in (path, before) if other]
        for what, endings in (("scans", SCANS), ("logs", LOGS)):
            given[what] = {f"snapshot:{other}": str(found) for other in near if (found := beside(other, endings))}
        jobs.append(new_job("image_report", given, output / _page(path), title=recorded_name(image)))
    write_shared(output)
    run_jobs(jobs, "reports", "page")
    for card in cards:
        card["picture"] = thumbnail((output / card["file"]).read_text(encoding="utf-8"))
    groups: list[dict[str, Any]] = [{"heading": "Images", "html": _table(images, trends, folder / ".dive-ci")}]
    groups += [{"heading": "Over time", "cards": cards}] if cards else []
    write_page(output / "index.html", index_html(f"Images of {folder.name}", groups))
    return output / "index.html"


def _page(snapshot: Path) -> str:
    return f"images/{snapshot.stem}.html"


def _table(images: Mapping[Path, Image], trends: Mapping[str, list[Path]], limits: Path) -> str:
    """Return a table of the images: their page, size and waste, the change since the build before, exceeded limits."""
    sizes = {path: _size(image) for path, image in images.items()}
    series = {path: members[: place + 1] for members in trends.values() for place, path in enumerate(members)}
    rows: list[list[Any]] = []
    marks: dict[str, list[str]] = {}
    for path in dict.fromkeys([*series, *images]):  # builds of one image in their order
        image = images[path]
        measured = efficiency(image).iloc[0] if image.listed else None
        history = [sizes[build] for build in series.get(path, [path])]
        known = [size for size in history[-2:] if size is not None]
        change = known[1] - known[0] if len(known) == 2 else None
        checked = check_limits(image, dive_ci=limits) if image.listed and limits.is_file() else None
        exceeded = None if checked is None else ", ".join(checked.loc[~checked["passed"], "rule"])
        marks |= {exceeded: ["#a3161b", "#ffffff"]} if exceeded else {}
        rows.append([[recorded_name(image), _page(path)], sizes[path], change, exceeded,
                     int(measured["wasted"]) if measured is not None else None,
                     [size or 0 for size in history] if len(history) > 1 else None, len(image.layers), path.stem])  # fmt: skip
    described: list[dict[str, Any]] = [{"name": name, "kind": kind, "style": style} for name, kind, style in COLUMNS]
    next(column for column in described if column["name"] == "limits")["marks"] = marks
    data = {"caption": "", "page": 50, "columns": described, "rows": rows}
    return view_html("table", data).removesuffix(module_html())  # the page has the module


def render_all(notebooks: Iterable[str | Path], folder: str | Path) -> Path:
    """Render each notebook with its defaults into ``folder``, and an ``index.html`` with lessons apart from reports."""
    paths, folder = [find_notebook(notebook) for notebook in notebooks], Path(folder)
    jobs, groups = [], {"Lessons": [], "Reports": []}  # type: ignore[var-annotated]
    for path in paths:
        lesson = path.parent.name != "reports"
        options = {"home": "index.html", "shared": ASSETS, "show_code": lesson}  # a lesson is read with its code
        jobs.append(make_job(path, {}, folder / f"{path.stem}.html", options=options))
        book = read_notebook(path)
        text = next((cell["source"] for cell in book["cells"] if cell["cell_type"] == "markdown"), "")
        sentences = [
            line for line in text.splitlines() if line and not line.startswith(("#", "-", "*", "|", ">", "```"))
        ]
        summary = re.sub(r"[*`_]|\[([^]]*)\]\([^)]*\)", r"\1", " ".join(sentences[:2]))
        card = {"file": f"{path.stem}.html", "title": first_heading(book) or path.stem, "summary": summary}
        groups["Lessons" if lesson else "Reports"].append(card)
    write_shared(folder)
    run_jobs(jobs, "notebooks", "page")
    for card in (card for cards in groups.values() for card in cards):
        card["picture"] = thumbnail((folder / card["file"]).read_text(encoding="utf-8"))
    shown = [{"heading": heading, "cards": cards} for heading, cards in groups.items() if cards]
    search = view_html("search", {"entries": _searched(paths, folder)}).removesuffix(module_html())
    write_page(folder / "index.html", index_html("imagelab: lessons and reports", shown, search))
    return folder / "index.html"


def _searched(paths: Iterable[Path], folder: Path) -> list[list[str]]:
    """Return what a site's search finds, as [words, address, description, text]: sections, and the API where a page
    first uses it."""
    sections: list[list[str]] = []
    used: dict[str, list[str]] = {}
    for path in paths:
        book = read_notebook(path)
        title, page = first_heading(book) or path.stem, f"{path.stem}.html"
        html = (folder / page).read_text(encoding="utf-8")
        _, _, opening = book["cells"][0]["source"].partition("\n")
        sections.append([title, page, "Lesson" if path.parent.name != "reports" else "Report", opening.strip()])
        sections += [
            [unescape(words), f"{page}#{anchor}", title, unescape(text)] for anchor, words, text in headings(html)
        ]
        for cell in book["cells"]:
            for name in re.findall(r"\bil\.(\w+)\(", cell["source"]):
                doc = (getattr(imagelab, name, None).__doc__ or "").strip().partition("\n")[0]
                used.setdefault(name, [f"il.{name}", page, f"{doc} ({title})", ""])
    return [*sections, *(used[name] for name in sorted(used))]


def builds_of_one_image(images: dict[Path, Image]) -> dict[str, list[Path]]:
    """Return the names that several snapshots have, each with its snapshots from the first built to the last."""
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
    """Return the file beside a snapshot that has its name and one of these endings."""
    near = (other for other in path.parent.iterdir() if other.name.startswith(f"{path.stem}."))
    return next(iter(sorted(other for other in near if other.name.endswith(endings))), None)


def recorded_name(image: Image) -> str:
    """Return the name of a snapshot's image: a tag, else the reference that was recorded, without folders."""
    if image.provenance.get("recorded_from") not in ("docker-daemon", "docker") and image.tags:
        return clean(image.tags[0], 80)
    return clean(short_name(image.provenance.get("recorded_as") or image.reference), 80)


def _built(image: Image) -> str:
    """Return when an image was built, in RFC 3339, which sorts as text; empty where unknown."""
    times: Iterable[Any] = (image.config.get("created"), *(entry.created for entry in reversed(image.history)))
    return next((time for time in times if isinstance(time, str) and time), "")


def _size(image: Image) -> int | None:
    """Return the first of size and content_size that is known for every layer."""
    frame = layers(image)
    known = [name for name in ("size", "content_size") if frame[name].notna().all()]
    return int(frame[known[0]].sum()) if known else None
