"""The ledger of claims: every verdict is computed again, from the data that are recorded."""

import random
import re
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
from imagelab.course import claims as claims_module
from imagelab.course import measures
from imagelab.course.advice_claims import VERIFIED_COLUMNS, verify_advice
from imagelab.course.claims import CLAIMS_COLUMNS, UNITS, VERDICTS, claims, verdict
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


def test_every_row_says_what_was_measured_and_where(ledger):
    elsewhere = ledger["command"].notna()
    assert ledger.loc[elsewhere, "verdict"].eq("not measured").all() and ledger.loc[elsewhere, "measured"].isna().all()
    assert ledger.loc[~elsewhere, "measured"].notna().all() and ledger.loc[~elsewhere, "method"].str.endswith(".").all()
    assert ledger["basis"].str.len().gt(10).all() and (ledger["spread"].notna() == ~elsewhere).all()
    assert all(entry["unit"] in UNITS and len(entry.keys() & {"code", "command", "value"}) == 1 for entry in WRITTEN)
    published = ledger["basis"].str.startswith("by published source: ")
    assert (ledger["code"].isna() & ~elsewhere == published).all() and published.sum() >= 2


def test_seconds_have_three_runs_and_a_spread(ledger):
    timed = ledger["code"].str.contains(r"\bseconds\(").fillna(False)
    assert timed.sum() >= 6 and ledger.loc[timed, "spread"].str.endswith("in 3 runs").all()


def test_a_spread_that_includes_no_effect_is_not_measured(monkeypatch):
    entry = {
        "id": "x",
        "chapter": "c",
        "section": "s",
        "statement": "s",
        "promised": 3,
        "unit": "times",
        "method": "m.",
    }
    entry |= {"basis": "b", "explanation": "e"}

    def judged(code):
        return claims_module._row(entry | {"code": code})["verdict"]

    assert judged("[0.9, 2.9, 3.1]") == "not measured"
    assert judged("[2.9, 3.0, 3.1]") == "confirmed"
    assert judged("[7.0, 9.0, 8.0]") == "not confirmed"
    assert judged("None") == "not measured"
    entry["promised"] = 1  # no effect is what is promised
    assert judged("[0.99, 1.0, 1.02]") == "confirmed"


def test_what_promises_nothing_has_a_control(monkeypatch):
    """A number near zero confirms a claim only if the measure shows the effect in the other variant."""
    zero = [
        entry
        for entry in WRITTEN
        if entry["promised"] == 0 and re.search(r"advised|brings|blobs|could", entry.get("code", ""))
    ]
    assert len(zero) >= 9
    monkeypatch.setattr(measures, "advised", lambda rule, name: 0)
    monkeypatch.setattr(measures, "brings", lambda pattern, name: False)
    monkeypatch.setattr(measures, "blobs_with_token", lambda path: 0)
    monkeypatch.setattr(measures, "could", lambda options, act: False)
    found = {entry["id"]: claims_module._row(entry)["verdict"] for entry in zero}
    assert {name for name, word in found.items() if word != "not measured"} == {"chown-free"}


def test_every_measure_is_used():
    code = " ".join(entry.get("code", "") for entry in WRITTEN)
    own = [name for name, thing in vars(measures).items() if getattr(thing, "__module__", "") == measures.__name__]
    assert {name for name in own if not re.search(rf"\b{name}\(", code)} <= {"steps"}


def test_pip_finds_its_downloads_only_with_a_mount():
    words = measures.table("times/pip.csv").query("case == 'cache-mount'")
    cached = words["line"].str.startswith("Using cached").groupby([words["variant"], words["run"]]).sum().unstack()
    assert (cached.loc["mount"] == 13).all() and (cached.loc[["control", "control-cold", "mount-cold"]] == 0).all(
        axis=None
    )


@given(st.floats(0, 1e12), st.floats(1, 3), st.floats(0, 1e13))
def test_the_verdict_is_one_rule(low, width, measured):
    high, found = low * width, verdict(low, low * width, measured)
    assert found in VERDICTS[:3] and found == verdict(low, high, measured)
    assert (found == "confirmed") == (0.9 * low <= measured <= 1.1 * high) or measured in (low * 0.9, high * 1.1)
    if low <= measured <= high:
        assert found == "confirmed"
    if measured > 2 * high or measured < low / 2:
        assert found == "not confirmed"
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
        if trace.name.startswith("confirmed"):
            assert all(0.9 <= ratio <= 1.1 for ratio in trace.x)
        if trace.name.startswith("not confirmed"):
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
