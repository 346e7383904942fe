"""The ledger of claims: every verdict is computed again, from the data that are recorded."""

import random
import subprocess
import sys
import tomllib
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import imagelab as il
from imagelab.charts.claims import advice_accuracy, claim_ratios, claim_tiles
from imagelab.core.model import HistoryEntry
from imagelab.core.resources import data_path
from imagelab.course.advice_claims import VERIFIED_COLUMNS, verify_advice
from imagelab.course.claims import CLAIMS_COLUMNS, VERDICTS, claims, verdict
from imagelab.course.measures import MEASURES
from tests.support.images import image_of, layer_tar

WRITTEN = tomllib.loads(data_path("claims.toml").read_text(encoding="utf-8"))["claim"]


@pytest.fixture(scope="module")
def ledger():
    return claims()


@pytest.fixture(scope="module")
def verified():
    return verify_advice()


def test_the_ledger_keeps_its_contract(ledger):
    assert {name: str(dtype) for name, dtype in ledger.dtypes.items()} == CLAIMS_COLUMNS
    assert ledger["claim"].is_unique and len(ledger) >= 45
    assert ledger[["chapter", "section", "statement", "promised", "explanation"]].map(len).gt(0).all(axis=None)


@pytest.mark.parametrize("entry", WRITTEN, ids=[entry["id"] for entry in WRITTEN])
def test_the_verdict_that_is_written_is_the_one_computed(entry, ledger):
    row = ledger.set_index("claim").loc[entry["id"]]
    assert row["verdict"] == entry["verdict"], f"promised {row['promised']}, found {row['found']}"


def test_what_cannot_be_measured_has_a_command_and_no_number(ledger):
    elsewhere = ledger["verdict"] == "not measured"
    assert (ledger["command"].notna() == elsewhere).all() and (ledger["measured"].isna() == elsewhere).all()
    assert ledger.loc[~elsewhere, "method"].str.endswith(".").all()


def test_every_measure_is_used():
    assert {entry["measure"] for entry in WRITTEN if "measure" in entry} == set(MEASURES)


@given(st.floats(0, 1e12), st.floats(1, 3), st.floats(0, 1e13))
def test_the_verdict_is_one_rule(low, width, measured):
    high, said = low * width, verdict(low, low * width, measured)
    assert said in VERDICTS[:3] and said == verdict(low, high, measured)
    assert (said == "confirmed") == (0.9 * low <= measured <= 1.1 * high) or measured in (low * 0.9, high * 1.1)
    if low <= measured <= high:
        assert said == "confirmed"
    if measured > 2 * high or measured < low / 2:
        assert said == "not confirmed"
    assert verdict(low, high, None) == "not measured"


def test_advice_is_what_a_rebuild_saves(verified):
    assert {name: str(dtype) for name, dtype in verified.dtypes.items()} == VERIFIED_COLUMNS
    assert (verified["predicted_bytes"] - verified["measured_bytes"] == verified["error_bytes"]).all()
    allowed = (0.02 * verified["measured_bytes"].abs()).clip(lower=100_000)
    assert (verified["close"] == (verified["error_bytes"].abs() <= allowed)).all()
    # A removal that is predicted wrongly says why; nothing is promised that is not saved.
    assert verified.loc[~verified["close"] | ~verified["removal"], "explanation"].notna().all()
    assert verified.loc[verified["removal"], "close"].sum() >= 8
    assert set(verified.loc[verified["removal"] & ~verified["close"], "pair"]) <= {"dockerignore"}
    assert (verified["predicted_bytes"] <= verified["measured_bytes"].clip(lower=0) + 100_000).all()


def test_the_pictures_show_every_claim_and_pair(ledger, verified):
    tiles = claim_tiles(ledger)
    assert sum(len(trace.x) for trace in tiles.data) == len(ledger)
    confirmed = (ledger["verdict"] == "confirmed").sum()
    assert f"{confirmed} of the {(ledger['verdict'] != VERDICTS[3]).sum()} measured claims" in tiles.layout.title.text
    ratios = claim_ratios(ledger)
    for trace in ratios.data:
        if trace.name == "confirmed":
            assert all(0.9 <= ratio <= 1.1 for ratio in trace.x)
        if trace.name == "not confirmed":
            assert all(not 0.5 <= ratio <= 2 for ratio in trace.x)
    bars = advice_accuracy(verified)
    assert {trace.name for trace in bars.data} == {"saved by the rebuild", "predicted by the advice"}
    assert "dockerignore" in bars.data[0].y
    for empty in (claim_tiles(ledger[:0]), claim_ratios(ledger[:0]), advice_accuracy(verified[:0])):
        assert empty.layout.title.text


def test_charts_escape_what_they_are_given(ledger):
    hostile = ledger.assign(says="<b onload=x>", claim="<script>", why="<img>")
    for figure in (claim_tiles(hostile), claim_ratios(hostile)):
        assert (
            "<script" not in figure.to_json() and "<img" not in figure.to_json() and "<b onload" not in figure.to_json()
        )


@pytest.mark.skipif(sys.platform != "linux", reason="sort -h as GNU has it")
def test_the_recorded_order_is_what_sort_makes_of_the_recorded_history():
    text = data_path("claims/history.txt").read_text(encoding="utf-8")
    done = subprocess.run(
        ["sort", "-k", "2", "-h"],
        input=text,
        capture_output=True,
        text=True,
        env={"LC_ALL": "C.UTF-8", "PATH": "/bin:/usr/bin"},
    )
    assert done.stdout == data_path("claims/history.sorted.txt").read_text(encoding="utf-8")


@pytest.mark.engine
def test_the_real_client_knows_no_docker_run_secret(modern):
    with pytest.raises(RuntimeError, match="unknown flag: --secret"):
        modern.docker("run", "--secret", "my-secret", "my-app")


@pytest.mark.engine
@pytest.mark.parametrize(("name", "said"), [("healthcheck", "unknown instruction: import"), ("comments", "failed to")])
def test_the_builder_refuses_them_too(modern, tmp_path, name, said):
    text = data_path(f"claims/{name}.Dockerfile").read_text().replace("FROM busybox", "FROM localhost/busybox:static")
    (tmp_path / "Dockerfile").write_text(text)
    with pytest.raises(RuntimeError, match=said):
        modern.docker("build", "--network=none", "-q", str(tmp_path))


def test_no_chapter_is_left_out(ledger):
    wanted = "Image size,Layer caching,Security hardening,BuildKit features,Analysis tools,Production patterns"
    assert list(pd.unique(ledger["chapter"])) == [*wanted.split(","), "Exercises", "Questions"]


CACHES = ["root/.cache/pip/http/{}", "var/lib/apt/lists/{}", "var/cache/apt/archives/{}", "root/.npm/_cacache/{}"]


@pytest.mark.parametrize("seed", range(5))
def test_advice_on_a_pair_of_random_files(seed):
    """Caches left, files deleted late and modes changed late, in pairs that no rule was written for."""
    dice = random.Random(seed)

    def some(pattern, count):
        return [
            (pattern.format(f"f{n}").encode(), "file", dice.randbytes(dice.randint(1, 60_000))) for n in range(count)
        ]

    program = some("srv/app/{}", dice.randint(3, 12))
    caches = [entry for pattern in dice.sample(CACHES, 2) for entry in some(pattern, dice.randint(1, 8))]
    doomed, moded = some("srv/tmp/{}", dice.randint(1, 9)), some("srv/bin/{}", dice.randint(1, 9))
    whiteouts = [(path.replace(b"tmp/", b"tmp/.wh."), "file", b"") for path, _, _ in doomed]
    steps = "COPY app /srv", "RUN install", "RUN rm -r /srv/tmp/*", "RUN chmod -R 755 /srv/bin"
    images = []
    for layers in (
        [[*program, *doomed, *moded], caches, whiteouts, moded],
        [[*program, *moded], [], [], []],
    ):
        history = tuple(HistoryEntry(None, f"{step} # buildkit", empty_layer=False) for step in steps)
        images.append(replace(image_of([layer_tar(layer) for layer in layers]), history=history))
    stored = il.efficiency(images)["stored"]
    found = il.advise(images[0], digests=True)
    assert found["bytes"].sum() == stored[0] - stored[1]
    assert {"deleted-later", "rewritten-unchanged"} < set(found["rule"])
