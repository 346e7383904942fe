"""Records the builds of the cache notebooks on a real engine: their logs, two images, and the model's agreement.

    python data/build/record.py                 # all of it; the engine is DOCKER_HOST's, with buildx
    python data/build/record.py order-bad       # one recipe
    python data/build/record.py services        # data/recipes' services, whose images data/snapshots holds
    python data/build/record.py agreement       # the model against real builds; needs ../shared/engine
    python data/build/record.py explained       # the diagnosis against real pairs; PRUNES the engine's build cache
    python data/build/record.py explained-new   # only the pairs that explained.csv does not have

Each recipe, `NAME/Dockerfile` with its context, is built without cache (`NAME-cold`), again (`NAME-warm`), and after
each change below. `--python` and `--busybox` name the base images. What commands printed is not kept in the logs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import pandas as pd

HERE = Path(__file__).resolve().parent
LOGS = HERE / "logs"

#: Recipe → change → the files that are edited (text added), or the build argument that is another.
CHANGES: dict[str, dict[str, dict[str, str]]] = {
    "order-bad": {"edit": {"app.py": "# one line more\n"}},
    "order-good": {"edit": {"app.py": "# one line more\n"}, "requirements": {"requirements.txt": "tqdm==4.67.1\n"}},
    "split-requirements": {"requirements": {"requirements.txt": "tqdm==4.67.1\n"}},
    "cache-mount": {"requirements": {"requirements.txt": "tqdm==4.67.1\n"}},
    "copy": {"release": {"RELEASE": "2."}},
    "copy-link": {"release": {"RELEASE": "2."}},
    "sequential": {},
    "parallel": {},
    "secret-mount": {},
    "secret-argument": {},
    "ssh-mount": {},
}
SECRET = "not-a-real-token-7d1f0c3a"
#: Service of data/recipes → the base image that its default names.
SERVICES = {"service-full": "full", "service-slim": "python"}


def build(context: Path, log: Path, base: str, *options: str) -> None:
    """One build; its rawjson log without the commands' output."""
    command = ["docker", "buildx", "build", "--progress=rawjson", "--network=host", "--build-arg", f"BASE={base}"]
    done = subprocess.run([*command, *options, str(context)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{context.name}: {done.stderr[-1500:]}")
    write_log(done.stderr, log)


def write_log(text: str, log: Path) -> None:
    """A rawjson log without the commands' output."""
    events = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    kept = [{key: event[key] for key in ("vertexes", "statuses") if key in event} for event in events]
    lines = "".join(json.dumps(event, separators=(",", ":")) + "\n" for event in kept if event)
    log.write_bytes(gzip.compress(lines.replace(SECRET, "********").encode(), mtime=0))


def record(name: str, bases: dict[str, str]) -> None:
    dockerfile = (HERE / name / "Dockerfile").read_text()
    base = bases["python" if "BASE=python" in dockerfile else "busybox"]
    with tempfile.TemporaryDirectory() as folder:
        secret = Path(folder) / "token"
        secret.write_text(SECRET)
        options = {
            "secret-mount": ["--secret", f"id=token,src={secret}"],
            "secret-argument": ["--build-arg", f"TOKEN={SECRET}"],
            "ssh-mount": ["--ssh", "default"],
        }.get(name, [])
        context = Path(shutil.copytree(HERE / name, Path(folder) / f"{name}-{uuid.uuid4().hex}"))
        # an empty cache folder, whatever was recorded before
        (context / "Dockerfile").write_text(dockerfile.replace("type=cache,", f"type=cache,id={context.name},"))
        build(context, LOGS / f"{name}-cold.rawjson.gz", base, "--no-cache", *options)
        build(context, LOGS / f"{name}-warm.rawjson.gz", base, *options)
        if name.startswith("secret"):
            image = Path(folder) / "image.tar"
            build(context, Path(folder) / "log", base, *options, "-o", f"type=oci,dest={image}", "--provenance=false")
            (HERE / f"{name}.oci.tar.gz").write_bytes(gzip.compress(image.read_bytes(), mtime=0))
        for change, edits in CHANGES[name].items():
            edited = Path(shutil.copytree(context, Path(folder) / f"{change}-{uuid.uuid4().hex}"))
            args = []
            for what, text in edits.items():
                if (edited / what).exists():
                    (edited / what).write_text((edited / what).read_text() + text)
                else:
                    args += ["--build-arg", f"{what}={text}{uuid.uuid4().hex[:8]}"]
            build(edited, LOGS / f"{name}-{change}.rawjson.gz", base, *args)


def record_services(bases: dict[str, str]) -> None:
    """One build without cache of each service: the log that belongs to its snapshot."""
    sys.path.insert(0, str(HERE.parent))
    import make

    for name, base in SERVICES.items():
        with tempfile.TemporaryDirectory() as folder:
            make.make_context(HERE.parent / "recipes" / "base-choice" / name / "Dockerfile", Path(folder))
            build(Path(folder), LOGS / f"{name}-cold.rawjson.gz", bases[base], "--no-cache")


def record_agreement() -> None:
    """Every case of the tests, built twice on both engines: steps, and those where the plan says other than the log."""
    sys.path.insert(0, str(HERE.parent.parent))
    from tests import conftest
    from tests.build.cache import test_proof as proof

    rows = []
    for kind, cases in (("modern", proof.MODERN), ("classic", proof.CLASSIC)):
        engine = conftest.start_engine(kind)
        version = engine.docker("version", "--format", "{{.Server.Version}}").strip()
        with tempfile.TemporaryDirectory() as folder:
            for name, built in proof.run_all(engine, cases, Path(folder)).items():
                row = {"engine": version, "case": name, "steps": len(built[0]), "again": int((~built[0]["hit"]).sum())}
                rows.append({**row, "wrong": len(proof.disagreements(built))})
    pd.DataFrame(rows).to_csv(HERE / "agreement.csv", index=False)


def record_explained(only_new: bool) -> None:
    """Every pair of the tests, built on DOCKER_HOST's engine: the verdict for each form, and three pairs as examples."""
    sys.path.insert(0, str(HERE.parent.parent))
    from tests.build import explain_cases as cases
    from tests.build import test_explain as proof
    from tests.conftest import Engine
    from tests.support.registries import Registry

    engine = Engine("modern", dict(os.environ))
    folder = Path(tempfile.mkdtemp())
    recorded = pd.read_csv(HERE / "explained.csv") if only_new else pd.DataFrame({"pair": []})
    pairs = [pair for pair in cases.PAIRS if pair.name not in set(recorded["pair"])]
    found = proof.run_all(engine, [pair for pair in pairs if not pair.pruned], folder)
    registry = Registry(folder)
    found |= proof.run_all(engine, [pair for pair in pairs if pair.pruned], folder / "pruned", 1, registry.host)
    registry.stop()
    causes = {pair.name: " ".join(dict.fromkeys(pair.causes.values())) or "nothing" for pair in pairs}
    rows = [{"pair": name, "cause": causes[name], **forms} for name, forms in found.items()]
    pd.concat([recorded, pd.DataFrame(rows)]).to_csv(HERE / "explained.csv", index=False)
    names = [pair.name for pair in pairs if not pair.pruned]
    for name, example in {} if only_new else cases.EXAMPLES.items():
        for side in ("before", "after"):
            source, kept = folder / str(names.index(example)) / side, HERE / "explained" / f"{name}-{side}"
            write_log(source.with_suffix(".rawjson").read_text(), kept.with_suffix(".rawjson.gz"))
            provenance = json.loads(source.with_suffix(".json").read_text())
            for key in ("sysUsage", "layers"):
                provenance["metadata"]["https://mobyproject.org/buildkit@v1#metadata"].pop(key, None)
            text = json.dumps(provenance, separators=(",", ":"))
            kept.with_suffix(".provenance.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def start_agent() -> None:
    """An SSH agent of its own for `ssh-mount`, if none is running."""
    if "SSH_AUTH_SOCK" not in os.environ:
        shown = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
        fields = dict(part.split("=", 1) for part in shown.replace("\n", ";").split(";") if "=" in part)
        os.environ |= {name: fields[name] for name in ("SSH_AUTH_SOCK", "SSH_AGENT_PID")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names",
        nargs="*",
        help="recipes, `services`, `agreement`, `explained` or `explained-new` (default: all but the last two)",
    )
    parser.add_argument("--python", default="python:3.11-slim", help="base image with Python and pip")
    parser.add_argument("--full", default="python:3.11", help="the same with compilers")
    parser.add_argument("--busybox", default="busybox", help="small base image")
    given = parser.parse_args()
    LOGS.mkdir(exist_ok=True)
    names = given.names or [*CHANGES, "services", "agreement"]
    bases = {"python": given.python, "full": given.full, "busybox": given.busybox}
    for name in names:
        if name == "agreement":
            record_agreement()
            continue
        if name in ("explained", "explained-new"):
            record_explained(name == "explained-new")
            continue
        if name == "services":
            record_services(bases)
            continue
        if name == "ssh-mount":
            start_agent()
        record(name, bases)


if __name__ == "__main__":
    main()
