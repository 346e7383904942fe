"""Hardening rules for an image's config and history."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from imagelab.core.errors import ImagelabError
from imagelab.core.json_fields import mapping
from imagelab.core.model import Image
from imagelab.core.redact import mask_document
from imagelab.core.references import parse_image_name
from imagelab.images.load import load_image
from imagelab.images.tables.contents import read_file
from imagelab.images.tables.files import files
from imagelab.images.tables.history import history
from imagelab.images.tables.provenance import PROVENANCE
from imagelab.security.hardening.rules import Evidence, Unknown, identity, is_root, load_rules


@dataclass
class ImageFacts:
    """The image's facts for the rules, each read once."""

    image: Image

    @cached_property
    def config(self) -> dict[str, Any]:
        return mapping(self.image.config.get("config"))

    @cached_property
    def history(self) -> pd.DataFrame:
        return history(self.image)

    @cached_property
    def files(self) -> pd.DataFrame:
        """Every entry of every layer; Unknown if the source has no files."""
        try:
            return files(self.image)
        except ImagelabError as error:
            raise Unknown(f"files cannot be listed: {error}") from error

    @cached_property
    def visible(self) -> pd.DataFrame:
        return self.files[self.files["visible"]]

    @property
    def user(self) -> str:
        user = self.config.get("User")
        return user if isinstance(user, str) else ""

    def steps(self, instruction: str) -> Iterator[tuple[str, int | None]]:
        """Arguments and layer of the steps of one instruction."""
        steps = self.history[self.history["instruction"] == instruction]
        for arguments, layer in zip(steps["arguments"], steps["layer_index"], strict=True):
            yield arguments, None if pd.isna(layer) else int(layer)

    def accounts(self) -> dict[str, tuple[int, int]]:
        """``/etc/passwd``: name → (uid, gid)."""
        try:
            lines = read_file(self.image, "/etc/passwd").decode("utf-8", "replace").splitlines()
        except ImagelabError as error:
            raise Unknown(f"/etc/passwd cannot be read: {error}") from error
        found: dict[str, tuple[int, int]] = {}
        for name, _, *ids in (line.split(":") for line in lines if line.count(":") > 3):
            uid, gid = map(identity, ids[:2])
            if uid is not None and gid is not None:
                found.setdefault(name, (uid, gid))  # the first entry counts, as in getpwnam(3)
        return found

    @cached_property
    def run_as(self) -> tuple[int, int | None]:
        """uid and gid of the config's user; None is an unknown group."""
        name, _, group = self.user.partition(":")
        uid, gid = identity(name), identity(group)
        if is_root(self.user):
            return 0, 0
        if uid is not None:
            return uid, gid
        known = self.accounts().get(name)
        if known is None:
            raise Unknown(f"USER {name} is not in /etc/passwd")
        return known[0], gid if group else known[1]


def root_user(facts: ImageFacts) -> Iterator[Evidence]:
    if is_root(facts.user):
        yield Evidence(f"USER {facts.user}" if facts.user else "no USER instruction: runs as root")
        return
    with suppress(Unknown):  # without /etc/passwd, the name alone decides
        if facts.run_as[0] == 0:
            yield Evidence(f"USER {facts.user} has uid 0 in /etc/passwd")


def healthcheck(facts: ImageFacts) -> Iterator[Evidence]:
    test = mapping(facts.config.get("Healthcheck")).get("Test")
    if not test:
        yield Evidence("no HEALTHCHECK instruction")
    elif test == ["NONE"]:
        yield Evidence("HEALTHCHECK NONE")


def secrets(facts: ImageFacts) -> Iterator[Evidence]:
    found = [(redaction.where, redaction.kind) for redaction in facts.image.redactions]
    history = [{"created_by": entry.created_by, "comment": entry.comment} for entry in facts.image.history]
    found += mask_document({"config": facts.config, "history": history})[1]  # if loaded with redact=False
    for where, kind in dict.fromkeys(found):
        yield Evidence(f"{where}: {kind}")


def add_url(facts: ImageFacts) -> Iterator[Evidence]:
    for arguments, layer in facts.steps("ADD"):
        if re.search(r"(?:^|\s|\[\"|\")(?:https?|ftp)://|(?:^|\s)git@", arguments) and "--checksum=" not in arguments:
            yield Evidence(f"ADD {arguments}", layer)


def base_pinned(facts: ImageFacts) -> Iterator[Evidence]:
    labels = _labels(facts)
    name, digest = (labels.get(f"org.opencontainers.image.base.{key}") for key in ("name", "digest"))
    if not name and not digest:
        raise Unknown("the image does not name its base (labels org.opencontainers.image.base.*)")
    if not digest and "@sha256:" not in (name or ""):
        yield Evidence(f"built on {name}, without a digest")


def base_current(facts: ImageFacts) -> Iterator[Evidence]:
    """Compare the base's digest (provenance, labels) with that of the engine's image of the same name."""
    labels = _labels(facts)
    named = facts.history["base"].dropna()
    name, _, digest = (str(named.iloc[-1]) if len(named) else "").partition("@")
    name = name or labels.get("org.opencontainers.image.base.name", "")
    digest = digest or labels.get("org.opencontainers.image.base.digest", "")
    if not name or not digest:
        raise Unknown("the image does not name its base with a digest (in a provenance or in labels)")
    try:
        now = load_image(f"docker-daemon:{name}")  # the image's author chose the name: no host, no file
    except ImagelabError as error:
        raise Unknown(f"{name} cannot be loaded to compare: {str(error).splitlines()[0]}") from error
    if digest not in (now.manifest_digest, now.index_digest):
        yield Evidence(f"built on {name}@{digest}, which is another image now")


def _attached(what: str, *kinds: str) -> Callable[[ImageFacts], Iterator[Evidence]]:
    """Make a check that an attestation of one of these predicate types is attached."""

    def check(facts: ImageFacts) -> Iterator[Evidence]:
        image = facts.image
        if image.transport not in ("docker", "oci", "oci-archive", "docker-archive"):
            raise Unknown(f"{image.transport}: does not show attestations; check the image in its registry")
        try:
            found = image.source.attestations(image) if image.source else {}
        except ImagelabError as error:
            raise Unknown(f"the attestations cannot be read: {error}") from error
        if not any(kind.startswith(kinds) for kind in found):
            yield Evidence(f"no {what} is attached")

    return check


provenance = _attached("provenance", PROVENANCE)
sbom = _attached("SBOM", "https://spdx.dev/Document", "https://cyclonedx.org/bom")


def latest_tag(facts: ImageFacts) -> Iterator[Evidence]:
    for tag in facts.image.tags:
        if (name := parse_image_name(tag)) and name.target == "latest":
            yield Evidence(f"tag {tag}")


def _commands(pattern: str, unless: str | None = None) -> Callable[[ImageFacts], Iterator[Evidence]]:
    """Make a check that no RUN command matches the pattern, unless it matches the other one too."""
    wrong = re.compile(pattern)

    def check(facts: ImageFacts) -> Iterator[Evidence]:
        for arguments, layer in facts.steps("RUN"):
            if (found := wrong.search(arguments)) and not (unless and re.search(unless, arguments)):
                yield Evidence(f"RUN … {found[0].strip()}", layer)

    return check


sudo = _commands(r"(?:^|[\s;&|(])sudo(?=\s|$)")
upgrade = _commands(
    r"apt(?:-get|itude)?(?:\s+-\S+)*\s+(?:(?:dist|full)-)?upgrade|apk(?:\s+-\S+)*\s+upgrade"
    r"|(?:yum|dnf|microdnf)(?:\s+-\S+)*\s+(?:update|upgrade)(?=\s*(?:-y\s*)?(?:[;&|]|$))"
)
update = _commands(
    r"(?:apt-get|apt|apk)(?:\s+-\S+)*\s+update", r"\b(?:install|add|(?:full-|dist-)?upgrade|build-dep|download)\b"
)


def exposed_ssh(facts: ImageFacts) -> Iterator[Evidence]:
    if {"22", "22/tcp"} & mapping(facts.config.get("ExposedPorts")).keys():
        yield Evidence("EXPOSE 22")


def shell_form(facts: ImageFacts) -> Iterator[Evidence]:
    for key in ("Entrypoint", "Cmd"):
        words = facts.config.get(key)
        if isinstance(words, list) and len(words) == 3 and words[1] == "-c" and str(words[0]).endswith("sh"):
            if not re.match(r"\s*exec\s", str(words[2])):
                yield Evidence(f"{'ENTRYPOINT' if key == 'Entrypoint' else 'CMD'} {words[2]} runs in {words[0]}")
            return


def sensitive_volumes(facts: ImageFacts) -> Iterator[Evidence]:
    for path in sorted(mapping(facts.config.get("Volumes"))):
        if re.fullmatch(r"/(?:(?:dev|proc|sys|etc|boot|root)(?:/[^/]*)?|var/run/docker\.sock)?", path):
            yield Evidence(f"VOLUME {path}")


def labels(facts: ImageFacts) -> Iterator[Evidence]:
    present, wanted = _labels(facts), ("title", "version", "revision", "source", "licenses")
    if missing := [key for key in wanted if not present.get(f"org.opencontainers.image.{key}")]:
        yield Evidence("missing: " + ", ".join(missing))


def _labels(facts: ImageFacts) -> dict[str, str]:
    labels = facts.image.annotations | mapping(facts.config.get("Labels"))
    return {name: value for name, value in labels.items() if isinstance(value, str)}


CONFIG_RULES = load_rules("config", globals())
