"""Builds the images that the benchmarks read, on a real engine, and saves each with `docker save`.

    python benchmarks/inputs.py [FOLDER] [--network host] [--base python:3.10] [--small busybox] [--only A …]

The engine is the one that DOCKER_HOST or the current Docker context names. What its `docker save` writes is
kept as it comes: `A.tar` where layers are uncompressed (overlay2), `A-gzip.tar` where they are gzip'd
(containerd image store). Several GB: FOLDER is by default in the temporary folder, never in the repository.

A  about 40,000 entries and 1 GB: apt and pip installs, a COPY of 9,000 files, `chmod -R`, a late `rm`
B  about 170,000 small entries in 19 layers: deletes, `chown -R`, an opaque directory
C  A with a thousand more deletions
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import subprocess
import tarfile
import tempfile
from pathlib import Path

A = """\
ARG BASE=python:3.10
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends build-essential
RUN pip install numpy==2.2.6 pandas==2.2.3
COPY app /app
RUN chmod -R 755 /app
RUN rm -rf /var/lib/apt/lists/* /root/.cache /app/part-0 /usr/share/doc/*
CMD ["python3"]
"""

# Busybox runs all of B's commands. Each `fill` makes a tree of small files; what follows spoils some of it.
FILL = r"""\
RUN for d in $(seq 1 {folders}); do mkdir -p /srv/{name}/d$d; for f in $(seq 1 100); do \
    echo {name} $d $f > /srv/{name}/d$d/f$f; done; done
"""
B = (
    "ARG BASE=busybox\nFROM ${BASE}\n"
    + "".join(FILL.format(name=f"tree{i}", folders=120) for i in range(10))
    + "RUN chown -R 1000:1000 /srv/tree0 /srv/tree1\n"
    + "RUN rm -rf /srv/tree2 /srv/tree3/d1*\n"
    + "RUN rm -rf /srv/tree4 && mkdir /srv/tree4 && echo new > /srv/tree4/new\n"
    + "RUN chmod -R go-r /srv/tree5\n"
    + "RUN rm -f /srv/tree6/d*/f9*\n"
    + "RUN for f in /srv/tree7/d*/f1*; do echo more >> $f; done\n"
    + "RUN chown -R 1001:1001 /srv/tree0\n"
    + "RUN rm -rf /srv/tree8\n"
    + 'CMD ["sh"]\n'
)

C = """\
ARG BASE=imagelab-bench:a
FROM ${BASE}
RUN find /usr/local/lib -name '*.py' | sort | head -n 1000 | xargs rm
"""


def context(dockerfile: str, *, app: bool) -> bytes:
    """A build context as a tar: the Dockerfile and, for A, 9,000 files that never change."""
    noise = random.Random(0)
    files = {"Dockerfile": dockerfile.encode()}
    if app:
        files |= {f"app/part-{i // 900}/{i:04}.txt": noise.randbytes(noise.randrange(200, 20_000)) for i in range(9000)}
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return tar.getvalue()


def is_gzipped(archive: Path) -> bool:
    """Whether the first layer of a saved image is gzip'd."""
    with tarfile.open(archive) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        layer = tar.extractfile(json.load(manifest)[0]["Layers"][0])
        assert layer is not None
        return layer.read(2) == b"\x1f\x8b"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(tempfile.gettempdir()) / "imagelab-bench")
    parser.add_argument("--network", default="host", help="network of RUN steps (default: host)")
    parser.add_argument("--base", default="localhost/python:minbase", help="a Debian with Python and pip, for A")
    parser.add_argument("--small", default="localhost/busybox:static", help="a busybox, for B")
    parser.add_argument("--only", nargs="+", choices="ABC", default=["A", "B", "C"], help="C needs A's image")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    bases = {"A": args.base, "B": args.small, "C": "imagelab-bench:a"}
    for name in args.only:
        tag = f"imagelab-bench:{name.lower()}"
        tar = context({"A": A, "B": B, "C": C}[name], app=name == "A")
        build = ["docker", "build", "--network", args.network, "--build-arg", f"BASE={bases[name]}", "-t", tag, "-"]
        subprocess.run(build, input=tar, check=True, env=os.environ | {"DOCKER_BUILDKIT": "1"})
        part = args.folder / f"{name}.part"
        subprocess.run(["docker", "save", "-o", part, tag], check=True)
        saved = args.folder / (f"{name}-gzip.tar" if is_gzipped(part) else f"{name}.tar")
        part.replace(saved)
        print(f"{saved}  {saved.stat().st_size / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
