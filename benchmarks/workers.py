"""How fast Dask's workers index images: ``python -m benchmarks.workers ARCHIVE [--copies 8] [--workers 1 2 4]``.

Every copy of the archive is read anew: the cache of listings is off. The floor is one process without Dask.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

from dask.distributed import Client, LocalCluster

from imagelab.core.memory import forget
from imagelab.fleet.index import index_images


def indexed(paths: list[Path], executor: Executor) -> float:
    """Seconds to index all of them into a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        rows = index_images(map(str, paths), folder, executor)
        seconds = time.perf_counter() - begun
    assert rows["state"].eq("indexed").all(), rows["error"].tolist()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    args = parser.parse_args()
    os.environ["IMAGELAB_CACHE_DIR"] = ""
    print("| workers | s | images a minute | by worker |\n| --- | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(shutil.copy(args.archive, Path(folder, f"{number}.tar"))) for number in range(args.copies)]
        with ThreadPoolExecutor(1) as executor:
            show("no Dask, one thread", indexed(paths, executor), args.copies, 1)
        for workers in args.workers:
            forget()
            cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
            with cluster, Client(cluster) as client:
                show(str(workers), indexed(paths, client.get_executor()), args.copies, workers)


def show(name: str, seconds: float, images: int, workers: int) -> None:
    """Print a row of the table."""
    rate = 60 * images / seconds
    print(f"| {name} | {seconds:.1f} | {rate:.0f} | {rate / workers:.0f} |", flush=True)


if __name__ == "__main__":
    main()
