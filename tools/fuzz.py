"""Feed damaged input to every reader, and report each error that is not an ImagelabError.

    python tools/fuzz.py --minutes 10 --seed 1 [TARGET ...]

Inputs are built with structure (tar headers with correct checksums, JSON with fields of the wrong type, snapshots, text of
Dockerfiles, logs and ignore files) and then damaged. A finding is an exception, a crash, or an input that takes more than
20 seconds or 3 GB. Each kind of finding is saved once in the folder ``--out``; the same seed gives the same inputs.
"""

from __future__ import annotations

import argparse
import bz2
import copy
import gzip
import json
import lzma
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["IMAGELAB_CACHE_DIR"] = ""

import zstandard  # noqa: E402

import imagelab as il  # noqa: E402
from imagelab.build.dockerfile.syntax import parse  # noqa: E402
from imagelab.core.patterns import docker_pattern, doublestar_pattern  # noqa: E402
from imagelab.core.redact import mask, mask_document  # noqa: E402
from imagelab.core.text import printable  # noqa: E402
from imagelab.images.layers.blobs import LIMITS, StreamWindow, decompressed  # noqa: E402
from imagelab.images.layers.tar import list_tar, walk_members  # noqa: E402
from tests.support.images import Layout, docker_save, image_of, layer_tar, tar_of  # noqa: E402
from tests.support.tars import END, header, padded, pax  # noqa: E402

Make = Callable[[random.Random], bytes]
Read = Callable[[bytes, Path], object]
NAMES = [
    b"a",
    b"a/b",
    b"./a",
    b"../x",
    b".wh.a",
    b"a/.wh..wh..opq",
    b"\xff\xfe",
    b"n" * 99,
    b"var/lib/dpkg/status",
    b"",
    b"/",
]
NUMBERS = [b"-1", b"0", b"1", b"9" * 19, b"9" * 30, b"1.5", b"nan", b"x", b"", b"1e400", b"18446744073709551616"]
KEYS = [
    b"path",
    b"linkpath",
    b"size",
    b"uid",
    b"gid",
    b"mtime",
    b"SCHILY.xattr.user.x",
    b"GNU.sparse.major",
    b"GNU.sparse.name",
    b"GNU.sparse.size",
    b"GNU.sparse.realsize",
    b"comment",
]
WRONG: list[Any] = [
    None,
    0,
    -1,
    10**40,
    1.5,
    True,
    "",
    "text",
    "\ud800",
    "\x1b[31m",
    "sha256:" + "a" * 64,
    [],
    {},
    [None],
    {"a": 1},
    "x" * 3000,
    float("nan"),
    [[]],
    "2024-01-01T00:00:00Z",
    "../../etc/passwd",
]


def tar_bytes(random: random.Random) -> bytes:
    blocks = []
    for _ in range(random.randint(0, 6)):
        kind, data = random.choice(b"0001234567xgLKSDV"), random.randbytes(random.choice([0, 1, 511, 512, 700]))
        if kind in b"xg":
            blocks.append(pax({random.choice(KEYS): random.choice(NUMBERS + NAMES) for _ in range(3)}, bytes([kind])))
            continue
        tail = random.randbytes(random.choice([0, 0, 120, 247]))
        block = header(
            random.choice(NAMES),
            size=len(data),
            flag=bytes([kind]),
            link=random.choice(NAMES),
            magic=random.choice([b"ustar\x0000", b"ustar  \0", b""]),
            tail=tail,
        )
        blocks.append(block + padded(data))
    return damaged(random, b"".join(blocks) + random.choice([END, END, b""]), checksums=True)


def damaged(random: random.Random, data: bytes, checksums: bool = False) -> bytes:
    """Flip, cut, repeat or insert a few bytes; in tars, make the checksums right again half of the time."""
    changed = bytearray(data)
    for _ in range(random.choice([0, 1, 1, 2, 4, 8])):
        place, kind = random.randrange(len(changed) + 1), random.randrange(6)
        if kind < 3 and place < len(changed):
            changed[place] = random.choice([0, 255, 32, 48, 55, 128, random.randrange(256)])
        elif kind == 3:
            del changed[place:]
        elif kind == 4:
            changed[place:place] = changed[place : place + random.randrange(600)]
        else:
            changed[place:place] = random.randbytes(random.randrange(9))
    if checksums and random.random() < 0.5:
        for at in range(0, len(changed) - 511, 512):
            block = changed[at : at + 148] + b" " * 8 + changed[at + 156 : at + 512]
            changed[at + 148 : at + 156] = b"%06o\0 " % sum(block)
    return bytes(changed)


def wrong_json(random: random.Random, document: Any) -> Any:
    """The document with a few values replaced, removed or repeated."""
    document = copy.deepcopy(document)
    for _ in range(random.choice([1, 1, 2, 5])):
        places: list[tuple[Any, Any]] = []
        waiting = [document]
        while waiting:
            item = waiting.pop()
            keys = list(item) if isinstance(item, dict) else range(len(item)) if isinstance(item, list) else []
            places += [(item, key) for key in keys]
            waiting += [item[key] for key in keys]
        if not places:
            return random.choice(WRONG)
        item, key = random.choice(places)
        if random.random() < 0.2 and isinstance(item, dict):
            del item[key]
        else:
            item[key] = copy.deepcopy(random.choice([*WRONG, random.choice(places)[0], item[key]]))
            if _depth(document) > 60:
                return document
    return document


def _depth(item: Any) -> int:
    depth, level = 0, [item]
    while level and depth < 100:
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ][:2000]
        depth += 1
    return depth


def json_bytes(random: random.Random, document: Any) -> bytes:
    return json.dumps(wrong_json(random, document)).encode()


CONFIG = {
    "Env": ["A=b", "TOKEN=x"],
    "Cmd": ["sh", "-c", "x"],
    "Labels": {"k": "v"},
    "ExposedPorts": {"80/tcp": {}},
    "User": "x",
    "Healthcheck": {"Test": ["CMD", "x"], "Interval": 1},
    "Volumes": {"/v": {}},
    "OnBuild": ["RUN x"],
    "WorkingDir": "/w",
}
TARS = [
    layer_tar([(b"a", "file", b"one"), (b"d/b", "file", b"x")]),
    layer_tar([(b".wh.a", "file", b""), (b"h", "hardlink", b"d/b")]),
]


def archive_bytes(random: random.Random) -> bytes:
    tars = [random.choice([tar_bytes(random), *TARS]) for _ in range(random.randint(0, 3))]
    if random.random() < 0.5:
        members = dict(docker_save(tars, blobs=random.random() < 0.5, config=CONFIG, author="me"))
    else:
        layout = Layout()
        pack = random.choice([gzip.compress, bytes, zstandard.ZstdCompressor().compress])
        layout.close(layout.image(tars, pack), layout.image(TARS, annotations={"a": "b"}))
        members = dict(layout)
    name = random.choice(list(members))
    if random.random() < 0.7:
        documents = [name for name, data in members.items() if data[:1] in b"[{" and data]
        name = random.choice(documents)
        with suppress(ValueError):  # a tar can begin like JSON
            members[name] = json_bytes(random, json.loads(members[name]))
    else:
        members[name] = damaged(random, members[name])
    data = tar_of(members)
    if random.random() < 0.3:
        data = damaged(random, data, checksums=True)
    return damaged(random, gzip.compress(data, 1)) if random.random() < 0.2 else data


def read_image(data: bytes, path: Path) -> None:
    path.write_bytes(data)
    image = il.load_image(path)
    verbs = [il.history, il.layers, il.settings, il.files, il.waste, il.packages, il.dive_efficiency]
    for verb in [*verbs, il.advise] if len(data) % 8 == 0 else verbs:  # advise costs more than all the others
        verb(image)


DATABASES = {
    b"var/lib/dpkg/status": b"Package: a\nStatus: install ok installed\nArchitecture: all\nVersion: 1\nSource: s (2)\n\n",
    b"var/lib/dpkg/info/a.list": b"/a\n/lib/x\n",
    b"var/lib/dpkg/status.d/b": b"Package: b\nVersion: 1\n",
    b"lib/apk/db/installed": b"P:a\nV:1\nF:usr/lib\nR:x\no:s\n\n",
    b"p/a.dist-info/METADATA": b"Name: a\nVersion: 1\n\n",
    b"p/a.dist-info/RECORD": b"a.py,sha256=x,1\n../../bin/a,,\n",
    b"p/node_modules/@s/m/package.json": b'{"name": "@s/m", "version": "1"}',
    b"c/conda-meta/x.json": b'{"name": "x", "version": "1", "files": ["bin/x"]}',
}


def packages_bytes(random: random.Random) -> bytes:
    """The layers of an image with package databases, damaged, and links; layers follow one another."""
    layers = []
    for _ in range(random.randint(1, 2)):
        names = random.sample(list(DATABASES), random.randint(1, 4))
        entries = [
            (name, "file", damaged(random, DATABASES[name]) if random.random() < 0.7 else DATABASES[name])
            for name in names
        ]
        links = [
            (random.choice([b"lib", b"p", b"usr/lib"]), "symlink", random.choice(NAMES))
            for _ in range(random.randint(0, 2))
        ]
        layers.append(layer_tar([*entries, *links]))
    return b"".join(len(layer).to_bytes(4) + layer for layer in layers)


def read_packages(data: bytes, path: Path) -> None:
    layers = []
    while data:
        size = int.from_bytes(data[:4])
        layers.append(data[4 : 4 + size])
        data = data[4 + size :]
    image = image_of(layers)
    il.packages(image)
    for name in (b"lib/x", b"p/a", b"usr/lib/apk/db/installed"):
        with suppress(il.ImagelabError):
            il.read_file(image, name)


def read_tar(data: bytes, path: Path) -> None:
    sizes = [512, 700, 7]
    for size in sizes[: 1 + len(data) % 3]:
        chunks = [data[at : at + size] for at in range(0, len(data), size)]
        list_tar(StreamWindow(chunks), digests=len(data) % 2 == 0)
        for member in walk_members(StreamWindow(chunks), "x"):
            assert member.size >= 0


def compressed_bytes(random: random.Random) -> bytes:
    zstd = zstandard.ZstdCompressor(write_checksum=True).compress
    pack = random.choice([gzip.compress, zstd, bz2.compress, partial(lzma.compress, preset=0)])
    return damaged(random, pack(random.choice(TARS)) + random.choice([b"", pack(b"more"), bytes(9)]))


def read_compressed(data: bytes, path: Path) -> None:
    list_tar(StreamWindow(decompressed([data[:30], data[30:]])))


def snapshot_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        archive, snapshot = Path(folder, "x.tar"), Path(folder, "x.parquet")
        archive.write_bytes(tar_of(docker_save(TARS, config=CONFIG)))
        il.save_snapshot(str(archive), snapshot)
        return snapshot.read_bytes()


DOCKERFILE = b"""# syntax=docker/dockerfile:1
ARG V=1
FROM python:${V:-3} AS a
ENV A=$V B="${A//x*y?/z}" C=${A#*b}
RUN --mount=type=cache,target=/root/.cache,id=x pip install -r r.txt && \\
    echo "${A}"
COPY --from=a --chown=1:1 --exclude=*.md ["a b", "/c/"]
COPY <<EOF /x
$A text
EOF
HEALTHCHECK --interval=5s CMD curl x
ONBUILD RUN y
USER x
"""
LOG = b"""#0 building with "default" instance using docker driver
#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 123B done
#1 DONE 0.1s
#5 [a 2/3] RUN make
#5 0.512 compiling
#5 DONE 12.3s
#6 [b 3/3] COPY . .
#6 CACHED
#7 exporting to image
#7 ERROR: failed
"""
TOKENS = [
    b"$",
    b"${",
    b"}",
    b"//",
    b"*",
    b"\\",
    b"\n",
    b'"',
    b"'",
    b"#",
    b"<<EOF",
    b"--from=",
    b"FROM ",
    b"\xff",
    b"\x1b[31m",
    b"|1 ",
    b"://a:b@",
    b"ENV A=",
    b"/bin/sh -c ",
    b"\r\n",
    b"[",
    b"]",
    b"{a,b}",
    b"**/",
    b"!",
    b"\0",
    "\u202e".encode(),
]


def text_bytes(random: random.Random, seeds: list[bytes]) -> bytes:
    lines = b"".join(seeds).splitlines(keepends=True)
    text = random.choice(seeds)
    if random.random() < 0.5:
        text = b"".join(random.choice(lines) for _ in range(random.randint(0, 8)))
    for _ in range(random.randint(0, 6)):
        place = random.randrange(len(text) + 1)
        text = text[:place] + random.choice(TOKENS) * random.choice([1, 1, 2, 40]) + text[place + random.randrange(4) :]
    return damaged(random, text) if random.random() < 0.3 else text


def read_text(data: bytes, path: Path) -> None:
    text = data.decode("utf-8", "replace")
    masked = mask(text)
    assert mask(masked.text).text == masked.text, "masking twice changes the text"
    assert not set(printable(text)) & set("\x1b\0\u202e\r"), "a control character is printable"
    mask_document({"Env": text.splitlines(), "Cmd": [text]})
    for make in (docker_pattern, doublestar_pattern):
        for line in text.splitlines()[:3]:
            try:
                make(line)("a/b/" + line)
            except ValueError:
                continue


def read_dockerfile(data: bytes, path: Path) -> None:
    parse(data.decode("utf-8", "replace"))
    path.write_bytes(data)
    il.advise_build(path)


def read_log(data: bytes, path: Path) -> None:
    path.write_bytes(data)
    il.read_build_log(path)


def read_scan(data: bytes, path: Path) -> None:
    path.write_bytes(data)
    il.read_scan(path)


def scans() -> list[Any]:
    return [_shortened(json.loads(path.read_bytes())) for path in sorted((ROOT / "data" / "scans").rglob("*.json"))]


def _shortened(document: Any) -> Any:
    if isinstance(document, dict):
        return {key: _shortened(value) for key, value in document.items()}
    return [_shortened(value) for value in document[:2]] if isinstance(document, list) else document


def targets() -> dict[str, tuple[Make, Read]]:
    snapshot, reports = snapshot_bytes(), scans()
    return {
        "tar": (tar_bytes, read_tar),
        "compressed": (compressed_bytes, read_compressed),
        "archive": (archive_bytes, read_image),
        "packages": (packages_bytes, read_packages),
        "snapshot": (lambda random: damaged(random, snapshot), read_image),
        "text": (lambda random: text_bytes(random, [DOCKERFILE, LOG]), read_text),
        "dockerfile": (lambda random: text_bytes(random, [DOCKERFILE]), read_dockerfile),
        "log": (lambda random: text_bytes(random, [LOG]), read_log),
        "scan": (lambda random: json_bytes(random, random.choice(reports)), read_scan),
    }


def run(name: str, make: Make, read: Read, seed: int, count: int, out: Path) -> None:
    """Read ``count`` inputs; every kind of unexpected error is saved once, by the line that raises it."""
    scratch = out / f".{name}-{os.getpid()}"
    for number in range(seed, seed + count):
        data = make(random.Random(f"{name} {number}"))
        scratch.with_suffix(".last").write_bytes(data)
        signal.alarm(20)
        try:
            read(data, scratch)
        except il.ImagelabError:
            pass
        except Exception as error:
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "imagelab/" in frame.filename]
            place = f"{Path(frames[-1].filename).stem}-{frames[-1].lineno}" if frames else "outside"
            finding = out / f"{name}-{type(error).__name__}-{place}.bin"
            if not finding.exists():
                finding.write_bytes(data)
                print(f"  {name} {number}: {type(error).__name__} at {place}: {str(error)[:150]}", flush=True)
        finally:
            signal.alarm(0)
    for path in (scratch, scratch.with_suffix(".last")):
        path.unlink(missing_ok=True)


def _too_slow(*_: object) -> None:
    raise TimeoutError("20 seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="default: all")
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=0, help="number of the first input")
    parser.add_argument("--batch", type=int, default=500, help="inputs of one target before the next one's turn")
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _too_slow)
    LIMITS.slack, LIMITS.text = 1 << 24, 1 << 24
    chosen = {name: target for name, target in targets().items() if not options.targets or name in options.targets}
    counts, spent = dict.fromkeys(chosen, 0), dict.fromkeys(chosen, 0.0)
    crashes, end = 0, time.monotonic() + 60 * options.minutes
    while time.monotonic() < end:
        name = min(spent, key=lambda name: spent[name])  # equal time for each
        start, batch = time.monotonic(), options.batch if counts[name] else 20
        child = os.fork()  # a crash of a library ends the batch, not the run
        if not child:
            resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
            run(name, *chosen[name], options.seed + counts[name], batch, options.out)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        counts[name] += batch
        spent[name] += time.monotonic() - start
        if code := os.waitstatus_to_exitcode(status):
            crashes += 1
            print(f"  {name}: a batch ended with {code}; its input is {options.out}/.{name}-{child}.last", flush=True)
        print(f"{sum(counts.values())} inputs from seed {options.seed}, {crashes} crashes: {counts}", end="\r")
    print(f"{sum(counts.values())} inputs from seed {options.seed}, {crashes} crashes: {counts}")


if __name__ == "__main__":
    main()
