"""Build records, provenance, traces, and the logs of other builders."""

from __future__ import annotations

import base64
import io
import json
import re
import tarfile

import pandas as pd
import pytest

from imagelab.build.explain import explain_build
from imagelab.build.logs.cost import build_cost, critical_steps, timed_rows
from imagelab.build.logs.history import builds
from imagelab.build.logs.read import read_build_log, read_facts
from imagelab.build.logs.records import Facts, merge
from imagelab.core.errors import DaemonUnavailable, DockerfileError
from tests.conftest import ROOT

DATA = ROOT / "tests/data/build"


def write(tmp_path, value, name="file"):
    path = tmp_path / name
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_a_build_record_has_steps_arguments_and_operations():
    frame = read_build_log(DATA / "export.dockerbuild")
    assert frame["instruction"].tolist() == ["internal", "internal", "internal", "COPY", "COPY", "export", "unpack"]
    assert frame["platform"].dropna().tolist() == ["linux/386", "linux/386"]
    assert frame["inputs"][4].split() == [frame["vertex"][3], frame["vertex"][2]]
    assert (frame["duration"] > 0).all() and not frame["cached"].any()
    (facts,) = read_facts(DATA / "export.dockerbuild")
    assert facts.attributes["platform"] == "linux/amd64,linux/386"
    assert facts.dockerfile.startswith("FROM scratch AS s\nCOPY a /a")
    assert facts.lines[frame["vertex"][4]] == (4, 4)
    assert facts.operations[frame["vertex"][3]]["file"]["actions"][0]["Action"]["copy"]["src"] == "/a"


def test_one_archive_can_have_several_builds(corpus):
    frame = read_build_log(corpus / "buildlogs/dockerbuild/docker~test-docker-action~TYO4JJ+15.dockerbuild")
    assert frame["vertex"].is_unique and (frame["instruction"] == "RUN").sum() == 16
    assert set(frame["vertex"].str.partition(".")[0]) >= {str(n) for n in range(2, 17)}


def test_a_damaged_record_is_an_error(tmp_path):
    data = (DATA / "export.dockerbuild").read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    with pytest.raises(DockerfileError, match=r"cut cannot be read as a build log|cut is a damaged build record"):
        read_build_log(tmp_path / "cut")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, text in (
            ("index.json", '{"manifests": [{"digest": "sha256:none"}]}'),
            ("x", "buildkit.historyrecord"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    (tmp_path / "none").write_bytes(archive.getvalue())
    with pytest.raises(DockerfileError, match="damaged build record: 'none'"):
        read_build_log(tmp_path / "none")


def test_every_wrapping_of_provenance_gives_the_same_facts(tmp_path):
    predicate = json.loads((DATA / "provenance-0.2.json").read_text())
    (expected,) = read_facts(DATA / "provenance-0.2.json")
    assert expected.attributes["force-network-mode"] == "none" and len(expected.operations) == 4
    statement = {"predicateType": "https://slsa.dev/provenance/v0.2", "predicate": predicate}
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    envelope = {"payloadType": "application/vnd.in-toto+json", "payload": payload}
    for wrapped in (
        statement,
        envelope,
        {"dsseEnvelope": envelope},
        {"SLSA": predicate},
        {"buildx.build.provenance": predicate, "buildx.build.ref": "a/b/c"},
        {"web": {"buildx.build.provenance/linux/amd64": predicate, "buildx.build.ref": "a/b/c"}},
    ):
        assert read_facts(write(tmp_path, wrapped)) == [expected]


def test_provenance_1_has_the_same_facts_as_0_2(tmp_path):
    old = json.loads((DATA / "provenance-0.2.json").read_text())
    (expected,) = read_facts(DATA / "provenance-0.2.json")
    new = {
        "buildDefinition": {
            "externalParameters": {"request": old["invocation"]["parameters"]},
            "internalParameters": {"buildConfig": old["buildConfig"]},
            "resolvedDependencies": [{"uri": "pkg:docker/a@1?platform=linux%2Famd64", "digest": {"sha256": "0f"}}],
        },
        "runDetails": {
            "metadata": {"buildkit_metadata": old["metadata"]["https://mobyproject.org/buildkit@v1#metadata"]}
        },
    }
    (found,) = read_facts(write(tmp_path, new))
    assert found.images == {"a:1": "sha256:0f"}
    found.images = expected.images
    assert found == expected


#: (name, vertex, start and end in seconds)
SPANS = [("[2/2] RUN make", "sha256:a", 1, 3), ("load cache: [1/2] FROM x", "sha256:b", 0, 1)]
START = 1767225600  # 2026-01-01


def buildkit(name, vertex, start, end):
    times = {"StartTime": f"2026-01-01T00:00:0{start}Z", "EndTime": f"2026-01-01T00:00:0{end}Z"}
    return {"Name": name, **times, "Attributes": [{"Key": "vertex", "Value": {"Type": "STRING", "Value": vertex}}]}


def jaeger(name, vertex, start, end):
    times = {"startTime": (START + start) * 1_000_000, "duration": (end - start) * 1_000_000}
    return {"operationName": name, **times, "tags": [{"key": "vertex", "value": vertex}]}


def otlp(name, vertex, start, end):
    times = {"startTimeUnixNano": f"{START + start}000000000", "endTimeUnixNano": f"{START + end}000000000"}
    return {"name": name, **times, "attributes": [{"key": "vertex", "value": {"stringValue": vertex}}]}


TRACES = {
    "BuildKit": "\n".join(json.dumps(buildkit(*span), indent=1) for span in SPANS),
    "Jaeger": json.dumps({"data": [{"spans": [jaeger(*span) for span in SPANS]}]}),
    "OTLP": json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [otlp(*span) for span in SPANS]}]}]}),
}


@pytest.mark.parametrize("kind", TRACES)
def test_traces(tmp_path, kind):
    frame = read_build_log(write(tmp_path, TRACES[kind]))
    assert frame["instruction"].tolist() == ["FROM", "RUN"] and frame["cached"].tolist() == [True, False]
    assert frame["duration"].tolist() == [1.0, 2.0] and frame["started"][1] == pd.Timestamp("2026-01-01T00:00:01Z")


def test_podman_and_buildah(tmp_path):
    frame = read_build_log(DATA / "podman.log")
    steps = frame[frame["step"].notna()]
    assert steps["stage"].tolist() == ["build"] * 4 + ["stage-1"] * 3 and steps["step"].tolist() == [
        1,
        2,
        3,
        4,
        1,
        2,
        3,
    ]
    assert steps["cached"].tolist() == [False, True, True, True, False, False, False]
    assert frame.loc[frame["step"].isna(), ["instruction", "arguments"]].to_numpy().tolist() == [
        ["export", "to fb-pod"]
    ]
    assert frame["duration"].isna().all(), "podman prints no seconds"
    text = 'STEP 1/2: FROM a\nSTEP 2/2: RUN false\nError: building at STEP "RUN false": while running runtime: exit status 1\n'
    failed = read_build_log(write(tmp_path, text))
    assert (
        failed["status"].tolist() == ["done", "error"] and failed["error"][1] == "while running runtime: exit status 1"
    )
    assert failed["stage"].tolist() == ["stage-0", "stage-0"]


def test_what_a_command_prints_is_no_step_of_podman(tmp_path):
    text = (
        '[1/2] STEP 1/2: FROM a AS b\n[1/2] STEP 2/2: RUN echo "STEP 9/9: RUN fake"\nSTEP 9/9: RUN fake\n[1/2] STEP 7/9: RUN x\n'
        "--> Using cache abc\n--> 8583a8805ae\n[2/2] STEP 1/2: FROM a\n[2/2] STEP 2/2: CMD x\n--> Using cache 0de6f2604136\n"
    )
    frame = read_build_log(write(tmp_path, text))
    assert frame["step"].tolist() == [1, 2, 1, 2] and frame["cached"].tolist() == [False, False, False, True]


def test_podman_pulls_and_commits(tmp_path):
    text = (
        "STEP 1/3: FROM alpine\nTrying to pull docker.io/library/alpine:latest...\nCopying blob 1f3e46996e29 done\n"
        "STEP 2/3: RUN psql -f x\nCOMMIT\n--> 4bcff63ee3a1\nSTEP 3/3: CMD sh\nCOMMIT x\n--> abc\nSuccessfully tagged x\n"
    )
    frame = read_build_log(write(tmp_path, text))
    assert frame["instruction"].tolist() == ["FROM", "pull", "RUN", "CMD", "export"], "a command can print COMMIT"
    assert frame["arguments"].tolist()[1] == "docker.io/library/alpine:latest" and set(frame["status"]) == {"done"}
    old = read_build_log(write(tmp_path, "STEP 1: FROM a\nSTEP 2: RUN x\n--> 1\nSTEP 3: COMMIT localhost/x\n--> 2\n"))
    assert old["instruction"].tolist() == ["FROM", "RUN", "export"]


def test_podman_runs_stages_side_by_side(tmp_path):
    """Podman 4.3 with ``--jobs 2``: a COPY waits for the other stage's steps."""
    frame = read_build_log(DATA / "podman-jobs.log")
    assert frame.groupby("stage")["step"].apply(list).to_dict() == {
        "build": [1, 2, 3, 4, 5, 6],
        "stage-1": [1, 2, 3, 4, 5],
    }
    assert set(frame["status"]) == {"done"}
    begun = (DATA / "podman-jobs.log").read_text().partition("hi\n")[0]
    failed = read_build_log(write(tmp_path, begun + 'Error: building at STEP "RUN x": exit status 1\n'))
    assert failed.set_index(["stage", "step"])["status"].loc[[("stage-1", 2), ("build", 6)]].tolist() == [
        "unfinished",
        "error",
    ]


@pytest.mark.parametrize(
    ("builder", "text"),
    [
        (
            "Earthly",
            "   buildkitd | Found buildkit daemon\n        ./app+build | --> RUN make\n      +all *cached* | --> COPY a\n",
        ),
        (
            "Bazel",
            "Loading: 0 packages loaded\nINFO: Analyzed target //app:image (12 packages loaded).\nINFO: Build completed\n",
        ),
    ],
)
def test_builders_without_a_dockerfile_are_named(tmp_path, builder, text):
    with pytest.raises(DockerfileError, match=f"it is the output of {builder}, .*`imagelab show IMAGE`"):
        read_build_log(write(tmp_path, text))


def test_kaniko(tmp_path):
    frame = read_build_log(DATA / "kaniko.log")
    assert frame["instruction"].tolist() == ["pull", "unpack", "RUN", "COPY", "RUN"]
    assert frame["cached"].tolist() == [False] * 4 + [True] and frame["duration"].tolist() == [0.0, 4.0, 4.0, 1.0, 0.0]
    assert timed_rows(frame)["start"].tolist() == [0.0, 0.0, 4.0, 8.0, 9.0] and build_cost(frame)["elapsed"] == 9.0
    text = (
        "INFO[0000] Building stage 'a' [idx: '1', base-idx: '-1']\nINFO[0001] Using caching version of cmd: RUN x\n"
        "INFO[0002] RUN x\nINFO[0002] Found cached layer, extracting to filesystem\nINFO[0003] RUN y\n"
    )
    frame = read_build_log(write(tmp_path, text))
    assert frame["stage"].tolist() == ["stage-1"] * 2 and frame["cached"].tolist() == [True, False]
    assert frame["duration"].tolist() == [0.0, pd.NA], "the last step's end is not printed"


@pytest.mark.parametrize(
    "line",
    [
        "\x1b[36mINFO\x1b[0m[{0:04}] {1}   ",
        "INFO[2024-05-15T08:46:{0:02}Z] {1}",
        'time="2024-05-15T08:46:{0:02}+02:00" level=info msg="{1}"',
        '{{"level":"info","msg":"{1}","time":"2024-05-15T08:46:{0:02}Z"}}',
    ],
)
def test_each_log_format_of_kaniko(tmp_path, line):
    lines = re.findall(r"INFO\[(\d+)\] (.*)", (DATA / "kaniko.log").read_text())
    lines += [("12", "Pushing image to h/x:1"), ("15", "Pushed h/x@sha256:0")]
    text = "".join(line.format(int(seconds), words) + "\n" for seconds, words in lines)
    frame = read_build_log(write(tmp_path, text))
    expected = read_build_log(DATA / "kaniko.log")
    pd.testing.assert_frame_equal(frame[:-1], expected)
    assert frame.iloc[-1][["instruction", "arguments", "duration"]].tolist() == ["export", "to h/x:1", 3.0]
    failed = read_build_log(write(tmp_path, text + "error building image: failed to push\n"))
    assert failed.iloc[-1][["status", "error"]].tolist() == ["error", "failed to push"]


def test_a_wrong_time_of_kaniko_leaves_the_seconds_unknown(tmp_path):
    line = 'time="2024-13-15T08:46:01Z" level=info msg="RUN \\"a\\""\n'
    frame = read_build_log(write(tmp_path, line + line))
    assert frame["arguments"].tolist() == ['"a"', '"a"'] and frame["duration"].isna().all()


def test_the_two_streams_of_gitlab(tmp_path):
    """GitLab's runner names the stream of each line; buildah prints the results of its steps on the other one."""
    lines = (DATA / "podman.log").read_text().rstrip("\n").split("\n")
    stamped = [
        f"2024-05-15T08:46:10.205853Z {'01E ' if line.startswith('-->') else '00O+' if n % 3 else '00O '}{line}"
        for n, line in enumerate(lines)
    ]
    pd.testing.assert_frame_equal(
        read_build_log(write(tmp_path, "\n".join(stamped))), read_build_log(DATA / "podman.log")
    )


def test_inspect_tells_arguments_and_no_cache(tmp_path):
    """``docker buildx history inspect --format json`` leaves out empty values."""
    shown = {"NumTotalSteps": 3, "BuildArgs": [{"Name": "A", "Value": "1"}, {"Name": "B"}], "Target": "web"}
    for config, no_cache in (({"NoCache": True}, ""), ({"NoCacheFilter": ["a", "b"]}, "a,b"), ({}, None)):
        (facts,) = read_facts(write(tmp_path, shown | {"Config": config}))
        assert facts.build_args == {"A": "1", "B": ""} and facts.attributes.get("no-cache") == no_cache
        assert facts.attributes["target"] == "web"


@pytest.mark.parametrize("name", ["podman.log", "kaniko.log", "bake.plain"])
@pytest.mark.parametrize(
    "wrap",
    [
        "2024-05-15T08:46:10.2058535Z {}",  # GitHub
        "2024-05-15T08:46:10.205853Z 00O {}",  # GitLab
        "[2024-05-15T08:46:10.205Z] {}",  # Jenkins
        "web-1  | {}",  # Compose
    ],
)
def test_wrapped_lines(tmp_path, name, wrap):
    lines = (DATA / name).read_text().split("\n")
    wrapped = read_build_log(write(tmp_path, "\n".join(wrap.format(line).rstrip() for line in lines)))
    pd.testing.assert_frame_equal(wrapped, read_build_log(DATA / name))


def test_the_stages_of_bake_targets_keep_their_edges_and_exports_wait():
    raw, plain = (read_build_log(DATA / name) for name in ("bake.rawjson.gz", "bake.plain"))
    for frame, steps, total in ((raw, 2.858, 3.930), (plain, 2.9, 3.2)):
        critical = frame[critical_steps(frame)]
        assert critical.loc[critical["step"].notna(), "duration"].sum() == pytest.approx(steps, abs=0.001)
        assert critical["duration"].sum() == pytest.approx(total, abs=0.001)
        assert (
            critical["instruction"].tolist()[-2:] == ["export", "unpack"]
            or critical["instruction"].iloc[-1] == "export"
        )
    exports = raw[raw["instruction"] == "export"]
    assert exports["stage"].tolist() == ["worker", "web"] and plain["vertex"].tolist()[:3] == ["1", "2", "3"]


def test_a_log_without_timestamps_is_laid_out_by_its_edges():
    plain = read_build_log(DATA / "bake.plain")
    rows = timed_rows(plain)
    end = dict(zip(rows["name"], rows["start"] + rows["duration"], strict=True))
    start = dict(zip(rows["name"], rows["start"], strict=True))
    assert start["[web stage-1 2/3] COPY --from=build /w/out /out"] == pytest.approx(
        end["[web build 4/4] RUN sleep 1 && echo 1795761638 > out"]
    )
    assert start["[web] exporting to image"] == pytest.approx(end["[web stage-1 3/3] RUN ls /out && sleep 0.3"])
    cost = build_cost(plain)
    assert cost["elapsed"] == pytest.approx(max(end.values())) == pytest.approx(3.2)
    assert cost["seconds"] == pytest.approx(rows["duration"].sum()) == pytest.approx(5.9)
    assert (cost["steps"], cost["cached"]) == (7, 1)
    assert build_cost(read_build_log(DATA / "podman.log"))["elapsed"] is pd.NA


def test_from_counts_in_no_sum(tmp_path):
    path = write(
        tmp_path, "#4 [1/3] FROM a\n#4 DONE 9.0s\n#5 [2/3] RUN one\n#5 DONE 1.5s\n#6 [3/3] RUN two\n#6 DONE 2.0s\n"
    )
    log = read_build_log(path)
    assert build_cost(log).tolist() == [2, 0, 3.5, 3.5] and not critical_steps(log)[0]
    only = build_cost(log[:1])
    assert only["steps"] == 0 and only["seconds"] is pd.NA


def test_a_provenance_is_chosen_by_the_builds_steps(tmp_path):
    """A metadata file of bake has a provenance for each target, one of a multi-platform build for each platform."""
    folder = ROOT / "data/build/explained"
    log, other, own = (
        read_facts(folder / f"{name}.gz")
        for name in ("argument-after.rawjson", "stages-after.provenance.json", "argument-after.provenance.json")
    )
    assert other[0].dockerfile != own[0].dockerfile
    found = merge([log, [*other, *own]])
    assert (found.dockerfile, found.build_args) == (own[0].dockerfile, {"V": "2"})
    assert found.operations.keys() == own[0].operations.keys() | other[0].operations.keys()
    alike = [Facts({"build-arg:A": "1", "target": "x"}), Facts({"build-arg:A": "2", "target": "x"})]
    assert merge([log, alike]).attributes == {"target": "x"}, "nothing tells the two apart"


@pytest.mark.parametrize("name", ["podman.log", "bake.plain", "classic"])
def test_one_of_a_files_builds_can_be_chosen(tmp_path, name):
    text = (
        (DATA / name).read_text()
        if name != "classic"
        else "Step 1/2 : FROM a\nStep 2/2 : RUN x\nSuccessfully built a\n"
    )
    one, two = write(tmp_path, text, "one"), write(tmp_path, text * 2, "two")
    alone = read_build_log(one)
    both = read_build_log(two)
    assert len(both) == 2 * len(alone) and both["vertex"].is_unique
    assert both["vertex"].str.startswith("2.").sum() == len(alone)
    pd.testing.assert_frame_equal(read_build_log(f"{two}#2").drop(columns="vertex"), alone.drop(columns="vertex"))
    with pytest.raises(DockerfileError, match=r"two has 2 builds; choose one, as .*two#1 or .*two#2"):
        explain_build(one, two)
    assert len(explain_build(one, f"{two}#1"))
    with pytest.raises(DockerfileError, match="has no build 3; it has 2, counted from 1"):
        read_build_log(f"{two}#3")


def test_resolving_a_frontend_is_a_task_of_the_builder(tmp_path):
    text = "#2 resolve image config for docker-image://docker.io/docker/dockerfile:1\n#2 DONE 1.2s\n"
    assert read_build_log(write(tmp_path, text))["instruction"].tolist() == ["internal"]


def test_a_docker_without_buildx_says_what_is_missing(tmp_path, monkeypatch):
    docker = tmp_path / "docker"
    docker.write_text(
        "#!/bin/sh\nprintf 'unknown flag: --format\\n\\nUsage:  docker [OPTIONS] COMMAND\\n' >&2\nexit 125\n"
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(DaemonUnavailable, match=r"needs buildx 0\.22 or later$"):
        builds()
