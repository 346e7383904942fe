"""BuildKit's SolveStatus events (rawjson, --trace) → vertices.

Field names are those of BuildKit's ``client.SolveStatus``; the older ``--trace`` writes them capitalised.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from imagelab.dockerfile.log_text import Vertex
from imagelab.errors import DockerfileError

_EVENT_KEYS = {"vertexes", "statuses", "logs", "warnings"}


def is_event(value: Any) -> bool:
    """Whether a JSON value is a SolveStatus."""
    return isinstance(value, dict) and bool(value) and {str(key).lower() for key in value} <= _EVENT_KEYS


def read_events(events: Iterable[tuple[int, Any]], name: str) -> list[Vertex]:
    """Vertices of a stream of SolveStatus events (line, event); an event None is where the log is cut off."""
    reader = _Events()
    for line, event in events:
        if event is None:
            reader.vertices[f"line {line}"] = Vertex(f"line {line}", f"the log is cut off in line {line}", status="gap")
            continue
        try:
            reader.add(event)
        except (TypeError, ValueError, OverflowError) as error:
            raise DockerfileError(f"{name} line {line}: {str(error)[:200]}.") from error
    return reader.finish()


class _Events:
    def __init__(self) -> None:
        self.vertices: dict[str, Vertex] = {}
        self.intervals: dict[str, dict[datetime, datetime | None]] = {}

    def add(self, event: dict[str, Any]) -> None:
        fields = {str(key).lower(): value for key, value in event.items()}
        for item in _items(fields.get("vertexes")):
            self.add_vertex(item)
        for item in _items(fields.get("statuses")):
            vertex, key = self.vertices.get(_text(item.get("vertex"))), _text(item.get("id")) or _text(item.get("name"))
            current = item.get("current") or 0
            if type(current) is not int or not 0 <= current < 2**63:
                raise ValueError(f"a status's current should be a number of bytes, not {str(current)[:40]!r}")
            if vertex and current and not key.startswith("extracting"):
                vertex.transfers[key] = max(current, vertex.transfers.get(key, 0))

    def add_vertex(self, item: dict[str, Any]) -> None:
        digest = _text(item.get("digest"))
        vertex = self.vertices.setdefault(digest, Vertex(digest))
        vertex.name = _text(item.get("name")) or vertex.name
        vertex.error = _text(item.get("error")) or vertex.error
        inputs = item.get("inputs") or []
        vertex.inputs = [_text(value) for value in inputs] if isinstance(inputs, list) else vertex.inputs
        started, completed = _time(item.get("started")), _time(item.get("completed"))
        if started:
            self.intervals.setdefault(digest, {})[started] = completed
        if completed:
            cached = item.get("cached") or False
            if type(cached) is not bool:
                raise ValueError(f"a vertex's cached should be true or false, not {str(cached)[:40]!r}")
            vertex.cached = cached

    def finish(self) -> list[Vertex]:
        for digest, intervals in self.intervals.items():
            vertex = self.vertices[digest]
            ends = [end for end in intervals.values() if end]
            vertex.started = min(intervals)
            vertex.completed = max(ends) if ends else None
            vertex.duration = _union(sorted((start, end) for start, end in intervals.items() if end)) if ends else None
        for vertex in self.vertices.values():
            if vertex.error:
                vertex.status = "canceled" if "context canceled" in vertex.error else "error"
            elif vertex.completed:
                vertex.status = "cached" if vertex.cached else "done"
        # sorted() is stable: what never started stays in the log's order, behind what did
        late = datetime.max.replace(tzinfo=UTC)
        return sorted(self.vertices.values(), key=lambda vertex: vertex.started or late)


def _union(intervals: list[tuple[datetime, datetime]]) -> float:
    """Seconds that the intervals cover: a vertex may start several times."""
    total, reached = 0.0, intervals[0][0]
    for start, end in intervals:
        total += max((end - max(start, reached)).total_seconds(), 0.0)
        reached = max(reached, end)
    return total


def _items(value: Any) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError("an event should hold lists of objects")
    return [{str(key).lower(): inner for key, inner in item.items()} for item in value]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"text expected, found {str(value)[:40]!r}")
    return value.encode("utf-8", "replace").decode()


def _time(value: Any) -> datetime | None:
    if value is None or value == "0001-01-01T00:00:00Z":  # Go's zero time
        return None
    if not isinstance(value, str):
        raise ValueError(f"a time expected, found {str(value)[:40]!r}")
    time = datetime.fromisoformat(value)
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
