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
    afterwards. A change is proven if its build succeeds, at least its number of findings is gone, and none is new.
    """
    if shutil.which("docker") is None:
        raise DaemonUnavailable("docker is not on the PATH; it is needed to build the changes. Omit prove.")
    proven = changes.copy()
    source = dockerfile.read_text("utf-8")
    before = _scan(source, dockerfile.parent, tool)
    for index, diff, wanted in changes.loc[changes["diff"].notna(), ["diff", "findings"]].itertuples():
        try:
            found = compare_scans(before, _scan(apply_diff(source, diff), dockerfile.parent, tool))["change"]
        except ImagelabError as error:
            proven.loc[index, "outcome"] = f"not confirmed: {mask(str(error).splitlines()[-1]).text[:200]}"
            continue
        gone, new = int(found.eq("fixed").sum()), int(found.eq("new").sum())
        proven.loc[index, "outcome"] = f"built and scanned with {tool}: {gone} gone, {new} new"
        if gone >= wanted and not new:
            proven.loc[index, "confidence"] = PROVEN
    return proven


def _scan(dockerfile: str, context: Path, tool: str) -> pd.DataFrame:
    tag = f"imagelab-remediation:{uuid.uuid4().hex[:12]}"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "Dockerfile")
        file.write_text(dockerfile, encoding="utf-8")
        run_command(
            ["docker", "build", "--quiet", f"--tag={tag}", f"--file={file}", str(context)], "docker build", 3600
        )
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
