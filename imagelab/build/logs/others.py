"""Read the logs of podman, buildah and kaniko into vertices."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from imagelab.build.logs.text import Vertex, append_vertex

PODMAN_STEP = re.compile(r"^(?:\[(\d{1,9})/\d+\] )?STEP (\d{1,9})(?:/(\d{1,9}))?: (.+)$", re.M)
_COMMIT = re.compile(r"(?:\[\d+/\d+\] |STEP \d+: )?COMMIT\b ?(.*)")
_TEXT = r'"(?:[^"\\]|\\.)*"'
#: A line in each of kaniko's formats: color, text and json, with seconds since its start or a time.
KANIKO_LINE = re.compile(
    rf'^(?:INFO\[([\dTZ:.+-]{{4,40}})\] (.*)|time="?([^" ]+)"? level=info msg=({_TEXT}|\S+)'
    rf'|\{{"level":"info","msg":({_TEXT}),"time":"([^"]+)"\}})$',
    re.M,
)
_KANIKO_STEP = re.compile(r"(RUN|COPY|ADD|WORKDIR|ENV|ARG|LABEL|USER|CMD|ENTRYPOINT|EXPOSE|VOLUME|SHELL|STOPSIGNAL) .+")
_KANIKO_TASK = re.compile(r"(Retrieving image|Unpacking|Pushing image to) (?:manifest )?(\S+)")
_TASKS = {"Retrieving image": "[pull]", "Unpacking": "[unpack]", "Pushing image to": "exporting to"}
_STAGE = re.compile(r"Building stage '.*?' \[idx: '(\d{1,9})'")
_EPOCH = pd.Timestamp(0, tz="UTC")
_CACHED = "Using caching version of cmd: "


def read_podman(lines: Sequence[str]) -> list[Vertex]:
    """Read the output of ``podman build`` and ``buildah build``, which has no times: ``duration`` stays unknown."""
    vertices: list[Vertex] = []
    names: dict[str, str] = {}  # number of the stage → its name
    current: dict[str, Vertex] = {}  # number of the stage → its last step, the newest at the end
    is_first, is_last, build = False, False, 1  # is_first: line of the step's output
    for line in lines:
        commit = _COMMIT.match(line) if is_last else None  # a command can print it too, or "STEP 9/9: …"
        match, was_first = None if commit else PODMAN_STEP.match(line), is_first
        stage = match[1] or "1" if match else ""
        before = current.get(stage)
        is_first = match is not None and int(match[2]) in (1, before.step + 1 if before and before.step else 1)
        if match and is_first:
            is_last = match[2] == (match[3] or match[2])
            if before and before.status == "unfinished":
                before.end("done")
            if before and int(match[2]) == 1:
                current, build = {}, build + 1
            if base := re.match(r"FROM\s+\S.*?(?:\s+AS\s+(\S+))?\s*$", match[4], re.I):
                names[stage] = (base[1] or f"stage-{int(stage) - 1}").lower()
            current.pop(stage, None)
            current[stage] = append_vertex(vertices, match[4], stage=names.get(stage), step=int(match[2]), build=build)
            continue
        if pull := re.match(r"Trying to pull (\S+?)(?:\.\.\.|$)", line):
            append_vertex(vertices, f"[pull] {pull[1]}", build=build).end("done")
        running = [vertex for vertex in current.values() if vertex.status == "unfinished"]  # several with --jobs
        last = next(reversed(running or current.values()), None)
        if last is None or last.status not in ("unfinished", "done"):
            continue
        if line.startswith("--> Using cache") and was_first:
            last.end("cached")
        elif line.startswith("--> ") or commit:
            last.end("done")
        elif error := re.match(r"Error: (?:building at STEP \".*?\": )?(.*)", line):
            last.end("error")
            last.error = error[1]
        if commit:
            append_vertex(vertices, f"exporting to {commit[1] or 'image'}", build=build).end("done")
    return vertices


def read_kaniko(lines: Sequence[str]) -> list[Vertex]:
    """Read kaniko's output; ``duration`` is the difference of the times that it prints, mostly whole seconds."""
    vertices: list[Vertex] = []
    stage, step, cached = "stage-0", 0, set[str]()
    start = 0.0  # of the last vertex
    for line in lines:
        if not (match := KANIKO_LINE.match(line.rstrip())):
            if vertices and (failed := re.match(r"error building image: (.*)", line)):
                vertices[-1].end("error")
                vertices[-1].error = failed[1]
            continue
        seconds, text = _kaniko(match)
        task, found = _KANIKO_TASK.match(text), _STAGE.match(text)
        name = f"{_TASKS[task[1]]} {task[2]}" if task else text.removeprefix(_CACHED)
        last = vertices[-1] if vertices and vertices[-1].status == "unfinished" else None
        is_step = _KANIKO_STEP.fullmatch(name) and not (stage + name in cached and name == text)
        is_same = task and last and last.name == name  # the image, after its manifest
        if last and not is_same and (is_step or task or found or last.step is None):
            last.end("done", round(seconds - start, 6))
        if found:
            stage, step = f"stage-{found[1]}", 0
        elif is_step or (task and not is_same):
            start, step = seconds, step + (not task)
            vertex = append_vertex(vertices, name, stage=stage, step=None if task else step)
            if is_step and name != text:  # the line of the step itself follows when kaniko uses its layer
                cached.add(stage + name)
                vertex.end("cached", 0.0)
    if vertices and vertices[-1].status == "unfinished":
        vertices[-1].end("done")
    return vertices


def _kaniko(match: re.Match[str]) -> tuple[float, str]:
    """The time and the message of a line."""
    time = match[1] or match[3] or match[6]
    text = match[2] or re.sub(r'^"|"$|\\(.)', r"\1", match[4] or match[5] or "")
    if time.isdecimal():
        return float(time), text.strip()
    return (pd.to_datetime(time, errors="coerce", utc=True) - _EPOCH).total_seconds(), text.strip()
