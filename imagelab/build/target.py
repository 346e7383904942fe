"""Read what a build is made of: a directory, a compose.yaml's service or a docker-bake file's target."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from imagelab.build.dockerfile.syntax import read_text
from imagelab.core.errors import DockerfileError, similar_names
from imagelab.core.json_fields import labels, mapping, string, strings
from imagelab.core.text import clean

_WORD = r"(?:[^{}]|\{[^{}]*\})*"  # of ${NAME:-word}, which can contain variables
_VARIABLE = re.compile(rf"\$(?:\$|(\w+)|\{{(\w+)(?:(:?[-+?])((?:[^{{}}]|\{{{_WORD}\}})*))?\}})")

#: The first engine with a frontend 1.N → N (the release notes of the engine and of BuildKit).
_FRONTENDS = {(0, 0): 2, (23, 0): 4, (25, 0): 6, (27, 0): 8, (28, 0): 14, (28, 3): 17, (28, 5): 19, (29, 1): 20}


@dataclass(frozen=True)
class BuildTarget:
    """The definition of a build: what ``docker buildx build`` is given."""

    context: Path
    dockerfile: Path
    inline: str | None = None  # a Dockerfile's text (dockerfile-inline)
    args: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    contexts: Mapping[str, str] = field(default_factory=dict)  # named contexts: a directory, or a URL with its scheme
    network: str | None = None
    no_cache: str | None = None  # stages whose cached results are not used, as in BuildKit's attribute; "": all

    @property
    def text(self) -> str:
        """The Dockerfile's text."""
        return read_text(self.dockerfile) if self.inline is None else self.inline


def read_target(
    source: str | os.PathLike[str],
    service: str | None = None,
    dockerfile: str | os.PathLike[str] | None = None,
    **changed: Any,
) -> BuildTarget:
    """Read a build's definition.

    Parameters
    ----------
    source : path
        A context's directory, a Compose file (``.yaml``, ``.yml``) or a bake file (``.hcl``, ``.json``).
    service : str, optional
        The service of the Compose file, or the target of the bake file (or its group, if that has one target); needed if
        it has several.
    dockerfile : path, optional
        As in ``--file``; overrides the file's.
    **changed
        ``args``, ``target``, ``contexts`` and ``network``; values that are not None override the file's, of ``args`` and
        ``contexts`` name by name.

    Raises
    ------
    DockerfileError
        There is no such file, service or context, or the context is not a local directory.
    """
    path = Path(source)
    if not is_definition(source):
        if service is not None:
            raise DockerfileError(f"{str(source)[:200]!r} has no services; expected a compose.yaml or a bake file.")
        found: dict[str, Any] = {}
        root, context = path, str(source)
    else:
        builds = _compose(path, service) if path.suffix in (".yaml", ".yml") else _bake(path, service)
        name = next(iter(builds)) if service is None and len(builds) == 1 else service
        if name not in builds:
            what = "needs a service or target" if name is None else f"has no service or target {name!r} with a build"
            raise DockerfileError(f"{path.name} {what}. {similar_names(name or '', builds)}")
        found = builds[name]
        root = path.parent / (context := string(found.get("context")) or ".")
    if re.match(r"\w+://|git@|github\.com/", context):
        raise DockerfileError(f"The build context {clean(context, 200)} is not local; clone it and give the directory.")
    inline, named = string(found.get("dockerfile-inline")), string(found.get("dockerfile"))
    root, file = find_dockerfile(root, dockerfile or (root / named if named and not inline else None))
    given = [*_pairs(found, "contexts"), *_pairs(found, "additional-contexts")]  # of a bake file, of a Compose file
    contexts = {key: str(path.parent / value) if _is_path(value) else value for key, value in given}
    no_cache = "" if found.get("no-cache") is True else ",".join(strings(found.get("no-cache-filter"))) or None
    target = BuildTarget(root, file, None if dockerfile else inline, dict(_pairs(found, "args")), contexts=contexts)
    network = string(found.get("network"))
    target = replace(target, target=string(found.get("target")), network=network, no_cache=no_cache)
    for key in ("args", "contexts"):
        changed[key] = {**getattr(target, key), **(changed.get(key) or {})}
    return replace(target, **{key: value for key, value in changed.items() if value is not None})


def without_cache(stages: str | None, stage: str) -> bool:
    """Whether BuildKit's attribute ``no-cache``, a list of stages or "" for all, names this stage.

    As in BuildKit's ``frontend/dockerui``: ``docker buildx build --no-cache`` and ``--no-cache-filter`` set it.
    """
    return stages == "" or (stages is not None and stage.lower() in stages.lower().split(","))


def is_definition(source: str | os.PathLike[str]) -> bool:
    """Whether ``source`` is a Compose or bake file."""
    return os.path.splitext(source)[1] in (".yaml", ".yml", ".hcl", ".json") and os.path.isfile(source)


def find_dockerfile(directory: str | os.PathLike[str], dockerfile: str | os.PathLike[str] | None) -> tuple[Path, Path]:
    """The context's directory and the Dockerfile's path; ``dockerfile`` is relative to the context or to here."""
    root = Path(directory)
    if not os.path.isdir(root):
        raise DockerfileError(f"{str(directory)[:200]!r} is not a directory; expected a build context.")
    if dockerfile is None:
        return root, root / "Dockerfile"
    for path in (root / dockerfile, Path(dockerfile)):
        if os.path.isfile(path):
            return root, path
    raise DockerfileError(f"The Dockerfile {str(dockerfile)[:200]!r} is neither in {root} nor in the current folder.")


def _is_path(context: str) -> bool:
    return not re.match(r"[a-z-]+:", context)


def _pairs(build: Mapping[str, Any], key: str) -> list[tuple[str, str]]:
    """A mapping's pairs, or those of a list of NAME=VALUE; a build argument without a value comes from the environment."""
    value = build.get(key)
    if isinstance(value, list):
        pairs = (pair.partition("=") for pair in strings(value))
        value = {name: text if equals else None for name, equals, text in pairs}
    texts = {name: str(text).lower() if isinstance(text, bool) else text for name, text in mapping(value).items()}
    given = {name: os.environ.get(name) if text is None else str(text) for name, text in texts.items()}
    return list(labels(given).items())


def _run(command: list[str], path: Path | None = None) -> tuple[str | None, str]:
    """What a Docker command prints (None if the command is missing or fails), and the end of its errors."""
    try:
        done = subprocess.run(["docker", *command], cwd=path and path.parent, capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    printed, errors = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
    return None if done.returncode else printed, clean(errors.strip().split("\n")[-1], 300)


def _document(printed: str | None, *escaped: str) -> dict[str, Any] | None:
    """Printed JSON. The commands print files that they can read again: the first character of a literal stands twice."""
    for literal in escaped:
        printed = printed and printed.replace(literal[0] + literal, literal)
    with contextlib.suppress(ValueError):
        return mapping(json.loads(printed or ""))
    return None


@cache
def engine_frontend(host: str | None) -> str:
    """The version of the Dockerfile frontend in the engine (``host`` is $DOCKER_HOST); Engine 28.5's if none answers."""
    engine = re.match(r"(\d+)\.(\d+)", _run(["version", "--format={{.Server.Version}}"])[0] or "") or ("", 28, 5)
    return f"1.{max(n for since, n in _FRONTENDS.items() if since <= (int(engine[1]), int(engine[2])))}"


def _bake(path: Path, target: str | None) -> dict[str, dict[str, Any]]:
    """The targets of a bake file, resolved by ``docker buildx bake --print``."""
    text, why = _run(["buildx", "bake", "--print", "-f", path.name, *([target] if target else [])], path)
    if text is None and path.suffix == ".json":  # it may be the saved output of --print
        text = read_text(path)
        if re.search(r"(?<![$%])[$%]\{|\"(?:inherits|variable|function|matrix)\"\s*:", text):
            text = None
    printed = _document(text, "${", "%{")
    if printed is None:
        raise DockerfileError(
            f"{path.name} cannot be resolved by buildx ({why}). Name one of its targets (service); or, where buildx is, run "
            f"`docker buildx bake --print -f {path.name} > bake.json`, and give that file."
        )
    builds = {name: mapping(build) for name, build in mapping(printed, "target").items()}
    if target is None or target in builds:
        return builds
    members = [target]  # of a group, which can contain groups
    for name in members:
        members += set(strings(mapping(printed, "group", name).get("targets"))) - set(members)
    found = [name for name in builds if name in members]
    if len(found) > 1:
        raise DockerfileError(f"{target} is a group of several targets in {path.name}; choose one: {', '.join(found)}.")
    return {target: builds[found[0]]} if found else builds


def _compose(path: Path, service: str | None) -> dict[str, dict[str, Any]]:
    """The services of a Compose file that have a build: by ``docker compose config`` if that works, else read here."""
    import yaml

    document = _document(_run(["compose", "--profile=*", "-f", path.name, "config", "--format", "json"], path)[0], "$")
    if document is None:
        try:
            document = yaml.safe_load(_interpolated(read_text(path), path))
        except yaml.YAMLError as error:
            raise DockerfileError(f"{path.name} is not valid YAML: {str(error)[:200]}.") from error
        needed = [mapping(item) for name, item in mapping(document, "services").items() if service in (None, name)]
        if "include" in mapping(document) or any("extends" in item for item in needed):
            command = f"docker compose -f {path.name} config > resolved.yaml"
            raise DockerfileError(
                f"{path.name} uses extends or include. Run `{command}` where Docker is; give that file."
            )
    services = {name: mapping(service).get("build") for name, service in mapping(document, "services").items()}
    builds = {name: {"context": build} if isinstance(build, str) else build for name, build in services.items()}
    return {
        name: {key.replace("_", "-"): value for key, value in mapping(build).items()}
        for name, build in builds.items()
        if build
    }


def _interpolated(text: str, path: Path) -> str:
    """``$NAME``, ``${NAME:-default}`` and the like, from the environment and from ``.env`` next to the file."""
    values = dict(os.environ)
    if (file := path.parent / ".env").is_file():
        lines = (line.partition("=") for line in read_text(file).split("\n") if not line.startswith("#"))
        values = {name.strip(): value.strip().strip("\"'") for name, equals, value in lines if equals} | values

    def value(match: re.Match[str]) -> str:
        name, operator, word = match[1] or match[2], match[3] or "", _VARIABLE.sub(value, match[4] or "")
        known = values.get(name) if name else "$"
        is_set = bool(known) if operator.startswith(":") else known is not None
        if operator.endswith("?") and not is_set:
            raise DockerfileError(f"{path.name} needs the variable {name}: {word}")
        return (word if is_set else "") if operator.endswith("+") else (known or "") if is_set else word

    return _VARIABLE.sub(value, text)
