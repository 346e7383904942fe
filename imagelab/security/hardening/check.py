"""Hardening, checked: one verb for images and containers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pandas as pd

from imagelab.images.tables.images import Reference, one_image
from imagelab.security.hardening.containers import CONTAINER_RULES, ContainerFacts
from imagelab.security.hardening.files import FILE_RULES
from imagelab.security.hardening.image import CONFIG_RULES, ImageFacts
from imagelab.security.hardening.rules import run_rules


def check_hardening(subject: Reference | Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Check an image, or a container, against hardening rules.

    Parameters
    ----------
    subject : Image or reference, or mapping
        ``container:NAME`` is a container of the engine, created or running (`containers` lists them); its
        image is checked apart. Files are listed: an engine saves the image for it, unless it was listed before.
        A mapping, or a list of one, is what ``docker inspect`` says of a container, for one that is elsewhere.

    Returns
    -------
    pandas.DataFrame
        ``HARDENING_COLUMNS``, one row per rule and piece of evidence: rule, cis and dockle (its ids there),
        result (passed, failed, or unknown with the reason in evidence), evidence (instruction, file or setting),
        layer_index (where it is one layer's), advice. The rules stand in `CONFIG_RULES`, `FILE_RULES`
        and `CONTAINER_RULES`.

    Raises
    ------
    ImagelabError
        The image or container cannot be loaded, or the mapping is of no container.
    """
    if isinstance(subject, list) and any(isinstance(one, Mapping) for one in subject):
        subject = subject[0] if len(subject) == 1 else {}  # docker inspect prints a list
    if isinstance(subject, Mapping):
        facts = ContainerFacts.of(subject)
        return run_rules(CONTAINER_RULES, facts, f"container:{facts.name}")
    if isinstance(subject, str) and subject.startswith("container:"):
        return run_rules(CONTAINER_RULES, ContainerFacts.load(subject), subject)
    image = one_image(cast(Reference, subject))
    return run_rules([*CONFIG_RULES, *FILE_RULES], ImageFacts(image), image.reference)
