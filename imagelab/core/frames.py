"""Building frames under a column contract, and sizes as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from imagelab.core.errors import ImagelabError

Contract = Mapping[str, str]


def make_frame(columns: Mapping[str, Any] | Sequence[Mapping[str, Any]], contract: Contract) -> pd.DataFrame:
    """A frame with exactly the contract's columns, in its order and dtypes.

    Parameters
    ----------
    columns : mapping of name to values, or sequence of row mappings
        What is missing becomes ``<NA>``.
    contract : mapping of name to pandas dtype

    Returns
    -------
    pandas.DataFrame
    """
    if not isinstance(columns, Mapping):
        columns = {name: [row.get(name) for row in columns] for name in contract}
    length = max((len(values) for values in columns.values()), default=0)
    return pd.DataFrame(
        {
            name: pd.Series(columns[name] if name in columns else [None] * length, dtype=dtype)
            for name, dtype in contract.items()
        }
    )


def expect_frame(frame: Any, columns: Iterable[str], maker: str) -> None:
    """Raise ImagelabError where ``frame`` is not what ``maker`` makes."""
    if not isinstance(frame, pd.DataFrame):
        raise ImagelabError(f"expected the frame that {maker} gives, not {type(frame).__name__}.")
    if missing := [name for name in columns if name not in frame]:
        raise ImagelabError(f"expected the frame that {maker} gives; this one has no column {', '.join(missing)}.")


def first_known(*values: int | None) -> int | None:
    """The first value that is not None."""
    return next((value for value in values if value is not None), None)


def format_bytes(size: int | float | None) -> str:
    """``size`` bytes in decimal units, as Docker shows them: ``"77.8 MB"``; ``"unknown"`` for NA.

    >>> format_bytes(77_801_234)
    '77.8 MB'
    >>> format_bytes(0), format_bytes(None)
    ('0 B', 'unknown')
    """
    if size is None or pd.isna(size):
        return "unknown"
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if abs(value) >= 999.5:
            value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
