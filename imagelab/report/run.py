"""A notebook and its parameters → one self-contained HTML file that opens with no network."""

from __future__ import annotations

import importlib.metadata
import keyword
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from imagelab.core.atomic import write_atomically
from imagelab.core.errors import ImagelabError
from imagelab.core.model import Image
from imagelab.core.resources import notebook_paths
from imagelab.core.text import clean
from imagelab.widgets.display import begin_report, bundle

TEMPLATE = Path(__file__).with_name("template")
IMAGES_MIME = "application/vnd.imagelab.images+json"
# What a page shows of an output, best first. Live views and scripts of their own are not among them.
OUTPUTS = ("text/html", "image/svg+xml", "image/png", "image/jpeg", "text/markdown", "text/plain")


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
        What the notebook's first parameter takes: images, as `imagelab.load_image` takes them, for ``image_report``;
        files for ``build_report`` and ``security_report``. Relative paths start from the current folder.
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
        The file written. On an error there is none, and an older one of that name is untouched.
    """
    references = [references] if isinstance(references, str) else list(references)
    if not references:
        raise ImagelabError(
            "a report needs at least one image or file: a name, an archive, a layout, a snapshot, a log …"
        )
    names = ", ".join(clean(reference, 60) for reference in references[:3])
    title = f"{names} and {len(references) - 3} more" if len(references) > 3 else names
    given = {_first_parameter(notebook): references} | dict(parameters or {})
    return render(notebook, given, output, title=title, show_code=show_code, folder=Path.cwd())


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
    """Run a notebook in a fresh kernel of this Python and write it as one HTML file.

    Parameters
    ----------
    notebook : str or path
        A path, or the name of a notebook of the package.
    parameters : mapping
        Values (literals) for names that the cell tagged ``parameters`` sets.
    output : path
        Written whole or not at all.
    title : str, optional
        Else the notebook's first heading.
    show_code : bool
    progress : bool
        Show a bar of the cells.
    folder : path, optional
        Where the notebook runs; else in its own folder, as in JupyterLab.
    home : str, optional
        The page that this one is listed on, for a link back.

    Raises
    ------
    ImagelabError
        No such notebook, a parameter that it does not have, or a failing cell, with the cell's error.
    """
    import nbformat

    path = find_notebook(notebook)
    try:
        book = nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises its own, jsonschema's, json's and OSError
        raise ImagelabError(f"{path} is not a notebook that can be read: {error}") from error
    _set_parameters(book, parameters, path.name)
    images = _run(book, path.name, folder or path.parent, progress)
    write_page(Path(output), _page(book, title or heading(book) or path.stem, images, show_code, home))
    return Path(output)


def find_notebook(notebook: str | Path) -> Path:
    """A notebook's path from a path or from the name of one in the package or checkout."""
    given = Path(notebook)
    if given.suffix == ".ipynb" and given.is_file():
        return given
    known = {path.stem: path for path in notebook_paths()}
    name = given.name.removesuffix(".ipynb")
    if name not in known:
        raise ImagelabError(
            f"no notebook {str(notebook)!r}: give a path to an .ipynb file, or one of {', '.join(known)}"
        )
    return known[name]


def heading(book: Any) -> str | None:
    """The notebook's first H1."""
    text = "\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    found = re.search(r"^# +(.+?)\s*$", text, flags=re.MULTILINE)
    return found[1] if found else None


def _parameters(source: str) -> list[str]:
    return re.findall(r"^(\w+)\s*(?::[^=]+)?=", source, flags=re.MULTILINE)


def _first_parameter(notebook: str | Path) -> str:
    import nbformat

    cells = nbformat.read(find_notebook(notebook), as_version=4).cells
    tagged = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    return next(iter(_parameters("\n".join(tagged))), "references")


def _set_parameters(book: Any, parameters: Mapping[str, Any], name: str) -> None:
    tagged = [place for place, cell in enumerate(book.cells) if "parameters" in cell.metadata.get("tags", [])]
    if not parameters:
        return
    if len(tagged) != 1:
        raise ImagelabError(f"{name} takes no parameters: it has {len(tagged)} cells tagged 'parameters', expected one")
    cell = book.cells[tagged[0]]
    known = _parameters(cell.source)
    for parameter in parameters:
        if parameter not in known or keyword.iskeyword(parameter):
            raise ImagelabError(f"{name} has no parameter {parameter!r}; it has {', '.join(known)}")
    cell.source += "\n" + "\n".join(f"{parameter} = {value!r}" for parameter, value in parameters.items())


def _run(book: Any, name: str, folder: Path, progress: bool) -> list[dict[str, str]]:
    """Run the cells in place; what images the notebook held."""
    import nbformat
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError
    from traitlets.config import Config

    class ThisPython(AsyncKernelManager):
        """This interpreter, whatever kernels the user has installed."""

        @property
        def kernel_spec(self) -> KernelSpec:
            command = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=command, language="python")

    first = nbformat.v4.new_code_cell("from imagelab.report.run import begin_page\nbegin_page()")
    last = nbformat.v4.new_code_cell("from imagelab.report.run import tell_images\ntell_images(globals())")
    book.cells = [first, *book.cells, last]
    with (
        tempfile.TemporaryDirectory(prefix="imagelab-") as scratch,
        tqdm(total=len(book.cells), desc=name, unit="cell", disable=not progress) as bar,
    ):
        connection = {"connection_file": str(Path(scratch, "kernel.json"))}
        if os.name == "posix":  # a socket file that only this user can open, instead of a port
            connection |= {"transport": "ipc", "ip": str(Path(scratch, "kernel"))}
        client = NotebookClient(
            book,
            kernel_manager_class=ThisPython,
            config=Config({"KernelManager": connection}),
            timeout=None,
            resources={"metadata": {"path": str(folder)}},
            store_widget_state=False,
            on_cell_complete=lambda cell, cell_index: bar.update(),
        )
        try:
            client.execute(env={**os.environ, "IPYTHONDIR": scratch, "PYDEVD_DISABLE_FILE_VALIDATION": "1"})
        except CellExecutionError as error:
            raise ImagelabError(
                f"{name}: a cell failed with {error.ename}: {error.evalue}\n\n{_failed_source(book)}"
            ) from error
        except DeadKernelError as error:
            raise ImagelabError(f"{name}: its kernel died while a cell ran, perhaps for want of memory") from error
    told = book.cells.pop().outputs
    book.cells.pop(0)
    return next((output.data[IMAGES_MIME] for output in told if IMAGES_MIME in output.get("data", {})), [])


def _failed_source(book: Any) -> str:
    failed = (cell for cell in book.cells if any(output.output_type == "error" for output in cell.get("outputs", [])))
    return "\n".join(f"    {line}" for cell in failed for line in cell.source.splitlines())


def begin_page() -> None:
    """In the kernel of a report: charts and tables leave their code to the page, frames are shown as tables."""
    import pandas as pd
    import plotly.io as pio
    from IPython.core.getipython import get_ipython
    from plotly.io.base_renderers import MimetypeRenderer

    from imagelab.charts.theme import figure_html
    from imagelab.widgets.display import show

    class Page(MimetypeRenderer):
        def to_mimebundle(self, fig_dict: dict[str, Any]) -> dict[str, str]:
            return {"text/html": figure_html(fig_dict)}

    pio.renderers["imagelab_page"] = Page()
    pio.renderers.default = "imagelab_page"
    begin_report()
    shell = get_ipython()
    if shell is not None and shell.display_formatter is not None:
        formatter = shell.display_formatter.formatters["text/html"]
        formatter.for_type(
            pd.DataFrame, lambda frame: show(frame.reset_index() if frame.index.name else frame).to_html()
        )


def tell_images(namespace: Mapping[str, Any]) -> None:
    """In the kernel of a report: tell which images the notebook holds, for the page's head."""
    from IPython.display import display

    found: dict[str, Image] = {}
    for value in list(namespace.values()):
        members = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        found.update({member.reference: member for member in members if isinstance(member, Image)})
    told = [
        {
            "reference": clean(image.reference, 120),
            "platform": clean(image.platform or "", 40),
            "digest": clean(image.image_id or image.manifest_digest or image.index_digest or "digest unknown", 80),
        }
        for image in found.values()
    ]
    display({IMAGES_MIME: told}, raw=True)


def _page(book: Any, title: str, images: list[dict[str, str]], show_code: bool, home: str | None) -> str:
    """The executed notebook as HTML."""
    from nbconvert.exporters import HTMLExporter
    from plotly.offline import get_plotlyjs
    from pygments.formatters import HtmlFormatter
    from traitlets.config import Config

    for cell in book.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(
                rf"\A# +{re.escape(heading(book) or '')}\s*$", "", cell.source, count=1, flags=re.MULTILINE
            )
            break
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _belongs(output)]
            for output in cell.outputs:
                if output.output_type == "stream":  # whatever a cell prints of an image
                    output.text = "\n".join(clean(line, 10_000) for line in output.text.split("\n"))
    style = (TEMPLATE / "report.css").read_text(encoding="utf-8")
    if show_code:
        style += (
            HtmlFormatter(style="default").get_style_defs(".highlight")
            + "@media screen and (prefers-color-scheme: dark) {"
        )
        style += (
            HtmlFormatter(style="github-dark").get_style_defs(".highlight")
            + "} .highlight { background: none !important; }"
        )
    exporter = HTMLExporter(
        template_name=TEMPLATE.name,
        extra_template_basedirs=[str(TEMPLATE.parent)],
        exclude_input=not show_code,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        config=Config({"NbConvertBase": {"display_data_priority": list(OUTPUTS)}}),
    )
    page = {
        "title": clean(title, 240),
        "home": home,
        "images": images,
        "plotly": get_plotlyjs().replace("</script", "<\\/script"),
        "tables": bundle(),
        "style": style,
        "script": (TEMPLATE / "report.js").read_text(encoding="utf-8"),
        **stamp(),
    }
    html, _ = exporter.from_notebook_node(book, resources={"imagelab": page})
    sections = re.findall(r'<h2 id="([^"]+)">(.*?)<a class="anchor-link"', html)
    links = "".join(f'<li><a href="#{anchor}">{re.sub("<[^>]+>", "", words)}</a></li>' for anchor, words in sections)
    navigation = f'<nav aria-label="Sections"><ul>{links}</ul></nav>' if len(sections) > 1 else ""
    return html.replace("<!--navigation-->", navigation, 1)


def _belongs(output: Any) -> bool:
    """Whether an output is for readers: no warnings and progress on standard error, no live view without a sibling."""
    if output.output_type == "stream":
        return bool(output.name == "stdout")
    data = output.get("data", {})
    live = "application/vnd.jupyter.widget-view+json" in data
    return any(kind in data for kind in OUTPUTS[: -1 if live else None])


def stamp() -> dict[str, str]:
    """Who made a page, and when."""
    return {"version": importlib.metadata.version("imagelab"), "date": f"{datetime.now(UTC):%-d %B %Y, %H:%M} UTC"}


def write_page(path: Path, html: str) -> None:
    """Write a page whole or not at all."""
    write_atomically(path, lambda file: file.write(html.encode("utf-8", "backslashreplace")))
