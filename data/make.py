"""Build the recipes on a real engine and record each image as a snapshot.

    python data/make.py --local             # base images: stand-ins, built where missing; no registry
    python data/make.py --network host      # base images: python:3.10 and its family, from a registry
    python data/make.py whiteout labels     # only these
    python data/make.py registry            # only the list of checksums

The engine is the one that DOCKER_HOST or the current Docker context names. A recipe is
`recipes/TECHNIQUE/VARIANT/Dockerfile`; its build context is `recipes/TECHNIQUE/context/`, the variant's own files
over it, and the files that `recipes/TECHNIQUE/generated.csv` describes (too many or too big to keep). The files in
`recipes/TECHNIQUE/secrets/` become build secrets of the same names. A Dockerfile with an SSH mount gets a key that is made for
this one build and deleted.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

import imagelab as il
from imagelab.core.errors import ImagelabError
from imagelab.core.model import HistoryEntry, Image, Layer

DATA = Path(__file__).resolve().parent

STAND_INS = {
    "busybox": "localhost/busybox:static",
    "debian:bookworm": "localhost/debian:minbase",
    "debian:bookworm-slim": "localhost/debian:slim",
    "python:3.10-slim": "localhost/python:slim",
    "python:3.10": "localhost/python:full",
    "/usr/local/lib/python3.10/site-packages": "/usr/local/lib/python3.11/dist-packages",
}
"""Default of a build argument → what `--local` uses instead: images, each made from an earlier one, and the folder where
their Python keeps packages."""

BASES = {
    "base-busybox": "busybox",
    "base-debian": "debian:bookworm-slim",
    "base-python-slim": "python:3.10-slim",
    "base-python-full": "python:3.10",
}
"""Base images recorded by themselves: snapshot name → the recipes' name for it."""

WITH_DIGESTS = {"chmod-in-layer", "chown-in-layer"}
"""Techniques that store the same content again: only digests show it."""

NOT_LISTED = {"registry.txt", "README.md", "make.py"}
FIXED_TIME = 1_767_225_600  # 2026-01-01, so that a generated context is the same everywhere


def recipe_tag(dockerfile: Path) -> str:
    """`recipe/TECHNIQUE:VARIANT`; a stand-in for a base image has its own name."""
    technique, variant = dockerfile.parts[-3:-1]
    return "localhost/" + variant.replace("-", ":") if technique == "stand-ins" else f"recipe/{technique}:{variant}"


def all_recipes() -> list[Path]:
    """Every Dockerfile, base images first."""
    tags = list(STAND_INS.values())
    recipes = sorted((DATA / "recipes").glob("*/*/Dockerfile"))
    return sorted(recipes, key=lambda path: tags.index(recipe_tag(path)) if recipe_tag(path) in tags else len(tags))


def snapshot_name(tag: str) -> str:
    """`TECHNIQUE-before`, `TECHNIQUE-after`, or the variant's own name where it has one."""
    technique, variant = tag.removeprefix("recipe/").split(":")
    return f"{technique}-{variant}" if variant in ("before", "after") else variant


def make_context(dockerfile: Path, folder: Path) -> None:
    """Put the recipe's build context together in an empty folder."""
    variant, technique = dockerfile.parent, dockerfile.parent.parent
    for part in (technique / "context", variant):
        if part.is_dir():
            shutil.copytree(part, folder, dirs_exist_ok=True)
    generated = technique / "generated.csv"
    for row in csv.DictReader(generated.open()) if generated.exists() else ():
        for number in range(int(row["files"])):
            path = folder / row["path"].format(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(random.Random(f"{row['path']} {number}").randbytes(int(row["bytes"])))
            os.utime(path, (FIXED_TIME, FIXED_TIME))


def arguments(dockerfile: Path, bases: dict[str, str]) -> dict[str, str]:
    """Return the build arguments whose defaults are replaced."""
    declared = re.findall(r"^ARG (\w+)=(\S+)$", dockerfile.read_text(), re.MULTILINE)
    return {name: bases[default] for name, default in declared if default in bases}


def missing_bases(dockerfile: Path, bases: dict[str, str]) -> list[Path]:
    """The stand-ins that a recipe starts from and the engine lacks, in the order to build them.

    Raises ImagelabError where it lacks one that no recipe makes, CalledProcessError where no engine answers.
    """
    recipes = {recipe_tag(path): path for path in all_recipes() if path.parts[-3] == "stand-ins"}
    found: list[Path] = []
    for image in arguments(dockerfile, bases).values():
        if image.startswith("/") or image not in STAND_INS.values():
            continue
        if subprocess.run(["docker", "images", "-q", image], check=True, stdout=subprocess.PIPE).stdout.strip():
            continue
        if image not in recipes:
            raise ImagelabError(
                f"{image} is not on the engine, and stands in for a base image here. Make it, as a folder with a root "
                f"filesystem: tar -C FOLDER -c . | docker import - {image} (Debian's comes from debootstrap "
                "--variant=minbase); or name an image of yours with --base."
            )
        found += [path for path in (*missing_bases(recipes[image], bases), recipes[image]) if path not in found]
    return found


def build(dockerfile: Path, network: str, bases: dict[str, str]) -> None:
    """Build one recipe with BuildKit, through the Docker CLI, on whatever engine it talks to."""
    command = ["docker", "build", "--network", network, "-t", recipe_tag(dockerfile)]
    for name, value in arguments(dockerfile, bases).items():
        command += ["--build-arg", f"{name}={value}"]
    for secret in sorted((dockerfile.parent.parent / "secrets").glob("*")):
        command += ["--secret", f"id={secret.name},src={secret}"]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as keys:
        make_context(dockerfile, Path(folder))
        if "--mount=type=ssh" in dockerfile.read_text():
            key = Path(keys) / "id_ed25519"
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "throw-away", "-f", key], check=True)
            command += ["--ssh", f"default={key}"]
        # Attestations would make an index of each image, which not every engine can hold.
        environment = os.environ | {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
        subprocess.run([*command, folder], check=True, env=environment)


def record(name: str, reference: str, *, digests: bool = False) -> None:
    """One image of the engine → `snapshots/NAME.parquet`."""
    path = DATA / "snapshots" / f"{name}.parquet"
    # The engine tells exact configs and stored sizes only when it saves an image, which a warm cache would spare it.
    with tempfile.TemporaryDirectory() as cache:
        os.environ["IMAGELAB_CACHE_DIR"] = cache
        il.save_snapshot(il.load_image(reference), path, digests=digests)
    name_no_mirror(path)
    print(f"{path.name}  {path.stat().st_size:,} bytes")


def name_no_mirror(path: Path) -> None:
    """apt names its lists after the server that they came from; the snapshots say `mirror` instead."""
    table = pq.read_table(path)
    column = table.column_names.index("path")
    paths = pc.replace_substring_regex(table["path"], r"^(/var/lib/apt/lists/(?:partial/)?)[\w.-]+?_", r"\1mirror_")
    if paths != table["path"]:
        table = table.set_column(column, table.schema.field(column), paths)
        pq.write_table(table, path, compression="zstd", compression_level=9, write_page_checksum=True)


def parse_megabytes(text: str) -> int:
    """`"923.11 MB"` → 923110000: as exact as it was published."""
    number, unit = text.split()
    return round(float(number) * {"MB": 10**6, "GB": 10**9}[unit])


def select_facts(image_facts: Path) -> list[dict]:
    """Collected registry facts → the content of `facts/published.json`: what snapshots need, with its source.

    A total of uncompressed bytes is taken only where the page that has it is about the very same image.
    """
    collected = json.loads(image_facts.read_text())
    facts = []
    for fact in collected:
        repository, path, commit = fact["source"].replace("@", "").split()
        same = fact["virtual_of"] == "same image id"
        kept = ("image", "platform", "index_digest", "manifest_digest", "image_id", "docker_version", "history")
        facts.append(
            {key: fact[key] for key in kept}
            | {
                # A commit shows several images: all of them stood so when the youngest was made.
                "published": max(other["variant"][-7:] for other in collected if other["source"].endswith(commit)),
                "layers": [{key: layer[key] for key in ("digest", "media_type", "size")} for layer in fact["layers"]],
                "virtual_size": parse_megabytes(fact["virtual_size_text"]) if same else None,
                "virtual_size_source": fact["virtual_source"] if same else None,
                "source": {"repository": repository, "path": path, "commit": commit, "licence": "Apache-2.0"},
            }
        )
    return facts


def published_image(fact: dict) -> Image:
    """What is published of an official image, as an Image: content sizes, history, no diff_ids, no listing."""
    return Image(
        reference=f"{fact['image']} ({fact['published']})",
        transport="docker",
        layers=tuple(
            Layer(None, digest=layer["digest"], media_type=layer["media_type"], content_size=layer["size"])
            for layer in fact["layers"]
        ),
        history=tuple(HistoryEntry(step["created"], step["instruction"]) for step in fact["history"]),
        image_id=fact["image_id"],
        manifest_digest=fact["manifest_digest"],
        index_digest=fact["index_digest"],
        platform=fact["platform"],
        tags=(fact["image"],),
        provenance=fact["source"]
        | {key: fact[key] for key in ("published", "docker_version", "virtual_size", "virtual_size_source")},
    )


def record_published() -> None:
    """`facts/published.json` → one snapshot per image and year, named after both."""
    for fact in json.loads((DATA / "facts" / "published.json").read_text()):
        name = f"published-{fact['image'].replace(':', '-')}-{fact['published'][:4]}"
        il.save_snapshot(published_image(fact), DATA / "snapshots" / f"{name}.parquet")


def write_registry() -> None:
    """`registry.txt`: path and sha256 of every file of `data/` that others read."""
    files = (path for path in DATA.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    lines = [
        f"{path.relative_to(DATA).as_posix()} sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in sorted(files)
        if path.name not in NOT_LISTED
    ]
    (DATA / "registry.txt").write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="techniques, `published` or `registry` (default: everything)")
    parser.add_argument("--network", default="host", help="network of RUN steps (default: host)")
    parser.add_argument("--local", action="store_true", help="stand-ins for the base images, by their names here")
    parser.add_argument("--base", action="append", default=[], metavar="NAME=OTHER", help="another image for one base")
    parser.add_argument("--no-build", action="store_true", help="record what is built already")
    parser.add_argument("--no-record", action="store_true", help="build only")
    parser.add_argument("--facts", type=Path, help="take facts/published.json out of this file of registry facts first")
    args = parser.parse_args()

    bases = (STAND_INS if args.local else {}) | dict(base.split("=", 1) for base in args.base)
    recipes = all_recipes()
    known = {path.parts[-3] for path in recipes} | {"published", "registry"}
    if unknown := set(args.names) - known:
        parser.error(f"no recipe {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    wanted = set(args.names) or known

    if args.facts:
        (DATA / "facts" / "published.json").write_text(json.dumps(select_facts(args.facts), indent=1) + "\n")
    failed = []
    for dockerfile in recipes:
        technique, tag = dockerfile.parts[-3], recipe_tag(dockerfile)
        if technique not in wanted or (technique == "stand-ins" and not args.local):
            continue
        if not args.no_build:
            try:
                for needed in (*missing_bases(dockerfile, bases), dockerfile):
                    build(needed, args.network, bases)
            except ImagelabError as error:
                parser.error(str(error))
            except subprocess.CalledProcessError:
                needs = re.search("^# engine: (.+)$", dockerfile.read_text(), re.MULTILINE)
                failed.append(f"{tag}, which needs {needs[1] if needs else 'an engine'}")
                continue
        if not args.no_record and technique != "stand-ins":
            record(snapshot_name(tag), tag, digests=technique in WITH_DIGESTS)
    if "stand-ins" in wanted and not args.no_record:
        for name, base in BASES.items():
            record(name, bases.get(base, base))
    if "published" in wanted:
        record_published()
    write_registry()
    if failed:
        raise SystemExit("Not built; the engine's message is above:\n" + "\n".join(failed))


if __name__ == "__main__":
    main()
