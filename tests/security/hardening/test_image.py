"""Hardening of images made here: each rule, passed and failed."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from imagelab.core.errors import ImagelabError, ScanFormatError
from imagelab.core.model import HistoryEntry, Image, Layer
from imagelab.images.load import load_image
from imagelab.security.hardening.check import check_hardening
from imagelab.security.hardening.container_rules import CONTAINER_RULES
from imagelab.security.hardening.files import FILE_RULES
from imagelab.security.hardening.image import CONFIG_RULES, ImageFacts
from imagelab.security.hardening.rules import HARDENING_COLUMNS
from imagelab.size.accepted import read_accepted
from tests.support.images import image_of, layer_tar


def image(config=None, *created_by, **more):
    history = tuple(HistoryEntry(None, line, "buildkit.dockerfile.v0", empty_layer=True) for line in created_by)
    return Image("made:here", "docker", (Layer(None),), history, config={"config": config or {}}, **more)


def results(subject):
    frame = check_hardening(subject)
    assert list(frame.columns) == list(HARDENING_COLUMNS)
    assert frame["evidence"].notna().eq(frame["result"] != "passed").all()
    return frame.set_index("rule")


def result(subject, rule):
    found = results(subject).loc[[rule]]
    return found["result"].iloc[0], " | ".join(found["evidence"].dropna())


@pytest.mark.parametrize(
    ("rule", "config", "steps", "expected", "evidence"),
    [
        ("run as another user than root", {}, [], "failed", "no USER"),
        ("run as another user than root", {"User": "0:0"}, [], "failed", "USER 0:0"),
        ("run as another user than root", {"User": "00"}, [], "failed", "USER 00"),
        ("run as another user than root", {"User": "1000"}, [], "passed", ""),
        ("run as another user than root", {"User": "app:app"}, [], "passed", ""),
        ("health check", {}, [], "failed", "no HEALTHCHECK"),
        ("health check", {"Healthcheck": {"Test": ["NONE"]}}, [], "failed", "NONE"),
        ("health check", {"Healthcheck": {"Test": ["CMD", "true"]}}, [], "passed", ""),
        ("no secrets in config and history", {"Env": ["DB_PASSWORD=hunter2"]}, [], "failed", "config.Env[DB_PASSWORD]"),
        (
            "no secrets in config and history",
            {"Env": ["PATH=/bin"]},
            ["RUN |1 TOKEN=s3cr3t /bin/sh -c x # buildkit"],
            "failed",
            "history[0]",
        ),
        ("no secrets in config and history", {"Env": ["PATH=/bin"]}, ["RUN /bin/sh -c x # buildkit"], "passed", ""),
        ("no ADD from URLs", {}, ["ADD https://example.com/a.tgz /a # buildkit"], "failed", "example.com"),
        ("no ADD from URLs", {}, ["ADD a.tgz /a # buildkit"], "passed", ""),
        ("base pinned by digest", {}, [], "unknown", "does not name"),
        (
            "base pinned by digest",
            {"Labels": {"org.opencontainers.image.base.name": "python:latest"}},
            [],
            "failed",
            "python:latest",
        ),
        ("base pinned by digest", {"Labels": {"org.opencontainers.image.base.digest": "sha256:0"}}, [], "passed", ""),
        ("no sudo", {}, ["RUN /bin/sh -c apt-get install -y sudo # buildkit"], "failed", "sudo"),
        ("no sudo", {}, ["RUN /bin/sh -c cat /etc/sudoers # buildkit"], "passed", ""),
        (
            "no unpinned upgrade",
            {},
            ["RUN /bin/sh -c apt-get update && apt-get -y dist-upgrade # buildkit"],
            "failed",
            "dist-upgrade",
        ),
        ("no unpinned upgrade", {}, ["RUN /bin/sh -c dnf -y update && x # buildkit"], "failed", "dnf"),
        ("no unpinned upgrade", {}, ["RUN /bin/sh -c apk add --no-cache --upgrade curl # buildkit"], "passed", ""),
        ("no update alone", {}, ["RUN /bin/sh -c apt-get update # buildkit"], "failed", "update"),
        ("no update alone", {}, ["RUN /bin/sh -c apt-get update && apt-get install -y x # buildkit"], "passed", ""),
        ("no SSH server", {"ExposedPorts": {"22/tcp": {}}}, [], "failed", "22"),
        ("exec form", {"Entrypoint": ["/bin/sh", "-c", "python app.py"]}, [], "failed", "ENTRYPOINT python app.py"),
        ("exec form", {"Cmd": ["/bin/sh", "-c", "exec python app.py"]}, [], "passed", ""),
        ("exec form", {"Entrypoint": ["python"], "Cmd": ["app.py"]}, [], "passed", ""),
        ("no sensitive volumes", {"Volumes": {"/proc": {}}}, [], "failed", "/proc"),
        ("no sensitive volumes", {"Volumes": {"/var/lib/data": {}}}, [], "passed", ""),
        ("no sensitive volumes", {"Volumes": {"/var/run/docker.sock": {}}}, [], "failed", "docker.sock"),
        (
            "OCI labels",
            {"Labels": {"org.opencontainers.image.title": "x"}},
            [],
            "failed",
            "version, revision, source, licenses",
        ),
    ],
)
def test_config_and_history(rule, config, steps, expected, evidence):
    said, why = result(image(config, *steps), rule)
    assert said == expected and evidence in why


def test_labels_may_be_annotations():
    names = ("title", "version", "revision", "source", "licenses")
    annotations = {f"org.opencontainers.image.{name}": "x" for name in names}
    assert result(image(annotations=annotations), "OCI labels")[0] == "passed"


def test_latest_and_wrong_types():
    assert result(image(tags=("registry:5000/app:latest",)), "no latest tag") == (
        "failed",
        "tag registry:5000/app:latest",
    )
    assert result(image(tags=("registry:5000/app:1",)), "no latest tag")[0] == "passed"
    strange = {
        "User": 5,
        "Healthcheck": [],
        "Env": 3,
        "Labels": [],
        "ExposedPorts": "22",
        "Volumes": None,
        "Entrypoint": "sh",
        "WorkingDir": 1,
    }
    assert len(results(image(strange))) == len(CONFIG_RULES) + len(FILE_RULES)


def test_without_files_the_answer_is_unknown():
    found = results(image({"User": "app", "WorkingDir": "/app"}))
    assert set(found.loc[[rule.name for rule in FILE_RULES], "result"]) == {"unknown"}


def archive(path, config, *layers):
    """A docker save archive of these layers: lists of (name, type, mode, uid, content)."""
    members, names = {}, []
    for n, entries in enumerate(layers):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name, kind, mode, uid, content in entries:
                entry = tarfile.TarInfo(name)
                entry.type, entry.mode, entry.uid, entry.size = kind, mode, uid, len(content)
                tar.addfile(entry, io.BytesIO(content))
        names.append(f"layer{n}.tar")
        members[names[-1]] = buffer.getvalue()
    import hashlib

    diff_ids = ["sha256:" + hashlib.sha256(members[name]).hexdigest() for name in names]
    history = [
        {"created_by": f"COPY layer{n} / # buildkit", "comment": "buildkit.dockerfile.v0"} for n in range(len(layers))
    ]
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": history,
    }
    members["config.json"] = json.dumps(document).encode()
    members["manifest.json"] = json.dumps(
        [{"Config": "config.json", "RepoTags": ["made:here"], "Layers": names}]
    ).encode()
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return load_image(f"docker-archive:{path}")


F, D = tarfile.REGTYPE, tarfile.DIRTYPE


def test_files(tmp_path):
    first = [
        ("etc/passwd", F, 0o644, 0, b"root:x:0:0::/:/bin/sh\napp:x:1000:1000::/app:/bin/sh\n"),
        ("usr/bin/su", F, 0o4755, 0, b"x"),
        ("bin/sh", F, 0o755, 0, b"x"),
        ("usr/bin/dpkg", F, 0o755, 0, b"x"),
        ("tmp", D, 0o1777, 0, b""),
        ("shared", D, 0o777, 0, b""),
        ("root/.ssh/id_rsa", F, 0o600, 0, b"x"),
        ("app/.git", D, 0o755, 0, b""),
        ("app/.git/HEAD", F, 0o644, 0, b"x"),
        ("app/main.py", F, 0o644, 1000, b"x"),
        ("app/lib.py", F, 0o644, 0, b"x"),
        ("usr/lib/python3/site-packages/x/.env", F, 0o644, 0, b"x"),
        ("app/.env.example", F, 0o644, 0, b"x"),
    ]
    second = [("root/.ssh/.wh.id_rsa", F, 0o644, 0, b""), ("app/server.key", F, 0o600, 0, b"x")]
    found = results(archive(tmp_path / "a.tar", {"User": "app", "WorkingDir": "/app"}, first, second))
    assert found.loc["run as another user than root", "result"] == "passed"
    assert found.loc["no setuid and setgid files", "evidence"] == "/usr/bin/su (4755)"
    assert found.loc["nothing world-writable", "evidence"] == "/shared (0777)"
    keys = found.loc[["no keys and credential files"]]
    assert list(keys["evidence"]) == ["/app/server.key", "/root/.ssh/id_rsa, deleted later, still stored in layer 0"]
    assert list(keys["layer_index"]) == [1, 0]
    assert found.loc["no .git", "evidence"] == "/app/.git" and found.loc["no shell", "evidence"] == "/bin/sh"
    assert found.loc["no package manager", "evidence"] == "/usr/bin/dpkg"
    assert (
        found.loc["application not writable", "evidence"]
        == "/app: uid 1000 can write 1 of 5 files, such as /app/main.py"
    )


def test_without_workdir_the_command_names_the_application(tmp_path):
    files = [("app/src/main.py", F, 0o644, 1000, b"x"), ("usr/bin/python3", F, 0o755, 0, b"x")]
    config = {"User": "1000", "Cmd": ["/usr/bin/python3", "/app/src/main.py"]}
    assert result(archive(tmp_path / "a.tar", config, files), "application not writable") == (
        "failed",
        "/app/src: uid 1000 can write 1 of 1 files, such as /app/src/main.py",
    )
    assert result(archive(tmp_path / "b.tar", {"Cmd": ["sh"]}, files), "application not writable")[0] == "unknown"


def test_a_name_for_uid_0_is_root(tmp_path):
    passwd = [("etc/passwd", F, 0o644, 0, b"toor:x:0:0::/:/bin/sh\n")]
    assert result(archive(tmp_path / "a.tar", {"User": "toor"}, passwd), "run as another user than root")[0] == "failed"


def test_a_distroless_image_passes_what_it_claims(tmp_path):
    found = results(
        archive(tmp_path / "a.tar", {"User": "65532", "WorkingDir": "/app"}, [("app/x", F, 0o755, 0, b"x")])
    )
    assert set(found.loc[[rule.name for rule in FILE_RULES], "result"]) == {"passed"}


def test_every_rule_says_what_to_do():
    for rule in (*CONFIG_RULES, *FILE_RULES, *CONTAINER_RULES):
        assert rule.advice and rule.name
    names = [rule.name for rule in (*CONFIG_RULES, *FILE_RULES)]
    assert len(names) == len(set(names))


def test_hostile_names_stay_text(tmp_path):
    found = results(archive(tmp_path / "a.tar", {}, [("app/<script>/id_rsa", F, 0o4777, 0, b"x")]))
    assert pd.api.types.is_string_dtype(found["evidence"])
    with pytest.raises(ImagelabError):
        check_hardening("no/such/archive.tar")


@pytest.mark.parametrize("user", ["²", "9" * 5000, "٣", "1" * 11])
def test_odd_users_are_names(user):
    assert result(image({"User": user}), "run as another user than root")[0] == "passed"


def test_a_named_group_is_not_the_user_s_own():
    facts = ImageFacts(image({"User": "app:staff"}))
    facts.accounts = lambda: {"app": (1000, 1000)}
    assert facts.run_as == (1000, None)
    facts = ImageFacts(image({"User": "app"}))
    facts.accounts = lambda: {"app": (1000, 1000)}
    assert facts.run_as == (1000, 1000)


def test_labels_that_are_no_text_say_nothing():
    labels = {"org.opencontainers.image.base.name": 5, "org.opencontainers.image.title": ["x"]}
    assert result(image({"Labels": labels}), "base pinned by digest")[0] == "unknown"


def test_it_takes_one_subject():
    for wrong in ([], [image(), image()]):
        with pytest.raises(ImagelabError, match="was given"):
            check_hardening(wrong)
    with pytest.raises(ImagelabError, match="docker inspect CONTAINER"):
        check_hardening([{"Id": "x"}])


def test_accounts(tmp_path):
    passwd = b"root:x:0:0::/:/bin/sh\na:x:7:7::/:\nb:x:7:8::/:\n"
    shadow = b"root:*:1::::::\na::1::::::\n"
    accounts = [("etc/passwd", F, 0o644, 0, passwd), ("etc/shadow", F, 0o640, 0, shadow)]
    found = results(archive(tmp_path / "a.tar", {}, accounts))
    assert found.loc["no empty passwords", "evidence"] == "a has an empty password in /etc/shadow"
    assert found.loc["no duplicate ids", "evidence"] == "/etc/passwd: several entries have the id 7"


def test_the_bases_files_are_one_row(tmp_path):
    stock = [(f"usr/bin/{name}", F, 0o4755, 0, b"x") for name in ("su", "mount", "passwd")]
    base = archive(tmp_path / "base.tar", {}, stock)
    image = archive(
        tmp_path / "image.tar", {}, stock, [("app/tool", F, 0o4755, 0, b"x"), ("app/other", F, 0o4755, 0, b"x")]
    )
    found = check_hardening(image, base=base)
    rows = found[found["rule"] == "no setuid and setgid files"]
    assert rows["evidence"].tolist() == ["/app/other (4755)", "/app/tool (4755)",
                                         "3 in the base image, such as /usr/bin/mount (4755)"]  # fmt: skip
    assert rows["origin"].tolist() == ["own", "own", "base"]
    failed = found[found["result"] == "failed"]
    assert failed["severity"].is_monotonic_decreasing and found["result"].iloc[0] == "failed"


def test_accepted_findings_do_not_fail(tmp_path):
    file = tmp_path / "accepted.toml"
    file.write_text(
        '[[accept]]\ncheck = "health check"\nreason = "the platform asks"\n'
        '[[accept]]\ncheck = "OCI labels"\nreason = "old"\nexpires = 2020-01-01\n'
        '[[accept]]\ncheck = "no keys and credential files"\npath = "/app/tests/**"\nreason = "test keys"\n'
        '[[accept]]\nid = "CVE-1"\nreason = "of a scan"\n[[accept]]\nrule = "documentation"\nreason = "of advise"\n'
    )
    tar = layer_tar([(b"app/tests/x.key", "file", b"k"), (b"app/server.key", "file", b"k")])
    frame = check_hardening(image_of([tar]), ignore=file).set_index("rule")
    assert frame.loc["health check", ["result", "accepted"]].tolist() == ["accepted", "the platform asks"]
    assert frame.loc["OCI labels", "result"] == "failed"
    keys = frame.loc[["no keys and credential files"]].set_index("evidence")["result"].to_dict()
    assert keys == {"/app/server.key": "failed", "/app/tests/x.key": "accepted"}
    assert len(read_accepted(file)) == 1
    file.write_text('[[accept]]\ncheck = "helth check"\nreason = "x"\n')
    with pytest.raises(ScanFormatError, match="health check"):
        check_hardening(image_of([tar]), ignore=file)
    file.write_text('[[accept]]\ncheck = "health check"\nid = "CVE-1"\nreason = "x"\n')
    with pytest.raises(ScanFormatError, match="it needs check and reason"):
        check_hardening(image_of([tar]), ignore=file)


def test_provenance_is_attached():
    attested = Path(__file__).resolve().parents[2] / "data/images/provenance-max.oci.tar"
    assert result(load_image(attested), "provenance attached")[0] == "passed"
    assert result(load_image(attested), "SBOM attached") == ("failed", "no SBOM is attached")
    assert result(image(), "provenance attached") == ("failed", "no provenance is attached")
    assert result(replace(image(), transport="snapshot"), "provenance attached")[0] == "unknown"


@pytest.mark.parametrize("kind", ["https://spdx.dev/Document", "https://cyclonedx.org/bom/v1.6"])
def test_sbom_is_attached(tmp_path, kind):
    """As ``docker buildx build --sbom=true`` attaches it: another layer of the attestation manifest."""
    with tarfile.open(Path(__file__).resolve().parents[2] / "data/images/provenance-min.oci.tar") as tar:
        tar.extractall(tmp_path, filter="data")
    blobs = tmp_path / "blobs/sha256"
    field = '"in-toto.io/predicate-type": "'
    old, new = f"{field}https://slsa.dev/provenance/v0.2", field + kind
    while holder := next((blob for blob in blobs.iterdir() if old.encode() in blob.read_bytes()), None):
        changed = holder.read_bytes().replace(old.encode(), new.encode())
        old, new = holder.name, hashlib.sha256(changed).hexdigest()
        holder.unlink()
        (blobs / new).write_bytes(changed)
    index = tmp_path / "index.json"
    index.write_text(index.read_text().replace(old, new))
    assert result(load_image(f"oci:{tmp_path}"), "SBOM attached")[0] == "passed"
    assert result(load_image(f"oci:{tmp_path}"), "provenance attached")[0] == "failed"


def test_the_base_is_compared_with_the_engines(monkeypatch):
    old, new = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    labels = {"org.opencontainers.image.base.name": "example/base:1", "org.opencontainers.image.base.digest": old}
    made = image({"Labels": labels})
    for digest, expected in ((old, "passed"), (new, "failed")):
        now = replace(image(), manifest_digest=digest)
        monkeypatch.setattr("imagelab.security.hardening.image.load_image", lambda name, now=now: now)
        assert result(made, "base up to date")[0] == expected
    assert result(image(), "base up to date")[0] == "unknown"


@pytest.mark.parametrize("name", ["-", "docker://127.0.0.1:1/x", "oci-archive:/etc/hostname"])
def test_a_label_cannot_make_the_check_read_another_source(monkeypatch, name):
    opened = []
    monkeypatch.setattr("imagelab.security.hardening.image.load_image", lambda name: opened.append(name) or image())
    labels = {"org.opencontainers.image.base.name": name, "org.opencontainers.image.base.digest": "sha256:" + "1" * 64}
    result(image({"Labels": labels}), "base up to date")
    assert opened == [f"docker-daemon:{name}"]
