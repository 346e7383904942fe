"""Judge an answer by what was built: each public function is a rule, and returns the fault that it measures, or ``""``."""

from __future__ import annotations

import re

import pandas as pd

from imagelab.core.frames import format_bytes
from imagelab.core.model import Image
from imagelab.course import answers
from imagelab.course.trial import Trial
from imagelab.images.tables.files import files, squash
from imagelab.images.tables.history import history
from imagelab.images.tables.packages import package_files, packages
from imagelab.size.advice import advise
from imagelab.size.waste import waste

#: File bytes below which leftovers are not worth a fault: a RUN touches a log, a package brings a header.
SMALL = 100_000
#: Bytes from which files that nothing explains are a fault: a certificate store or a user's folder is smaller.
LARGE = 1_000_000
#: Python packages that install the others.
_INSTALLERS = ("pip", "setuptools", "wheel", "uv")
#: Packages of Debian and Alpine that bring a compiler; a purged gcc may leave headers behind.
_COMPILER = r"^((?:gcc|g\+\+|clang)(?:-\d+)?|build-essential|build-base)$"


def _leftovers(trial: Trial, rule: str, of_base: bool = False) -> pd.DataFrame:
    """Return the findings of an advice rule in the layers of the base image, or above them."""
    found = advise(trial.image, base=trial.base).query("rule == @rule")
    return found[found["from_base"].fillna(False) == of_base]


def _own(trial: Trial, found: pd.DataFrame, column: str = "layer_index") -> pd.DataFrame:
    """Return the rows whose layer is above the base image."""
    steps = history(trial.image, base=trial.base)
    of_base = steps.loc[steps["from_base"].fillna(False), "layer_index"].dropna()
    return found[~found[column].isin(of_base)]


def _fault(found: pd.DataFrame, what: str) -> str:
    stored = found["bytes"].sum()
    return f"{format_bytes(stored)} of {what}, stored by {found['instruction'].iloc[0]}." if stored > SMALL else ""


def small_base(trial: Trial) -> str:
    return _fault(_leftovers(trial, "build-tools", of_base=True), "compilers and headers in the base image")


def no_compiler(trial: Trial) -> str:
    found = packages(trial.image)["name"].str.extract(_COMPILER)[0].dropna().unique()
    return f"The image contains {', '.join(found)}." if len(found) else ""


def no_lists(trial: Trial) -> str:
    return _fault(_leftovers(trial, "apt-lists"), "apt's package lists")


def no_pip_cache(trial: Trial) -> str:
    if fault := _fault(_leftovers(trial, "pip-cache"), "downloads"):
        return fault
    # Behind an index that forbids caching pip keeps nothing, but elsewhere it would.
    kept = re.search(r"^(.*)/http/imagelab-[0-9a-f]{12}/kept$", "\n".join(files(trial.probed)["path"]), re.MULTILINE)
    return f"pip keeps its downloads in {kept[1]}, which is part of a layer." if kept else ""


def nothing_else(trial: Trial) -> str:
    """Look for large visible files and Python packages above the base that neither the program nor the start explains."""
    added = _own(trial, _python_packages(trial.image))
    added = added[~added["name"].isin([*_python_packages(trial.begun)["name"], *_INSTALLERS])]
    if added["size"].sum() > LARGE:
        return f"The program does not need {', '.join(added['name'])} ({format_bytes(added['size'].sum())})."
    visible = squash(trial.image, digests=True)
    known = [package_files(trial.image)["path"], packages(trial.image)["path"]]
    found = _own(trial, visible[~visible["path"].isin(pd.concat(known)) & ~visible["digest"].isin(trial.sources)])
    source = found["path"].str.replace(r"__pycache__/([^/]+)\.[^/]+\.pyc$", r"\1.py", regex=True)
    found = found[(source == found["path"]) | ~source.isin(visible["path"])]
    # Logs and databases of the distribution grow: what counts is what the start does not have.
    start = squash(trial.begun).set_index("path")["size"]
    extra = (found["size"] - found["path"].map(start).fillna(0)).clip(lower=0)
    if extra.sum() <= LARGE:
        return ""
    stored, largest = format_bytes(extra.sum()), found["path"][extra.idxmax()]
    return f"{stored} belong to no package and not to the program. The largest file is {largest}."


def no_waste(trial: Trial) -> str:
    found = _own(trial, waste(trial.image, digests=True)).query("reason != 'overwritten'")
    if found["bytes"].sum() <= SMALL:
        return ""
    largest = found.groupby(["instruction", "removed_instruction"], as_index=False)["bytes"].sum().nlargest(1, "bytes")
    size, stored, removed = largest[["bytes", "instruction", "removed_instruction"]].iloc[0]
    return f"{stored} stores {format_bytes(size)} that {removed} hides: the bytes stay in the layer below."


def _python_packages(image: Image) -> pd.DataFrame:
    found = packages(image).query("manager == 'python'")
    return found.assign(name=found["name"].map(_normal))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).casefold()


def installed(trial: Trial) -> str:
    found = _python_packages(trial.image).set_index("name")["version"]
    missing = [name for name in trial.requirements if _normal(name) not in found.index]
    if missing:
        return f"Not installed: {', '.join(missing)}."
    for name, version in trial.requirements.items():
        versions = found[[_normal(name)]].tolist()
        if version and version not in versions:
            return f"{name} {versions[0]} is installed, but requirements.txt asks for {version}."
    return ""


def commands(trial: Trial) -> str:
    """Compare with the commands of the start, where pip has installed everything."""
    started, answered = (files(image).query("kind != 'directory' and visible") for image in (trial.begun, trial.image))
    own = started["layer_index"].isin(history(trial.begun).query("from_base != True")["layer_index"])
    needed = started.loc[own, "path"].str.extract(r"^/usr/local/bin/([^/]+)$")[0].dropna()
    missing = sorted(set(needed) - set(answered["path"].str.extract(r"/bin/([^/]+)$")[0]))
    return f"Missing commands: {', '.join(missing)}. Copy bin too, or a whole virtual environment." if missing else ""


def _installed_at(trial: Trial, image: Image) -> pd.Series:
    """Return when each requirement's record was written."""
    found = _python_packages(image)
    records = found["path"][found["name"].isin(map(_normal, trial.requirements))]
    return squash(image).set_index("path")["mtime"].reindex(records)


def install_stays_cached(trial: Trial) -> str:
    before, after = (_installed_at(trial, image) for image in (trial.image, trial.edited))
    if not before.equals(after):  # an engine that is short of space prunes its cache: once more
        before, after = after, _installed_at(trial, trial.edit("again"))
    return "" if len(before) and before.equals(after) else "After an edit below src, the packages are installed again."


def cache_mount(trial: Trial) -> str:
    """Read what each installation's probe printed: pip's cache folder, and whether a mark in it outlived a build.

    pip's own words are no proof: behind an index that forbids caching, it downloads again whatever the mount.
    """
    probes = re.findall(r"imagelab-cache\|(/[^|\n]*)\|(usable)?\|(kept)?\|", trial.printed)
    for folder, usable, kept in probes:
        if not usable:
            return f"The user who installs must own {folder} and write to it: uid= in the mount, not readonly."
        if not kept:
            return f"pip keeps its downloads in {folder}, but nothing there is left for a later build. Is a cache mount there?"
    return (
        "" if probes else "pip keeps no downloads here: its cache is turned off or another user's, or pip is not used."
    )


def other_user(trial: Trial) -> str:
    if trial.run.users & {"root", "0"}:
        return "The processes of its container run as root."
    if not trial.run.users:
        return f"No process runs in its container. {_last_words(trial)}"
    return "A process of its container can write to /etc." if trial.run.writes_etc else ""


def no_second_copy(trial: Trial) -> str:
    found = waste(trial.image, digests=True).query("reason == 'rewritten_unchanged'")
    found = _own(trial, found, "removed_layer_index")
    if size := found["bytes"].sum():
        return f"{found['removed_instruction'].iloc[0]} stores {format_bytes(size)} again, unchanged."
    stored = _program_files(trial)
    again = stored[stored.duplicated("digest")]
    return f"{again['path'].iloc[0]} is stored again by {again['instruction'].iloc[0]}." if len(again) else ""


def _program_files(trial: Trial) -> pd.DataFrame:
    """Return every stored copy of the files in src."""
    listed = files(trial.image, digests=True)
    return listed[listed["digest"].isin(trial.sources) & (listed["kind"] == "file")]


def sources(trial: Trial) -> str:
    visible = set(_program_files(trial).query("visible")["digest"])
    missing = [name for digest, name in trial.sources.items() if digest not in visible]
    return f"The image lacks {', '.join(missing)}." if missing else ""


def runs(trial: Trial) -> str:
    got, wanted = trial.run, trial.start
    if got.status == wanted.status and got.status:
        pages = [re.sub(r"(?m) \S+$", "", ran.body) for ran in (got, wanted)]
        if pages[0] != pages[1]:
            return "Its container answers with another page than the start's."
        return (
            ""
            if got.body == wanted.body
            else "Its pages are right, but the program in src does not make them: an edit of it changes nothing."
        )
    found = f"answers with status {got.status}" if got.status else "does not answer"
    return f"Its container {found} on port 8000; the start's answers with {wanted.status or 'nothing'}. {_last_words(trial)}"


def _last_words(trial: Trial) -> str:
    """Explain the end of a container's output."""
    last = trial.run.output.strip().splitlines()[-1:]
    return answers.known_error(trial.run.output) or (f"It printed: {last[0][:200]}" if last else "")
