"""Measure imagelab against dive, bsdtar, tarfile and plain reading, and print Markdown tables for README.md.

    python -m benchmarks [FOLDER…] [--rounds 5] [--without-dive-on B C] [--image NAME]
        [--only start pages engine registry images sweep]

A FOLDER has archives (``python benchmarks/inputs.py FOLDER`` saves some): *.tar, *.tar.gz. Whole processes are compared with
whole processes; statements in a process that has imported everything are in a table of their own, without ratios to dive.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from benchmarks import waits
from benchmarks.measure import Sample, process, rounds, statements, table, warm

BINARIES = Path(sys.executable).parent
IMAGELAB = BINARIES / "imagelab"
START = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import typer": [sys.executable, "-c", "import typer"],
    "import pandas": [sys.executable, "-c", "import pandas"],
    "import imagelab": [sys.executable, "-c", "import imagelab"],
    "imagelab --version": [IMAGELAB, "--version"],
    "imagelab --help": [IMAGELAB, "--help"],
    "imagelab": [IMAGELAB],
    "imagelab waste --help": [IMAGELAB, "waste", "--help"],
    "imagelab check --help": [IMAGELAB, "check", "--help"],
    "imagelab waste example:whiteout-before": [IMAGELAB, "waste", "example:whiteout-before"],
}
STATEMENTS = {
    "il.files": "il.files(path)",
    "il.files, il.waste": "image = il.load_image(path); il.files(image); il.waste(image)",
    "il.files, il.waste, contents hashed": "image = il.load_image(path); il.files(image, digests=True); il.waste(image)",
    "il.waste, replaced copies compared": "il.waste(path, digests='copies')",
}
INFLATE = """
import sys, tarfile
from isal import igzip, isal_zlib
def drain(source):
    while source.read(1 << 20): pass
def walk(file):
    with tarfile.open(fileobj=file, mode="r|") as outer:
        for member in outer:
            part = outer.extractfile(member)
            if part is None: continue
            head = part.read(1 << 20)
            if head[:2] != b"\\x1f\\x8b": continue
            inflater = isal_zlib.decompressobj(wbits=31)
            while head:
                inflater.decompress(head)
                head = part.read(1 << 20)
path = sys.argv[1]
drain(igzip.open(path)) if path.endswith("gz") else walk(open(path, "rb"))
"""
TARFILE = """
import sys, tarfile
with tarfile.open(sys.argv[1]) as outer:
    for member in outer:
        if member.isfile() and (member.size > 10240 or member.name.endswith("layer.tar")):
            try:
                for entry in tarfile.open(fileobj=outer.extractfile(member)): pass
            except tarfile.ReadError: pass
"""
WHITEOUTS = (0, 1, 10, 100, 1_000)


def dive() -> str | None:
    """dive's program, of this environment or of the machine."""
    return shutil.which("dive", path=f"{BINARIES}:{os.environ['PATH']}")


def describe(path: Path) -> str:
    """An archive's entries, layers, whiteouts and bytes."""
    code = "import sys, imagelab as il; f = il.files(sys.argv[1]); print(len(f), f['layer_index'].nunique(), "
    code += "f['kind'].isin(['whiteout', 'opaque_whiteout']).sum())"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    entries, layers, whiteouts = map(int, done.stdout.split())
    size = f"{path.stat().st_size / 1e6:,.0f} MB"
    return f"{path.name}: {size}, {entries:,} entries, {layers} layers, {whiteouts:,} whiteouts"


def whole_processes(path: Path, count: int, with_dive: bool) -> str:
    """The table of one archive: every contestant as a process of its own."""
    compressed = "gz" in path.name
    known, first = (tempfile.TemporaryDirectory() for _ in range(2))

    def first_look() -> Sample:
        shutil.rmtree(first.name, ignore_errors=True)
        return process(IMAGELAB, "waste", path, cache=first.name)

    with known, first:
        process(IMAGELAB, "waste", path, cache=known.name)
        contestants: dict[str, Callable[[], Sample]] = {
            "cat (floor)": lambda: process("cat", path),
            "import pandas (floor)": lambda: process(sys.executable, "-c", "import pandas"),
            "imagelab waste, first look": first_look,
            "imagelab waste, known layers": lambda: process(IMAGELAB, "waste", path, cache=known.name),
            "imagelab waste, cache off": lambda: process(IMAGELAB, "waste", path),
        }
        if compressed:
            contestants["isal, inflating once (floor)"] = lambda: process(sys.executable, "-c", INFLATE, path)
        else:
            contestants["Python's tarfile"] = lambda: process(sys.executable, "-c", TARFILE, path)
        if (
            with_dive and path.suffix != ".gz" and (program := dive())
        ):  # dive reads no archive that is compressed as a whole
            contestants["dive"] = lambda: process(program, "--source", "docker-archive", path)
        samples = rounds(contestants, count)
    rows = []
    for name, sample in samples.items():
        ratio = ""
        if "dive" in samples and name.startswith("imagelab"):
            ratio = f"{min(samples['dive'].seconds) / min(sample.seconds):.1f}"
        rows.append((name, sample, ratio, sample.peak()))
    return table(("whole process", "s: median (min–max)", "× dive", "peak MB"), rows)


def in_a_process(path: Path, count: int) -> str:
    """The table of one archive: statements in a process that has imported everything."""
    contestants: dict[str, Callable[[], Sample]] = {
        name: lambda code=code: statements(code, path)  # type: ignore[misc]
        for name, code in STATEMENTS.items()
    }
    both = STATEMENTS["il.files, il.waste"]
    contestants["the same, a second time"] = lambda: statements(both, path, prepare=both)
    rows = [(name, sample, sample.peak()) for name, sample in rounds(contestants, count).items()]
    return table(("in a warm process", "s: median (min–max)", "MB more"), rows)


def sweep(count: int) -> str:
    """dive and imagelab on one tree of 20,000 files, with more and more of them deleted."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for whiteouts in WHITEOUTS:
            path = Path(folder) / f"{whiteouts}.tar"
            write_archive(path, 20_000, whiteouts)
            contestants = {"imagelab": lambda path=path: process(IMAGELAB, "waste", path)}  # type: ignore[misc]
            if program := dive():
                contestants["dive"] = lambda path=path: process(program, "--source", "docker-archive", path)  # type: ignore[misc]
            samples = rounds(contestants, count)
            rows.append((f"{whiteouts:,}", samples["imagelab"], samples.get("dive", "")))
    return table(("whiteouts", "imagelab waste, s", "dive, s"), rows)


def write_archive(path: Path, files: int, whiteouts: int) -> None:
    """A docker-archive of two layers: files, and deletions of some of them."""
    names = [f"srv/d{number // 100}/f{number % 100}" for number in range(files)]
    gone = [
        str(Path(name).parent / f".wh.{Path(name).name}") for name in names[:: files // max(whiteouts, 1)][:whiteouts]
    ]
    layers = [(tar(dict.fromkeys(names, b"x" * 100))), tar(dict.fromkeys(gone, b""))]
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}, "history": []}
    manifest = [{"Config": "c.json", "RepoTags": ["sweep:latest"], "Layers": ["0/layer.tar", "1/layer.tar"]}]
    members = {f"{number}/layer.tar": layer for number, layer in enumerate(layers)}
    config["rootfs"]["diff_ids"] = ["sha256:" + sha256(layer).hexdigest() for layer in layers]  # type: ignore[index]
    config["history"] = [{"created_by": "COPY . . # buildkit"}, {"created_by": "RUN rm # buildkit"}]
    members |= {"c.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()}
    path.write_bytes(tar(members))


def tar(members: dict[str, bytes]) -> bytes:
    """A tar of files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[Path(tempfile.gettempdir()) / "imagelab-bench"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without-dive-on", nargs="*", default=[], metavar="NAME")
    parts = ["start", "pages", "engine", "registry", "images", "sweep"]
    parser.add_argument("--only", nargs="*", choices=parts, default=parts)
    parser.add_argument("--image", help="an image of the engine, for that table")
    args = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    if "start" in args.only:
        samples = rounds({name: lambda words=words: process(*words) for name, words in START.items()}, args.rounds)
        rows = [(f"`{name}`", sample, sample.peak()) for name, sample in samples.items()]
        print(table(("whole process", "s: median (min–max)", "peak MB"), rows))
    if "pages" in args.only:
        print(waits.pages(IMAGELAB, args.rounds))
    if "engine" in args.only and args.image:
        print(waits.engine(IMAGELAB, args.image, args.rounds))
    archives = [path for folder in args.folders for path in sorted(folder.glob("*.tar*"))]
    if "registry" in args.only and archives:
        print(waits.registry(IMAGELAB, archives[0], args.rounds))
    for path in archives if "images" in args.only else ():
        warm(path)
        print(describe(path) + "\n")
        print(whole_processes(path, args.rounds, path.name.split(".")[0] not in args.without_dive_on))
        print(in_a_process(path, args.rounds))
    if "sweep" in args.only:
        print(sweep(args.rounds))


if __name__ == "__main__":
    main()
