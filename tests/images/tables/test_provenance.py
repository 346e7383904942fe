"""BuildKit's provenance in an image's history.

Engine 28 built the archives in data/images from the Dockerfile that the provenance contains, with
``--provenance=mode=max`` and ``mode=min``, and ``-o type=oci``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import imagelab as il
from imagelab.images.tables.provenance import PROVENANCE, Attested, Provenance, join_provenance, read_provenance

DATA = Path(__file__).resolve().parents[2] / "data" / "images"
BASE = "localhost/provenance-base:1@sha256:55f04fa2f41fe5617a79061ff93245640fafa29129c2d3657884309449e8051f"
METADATA = "https://mobyproject.org/buildkit@v1#metadata"
LINES = [(8, 8), (9, 10), (11, 11), (14, 14), (15, 15), (16, 17), (18, 18)]


def predicate(image) -> dict:
    (read,) = image.source.attestations(image).values()
    return json.loads(read())["predicate"]


def provenance() -> tuple[dict, list]:
    image = il.load_image(DATA / "provenance-max.oci.tar")
    return predicate(image), il.history(image)["instruction"].tolist()


def test_history_has_dockerfile_lines_and_the_digest_of_the_base():
    steps = il.history(DATA / "provenance-max.oci.tar")
    assert set(steps["base_rule"]) == {"provenance"} and set(steps["base"]) == {BASE}
    assert steps["from_base"].tolist() == [True] * 2 + [False] * 7
    own = steps[~steps["from_base"]]
    assert list(zip(own["line"], own["end_line"], strict=True)) == LINES
    assert steps.loc[steps["from_base"], "line"].isna().all()
    text = read_provenance(provenance()[0]).dockerfile.split("\n")
    assert [text[line - 1].split()[0] for line in own["line"]] == own["instruction"].tolist()


def test_the_minimal_provenance_has_the_digest_of_a_single_image():
    steps = il.history(DATA / "provenance-min.oci.tar")
    assert set(steps["base"]) == {BASE} and set(steps["base_rule"]) == {"shape"} and steps["line"].isna().all()


def test_a_given_base_decides():
    steps = il.history(DATA / "provenance-max.oci.tar", base=DATA / "provenance-min.oci.tar")
    assert set(steps["base_rule"]) == {"given"} and steps["line"].notna().sum() == len(LINES)


def test_an_archive_without_attestations_has_no_dockerfile_lines(tmp_path):
    image = il.load_image(DATA / "provenance-max.oci.tar")
    il.save_snapshot(image, tmp_path / "image.parquet")
    steps = il.history(tmp_path / "image.parquet")
    assert steps["line"].isna().all() and "provenance" not in set(steps["base_rule"])


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(materials={"uri": 1}, metadata="x"),
        lambda document: document["metadata"].update({METADATA: {"source": {"infos": [{"data": "RlJPTSBhCkZST00="}]}}}),
        lambda document: document["metadata"][METADATA]["source"].update(infos=[{"data": "AAAA"}, 3], locations=[1]),
    ],
)
def test_a_malformed_provenance_is_ignored(change):
    document, instructions = provenance()
    change(document)
    found = join_provenance(read_provenance(document), instructions)
    assert found.lines == {} and found.base_steps is None


def test_a_damaged_dockerfile_is_ignored(monkeypatch):
    image = il.load_image(DATA / "provenance-max.oci.tar")
    document = predicate(image)
    document["metadata"][METADATA]["source"]["infos"] = [{"data": "A"}]  # base64 of no byte
    statement = json.dumps({"predicate": document}).encode
    monkeypatch.setattr(type(image.source), "attestations", lambda *_: {PROVENANCE: statement})
    assert set(il.history(image)["base_rule"]) == {"shape"}


def test_a_history_of_another_dockerfile_gets_no_lines():
    document, instructions = provenance()
    found = join_provenance(read_provenance(document), ["RUN", *instructions[:0:-1]])
    assert found == Attested()
    assert join_provenance(Provenance(), []) == Attested()
