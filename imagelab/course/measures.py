"""Functions for the ``code`` of claims: they look into recorded images, logs, runs and Dockerfiles.

A claim in ``data/claims.toml`` carries the expression that measures it, over ``il``, ``pd``, ``re`` and these functions, so
that a reader can run it in a cell (``from imagelab.course.measures import *``). Paths are below ``data/``, logs below
``data/build/logs``.
"""

from __future__ import annotations

import gzip
import json
import re
import tarfile

import pandas as pd

from imagelab.build.cache.plan import plan_build
from imagelab.build.dockerfile.read import read_dockerfile
from imagelab.build.logs.cost import own_steps
from imagelab.build.logs.read import read_build_log
from imagelab.core.errors import DockerfileError
from imagelab.core.resources import data_path
from imagelab.images.load import load_image
from imagelab.images.tables.files import files
from imagelab.images.tables.history import history
from imagelab.images.tables.settings import settings
from imagelab.size.advice import advise
from imagelab.size.limits import parse_bytes

_SIZE = re.compile(r"(?<=\s)[\d.]+(?:B|kB|MB|GB)(?=\s)")


def table(path: str) -> pd.DataFrame:
    """Read a recorded table."""
    return pd.read_csv(data_path(path), keep_default_na=False)


def published(name: str) -> int:
    """Return the uncompressed total that was published of an official image."""
    return int(load_image(f"example:{name}").provenance["virtual_size"])


def own(name: str) -> int:
    """Return the bytes of files above the base image."""
    return int(history(f"example:{name}").query("from_base != True")["size"].sum())


def advised(rule: str, name: str) -> int:
    """Return the bytes that `advise` names under one rule, above the base image."""
    found = advise(f"example:{name}", digests=rule == "rewritten-unchanged")
    return int(found.query("rule == @rule and from_base != True")["bytes"].sum())


def brings(pattern: str, name: str) -> bool:
    """Whether a layer above the base has a file with such a path, hidden or not."""
    found, steps = files(f"example:{name}").query("kind == 'file'"), history(f"example:{name}")
    base = steps.query("from_base == True")["layer_index"]
    return bool((found["path"].str.contains(pattern) & ~found["layer_index"].isin(base)).any())


def has_setting(name: str, kind: str, pattern: str) -> bool:
    """Whether the image's config has such a setting."""
    found = settings(f"example:{name}").query("setting == @kind")
    return bool((found["name"].fillna("") + "=" + found["value"].fillna("")).str.contains(pattern).any())


def steps(log: str) -> pd.DataFrame:
    """Return the steps of a recorded build, base images apart."""
    return own_steps(read_build_log(data_path(f"build/logs/{log}.rawjson.gz")))


def cached(log: str, step: str) -> float:
    """Return the share of the steps written like this that came from the cache."""
    found = steps(log)
    return float(found.loc[(found["instruction"] + " " + found["arguments"]).str.match(step), "cached"].mean())


def seconds(case: str, variant: str, column: str = "wall") -> pd.Series:
    """Return a recorded build's seconds, one value per run."""
    return table("times/times.csv").query("case == @case and variant == @variant").set_index("run")[column]


def steps_again(technique: str, edited: str) -> int:
    """Return how many steps of a recipe's ``after`` run again after an edit (`plan_build`)."""
    recipe = data_path(f"recipes/{technique}")
    return int((~plan_build(recipe / "context", [edited], dockerfile=recipe / "after" / "Dockerfile")["hit"]).sum())


def parses(path: str) -> bool:
    """Whether a Dockerfile can be read."""
    try:
        read_dockerfile(data_path(path))
    except DockerfileError:
        return False
    return True


def filled(path: str) -> float:
    """Return the share of the labels with a variable that are not empty."""
    found = read_dockerfile(data_path(path)).instructions.query("instruction == 'LABEL'")
    names = re.findall(r'(\S+)="\$\{', " ".join(found["arguments"]))
    return float(sum(f"{name}= " not in f"{' '.join(found['expanded'])} " for name in names) / len(names))


def sorted_by_size(path: str) -> bool:
    """Whether the sizes in a recorded text rise from line to line."""
    sizes = [_SIZE.findall(f" {line} ") for line in data_path(path).read_text(encoding="utf-8").splitlines()]
    return bool(pd.Series([parse_bytes(found[-1]) for found in sizes if found]).is_monotonic_increasing)


def could(options: str, act: str) -> bool:
    """Whether a container with these options could do something when it tried."""
    recorded = json.loads(data_path("scans/containers.json").read_text(encoding="utf-8"))
    return bool(next(row["could"][act] for row in recorded if row["options"] == options))


def blobs_with_token(path: str) -> int:
    """Count the blobs of a stored image that contain the build's token, unpacked."""
    with tarfile.open(data_path(path)) as tar:
        blobs = [handle.read() for member in tar if (handle := tar.extractfile(member))]
    return int(sum(b"not-a-real-token-7d1f0c3a" in (gzip.decompress(b) if b[:2] == b"\x1f\x8b" else b) for b in blobs))
