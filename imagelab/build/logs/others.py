"""Read the logs of podman, buildah and kaniko into vertices."""

from __future__ import annotations

import re
from collections.abc import Sequence

from imagelab.build.logs.text import Vertex

PODMAN_STEP = re.compile(r"^(?:\[(\d{1,9})/\d+\] )?STEP (\d{1,9})(?:/\d+)?: (.+)$", re.M)
KANIKO_LINE = re.compile(r"^INFO\[(\d{4,})\] (.*)$", re.M)
_KANIKO_STEP = re.compile(r"(RUN|COPY|ADD|WORKDIR|ENV|ARG|LABEL|USER|CMD|ENTRYPOINT|EXPOSE|VOLUME|SHELL|STOPSIGNAL) .+")
_STAGE = re.compile(r"Building stage '.*?' \[idx: '(\d{1,9})'")
_CACHED = "Using caching version of cmd: "


def read_podman(lines: Sequence[str]) -> list[Vertex]:
    """Read the output of ``podman build`` and ``buildah build``, which has no times: ``duration`` stays unknown."""
    vertices: list[Vertex] = []
    names: dict[str, str] = {}  # number of the stage → its name
    current: dict[str, Vertex] = {}  # number of the stage → its last step, the newest at the end
    is_first, build = False, 1  # line of the step's output
    for line in lines:
        match, was_first = PODMAN_STEP.match(line), is_first
        stage = match[1] or "1" if match else ""
        before = current.get(stage)
        # a command can print "STEP 9/9: …" too
        is_first = match is not None and int(match[2]) in (1, before.step + 1 if before and before.step else 1)
        if match and is_first:
            if before and before.status == "unfinished":
                before.end("done")
            if before and int(match[2]) == 1:
                current, build = {}, build + 1
            if base := re.match(r"FROM\s+\S.*?(?:\s+AS\s+(\S+))?\s*$", match[3], re.I):
                names[stage] = (base[1] or f"stage-{int(stage) - 1}").lower()
            vertices.append(
                Vertex(str(len(vertices) + 1), match[3], stage=names.get(stage), step=int(match[2]), build=build)
            )
            current.pop(stage, None)
            current[stage] = vertices[-1]
            continue
        running = [vertex for vertex in current.values() if vertex.status == "unfinished"]  # several with --jobs
        last = running[-1] if running else vertices[-1] if vertices else None
        if last is None or last.status not in ("unfinished", "done"):
            continue
        if line.startswith("--> Using cache") and was_first:
            last.end("cached")
        elif line.startswith(("--> ", "COMMIT ")) or re.match(r"\[\d+/\d+\] COMMIT ", line):
            last.end("done")
        elif error := re.match(r"Error: (?:building at STEP \".*?\": )?(.*)", line):
            last.end("error")
            last.error = error[1]
    return vertices


def read_kaniko(lines: Sequence[str]) -> list[Vertex]:
    """Read kaniko's output; ``duration`` is the difference of the whole seconds that it prints."""
    vertices: list[Vertex] = []
    stage, step, cached = "stage-0", 0, set[str]()
    open_since: tuple[Vertex, int] | None = None
    for line in lines:
        if not (match := KANIKO_LINE.match(line)):
            continue
        seconds, text = int(match[1]), match[2]
        if found := _STAGE.match(text):
            stage, step = f"stage-{found[1]}", 0
        name = text.removeprefix(_CACHED)
        if not _KANIKO_STEP.fullmatch(name) or (stage + name in cached and name == text):
            continue
        if open_since:
            open_since[0].end("done", float(seconds - open_since[1]))
        step += 1
        vertices.append(Vertex(str(len(vertices) + 1), name, stage=stage, step=step))
        open_since = vertices[-1], seconds
        if name != text:  # the line of the step itself follows when kaniko uses its layer
            cached.add(stage + name)
            vertices[-1].end("cached", 0.0)
            open_since = None
    if open_since:
        open_since[0].end("done")
    return vertices
