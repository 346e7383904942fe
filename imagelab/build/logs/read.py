"""Read build logs of every builder and progress format into a DataFrame of steps."""

from __future__ import annotations

import contextlib
import json
import os
import re
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from imagelab.build.logs.history import exported, is_history_name
from imagelab.build.logs.others import KANIKO_LINE, PODMAN_STEP, read_kaniko, read_podman
from imagelab.build.logs.raw import is_event, read_events
from imagelab.build.logs.records import Facts, read_archive, read_document, read_stream
from imagelab.build.logs.text import CLASSIC_START, LONGEST_OUTPUT, PLAIN_LINE, Vertex, read_classic, read_plain
from imagelab.core.errors import DockerfileError
from imagelab.core.frames import make_frame
from imagelab.core.packed import read_packed
from imagelab.core.redact import mask

LOG_COLUMNS = {
    "vertex": "string",
    "stage": "string",
    "step": "Int64",
    "instruction": "string",
    "arguments": "string",
    "platform": "string",
    "started": "datetime64[us, UTC]",
    "completed": "datetime64[us, UTC]",
    "duration": "Float64",
    "cached": "boolean",
    "status": "string",
    "error": "string",
    "bytes": "Int64",
    "name": "string",
    "inputs": "string",
    "masked": "string",
    "output": "string",
}
#: The largest log that is read, in bytes after decompression.
MAX_LOG = 512_000_000

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")
#: CI services print it before each line or chunk of output; GitLab adds the stream, "00O " or "01E+".
_STAMP = re.compile(
    r"(?m)^\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z [\da-f]{2}[OE](?:[ +]|$)|(?:Z|[+-]\d\d:?\d\d)?\]?:?(?: |$))"
)
_FIRST = (
    r"(?:#\d{1,9} \[|Step [01](?:/\d+)? ?: |Sending build context to |\{\"(?:vertexes|statuses|logs)\":"
    r"|(?:\[1/\d+\] )?STEP 1(?:/\d+)?: |INFO\[[\dTZ:.+-]{4,40}\] |time=\S+ level=info |\{\"level\":\"info\",)"
)
_NAME = re.compile(
    r"\[(?P<stage>(?:[^\]]* )?)(?P<step>\d{1,9})/\d{1,9}\] "
    r"(?:ONBUILD )?(?P<instruction>[A-Z]+)(?: (?P<arguments>.*))?$",
    re.S,
)
_PLATFORM = re.compile(r"(?:^| )((?:[a-z0-9]+/[a-z0-9_]+|\w+\([\w.]+\)/\w+)(?:/v\d+)?(?:->\S+)?)(?= |$)")
_TASK = re.compile(
    r"(?s)(?:\[(?:[^\]]* )?(?:internal|auth|context \S+)\] |(?:\[[^\]]*\] )?(?=importing cache |resolv\w+ |[a-z+-]+://))(.*)"
)
_TERMINAL = re.compile(r"^\[\+\] (?:Building|Running) |^ => ", re.M)
#: How each text log begins, its reader, and where else its builder shows what changed; BuildKit has build records.
_TEXTS = (
    (PLAIN_LINE, read_plain, ""),
    (
        CLASSIC_START,
        read_classic,
        "the classic builder keeps no record; imagelab compare shows how the two images differ",
    ),
    (
        PODMAN_STEP,
        read_podman,
        "podman and buildah keep no record; compare podman history --no-trunc of the two images",
    ),
    (KANIKO_LINE, read_kaniko, "kaniko keeps no record; with --verbosity=debug it logs the cache key of each command"),
)
_UNREAD = {
    "Earthly": re.compile(r"^ *[\w./:-]*\+[\w.-]+(?: \*[\w ]+\*)? \| ", re.M),
    "Bazel": re.compile(r"^(?:INFO: (?:Analyzed \d*|Build completed|Invocation ID)|Analyzing: |Loading: \d)", re.M),
}
_IMAGE = "Read the image instead: `imagelab show IMAGE` lists what made its layers, with their sizes."
_COMPANION = (
    "provenance, metadata or a history record, which belongs to a build and has no steps with times. Give it beside the "
    "build's log: `il.explain_build([log, record], …)`, `imagelab why-rebuilt LOG AFTER --also-before RECORD`."
)
_RECORD = "`docker buildx build --progress=rawjson . 2> build.rawjson` records one that can."


def read_build_log(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a build's log into a DataFrame of steps.

    Supported are BuildKit's ``--progress=rawjson`` (also the older ``--trace``, and one SolveStatus as a JSON document),
    ``--progress=plain`` in its formats since 2019, build records (``.dockerbuild``, ``docker buildx history export``),
    traces in JSON (BuildKit, OTLP, Jaeger), and the output of the classic builder, podman, buildah and kaniko. The file
    can be compressed with gzip, contain other text, and have a CI service's time stamp or name before each line. If it
    contains several builds, the vertices of the second are ``2.1``, ``2.2`` …

    Parameters
    ----------
    path : path, ``"last"`` or ``"@ID"``
        A file; ``FILE#2`` is the second build of a file with several. Or a build of the engine's own history (`builds`),
        which runs ``docker buildx history export``.

    Returns
    -------
    DataFrame
        `LOG_COLUMNS`, a row per step, by start. ``stage`` and ``step`` are those of the log ("[builder 2/5]"); join on
        them with `read_dockerfile` and `plan_build`. ``stage`` is ``<NA>`` if the build has only one. ``instruction`` is
        ``internal`` for the builder's own tasks, ``LINK`` for the merge after ``COPY --link``, ``pull`` for the download
        of a base (apart from its FROM), ``export`` and ``unpack`` for the result. ``duration``: seconds,
        from timestamps or as printed. ``started`` and ``completed``: ``<NA>`` if the log has no timestamps. ``cached``:
        ``<NA>`` if the step did not finish. ``status``: done, cached, error, canceled, unfinished, or gap (the log is
        cut off there). ``bytes`` transferred: context sent, layers pulled. ``inputs``: the vertices that the step
        depends on, if the log has them. ``output``: the last 4,000 characters that
        the step printed. ``masked``: the kinds of secret masked in the row.

    Raises
    ------
    DockerfileError
        The file is not a build log (the message says what it is), or it is damaged (with the line).
    """
    found = [facts.vertices for facts in read_facts(path) if facts.vertices is not None]
    if not found:
        raise _refusal(Path(path).name, _COMPANION)
    for n, vertices in enumerate(found[1:], 2):
        for vertex in vertices:
            vertex.id = f"{n}.{vertex.id}"
            vertex.inputs = [f"{n}.{name}" for name in vertex.inputs]
    return steps_frame([vertex for vertices in found for vertex in vertices])


def steps_frame(vertices: list[Vertex]) -> pd.DataFrame:
    """The frame of `read_build_log` for these vertices."""
    return make_frame([_row(part) for vertex in vertices for part in vertex.split()], LOG_COLUMNS)


def read_facts(path: str | os.PathLike[str]) -> list[Facts]:
    """Read the builds in a log or record; the errors are those of `read_build_log`."""
    if is_history_name(path):
        with exported(str(path)) as file:
            return read_facts(file)
    if (one := re.fullmatch(r"(.+)#(\d{1,6})", os.fspath(path))) and not os.path.exists(path):
        builds = read_facts(one[1])
        if not 0 < int(one[2]) <= len(builds):
            raise DockerfileError(f"{one[1]} has no build {one[2]}; it has {len(builds)}, counted from 1.")
        return [builds[int(one[2]) - 1]]
    name = Path(path).name
    data = read_packed(Path(path), MAX_LOG, DockerfileError, "a build log")
    if data[257:262] == b"ustar":
        if b"buildkit.historyrecord" not in data:
            raise _refusal(name, f"a tar; {_RECORD}")
        return read_archive(data, name)
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"  # PowerShell redirects UTF-16
    text = re.sub(r"\r*\n|\r", "\n", data.decode(encoding, "replace"))
    text = _unwrapped(_STAMP.sub("", _ANSI.sub("", text)))
    objects = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.startswith("{")]
    document = _json(text)
    events = [(1, document)] if is_event(document) else []
    if events or any(is_event(_json(line)) for _, line in objects[:20]):
        return [Facts(vertices=read_events(events or _decoded(objects, name), name))]
    if document is None and text.lstrip()[:1] == "{":
        document = read_stream(text)
    with contextlib.suppress(ValueError, RecursionError):  # a damaged document inside
        if document is not None and (found := read_document(document, name)):
            return found
    starts = [(match.start(), read, more) for pattern, read, more in _TEXTS if (match := pattern.search(text))]
    if not starts:
        raise _refusal(name, _kind(text, document, objects))
    _, read, more = min(starts, key=lambda start: start[0])
    steps = groupby(read(text.split("\n")), key=lambda vertex: vertex.build)
    return [Facts(vertices=list(vertices), more=more) for _, vertices in steps]


def _refusal(name: str, what: str) -> DockerfileError:
    return DockerfileError(f"{name} is not a supported build log; it is {what}")


def _unwrapped(text: str) -> str:
    """Remove the prefix that a CI service or host adds to each line: the text before a build's first line, any digits."""
    if re.search(rf"^(?:{_FIRST}|#\d{{1,9}} (?:DONE|CACHED|CANCELED|ERROR|\d+\.\d)|Step \d+/)", text, re.M):
        return text
    found = {line[1] for line in re.finditer(f"^(.{{1,200}}?){_FIRST}", text, re.M)}
    wraps = {
        re.sub(r"\d+", r"\\d+", re.escape(wrap.rstrip())) + f"(?:{wrap[len(wrap.rstrip()) :]}|$)" for wrap in found
    }
    return re.sub(f"^(?:{'|'.join(sorted(wraps))})", "", text, flags=re.M) if wraps else text


def _json(text: str) -> Any:
    try:
        return json.loads(text) if text.lstrip()[:1] in ("{", "[") else None
    except (ValueError, RecursionError):
        return None


def _decoded(lines: list[tuple[int, str]], name: str) -> list[tuple[int, Any]]:
    decoded: list[tuple[int, Any]] = []
    for n, line in lines:
        value = _json(line)
        if is_event(value):
            decoded.append((n, value))
        elif value is not None:
            continue
        elif n == lines[-1][0]:
            decoded.append((n, None))  # the log is cut off here
        else:
            raise DockerfileError(f"{name} line {n}: invalid JSON in the middle of the log ({line[:60]!r}).")
    return decoded


def _kind(text: str, document: Any, objects: list[tuple[int, str]]) -> str:
    for builder, pattern in _UNREAD.items():
        if pattern.search(text):
            return f"the output of {builder}, which names no steps of a Dockerfile. {_IMAGE}"
    return f"{_other_kind(text, document, objects)}; {_RECORD}"


def _other_kind(text: str, document: Any, objects: list[tuple[int, str]]) -> str:
    if isinstance(document, dict) and document.keys() & {"layers", "config", "rootfs", "manifests"}:
        return "an image's manifest or config"
    if objects:
        found = ", ".join(map(str, _json(objects[0][1]) or ["no keys"]))[:80]
        return f"JSON lines without BuildKit's vertexes or statuses (they have {found})"
    if _TERMINAL.search(text):
        return "terminal progress, which is redrawn in place and cut to the terminal's width"
    line = mask(next((line.strip() for line in text.split("\n") if line.strip()), "")).text
    return f"other text ({line[:120]!r})" if line else "empty"


def _row(vertex: Vertex) -> dict[str, Any]:
    name, error, output = mask(vertex.name), mask(vertex.error), mask("".join(vertex.printed)[-LONGEST_OUTPUT:])
    return {
        **vars(vertex),
        **_parts(name.text),
        "vertex": vertex.id,
        "error": error.text or None,
        "output": output.text or None,
        "bytes": sum(vertex.transfers.values()) if vertex.transfers else None,
        "name": name.text or None,
        "inputs": " ".join(vertex.inputs) or None,
        "masked": " ".join(dict.fromkeys(name.kinds + error.kinds + output.kinds)) or None,
    }


def _parts(name: str) -> dict[str, Any]:
    """Parse a vertex's name into stage, step, instruction, arguments and platform."""
    if match := _NAME.match(name):
        stage, platform = match["stage"].strip(), None
        if found := _PLATFORM.search(stage):
            stage, platform = f"{stage[: found.start()]} {stage[found.end() :].strip()}".strip(), found[1]
        parts = {"stage": stage or None, "step": int(match["step"]), "platform": platform}
        return parts | {"instruction": match["instruction"], "arguments": match["arguments"]}
    if match := re.match(r"(?:Step \d+/\d+ : )?([A-Z]+) (.*)", name, re.S):
        return {"instruction": match[1], "arguments": match[2]}
    if match := re.match(r"\[(pull|unpack)\] (?:\[([^\]]*)\] )?(?:FROM |exporting )?(.*)", name, re.S):
        target = {"stage": match[2]} if match[1] == "unpack" and match[2] else {}  # of a bake
        return target | {"instruction": match[1], "arguments": match[3]}
    if match := _TASK.match(name):
        return {"instruction": "internal", "arguments": match[1]}
    if match := re.match(r"(?:\[([^\]]*)\] )?exporting (.*)", name, re.S):
        return {"stage": match[1], "instruction": "export", "arguments": match[2]}
    return {}
