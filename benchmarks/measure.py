"""Time whole processes and statements in a process of their own: seconds and peak memory, as median, minimum and maximum."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isnan, nan
from pathlib import Path
from statistics import median

Sample = tuple[float, float]
"""Seconds, and MB of peak memory; NaN if a child used less than this process."""


@dataclass
class Samples:
    """What a contestant took in each round."""

    seconds: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        """Add a round."""
        self.seconds.append(sample[0])
        self.memory.append(sample[1])

    def peak(self) -> str:
        """The most memory of all rounds."""
        return "–" if isnan(self.memory[0]) else f"{max(self.memory):,.0f}"

    def __str__(self) -> str:
        low, middle, high = min(self.seconds), median(self.seconds), max(self.seconds)
        return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def process(*words: str | Path, cache: str = "", stdin: Path | None = None) -> Sample:
    """Run a command. ``cache`` is the folder of imagelab's listings; empty turns it off."""
    env = os.environ | {"CI": "true", "IMAGELAB_CACHE_DIR": cache}
    with open(stdin or os.devnull, "rb") as source:
        start = time.perf_counter()
        child = subprocess.Popen(
            list(map(str, words)), stdin=source, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env
        )
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in (0, 1):  # 1: a limit is exceeded, as dive's rules for CI are on these images
        raise RuntimeError(f"{words[0]} ended with {child.returncode}")
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # the kernel counts it for a child that used less
    return seconds, usage.ru_maxrss / 1000 if usage.ru_maxrss > own else nan


def statements(code: str, path: Path, prepare: str = "", cache: str = "") -> Sample:
    """Run ``code`` in a process that has imported imagelab and pandas; memory is what is used beyond the imports."""
    script = f"""
import resource, sys, time
import pandas
import imagelab as il
path = sys.argv[1]
il.waste("example:whiteout-before")
{prepare}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
{code}
seconds = time.perf_counter() - start
print(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000)
"""
    env = os.environ | {"IMAGELAB_CACHE_DIR": cache}
    command = [sys.executable, "-c", script, path]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    seconds, memory = map(float, done.stdout.split())
    return seconds, memory


def rounds(contestants: dict[str, Callable[[], Sample]], count: int) -> dict[str, Samples]:
    """Run every contestant once in each round, in turn."""
    samples = {name: Samples() for name in contestants}
    for _ in range(count):
        for name, run in contestants.items():
            samples[name].add(run())
    return samples


def table(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; all but the first column are right-aligned."""
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def warm(path: Path) -> None:
    """Read a file into the page cache in large pieces; after it was written, it is there in small ones."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while file.read(1 << 24):
            pass
