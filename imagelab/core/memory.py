"""Keep values in memory for later calls, up to a total size; the least recently used are dropped first."""

from __future__ import annotations

from threading import Lock
from typing import Any, Generic, TypeVar

_Value = TypeVar("_Value")
_memories: list[Memory[Any]] = []


class Memory(Generic[_Value]):
    """Values by key, of a total size up to ``limit``; threads share it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: dict[object, tuple[_Value, int]] = {}  # last used at the end
        self._size = 0
        self._lock = Lock()
        _memories.append(self)

    def get(self, key: object) -> _Value | None:
        with self._lock:
            if found := self._kept.pop(key, None):
                self._kept[key] = found
            return found and found[0]

    def keep(self, key: object, value: _Value, size: int = 1) -> None:
        with self._lock:
            self._size += size - self._kept.pop(key, (None, 0))[1]
            self._kept[key] = value, size
            while self._size > self.limit and len(self._kept) > 1:
                self._size -= self._kept.pop(next(iter(self._kept)))[1]

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
            self._size = 0


def forget() -> None:
    """Clear every memory, as in a new process."""
    for memory in _memories:
        memory.clear()
