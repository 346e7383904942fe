"""A notebook and its parameters as one self-contained HTML file that opens with no network."""

from __future__ import annotations

import json
import keyword
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from imagelab.core.errors import ImagelabError
from imagelab.core.resources import notebook_paths

_FOLDERS = re.compile(r"^(?:(?:docker-archive|oci|oci-archive|snapshot|dir):(?:[^:]*/)?|(?=[/.~])[^:]*/)")


def report(
    references: Sequence[str],
    output: str | Path,
    notebook: str = "image_report",
    show_code: bool = False,
    parameters: Mapping[str, Any] | None = None,
) -> Path:
    """Write a report on images, build logs or scans into one HTML file.

    Parameters
    ----------
    references : sequence of str
        The notebook's first parameter: images as `imagelab.load_image` takes them for ``image_report``, files for
        ``build_report`` and ``security_report``. Relative paths start from the current folder.
    output : path
    notebook : str
        A notebook with a cell tagged ``parameters``: a name in the package or a path.
    show_code : bool
        Show the notebook's code too.
    parameters : mapping, optional
        Values of the notebook's other parameters.

    Returns
    -------
    pathlib.Path
        The file written. After an error, an older file of that name is unchanged.
    """
    references = [references] if isinstance(references, str) else list(references)
    if not references:
        raise ImagelabError("a report needs at least one image or file: a name, archive, layout, snapshot or log")
    names = ", ".join(short_name(reference) for reference in references[:3])
    title = f"{names} and {len(references) - 3} more" if len(references) > 3 else names
    given = {_first_parameter(notebook): references} | dict(parameters or {})
    return render(notebook, given, output, title=title, show_code=show_code, folder=Path.cwd())


def short_name(reference: str) -> str:
    """Return a reference for a title: without ``example:``, and of a path only the file's name.

    >>> short_name("docker-archive:/home/me/v1.tar:app:v1"), short_name("host:5000/team/app:v1")
    ('v1.tar:app:v1', 'host:5000/team/app:v1')
    """
    text = str(reference)
    if Path(text).exists():
        return Path(text).name
    return _FOLDERS.sub("", text.removeprefix("example:"))


def render(
    notebook: str | Path,
    parameters: Mapping[str, Any],
    output: str | Path,
    *,
    title: str | None = None,
    show_code: bool = False,
    progress: bool = True,
    folder: Path | None = None,
    home: str | None = None,
) -> Path:
    """Run a notebook in a process of its own and write it as one HTML file.

    Parameters
    ----------
    notebook : str or path
        A path, or the name of a notebook of the package.
    parameters : mapping
        Values (literals) for names that the cell tagged ``parameters`` sets.
    output : path
        Written atomically.
    title : str, optional
        Default: the notebook's first heading.
    show_code : bool
    progress : bool
        Show a progress bar of the cells.
    folder : path, optional
        Where the notebook runs. Default: its own folder, as in JupyterLab.
    home : str, optional
        The page that lists this one, for a link back.

    Raises
    ------
    ImagelabError
        There is no such notebook, it has no such parameter, or a cell failed; the message has the cell's error.
    """
    job = make_job(
        notebook, parameters, output, title=title, folder=folder, options={"show_code": show_code, "home": home}
    )
    run_jobs([job], job["name"], "cell", progress)
    return Path(output)


def make_job(
    notebook: str | Path,
    parameters: Mapping[str, Any],
    output: str | Path,
    *,
    title: str | None = None,
    folder: Path | None = None,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the job of one page for `run_jobs`; ``options`` are those of `page.page_html`."""
    path = find_notebook(notebook)
    book = read_notebook(path)
    set_parameters(book["cells"], parameters, path.name)
    heading = first_heading(book)
    switcher = book["metadata"].get("imagelab", {}).get("switcher", False)
    return {
        "name": path.name,
        "cells": [cell for cell in book["cells"] if cell["cell_type"] in ("markdown", "code")],
        "title": title or heading or path.stem,
        "output": str(Path(output).absolute()),
        "folder": str(folder or path.parent.absolute()),
        "options": {**options, "heading": heading, "switcher": switcher},
    }


def run_jobs(jobs: Sequence[dict[str, Any]], description: str, unit: str, progress: bool = True) -> None:
    """Make the pages of jobs, as many at once as there are processors. The first error is raised when all have ended."""
    steps = len(jobs) if unit == "page" else sum(len(job["cells"]) for job in jobs)
    jobs = [{**job, "number": number} for number, job in enumerate(jobs)]
    errors: list[str] = []
    counted = "done" if unit == "page" else "cell"
    # a process can make several pages only where it can be forked
    groups = [jobs] if sys.platform == "linux" else [[job] for job in jobs]
    with tqdm(total=steps, desc=description, unit=unit, disable=not progress) as bar:
        for group in groups:
            errors += _run_worker(group, lambda event: event == counted and bar.update())
    if errors:
        raise ImagelabError(errors[0])


def _run_worker(jobs: Sequence[dict[str, Any]], done: Any) -> list[str]:
    """Give jobs to a worker process and return the errors of those that failed."""
    errors, open_jobs = [], {job["number"]: job["name"] for job in jobs}
    with tempfile.TemporaryDirectory(prefix="imagelab-") as scratch, tempfile.TemporaryFile() as log:
        environment = {**os.environ, "IMAGELAB_SCRATCH": scratch}
        command = [sys.executable, "-m", "imagelab.report.worker"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, env=environment) as worker:
            assert worker.stdin and worker.stdout
            worker.stdin.write("".join(f"{json.dumps(job)}\n" for job in jobs).encode())
            worker.stdin.close()
            for line in worker.stdout:
                event = json.loads(line)
                done(event["event"])
                if event["event"] != "cell":
                    open_jobs.pop(event["job"], None)
                if event["event"] == "error":
                    errors.append(event["message"])
        if open_jobs and not errors:
            log.seek(0)
            reason = log.read().decode(errors="replace")[-2000:]
            errors.append(f"{', '.join(open_jobs.values())}: the worker process ended without a page\n{reason}")
    return errors


def find_notebook(notebook: str | Path) -> Path:
    """Return a notebook's path from a path or from the name of one in the package or checkout."""
    given = Path(notebook)
    if given.suffix == ".ipynb" and given.is_file():
        return given
    known = {path.stem: path for path in notebook_paths()}
    name = given.name.removesuffix(".ipynb")
    if name not in known:
        raise ImagelabError(
            f"no notebook {str(notebook)!r}; expected a path to an .ipynb file, or one of {', '.join(known)}"
        )
    return known[name]


def read_notebook(path: Path) -> dict[str, Any]:
    """Read a notebook (nbformat 4) with the source of each cell as one text.

    nbformat itself takes a second to import, and nothing here needs its validation.
    """
    try:
        book = json.loads(path.read_text(encoding="utf-8"))
        for cell in book["cells"]:
            cell["source"] = "".join(cell["source"])
            cell.setdefault("metadata", {})
        book.setdefault("metadata", {})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImagelabError(f"{path} is not a notebook of format 4: {error}") from error
    return dict(book)


def first_heading(book: Mapping[str, Any]) -> str | None:
    """Return the first H1 of a notebook."""
    text = "\n".join(cell["source"] for cell in book["cells"] if cell["cell_type"] == "markdown")
    found = re.search(r"^# +(.+?)\s*$", text, flags=re.MULTILINE)
    return found[1] if found else None


def _tagged(cells: Sequence[Mapping[str, Any]]) -> list[Any]:
    return [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]


def _parameters(source: str) -> list[str]:
    return re.findall(r"^(\w+)\s*(?::[^=]+)?=", source, flags=re.MULTILINE)


def _first_parameter(notebook: str | Path) -> str:
    cells = _tagged(read_notebook(find_notebook(notebook))["cells"])
    return next(iter(_parameters("\n".join(cell["source"] for cell in cells))), "references")


def set_parameters(cells: Sequence[Mapping[str, Any]], parameters: Mapping[str, Any], name: str) -> None:
    """Append assignments of ``parameters`` to the cell tagged ``parameters``."""
    if not parameters:
        return
    tagged = _tagged(cells)
    if len(tagged) != 1:
        raise ImagelabError(f"{name} takes no parameters: it has {len(tagged)} cells tagged 'parameters', expected one")
    known = _parameters(tagged[0]["source"])
    for parameter in parameters:
        if parameter not in known or keyword.iskeyword(parameter):
            raise ImagelabError(f"{name} has no parameter {parameter!r}; it has {', '.join(known)}")
    tagged[0]["source"] += "\n" + "\n".join(f"{parameter} = {value!r}" for parameter, value in parameters.items())
