"""What a user waits for besides archives: pages, an image that an engine has, and an image in a registry."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import Sample, process, rounds, table
from tests.support.registries import Registry


def pages(imagelab: Path, count: int) -> str:
    """The tables of one report and of all pages of ``make report``."""
    with tempfile.TemporaryDirectory() as folder:
        one, site = Path(folder, "report.html"), Path(folder, "site")
        samples = rounds(
            {"imagelab report": lambda: process(imagelab, "report", "example:service-slim", "-o", one)}, count
        )
        samples |= rounds({"imagelab notebooks": lambda: process(imagelab, "notebooks", "-o", site)}, 1)
        made = [path for path in site.rglob("*") if path.is_file()]
        sizes = {
            "imagelab report": f"{one.stat().st_size / 1e6:.1f} MB",
            "imagelab notebooks": f"{len(list(site.glob('*.html')))} pages, {sum(p.stat().st_size for p in made) / 1e6:.1f} MB",
        }
    rows = [(f"`{name}`", sample, sizes[name]) for name, sample in samples.items()]
    return table(("whole process", "s: median (min–max)", "written"), rows)


def engine(imagelab: Path, reference: str, count: int) -> str:
    """The table of an image whose layers were listed before."""
    with tempfile.TemporaryDirectory() as cache:
        process(imagelab, "waste", reference, cache=cache)
        contestants: dict[str, Callable[[], Sample]] = {
            "import pandas (floor)": lambda: process(imagelab.with_name("python"), "-c", "import pandas"),
            "docker history": lambda: process("docker", "history", reference),
            f"imagelab show {reference}": lambda: process(imagelab, "show", reference, cache=cache),
        }
        samples = rounds(contestants, count)
    return table(("an image that an engine has", "s: median (min–max)"), list(samples.items()))


def registry(imagelab: Path, archive: Path, count: int) -> str:
    """The table of an archive's image in a registry on loopback: listing it against copying it."""
    with _registry_with(archive) as reference, tempfile.TemporaryDirectory() as folder:

        def copy() -> Sample:
            shutil.rmtree(folder, ignore_errors=True)
            return process("skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", reference, f"dir:{folder}")

        contestants = {"skopeo copy": copy, "imagelab waste": lambda: process(imagelab, "waste", reference)}
        samples = rounds(contestants, count)
        Path(folder).mkdir(exist_ok=True)
    rows = [(f"`{name}`", sample, sample.peak()) for name, sample in samples.items()]
    return table((f"{archive.name} in a registry", "s: median (min–max)", "peak MB"), rows)


@contextmanager
def _registry_with(archive: Path) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        server = Registry(Path(folder))
        try:
            server.copy(f"docker-archive:{archive}", "bench:latest")
            yield f"docker://{server.host}/bench:latest"
        finally:
            server.stop()
