"""How claims are measured: each function takes names of recorded things and returns one number.

Names of images are those of ``il.examples()``, of logs those below ``data/build/logs``, of other files paths below
``data/``. The first line of each docstring is what a reader is told.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import tarfile
import tempfile
from functools import cache
from itertools import pairwise
from pathlib import Path

import pandas as pd

from imagelab.build.cache.plan import plan_build
from imagelab.build.dockerfile.read import read_dockerfile
from imagelab.build.logs.read import read_build_log
from imagelab.core.errors import DockerfileError
from imagelab.core.model import Image
from imagelab.core.resources import data_path
from imagelab.images.load import load_image
from imagelab.images.tables.files import squash
from imagelab.images.tables.history import history
from imagelab.images.tables.layers import layers
from imagelab.images.tables.packages import packages
from imagelab.images.tables.settings import settings
from imagelab.security.hardening.check import check_hardening
from imagelab.security.scans.reader import read_scan
from imagelab.size.advice import advise
from imagelab.size.dive import dive_efficiency
from imagelab.size.limits import parse_bytes
from imagelab.size.waste import efficiency

_SIZE = re.compile(r"(?<=\s)[\d.]+(?:B|kB|MB|GB)(?=\s)")


@cache
def example(name: str) -> Image:
    """An embedded image, loaded once."""
    return load_image(f"example:{name}")


def _ran(log: str) -> pd.DataFrame:
    """The steps of a recorded build that were not cached, base images apart."""
    steps = read_build_log(data_path(f"build/logs/{log}.rawjson.gz")).dropna(subset="step")
    return steps[~steps["cached"].fillna(False) & (steps["instruction"] != "FROM")]


def published(name: str) -> float:
    """The uncompressed total that was published of the official image."""
    return example(name).provenance["virtual_size"]


def published_saved(before: str, after: str) -> float:
    """The difference between the uncompressed totals that were published."""
    return published(before) - published(after)


def stored(name: str, *layer_index: int) -> float:
    """Bytes of files that the image (or one layer of it) stores."""
    sizes = layers(example(name))["size"]
    return float(sizes[list(layer_index)].sum() if layer_index else sizes.sum())


def own(name: str) -> float:
    """Bytes of files above the base image."""
    steps = history(example(name))
    return float(steps.loc[~steps["from_base"].fillna(False), "size"].sum())


def saved(before: str, after: str) -> float:
    """Bytes stored before, less those stored after."""
    return stored(before) - stored(after)


def saved_share(before: str, after: str) -> float:
    """What is saved, as a share of what was stored before."""
    return saved(before, after) / stored(before)


def own_saved_share(before: str, after: str) -> float:
    """What is saved, as a share of the bytes above the base image."""
    return saved(before, after) / own(before)


def published_order(*names: str) -> float:
    """Of neighbours in the order given, the share where the first was published as the smaller."""
    sizes = [published(name) for name in names]
    return sum(a < b for a, b in pairwise(sizes)) / (len(sizes) - 1)


def smaller(first: str, second: str) -> float:
    """Whether the first image stores fewer bytes than the second."""
    return float(stored(first) < stored(second))


def advised(rule: str, name: str) -> float:
    """Bytes that il.advise names under one rule, without the base image's."""
    found = advise(example(name), digests=rule == "rewritten-unchanged")
    return float(found.loc[(found["rule"] == rule) & ~found["from_base"].fillna(False), "bytes"].sum())


def brings(path: str, name: str) -> float:
    """Whether the image shows a file with such a path above its base."""
    seen, steps = squash(example(name)), history(example(name))
    base = steps.loc[steps["from_base"].fillna(False), "layer_index"]
    return float((seen["path"].str.contains(path) & ~seen["layer_index"].isin(base)).any())


def same_packages(first: str, second: str) -> float:
    """The share of the first image's Python packages, above its base, that the second has in the same version."""
    installed = [packages(example(name)).query("manager == 'python'") for name in (first, second)]
    own_layer = history(example(first)).query("instruction == 'RUN'")["layer_index"].max()
    wanted = installed[0].loc[installed[0]["layer_index"] == own_layer, ["name", "version"]].drop_duplicates()
    return float(len(wanted.merge(installed[1][["name", "version"]].drop_duplicates())) / len(wanted))


def caught_by_dive(*names: str) -> float:
    """The share of images whose waste dive's numbers name to the byte."""
    images = [example(name) for name in names]
    return float((dive_efficiency(images)["wasted_bytes"] == efficiency(images)["wasted"]).mean())


def passes(rule: str, *names: str) -> float:
    """The share of images that pass a hardening rule (il.check_hardening)."""
    results = [check_hardening(example(name)) for name in names]
    return sum(found.loc[found["rule"] == rule, "result"].eq("passed").all() for found in results) / len(names)


def has_setting(name: str, kind: str, pattern: str) -> float:
    """Whether the image's config has such a setting."""
    found = settings(example(name)).query("setting == @kind")
    text = found["name"].fillna("") + "=" + found["value"].fillna("")
    return float(text.str.contains(pattern).any())


def lacks_package(name: str, package: str) -> float:
    """Whether a package is missing in the image."""
    return float(package not in set(packages(example(name))["name"]))


def step_usage(name: str, instruction: str) -> float:
    """The size that the engine's history shows for an instruction's steps, each."""
    steps = history(example(name))
    return float(steps.loc[steps["instruction"] == instruction, "disk_usage"].max())


def times_faster(slow: str, fast: str) -> float:
    """Seconds of all steps that ran, in the first build over those in the second."""
    return _ran(slow)["duration"].sum() / _ran(fast)["duration"].sum()


def faster(slow: str, fast: str) -> float:
    """Whether the steps that ran took less time in the second build."""
    return float(times_faster(slow, fast) > 1)


def cached(log: str, step: str) -> float:
    """The share of the steps written like this that came from the cache."""
    steps = read_build_log(data_path(f"build/logs/{log}.rawjson.gz")).dropna(subset="step")
    text = steps["instruction"] + " " + steps["arguments"]
    return float(steps.loc[text.str.match(step), "cached"].mean())


def done(log: str, instruction: str) -> float:
    """The share of an instruction's steps that ran and ended well."""
    steps = _ran(log).query("instruction == @instruction")
    return float((steps["status"] == "done").mean())


def span_share(log: str, of: str) -> float:
    """From the first RUN's start to the last one's end, over the longest RUN or the sum of all."""
    runs = _ran(log).query("instruction == 'RUN'")
    whole = (runs["completed"].max() - runs["started"].min()).total_seconds()
    return float(whole / getattr(runs["duration"], of)())


def span_saved(slow: str, fast: str) -> float:
    """The share of the time, from the first step to the last, that the second build saves."""
    spans = [(_ran(log)["completed"].max() - _ran(log)["started"].min()).total_seconds() for log in (slow, fast)]
    return 1 - spans[1] / spans[0]


def reordered(technique: str, *instructions: str) -> float:
    """When the COPY lines are put in the opposite order: the share of these steps that hit (il.plan_build)."""
    recipe = data_path(f"recipes/{technique}")
    lines = (recipe / "after" / "Dockerfile").read_text().splitlines()
    copies = [number for number, line in enumerate(lines) if line.startswith("COPY")]
    place = dict(zip(copies, reversed(copies), strict=True))
    turned = [lines[place.get(number, number)] for number in range(len(lines))]
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("a", lines), ("b", turned)):
            shutil.copytree(recipe / "context", Path(folder) / name)
            (Path(folder) / name / "Dockerfile").write_text("\n".join(text) + "\n")
        plan = plan_build(Path(folder) / "a", after=Path(folder) / "b")
    return float(plan.loc[plan["instruction"].isin(instructions), "hit"].mean())


def steps_again(technique: str, edited: str) -> float:
    """How many steps of a recipe's after run again when a path is edited (il.plan_build)."""
    recipe = data_path(f"recipes/{technique}")
    plan = plan_build(recipe / "context", [edited], dockerfile=recipe / "after" / "Dockerfile")
    return float((~plan["hit"]).sum())


def parses(path: str) -> float:
    """Whether a Dockerfile written like that can be read."""
    try:
        read_dockerfile(data_path(path))
    except DockerfileError:
        return 0.0
    return 1.0


def without_marks(path: str) -> float:
    """Whether no instruction has a number sign among its arguments, where it is no comment."""
    return float(not read_dockerfile(data_path(path)).instructions["expanded"].str.contains("#").any())


def filled(path: str) -> float:
    """Of the labels whose values are variables, the share that are not empty."""
    steps = read_dockerfile(data_path(path)).instructions.query("instruction == 'LABEL'")
    names = re.findall(r'(\S+)="\$\{', " ".join(steps["arguments"]))
    return sum(f"{name}= " not in f"{' '.join(steps['expanded'])} " for name in names) / len(names)


def sorted_by_size(path: str) -> float:
    """Whether the sizes in the recorded text rise from line to line."""
    found = [_SIZE.findall(f" {line} ") for line in data_path(path).read_text(encoding="utf-8").splitlines()]
    sizes = [parse_bytes(one[-1]) for one in found if one]
    return float(sizes == sorted(sizes))


def shows(path: str, pattern: str) -> float:
    """Whether the recorded text has such a line."""
    return float(re.search(pattern, data_path(path).read_text(encoding="utf-8"), re.MULTILINE) is not None)


def could(options: str, *what: str) -> float:
    """The share of these acts that a container with these options could do when it tried."""
    recorded = {one["options"]: one["could"] for one in json.loads(data_path("scans/containers.json").read_text())}
    return sum(recorded[options][one] for one in what) / len(what)


def ended_well(options: str, *images: str) -> float:
    """The share of these images that ended well when they were run with these options."""
    runs = pd.read_csv(data_path("runs/runs.csv"), keep_default_na=False).query("options == @options")
    return float(runs.set_index("image").loc[list(images), "exit_code"].eq(0).mean())


def told(image: str, health: str) -> float:
    """Whether the engine came to call a container so while its program hung."""
    states = pd.read_csv(data_path("runs/states.csv")).query("image == @image and program == 'hangs'")
    return float(states["health"].iloc[-1] == health and states["health"].iloc[0] != health)


def found(scan: str, finding: str) -> float:
    """Whether a scanner's report has this finding."""
    return float((read_scan(data_path(scan))["id"] == finding).any())


def fixable(scan: str) -> float:
    """The share of findings for which a fixed version is known."""
    return float(read_scan(data_path(scan))["fixed_version"].notna().mean())


def blobs_with_token(path: str) -> float:
    """How many blobs of the stored image hold the build's token, unpacked."""
    count = 0
    with tarfile.open(data_path(path)) as tar:
        for member in tar:
            handle = tar.extractfile(member)
            data = handle.read() if handle else b""
            count += b"not-a-real-token-7d1f0c3a" in (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    return count


def arithmetic(*numbers: float) -> float:
    """The section's own numbers: what the second leaves out of the first, as a share of the first."""
    return 1 - numbers[1] / numbers[0]


def total(*numbers: float) -> float:
    """The section's own numbers, added."""
    return sum(numbers)


MEASURES = {
    measure.__name__: measure
    for measure in (
        published, published_saved, published_order, stored, own, saved, saved_share, own_saved_share, smaller, advised,
        brings, same_packages, caught_by_dive, passes, has_setting, lacks_package, step_usage, times_faster, faster,
        cached, done, span_share, span_saved, reordered, steps_again, parses, without_marks, filled, sorted_by_size, shows,
        could, ended_well, told, found, fixable, blobs_with_token, arithmetic, total,
    )
}  # fmt: skip
