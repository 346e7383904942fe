"""References in their parts: transports, paths and names, with every spelling of Docker Hub as one name."""

from __future__ import annotations

import pytest

from imagelab.core.references import looks_like_path, parse_image_name, parse_reference, repository_and_tag

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("busybox", ("docker.io", "library/busybox", "latest")),
        ("busybox:1.36", ("docker.io", "library/busybox", "1.36")),
        ("docker.io/busybox", ("docker.io", "library/busybox", "latest")),
        ("index.docker.io/a/b:c", ("docker.io", "a/b", "c")),
        ("someone/app", ("docker.io", "someone/app", "latest")),
        ("localhost/app:v1", ("localhost", "app", "v1")),
        ("[::1]:5000/a/b", ("[::1]:5000", "a/b", "latest")),
        (f"h:5000/a/b/c:v@{DIGEST}", ("h:5000", "a/b/c", DIGEST)),
        (f"busybox@{DIGEST}", ("docker.io", "library/busybox", DIGEST)),
    ],
)
def test_names_are_read_as_docker_reads_them(written, parts):
    name = parse_image_name(written)
    assert (name.host, name.repository, name.target) == parts


@pytest.mark.parametrize(
    "written", ["", "UPPER", "a:b:c", "h.io/a/../b", "h.io//a", "a?x=1", "h.io:99x/a", "a\n", DIGEST]
)
def test_invalid_names_are_none(written):
    assert parse_image_name(written) is None


@pytest.mark.parametrize(
    "written",
    [
        "busybox",
        "busybox:latest",
        "docker.io/busybox",
        "docker.io/library/busybox",
        "index.docker.io/library/busybox:latest",
    ],
)
def test_every_spelling_of_a_docker_hub_name_is_equal(written):
    name = parse_image_name(written)
    assert (name.familiar, name.target) == ("busybox", "latest")


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("docker-archive:/tmp/v1.tar:app:v1", ("docker-archive", "/tmp/v1.tar", "app:v1")),
        ("docker-archive://v1.tar", ("docker-archive", "v1.tar", None)),  # as dive writes it
        ("docker-archive:///tmp/v1.tar:@1", ("docker-archive", "/tmp/v1.tar", "@1")),
        ("oci-archive:x.tar:sha256:12", ("oci-archive", "x.tar", "sha256:12")),
        ("snapshot:a:b.parquet", ("snapshot", "a:b.parquet", None)),
        ("dir:/tmp/x:y", ("dir", "/tmp/x:y", None)),
        ("docker://h:5000/a:v1", ("docker", None, "h:5000/a:v1")),
        ("docker-daemon:app:v1", ("docker-daemon", None, "app:v1")),
        ("docker:24", (None, None, "docker:24")),  # an image called docker
        ("h:5000/a:v1", (None, None, "h:5000/a:v1")),
        ("./x.tar:app", (None, "./x.tar", "app")),
        ("-", (None, "-", None)),
    ],
)
def test_references_are_split_into_parts(reference, parts):
    assert parse_reference(reference) == parts


def test_the_longest_existing_prefix_is_the_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b.tar").touch()
    (tmp_path / "folder").mkdir()
    assert parse_reference("docker-archive:a:b.tar:app:v1") == ("docker-archive", "a:b.tar", "app:v1")
    assert parse_reference("a:b.tar") == (None, "a:b.tar", None)
    assert not looks_like_path("folder") and looks_like_path(str(tmp_path / "folder"))
    (tmp_path / "folder" / "index.json").touch()
    assert parse_reference("folder:v1") == (None, "folder", "v1")


@pytest.mark.parametrize(
    ("reference", "repository", "tag"),
    [
        ("my-app:v2", "my-app", "v2"),
        ("python:latest", "python", "latest"),
        ("docker-daemon:app", "app", None),
        ("docker-daemon:docker.io/library/app:1", "app", "1"),
        ("localhost:5000/team/app", "localhost:5000/team/app", None),
        ("docker://h:5000/a/b:v1@sha256:0", "h:5000/a/b", "v1"),
        ("docker-archive:/tmp/v1.tar:app:v1", "app", "v1"),
        ("docker-archive:/tmp/v1.tar", "/tmp/v1.tar", None),
        ("oci:/tmp/layout:v1", "/tmp/layout", "v1"),
        ("snapshot:/tmp/x.parquet", "/tmp/x.parquet", None),
        (DIGEST, DIGEST, None),
    ],
)
def test_repository_and_tag(reference, repository, tag):
    assert repository_and_tag(reference) == (repository, tag)
