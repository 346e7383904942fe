"""A process that has loaded everything once and makes each page in a fork of itself: ``python -m imagelab.report.worker``.

Standard input has one JSON job a line; each line of standard output is an event of a job: a cell is done, the page is
written, or its error. A page that crashes or never ends does not stop the others.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import traceback
from typing import Any

from imagelab.core.errors import ImagelabError
from imagelab.report.execute import execute
from imagelab.report.page import page_html, write_page

LONGEST = 3000  # characters of an error, so that a line is written at once (POSIX: PIPE_BUF is at least 4096 on Linux)


def make_page(job: dict[str, Any], tell: Any) -> None:
    """Run the notebook of a job, write its page, and report events with ``tell``."""
    try:
        images = execute(job["cells"], job["name"], job["folder"], lambda: tell(job, "cell"))
        write_page(job["output"], page_html(job["cells"], job["title"], images, **job["options"]))
        tell(job, "done")
    except ImagelabError as error:
        tell(job, "error", str(error)[:LONGEST])
    except BaseException:
        tell(job, "error", f"{job['name']}: {traceback.format_exc()[-LONGEST:]}")


def main() -> None:
    gc.set_threshold(100_000)  # as `imagelab.cli.app` has it
    events = os.dup(1)
    os.dup2(2, 1)  # what programs print must not mix with the events
    os.environ["IPYTHONDIR"] = os.environ.get("IMAGELAB_SCRATCH") or tempfile.gettempdir()

    def tell(job: dict[str, Any], event: str, message: str = "") -> None:
        os.write(events, json.dumps({"job": job["number"], "event": event, "message": message}).encode() + b"\n")

    jobs = [json.loads(line) for line in sys.stdin]
    if sys.platform != "linux":  # a fork after imports is safe on Linux only
        for job in jobs:
            make_page(job, tell)
        return
    running: dict[int, dict[str, Any]] = {}
    while jobs or running:
        while jobs and len(running) < (os.cpu_count() or 1):
            job = jobs.pop(0)
            if (child := os.fork()) == 0:
                make_page(job, tell)
                os._exit(0)
            running[child] = job
        child, status = os.wait()
        job = running.pop(child)
        if status:
            reason = f"signal {status & 127}" if status & 127 else f"exit code {status >> 8}"
            tell(job, "error", f"{job['name']}: its process ended with {reason}, perhaps out of memory")


if __name__ == "__main__":
    main()
