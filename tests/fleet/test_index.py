"""Indexing many images: resumed, past failures, with threads and on a real Dask cluster whose workers are killed."""

import json
import os
import shutil
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace

import pytest
from typer.testing import CliRunner

import imagelab as il
from imagelab.core.errors import ImagelabError
from imagelab.fleet.index import (
    INDEX_COLUMNS,
    image_facts,
    index_images,
    instruction_pattern,
    snapshot_name,
)
from imagelab.fleet.query import query_fleet
from imagelab.images.sources.registry import client as registry_client
from tests.images.sources.test_registry import layout
from tests.support.images import docker_save, layer_tar, write_tar
from tests.support.registries import Fault, Proxy, Registry


@pytest.fixture(autouse=True)
def apart(monkeypatch, tmp_path):
    monkeypatch.setenv("IMAGELAB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    registry_client.connect.cache_clear()


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Twelve images on one base."""
    served = Registry(tmp_path_factory.mktemp("registry"))
    served.folder = tmp_path_factory.mktemp("layouts")
    for number in range(12):
        made = layout(served.folder / str(number), [{"base": b"b" * 200_000}, {f"app{number}": b"%d" % number * 500}])
        served.copy(f"oci:{made}", f"fleet/app{number}:v1")
    yield served
    served.stop()


def references(host, count=12):
    return [f"docker://{host}/fleet/app{number}:v1" for number in range(count)]


EXAMPLES = ["example:service-slim", "example:service-distroless"]


def test_indexing_continues_after_failures_and_skips_known_images(tmp_path):
    frame = index_images(
        [EXAMPLES[0], "example:no-such", "docker://localhost:1/a:b/c", EXAMPLES[1], EXAMPLES[0]], tmp_path
    )
    assert frame.dtypes.astype(str).to_dict() == INDEX_COLUMNS
    assert list(frame["state"]) == ["indexed", "failed", "failed", "indexed"]
    assert "Similar names" in frame["error"][1] and frame["error"].notna().tolist() == [False, True, True, False]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    assert len(before) == 4
    again = index_images(EXAMPLES, tmp_path)
    assert list(again["state"]) == ["known", "known"]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == before
    assert len(query_fleet(tmp_path, "sharing")) == 2
    loaded = il.load_image(f"snapshot:{tmp_path / frame['snapshot'][0]}")
    assert il.efficiency(loaded)["stored"].tolist() == il.efficiency(EXAMPLES[0])["stored"].tolist()


def test_indexing_resumes_after_a_stop(tmp_path):
    index_images(EXAMPLES, tmp_path)
    snapshot = next(path for path in tmp_path.glob("*.parquet") if "slim" in path.name)
    (tmp_path / "index" / snapshot.name).unlink()  # stopped between the two
    written = snapshot.stat().st_mtime_ns
    assert list(index_images(EXAMPLES, tmp_path)["state"]) == ["indexed", "known"]
    assert snapshot.stat().st_mtime_ns == written


def test_nothing_to_index(tmp_path):
    assert index_images([], tmp_path).dtypes.astype(str).to_dict() == INDEX_COLUMNS


def test_any_executor_works(tmp_path):
    for number, executor in enumerate((ThreadPoolExecutor(1), ProcessPoolExecutor(1))):
        with executor:
            assert list(index_images(EXAMPLES, tmp_path / str(number), executor)["state"]) == ["indexed"] * 2


def test_names_are_readable_and_distinct():
    image = il.load_image(EXAMPLES[0])
    odd = replace(image, reference="docker://h:5000/team/../a b:v1")
    assert snapshot_name(odd).startswith("h_5000_team_.._a_b_v1-")
    assert snapshot_name(replace(odd, manifest_digest="sha256:moved")) != snapshot_name(odd)
    assert "/" not in snapshot_name(replace(image, reference="/" * 300 + "é"))


@pytest.mark.parametrize(
    "command, pattern",
    [
        ("RUN /bin/sh -c apt-get update && apt-get install -y curl && rm -rf /x # buildkit",
         "RUN apt-get update && apt-get install && rm"),
        ("/bin/sh -c pip install --no-cache-dir numpy==2.0", "RUN pip install"),
        ("RUN /bin/sh -c set -eux; /usr/bin/make install # buildkit", "RUN make install"),
        ("COPY a /b # buildkit", "COPY"),
        ("/bin/sh -c #(nop) ADD file:1 in / ", "ADD"),
        ("something else", "(unknown)"),
        (None, "(unknown)"),
        ("RUN /bin/sh -c ${THING} # buildkit", "RUN (no program)"),
        ("RUN /bin/sh -c " + "a" * 100_000 + " # buildkit", "RUN " + "a" * 120),
    ],
)  # fmt: skip
def test_patterns_of_instructions(command, pattern):
    assert instruction_pattern(command) == pattern


@pytest.mark.registry
def test_a_moved_tag_gets_a_snapshot_of_its_own(tmp_path, registry):
    name = "fleet/moving:v1"
    reference = f"docker://{registry.host}/{name}"
    for number, state in ((0, "indexed"), (0, "known"), (1, "indexed")):
        registry.copy(f"oci:{registry.folder / str(number)}", name)
        assert list(index_images([reference], tmp_path)["state"]) == [state]
    growth = query_fleet(tmp_path, "growth")
    assert list(growth["repository"]) == [f"{registry.host}/fleet/moving"] * 2 and growth["growth"].notna().sum() == 1
    assert query_fleet(tmp_path, "storage")["measure"].tolist() == ["content_size"]


@pytest.mark.registry
def test_tags_in_archives_are_builds_of_one_repository(tmp_path):
    for tag, size in (("v1", 10), ("v2", 15)):
        tars = [layer_tar([(b"app", "file", b"x" * size)])]
        write_tar(
            tmp_path / f"{tag}.tar", docker_save(tars, tags=[f"app:{tag}"], created=f"2024-01-0{tag[1]}T00:00:00Z")
        )
    v1, v2 = f"docker-archive:{tmp_path}/v1.tar:app:v1", f"{tmp_path}/v2.tar"
    il.index_images([v1, v2], tmp_path / "fleet")
    growth = query_fleet(tmp_path / "fleet", "growth")
    assert list(growth["repository"]) == ["app", "app"] and growth["growth"].notna().sum() == 1


def test_a_dask_cluster_whose_workers_are_killed(tmp_path, registry, monkeypatch):
    """Real worker processes, killed in the middle: nothing is lost, and nothing done twice."""
    import distributed  # here: it takes a second

    proxy = Proxy(registry.host)
    slow = Fault(wait=0.3)
    proxy.fault = lambda path, times: slow if "/blobs/" in path else None
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "30s")
    killed = []
    with (
        distributed.LocalCluster(n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None,
                                 host="127.0.0.1", silence_logs=50) as cluster,
        distributed.Client(cluster) as client,
    ):  # fmt: skip

        def kill():
            for after in (2, 5):
                while len(list((tmp_path / "fleet" / "index").glob("*.parquet"))) < after:
                    time.sleep(0.02)
                pids = [pid for pid in client.run(os.getpid).values() if pid not in killed]
                os.kill(pids[0], signal.SIGKILL)  # a worker of this cluster, started above
                killed.append(pids[0])

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        frame = index_images(references(proxy.host), tmp_path / "fleet", client.get_executor())
        killer.join(30)
    assert len(killed) == 2
    assert set(frame["state"]) <= {"indexed", "known"}, frame["error"].tolist()  # known: done by a worker killed since
    assert (
        len(list((tmp_path / "fleet").glob("*.parquet"))) == len(list((tmp_path / "fleet" / "index").glob("*"))) == 12
    )
    assert query_fleet(tmp_path / "fleet", "storage")["images"].tolist() == [12]
    layers = {
        layer.digest for number in range(12) for layer in il.load_image(f"oci:{registry.folder / str(number)}").layers
    }
    read = {digest: proxy.count(digest) for digest in layers}
    # Each of the two kills can have cut short one image being read, and the base may be asked for by all at the start.
    assert sum(read.values()) <= len(layers) + 2 + 2 * len(killed)
    own = [count for count in read.values() if count]
    assert len(own) == len(layers) and sorted(own)[: len(layers) - len(killed) - 1] == [1] * (
        len(layers) - len(killed) - 1
    )
    proxy.stop()


def test_the_commands(tmp_path):
    import imagelab.cli.fleet  # noqa: F401  # it registers its verbs
    from imagelab.cli.app import app

    run = CliRunner().invoke
    done = run(app, ["index", *EXAMPLES, "example:no-such", "-o", str(tmp_path / "fleet"), "--json"])
    assert done.exit_code == 1
    assert [row["state"] for row in json.loads(done.stdout)["index"]] == ["indexed", "indexed", "failed"]
    done = run(app, ["fleet", str(tmp_path / "fleet"), "storage", "--json"])
    assert json.loads(done.stdout)["storage"][0]["images"] == 2
    done = run(app, ["fleet", str(tmp_path / "fleet"), "where", "openssl*"])
    assert done.exit_code == 0 and "example:service-slim" in done.stdout
    shutil.rmtree(tmp_path / "fleet")
    assert run(app, ["fleet", str(tmp_path / "fleet"), "storage"]).exit_code != 0


def test_the_widget_and_its_sibling(tmp_path):
    from imagelab.widgets.fleet import FleetExplorer

    index_images(EXAMPLES, tmp_path)
    widget = FleetExplorer(tmp_path)
    assert len(widget.selected) and widget.chart.outputs and not widget.error
    assert "rows" in widget.static_html()
    widget.question.value = "where"
    assert widget.selected.empty and not widget.error
    widget.pattern.value = "openssl*"
    assert len(widget.selected) and not widget.chart.outputs
    widget.question.value = "bases"
    assert widget.pattern.disabled and "age_days" in widget.selected
    gone = FleetExplorer(tmp_path / "nothing")
    assert "has no index" in gone.error and "text/html" in gone._repr_mimebundle_()


def test_an_image_without_history_and_times_has_its_facts(tmp_path):
    image = replace(il.load_image("example:whiteout-before"), history=(), config={"created": {}})
    facts = image_facts(image, "name", "reference")
    assert facts["created"] is None and facts["base_created"] is None
    assert {layer["instruction"] for layer in facts["layers"]} == {"(unknown)"}


def test_invalid_targets_are_refused_before_the_work(tmp_path):
    for wrong in (None, [il.load_image(EXAMPLES[0])]):
        with pytest.raises(ImagelabError, match="needs references"):
            index_images(wrong, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ImagelabError, match="cannot be written"):
        index_images(EXAMPLES, tmp_path / "file")
