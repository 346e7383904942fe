"""Build each proposed change of a Dockerfile with Docker's command line, and scan the result again."""

from __future__ import annotations

import re
import shutil
import tempfile
import uuid
from pathlib import Path

import pandas as pd

from imagelab.core.errors import DaemonUnavailable, ImagelabError
from imagelab.core.redact import mask
from imagelab.core.terms import PROVEN
from imagelab.security.compare import compare_scans
from imagelab.security.run import run_command, run_scan


def prove(changes: pd.DataFrame, dockerfile: Path, tool: str) -> pd.DataFrame:
    """Fill ``outcome``, and set ``confidence`` to proven where the second scan confirms a change.

    The Dockerfile is built as it is, and once for each diff, in the folder that it is in; the images are deleted
    afterwards. A change is proven if its build succeeds, at least its number of findings in its packages is gone, and
    no finding is new.
    """
    if shutil.which("docker") is None:
        raise DaemonUnavailable("docker is not on the PATH; it is needed to build the changes. Omit prove.")
    proven = changes.copy()
    source = dockerfile.read_text("utf-8")
    before = _scan(source, dockerfile, tool)
    for index, diff, wanted, packages in changes.dropna(subset="diff")[["diff", "findings", "packages"]].itertuples():
        try:
            found = compare_scans(before, _scan(apply_diff(source, diff), dockerfile, tool))
        except ImagelabError as error:
            proven.loc[index, "outcome"] = f"not confirmed: {mask(str(error).splitlines()[-1]).text[:200]}"
            continue
        own = found["package"].isin(str(packages).split(", "))
        gone, new = int((own & found["change"].eq("fixed")).sum()), int(found["change"].eq("new").sum())
        proven.loc[index, "outcome"] = f"built and scanned with {tool}: {gone} gone, {new} new"
        if gone >= wanted and not new:
            proven.loc[index, "confidence"] = PROVEN
    return proven


def _scan(text: str, dockerfile: Path, tool: str) -> pd.DataFrame:
    """Build ``text`` in place of the Dockerfile, with the .dockerignore that belongs to it, and scan the image."""
    tag = f"imagelab-remediation:{uuid.uuid4().hex[:12]}"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "Dockerfile")
        file.write_text(text, encoding="utf-8")
        if (ignore := dockerfile.with_name(f"{dockerfile.name}.dockerignore")).is_file():
            shutil.copy(ignore, f"{file}.dockerignore")
        options = ["--quiet", f"--tag={tag}", f"--file={file}"]
        run_command(["docker", "build", *options, str(dockerfile.parent)], "docker build", 3600)
    try:
        return run_scan(f"docker-daemon:{tag}", tool)
    finally:
        run_command(["docker", "image", "rm", "--force", tag], "docker image rm", 60)


def apply_diff(source: str, diff: str) -> str:
    """Apply a unified diff that was made from exactly this text."""
    lines, changed, position = source.splitlines(keepends=True), [], 0
    for line in diff.splitlines(keepends=True)[2:]:
        if hunk := re.match(r"@@ -(\d+)", line):
            changed += lines[position : int(hunk[1]) - 1]
            position = int(hunk[1]) - 1
        elif line.startswith("+"):
            changed.append(line[1:])
        else:
            changed += lines[position : position + 1] if line.startswith(" ") else []
            position += 1
    return "".join([*changed, *lines[position:]])
