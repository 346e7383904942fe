"""Improve a Dockerfile: propose edits, build each, prove that the image stays the same, and measure the gain."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import IO

import pandas as pd

from imagelab.build.logs.cost import step_seconds
from imagelab.core.atomic import write_atomically
from imagelab.core.errors import DaemonUnavailable, DockerfileError
from imagelab.core.model import Image
from imagelab.images.load import load_image
from imagelab.images.tables.files import files
from imagelab.improve.answer import Improvement
from imagelab.improve.edits import Project, read_project
from imagelab.improve.engine import trial
from imagelab.improve.search import Search


def improve(
    directory: str | os.PathLike[str],
    dockerfile: str | os.PathLike[str] | None = None,
    *,
    service: str | None = None,
    target: str | None = None,
    args: Mapping[str, str] | None = None,
    contexts: Mapping[str, str] | None = None,
    network: str | None = None,
    check: str | None = None,
    check_network: str = "none",
    only: Collection[str] = (),
    without: Collection[str] = (),
    tries: Collection[str] = (),
    image: str | Image | None = None,
    log: str | os.PathLike[str] | pd.DataFrame | None = None,
    build: bool = True,
    write: bool = False,
) -> Improvement:
    """Turn advice on a Dockerfile into a patch that was built, compared and measured.

    Each edit is built on Docker's engine on top of those proven before it. It is proven if the final filesystem and
    the configuration stay the same, except for what the edit announces and what differs between two fresh builds of the
    unchanged Dockerfile, and if the check ends the same way. Everything that the trial makes on the engine or the disk
    is deleted at the end. Build cache records count as the trial's if they appeared during it and ran one of its commands.

    Parameters
    ----------
    directory : path
        The build context; or a Compose or bake file, whose patch is relative to the context of the service or target.
    dockerfile : path, optional
    service : str, optional
        The service of the Compose file, or the target of the bake file; needed if it has several.
    target, args, contexts, network
        As ``docker build`` takes them: ``--target``, ``--build-arg``, ``--build-context``, ``--network``.
    check : str, optional
        A command that is run in a container of each image and must exit with the same code. Without it: the image's
        health check succeeds, or its program starts and behaves as before.
    check_network : str
        The network of the check's containers; none by default.
    only, without : collection of str
        Rules to apply, or to leave out.
    tries : collection of str
        ``base=IMAGE`` or ``user=NAME``: changes of behaviour to build and measure. They are rows of the answer, with
        the differences in ``why``, and never part of the patch.
    image : reference or Image, optional
        An image of this project, for predicted bytes without building.
    log : path or DataFrame, optional
        A log of a build that ran the steps (`read_build_log`), for predicted seconds without building.
    build : bool
        False: only propose and predict; every result is ``not built``. So it is where no engine answers.
    write : bool
        Write the proven patch to the project's files.

    Returns
    -------
    Improvement
        ``edits`` (a DataFrame, `IMPROVE_COLUMNS`), ``before`` and ``after`` (`Measures`), ``patch`` (a unified diff, relative to
        the context; where the Dockerfile lies outside it, to the nearest folder with both).

    Raises
    ------
    DockerfileError
        The Dockerfile or context cannot be read, or the unchanged Dockerfile does not build.
    ImagelabError
        A check that fails in the unchanged image, an unknown rule.
    """
    options = {"args": args, "target": target, "contexts": contexts, "network": network}
    project = read_project(directory, dockerfile, service, **options)
    if not project.dockerfile:
        raise DockerfileError(
            f"{directory} contains the Dockerfile's text; save it as a file, and name that as dockerfile."
        )
    search = Search(project, only, without, tries, check, check_network)
    if image is not None:
        loaded = load_image(image) if isinstance(image, str) else image
        search.stored = files(loaded)
        search.walk.project = replace(project, depth=len(loaded.layers))
    search.seconds = step_seconds(log, {stage.name for stage in project.build.stages})
    why = "build=False" if not build else ""
    if build:
        try:
            with trial(project) as running:
                search.run(running)
        except DaemonUnavailable as error:
            why = str(error)
    if why:
        search.propose(why)
    result = search.result(why)
    if write and result.patch and not why:
        _write(project, search.walk.project)
    return result


def _write(before: Project, after: Project) -> None:
    """The proven texts, in place of the old ones."""
    assert before.root
    for name, old, new in (
        (after.dockerfile, before.text, after.text),
        (after.ignore, before.ignore_text, after.ignore_text),
    ):
        if new is not None and new != old:
            write_atomically(before.root / name, partial(_put, new.encode("utf-8", "surrogateescape")))


def _put(data: bytes, file: IO[bytes]) -> None:
    file.write(data)
