"""Measure the readers of logs, Dockerfiles and contexts, relative to ``json.loads`` of the same log.

    python -m benchmarks.dockerfile_speed [--rounds 5]

A rawjson log of 1,000 steps, its plain form, a Dockerfile of 2,000 lines, and a context of 100,000 files are made up in
a temporary folder. The best of the rounds counts. Seconds are this machine's; the ratios are what to compare.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from imagelab.build.cache.plan import plan_build
from imagelab.build.context import build_context
from imagelab.build.dockerfile.read import read_dockerfile
from imagelab.build.logs.read import read_build_log

STEPS, LINES, FILES = 1_000, 2_000, 100_000


def make_logs(folder: Path) -> tuple[Path, Path]:
    """A rawjson log as buildx writes it (several events a step, output among them), and the plain form of it."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    events, plain = [], []
    for n in range(STEPS):
        command = f"make target-{n} OPTION=value && install -m 755 target-{n} /usr/local/bin"
        name = f"[stage-{n // 20} {n % 20 + 2}/21] RUN {command}"
        vertex = {"digest": f"sha256:{n:064x}", "inputs": [f"sha256:{n - 1:064x}"], "name": name}
        times = [(begin + timedelta(seconds=n + part)).isoformat().replace("+00:00", "Z") for part in (0.1, 0.9)]
        events += [{"vertexes": [vertex | {"started": times[0]}]}]
        log = {"vertex": vertex["digest"], "stream": 1, "data": "bGluZSBvZiBvdXRwdXQK" * 8, "timestamp": times[0]}
        events += [{"logs": [log]}] * 5 + [{"vertexes": [vertex | {"started": times[0], "completed": times[1]}]}]
        output = [f"#{n + 1} 0.{k} a line of output of the command" for k in range(5)]
        plain += [f"#{n + 1} {name}", *output, f"#{n + 1} DONE 0.8s", ""]
    raw, text = folder / "log.rawjson", folder / "log.txt"
    raw.write_text("".join(json.dumps(event) + "\n" for event in events))
    text.write_text("\n".join(plain))
    return raw, text


def make_dockerfile(folder: Path) -> Path:
    kinds = [
        "RUN make p-{n} && \\\n    install p-{n}",
        "ENV V{n}=$V{m} W=2",
        "COPY src/{n}.c /src/",
        "ARG A{n}=1",
        "# note",
    ]
    lines = [kinds[n % len(kinds)].format(n=n, m=n - 5) for n in range(LINES)]
    path = folder / "Dockerfile"
    path.write_text("\n".join(["FROM busybox", *"\n".join(lines).split("\n")[: LINES - 1]]).rstrip("\\\n ") + "\n")
    return path


def make_context(folder: Path) -> Path:
    root = folder / "context"
    for n in range(FILES):
        if n % 1000 == 0:
            (root / f"d{n // 1000}").mkdir(parents=True)
        os.close(os.open(root / f"d{n // 1000}" / f"f{n}.txt", os.O_CREAT))
    (root / ".dockerignore").write_text(
        "**/*.log\nnode_modules\nd1\n!d1/f1001.txt\n**/.git\n*.md\ndocs/**\n?.x\ndist\n"
    )
    (root / "Dockerfile").write_text("FROM busybox\nCOPY d2 /x\nRUN make\nCOPY . /y\n")
    return root


def best(rounds: int, action: Callable[[], object]) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        raw, plain = make_logs(folder)
        dockerfile, context = make_dockerfile(folder), make_context(folder)
        base = best(rounds, lambda: [json.loads(line) for line in raw.read_text().splitlines()])
        actions: dict[str, Callable[[], object]] = {
            f"rawjson log of {STEPS:,} steps": lambda: read_build_log(raw),
            f"plain log of {STEPS:,} steps": lambda: read_build_log(plain),
            f"Dockerfile of {LINES:,} lines": lambda: read_dockerfile(dockerfile),
            f"context of {FILES:,} files": lambda: build_context(context),
            f"plan over {FILES:,} files": lambda: plan_build(context, ["d2"]),
        }
        rows = {"json.loads of the rawjson log": base} | {
            name: best(rounds, action) for name, action in actions.items()
        }
    table = pd.DataFrame({"seconds": rows})
    table["times json.loads"] = table["seconds"] / base
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()
