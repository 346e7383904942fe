"""How questions over a fleet cost as it grows: a simulated fleet, made from real snapshots.

    python -m benchmarks.fleet [FOLDER] [--images 1000] [--files 30000] [--steps 10 30 100 300 1000]

The generator. Repositories of ten tags each stand on releases of real base images (the lowest layers of embedded
snapshots, shared by all that stand on the same release). A release after the first gives a tenth of the packages
another version and a twentieth of the files another size, and all its layers new diff_ids. Above the base, an image has
layers made from real application layers: one of dependencies, which every third tag renews (same paths, so that
equal files lie in different layers), and some of the repository's own below ``/srv``, renewed with each tag,
until it has so many files. Tags are a week apart, and grow by 2% each. Everything follows from one seed.

Each question runs in a process of its own, which reports its time and its peak memory. FOLDER/fleet.csv has the
figures, FOLDER/fleet.html the plot; those of a busy two-core machine lie beside this file (fleet.csv, fleet.png).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.express as px
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from imagelab.core.model import HistoryEntry, Image, Layer
from imagelab.fleet.index import FACTS, image_facts, snapshot_name
from imagelab.fleet.query import query_fleet
from imagelab.fleet.questions import QUESTIONS
from imagelab.images.layers.listing import layer_listings
from imagelab.images.layers.tar import LayerListing
from imagelab.images.load import load_image
from imagelab.images.sources.snapshot import write_snapshot

TAGS = 10  # of a repository
RELEASES = 4  # of a base
BASES = {"service-slim": 2, "service-full": 3, "service-distroless": 1, "apt-upgrade-before": 1}  # image: layers taken
APPLICATIONS = ("service-slim", "service-full", "service-multistage", "cache-mount-before")
PATTERNS = {"where": "openssl", "files": "*/numpy/*.so", "packages": "lib*"}


@cache
def real_layers(name: str) -> list[LayerListing]:
    """The listings of an embedded snapshot's layers."""
    image = load_image(f"example:{name}")
    listings = layer_listings(image)
    return [listings[index] for index in range(len(image.layers))]


def digest(*words: object) -> str:
    return "sha256:" + hashlib.sha256(repr(words).encode()).hexdigest()


def varied(table: pa.Table, seed: int, share: float, scale: float = 1.0) -> pa.Table:
    """The same entries, a share of the sizes changed, all scaled."""
    noise = np.random.default_rng(seed)
    size = table["size"].to_numpy() * scale
    size = np.where(noise.random(len(size)) < share, size * noise.uniform(0.8, 1.3, len(size)), size).astype(np.int64)
    return table.set_column(table.column_names.index("size"), "size", pa.array(size))


def released(table: pa.Table, release: int) -> pa.Table:
    """A base's layer in a later release: other versions of a tenth of dpkg's packages, other sizes of some files."""
    if release == 0:
        return table

    def bumped(content: bytes | None) -> bytes | None:
        if content is None or b"\nVersion: " not in content:
            return content
        entries = content.split(b"\n\n")
        for place, entry in enumerate(entries):
            if zlib.crc32(entry.split(b"\n", 1)[0] + b"%d" % release) % 10 == 0:
                entries[place] = entry.replace(b"\nVersion: ", b"\nVersion: %d:" % release)
        return b"\n\n".join(entries)

    contents = pa.array([bumped(content) for content in table["content"].to_pylist()], pa.binary())
    return varied(table.set_column(table.column_names.index("content"), "content", contents), release, 0.05)


def below(table: pa.Table, folder: str) -> pa.Table:
    """The same entries below a folder of the repository's own; nobody's packages."""
    paths = pc.binary_join_element_wise(pa.scalar(folder.encode()), table["path"].combine_chunks(), b"")
    table = table.set_column(table.column_names.index("path"), "path", paths)
    return table.set_column(table.column_names.index("content"), "content", pa.nulls(len(table), pa.binary()))


def simulated(number: int, files: int) -> tuple[Image, dict[int, LayerListing]]:
    """Image ``number`` of the fleet, with about so many files."""
    repository, tag = divmod(number, TAGS)
    noise = np.random.default_rng(repository)
    base = list(BASES)[noise.choice(len(BASES), p=[0.4, 0.3, 0.1, 0.2])]
    release = min(int(noise.integers(0, 2)) + tag // 4, RELEASES - 1)
    started = datetime(2025, 1, 1, tzinfo=UTC)
    made = started + timedelta(days=7 * tag + int(noise.integers(0, 7)))
    layers: list[tuple[pa.Table, str, str, datetime]] = []  # table, diff_id, command, time
    for index, listing in enumerate(real_layers(base)[: BASES[base]]):
        command = (
            "ADD rootfs.tar / # buildkit"
            if index == 0
            else "RUN /bin/sh -c apt-get update && apt-get install -y base # buildkit"
        )
        when = started - timedelta(days=90) + timedelta(days=28 * release)
        layers.append((released(listing.table, release), digest("base", base, release, index), command, when))
    source = APPLICATIONS[repository % len(APPLICATIONS)]
    parts = sorted(real_layers(source)[1:], key=lambda listing: -listing.entries)
    dependencies = varied(parts[0].table, repository * 100 + tag // 3, 0.02)
    command = "RUN /bin/sh -c pip install -r requirements.txt # buildkit"
    layers.append((dependencies, digest("dependencies", repository, tag // 3), command, made))
    for part in range(1000):
        missing = files - sum(len(table) for table, *_ in layers)
        if missing <= 0:
            break
        table = parts[part % len(parts)].table.slice(0, missing)
        own = varied(below(table, f"/srv/app{repository}/part{part}"), number * 100 + part, 0.1, 1.02**tag)
        layers.append((own, digest("own", number, part), f"COPY part{part} /srv/app # buildkit", made))
    steps = [
        HistoryEntry(when.isoformat(), command, "buildkit.dockerfile.v0", "", False) for _, _, command, when in layers
    ]
    steps.insert(BASES[base], HistoryEntry(layers[0][3].isoformat(), 'CMD ["sh"]', "buildkit.dockerfile.v0", "", True))
    listings = {index: LayerListing(table.combine_chunks()) for index, (table, *_) in enumerate(layers)}
    image = Image(
        reference=f"docker://registry.example/team/app{repository}:v{tag}",
        transport="docker",
        layers=tuple(
            Layer(
                diff_id, diff_id, None, listings[index].size, listings[index].size // 3, None, listings[index].entries
            )
            for index, (_, diff_id, _, _) in enumerate(layers)
        ),
        history=tuple(steps),
        image_id=digest("image", number),
        manifest_digest=digest("manifest", number),
        platform="linux/amd64",
        config={"created": made.isoformat(), "os": "linux", "architecture": "amd64"},
    )
    return image, listings


def write(number: int, files: int, folder: str) -> str:
    """One image into the fleet, as `imagelab.index_images` leaves it."""
    image, listings = simulated(number, files)
    name = snapshot_name(image)
    snapshot, facts = Path(folder, f"{name}.parquet"), Path(folder, "index", f"{name}.parquet")
    if not facts.exists():
        write_snapshot(image, listings, snapshot)
        row = image_facts(load_image(f"snapshot:{snapshot}"), name, image.reference)
        pq.write_table(pa.Table.from_pylist([row], schema=FACTS), facts, compression="zstd")
    return name


def asked(folder: str, question: str) -> None:
    """In a process of its own: ask, and print seconds, rows, and the peak of memory in bytes."""
    started = time.monotonic()
    answer = query_fleet(folder, question, PATTERNS.get(question))
    print(
        json.dumps([time.monotonic() - started, len(answer), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024])
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(tempfile.gettempdir()) / "imagelab-fleet")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--files", type=int, default=30_000, help="entries of each image")
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 30, 100, 300, 1000])
    parser.add_argument("--ask", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.ask:
        return asked(str(args.folder), args.ask)
    os.environ["IMAGELAB_CACHE_DIR"] = ""  # simulated layers are nobody's
    (args.folder / "index").mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        work = pool.map(
            write, *zip(*[(n, args.files, str(args.folder)) for n in range(args.images)], strict=True), chunksize=TAGS
        )
        names = list(tqdm(work, total=args.images, desc="simulating"))
    rows = []
    for count in (step for step in args.steps if step <= args.images):
        with tempfile.TemporaryDirectory() as part:
            Path(part, "index").mkdir()
            for name in names[:count]:
                for path in (f"{name}.parquet", f"index/{name}.parquet"):
                    Path(part, path).symlink_to((args.folder / path).absolute())
            for question in QUESTIONS:
                command = [sys.executable, "-m", "benchmarks.fleet", part, "--ask", question]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                seconds, answered, memory = json.loads(done.stdout)
                rows.append((count, question, seconds, memory, answered))
                print(
                    f"{count:5} images  {question:10} {seconds:6.2f} s  {memory / 1e6:6.0f} MB  {answered} rows",
                    flush=True,
                )
    frame = pd.DataFrame(rows, columns=["images", "question", "seconds", "memory", "rows"])
    frame.to_csv(args.folder / "fleet.csv", index=False)
    title = f"Seconds to answer, by size of the fleet ({args.files:,} files in each image)"
    figure = px.line(
        frame, x="images", y="seconds", color="question", markers=True, log_x=True, log_y=True, title=title
    )
    figure.write_html(args.folder / "fleet.html", include_plotlyjs=True)
    return None


if __name__ == "__main__":
    main()
