"""The diagnosis of two builds against pairs of real builds, each with one known cause."""

from __future__ import annotations

import contextlib
import gzip
import json
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from imagelab.build.explain import EXPLAIN_COLUMNS, explain_build
from imagelab.build.logs.history import BUILDS_COLUMNS, builds
from imagelab.build.logs.read import read_build_log
from imagelab.cli import main
from imagelab.core.errors import DaemonUnavailable, DockerfileError
from tests.build.cache.test_proof import write
from tests.build.explain_cases import PAIRS, UNKNOWN, Pair

#: What a diagnosis is given: both builds as rawjson or plain logs, as records, or as logs with provenance.
FORMS = {
    "rawjson": ("rawjson",),
    "plain": ("plain",),
    "record": ("dockerbuild",),
    "rawjson and provenance": ("rawjson", "json"),
    "plain and provenance": ("plain", "json"),
}


def cache_options(pair: Pair, home: Path, host: str, second: bool) -> list[str]:
    """The options that export a pair's cache, or import it."""
    name = f"{host}/build-explain:{home.name}"
    if not pair.cache:
        return ["--output=type=cacheonly"]
    if second:
        lost = "-lost" if pair.cache.startswith("lost") else ""
        place = f"local,src={home}/cache{lost}" if "local" in pair.cache else f"registry,ref={name}{lost}"
        return ["--output=type=cacheonly", f"--cache-from=type={place}"]
    if pair.cache == "inline":
        return ["--cache-to=type=inline", f"--output=type=image,name={name},push=true"]
    place = f"local,dest={home}/cache" if "local" in pair.cache else f"registry,ref={name}"
    return ["--output=type=cacheonly", f"--cache-to=type={place},mode=max"]


def build(engine, pair: Pair, root: Path, fresh: str, second: bool, stem: Path, host: str) -> None:
    """One build, saved in each form as ``stem`` with that suffix."""
    case = pair.case
    args = case.args_after if second and case.args_after is not None else case.args
    options = [part for key, value in args.items() for part in ("--build-arg", f"{key}={value}")]
    options += [part for key, value in case.contexts.items() for part in ("--build-context", f"{key}={root / value}")]
    options += [f"--network={case.network_after if second else case.network}", *(pair.options_after if second else ())]
    if pair.base_after:
        base = f"FROM localhost/busybox:static\nRUN echo {second} {fresh} > /etc/base\n"
        tag = f"localhost/build-explain:{fresh}"
        engine.docker("buildx", "build", "-q", "--network=none", "-t", tag, "-", input=base)
    if second and pair.pruned:
        engine.docker("builder", "prune", "-af")
    metadata = stem.with_suffix(".metadata")
    command = ["docker", "buildx", "build", "--progress=rawjson", f"--metadata-file={metadata}"]
    options += cache_options(pair, stem.parent, host, second)
    done = subprocess.run([*command, *options, str(root)], env=engine.env, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-800:]
    stem.with_suffix(".rawjson").write_bytes(done.stderr)
    reference = metadata.read_text().partition('"buildx.build.ref": "')[2].partition('"')[0].rpartition("/")[2]
    history = ["docker", "buildx", "history"]
    for suffix, words in (
        ("plain", ["logs", "--progress=plain", reference]),
        ("json", ["inspect", "attachment", reference, "--type", "https://slsa.dev/provenance/v0.2"]),
    ):
        shown = subprocess.run([*history, *words], env=engine.env, capture_output=True, check=True)
        stem.with_suffix(f".{suffix}").write_bytes(shown.stdout or shown.stderr)
    exported = [*history, "export", "-o", str(stem.with_suffix(".dockerbuild")), reference]
    subprocess.run(exported, env=engine.env, capture_output=True, check=True)


def run(engine, pair: Pair, home: Path, host: str) -> dict[str, pd.DataFrame]:
    """The diagnosis of a pair in every form."""
    fresh = uuid.uuid4().hex
    home.mkdir(parents=True)
    for second, name in ((False, "before"), (True, "after")):
        root = home / f"{name}-{fresh}"
        write(root, pair.case, fresh, second)
        build(engine, pair, root, fresh, second, home / name, host)
    found = {}
    for form, suffixes in FORMS.items():
        sides = [[home / f"{name}.{suffix}" for suffix in suffixes] for name in ("before", "after")]
        found[form] = explain_build(*sides)
    return found


def verdict(pair: Pair, frame: pd.DataFrame) -> str:
    """``right``, ``not known``, or what is wrong."""
    misses = frame[~frame["hit"].fillna(False)]
    first = misses[misses["cause"] != "parent"]
    found = {
        f"{row.stage if isinstance(row.stage, str) else 'stage-0'}:{row.step}": row.cause for row in first.itertuples()
    }
    wrong = {step: cause for step, cause in found.items() if cause not in (UNKNOWN, pair.causes.get(step))}
    if found == pair.causes:
        return "right"
    # a log that does not show which stage another one starts from has more first misses, which are not known
    return UNKNOWN if not wrong and pair.causes.keys() <= found.keys() else f"wrong: {found}, expected {pair.causes}"


def run_all(engine, pairs: list[Pair], home: Path, threads: int = 3, host: str = "") -> dict[str, dict[str, str]]:
    with ThreadPoolExecutor(threads) as pool:
        jobs = {pair.name: pool.submit(run, engine, pair, home / str(n), host) for n, pair in enumerate(pairs)}
        return {
            pair.name: {form: verdict(pair, frame) for form, frame in jobs[pair.name].result().items()}
            for pair in pairs
        }


#: CI runs a part; data/build/record.py runs all of them, with an engine whose cache it may prune.
PART = [pair for pair in PAIRS if not pair.pruned][::4]


@pytest.fixture(scope="module")
def verdicts(modern, tmp_path_factory):
    return run_all(modern, PART, tmp_path_factory.mktemp("pairs"))


@pytest.mark.engine
@pytest.mark.parametrize("pair", PART, ids=lambda pair: pair.name)
def test_the_cause_is_found(verdicts, pair):
    expected = {"rawjson": pair.log_alone, "plain": pair.plain or pair.log_alone}  # records tell every cause
    for form, found in verdicts[pair.name].items():
        allowed = ("right", UNKNOWN) if UNKNOWN in (expected.get(form), *pair.causes.values()) else ("right",)
        assert found in allowed, form


EXPLAINED = Path(__file__).resolve().parents[2] / "data" / "build" / "explained"


def sides(name: str, *suffixes: str) -> list[list[Path]]:
    return [[EXPLAINED / f"{name}-{side}.{suffix}" for suffix in suffixes] for side in ("before", "after")]


def first_misses(frame: pd.DataFrame) -> dict[str, str]:
    rows = frame[frame["cause"].notna() & (frame["cause"] != "parent")]
    return {f"{row.stage}:{row.step}": row.cause for row in rows.itertuples()}


def test_a_log_with_provenance_tells_an_argument_and_a_log_alone_does_not():
    known = explain_build(*sides("argument", "rawjson.gz", "provenance.json.gz"))
    assert first_misses(known) == {"builder:3": "argument", "stage-1:3": "stage result"}
    assert known.loc[known["cause"] == "argument", "detail"].tolist() == ["ARG V changed"]
    assert known.dtypes.astype(str).to_dict() == EXPLAIN_COLUMNS
    alone = explain_build(*sides("argument", "rawjson.gz"))
    assert first_misses(alone) == {"builder:3": "not known", "stage-1:3": "stage result"}
    assert "docker buildx history export" in alone.loc[alone["cause"] == "not known", "detail"].iloc[0]
    assert known["hit"].tolist() == [True, False, True, False, False] and known["cause"].tolist()[4] == "parent"


def test_files_are_the_cause_if_another_step_hits_and_not_known_if_none_does():
    before, after = (read_build_log(paths[0]) for paths in sides("files", "rawjson.gz"))
    frame = explain_build(before, after)
    assert frame.loc[frame["cause"].notna(), "cause"].tolist() == ["context files", "parent"]
    assert frame["critical"].any() and frame["seconds"].sum() > 0
    nothing = after.assign(status=after["status"].replace("cached", "done"), cached=False)
    lost = explain_build(before, nothing)
    assert lost["cause"].tolist()[0] == "no cache" and set(lost["cause"][1:]) == {"parent"}


def test_changed_files_are_named_from_git(tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    revisions = []
    for text in ("1", "2"):
        (tmp_path / "app.py").write_text(text)
        for words in (["init", "-q"], ["add", "app.py"], ["commit", "-qm", text]):
            subprocess.run([*git, *words], check=True)
        revisions.append(subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip())
    files = []
    for revision, paths in zip(revisions, sides("files", "rawjson.gz"), strict=True):
        path = tmp_path / f"{revision}.json"
        path.write_text('{"invocation": {"parameters": {"args": {"vcs:revision": "' + revision + '"}}}}')
        files.append([*paths, path])
    frame = explain_build(*files, repository=tmp_path)
    assert frame["detail"].str.contains("changed in Git: app.py", regex=False).sum() == 1


def test_an_import_that_fails_is_named(tmp_path):
    first = "#1 [1/2] FROM a\n#1 CACHED\n#2 [2/2] RUN x\n#2 DONE 1.0s\n"
    (tmp_path / "a").write_text(first)
    (tmp_path / "b").write_text("#3 importing cache manifest from h/c:1\n#3 ERROR: not found\n" + first)
    frame = explain_build(tmp_path / "a", tmp_path / "b")
    assert frame["cause"].tolist() == ["no cache"]
    assert frame["detail"][0].startswith("importing cache manifest from h/c:1 failed")


def test_what_cannot_be_compared_is_an_error(tmp_path):
    (log, provenance), _ = sides("files", "rawjson.gz", "provenance.json.gz")
    with pytest.raises(DockerfileError, match="has no steps"):
        explain_build(provenance, log)
    (tmp_path / "a").write_text("#1 [1/2] FROM a\n#1 DONE 0.1s\n#2 [2/2] RUN x\n#2 ERROR: failed\n")
    (tmp_path / "b").write_text("#1 [1/2] FROM a\n#1 CACHED\n#2 [2/2] RUN x\n#2 DONE 1.0s\n")
    frame = explain_build(tmp_path / "a", tmp_path / "b")
    assert frame["cause"].tolist() == ["no cache"] and "did not finish" in frame["detail"][0]


def test_the_command_prints_the_causes(capsys, monkeypatch):
    (log, provenance), (log_after, provenance_after) = sides("argument", "rawjson.gz", "provenance.json.gz")
    options = ["--also-before", str(provenance), "--also-after", str(provenance_after), "--json"]
    monkeypatch.setattr("sys.argv", ["imagelab", "why-rebuilt", str(log), str(log_after), *options])
    with contextlib.suppress(SystemExit):
        main()
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert [step["cause"] for step in steps if step["cause"]] == ["argument", "stage result", "parent"]


@pytest.mark.engine
def test_the_engines_history_is_listed_and_read(modern, tmp_path, monkeypatch):
    for name, value in modern.env.items():
        monkeypatch.setenv(name, value)
    fresh = uuid.uuid4().hex
    (tmp_path / "Dockerfile").write_text(f"FROM localhost/busybox:static\nRUN echo {fresh}\n")
    metadata = tmp_path / "metadata.json"
    modern.docker("buildx", "build", "-q", "--network=none", f"--metadata-file={metadata}", str(tmp_path))
    build = json.loads(metadata.read_text())["buildx.build.ref"].rpartition("/")[2]
    history = builds()
    assert history.dtypes.astype(str).to_dict() == BUILDS_COLUMNS
    row = history[history["build"] == build].iloc[0]
    assert (row["status"], row["duration"] > 0) == ("Completed", True)
    steps = read_build_log(f"@{build}")
    assert fresh in steps.loc[steps["instruction"] == "RUN", "arguments"].iloc[0]
    assert explain_build(f"@{build}", f"@{build}")["cause"].dropna().tolist() in ([], ["no cache"])


def test_without_docker_the_history_is_an_error(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DaemonUnavailable, match="give the path of a log or record"):
        builds()


def test_no_cache_can_be_for_some_stages(tmp_path):
    (log, provenance), (log_after, provenance_after) = sides("argument", "rawjson.gz", "provenance.json.gz")
    for stages, cause in (("", "no cache"), ("Builder,x", "no cache"), ("x", "argument")):
        document = json.loads(gzip.decompress(provenance_after.read_bytes()))
        document["invocation"]["parameters"]["args"]["no-cache"] = stages
        (tmp_path / "p.json").write_text(json.dumps(document))
        frame = explain_build([log, provenance], [log_after, tmp_path / "p.json"])
        assert first_misses(frame)["builder:3"] == cause, stages


BAKE = """#1 [worker base 1/2] FROM a
#1 CACHED

#2 [web base 2/2] RUN make web
#2 {0}

#3 [worker base 2/2] RUN make worker
#3 {1}

#4 [worker last 1/3] FROM a
#4 CACHED

#5 [worker last 2/3] COPY f /f
#5 CACHED

#6 [web last 2/3] COPY f /f
#6 {0}

#7 [worker last 3/3] COPY --from=base /x /x
#7 CACHED

#8 [web last 3/3] COPY --from=base /x /x
#8 {0}
"""


def test_the_targets_of_a_bake_are_not_mixed_up(tmp_path):
    """Two targets with stages of the same names: a step is compared with its own target's, and follows its own target's."""
    (tmp_path / "a").write_text(BAKE.format("DONE 1.0s", "DONE 1.0s"))
    (tmp_path / "b").write_text(BAKE.format("DONE 1.0s", "CACHED"))
    frame = explain_build(tmp_path / "a", tmp_path / "b").set_index(["stage", "step"])
    assert frame.loc["web last", "cause"].tolist() == ["context files", "parent"]
    assert frame.loc["worker last", "hit"].all()
    (tmp_path / "b").write_text(BAKE.format("CACHED", "DONE 1.0s").replace("make worker", "make all"))
    frame = explain_build(tmp_path / "a", tmp_path / "b").set_index(["stage", "step"])
    assert frame["cause"].dropna().tolist() == ["not known"]
    assert "the command, or a variable in it, changed" in frame.loc[("worker base", 2), "detail"]


SHARED = """#1 [worker stage-0 1/2] FROM a@sha256:{digest}
#1 CACHED

#2 [web build 2/3] COPY f /f
#2 {0}

#3 [web build 3/3] RUN make
#3 {0}

#4 [worker stage-0 2/2] RUN id
#4 CACHED

#5 [web final 2/2] COPY --from=build /x /x
#5 {0}
"""


def test_the_from_of_another_target_is_the_base_of_a_stage(tmp_path):
    """Equal FROMs of a bake have one row, with the name of one stage."""
    sides = [("a", "DONE 1.0s", "1" * 64), ("b", "DONE 1.0s", "1" * 64), ("c", "DONE 1.0s", "2" * 64)]
    for name, status, digest in sides:
        (tmp_path / name).write_text(SHARED.format(status, digest=digest))
    frame = explain_build(tmp_path / "a", tmp_path / "b").set_index("stage")
    assert frame.loc["web build", "cause"].tolist() == ["context files", "parent"]
    assert frame.loc["web final", "cause"] == "stage result" and frame.loc["worker stage-0", "hit"]
    frame = explain_build(tmp_path / "a", tmp_path / "c").set_index("stage")
    assert frame.loc["web build", "cause"].iloc[0] == "base image"


@pytest.mark.parametrize(("name", "more"), [("podman", "podman history --no-trunc"), ("kaniko", "--verbosity=debug")])
def test_a_cause_that_is_not_known_names_what_the_builder_can_show(tmp_path, name, more):
    log = {
        "podman": "STEP 1/2: FROM a\nSTEP 2/2: RUN make {}\n--> 1\nCOMMIT x\n",
        "kaniko": "INFO[0000] Building stage 'a' [idx: '0', base-idx: '-1']\nINFO[0001] RUN make {}\nINFO[0002] Done\n",
    }[name]
    for side in ("a", "b"):
        (tmp_path / side).write_text(log.format(side))
    frame = explain_build(tmp_path / "a", tmp_path / "b")
    assert frame["cause"].dropna().tolist() == ["not known"] and more in frame["detail"].iloc[-1]
    assert "buildx" not in frame["detail"].iloc[-1]
