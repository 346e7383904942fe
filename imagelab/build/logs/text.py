"""Read BuildKit's plain progress and the classic builder's output into vertices."""

from __future__ import annotations

import contextlib
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pandas as pd

PLAIN_LINE = re.compile(r"^#(\d{1,9})(?: (.*)|)$", re.M)
CLASSIC_START = re.compile(r"^(?:Step \d{1,9}(?:/\d+)? ?: .|Sending build context to Docker daemon)", re.M)
CLASSIC_STEP = re.compile(r"^Step (\d{1,9})(?:/\d+)? ?: (.+)$", re.M)

_UNITS = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,9})?) ?([kKMGT]?B)\b")
_TRANSFER = re.compile(r"(transferring [^\d]{0,80}?:|sha256:[0-9a-f]{12,64}) (?=\d)")
_OUTPUT = re.compile(r"\d+\.\d+(?: |$)")  # seconds since the step's start, then what the command printed
_DETAIL = re.compile(r"\s+(name|started|completed|cached|error): (.*)")  # of Docker 18.09
_STEP = re.compile(r"\d+/\d+\] ")
_FAILED = re.compile(  # Compose names the service first
    r"(?:Error response from daemon: |(?:ERROR: )?Service '[^']*' failed to build ?: )?"
    r"(The command .* returned a non-zero code: \d+|(?:COPY|ADD) failed: .*|failed to .*|pull access denied .*"
    r"|manifest for .* not found.*|Error processing tar file.*|the --\w+ option requires BuildKit.*)"
)

LONGEST_OUTPUT = 4000  # characters


@dataclass
class Vertex:
    """A vertex of a build's graph: a step or a task of the builder."""

    id: str
    name: str = ""
    started: datetime | None = None
    completed: datetime | None = None
    duration: float | None = None
    cached: bool | None = None
    status: str = "unfinished"
    error: str = ""
    transfers: dict[str, int] = field(default_factory=dict)
    # start → end; a vertex can run several times
    intervals: dict[datetime, datetime | None] = field(default_factory=dict)
    tasks: dict[str, dict[Any, Any]] = field(default_factory=dict)  # name → intervals, or text → seconds
    inputs: list[str] = field(default_factory=list)
    stage: str | None = None
    step: int | None = None
    build: int = 1  # of the builds in a file
    printed: deque[str] = field(default_factory=lambda: deque(maxlen=60))  # the last texts of its command

    def end(self, status: str, duration: float | None = None) -> None:
        self.status, self.duration = status, duration
        self.cached = {"cached": True, "done": False, "error": False}.get(status)

    def finish(self) -> None:
        """Set times, duration and status from the intervals."""
        ended = sorted((start, end) for start, end in self.intervals.items() if end)
        self.started = min(self.intervals, default=None)
        self.completed = max((end for _, end in ended), default=None)
        self.duration = covered_seconds(ended) if ended else None
        if self.error:
            self.status = "canceled" if "context canceled" in self.error else "error"
        elif self.completed:
            self.status = "cached" if self.cached else "done"
            self.cached = bool(self.cached)

    def split(self) -> list[Vertex]:
        """The vertex, and a vertex for each of its tasks that has a name: a base's pull, an export's unpacking."""
        parts = [self]
        if self.status == "done" and "pull" in self.tasks and re.search(r"\d/\d+\] (?!FROM )", self.name):
            # plain progress does not mark a hit of an imported cache if its layers are pulled
            self.end("cached", self.duration)
        for task, intervals in self.tasks.items() if self.status in ("done", "cached") else ():
            part = Vertex(f"{self.id}/{task}", f"[{task}] {self.name}")
            if all(isinstance(value, float) for value in intervals.values()):
                part.end("done", sum(intervals.values()))
            else:
                part.intervals = intervals
                part.finish()
            self.duration = max((self.duration or 0.0) - (part.duration or 0.0), 0.0)
            if task == "unpack":
                part.inputs = [self.id]
            parts.append(part)
        return parts

    def transfer(self, what: str, size: int) -> None:
        """Record the bytes of ``what`` so far; a log can print a smaller number later."""
        self.transfers[what] = max(size, self.transfers.get(what, 0))


def task_name(status: str) -> str | None:
    """The name of the task that a status line is about: ``pull`` of a base, ``unpack`` of an exported image."""
    if re.match(r"(?:extracting )?sha256:[0-9a-f]{12,64}", status):
        return "pull"
    return "unpack" if status.startswith("unpacking to ") else None


def covered_seconds(intervals: list[tuple[datetime, datetime]]) -> float:
    """Seconds covered by the sorted intervals; a vertex can start several times."""
    total, reached = 0.0, intervals[0][0]
    for start, end in intervals:
        total += max((end - max(start, reached)).total_seconds(), 0.0)
        reached = max(reached, end)
    return total


def append_vertex(vertices: list[Vertex], name: str, **fields: Any) -> Vertex:
    """Append a vertex whose ID is its number."""
    vertices.append(Vertex(str(len(vertices) + 1), name, **fields))
    return vertices[-1]


def read_plain(lines: Sequence[str]) -> list[Vertex]:
    """Read ``--progress=plain``: interleaved blocks of ``#n …`` lines, each starting with the vertex's name.

    A job's log can contain several builds, each numbered from 1.
    """
    builds: list[dict[str, Vertex]] = [{}]
    before = failing = ""
    for line in lines:
        vertices, match = builds[-1], PLAIN_LINE.match(line)
        if not match:
            # a failure's summary repeats the last lines of the failing vertex after " > NAME:"
            failing = line[3:].rstrip(":") if line.startswith(" > ") else failing if line else ""
            before = ""
            continue
        number, body = match[1], match[2] or ""
        if vertices and _is_next(vertices, number, body):
            builds.append(vertices := {})
        if number == "0":  # the name of the builder
            continue
        vertex = vertices.setdefault(number, Vertex(number, build=len(builds)))
        if failing and not vertex.name:
            vertex.name = failing
        is_new, before = before != number, number
        _read_line(vertex, body, is_new)
    return [vertices[number] for vertices in builds for number in sorted(vertices, key=int)]


def _is_next(vertices: dict[str, Vertex], number: str, body: str) -> bool:
    """Whether another build starts here: it names its builder, or loads its definition under a finished number.

    A vertex's name is repeated when its block continues, even after its end, but no build loads anything after its steps.
    """
    if number == "0":
        return body.startswith("building with ")
    known = vertices.get(number)
    if known is None or known.status == "unfinished" or not re.match(r"\[(?:[^\]]* )?internal\] ", body):
        return False
    is_first = number == min(vertices, key=int)  # with bake, one target's block continues after another's steps
    return body != known.name or (is_first and any(_STEP.search(vertex.name) for vertex in vertices.values()))


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
    elif printed := _OUTPUT.match(body):
        vertex.printed.append(body[printed.end() :][-LONGEST_OUTPUT:] + "\n")
    elif re.fullmatch(r"\.\.\.|sha256:[0-9a-f]{64}", body):  # Engine 20.10 prints the vertex's digest
        return
    elif detail := _DETAIL.match(body):
        with contextlib.suppress(ValueError, OverflowError):  # an invalid date
            _read_detail(vertex, detail[1], detail[2])
    elif task := task_name(body):
        parts = vertex.tasks.setdefault(task, {})
        if seconds := re.search(r" (\d+(?:\.\d+)?)s done$", body):
            part = "download" if body.startswith("sha256:") else body[: seconds.start()]  # downloads run in parallel
            parts[part] = max(float(seconds[1]), parts.get(part, 0.0))
        _read_size(vertex, body)
    elif _TRANSFER.match(body):
        _read_size(vertex, body)
    elif is_new and not vertex.name:
        vertex.name = body


def _read_size(vertex: Vertex, body: str) -> None:
    transfer = _TRANSFER.match(body)
    if transfer and (size := _SIZE.match(body, transfer.end())):
        vertex.transfer(transfer[1], _bytes(size))


def _read_detail(vertex: Vertex, key: str, text: str) -> None:
    """Read a detail line of Docker 18.09, below the name: an interval's start or end, or the result."""
    if key == "name":  # complete, unlike the line above
        vertex.name = text.strip('"').replace('\\"', '"')
    elif key == "cached":
        vertex.end("cached", 0.0)
    elif key == "error":
        vertex.end("error", vertex.duration)
        vertex.error = text.strip('"')
    else:
        moment = pd.Timestamp(" ".join(text.split()[:3])).tz_convert(UTC).to_pydatetime(warn=False)
        start = moment if key == "started" else next(reversed(vertex.intervals), moment)
        vertex.intervals[start] = None if key == "started" else moment
        vertex.finish()


def read_classic(lines: Sequence[str]) -> list[Vertex]:
    """Read the classic builder's output; it runs one step at a time and prints no times."""
    vertices: list[Vertex] = []
    stages, build = -1, 1
    stage: str | None = None

    for line in lines:
        last = vertices[-1] if vertices else None
        if match := CLASSIC_STEP.match(line):
            if last and last.status == "unfinished":
                last.end("done")
                last.error = ""  # it was a command's output, because the build continued
            if base := re.match(r"FROM\s+\S.*?(?:\s+AS\s+(\S+))?\s*$", match[2], re.I):
                stages += 1
                stage = (base[1] or f"stage-{stages}").lower()
            # the steps of ONBUILD triggers have their own numbers
            is_first = re.match(r"FROM\s", match[2], re.I) and last and int(match[1]) <= (last.step or -1)
            build += bool(is_first)
            append_vertex(vertices, match[2], stage=stage, step=int(match[1]), build=build)
        elif line.startswith("Sending build context"):
            if last and last.error:
                last.end("error")
            if last is None or last.step is not None or last.error:  # the line is repeated while the bytes grow
                build += last is not None
                last = append_vertex(vertices, "[internal] load build context", build=build)
                last.end("done")
                stages, stage = -1, None
            if size := _SIZE.search(line):
                last.transfers = {"context": _bytes(size)}
        elif last and last.step is None and line.startswith("Error response from daemon: "):
            last.end("error")  # in the Dockerfile
            last.error = line.partition(": ")[2]
        elif last is None or last.status != "unfinished":
            continue
        elif line.strip() == "---> Using cache" and not last.name.upper().startswith("FROM"):
            last.end("cached", 0.0)  # below FROM, it is about ONBUILD triggers
        elif line.startswith("Successfully built "):
            last.end("done")
            last.error = ""
            stages, stage = -1, None
        elif failed := _FAILED.match(line):
            last.error = failed[1]
    if vertices and vertices[-1].error:
        vertices[-1].end("error")
    return vertices


def _bytes(size: re.Match[str]) -> int:
    return round(float(size[1]) * _UNITS[size[2]])
