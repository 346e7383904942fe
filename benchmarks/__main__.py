"""Measure imagelab against dive, tarfile, bsdtar and plain reading, and print ratios.

    python -m benchmarks [FOLDER] [--rounds 3] [--without-dive-on B C]

FOLDER holds what ``python benchmarks/inputs.py FOLDER`` saved: A.tar, B.tar, C.tar from an overlay2 engine, A-gzip.tar
from one with the containerd store. Each round runs every contestant once, in turn; the best of the rounds counts, since the
machine is shared. Seconds are this machine's; the ratios are what to compare. dive needs minutes on B and C: it
restacks its tree for every whiteout.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# Each contestant of ours: statements timed in a fresh process, with the library imported and nothing cached.
OURS = {
    "index": "listings = layer_listings(il.load_image(path))",
    "files + ledger": "frame = il.files(il.load_image(path)); ledger(frame)",
    "files + ledger, contents hashed": "frame = il.files(il.load_image(path), digests=True); ledger(frame)",
    "files + ledger, copies compared": "il.waste(il.load_image(path), digests='copies')",
}
AGAIN = f"""
{OURS["files + ledger"]}
start = time.perf_counter()
{OURS["files + ledger"]}
"""
TARFILE = """
with tarfile.open(path) as outer:
    for member in outer:
        if member.isfile() and member.size > 10240 or member.name.endswith('layer.tar'):
            for entry in tarfile.open(fileobj=outer.extractfile(member)):
                pass
"""
INFLATE = """
def inflate(region):
    inflater, size = isal_zlib.decompressobj(wbits=31), 0
    for chunk in region.chunks():
        size += len(inflater.decompress(chunk))
    return size
archive = open_archive(Path(path))
regions = [archive.region(member) for member in il.load_image(path).source.members]
with ThreadPoolExecutor(os.cpu_count()) as pool:
    list(pool.map(inflate, sorted(regions, key=lambda region: -region.length)))
"""
PRELUDE = """
import os, sys, tarfile, time, resource, json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from isal import isal_zlib
import imagelab as il
from imagelab.analyses.waste import ledger
from imagelab.listing import layer_listings
from imagelab.sources.containers import open_archive
path = sys.argv[1]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
"""
EPILOGUE = """
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps([seconds, peak / 1000]))
"""


def ours(statements: str, path: Path, cache: str = "") -> tuple[float, float]:
    """Seconds and MB of memory beyond the imports."""
    code = PRELUDE + statements + EPILOGUE
    env = os.environ | {"IMAGELAB_CACHE_DIR": cache}
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True, env=env)
    seconds, peak = json.loads(done.stdout)
    return seconds, peak


def command(*words: str | Path) -> float:
    """Seconds of a whole process."""
    # exit code 1 is a verdict: dive's rules for CI do not hold on these images
    code = "import subprocess, sys, time; start = time.perf_counter(); done = subprocess.run(sys.argv[1:], "
    code += "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); assert done.returncode in (0, 1); "
    code += "print(time.perf_counter() - start)"
    env = os.environ | {"CI": "true", "IMAGELAB_CACHE_DIR": ""}
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, env=env)
    return float(done.stdout)


def warm(path: Path) -> None:
    """Have the file in the page cache as reading leaves it: as writing left it, it lies there in smaller pieces."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while file.read(1 << 24):
            pass


def measure(path: Path, rounds: int, with_dive: bool) -> dict[str, float]:
    """The best seconds of every contestant on one archive."""
    warm(path)
    gzipped = "gzip" in path.name
    best: dict[str, float] = {}
    memory: dict[str, float] = {}

    def note(name: str, seconds: float) -> None:
        best[name] = min(best.get(name, seconds), seconds)

    binaries = Path(sys.executable).parent
    for _ in range(rounds):
        note("cat", command("cat", path))
        if gzipped:
            note("isal, merely inflating", ours(INFLATE, path)[0])
        else:
            note("tarfile", ours(TARFILE, path)[0])
            note(
                "bsdtar -t",
                sum(command("bash", "-c", f"bsdtar -xOf {path} {layer} | bsdtar -tf -") for layer in layers(path)),
            )
        for name, statements in OURS.items():
            seconds, memory[name] = ours(statements, path)
            note(name, seconds)
        with tempfile.TemporaryDirectory() as cache:
            note("first look", ours(OURS["files + ledger"], path, cache)[0])
            note("second look", ours(OURS["files + ledger"], path, cache)[0])
            note("second look, same process", ours(AGAIN, path, cache)[0])
        note("imagelab waste, whole process", command(binaries / "imagelab", "waste", path))
    if with_dive and shutil.which("dive", path=f"{binaries}:{os.environ['PATH']}"):
        note("dive", command(binaries / "dive", "--source", "docker-archive", path))
    print(f"\n{path.name}")
    for name, seconds in best.items():
        ratio = f"{best['dive'] / seconds:9.1f} × dive" if "dive" in best else ""
        used = f"  {memory[name]:5.0f} MB" if name in memory else ""
        print(f"  {name:34} {seconds:8.3f} s {ratio}{used}")
    return best


def layers(path: Path) -> list[str]:
    """The layer members of an archive, to feed to bsdtar."""
    names = subprocess.run(["bsdtar", "-tf", path], capture_output=True, text=True, check=True).stdout.split()
    return [name for name in names if name.endswith("/layer.tar")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(tempfile.gettempdir()) / "imagelab-bench")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-dive-on", nargs="*", default=[], metavar="NAME")
    args = parser.parse_args()
    archives = sorted(args.folder.glob("*.tar"))
    if not archives:
        parser.error(f"{args.folder} holds no archives; make them with: python benchmarks/inputs.py {args.folder}")
    for path in archives:
        measure(path, args.rounds, path.stem not in args.without_dive_on)


if __name__ == "__main__":
    main()
