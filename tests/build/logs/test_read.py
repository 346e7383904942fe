"""Build logs: the corpus whole, damage, other kinds by name, and real builds on both engines in every form."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import subprocess
import uuid

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagelab.build.logs import read as log
from imagelab.build.logs.cost import build_cost, critical_steps, timed_rows
from imagelab.build.logs.read import LOG_COLUMNS, read_build_log
from imagelab.core.errors import DockerfileError


@pytest.fixture
def logs(corpus):
    return corpus / "buildlogs"


def write(tmp_path, text: str | bytes, name: str = "build.log"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_every_log_of_the_corpus_reads(logs):
    refused = {"doc-buildx-history-NOT-REAL.rawjson", "doc-debugging-tty.log", "not-a-build-daemon-error.log"}
    for folder in ("rawjson", "trace", "plain", "legacy"):
        for path in sorted((logs / folder).iterdir()):
            if path.name not in refused:
                frame = read_build_log(path)
                assert len(frame) and frame.dtypes.astype(str).to_dict() == LOG_COLUMNS, path.name
                assert frame["name"].notna().all() and not (frame["status"] == "gap").any()


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("metadata/metadata-build.json", "il.explain_build.*--also-before"),
        ("metadata/sigstore-single-provenance.json", "il.explain_build.*--also-before"),
        ("metadata/coio50kfpeoc2th3hx7huh3h0.provenance.json", "il.explain_build.*--also-before"),
        ("record/coio50kfpeoc2th3hx7huh3h0.historyrecord.json", "il.explain_build.*--also-before"),
        ("rawjson/doc-buildx-history-NOT-REAL.rawjson", "without BuildKit's vertexes"),
        ("plain/doc-debugging-tty.log", "terminal progress"),
        ("legacy/not-a-build-daemon-error.log", "other text .*permission denied"),
    ],
)
def test_other_kinds_are_refused_by_name(logs, path, what):
    with pytest.raises(DockerfileError, match=what):
        read_build_log(logs / path)


def test_the_counts_of_the_history_record(logs):
    frame = read_build_log(logs / "rawjson/lwdow6io1fxqqzd80mp8tj83w.rawjson")
    assert (frame["instruction"] == "pull").sum() == 5 and frame["bytes"].sum() > 0
    frame = frame[frame["instruction"].fillna("").ne("pull")].reset_index(drop=True)
    record = json.loads((logs / "record/lwdow6io1fxqqzd80mp8tj83w.historyrecord.json").read_text())
    assert len(frame) == int(record["numTotalSteps"]) == 84
    archive = read_build_log(logs / "dockerbuild/moby~buildkit~LWDOW6.dockerbuild").set_index("vertex")
    pd.testing.assert_frame_equal(archive.loc[frame["vertex"]], frame.set_index("vertex"))
    assert frame["cached"].sum() == 1
    same = read_build_log(logs / "rawjson/lwdow6io1fxqqzd80mp8tj83w.solvestatus.json")
    same = same[same["instruction"].fillna("").ne("pull")]
    # the single document is the first of the two events
    known = same[same["status"] == "done"].set_index("vertex")
    assert len(same) == 84 and len(known) == 42
    assert (known["duration"] <= frame.set_index("vertex")["duration"][known.index]).all()
    row = frame[frame["stage"] == "nydus"].iloc[0]
    assert row["instruction"] == "RUN" and row["inputs"].startswith("sha256:")


def test_plain_forms(logs):
    old = read_build_log(logs / "plain/protocurl-sha-lines.log").set_index("vertex")
    assert old.loc["5", ["step", "instruction", "cached"]].tolist() == [2, "WORKDIR", True]
    assert old.loc["6", "bytes"] == 71_000
    new = read_build_log(logs / "plain/rinha-multistage-cached.log").set_index("vertex")
    assert new.loc["18", ["stage", "step", "duration", "cached"]].tolist() == ["build", 8, 5.9, False]
    several = read_build_log(logs / "plain/perseus-multiplatform-canceled.log").set_index("vertex")
    assert several.loc["22", ["platform", "status"]].tolist() == ["linux/amd64->arm64", "canceled"]
    assert several.loc["24", ["platform", "status"]].tolist() == ["linux/amd64", "error"]
    tail = read_build_log(logs / "plain/perseus-failure.log").iloc[0]
    assert (tail["stage"], tail["step"], tail["status"]) == ("builder", 4, "error")


NEXT = """#0 building with "b" instance using docker-container driver

#1 [internal] load build definition from Dockerfile
#1 DONE 0.1s

#2 [ 1/10] FROM docker.io/library/a
#2 DONE 0.0s

#3 [10/10] RUN {0}
#3 DONE 2.0s
"""


@pytest.mark.parametrize("line", ['#0 building with "b" instance using docker-container driver\n', ""])
def test_several_builds_in_one_log(tmp_path, line):
    boot = "#1 [internal] booting buildkit\n#1 pulling image moby/buildkit 1.0s done\n#1 DONE 3.0s\n"
    first, second = (NEXT.format(name).replace(NEXT.partition("\n")[0] + "\n", line) for name in ("one", "two"))
    warned = "\n#1 [internal] load build definition from Dockerfile\n#1 WARN: StageNameCasing\n\n#2 [ 1/10]"
    frame = read_build_log(write(tmp_path, boot + first.replace("\n#2 [ 1/10]", warned, 1) + "Pushed.\n" + second))
    assert frame["vertex"].tolist() == ["1", "2.1", "2.2", "2.3", "3.1", "3.2", "3.3"]
    assert frame["step"].tolist() == [pd.NA, pd.NA, 1, 10, pd.NA, 1, 10]
    assert frame["arguments"].tolist()[-4:] == [
        "one",
        "load build definition from Dockerfile",
        "docker.io/library/a",
        "two",
    ]
    assert frame["duration"].tolist() == [3.0, 0.1, 0.0, 2.0, 0.1, 0.0, 2.0]
    assert frame["stage"].isna().all()


def test_a_logs_end_whose_command_prints_a_log(tmp_path):
    frame = read_build_log(write(tmp_path, "#9 0.1 Step 1/2 : FROM a\n#9 0.2 #1 [internal] load x\n#9 DONE 0.3s\n"))
    assert frame[["vertex", "status", "duration"]].to_numpy().tolist() == [["9", "done", 0.3]]


def test_a_target_and_a_platform_before_the_stage(tmp_path):
    text = (
        "#9 [web internal] load metadata for a\n#9 DONE 0.1s\n\n#10 [web linux/arm64/v8 deps  2/12] RUN x\n#10 CACHED\n\n"
        "#11 [windows(10.0.20348)/amd64 2/3] RUN y\n#11 CACHED\n"
    )
    frame = read_build_log(write(tmp_path, text))
    assert frame["stage"].tolist() == [pd.NA, "web deps", pd.NA]
    assert frame["platform"].tolist() == [pd.NA, "linux/arm64/v8", "windows(10.0.20348)/amd64"]
    assert frame["instruction"].tolist() == ["internal", "RUN", "RUN"]


@pytest.mark.parametrize("payload", ["!!!", "e30=", "eyI=", "bnVsbA=="])
def test_an_envelope_with_a_damaged_payload_is_refused(tmp_path, payload):
    with pytest.raises(DockerfileError, match="is not a supported build log"):
        read_build_log(write(tmp_path, json.dumps({"payloadType": "application/vnd.in-toto+json", "payload": payload})))


def test_the_form_of_2018(tmp_path):
    text = (
        '#1 [internal] load .dockerignore\n#1       digest: sha256:aa\n#1         name: "[internal] load .dockerignore"\n'
        "#1      started: 2019-02-01 12:00:00.123456789 +0000 UTC\n#1    completed: 2019-02-01 12:00:01 +0000 UTC\n"
        "#1     duration: 876.543ms\n#1      started: 2019-02-01 14:00:02 +0200 EET\n"
        "#1    completed: 2019-02-01 14:00:03.2 +0200 EET\n#1     duration: 1.2s\n#1 transferring context: 2B done\n\n\n"
        '#2 [2/2] RUN echo \\"a\\"...\n#2       digest: sha256:bb\n#2         name: "[2/2] RUN echo \\"a\\" and more"\n'
        "#2       cached: true\n\n\n#3 [3/3] COPY a b\n#3      started: 2019-02-30 12:00:00 +0000 UTC\n"
    )
    frame = read_build_log(write(tmp_path, text))
    assert frame["duration"].tolist() == [pytest.approx(2.076543), 0.0, pd.NA]
    assert frame["cached"].tolist() == [False, True, pd.NA]
    assert frame["started"][0] == pd.Timestamp("2019-02-01 12:00:00.123456Z")
    assert frame["completed"][0] == pd.Timestamp("2019-02-01 12:00:03.2Z")
    assert frame["arguments"][1] == 'echo "a" and more'


def test_classic_text(logs, tmp_path):
    frame = read_build_log(logs / "legacy/mlop8-legacy-builder.log")
    assert frame["instruction"].tolist() == ["internal", "FROM", "COPY", "RUN", "WORKDIR", "CMD"]
    assert frame["cached"].tolist() == [False, False, True, False, False, False]
    assert frame["bytes"][0] == 3584
    text = (
        "Sending build context to Docker daemon  2.5MB\r\r\nStep 1/3 : FROM a AS base\n ---> 11\nStep 2/3 : FROM base\n ---> 11\n"
        "Step 3/3 : RUN false\n ---> Running in 22\nThe command '/bin/sh -c false' returned a non-zero code: 1\n"
    )
    failed = read_build_log(write(tmp_path, text))
    assert failed["stage"].tolist()[1:] == ["base", "stage-1", "stage-1"]
    assert failed["status"].tolist() == ["done", "done", "done", "error"]
    assert "non-zero code" in failed["error"][3]
    for words in ("ERROR: Service 'web' failed to build : ", "Service 'web' failed to build: "):
        composed = read_build_log(write(tmp_path, text.replace("The command", words + "The command")))
        pd.testing.assert_frame_equal(composed, failed)
    gone = "Step 1/1 : FROM a:9\nError response from daemon: manifest for a:9 not found: manifest unknown\n"
    assert read_build_log(write(tmp_path, gone))["status"].tolist() == ["error"]
    none = (
        "[00:23] Sending build context to Docker daemon  1kB\r[00:24] Sending build context to Docker daemon  5kB\r\r\n"
    )
    none = read_build_log(write(tmp_path, (none + "[00:24] Error response from daemon: parse error line 2: x\n") * 2))
    assert none[["bytes", "error"]].to_numpy().tolist() == [[5000, "parse error line 2: x"]] * 2
    both = read_build_log(write(tmp_path, text + text.replace("FROM a AS base", "FROM a")))
    assert both["vertex"].is_unique and both["stage"].tolist()[5:] == ["stage-0", "stage-1", "stage-1"]
    assert both["status"].tolist() == ["done", "done", "done", "error"] * 2
    then = read_build_log(
        write(tmp_path, "Step 1/1 : FROM a\n ---> 1\nSuccessfully built 1\nStep 1/2 : ARG X\nStep 2/2 : FROM b\n")
    )
    assert then["stage"].tolist() == ["stage-0", pd.NA, "stage-0"]
    triggers = "Step 0 : FROM a\n# Executing 1 build trigger...\n ---> Using cache\nStep 1 : RUN b\n ---> Using cache\n"
    old = read_build_log(write(tmp_path, triggers))  # early builders counted from 0
    assert old["status"].tolist() == ["done", "cached"] and old["step"].tolist() == [0, 1]
    cut = read_build_log(write(tmp_path, text.partition("The command")[0]))
    assert cut["status"].tolist()[-1] == "unfinished" and cut["cached"].isna().tolist()[-1]


def wrapped(data, prefix):
    """Each line behind a prefix, as services print it: without space at a blank line's end."""
    return "\n".join((prefix(n) + line).rstrip() for n, line in enumerate(data.decode().split("\n"))).encode()


def test_packed_and_wrapped(logs, tmp_path):
    data = (logs / "plain/rinha-multistage-cached.log").read_bytes()
    expected = read_build_log(logs / "plain/rinha-multistage-cached.log")
    stamped = b"\n".join(b"2024-05-15T08:46:10.2058535Z " + line for line in data.split(b"\n"))
    forms = {
        "gzip": gzip.compress(data),
        "PowerShell": data.decode().encode("utf-16"),
        "carriage returns": data.replace(b"\n", b"\r\n"),
        "CI": stamped,
        "colours": data.replace(b"#18", b"\x1b[34m#18").replace(b"CACHED", b"\x1b[1;32mCACHED\x1b[0m"),
        "text around": b"+ docker build .\nhello {world}\n" + data + b"\nPushing\n",
        "a job's name and stamp": wrapped(data, lambda n: f"build\tBuild 2 images\t2024-05-15T08:46:10.{n:07}Z "),
        "stamps without a space on blank lines": stamped.replace(b"Z \n", b"Z\n"),
        "stamps on some lines": data.replace(b"#18 DONE", b"2024-05-15 08:46:10.997Z: #18 DONE"),
        "a time in brackets": wrapped(data, lambda n: f"[08:46:{n % 60:02}] "),
        "a level": wrapped(data, lambda n: f"2024-May-15 08:46:10.{n} [DEBUG] "),
        "a step of several": b"Starting Step #0\n" + wrapped(data, lambda n: 'Step #0 - "build": '),
        "a git push": wrapped(data, lambda n: "remote:        "),
        "a page": wrapped(data, lambda n: "    "),
    }
    for name, form in forms.items():
        pd.testing.assert_frame_equal(read_build_log(write(tmp_path, form)), expected, obj=name)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_log_that_is_too_long_is_refused_before_it_is_read(tmp_path, monkeypatch, pack):
    monkeypatch.setattr(log, "MAX_LOG", 1000)
    with pytest.raises(DockerfileError, match="more than 1,000 bytes"):
        read_build_log(write(tmp_path, pack(b"#1 [internal] x\n" * 100)))


def test_damage(logs, tmp_path):
    lines = (logs / "trace/kohoutek-debian-success.jsonl").read_text().splitlines(keepends=True)
    whole = read_build_log(write(tmp_path, "".join(lines)))
    cut = read_build_log(write(tmp_path, "".join(lines)[:-200]))
    assert cut["status"].tolist()[-1] == "gap" and f"line {len(lines)}" in cut["name"].tolist()[-1]
    assert len(cut) == len(whole) + 1
    with pytest.raises(DockerfileError, match="line 3: invalid JSON"):
        read_build_log(write(tmp_path, "".join([*lines[:2], lines[2][:50] + "\n", *lines[3:]])))
    packed = gzip.compress("".join(lines).encode())
    with pytest.raises(DockerfileError, match="cannot be read"):
        read_build_log(write(tmp_path, packed[:-50]))
    for bad in ("", "\n\n", "hello\n", "{}\n", "[]", '{"a": 1}\n', "\0\1\2", "{" * 5000):
        with pytest.raises(DockerfileError, match="not a supported build log"):
            read_build_log(write(tmp_path, bad))
    with pytest.raises(DockerfileError, match="cannot be read"):
        read_build_log(tmp_path / "none")


GOOD = {"digest": "sha256:a", "name": "[1/1] RUN x", "started": "2024-01-01T00:00:00.123456789Z"}
GOOD["completed"] = "2024-01-01T00:00:02Z"


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": 5}, {"digest": None, "name": ["x"]}, {"started": "yesterday"}, {"started": 12}, {"cached": "yes"},
        {"inputs": [1]}, {"error": {}},
    ],
)  # fmt: skip
def test_wrong_types_are_refused_with_the_line(tmp_path, wrong):
    with pytest.raises(DockerfileError, match="line 2"):
        read_build_log(
            write(tmp_path, json.dumps({"vertexes": [GOOD]}) + "\n" + json.dumps({"vertexes": [GOOD | wrong]}))
        )
    for statuses in (5, [5], [{"vertex": "sha256:a", "id": "x", "current": 2**70}]):
        with pytest.raises(DockerfileError, match="line 2"):
            read_build_log(
                write(tmp_path, json.dumps({"vertexes": [GOOD]}) + "\n" + json.dumps({"statuses": statuses}) + "\n{}")
            )


def test_durations_intervals_and_surrogates(tmp_path):
    events = [
        {"vertexes": [GOOD]},
        {"vertexes": [GOOD | {"started": "2024-01-01T00:00:01Z", "completed": "2024-01-01T00:00:05Z"}]},
        {"vertexes": [{"digest": "b", "name": "half \ud800 \u0000", "started": "2024-01-01T02:00:00+02:00"}]},
        {"statuses": [{"vertex": "sha256:a", "id": "transferring", "current": size} for size in (5, 9)]},
    ]
    frame = read_build_log(write(tmp_path, "\n".join(map(json.dumps, events)))).set_index("vertex")
    assert frame.loc["sha256:a", "duration"] == pytest.approx(4.876544, abs=1e-5)
    assert frame.loc["sha256:a", "bytes"] == 9
    assert frame.loc["b", "status"] == "unfinished" and pd.isna(frame.loc["b", "cached"])
    assert frame.loc["b", "started"] == pd.Timestamp("2024-01-01T00:00:00Z")


def test_secrets_are_masked(tmp_path):
    text = "#5 [2/2] RUN curl -H 'Authorization: Bearer abcdefghijklmnop1234567890' https://u:hunter2@host/\n#5 DONE 0.1s\n"
    row = read_build_log(write(tmp_path, text)).iloc[0]
    assert "hunter2" not in " ".join(row.dropna().astype(str)) and "abcdefghijklmnop" not in row["name"]
    assert row["masked"]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["#1 [1/2] RUN x", "#1 DONE 1.0s", "#1 CACHED", "", "#2 ...", "Step 1/2 : RUN y", " ---> Using cache",
             '{"vertexes":[]}', '{"vertexes":[{}]}', "{", "#999999999999999999999 x", "#3 DONE 1e9s", " > [2/2] RUN:",
             "#1 transferring context: 9B", "\r"]
        )
    )
)  # fmt: skip
def test_any_mixture_is_read_or_refused(tmp_path_factory, lines):
    path = write(tmp_path_factory.mktemp("mix"), "\n".join(lines))
    with contextlib.suppress(DockerfileError):
        assert list(read_build_log(path).columns) == list(LOG_COLUMNS)


def test_a_hit_of_an_imported_cache_that_pulls_its_layers_is_cached(tmp_path):
    digest = f"sha256:{'a1' * 32}"
    text = (
        f"#4 importing cache manifest from local:1\n#4 DONE 0.0s\n\n#5 [1/4] FROM a\n#5 {digest} 3B / 3B 0.2s done\n"
        f"#5 DONE 0.3s\n\n#6 [2/4] RUN x\n#6 {digest} 122B / 122B done\n#6 extracting {digest} 0.1s done\n#6 DONE 0.4s\n\n"
        f"#7 [3/4] RUN y\n#7 {digest}\n#7 0.100 {digest} 1B / 1B\n#7 DONE 0.5s\n\n#8 [4/4] COPY a /\n#8 DONE 0.1s\n"
    )
    frame = read_build_log(write(tmp_path, text))
    steps = frame[frame["step"].notna()]
    assert steps["status"].tolist() == ["done", "cached", "done", "done"] and steps["inputs"].isna().all()
    assert frame.loc[frame["instruction"] == "pull", "duration"].tolist() == [0.2, 0.1]
    assert critical_steps(frame)[frame["step"].notna()].tolist() == [False, True, True, True], "FROM does not count"
    event = {
        "digest": digest,
        "name": "[2/2] RUN x",
        "started": "2026-01-01T00:00:00Z",
        "completed": "2026-01-01T00:00:01Z",
    }
    events = [{"vertexes": [event | more]} for more in ({"cached": True}, {"started": "2026-01-01T00:00:02Z"})]
    events[1]["vertexes"][0]["completed"] = "2026-01-01T00:00:03Z"
    raw = read_build_log(write(tmp_path, "\n".join(map(json.dumps, events))))
    assert raw["status"].tolist() == ["cached"], "a record lists the pull after the hit, without the flag"


DOCKERFILE = """FROM localhost/busybox:static AS one
WORKDIR /w
RUN echo {0} && sleep 0.3
FROM localhost/busybox:static
COPY big /big
COPY --from=one /w /w
RUN echo '#7 DONE 9.9s' && echo 'Step 1/9 : FROM x' && echo {0}
"""


@pytest.mark.engine
@pytest.mark.parametrize(
    ("kind", "command", "buildkit"),
    [
        ("modern", ["buildx", "build", "--progress=rawjson"], "1"),
        ("modern", ["buildx", "build", "--progress=plain"], "1"),
        ("modern", ["buildx", "build", "--progress=plain", "--no-cache"], "1"),
        ("modern", ["build"], "0"),
        ("classic", ["build", "--progress=plain"], "1"),
        ("classic", ["build"], "0"),
    ],
)
def test_real_builds_twice(request, tmp_path, kind, command, buildkit):
    engine = request.getfixturevalue(kind)
    context = tmp_path / uuid.uuid4().hex
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE.format(uuid.uuid4().hex))
    (context / "big").write_bytes(os.urandom(200_000))
    frames = []
    for _ in range(2):
        full = ["docker", *command, "--network=none", str(context)]
        done = subprocess.run(full, env=engine.env | {"DOCKER_BUILDKIT": buildkit}, capture_output=True, check=True)
        frames.append(read_build_log(write(tmp_path, done.stdout + done.stderr)))
    first, second = (frame[frame["instruction"].isin(["RUN", "COPY", "WORKDIR"])] for frame in frames)
    assert len(first) == len(second) == 5
    ran = first[first["instruction"] == "RUN"]
    assert not ran["cached"].any()
    assert (first["status"] != "error").all()
    if "--no-cache" not in command:
        assert second["cached"].all()
    if buildkit == "1":
        assert ran["duration"].max() >= 0.3
        assert frames[0].loc[frames[0]["arguments"] == "load build context", "bytes"].max() >= 200_000
        assert set(first["stage"]) == {"one", "stage-1"}


def test_a_vertex_that_starts_several_times_has_its_covered_seconds(tmp_path):
    """Overlapping intervals count once, and the earliest start and the latest end are the step's."""
    times = [("02", "05"), ("01", "03"), ("07", "08")]
    vertices = [
        {"digest": "a", "name": "[1/1] RUN x", "started": f"2024-01-01T00:00:{start}Z", "completed": f"2024-01-01T00:00:{end}Z"}
        for start, end in times
    ]  # fmt: skip
    step = read_build_log(write(tmp_path, json.dumps({"vertexes": vertices}))).iloc[0]
    assert step["duration"] == 5.0
    assert step["started"] == pd.Timestamp("2024-01-01T00:00:01Z")
    assert step["completed"] == pd.Timestamp("2024-01-01T00:00:08Z")


def test_a_cached_step_with_the_times_of_an_older_build_does_not_make_the_build_longer(logs):
    """Older versions of BuildKit repeat the times of the build that ran the step, here four days earlier."""
    log = read_build_log(logs / "trace/kohoutek-simple-debian-fail.jsonl")
    rows = timed_rows(log)
    assert 18 < build_cost(log)["elapsed"] < 20
    assert rows["start"].min() == 0 and log["started"].is_monotonic_increasing


def test_every_row_of_a_build_has_an_instruction(logs, tmp_path):
    assert read_build_log(logs / "plain/rinha-multistage-cached.log")["instruction"].notna().all()
    assert read_build_log(logs / "dockerbuild/moby~buildkit~LWDOW6.dockerbuild")["instruction"].notna().all()
    text = (
        "#1 [web] resolving provenance for metadata file\n#1 DONE 0.1s\n\n#2 https://example.org/a.tar\n#2 DONE 2.0s\n"
    )
    frame = read_build_log(write(tmp_path, text))
    assert frame["instruction"].tolist() == ["internal"] * 2 and frame["arguments"][1] == "https://example.org/a.tar"
