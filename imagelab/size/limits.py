"""A gate for CI: limits on what an image may be, each measured and passed or not."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from imagelab.core.errors import ImagelabError
from imagelab.core.frames import expect_frame, format_bytes, make_frame
from imagelab.core.terms import SEVERITIES
from imagelab.images.tables.images import Reference, one_image
from imagelab.size.dive import dive_efficiency
from imagelab.size.waste import efficiency

CHECK_COLUMNS = {"rule": "str", "limit": "float64", "measured": "float64", "passed": "bool", "message": "str"}

#: dive's rules (its README, "CI Integration"): name in ``.dive-ci`` → column of ``il.dive_efficiency``, and the sense.
DIVE_RULES = {
    "lowestEfficiency": ("efficiency", True),
    "highestWastedBytes": ("wasted_bytes", False),
    "highestUserWastedPercent": ("user_wasted_ratio", False),
}
_DISABLED = ("", "disabled", "off", "false")  # dive's words, and what YAML makes of them


def check_limits(
    image: Reference,
    *,
    max_size: int | str | None = None,
    max_layers: int | None = None,
    min_efficiency: float | None = None,
    max_wasted: int | str | None = None,
    against: Reference | None = None,
    max_growth: int | str | None = None,
    dive_ci: str | os.PathLike[str] | None = None,
    scan: pd.DataFrame | None = None,
    fail_on: str | None = None,
    only_fixed: bool = False,
) -> pd.DataFrame:
    """Hold an image against limits; only those that are given count.

    Parameters
    ----------
    image : Image or reference
    max_size, max_wasted : int, or text such as ``"200MB"``
        Bytes of the files in all layers, and of those that no container sees (``il.efficiency``).
    max_layers : int
    min_efficiency : float
        Visible ÷ stored, 0 to 1.
    against : Image or reference
        An earlier build, for ``max_growth``: bytes by which the stored size may grow.
    dive_ci : path
        A ``.dive-ci`` file: dive's own rules on dive's own numbers.
    scan : pandas.DataFrame
        Of ``il.read_scan`` or ``il.run_scan``, for ``fail_on``: the severity (low, medium, high …) from which on no
        finding may be there; with ``only_fixed``, none that an update would fix.

    Returns
    -------
    pandas.DataFrame
        ``CHECK_COLUMNS``, a row per limit; ``message`` is a sentence.

    Raises
    ------
    ImagelabError
        No limit at all, ``max_growth`` without ``against``, ``fail_on`` without ``scan``, a size or severity that is
        none, or a ``.dive-ci`` that cannot be read.
    """
    if (max_growth is None) != (against is None):
        raise ImagelabError(
            "max_growth and against go together: the limit, and the earlier build that it is measured from."
        )
    if (scan is None) != (fail_on is None):
        raise ImagelabError("scan and fail_on go together: the findings, and the severity from which on they count.")
    subject = one_image(image)
    facts = cache(lambda: efficiency(subject).iloc[0])  # the files are listed only where a limit needs them
    whole, part = "{:.0f}".format, "{:.2%}".format
    if min_efficiency is not None and not 0 <= min_efficiency <= 1:
        raise ImagelabError(f"min_efficiency is {min_efficiency}, not a number from 0 to 1.")
    if max_layers is not None and max_layers < 0:
        raise ImagelabError(f"max_layers is {max_layers}, not a number of layers.")
    rows: list[dict[str, Any]] = []

    def hold(rule: str, limit: Any, measure: Callable[[], float], shown: Any, least: bool = False) -> None:
        if limit is None:
            return
        limit, measured = parse_bytes(limit) if shown is format_bytes else limit, measure()
        passed = not (measured < limit if least else measured > limit)  # of nothing (NaN) passes, as with dive
        verdict = "is" if passed else "is not"
        told, bound = shown(measured), shown(limit)
        if told == bound and not passed:  # rounded alike
            told, bound = f"{measured:,}", f"{limit:,}"
        message = f"{rule} {told}, which {verdict} {'at least' if least else 'at most'} {bound}"
        rows.append({"rule": rule, "limit": limit, "measured": measured, "passed": passed, "message": message})

    hold("size", max_size, lambda: facts()["stored"], format_bytes)
    hold("layers", max_layers, lambda: len(subject.layers), whole)
    hold("efficiency", min_efficiency, lambda: facts()["efficiency"], part, least=True)
    hold("wasted", max_wasted, lambda: facts()["wasted"], format_bytes)
    if against is not None:
        before = one_image(against)
        hold("growth", max_growth, lambda: facts()["stored"] - efficiency(before)["stored"].iloc[0], format_bytes)
    if scan is not None and fail_on is not None:
        rule = f"findings of {fail_on} or worse" + (" that an update fixes" if only_fixed else "")
        hold(rule, 0, lambda: _count(scan, fail_on, only_fixed), whole)
    if dive_ci is not None:
        numbers = dive_efficiency(subject).iloc[0]
        for name, limit in read_dive_ci(dive_ci).items():
            column, least = DIVE_RULES[name]
            shown = format_bytes if column == "wasted_bytes" else _share
            hold(f"dive {name}", limit, partial(numbers.get, column), shown, least)
    if not rows:
        raise ImagelabError("nothing to check: give at least one limit, such as max_size (--max-size 200MB).")
    return make_frame(rows, CHECK_COLUMNS)


def _share(value: float) -> str:
    return "of nothing" if pd.isna(value) else f"{value:.4f}"


def _count(scan: pd.DataFrame, severity: str, only_fixed: bool) -> int:
    if severity not in SEVERITIES:
        raise ImagelabError(f"{severity!r} is no severity; they are {', '.join(SEVERITIES)}.")
    expect_frame(scan, ("severity", "fixed_version"), "il.read_scan")
    bad = scan["severity"] >= severity
    return int((bad & scan["fixed_version"].notna() if only_fixed else bad).sum())


def read_dive_ci(path: str | os.PathLike[str]) -> dict[str, float]:
    """The rules of a ``.dive-ci`` file that are not disabled; bytes as a number or as text such as ``20MB``.

    Raises
    ------
    ImagelabError
        Unreadable, an unknown rule, or a value that is no number.
    """
    try:
        document = yaml.safe_load(Path(path).read_text())
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise ImagelabError(f"{path} cannot be read as a .dive-ci file: {error}") from error
    rules = document.get("rules") if isinstance(document, dict) else None
    if not isinstance(rules, dict):
        raise ImagelabError(f"{path} has no 'rules' mapping; dive's rules are {', '.join(DIVE_RULES)}.")
    limits = {}
    for rule, value in rules.items():
        name = str(rule).replace("-", "").casefold()
        known = next((each for each in DIVE_RULES if each.casefold() == name), None)
        if known is None:
            raise ImagelabError(f"{path}: unknown rule {rule!r}; dive's rules are {', '.join(DIVE_RULES)}.")
        if str("" if value is None else value).strip().casefold() not in _DISABLED:
            limits[known] = float(parse_bytes(value)) if "Bytes" in known else _ratio(path, rule, value)
    return limits


def _ratio(path: Any, rule: Any, value: Any) -> float:
    try:
        if 0 <= float(value) <= 1:
            return float(value)
    except (TypeError, ValueError):
        pass
    raise ImagelabError(f"{path}: {rule} is {value!r}, not a number from 0 to 1.")


_UNITS = {"": 1, "B": 1, "K": 1000, "KB": 1000, "M": 1000**2, "MB": 1000**2, "G": 1000**3, "GB": 1000**3}
_UNITS |= {"KIB": 1024, "MIB": 1024**2, "GIB": 1024**3}


def parse_bytes(text: str | float) -> int:
    """Bytes from ``"5MB"``, ``"1.5 GB"``, ``"64MiB"`` or a plain number; decimal units, as Docker's.

    >>> parse_bytes("1.5 MB"), parse_bytes("2KiB"), parse_bytes(7)
    (1500000, 2048, 7)

    Raises
    ------
    ImagelabError
    """
    cleaned = str(text).strip().upper()
    number = cleaned.rstrip("KMGIB ")
    unit = cleaned[len(number) :].strip()
    try:
        if (size := int(float(number) * _UNITS[unit])) >= 0:
            return size
        raise ValueError
    except (KeyError, ValueError, OverflowError):
        raise ImagelabError(
            f"{text!r} is no size: write bytes, or a number with kB, MB, GB, KiB, MiB or GiB."
        ) from None
