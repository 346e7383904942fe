"""Record what Docker itself prints or does, for claims that no image shows; once on each engine.

    python data/make.py --local --no-record stand-ins base-choice       # on the newest engine, where the image is saved
    python data/claims/record.py save service-slim.tar                  # there: the image that all engines load
    python data/claims/record.py record service-slim.tar                # on every engine: adds its rows to the files below
    python data/make.py registry

`sizes.csv`: one image, as `docker images`, `inspect`, `history` and a save count it. `ports.csv`: containers that bind
port 80. `installs.csv`: packages with and without wheels on the full and the slim base. `images.txt`: `docker images`.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import imagelab as il

HERE = Path(__file__).resolve().parent
IMAGE = "recipe/base-choice:service-slim"
BIND = "import socket; socket.socket().bind(('', 80))"
#: What to install, and the command.
INSTALLS = {
    "psutil from source": ["pip", "install", "--no-binary", "psutil", "psutil==7.0.0"],
    "scikit-learn": ["pip", "install", "scikit-learn==1.6.1"],
}


def docker(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *words], capture_output=True, text=True, errors="replace")


def printed(*words: str) -> str:
    done = docker(*words)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.strip()


def add(name: str, engine: str, rows: list[dict]) -> None:
    """Replace this engine's rows of a file."""
    path = HERE / f"{name}.csv"
    kept = [row for row in csv.DictReader(path.open()) if row["engine"] != engine] if path.is_file() else []
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["engine", *rows[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted([*kept, *({"engine": engine} | row for row in rows)], key=lambda row: row["engine"]))


def sizes(archive: Path) -> list[dict]:
    history = printed("history", "--human=false", "--format", "{{.Size}}", IMAGE).split()
    workdir = printed("history", "--no-trunc", "--human=false", "--format", "{{.Size}}\t{{.CreatedBy}}", IMAGE)
    steps = [line.split("\t") for line in workdir.splitlines()]
    saved = f"docker-archive:{archive}"
    return [
        {"what": "docker images", "text": printed("images", "--format", "{{.Size}}", IMAGE), "bytes": ""},
        {
            "what": "docker image inspect, Size",
            "text": "",
            "bytes": printed("image", "inspect", "-f", "{{.Size}}", IMAGE),
        },
        {"what": "docker history, sum", "text": "", "bytes": sum(map(int, history))},
        {
            "what": "docker history, WORKDIR",
            "text": "",
            "bytes": next(size for size, text in steps if "WORKDIR" in text),
        },
        {"what": "docker save", "text": "", "bytes": archive.stat().st_size},
        {"what": "files (il.layers, size)", "text": "", "bytes": int(il.efficiency(saved)["stored"].iloc[0])},
        {"what": "content (il.layers, content_size)", "text": "", "bytes": int(il.layers(saved)["content_size"].sum())},
    ]


def ports() -> list[dict]:
    rows = []
    for network in ("none", "host"):
        for options in ([], ["--cap-drop=ALL"], ["--cap-drop=ALL", "--cap-add=NET_BIND_SERVICE"]):
            ran = docker("run", "--rm", f"--network={network}", *options, IMAGE, "python3", "-c", BIND)
            rows.append({"network": network, "options": " ".join(options), "exit_code": ran.returncode})
    return rows


def installs() -> list[dict]:
    rows = []
    for base in ("localhost/python:full", "localhost/python:slim"):
        for what, command in INSTALLS.items():
            ran = docker("run", "--rm", "--network=host", base, *command)
            wheels = sum(
                ".whl" in line for line in ran.stdout.splitlines() if "Downloading" in line or "cached" in line
            )
            rows.append({"what": what, "base": base, "exit_code": ran.returncode, "wheels": wheels})
    return rows


def main() -> None:
    verb, archive = sys.argv[1], Path(sys.argv[2])
    if verb == "save":
        printed("save", "-o", str(archive), IMAGE)
        return
    engine = json.loads(printed("version", "--format", "{{json .Server}}"))["Version"].split("+")[0]
    printed("load", "-i", str(archive))
    add("sizes", engine, sizes(archive))
    add("ports", engine, ports())
    if not docker("image", "inspect", "localhost/python:full").returncode:
        add("installs", engine, installs())
        printed("tag", IMAGE, "api:original")
        (HERE / "images.txt").write_text(printed("images", "api") + "\n")
        printed("rmi", "api:original")


if __name__ == "__main__":
    main()
