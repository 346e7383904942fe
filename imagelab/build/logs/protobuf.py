"""Decode the BuildKit status blobs of a build record, which are protobuf (``controlapi.StatusResponse``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

#: Field numbers of BuildKit's api/services/control/control.proto; a dict is a nested message, a list a repeated field.
_TIME = {1: "seconds", 2: "nanos"}
_VERTEX = {
    1: "digest",
    2: ["inputs"],
    3: "name",
    4: "cached",
    5: ("started", _TIME),
    6: ("completed", _TIME),
    7: "error",
}
_STATUS = {1: "id", 2: "vertex", 3: "name", 4: "current", 7: ("started", _TIME), 8: ("completed", _TIME)}
_RESPONSE = {1: [("vertexes", _VERTEX)], 2: [("statuses", _STATUS)], 3: [("logs", {1: "vertex", 4: "msg"})]}


def read_status_blob(data: bytes) -> Iterator[dict[str, Any]]:
    """The SolveStatus events of a status blob: messages, each with its length in front (32 bits, little endian).

    Raises
    ------
    ValueError
        The blob is damaged.
    """
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        yield _message(data[at + 4 : at + 4 + size], _RESPONSE)
        at += 4 + size


def _message(data: bytes, schema: dict[int, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value: Any
        if tag & 7 == 0:
            value, at = _varint(data, at)
        elif tag & 7 == 2:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
        else:
            raise ValueError(f"unexpected protobuf wire type {tag & 7}")
        kind = schema.get(tag >> 3)
        is_list = isinstance(kind, list)
        if kind is None:
            continue
        kind = kind[0] if is_list else kind
        name, nested = kind if isinstance(kind, tuple) else (kind, None)
        if isinstance(value, bytes):
            value = _message(value, nested) if nested else value.decode("utf-8", "replace")
        elif name == "cached":
            value = bool(value)
        if is_list:
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(data):
            break
        byte, at = data[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a protobuf number does not end")
