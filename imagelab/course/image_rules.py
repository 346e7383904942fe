"""Judge an answer by what was built: each rule returns the fault that it measures, or ``""``."""

from __future__ import annotations

import re

import pandas as pd

from imagelab.core.frames import format_bytes
from imagelab.core.model import Image
from imagelab.course.trial import Trial
from imagelab.images.tables.layers import layers
from imagelab.images.tables.packages import packages
from imagelab.size.advice import advise
from imagelab.size.waste import waste

#: File bytes below which leftovers are not worth a fault: a RUN touches a log, a package brings a header.
SMALL = 100_000
#: Packages of Debian and Alpine that bring a compiler; a purged gcc may leave headers behind.
_COMPILER = r"^((?:gcc|g\+\+|clang)(?:-\d+)?|build-essential|build-base)$"


def _leftovers(trial: Trial, rule: str, of_base: bool = False) -> pd.DataFrame:
    """Return the findings of an advice rule in the layers of the base image, or above them."""
    found = advise(trial.image).query("rule == @rule")
    return found[found["from_base"].fillna(False) == of_base]


def _fault(found: pd.DataFrame, what: str) -> str:
    size = found["bytes"].sum()
    return f"{format_bytes(size)} of {what}, stored by {found['instruction'].iloc[0]}." if size > SMALL else ""


def small_base(trial: Trial) -> str:
    return _fault(_leftovers(trial, "build-tools", of_base=True), "compilers and headers in the base image")


def no_compiler(trial: Trial) -> str:
    found = packages(trial.image)["name"].str.extract(_COMPILER)[0].dropna().unique()
    return f"The image contains {', '.join(found)}." if len(found) else ""


def no_lists(trial: Trial) -> str:
    return _fault(_leftovers(trial, "apt-lists"), "apt's package lists")


def no_pip_cache(trial: Trial) -> str:
    return _fault(_leftovers(trial, "pip-cache"), "pip's downloads")


def _python_packages(image: Image) -> pd.DataFrame:
    found = packages(image).query("manager == 'python'")
    return found.assign(name=found["name"].map(_normal))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).casefold()


def installed(trial: Trial) -> str:
    missing = [name for name in trial.requirements if _normal(name) not in set(_python_packages(trial.image)["name"])]
    return f"Not installed: {', '.join(missing)}." if missing else ""


def _installed_layers(trial: Trial, image: Image) -> set[str]:
    found = _python_packages(image)
    mine = found[found["name"].isin(map(_normal, trial.requirements))]["layer_index"].dropna().unique()
    return set(layers(image).set_index("layer_index").loc[mine, "diff_id"])


def install_stays_cached(trial: Trial) -> str:
    before, after = (_installed_layers(trial, image) for image in (trial.image, trial.edited))
    return "" if before and before == after else "After an edit below src, the packages are installed again."


def cache_mount(trial: Trial) -> str:
    """Compare pip's cache folder with the targets of the cache mounts.

    pip's own words are no proof of a fault: behind an index that forbids caching, it downloads again whatever the mount.
    """
    if re.search(r"\b(?:Using cached|Found existing wheel) ", trial.printed):
        return ""
    probes = re.findall(r"imagelab-cache\|(/[^|\n]*)\|([^|\n]*)\|(writable)?", trial.printed)
    for folder, targets, writable in probes:
        if not any(f"{folder}/".startswith(f"{target.rstrip('/')}/") for target in targets.split()):
            return f"pip keeps its downloads in {folder}; the cache mount is at {targets or 'no place'}."
        if not writable:
            return f"The user who installs cannot write to {folder}, so pip keeps nothing. Add uid= to the mount."
    return "" if probes else "pip keeps no downloads here: its cache is turned off, or pip is not used."


def other_user(trial: Trial) -> str:
    if trial.run.users & {"root", "0"}:
        return "The processes of its container run as root."
    if not trial.run.users:
        return f"No process runs in its container. {_last_words(trial)}"
    return "A process of its container can write to /etc." if trial.run.writes_etc else ""


def no_second_copy(trial: Trial) -> str:
    found = waste(trial.image, digests=True).query("reason == 'rewritten_unchanged'")
    size = found["bytes"].sum()
    return f"{found['removed_instruction'].iloc[0]} stores {format_bytes(size)} again, unchanged." if size else ""


def runs(trial: Trial) -> str:
    if trial.run.status == trial.start.status and trial.run.status:
        return ""
    got = f"answers with status {trial.run.status}" if trial.run.status else "does not answer"
    return f"Its container {got}; the start's answers with {trial.start.status or 'nothing'}. {_last_words(trial)}"


def _last_words(trial: Trial) -> str:
    """Explain the end of a container's output."""
    output = trial.run.output
    for pattern, words in (
        (r"unable to find user (\w+)", "The user {} does not exist: create it with useradd, or use a number."),
        (r'exec: "([^"]+)".*(?:not found|no such file)', "The program {} is not in the image."),
        (r"No module named '([\w.]+)'", "The Python module {} is not installed, or not where this Python looks."),
        (r"can't open file '([^']+)'", "The file {} is not in the image."),
        (r"can't chdir to '([^']+)'", "The folder {} is not in the image."),
    ):
        if match := re.search(pattern, output):
            return words.format(match[1])
    return f"It printed: {output.strip().splitlines()[-1][:200]}" if output.strip() else ""


RULES = {
    rule.__name__: rule
    for rule in (
        small_base, no_compiler, no_lists, no_pip_cache, installed, install_stays_cached, cache_mount, other_user,
        no_second_copy, runs,
    )
}  # fmt: skip
