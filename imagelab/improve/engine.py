"""Build and run a project's variants with Docker's command line; nothing that a trial makes outlives it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from imagelab.build.dockerfile.grammar import parse_mount
from imagelab.core.errors import DaemonUnavailable, ImagelabError
from imagelab.core.redact import mask
from imagelab.core.text import clean
from imagelab.images.layers.cache import cache_dir
from imagelab.improve.edits import Project
from imagelab.improve.guard import LABEL

_CACHE_MOUNT = re.compile(r"--mount=(\S*\btype=cache\b\S*)")


class BuildFailed(ImagelabError):
    """A build that ended with an error; the message has the end of its log."""


@dataclass
class Trial:
    """The builds of one run: their folder, label and build options."""

    run: str
    folder: Path
    guard: subprocess.Popen[str]
    command: Sequence[str]
    options: Sequence[str]
    network: str | None
    builds: int = 0
    mounts: int = 0  # which cache mounts a build uses: a fresh build gets empty ones

    @property
    def context(self) -> Path:
        return self.folder / "context"

    def build(self, project: Project, *, fresh: bool = False) -> tuple[str, float, Path]:
        """Build; the image's tag, the seconds and the log's path. ``fresh`` uses nothing of the cache."""
        self.builds += 1
        self.mounts += fresh
        tag = f"imagelab-improve:{self.run}-{self.builds}"
        dockerfile = self._write(project)
        self._announce(project)
        command = [
            *self.command,
            "--progress=plain",
            f"--label={LABEL}={self.run}",
            f"--tag={tag}",
            f"--file={dockerfile}",
        ]
        command += ["--no-cache"] * fresh + [f"--network={self.network}"] * bool(self.network) + list(self.options)
        command += [f"--build-arg={name}={value}" for name, value in project.args.items()]
        command += [f"--target={project.target}"] * bool(project.target)
        started = time.monotonic()
        status, output = self.docker(*command, str(self.context))
        seconds = time.monotonic() - started
        if status:
            if self.docker("version")[0]:
                raise ImagelabError("the engine no longer answers; start it, and run improve again.")
            why = re.findall(r"(?m)^(?:#\d+ )?(?:ERROR|.*?: ERROR|error)[: ].*$", output) or output.splitlines()
            raise BuildFailed(clean(mask(why[-1] if why else "no output").text))
        log = self.folder / f"{self.builds}.log"
        log.write_text(output, encoding="utf-8")
        return tag, seconds, log

    def docker(self, *args: str, timeout: float | None = None) -> tuple[int, str]:
        """Docker's exit status and output; the client ends with the run."""
        env = os.environ | {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
        with subprocess.Popen(
            ["docker", *args],
            env=env,
            process_group=self.guard.pid,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            try:
                output, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                return 124, f"no end after {timeout:.0f} seconds"
            except BaseException:
                process.terminate()
                raise
        return process.returncode, output.decode("utf-8", "replace")

    @contextmanager
    def edited_source(self, path: str) -> Iterator[None]:
        """One line more in a file of the context, never the same twice."""
        file, kept = self.context / path, self.folder / "source"
        file.rename(kept)
        file.write_bytes(kept.read_bytes() + b"\n" * (self.builds + 1))
        shutil.copymode(kept, file)
        try:
            yield
        finally:
            kept.replace(file)

    def _write(self, project: Project) -> Path:
        """The project's two texts in the trial's copy of the context, and outside it as they are built."""
        dockerfile = self.folder / "Dockerfile"
        own = {project.dockerfile: project.text, project.ignore: project.ignore_text}
        texts = {self.context / name: text for name, text in own.items() if not name.startswith("../")}
        texts[dockerfile] = _own_mounts(project.text, f"{self.run}-{self.mounts}")
        texts[self.folder / "Dockerfile.dockerignore"] = project.ignore_text
        for path, text in texts.items():
            path.unlink(missing_ok=True)  # a hard link to the user's file, or an edit's
            if text is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text.encode("utf-8", "surrogateescape"))
        return dockerfile

    def _announce(self, project: Project) -> None:
        """Tell the guard what the build's RUNs are called in the build cache."""
        assert self.guard.stdin
        for step in project.build.steps:
            if step.instruction == "RUN" and step.words:
                self.guard.stdin.write(json.dumps(" ".join(step.words).split("\n")[0]) + "\n")
        self.guard.stdin.flush()


@contextmanager
def trial(project: Project) -> Iterator[Trial]:
    """A trial in its own copy of the project's context, cleaned up at the end by a process of its own."""
    if shutil.which("docker") is None:
        raise DaemonUnavailable("the docker command is not installed; without it the edits cannot be built.")
    asked = subprocess.run(["docker", "version"], stdin=subprocess.DEVNULL, capture_output=True)
    if asked.returncode:
        raise DaemonUnavailable(f"no engine answers: {clean(asked.stderr.decode(errors='replace').strip(), 500)}")
    run = uuid.uuid4().hex[:12]
    folder = Path(tempfile.mkdtemp(prefix=f"imagelab-improve-{run}-"))
    module = [sys.executable, "-m", "imagelab.improve.guard", run, str(folder)]
    guard = subprocess.Popen(module, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0)
    assert guard.stdin and guard.stdout
    known, cache = cache_dir(), os.environ.get("IMAGELAB_CACHE_DIR")
    os.environ["IMAGELAB_CACHE_DIR"] = str(folder / "layers")  # the trial's layers go with it
    try:
        guard.stdout.readline()
        _link_cache(known, folder / "layers")
        _copy_context(project, folder / "context")
        options = [f"--build-context={name}={place}" for name, place in project.contexts.items()]
        buildx = subprocess.run(["docker", "buildx", "version"], capture_output=True, stdin=subprocess.DEVNULL)
        command = ["build"] if buildx.returncode else ["buildx", "build", "--load"]
        yield Trial(run, folder, guard, command, options, project.network)
    finally:
        os.environ.pop("IMAGELAB_CACHE_DIR")
        if cache is not None:
            os.environ["IMAGELAB_CACHE_DIR"] = cache
        guard.stdin.close()
        # An engine with a large build cache is slow; the guard finishes alone.
        with suppress(subprocess.TimeoutExpired):
            guard.wait(60)
        guard.stdout.close()


def _own_mounts(text: str, prefix: str) -> str:
    """The Dockerfile with cache mounts of the trial's own: the user's stay as they are, a fresh build's are empty."""

    def own(found: re.Match[str]) -> str:
        fields = parse_mount(found[1])
        rest = ",".join(part for part in found[1].split(",") if not part.startswith("id="))
        return f"--mount={rest},id={prefix}{fields.get('id') or fields['target']}"

    return _CACHE_MOUNT.sub(own, text)


def _link_cache(known: Path | None, target: Path) -> None:
    """The listings that the user's cache already has, such as those of the base image's layers."""
    target.mkdir(mode=0o700)
    for path in known.iterdir() if known and known.is_dir() else ():
        with suppress(OSError):  # another filesystem: the trial lists the layers itself
            os.link(path, target / path.name)


def _copy_context(project: Project, target: Path) -> None:
    """Everything that is sent, as hard links where the filesystem allows them."""
    assert project.root
    target.mkdir()
    for path, entry in project.sent.items():
        source, place = project.root / path, target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind == "directory":
            place.mkdir(exist_ok=True)
            place.chmod(entry.mode & 0o7777 | 0o700)
        elif entry.kind == "symlink":
            place.symlink_to(os.readlink(source))
        elif entry.kind == "file":
            try:
                os.link(source, place)
            except OSError:
                shutil.copy2(source, place)
