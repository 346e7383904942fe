"""Query a folder of indexed images: DuckDB reads its Parquet files directly."""

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
from imagelab.core.extras import require
from imagelab.core.frames import make_frame
from imagelab.fleet.questions import BASED, FINDINGS_BY_BASE, QUESTIONS, WHERE_FILES, Question
from imagelab.security.scans.findings import is_counted
from imagelab.security.scans.reader import read_scan

MEMORY = "3GB"  # for DuckDB; beyond it, DuckDB spills to the temporary folder


def query_fleet(
    folder: str | os.PathLike[str], question: str, pattern: str | None = None, version: str | None = None
) -> pd.DataFrame:
    """Answer a question over all images that `imagelab.index_images` wrote into a folder. Reads only that folder.

    Parameters
    ----------
    folder : path
    question : str
        One of ``QUESTIONS``: storage, sharing, similarity, layers, files, packages, where, waste, bases, growth; or
        findings, which reads the scan reports beside the snapshots (``NAME.*`` beside ``NAME.parquet``).
    pattern : str, optional
        For ``packages`` and ``where`` the name of a package, for ``files`` a path; ``*`` matches any text. ``where``
        needs one; without ``*`` it also finds files whose names start with it (``log4j``: ``/opt/log4j-core-2.14.jar``).
    version : str, optional
        For ``where``: only this version of a package. Files have no version.

    Returns
    -------
    pandas.DataFrame
        The columns of the question: ``imagelab.fleet.questions`` has them (``questions.toml``). ``findings`` returns
        ``FINDINGS_BY_BASE``: a finding counts once for a base, however many of its images have it, and ``images``
        counts those with a report.

    Raises
    ------
    ImagelabError
        The question is unknown, a pattern or version is missing or not taken, or the folder has no index.
    """
    if question not in (known := [*QUESTIONS, "findings"]):
        raise ImagelabError(f"unknown question {question!r}; expected one of {', '.join(known)}.")
    if pattern is not None and (question == "findings" or not QUESTIONS[question].pattern):
        raise ImagelabError(f"the question {question} takes no pattern; {pattern!r} was given.")
    if version is not None and question != "where":
        raise ImagelabError(f"the question {question} takes no version; {version!r} was given. Only where takes one.")
    if question == "findings":
        return _findings(Path(folder))
    definition = QUESTIONS[question]
    if question != "where":
        return _ask(Path(folder), definition, **_matching(pattern))
    if not pattern:
        raise ImagelabError("where needs the name of a package, such as 'log4j*'.")
    found = [_ask(Path(folder), definition, **_matching(pattern), version=version)]
    if version is None:
        pattern += "" if "*" in pattern else "*"
        found.append(_ask(Path(folder), WHERE_FILES, **_matching(pattern, ".*/", "[^/]*")))
    return pd.concat(found, ignore_index=True)


def _findings(folder: Path) -> pd.DataFrame:
    """Count findings by base, from the scan reports beside the snapshots."""
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
    distinct = every[is_counted(every)].drop_duplicates(["base", "id", "package", "version"])
    counted = {
        "findings": True,
        "critical": distinct["severity"] == "critical",
        "high": distinct["severity"] == "high",
        "fixable": distinct["fixed_version"].notna(),
    }
    counts = distinct[["base"]].assign(**counted).groupby("base").sum()
    counts = images.to_frame().join(counts).fillna(0).sort_values("findings", ascending=False).reset_index()
    return counts[list(FINDINGS_BY_BASE)].astype(FINDINGS_BY_BASE)


def _ask(folder: Path, question: Question, **values: Any) -> pd.DataFrame:
    require("fleet", "duckdb")
    import duckdb

    index = sorted(str(path) for path in (folder / "index").glob("*.parquet"))
    if not index:
        raise ImagelabError(
            f"{folder} has no index of images: write one with il.index_images(…, into={str(folder)!r}) or "
            f"`imagelab index IMAGE… -o {folder}`."
        )
    snapshots = [str(folder / Path(path).name) for path in index]
    now = datetime.now(UTC).replace(tzinfo=None)
    sql, values = question.sql, {"index": index, "now": now, "snapshots": snapshots, "version": None, **values}
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
                raise ImagelabError(f"the index in {folder} cannot be queried: {str(error)[:500]}") from error
    columns = {name: _column(answer[name], dtype) for name, dtype in question.columns.items()}
    return make_frame(columns, question.columns)


def _column(values: pa.ChunkedArray, dtype: str) -> Any:
    if pa.types.is_binary(values.type):  # paths: text as in `il.files`
        return [None if path is None else path.decode(errors="backslashreplace") for path in values.to_pylist()]
    if dtype.startswith("datetime64"):
        return values.cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC")).to_pandas()
    return values.cast(pa.int64() if dtype.lower() == "int64" else values.type).to_pylist()


def _matching(pattern: str | None, before: str = "", any_text: str = ".*") -> dict[str, str | None]:
    """Turn a pattern into a regular expression and its longest literal part, over bytes as DuckDB prints them: printable
    ASCII except quotes and the backslash, else ``\\xNN``."""
    if pattern is None:
        return {"pattern": None, "part": None}
    plain = {byte: chr(byte) for byte in range(32, 127) if byte not in b"\"'\\"}
    parts = "".join(plain.get(byte, f"\\x{byte:02X}") for byte in pattern.encode()).split("*")
    return {"pattern": before + any_text.join(map(re.escape, parts)), "part": max(parts, key=len)}
