"""Questions over a fleet of images, answered by DuckDB straight from the folder's Parquet files."""

from __future__ import annotations

import os
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from imagelab.core.errors import ImagelabError
from imagelab.core.frames import make_frame
from imagelab.fleet.questions import BASED, FINDINGS_BY_BASE, QUESTIONS, TABLES, WHERE_FILES, Question
from imagelab.security.scans.reader import read_scan

MEMORY = "3GB"  # of DuckDB; what needs more goes over the temporary folder


def query_fleet(
    folder: str | os.PathLike[str], question: str, pattern: str | None = None, version: str | None = None
) -> pd.DataFrame:
    """The answer to a question over all images that `imagelab.index_images` wrote into a folder.

    Parameters
    ----------
    folder : path
    question : str
        One of ``QUESTIONS``: storage, sharing, similarity, layers, files, packages, where, waste, bases, growth; or
        findings, which reads the scanners' reports beside the snapshots (``NAME.*`` beside ``NAME.parquet``).
    pattern : str, optional
        For packages and where a package's name, for files a path; ``*`` stands for any text. ``where`` needs one, and
        without ``*`` also finds the files whose names begin so (``log4j``: ``/opt/log4j-core-2.14.jar``).
    version : str, optional
        For where: only this version of packages (files have none).

    Returns
    -------
    pandas.DataFrame
        The question's own columns: ``imagelab.fleet.questions`` has each with its SQL. ``findings``:
        ``FINDINGS_BY_BASE``, where a finding counts once in a base however many images have it, and images are
        those with a report.

    Raises
    ------
    ImagelabError
        An unknown question, a pattern or version that it wants or does not take, or a folder without an index.
    """
    if question not in (known := [*QUESTIONS, "findings"]):
        raise ImagelabError(f"no question {question!r} is known. These are: {', '.join(known)}.")
    if pattern is not None and (question == "findings" or not QUESTIONS[question].pattern):
        raise ImagelabError(f"the question {question} takes no pattern, and was given {pattern!r}.")
    if version is not None and question != "where":
        raise ImagelabError(f"the question {question} takes no version, and was given {version!r}; where does.")
    if question == "findings":
        return _findings(Path(folder))
    asked = QUESTIONS[question]
    if question != "where":
        return _ask(Path(folder), asked, **_matching(pattern))
    if not pattern:
        raise ImagelabError("where wants a package's name, such as 'log4j*'.")
    found = [_ask(Path(folder), asked, **_matching(pattern), version=version)]
    if version is None:
        pattern += "" if "*" in pattern else "*"
        found.append(_ask(Path(folder), WHERE_FILES, **_matching(pattern, ".*/", "[^/]*")))
    return pd.concat(found, ignore_index=True)


def _findings(folder: Path) -> pd.DataFrame:
    """Findings by base, of the reports beside the snapshots."""
    based = _ask(folder, BASED)
    reports = [
        read_scan(path).assign(base=row.base, image=row.image)
        for row in based.itertuples()
        for path in sorted(folder.glob(f"{row.image}.*"))
        if path.suffix != ".parquet"
    ]
    if not reports:
        return make_frame([], FINDINGS_BY_BASE)
    every = pd.concat(reports, ignore_index=True)
    images = every.groupby("base")["image"].nunique().rename("images")
    one = every[every["severity"].notna()].drop_duplicates(["base", "id", "package", "version"])
    counted = {
        "findings": True,
        "critical": one["severity"] == "critical",
        "high": one["severity"] == "high",
        "fixable": one["fixed_version"].notna(),
    }
    counts = one[["base"]].assign(**counted).groupby("base").sum()
    counts = images.to_frame().join(counts).fillna(0).sort_values("findings", ascending=False).reset_index()
    return counts[list(FINDINGS_BY_BASE)].astype(FINDINGS_BY_BASE)


def _ask(folder: Path, question: Question, **values: Any) -> pd.DataFrame:
    import duckdb

    index = sorted(str(path) for path in (folder / "index").glob("*.parquet"))
    if not index:
        raise ImagelabError(
            f"{folder} holds no index of images: write one with il.index_images(…, into={str(folder)!r}) or "
            f"`imagelab index IMAGE… -o {folder}`."
        )
    snapshots = [str(folder / Path(path).name) for path in index]
    now = datetime.now(UTC).replace(tzinfo=None)
    sql, values = TABLES + question.sql, {"index": index, "now": now, "snapshots": snapshots, "version": None, **values}
    used = {name: value for name, value in values.items() if re.search(rf"\${name}\b", sql)}
    with tempfile.TemporaryDirectory() as spill:
        options: dict[str, Any] = {
            "memory_limit": MEMORY,
            "temp_directory": spill,
            "autoinstall_known_extensions": "false",
        }
        with duckdb.connect(config=options) as connection:
            try:
                answer = connection.sql(sql, params=used).to_arrow_table()
            except duckdb.Error as error:
                raise ImagelabError(f"{folder} cannot be asked: {str(error)[:500]}") from error
    columns = {name: _column(answer[name], dtype) for name, dtype in question.columns.items()}
    return make_frame(columns, question.columns)


def _column(values: pa.ChunkedArray, dtype: str) -> Any:
    if pa.types.is_binary(values.type):  # paths: text as in `il.files`
        return [None if path is None else path.decode(errors="backslashreplace") for path in values.to_pylist()]
    if dtype.startswith("datetime64"):
        return values.cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC")).to_pandas()
    return values.cast(pa.int64() if dtype.lower() == "int64" else values.type).to_pylist()


def _matching(pattern: str | None, before: str = "", any_text: str = ".*") -> dict[str, str | None]:
    """A pattern as a regular expression, and its longest literal part; on bytes as DuckDB shows them: printable ASCII
    but quotes and the backslash, else ``\\xNN``."""
    if pattern is None:
        return {"pattern": None, "part": None}
    plain = {byte: chr(byte) for byte in range(32, 127) if byte not in b"\"'\\"}
    parts = "".join(plain.get(byte, f"\\x{byte:02X}") for byte in pattern.encode()).split("*")
    return {"pattern": before + any_text.join(map(re.escape, parts)), "part": max(parts, key=len)}
