"""Recompute every measured claim from the recorded files with pyarrow, json, tarfile and csv alone, without imagelab's code."""

import csv
import gzip
import json
import re
import statistics
import tarfile
from functools import cache
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from imagelab.course.claims import claims

DATA = Path(__file__).resolve().parents[2] / "data"
FILE, WHITEOUT, OPAQUE = 0, 4, 5


@cache
def rows(name):
    """(layer, path, kind, size, content) of every entry of a snapshot."""
    columns = ["layer_index", "path", "kind", "size", "content"]
    table = pq.read_table(DATA / "snapshots" / f"{name}.parquet", columns=columns)
    return list(zip(*(table[column].to_pylist() for column in columns), strict=True))


@cache
def image(name):
    return json.loads(pq.read_schema(DATA / "snapshots" / f"{name}.parquet").metadata[b"imagelab"])["image"]


def config(name):
    return image(name)["config"].get("config", {})


def size(name, layers=None):
    return sum(row[3] for row in rows(name) if row[2] == FILE and (layers is None or row[0] in layers))


def own_layers(name):
    """The layers above the longest base among the recorded bases."""
    ids = [layer["diff_id"] for layer in image(name)["layers"]]
    bases = [[layer["diff_id"] for layer in image(base)["layers"]] for base in BASES]
    below = max((len(base) for base in bases if base == ids[: len(base)]), default=1)  # another base of one layer
    return range(below, len(ids))


BASES = ["base-python-full", "base-python-slim", "base-debian", "base-busybox"]


def own(name):
    return size(name, own_layers(name))


def less(before, after):
    return size(before) - size(after)


def published(name):
    return int(image(name)["provenance"]["virtual_size"])


def brings(pattern, name):
    return any(
        row[0] in own_layers(name) and row[2] == FILE and re.search(pattern, row[1].decode()) for row in rows(name)
    )


def hides(name):
    """Whether a layer removes something of a layer below."""
    return any(row[2] in (WHITEOUT, OPAQUE) for row in rows(name))


def packaged(name, packages):
    """Bytes of own layers' files that dpkg lists for these packages and that are still there."""
    lists = {
        Path(row[1].decode()).name.removesuffix(".list").partition(":")[0]: row[4].decode().split("\n")
        for row in rows(name)
        if row[4] and row[1].startswith(b"/var/lib/dpkg/info/") and row[1].endswith(b".list")
    }
    paths = {path for package, listed in lists.items() if re.fullmatch(packages, package) for path in listed}
    merged = {re.sub(r"^/(bin|sbin|lib|lib64)/", r"/usr/\1/", path) for path in paths}
    return sum(
        row[3] for row in rows(name) if row[2] == FILE and row[0] in own_layers(name) and row[1].decode() in merged
    )


def table(path):
    return list(csv.DictReader((DATA / path).open(encoding="utf-8")))


def seconds(case, variant, column="wall"):
    return [float(row[column]) for row in table("times/times.csv") if row["case"] == case and row["variant"] == variant]


def median(numbers):
    return statistics.median(numbers)


def ratio(top, bottom):
    return median([a / b for a, b in zip(top, bottom, strict=True)])


@cache
def vertexes(log):
    found = {}
    text = gzip.decompress((DATA / "build" / "logs" / f"{log}.rawjson.gz").read_bytes()).decode()
    for line in text.splitlines():
        for vertex in json.loads(line).get("vertexes") or []:
            found.setdefault(vertex["digest"], {}).update(vertex)
    return list(found.values())


def cached(log, step):
    found = [vertex.get("cached", False) for vertex in vertexes(log) if re.search(rf"\] {step}", vertex["name"])]
    assert found, log
    return sum(found) / len(found)


def ended_well(table_path, **wanted):
    found = [
        row["exit_code"] == "0" for row in table(table_path) if all(row[key] in value for key, value in wanted.items())
    ]
    return sum(found) / len(found)


def could(options, *acts):
    recorded = {row["options"]: row["could"] for row in json.loads((DATA / "scans/containers.json").read_text())}
    found = [recorded[options][act] for act in acts if recorded[""][act]]
    return sum(found) / len(found)


def env(name, pattern):
    return any(re.search(pattern, line) for line in config(name).get("Env") or [])


def overwritten(name):
    """Bytes of files that are stored again with the same path, size and layer order."""
    last, lost = {}, 0
    for layer, path, kind, bytes_, _ in sorted(rows(name), key=lambda row: row[0]):
        if kind == FILE and layer in own_layers(name):
            lost += last.get(path, 0)
            last[path] = bytes_
    return lost


def tokens(path):
    count = 0
    with tarfile.open(DATA / path) as tar:
        for member in filter(tarfile.TarInfo.isfile, tar):
            text = tar.extractfile(member).read()
            count += b"not-a-real-token-7d1f0c3a" in (gzip.decompress(text) if text[:2] == b"\x1f\x8b" else text)
    return count


def waste(name):
    """(bytes that are not visible, dive's wasted bytes), of an image without links between layers."""
    layers = range(len(image(name)["layers"]))
    visible, stored, seen = {}, 0, {}
    for layer in layers:
        entries = [row for row in rows(name) if row[0] == layer]
        for _, path, kind, _, _ in entries:
            if kind in (WHITEOUT, OPAQUE):
                gone = [old for old in visible if old.startswith(path + b"/") or (kind == WHITEOUT and old == path)]
                for old in gone:
                    del visible[old]
                if kind == WHITEOUT and path in seen:
                    seen[path].append(0)
        for _, path, kind, bytes_, _ in entries:
            if kind == FILE:
                visible[path], stored = bytes_, stored + bytes_
                seen.setdefault(path, []).append(bytes_)
    return stored - sum(visible.values()), sum(sum(sizes) for sizes in seen.values() if len(sizes) > 1)


def python_names(name):
    return {
        Path(row[1].decode()).name.split("-")[0].lower()
        for row in rows(name)
        if b".dist-info/" in row[1] or b".egg-info" in row[1]
    }


def dockerfile(path):
    return (DATA / path).read_text(encoding="utf-8")


TOOLS = (
    r"(?:build-essential|binutils.*|libbinutils|g?cc(?:-[\d.]+)?|g\+\+.*|cpp.*|make|dpkg-dev|libc6-dev|libc-dev-bin|linux-libc-dev|"
    r".+-dev|rpcsvc-proto|libdpkg-perl|gcc-.*(?<!base)|lib(?:gcc|stdc\+\+)-\d+-dev|patch|fakeroot|libfakeroot|"
    r"lib(?:asan|tsan|ubsan|lsan|itm|gomp|atomic|quadmath|cc1|isl|mpc|mpfr|gprofng|ctf|ctf-nobfd|sframe|jansson)\S*)"
)
VALUES = {
    "ubuntu-size": lambda: published("published-ubuntu-22.04-2023"),
    "full-size": lambda: published("published-python-3.10-2023"),
    "slim-size": lambda: published("published-python-3.10-slim-2023"),
    "alpine-size": lambda: published("published-python-3.10-alpine-2023"),
    "packages-size": lambda: own("service-slim"),
    "single-stage-total": lambda: (125 + 250 + 10 + 50) * 10**6,
    "stages-save-on-slim": lambda: less("service-slim", "service-multistage") / size("service-slim"),
    "slim-saves": lambda: published("published-python-3.10-2023") - published("published-python-3.10-slim-2023"),
    "compatible-slim": lambda: ended_well("claims/installs.csv", base=["localhost/python:slim"]),
    "pip-cache-bytes": lambda: less("no-cache-dir-before", "no-cache-dir-after"),
    "pip-cache-share": lambda: less("no-cache-dir-before", "no-cache-dir-after") / size("no-cache-dir-before"),
    "late-cleanup": lambda: size("same-layer-cleanup-before", [2]) if hides("same-layer-cleanup-before") else None,
    "apt-lists-bytes": lambda: less("same-layer-cleanup-before", "same-layer-cleanup-after"),
    "gcc-bytes": lambda: own("same-layer-cleanup-after"),
    "same-layer-cleanup": lambda: brings("^/var/lib/apt/lists/.", "same-layer-cleanup-after"),
    "builder-size": lambda: size("multi-stage-before"),
    "stages-save": lambda: less("multi-stage-before", "multi-stage-after") / size("multi-stage-before"),
    "stages-arithmetic": lambda: (1200 - 335) / 1200,
    "site-packages-copied": lambda: brings("/bin/flask$", "entry-points-before"),
    "venv-copied": lambda: brings("/bin/flask$", "entry-points-after"),
    "dockerignore-share": lambda: less("dockerignore-before", "dockerignore-after") / own("dockerignore-before"),
    "dockerignore-time": lambda: ratio(seconds("context", "before"), seconds("context", "after")),
    "wheels-no-tools": lambda: packaged("wheels-after", TOOLS),
    "pip-compiles": lambda: sum(
        row["wheels"] == "0" for row in table("claims/installs.csv")
        if row["base"].endswith("slim") and row["what"] == "scikit-learn"
    ),
    "wheels-smaller": lambda: size("wheels-after") < size("wheels-before"),
    "order-bad": lambda: cached("order-bad-edit", "RUN"),
    "order-good": lambda: cached("order-good-edit", "RUN"),
    "order-times": lambda: ratio(seconds("order", "bad"), seconds("order", "good")),
    "comments": lambda: not re.search(r"^[A-Z].*#", dockerfile("claims/comments.Dockerfile"), re.MULTILINE),
    "split": lambda: cached("split-requirements-requirements", "RUN .*requirements-base.txt"),
    "split-dev": lambda: size("split-requirements-after") < size("split-requirements-before"),
    "link-parent": lambda: cached("copy-link-release", "COPY"),
    "copy-parent": lambda: cached("copy-release", "COPY"),
    "cache-mount-used": lambda: median([
        sum(line.startswith("Using cached") for line in lines) / (len(lines) - 1)
        for run in "123"
        for lines in [[
            row["line"] for row in table("times/pip.csv")
            if row["case"] == "cache-mount" and row["variant"] == "mount" and row["run"] == run
        ]]
    ]),
    "cache-mount-shipped": lambda: sum(
        row[3] for row in rows("cache-mount-after") if row[2] == FILE and re.search(rb"\.cache/pip/", row[1])
    ),
    "root-default": lambda: bool(config("non-root-before").get("User")),
    "non-root": lambda: config("non-root-after").get("User") not in ("", "0", "root", None),
    "chown-free": lambda: overwritten("chown-in-layer-before"),
    "non-root-limits": lambda: could("--user=1000:1000", "write to /", "change an owner", "change root"),
    "read-only": lambda: could("--read-only --tmpfs=/tmp", "write to /"),
    "volume": lambda: "/app/tmp" in (config("read-only-after").get("Volumes") or {}),
    "volume-runs": lambda: ended_well("runs/runs.csv", image=["recipe/read-only:after"], options=["--read-only"]),
    "cap-drop": lambda: could("--cap-drop=ALL --cap-add=NET_BIND_SERVICE", "change an owner", "change root"),
    "low-ports": lambda: ended_well("claims/ports.csv", network=["none"], options=["--cap-drop=ALL"]),
    "low-ports-host": lambda: ended_well("claims/ports.csv", network=["host"], options=["--cap-drop=ALL"]),
    "cap-drop-runs": lambda: ended_well(
        "runs/runs.csv", image=["recipe/cap-drop:before", "recipe/cap-drop:after"], options=["--cap-drop=ALL"]
    ),
    "scan-fixable": lambda: (lambda found: sum(bool(one.get("FixedVersion")) for one in found) / len(found))([
        one
        for result in json.loads((DATA / "scans/service-slim.facts.trivy.json").read_text())["Results"]
        for one in result.get("Vulnerabilities") or []
    ]),
    "env-secret": lambda: env("secret-mount-before", "DATABASE_PASSWORD"),
    "env-secret-found": lambda: '"DS-0031"' in (DATA / "scans/secret-before.trivy.json").read_text(),
    "runtime-secret": lambda: env("runtime-secret-after", "PASSWORD"),
    "run-secret": lambda: "unknown flag: --secret" not in (DATA / "claims/run-secret.txt").read_text(),
    "parallel": lambda: median(seconds("stages", "parallel", "span")) / 3,
    "sequential": lambda: ratio(seconds("stages", "sequential", "span"), seconds("stages", "sequential", "steps")),
    "parallel-saves": lambda: 1 - ratio(seconds("stages", "parallel", "span"), seconds("stages", "sequential", "span")),
    "parallel-size": lambda: less("section-stages", "section-one-stage"),
    "secret-mount": lambda: tokens("build/secret-mount.oci.tar.gz") if tokens("build/secret-argument.oci.tar.gz") else None,
    "ssh-mount": lambda: all(
        vertex.get("completed") and not vertex.get("error") for vertex in vertexes("ssh-mount-cold") if "] RUN" in vertex["name"]
    ),
    "ssh-not-copied": lambda: brings(r"/\.ssh/|/id_", "ssh-mount-after"),
    "history-from": lambda: " FROM " in (DATA / "claims/history.txt").read_text(),
    "history-workdir": lambda: max(
        int(row["bytes"]) for row in table("claims/sizes.csv") if row["what"] == "docker history, WORKDIR"
    ),
    "history-sort": lambda: (DATA / "claims/history.sorted.txt").read_text().splitlines()[1].split()[-2] == "0B",
    "dive-waste": lambda: sum(
        len(set(waste(f"{name}-before"))) == 1
        for name in ("whiteout", "opaque-directory", "same-layer-cleanup", "chmod-in-layer")
    ) / 4,
    "distroless-size": lambda: size("service-distroless", [0]),
    "distroless-smaller": lambda: size("service-distroless") < size("service-slim"),
    "distroless-with-packages": lambda: size("service-distroless", [0]) + own("multi-stage-after"),
    "distroless-shell": lambda: not any(
        re.search(rb"^(/usr)?/s?bin/(ba|da|a|z|k|fi)?sh$|/busybox$", row[1]) for row in rows("service-distroless")
    ),
    "healthcheck-requests": lambda: "requests" not in python_names("base-python-slim"),
    "healthcheck-works": lambda: bool(config("healthcheck-after").get("Healthcheck", {}).get("Test")),
    "healthcheck-hangs": lambda: [
        row["health"]
        for row in table("runs/states.csv") if row["image"] == "recipe/healthcheck:after" and row["program"] == "hangs"
    ][-1] == "unhealthy",
    "labels-filled": lambda: "ARG" in dockerfile("claims/labels.Dockerfile"),
    "labels-free": lambda: size("labels-after") - size("labels-before") if config("labels-after").get("Labels") else None,
    "exercise-grep": lambda: "api:original" in (DATA / "claims/images.txt").read_text(),
    "exercise-cache-mount": lambda: ratio(seconds("cache-mount", "control"), seconds("cache-mount", "mount")),
    "exercise-etc": lambda: could("--user=1000:1000", "write to /"),
    "question-order": lambda: (lambda sizes: sum(a < b for a, b in pairwise(sizes)) / 3)([
        published(f"published-{name}-2023") for name in ("python-3.10-alpine", "python-3.10-slim", "ubuntu-22.04", "python-3.10")
    ]),
    "question-cleanup": lambda: size("whiteout-before", [2]) if hides("whiteout-before") else None,
    "question-requirements": lambda: cached("order-good-edit", "RUN"),
    "question-fix": lambda: packaged("fix-dockerfile-after", TOOLS),
    "question-breakdown": lambda: (125 + 300 + 10 + 65) * 10**6,
}  # fmt: skip
MODEL = {"link-reordered", "order-by-change", "healthcheck-parses"}  # tests/build compares the model with builds
PUBLISHED = {"buildkit-default", "distroless-copy"}
NEAR = {"wheels-tools": (lambda: packaged("wheels-before", TOOLS), 0.02)}  # which packages are tools is a rule


@pytest.fixture(scope="module")
def measured():
    found = claims().set_index("claim")["measured"]
    return found[found.notna()]


def test_no_measured_claim_is_left_out(measured):
    assert set(measured.index) == set(VALUES) | MODEL | PUBLISHED | set(NEAR)


@pytest.mark.parametrize("claim", VALUES)
def test_a_claim_is_recomputed(claim, measured):
    assert float(VALUES[claim]()) == pytest.approx(measured[claim], rel=1e-9)


@pytest.mark.parametrize("claim", NEAR)
def test_a_claim_by_a_rule_is_near(claim, measured):
    compute, tolerance = NEAR[claim]
    assert compute() == pytest.approx(measured[claim], rel=tolerance)
