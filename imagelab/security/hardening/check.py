"""Check images and containers against hardening rules."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, cast

import pandas as pd

from imagelab.images.tables.images import Reference, one_image
from imagelab.security.decisions import read_accepted_decisions
from imagelab.security.hardening.container_rules import CONTAINER_RULES
from imagelab.security.hardening.containers import ContainerFacts
from imagelab.security.hardening.files import FILE_RULES
from imagelab.security.hardening.image import CONFIG_RULES, ImageFacts
from imagelab.security.hardening.rules import run_rules
from imagelab.security.origin import DockerfileLines, base_origins


def check_hardening(
    subject: Reference | Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    base: Reference | None = None,
    ignore: str | os.PathLike[str] | None = None,
    on: date | None = None,
) -> pd.DataFrame:
    """Check an image, or a container, against hardening rules.

    Parameters
    ----------
    subject : Image or reference, or mapping
        ``container:NAME`` is a container of the engine, created or running (`containers` lists them); its image is a
        separate subject. An image's files are listed: an engine saves it, unless it was listed before. A mapping, or
        a list of one, is the output of ``docker inspect`` for a container on another machine.
    base : Image or reference, optional
        The image's base; without it, the base is recognised as in `blame`.
    ignore : path, optional
        A TOML file of accepted findings: its ``[[accept]]`` tables with ``check`` (a rule's name), ``reason``, and
        optionally ``path`` (of a file) and ``expires``.
    on : datetime.date, optional
        The day for expiry dates; today by default.

    Returns
    -------
    pandas.DataFrame
        ``HARDENING_COLUMNS``, failed rules first, then by severity: rule, severity, cis and dockle (ids there), result
        (passed, failed, accepted, or unknown with the reason as evidence), evidence (instruction, file or setting),
        layer_index (if it belongs to one layer), origin (base or own), advice, accepted (the reason in the file). A rule
        has one row per piece of evidence; evidence in the base image is one row per rule. The rules are in `CONFIG_RULES`,
        `FILE_RULES` and `CONTAINER_RULES`.

    Raises
    ------
    ImagelabError
        The image or container cannot be loaded, or the mapping is not that of a container.
    ScanFormatError
        The file of accepted findings has another form, or names an unknown rule.
    """
    names = {rule.name for rule in (*CONFIG_RULES, *FILE_RULES, *CONTAINER_RULES)}
    today = on or datetime.now(UTC).date()
    accepted = [] if ignore is None else read_accepted_decisions(ignore, today, "check", names)
    if isinstance(subject, list) and any(isinstance(item, Mapping) for item in subject):
        subject = subject[0] if len(subject) == 1 else {}  # docker inspect prints a list
    if isinstance(subject, Mapping):
        facts = ContainerFacts.of(subject)
        return run_rules(CONTAINER_RULES, facts, f"container:{facts.name}", accepted=accepted)
    if isinstance(subject, str) and subject.startswith("container:"):
        return run_rules(CONTAINER_RULES, ContainerFacts.load(subject), subject, accepted=accepted)
    image = one_image(cast(Reference, subject))
    origins = base_origins(image, base, DockerfileLines.of(image, None))["origin"].to_dict()
    return run_rules([*CONFIG_RULES, *FILE_RULES], ImageFacts(image), image.reference, origins, accepted)
