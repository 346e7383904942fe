"""Read BuildKit's SolveStatus events (rawjson, ``--trace``) into vertices.

The field names are those of BuildKit's ``client.SolveStatus``; the older ``--trace`` capitalises them.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from imagelab.build.logs.text import LONGEST_OUTPUT, Vertex, task_name
from imagelab.core.errors import DockerfileError

_EVENT_KEYS = {"vertexes", "statuses", "logs", "warnings"}


def is_event(value: Any) -> bool:
    """Whether a JSON value is a SolveStatus."""
    return isinstance(value, dict) and bool(value) and {key.lower() for key in value} <= _EVENT_KEYS


def read_events(events: Iterable[tuple[int, Any]], name: str) -> list[Vertex]:
    """Read (line, event) pairs into vertices; the event None marks where a log is cut off."""
    vertices: dict[str, Vertex] = {}
    for line, event in events:
        if event is None:
            vertices[f"line {line}"] = Vertex(f"line {line}", f"the log is cut off in line {line}", status="gap")
            continue
        try:
            for item in _items(event, "vertexes"):
                digest = _text(item.get("digest"))
                _read_vertex(vertices.setdefault(digest, Vertex(digest)), item)
            for item in _items(event, "statuses"):
                _read_status(vertices.get(_text(item.get("vertex"))), item)
            for item in _items(event, "logs"):
                if vertex := vertices.get(_text(item.get("vertex"))):
                    vertex.printed.append(_printed(item))
        except (ValueError, OverflowError) as error:
            raise DockerfileError(f"{name} line {line}: {str(error)[:200]}.") from error
    for vertex in vertices.values():
        vertex.finish()
    # sorted() is stable: vertices that never started follow in the log's order
    late = datetime.max.replace(tzinfo=UTC)
    return sorted(vertices.values(), key=lambda vertex: vertex.started or late)


def _read_vertex(vertex: Vertex, item: dict[str, Any]) -> None:
    vertex.name = _text(item.get("name")) or vertex.name
    vertex.error = _text(item.get("error")) or vertex.error
    inputs = item.get("inputs") or []
    vertex.inputs = [_text(value) for value in inputs] if isinstance(inputs, list) else vertex.inputs
    started, completed = read_time(item.get("started")), read_time(item.get("completed"))
    if started:
        vertex.intervals[started] = completed
    if completed:
        cached = item.get("cached") or False
        if type(cached) is not bool:
            raise ValueError(f"a vertex's cached is {str(cached)[:40]!r}; expected true or false")
        vertex.cached = vertex.cached or cached  # a hit that pulls its layers later completes again, without the flag


def _read_status(vertex: Vertex | None, item: dict[str, Any]) -> None:
    key, current = _text(item.get("id")) or _text(item.get("name")), item.get("current") or 0
    if type(current) is not int or not 0 <= current < 2**63:
        raise ValueError(f"a status's current is {str(current)[:40]!r}; expected a number of bytes")
    if vertex is None:
        return
    if current and not key.startswith("extracting"):
        vertex.transfer(key, current)
    started, completed = read_time(item.get("started")), read_time(item.get("completed"))
    if started and completed and (task := task_name(key)):
        vertex.tasks.setdefault(task, {})[started] = completed


def _printed(item: dict[str, Any]) -> str:
    try:
        data = base64.b64decode(_text(item.get("data")))[-LONGEST_OUTPUT:]
        return data.decode("utf-8", "replace") or _text(item.get("msg"))[-LONGEST_OUTPUT:]
    except ValueError:  # not as BuildKit writes it; the steps are read without it
        return ""


def _items(event: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects in one of an event's lists, with keys in lower case."""
    items = _lower(event).get(name)
    if items is None:
        return []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError(f"{name} is not a list of objects")
    return [_lower(item) for item in items]


def _lower(fields: dict[str, Any]) -> dict[str, Any]:
    return {key.lower(): value for key, value in fields.items()}


def _text(value: Any) -> str:
    if not isinstance(value, str | None):
        raise ValueError(f"expected text, found {str(value)[:40]!r}")
    return (value or "").encode("utf-8", "replace").decode()


def read_time(value: Any) -> datetime | None:
    """A time of a log or record: ISO text, or protobuf's seconds and nanoseconds."""
    if isinstance(value, dict):
        seconds, nanos = value.get("seconds", 0), value.get("nanos", 0)
        return datetime.fromtimestamp(int(seconds), UTC) + timedelta(microseconds=int(nanos) // 1000)
    if value is None or value == "0001-01-01T00:00:00Z":  # Go's zero time
        return None
    if not isinstance(value, str):
        raise ValueError(f"expected a time, found {str(value)[:40]!r}")
    time = datetime.fromisoformat(value)
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
