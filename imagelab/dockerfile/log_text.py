"""BuildKit's plain progress and the classic builder's text → vertices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

PLAIN_LINE = re.compile(r"^#(\d{1,9})(?: (.*)|)$", re.M)
CLASSIC_STEP = re.compile(r"^Step (\d{1,9})(?:/\d+)? ?: (.+)$", re.M)

_UNITS = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,9})?) ?([kKMGT]?B)\b")
_TRANSFER = re.compile(r"(transferring [^\d]{0,80}?:|sha256:[0-9a-f]{12,64}) (?=\d)")
_OUTPUT = re.compile(r"\d+\.\d+(?: |$)")  # seconds since the step's start, then what the command printed
_DETAIL = re.compile(r"\s+(digest|name|started|completed|duration|cached|error): (.*)")
_PARTS = re.compile(r"(\d+(?:\.\d+)?)(ms|µs|us|ns|h|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "ns": 1e-9}
_FAILED = re.compile(r"(The command .* returned a non-zero code: \d+|(?:COPY|ADD) failed: .*|failed to .*)")


@dataclass
class Vertex:
    """What a log tells of one step of a build."""

    id: str
    name: str = ""
    started: datetime | None = None
    completed: datetime | None = None
    duration: float | None = None
    cached: bool | None = None
    status: str = "unfinished"
    error: str = ""
    transfers: dict[str, int] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    stage: str | None = None
    step: int | None = None

    def end(self, status: str, duration: float | None = None) -> None:
        self.status, self.duration = status, duration
        self.cached = {"cached": True, "done": False, "error": False}.get(status)


def read_plain(lines: Sequence[str]) -> list[Vertex]:
    """Vertices of ``--progress=plain``: blocks of ``#n …`` lines, interleaved, each begun by the vertex's name."""
    vertices: dict[str, Vertex] = {}
    before, failing = "", ""
    for line in lines:
        match = PLAIN_LINE.match(line)
        if not match:
            # the summary of a failure: " > NAME:", then the failing vertex's last lines
            failing = line[3:].rstrip(":") if line.startswith(" > ") else failing if line else ""
            before = ""
            continue
        number, body = match[1], match[2] or ""
        if number == "0":  # which builder is used
            continue
        vertex = vertices.setdefault(number, Vertex(number))
        if failing and not vertex.name:
            vertex.name = failing
        is_new, before = before != number, number
        _read_line(vertex, body, is_new)
    return sorted(vertices.values(), key=lambda vertex: int(vertex.id))


def _read_line(vertex: Vertex, body: str, is_new: bool) -> None:
    if body == "CACHED":
        vertex.end("cached", 0.0)
    elif done := re.fullmatch(r"DONE (\d+(?:\.\d+)?)s", body):
        vertex.end("done", float(done[1]))
    elif body == "CANCELED":
        vertex.end("canceled")
    elif body.startswith("ERROR"):
        vertex.end("error")
        vertex.error = body.removeprefix("ERROR").removeprefix(":").strip() or "failed"
    elif _OUTPUT.match(body) or body == "...":
        return
    elif detail := _DETAIL.match(body):  # the form of 2018: a block of facts under the name
        if detail[1] == "duration":
            vertex.end("cached" if vertex.cached else "done", _seconds(detail[2]))
        elif detail[1] == "cached":
            vertex.end("cached", 0.0)
        elif detail[1] == "error":
            vertex.end("error")
            vertex.error = detail[2].strip('"')
    elif transfer := _TRANSFER.match(body):
        size = _SIZE.match(body, transfer.end())
        if size:
            vertex.transfers[transfer[1]] = max(_bytes(size), vertex.transfers.get(transfer[1], 0))
    elif is_new and not vertex.name:
        vertex.name = body


def read_classic(lines: Sequence[str]) -> list[Vertex]:
    """Vertices of the classic builder's text; it runs one step at a time and prints no times."""
    vertices: list[Vertex] = []
    stages = -1
    stage: str | None = None
    for line in lines:
        if match := CLASSIC_STEP.match(line):
            if vertices and vertices[-1].status == "unfinished":
                vertices[-1].end("done")
            if base := re.match(r"FROM\s+\S.*?(?:\s+AS\s+(\S+))?\s*$", match[2], re.I):
                stages += 1
                stage = (base[1] or f"stage-{stages}").lower()
            vertices.append(Vertex(str(len(vertices) + 1), match[2], stage=stage, step=int(match[1])))
        elif line.startswith("Sending build context"):
            size = _SIZE.search(line)
            sent = {"context": _bytes(size)} if size else {}
            vertices.append(Vertex("1", "[internal] load build context", transfers=sent))
            vertices[-1].end("done")
        elif not vertices:
            continue
        elif line.strip() == "---> Using cache":
            vertices[-1].end("cached", 0.0)
        elif line.startswith("Successfully built ") and vertices[-1].status == "unfinished":
            vertices[-1].end("done")
        elif vertices[-1].status == "unfinished" and (failed := _FAILED.match(line)):
            vertices[-1].error = failed[1]
    last = vertices[-1]
    for vertex in vertices:
        if vertex.error and vertex is last:
            vertex.end("error")
        else:
            vertex.error = ""  # a command's own output, since the build went on
    return vertices


def _bytes(size: re.Match[str]) -> int:
    return round(float(size[1]) * _UNITS[size[2]])


def _seconds(text: str) -> float | None:
    parts = _PARTS.findall(text)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts) if parts else None
