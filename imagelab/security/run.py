"""Run a scanner from the PATH and read its report."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from imagelab.core.errors import ImagelabError, ScanFormatError
from imagelab.core.model import Image
from imagelab.core.references import parse_reference
from imagelab.security.scans.reader import make_scan, parse_report


class Tool(NamedTuple):
    """A scanner of ``tools.toml``."""

    command: list[str]
    targets: dict[str, str]
    get: str


TOOLS = {
    name: Tool(**tool)
    for name, tool in tomllib.loads(Path(__file__).with_name("tools.toml").read_text("utf-8")).items()
}


def run_scan(image: Image | str | os.PathLike[str], tool: str, *options: str, timeout: float = 1800) -> pd.DataFrame:
    """Scan an image (with hadolint, a Dockerfile) and read the report.

    Parameters
    ----------
    image : Image, reference or path
        References are those of `load_image`.
    tool : str
        One of ``TOOLS``: trivy, syft, grype, scout, hadolint.
    *options : str
        Options of the tool itself, such as ``"--scanners", "secret,license"``.
    timeout : float
        Seconds.

    Returns
    -------
    pandas.DataFrame
        As from `read_scan`.

    Raises
    ------
    ImagelabError
        The tool is unknown, not on the PATH (the message says where to get it), or fails (with its error output).
    ScanFormatError
        Its output is not a report.
    """
    if tool not in TOOLS:
        raise ImagelabError(
            f"unknown tool {tool!r}; expected one of {', '.join(TOOLS)}. il.read_scan reads other scanners' reports."
        )
    called = TOOLS[tool]
    if shutil.which(called.command[0]) is None:
        raise ImagelabError(
            f"{called.command[0]} is not on the PATH. Get it: {called.get}. Or read an existing report with il.read_scan."
        )
    reference = image.reference if isinstance(image, Image) else os.fspath(image)
    transport, rest = _target(reference, called)
    arguments = [*called.command, *options, *(word.format(rest) for word in called.targets[transport].split())]
    output = run_command(arguments, f"{tool} {rest}", timeout)
    return make_scan([(f"{tool} {reference}", parse_report(output, " ".join(arguments)))])


def _target(reference: str, tool: Tool) -> tuple[str, str]:
    if "file" in tool.targets:
        return "file", reference
    parsed = parse_reference(reference)
    rest = str(parsed.path or parsed.name)
    transport = parsed.transport
    if transport is None:
        transport = "docker-daemon" if parsed.path is None else "oci" if os.path.isdir(rest) else "docker-archive"
    if transport not in tool.targets:
        raise ScanFormatError(f"{tool.command[0]} cannot read {transport}:; expected one of {', '.join(tool.targets)}.")
    if rest.startswith("-"):
        raise ScanFormatError(f"{rest!r} is not an image: a name cannot begin with a dash.")
    return transport, rest


def run_command(arguments: Sequence[str], what: str, timeout: float) -> bytes:
    """Return a command's output, and show the elapsed time; its failure is an ImagelabError with its error output."""
    from tqdm.auto import tqdm  # slow to import: only when it is shown

    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:  # files: a report can be large
        with (
            subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=err) as process,
            tqdm(desc=what, bar_format="{desc}: {elapsed}", delay=1, leave=False) as bar,
        ):
            started = time.monotonic()
            try:
                while process.poll() is None:
                    if time.monotonic() - started > timeout:
                        raise ImagelabError(
                            f"{' '.join(arguments)} ran for more than {timeout:.0f} s and was stopped. Raise timeout."
                        )
                    time.sleep(0.1)
                    bar.update(0)
            finally:  # also if a notebook cell is interrupted
                process.kill()
        out.seek(0)
        err.seek(0)
        if process.returncode:
            message = err.read().decode("utf-8", "replace").strip()[-1500:]
            raise ImagelabError(f"{' '.join(arguments)} failed with exit code {process.returncode}:\n{message}")
        return out.read()
