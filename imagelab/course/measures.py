"""Measure claims: each function takes names of recorded things and returns one number.

Image names are those of ``il.examples()``, log names those below ``data/build/logs``, other names are paths below
``data/``. The text beside each function is the ``method`` column of `claims`.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

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


class Measure(NamedTuple):
    function: Callable[..., float]
    method: str
    """What is measured, in a sentence for the reader of the claims."""


MEASURES: dict[str, Measure] = {}


def measure(method: str) -> Callable[[Callable[..., float]], Callable[..., float]]:
    """Register a function under its name, with the sentence that explains it."""

    def register(function: Callable[..., float]) -> Callable[..., float]:
        MEASURES[function.__name__] = Measure(function, method)
        return function

    return register


@cache
def example(name: str) -> Image:
    """An embedded image, loaded once."""
    return load_image(f"example:{name}")


def _ran(log: str) -> pd.DataFrame:
    """The steps of a recorded build that were not cached, base images apart."""
    steps = read_build_log(data_path(f"build/logs/{log}.rawjson.gz")).dropna(subset="step")
    return steps[~steps["cached"].fillna(False) & (steps["instruction"] != "FROM")]


@measure("The uncompressed total that was published of the official image.")
def published(name: str) -> float:
    return float(example(name).provenance["virtual_size"])


@measure("The difference between the uncompressed totals that were published.")
def published_saved(before: str, after: str) -> float:
    return published(before) - published(after)


@measure("Bytes of files that the image (or one layer of it) stores.")
def stored(name: str, *layer_index: int) -> float:
    sizes = layers(example(name))["size"]
    return float(sizes[list(layer_index)].sum() if layer_index else sizes.sum())


@measure("Bytes of files above the base image.")
def own(name: str) -> float:
    steps = history(example(name))
    return float(steps.loc[~steps["from_base"].fillna(False), "size"].sum())


@measure("Bytes stored before, less those stored after.")
def saved(before: str, after: str) -> float:
    return stored(before) - stored(after)


@measure("What is saved, as a share of what was stored before.")
def saved_share(before: str, after: str) -> float:
    return saved(before, after) / stored(before)


@measure("What is saved, as a share of the bytes above the base image.")
def own_saved_share(before: str, after: str) -> float:
    return saved(before, after) / own(before)


@measure("Of neighbours in the order given, the share where the first was published as the smaller.")
def published_order(*names: str) -> float:
    sizes = [published(name) for name in names]
    return sum(a < b for a, b in pairwise(sizes)) / (len(sizes) - 1)


@measure("Whether the first image stores fewer bytes than the second.")
def smaller(first: str, second: str) -> float:
    return float(stored(first) < stored(second))


@measure("Bytes that il.advise names under one rule, without the base image's.")
def advised(rule: str, name: str) -> float:
    found = advise(example(name), digests=rule == "rewritten-unchanged")
    return float(found.loc[(found["rule"] == rule) & ~found["from_base"].fillna(False), "bytes"].sum())


@measure("Whether the image shows a file with such a path above its base.")
def brings(path: str, name: str) -> float:
    seen, steps = squash(example(name)), history(example(name))
    base = steps.loc[steps["from_base"].fillna(False), "layer_index"]
    return float((seen["path"].str.contains(path) & ~seen["layer_index"].isin(base)).any())


@measure("The share of the first image's Python packages, above its base, that the second has in the same version.")
def same_packages(first: str, second: str) -> float:
    installed = [packages(example(name)).query("manager == 'python'") for name in (first, second)]
    own_layer = history(example(first)).query("instruction == 'RUN'")["layer_index"].max()
    wanted = installed[0].loc[installed[0]["layer_index"] == own_layer, ["name", "version"]].drop_duplicates()
    return float(len(wanted.merge(installed[1][["name", "version"]].drop_duplicates())) / len(wanted))


@measure("The share of images whose waste dive's numbers name to the byte.")
def caught_by_dive(*names: str) -> float:
    images = [example(name) for name in names]
    return float((dive_efficiency(images)["wasted_bytes"] == efficiency(images)["wasted"]).mean())


@measure("The share of images that pass a hardening rule (il.check_hardening).")
def passes(rule: str, *names: str) -> float:
    results = [check_hardening(example(name)) for name in names]
    passed = [bool(found.loc[found["rule"] == rule, "result"].eq("passed").all()) for found in results]
    return sum(passed) / len(names)


@measure("Whether the image's config has such a setting.")
def has_setting(name: str, kind: str, pattern: str) -> float:
    found = settings(example(name)).query("setting == @kind")
    text = found["name"].fillna("") + "=" + found["value"].fillna("")
    return float(text.str.contains(pattern).any())


@measure("Whether a package is missing in the image.")
def lacks_package(name: str, package: str) -> float:
    return float(package not in set(packages(example(name))["name"]))


@measure("The size that the engine's history shows for an instruction's steps, each.")
def step_usage(name: str, instruction: str) -> float:
    steps = history(example(name))
    return float(steps.loc[steps["instruction"] == instruction, "disk_usage"].max())


@measure("Seconds of all steps that ran, in the first build over those in the second.")
def times_faster(slow: str, fast: str) -> float:
    return float(_ran(slow)["duration"].sum() / _ran(fast)["duration"].sum())


@measure("Whether the steps that ran took less time in the second build.")
def faster(slow: str, fast: str) -> float:
    return float(times_faster(slow, fast) > 1)


@measure("The share of the steps written like this that came from the cache.")
def cached(log: str, step: str) -> float:
    steps = read_build_log(data_path(f"build/logs/{log}.rawjson.gz")).dropna(subset="step")
    text = steps["instruction"] + " " + steps["arguments"]
    return float(steps.loc[text.str.match(step), "cached"].mean())


@measure("The share of an instruction's steps that ran and ended well.")
def done(log: str, instruction: str) -> float:
    steps = _ran(log).query("instruction == @instruction")
    return float((steps["status"] == "done").mean())


@measure("From the first RUN's start to the last one's end, over the longest RUN or the sum of all.")
def span_share(log: str, of: str) -> float:
    runs = _ran(log).query("instruction == 'RUN'")
    whole = (runs["completed"].max() - runs["started"].min()).total_seconds()
    return float(whole / getattr(runs["duration"], of)())


@measure("The share of the time, from the first step to the last, that the second build saves.")
def span_saved(slow: str, fast: str) -> float:
    spans = [(_ran(log)["completed"].max() - _ran(log)["started"].min()).total_seconds() for log in (slow, fast)]
    return float(1 - spans[1] / spans[0])


@measure("When the COPY lines are put in the opposite order: the share of these steps that hit (il.plan_build).")
def reordered(technique: str, *instructions: str) -> float:
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


@measure("How many steps of a recipe's after run again when a path is edited (il.plan_build).")
def steps_again(technique: str, edited: str) -> float:
    recipe = data_path(f"recipes/{technique}")
    plan = plan_build(recipe / "context", [edited], dockerfile=recipe / "after" / "Dockerfile")
    return float((~plan["hit"]).sum())


@measure("Whether a Dockerfile written like that can be read.")
def parses(path: str) -> float:
    try:
        read_dockerfile(data_path(path))
    except DockerfileError:
        return 0.0
    return 1.0


@measure("Whether no instruction has a number sign among its arguments, where it is no comment.")
def without_marks(path: str) -> float:
    return float(not read_dockerfile(data_path(path)).instructions["expanded"].str.contains("#").any())


@measure("Of the labels whose values are variables, the share that are not empty.")
def filled(path: str) -> float:
    steps = read_dockerfile(data_path(path)).instructions.query("instruction == 'LABEL'")
    names = re.findall(r'(\S+)="\$\{', " ".join(steps["arguments"]))
    return sum(f"{name}= " not in f"{' '.join(steps['expanded'])} " for name in names) / len(names)


@measure("Whether the sizes in the recorded text rise from line to line.")
def sorted_by_size(path: str) -> float:
    found = [_SIZE.findall(f" {line} ") for line in data_path(path).read_text(encoding="utf-8").splitlines()]
    sizes = [parse_bytes(one[-1]) for one in found if one]
    return float(sizes == sorted(sizes))


@measure("Whether the recorded text has such a line.")
def shows(path: str, pattern: str) -> float:
    return float(re.search(pattern, data_path(path).read_text(encoding="utf-8"), re.MULTILINE) is not None)


@measure("The share of these acts that a container with these options could do when it tried.")
def could(options: str, *what: str) -> float:
    recorded = {one["options"]: one["could"] for one in json.loads(data_path("scans/containers.json").read_text())}
    return float(sum(recorded[options][one] for one in what) / len(what))


@measure("The share of these images that ended well when they were run with these options.")
def ended_well(options: str, *images: str) -> float:
    runs = pd.read_csv(data_path("runs/runs.csv"), keep_default_na=False).query("options == @options")
    return float(runs.set_index("image").loc[list(images), "exit_code"].eq(0).mean())


@measure("Whether the engine came to call a container so while its program hung.")
def told(image: str, health: str) -> float:
    states = pd.read_csv(data_path("runs/states.csv")).query("image == @image and program == 'hangs'")
    return float(states["health"].iloc[-1] == health and states["health"].iloc[0] != health)


@measure("Whether a scanner's report has this finding.")
def found(scan: str, finding: str) -> float:
    return float((read_scan(data_path(scan))["id"] == finding).any())


@measure("The share of findings for which a fixed version is known.")
def fixable(scan: str) -> float:
    findings = read_scan(data_path(scan))
    return float(findings.loc[findings["suppressed"].isna(), "fixed_version"].notna().mean())


@measure("How many blobs of the stored image hold the build's token, unpacked.")
def blobs_with_token(path: str) -> float:
    count = 0
    with tarfile.open(data_path(path)) as tar:
        for member in tar:
            handle = tar.extractfile(member)
            data = handle.read() if handle else b""
            count += b"not-a-real-token-7d1f0c3a" in (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    return count


@measure("The section's own numbers: what the second leaves out of the first, as a share of the first.")
def arithmetic(*numbers: float) -> float:
    return 1 - numbers[1] / numbers[0]


@measure("The section's own numbers, added.")
def total(*numbers: float) -> float:
    return sum(numbers)
