"""Check images and containers against hardening rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pandas as pd

from imagelab.images.tables.images import Reference, one_image
from imagelab.security.hardening.container_rules import CONTAINER_RULES
from imagelab.security.hardening.containers import ContainerFacts
from imagelab.security.hardening.files import FILE_RULES
from imagelab.security.hardening.image import CONFIG_RULES, ImageFacts
from imagelab.security.hardening.rules import run_rules
from imagelab.security.origin import DockerfileLines, base_origins


def check_hardening(
    subject: Reference | Mapping[str, Any] | Sequence[Mapping[str, Any]], *, base: Reference | None = None
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

    Returns
    -------
    pandas.DataFrame
        ``HARDENING_COLUMNS``, failed rules first, then by severity: rule, severity, cis and dockle (ids there), result
        (passed, failed, or unknown with the reason as evidence), evidence (instruction, file or setting), layer_index
        (if it belongs to one layer), origin (base or own), advice. A rule has one row per piece of evidence; what the
        base image brought is one row per rule. The rules are in `CONFIG_RULES`, `FILE_RULES` and `CONTAINER_RULES`.

    Raises
    ------
    ImagelabError
        The image or container cannot be loaded, or the mapping is not that of a container.
    """
    if isinstance(subject, list) and any(isinstance(item, Mapping) for item in subject):
        subject = subject[0] if len(subject) == 1 else {}  # docker inspect prints a list
    if isinstance(subject, Mapping):
        facts = ContainerFacts.of(subject)
        return run_rules(CONTAINER_RULES, facts, f"container:{facts.name}")
    if isinstance(subject, str) and subject.startswith("container:"):
        return run_rules(CONTAINER_RULES, ContainerFacts.load(subject), subject)
    image = one_image(cast(Reference, subject))
    origins = base_origins(image, base, DockerfileLines.of(image, None))["origin"].to_dict()
    return run_rules([*CONFIG_RULES, *FILE_RULES], ImageFacts(image), image.reference, origins)
