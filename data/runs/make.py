"""Record what recipes do when they run: with options that remove rights, and while a program hangs.

    python data/make.py --local --no-record healthcheck read-only cap-drop runtime-secret
    python data/runs/make.py         # on the engine that has these images: runs.csv, states.csv, checks.csv
    python data/make.py registry

`runs.csv`: images, with options of `docker run`, and how they ended. `states.csv` and `checks.csv`: three containers of
`recipes/healthcheck`, all with the same program, asked every second in place of every thirty. After ten seconds the
program is stopped (SIGSTOP): it hangs, and its process keeps existing.
"""

from __future__ import annotations

import csv
import json
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SECRET = HERE.parent / "recipes" / "secret-mount" / "secrets" / "database_password"
#: Images and options to run them with.
RUNS = [
    *((f"recipe/read-only:{variant}", ["--read-only"]) for variant in ("before", "after")),
    *((f"recipe/cap-drop:{variant}", ["--cap-drop=ALL"]) for variant in ("before", "after")),
    ("recipe/runtime-secret:before", []),
    ("recipe/runtime-secret:after", []),
    ("recipe/runtime-secret:after", [f"--volume={SECRET}:/run/secrets/{SECRET.name}:ro"]),
]
IMAGES = ("recipe/healthcheck:before", "recipe/healthcheck:healthcheck-lines", "recipe/healthcheck:after")
HANGS, ENDS = 10, 20
ALWAYS = ["--network=none", "--restart=always"]
CHECKED = ["--health-interval=1s", "--health-timeout=1s", "--health-start-period=3s", "--health-retries=3"]


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def seconds(later: str, start: str) -> float:
    """Return the seconds between two of the engine's times, which have nanoseconds and a zone."""
    first, second = (datetime.fromisoformat(f"{text[:26].rstrip('Z')}+00:00") for text in (start, later))
    return round((second - first).total_seconds(), 1)


def watch(image: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the spans in which nothing changed, and every check that ran."""
    has_check = "Healthcheck" in json.loads(docker("image", "inspect", image))[0]["Config"]
    name, spans, checks = "imagelab-health", [], {}
    docker("run", "-d", "--name", name, *ALWAYS, *(CHECKED if has_check else []), image)
    try:
        program, at = "answers", 0.0
        while at < ENDS:
            (said,) = json.loads(docker("inspect", name))
            state, health = said["State"], said["State"].get("Health") or {}
            start = state["StartedAt"]
            at = round(time.time() - datetime.fromisoformat(f"{start[:26].rstrip('Z')}+00:00").timestamp(), 1)
            now = (program, state["Status"], health.get("Status", "none"), said["RestartCount"])
            if not spans or spans[-1]["now"] != now:
                spans.append({"now": now, "from": at if spans else 0.0})
            for one in health.get("Log") or ():
                last = (one["Output"].strip().splitlines() or [""])[-1]
                checks[one["Start"]] = (seconds(one["Start"], start), one["ExitCode"], last)
            if at >= HANGS and program == "answers":
                docker("kill", "--signal=STOP", name)
                program = "hangs"
            time.sleep(0.2)
    finally:
        docker("rm", "-f", name)
    ends = [span["from"] for span in spans[1:]] + [at]
    columns = ("program", "container", "health", "restarts")
    states = [
        {"image": image, "from": span["from"], "to": end, **dict(zip(columns, span["now"], strict=True))}
        for span, end in zip(spans, ends, strict=True)
    ]
    return states, [
        {"image": image, "seconds": begun, "exit_code": code, "output": text}
        for begun, code, text in sorted(checks.values())
    ]


def run(image: str, options: list[str]) -> dict[str, Any]:
    """How it ended, and the last line that it wrote."""
    command = ["docker", "run", "--rm", "--network=none", *options, image]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode == 125:  # docker's own: the image is not there, or an option is wrong
        raise SystemExit(done.stdout)
    last = (done.stdout.strip().splitlines() or [""])[-1]
    shown = " ".join(options).replace(str(SECRET.parent), ".")
    return {"image": image, "options": shown, "exit_code": done.returncode, "output": last}


def main() -> None:
    watched = [watch(image) for image in IMAGES]
    files = {
        "runs": [run(image, options) for image, options in RUNS],
        "states": [row for states, _ in watched for row in states],
        "checks": [row for _, checks in watched for row in checks],
    }
    for name, rows in files.items():
        with (HERE / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
