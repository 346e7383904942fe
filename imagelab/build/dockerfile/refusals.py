"""Check what BuildKit checks after parsing: flags, numbers of arguments, names and values.

The rules are those of BuildKit's ``frontend/dockerfile/instructions`` and ``dockerfile2llb``, tested on BuildKit 0.25
(Engine 28). Flags of newer or experimental frontends are accepted, because ``# syntax=`` can name such a frontend.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from e2b_dockerfile_utils import DockerfileInstruction

from imagelab.build.dockerfile.grammar import parse_mount

_TABLES = tomllib.loads(Path(__file__).with_name("refusals.toml").read_text("utf-8"))
_FLAGS, _SINCE = _TABLES["flags"], _TABLES["since"]
_UNREAD = ("ARG", "STOPSIGNAL")  # BuildKit ignores their flags
_BOOLEANS = ("", "1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False")

_STAGE = re.compile(r"[a-z][a-z0-9_.-]*")
_PATH = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:(?:[\w.-]+|\[[0-9a-fA-F:]+\])(?::\d+)?/)?{_PATH}(?:/{_PATH})*(?::\w[\w.-]{{0,127}})?(?:@\w[\w.+-]*:[0-9a-f]{{32,}})?",
    re.ASCII,
)
_SIGNAL = re.compile(r"0*[1-9]\d*|[A-Z]+\d?(?:[+-]\d+)?", re.I)
_DURATION = re.compile(r"(?:\+?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+|[+-]?0)?")
_PORTS = re.compile(r"(?:.*:)?(\d{1,5})(?:-(\d{1,5}))?(?:/(?:tcp|udp|sctp)?)?", re.I)
_FLAG_VALUES = {key: re.compile(pattern) for key, pattern in _TABLES["flag_values"].items()}
_MOUNT_VALUES = {key: re.compile(pattern) for key, pattern in _TABLES["mount_values"].items()}
_MOUNT_KEYS = {"type", "from", "source", "target", "readonly", "rw", "id", "env", "mode", "uid", "gid"}
_MOUNT_OWN = {"secret": {"required"}, "ssh": {"required"}, "tmpfs": {"size"}, "cache": {"sharing"}, "bind": set[str]()}


def refusal(node: DockerfileInstruction, words: Sequence[str], flags: Sequence[tuple[str, str]]) -> str:
    """Why BuildKit refuses an instruction with these words and flags, both expanded; empty if it accepts it.

    Values that come from a variable are not checked: the base image's environment is unknown here.
    """
    known = [pair for raw, pair in zip(node.flags, flags, strict=True) if "$" not in raw or node.name == "FROM"]
    return (
        _flags(node)
        or _count(node, words)
        or _value(node, words)
        or next(filter(None, (_flag_value(key, text) for key, text in known)), "")
        or next(filter(None, (_mount(parse_mount(text)) for key, text in known if key == "mount")), "")
        or next(filter(None, map(_variable, node.flags, (text for _, text in flags))), "")
    )


def unsupported_flag(flags: Sequence[tuple[str, str]], syntax: str, built_in: Callable[[], str]) -> str:
    """Why the frontend that ``# syntax=`` names, else the engine's ``built_in`` version, does not know a flag of a step."""
    image = re.fullmatch(r"(?:docker\.io/)?docker/dockerfile(?::([\w.-]+))?(?:@.*)?", syntax.strip())
    if syntax and (not image or "labs" in (image[1] or "") or not re.fullmatch(r"\d+\.\d.*", image[1] or "")):
        return ""  # the newest version, an experimental one, or another frontend
    for name in (name for name, value in flags if value != "false" and name in _SINCE):
        version = image[1] if image and image[1] else built_in()
        if [int(part) for part in re.findall(r"\d+", version)[:2]] < [1, _SINCE[name]]:
            needed = f"1.{_SINCE[name]}"
            return (
                f"--{name} needs Dockerfile frontend {needed}, not {version}: write # syntax=docker/dockerfile:{needed}"
            )
    return ""


def bad_reference(name: str) -> str:
    """Why ``name`` is not a valid image reference; empty if it is."""
    if _REFERENCE.fullmatch(name):
        return ""
    return f"{name[:200]!r} is not a valid image reference; an ARG in it may have no value"


def _flags(node: DockerfileInstruction) -> str:
    if node.name in _UNREAD or (node.name == "HEALTHCHECK" and node.args[:1] and node.args[0].upper() == "NONE"):
        return ""
    known = {flag.rstrip("*?"): flag[-1] for flag in _FLAGS.get(node.name, "").split()}
    seen: set[str] = set()
    for flag in node.flags:
        name, equals, value = flag.removeprefix("--").partition("=")
        if name not in known:
            return f"unknown flag: --{name[:100]}"
        if name in seen and known[name] != "*":
            return f"duplicate flag specified: --{name}"
        seen.add(name)
        if not value and (equals if known[name] == "?" else not equals):
            return f"missing a value on flag: --{name}"
        if known[name] == "?" and value.lower() not in ("", "true", "false"):
            return f"expecting boolean value for flag --{name}, not: {value[:100]}"
    return ""


def _count(node: DockerfileInstruction, words: Sequence[str]) -> str:
    name, least = node.name, 2 if node.name in ("COPY", "ADD") else 1
    if name in ("RUN", "CMD", "ENTRYPOINT", "FROM", "ONBUILD") or len(words) >= least:
        return ""
    return f"{name} requires at least {('one argument', 'two arguments')[least - 1]}"


def _value(node: DockerfileInstruction, words: Sequence[str]) -> str:
    match node.name:
        case "COPY" | "ADD":
            return _copy(node, words)
        case "EXPOSE":
            return _expose(node, words)
        case "HEALTHCHECK":
            return _health(node, words)
        case "ENV" | "LABEL" if not all(node.args[::3]):
            return f"{node.name} names can not be blank"
        case "ARG" if not all(word.partition("=")[0] for word in node.args):
            return "ARG names can not be blank"
        case "FROM" if len(node.args) == 3 and not _STAGE.fullmatch(node.args[2].lower()):
            return f"invalid stage name: {node.args[2]!r}"
        case "SHELL" if not node.json:
            return "SHELL requires the arguments to be in JSON form"
        case "STOPSIGNAL" if "$" not in node.args[0] and not _SIGNAL.fullmatch(words[0]):
            return f"invalid signal: {words[0][:100]!r}"
        case "VOLUME" if not all(word or "$" in raw for raw, word in zip(node.args, words, strict=True)):
            return "VOLUME specified can not be an empty string"
    return ""


def _copy(node: DockerfileInstruction, words: Sequence[str]) -> str:
    if re.match(r"\d*<<-?.", words[-1]) and any(words[-1].endswith(doc.name) for doc in node.heredocs):
        return f"{node.name} cannot accept a heredoc as a destination"
    if node.name == "COPY" and any(re.match("https?://", word) for word in words[:-1]):
        return "source can't be a URL for COPY"
    return ""


def _expose(node: DockerfileInstruction, words: Sequence[str]) -> str:
    for raw, word in zip(node.args, words, strict=True):
        ports = _PORTS.fullmatch(word)
        if "$" not in raw and not (ports and int(ports[1]) <= int(ports[2] or ports[1]) <= 65535):
            return f"invalid port: {word[:100]!r}"
    return ""


def _health(node: DockerfileInstruction, words: Sequence[str]) -> str:
    kind = words[0].upper()
    if kind == "NONE":
        return "HEALTHCHECK NONE takes no arguments" if len(words) > 1 else ""
    if kind != "CMD":
        return f"unknown type {kind[:100]!r} in HEALTHCHECK (try CMD)"
    for name, _, value in (flag.partition("=") for flag in node.flags):  # BuildKit does not expand them
        if not (re.fullmatch(r"\+?\d{0,10}", value) if name == "--retries" else _DURATION.fullmatch(value)):
            return f"invalid value of {name}: {value[:100]!r}"
    return "" if len(words) > 1 else "missing command after HEALTHCHECK CMD"


def _flag_value(name: str, value: str) -> str:
    pattern = _FLAG_VALUES.get(name)
    return f"invalid {name}: {value[:100]!r}" if pattern and not pattern.fullmatch(value) else ""


def _variable(flag: str, expanded: str) -> str:
    name, _, value = flag.removeprefix("--").partition("=")
    source = parse_mount(value).get("from", "") if name == "mount" else value if name == "from" else ""
    if "$" in source:
        return "variables are not allowed in from=; use the variable in a FROM above (FROM $NAME AS stage) and name that stage"
    if name == "platform" and value and not expanded:
        return f"{value[:200]} is empty; give the ARG in it a value"
    return ""


def _mount(mount: Mapping[str, str]) -> str:
    kind = mount["type"].lower()
    if kind not in _MOUNT_OWN:
        return f"unsupported mount type {kind[:100]!r}"
    for key, value in mount.items():
        if key not in _MOUNT_KEYS | _MOUNT_OWN[kind]:
            return f"unexpected key {key[:100]!r} for mount type {kind!r}"
        if key in ("readonly", "rw", "required") and value not in _BOOLEANS:
            return f"invalid value for {key}: {value[:100]}"
        if key in _MOUNT_VALUES and not _MOUNT_VALUES[key].fullmatch(value):
            return f"invalid value for {key}: {value[:100]!r}"
    # A relative target is below the WORKDIR, which the base image may set.
    if kind in ("bind", "cache", "tmpfs") and mount["target"] == "/":
        return "invalid mount target: '/'"
    if kind == "secret" and not (mount.get("id") or mount.get("source") or mount["target"]):
        return "a secret mount needs an id or a target"
    return ""
