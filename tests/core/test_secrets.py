"""Fifty secrets in every place of an image; none may come out anywhere."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import random
import re
import string
import subprocess
import sys
import tarfile

import pandas as pd
import pyarrow.parquet as pq
import pytest

import imagelab as il
from imagelab.build.dockerfile.read import read_dockerfile
from imagelab.build.logs.read import read_build_log
from imagelab.images.tables.history import history
from imagelab.report.run import report
from imagelab.security.hardening.check import check_hardening
from imagelab.security.scans.reader import read_scan

_random = random.Random(50)


def token(length=20, alphabet=string.ascii_letters + string.digits):
    return "".join(_random.choices(alphabet, k=length - 2)) + "7q"


NAMES = (
    "DATABASE_PASSWORD",
    "API_TOKEN",
    "clientSecret",
    "AWS_SECRET_ACCESS_KEY",
    "app.private-key",
    "STRIPE_API_KEY",
    "JWT_SECRET",
    "smtp_passwd",
    "SLACK_TOKEN",
    "ENCRYPTION_KEY",
)
#: Templates of one secret each, by the place they are planted in.
ENV = [
    *(f"{name}={{}}" for name in NAMES),
    "DATABASE_URL=postgres://app:{}@db:5432/app",
    "PIP_INDEX_URL=https://__token__:{}@pypi.example/simple",
    "REPO=https://{}@git.example/x.git",
]
BUILDKIT = [
    "RUN |2 NPM_TOKEN={} MODE=x /bin/sh -c npm ci # buildkit",
    "RUN |1 DB_PASSWORD={} with spaces /bin/sh -c make # buildkit",
    "RUN /bin/sh -c export AUTH_TOKEN={} && make # buildkit",
    "RUN /bin/sh -c curl -H 'Authorization: Bearer {}' https://example.com # buildkit",
    'RUN /bin/sh -c curl -H "X-Api-Key: {}" https://example.com # buildkit',
    "RUN /bin/sh -c curl -fsSL -u deploy:{} https://example.com # buildkit",
    "RUN /bin/sh -c git clone https://oauth2:{}@git.example/x.git # buildkit",
    "RUN /bin/sh -c tool login --password {} --user me # buildkit",
    "RUN /bin/sh -c tool login --token='{}' # buildkit",
    "RUN /bin/sh -c echo 'root:{}' | chpasswd # buildkit",
    "RUN /bin/sh -c mysql -uroot -p{} -e 'select 1' # buildkit",
    "RUN /bin/sh -c sshpass -p {} ssh host # buildkit",
    "RUN /bin/sh -c printf '//npm.example/:_authToken={}' > .npmrc # buildkit",
    "ENV SECRET_KEY={}",
    "ENV A=b ADMIN_PASSWORD={} C=d",
    "ARG GITHUB_TOKEN={}",
    "LABEL com.example.password={}",
    'CMD ["serve" "--api-key" "{}"]',
    'ENTRYPOINT ["serve" "--api-key={}"]',
    "HEALTHCHECK CMD curl -u health:{} http://localhost",
]
CLASSIC = [
    "/bin/sh -c #(nop)  ENV DB_PASSWORD={}",
    "/bin/sh -c #(nop)  ARG BUILD_SECRET={}",
    "|1 HF_TOKEN={} /bin/sh -c make",
    "/bin/sh -c wget --password={} https://example.com/x",
    "/bin/sh -c redis-cli -a {} ping",
]
KNOWN = [
    "ghp_" + token(36),
    "glpat-" + token(20),
    "AKIA" + token(16, string.ascii_uppercase + "234567")[:14] + "QA",
    "npm_" + token(36),
    "hf_" + token(34),
    "xoxb-1234567890-" + token(24),
]


class Planted:
    """Fills the templates and remembers what was planted."""

    def __init__(self):
        self.secrets = []

    def __call__(self, template, secret=None):
        self.secrets.append(secret or token())
        return template.replace("{}", self.secrets[-1])


@pytest.fixture(scope="module")
def planted():
    return Planted()


@pytest.fixture(scope="module")
def archive(planted, tmp_path_factory):
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tarfile.TarInfo("app/main.py")
        entry.size = 1
        tar.addfile(entry, io.BytesIO(b"x"))
    plain = layer.getvalue()
    history = [
        {
            "created_by": "COPY . /app # buildkit",
            "comment": planted("token={}"),
            "author": planted("me <https://me:{}@x.example>"),
        }
    ]
    history += [
        {"created_by": planted(line), "comment": "buildkit.dockerfile.v0", "empty_layer": True} for line in BUILDKIT
    ]
    history += [{"created_by": planted(line), "empty_layer": True} for line in CLASSIC]
    history += [
        {"created_by": planted("RUN /bin/sh -c use {} # buildkit", secret), "empty_layer": True} for secret in KNOWN
    ]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Env": ["PATH=/bin", *(planted(line) for line in ENV)],
            "Cmd": ["serve", "--password", planted("{}")],
            "Entrypoint": ["/bin/sh", "-c", planted("TOKEN={} exec serve")],
            "Labels": {"secret": planted("{}"), "url": planted("https://a:{}@x.example")},
            "Healthcheck": {"Test": ["CMD-SHELL", planted("curl -u h:{} http://localhost")]},
            "OnBuild": [planted("ENV BUILD_TOKEN={}")],
        },
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(plain).hexdigest()]},
        "history": history,
    }
    members = {
        "config.json": json.dumps(config).encode(),
        "layer.tar": plain,
        "manifest.json": json.dumps(
            [{"Config": "config.json", "RepoTags": ["planted:1"], "Layers": ["layer.tar"]}]
        ).encode(),
    }
    path = tmp_path_factory.mktemp("planted") / "planted.tar"
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    assert len(planted.secrets) >= 50
    return path


@pytest.fixture(scope="module")
def image(archive):
    return il.load_image(f"docker-archive:{archive}")


def shown(text, planted):
    return [secret for secret in planted.secrets if secret in text]


def test_each_secret_is_recorded(image, planted, archive):
    assert len(image.redactions) >= len(planted.secrets)
    whole = il.load_image(f"docker-archive:{archive}", redact=False)
    everything = json.dumps(whole.config) + repr(whole.history)
    assert shown(everything, planted) == planted.secrets and whole.redactions == ()
    assert whole.image_id == image.image_id


def test_no_secret_in_the_image_or_its_pickle(image, planted):
    assert not shown(repr(image) + json.dumps(image.config) + repr(image.history) + repr(image.redactions), planted)
    assert not shown(pickle.dumps(image).decode("latin-1"), planted)


@pytest.mark.parametrize("verb", ["history", "layers", "settings", "files", "squash", "packages"])
def test_no_secret_in_any_table(image, planted, verb):
    frame = getattr(il, verb)(image)
    assert not shown(frame.to_csv() + repr(frame) + frame.to_json(date_format="iso"), planted)


@pytest.mark.parametrize("verb", ["waste", "efficiency", "dive_efficiency", "advise"])
def test_no_secret_in_any_analysis(image, planted, verb):
    made = getattr(il, verb)(image)
    assert not shown(made.to_csv() if isinstance(made, pd.DataFrame | pd.Series) else repr(made), planted)


def test_hardening_names_the_places_not_the_values(image, planted):
    frame = check_hardening(image)
    found = frame[frame["rule"] == "no secrets in config and history"]
    assert len(found) > 40 and set(found["result"]) == {"failed"}
    assert not shown(frame.to_csv(), planted)


def test_no_secret_in_a_snapshot(image, planted, tmp_path):
    path = il.save_snapshot(image, tmp_path / "planted.parquet")
    table = pq.read_table(path)
    metadata = b"".join(key + value for key, value in (table.schema.metadata or {}).items()).decode("utf-8", "replace")
    assert not shown(path.read_bytes().decode("latin-1") + metadata + table.to_pandas().to_csv(), planted)
    assert not shown(repr(history(il.load_image(f"snapshot:{path}")).to_csv()), planted)


def test_no_secret_in_a_report(image, planted, archive, tmp_path):
    path = report([f"docker-archive:{archive}"], tmp_path / "report.html")
    assert not shown(path.read_text("utf-8"), planted)


@pytest.mark.parametrize(
    "arguments", [["show"], ["waste"], ["advise"], ["check"], ["harden"], ["harden", "--json"], ["show", "--json"]]
)
def test_no_secret_in_the_output_of_the_command_line(planted, archive, arguments):
    verb, *options = arguments
    command = [
        sys.executable,
        "-c",
        "from imagelab.cli import main; main()",
        verb,
        f"docker-archive:{archive}",
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert not shown(done.stdout + done.stderr, planted)


def test_no_secret_in_a_build_log(planted, tmp_path):
    log = ["#1 [internal] load build definition from Dockerfile", "#1 DONE 0.0s"]
    for n, line in enumerate(BUILDKIT[2:13], 2):
        command = planted(re.sub(r"^RUN /bin/sh -c (.*) # buildkit$", r"RUN \1", line))
        log += [f"#{n} [{n}/13] {command}", f"#{n} 0.1 {planted('password={}')}", f"#{n} DONE 0.1s"]
    path = tmp_path / "build.log"
    path.write_text("\n".join(log))
    frame = read_build_log(path)
    assert len(frame) >= 11
    assert not shown(frame.to_csv() + repr(frame.attrs), planted)


def test_no_secret_in_a_dockerfile(planted, tmp_path):
    lines = ["FROM scratch", *(planted(re.sub(r" # buildkit$|/bin/sh -c ", "", line)) for line in BUILDKIT[2:17])]
    read = read_dockerfile("\n".join(lines) + "\n")
    assert not shown(read.instructions.to_csv() + read.stages.to_csv() + read.graph.to_csv(), planted)


def test_no_secret_in_a_scan(planted, tmp_path):
    secrets = [
        {"RuleID": f"r{n}", "Severity": "HIGH", "Title": planted(line), "Match": planted("{}")}
        for n, line in enumerate(BUILDKIT[2:17])
    ]
    path = tmp_path / "scan.json"
    path.write_text(
        json.dumps(
            {
                "SchemaVersion": 2,
                "ArtifactName": "x",
                "Results": [{"Target": planted("https://a:{}@x.example"), "Secrets": secrets}],
            }
        )
    )
    scan = read_scan(path)
    assert len(scan) == 15 and not shown(scan.to_csv() + repr(scan.attrs), planted)
