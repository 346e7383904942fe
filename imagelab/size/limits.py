"""Check an image against limits: a gate for CI."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from imagelab.core.errors import ImagelabError
from imagelab.core.frames import format_bytes, make_frame
from imagelab.core.model import Image
from imagelab.images.tables.images import Reference, one_image
from imagelab.security.blame import blame
from imagelab.security.gate import count_findings
from imagelab.security.suppress import suppress
from imagelab.size.dive import dive_efficiency
from imagelab.size.waste import efficiency

CHECK_COLUMNS = {"rule": "str", "limit": "float64", "measured": "float64", "passed": "bool", "message": "str"}


class _Limit(NamedTuple):
    """A limit: what is measured, how values are shown, and whether the limit is a minimum."""

    rule: str
    limit: float
    measure: Callable[[], float]
    show: Callable[[float], str]
    is_minimum: bool = False


class DiveRule(NamedTuple):
    """A rule of dive (its README, "CI Integration"): the column of ``il.dive_efficiency`` that it limits."""

    column: str
    is_minimum: bool = False
    in_bytes: bool = False


#: Rules of a ``.dive-ci`` file.
DIVE_RULES = {
    "lowestEfficiency": DiveRule("efficiency", is_minimum=True),
    "highestWastedBytes": DiveRule("wasted_bytes", in_bytes=True),
    "highestUserWastedPercent": DiveRule("user_wasted_ratio"),
}
_DISABLED = ("", "disabled", "off", "false")  # dive's word, and what YAML makes of it


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
    known_exploited: bool = False,
    epss: float | None = None,
    own: bool = False,
    base: Reference | None = None,
    ignore: str | os.PathLike[str] | None = None,
) -> pd.DataFrame:
    """Check an image against the limits that are given.

    Parameters
    ----------
    image : Image or reference
        Its files are listed only for a limit on sizes, and for ``own``: an engine then saves it.
    max_size, max_wasted : int, or text such as ``"200MB"``
        Bytes of the files in all layers, and of those that containers cannot see (``il.efficiency``).
    max_layers : int
    min_efficiency : float
        Visible ÷ stored, 0 to 1.
    against : Image or reference
        An earlier build, for ``max_growth``: bytes by which the stored size may grow.
    dive_ci : path
        A ``.dive-ci`` file: dive's own rules on dive's own numbers.
    scan : pandas.DataFrame
        From ``il.read_scan`` or ``il.run_scan``: no finding may meet all the conditions below.
    fail_on : str
        The lowest severity that counts (low, medium, high …); every finding counts without it.
    only_fixed, known_exploited : bool
        Count only findings with a fixed version, or only those known to be exploited.
    epss : float
        Count only findings with at least this probability of exploitation.
    own : bool
        Leave out the base image's findings; findings of unknown or guessed origin count.
    base : Image or reference
        The base image, for ``own``.
    ignore : path
        Accepted findings: any file that ``il.suppress`` reads.

    Returns
    -------
    pandas.DataFrame
        ``CHECK_COLUMNS``, a row per limit; ``message`` is a sentence.

    Raises
    ------
    ScanFormatError
        A scan that failed or was not read completely, or an SBOM: it cannot answer.
    ImagelabError
        No limit, ``max_growth`` without ``against``, a condition without ``scan``, an invalid value, or an
        unreadable ``.dive-ci``.
    """
    conditions: dict[str, Any] = {
        "only_fixed": only_fixed,
        "known_exploited": known_exploited,
        "epss": epss,
        "own": own,
    }
    limited = fail_on is not None or known_exploited or epss is not None
    if (max_growth is None) != (against is None):
        raise ImagelabError("max_growth and against go together: the limit, and the earlier build to compare with.")
    if (scan is None) == limited:
        raise ImagelabError("scan goes with fail_on (or known_exploited, or epss): the findings, and which ones count.")
    if scan is None and (only_fixed or own or base is not None or ignore is not None):
        raise ImagelabError("only_fixed, own, base and ignore are conditions on a scan; give scan and fail_on too.")
    if min_efficiency is not None and not 0 <= min_efficiency <= 1:
        raise ImagelabError(f"min_efficiency is {min_efficiency}; expected a number from 0 to 1.")
    if max_layers is not None and max_layers < 0:
        raise ImagelabError(f"max_layers is {max_layers}; expected a number of layers.")
    subject = one_image(image)
    limits = _size_limits(subject, max_size, max_layers, min_efficiency, max_wasted)
    if against is not None and max_growth is not None:
        growth = partial(_growth, subject, one_image(against, like=subject))
        limits.append(_Limit("growth", parse_bytes(max_growth), growth, format_bytes))
    if scan is not None:
        if ignore is not None:
            scan = suppress(scan, ignore)
        if own:
            scan = blame(scan, subject, base=base)
        count = partial(count_findings, scan, fail_on, **conditions)
        limits.append(_Limit(_describe(fail_on, **conditions), 0, count, "{:.0f}".format))
    if dive_ci is not None:
        limits += _dive_limits(read_dive_ci(dive_ci), dive_efficiency(subject).iloc[0])
    if not limits:
        raise ImagelabError("nothing to check: give at least one limit, such as max_size (--max-size 200MB).")
    return make_frame([_judge(limit) for limit in limits], CHECK_COLUMNS)


def _size_limits(subject: Image, max_size: Any, max_layers: Any, min_efficiency: Any, max_wasted: Any) -> list[_Limit]:
    measures = cache(lambda: efficiency(subject).iloc[0])  # the files are listed only if a limit needs them
    limits = []
    if max_size is not None:
        limits.append(_Limit("size", parse_bytes(max_size), lambda: measures()["stored"], format_bytes))
    if max_layers is not None:
        limits.append(_Limit("layers", max_layers, lambda: len(subject.layers), "{:.0f}".format))
    if min_efficiency is not None:
        limits.append(_Limit("efficiency", min_efficiency, lambda: measures()["efficiency"], "{:.2%}".format, True))
    if max_wasted is not None:
        limits.append(_Limit("wasted", parse_bytes(max_wasted), lambda: measures()["wasted"], format_bytes))
    return limits


def _dive_limits(rules: Mapping[str, float], numbers: pd.Series) -> list[_Limit]:
    return [
        _Limit(
            f"dive {name}",
            limit,
            partial(numbers.get, DIVE_RULES[name].column),
            format_bytes if DIVE_RULES[name].in_bytes else _share,
            DIVE_RULES[name].is_minimum,
        )
        for name, limit in rules.items()
    ]


def _growth(subject: Image, before: Image) -> float:
    return float(efficiency(subject)["stored"].iloc[0] - efficiency(before)["stored"].iloc[0])


def _describe(fail_on: str | None, only_fixed: bool, known_exploited: bool, epss: float | None, own: bool) -> str:
    """What a scan's limit counts, in words."""
    parts = [
        f"{'own ' if own else ''}findings"
        f"{'' if fail_on is None else f' of {fail_on} or worse'}{' that an update fixes' if only_fixed else ''}",
        "known to be exploited" if known_exploited else "",
        "" if epss is None else f"with EPSS of at least {epss:g}",
    ]
    return ", ".join(filter(None, parts))


def _judge(limit: _Limit) -> dict[str, Any]:
    """Measure one limit, and describe the result in a sentence."""
    measured = limit.measure()
    # NaN (nothing to measure) passes, as with dive
    passed = not (measured < limit.limit if limit.is_minimum else measured > limit.limit)
    shown = [limit.show(value) for value in (measured, limit.limit)]
    if shown[0] == shown[1] and not passed:  # equal only after rounding
        shown = [f"{value:,}" for value in (measured, limit.limit)]
    verdict, sense = "is" if passed else "is not", "at least" if limit.is_minimum else "at most"
    message = f"{limit.rule} {shown[0]}, which {verdict} {sense} {shown[1]}"
    return {"rule": limit.rule, "limit": limit.limit, "measured": measured, "passed": passed, "message": message}


def _share(value: float) -> str:
    return "of nothing" if pd.isna(value) else f"{value:.4f}"


def read_dive_ci(path: str | os.PathLike[str]) -> dict[str, float]:
    """Read the rules of a ``.dive-ci`` file that are not disabled; bytes are a number or text such as ``20MB``.

    Raises
    ------
    ImagelabError
        Unreadable, an unknown rule, or an invalid value.
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
            in_bytes = DIVE_RULES[known].in_bytes
            limits[known] = float(parse_bytes(value)) if in_bytes else _ratio(path, rule, value)
    return limits


def _ratio(path: Any, rule: Any, value: Any) -> float:
    try:
        if 0 <= float(value) <= 1:
            return float(value)
    except (TypeError, ValueError):
        pass
    raise ImagelabError(f"{path}: {rule} is {value!r}; expected a number from 0 to 1.")


_UNITS = {"": 1, "B": 1, "K": 1000, "KB": 1000, "M": 1000**2, "MB": 1000**2, "G": 1000**3, "GB": 1000**3}
_UNITS |= {"KIB": 1024, "MIB": 1024**2, "GIB": 1024**3}


def parse_bytes(text: str | float) -> int:
    """Parse ``"5MB"``, ``"1.5 GB"``, ``"64MiB"`` or a plain number into bytes; units are decimal, as Docker's.

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
            f"{text!r} is not a size; expected bytes, or a number with kB, MB, GB, KiB, MiB or GiB."
        ) from None
