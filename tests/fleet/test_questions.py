"""Questions over a fleet of known images, against what pandas says of the images themselves."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

import imagelab as il
from imagelab.charts.fleet import base_map, similarity_heatmap
from imagelab.core.errors import ImagelabError
from imagelab.fleet.index import index_images
from imagelab.fleet.query import query_fleet
from imagelab.fleet.questions import FINDINGS_BY_BASE, QUESTIONS
from tests.support.fleets import Member, write_fleet

PATTERN = {"where": "*ssl*", "files": "*", "packages": "*"}


@pytest.fixture(scope="module")
def members():
    base = [("debian-0", {"/etc/os": 100, "/lib/libssl.so.3": 40})]
    old = [("debian-9", {"/etc/os": 90, "/lib/libssl.so.3": 41})]
    status = "Package: openssl\nVersion: {}\nStatus: install ok installed\n\n"
    return [
        Member("h.io/debian:12", base, created="2026-01-01", packages=status.format("3.0.11")),
        Member("h.io/app:v1", [*base, ("one", {"/srv/a": 10, "/srv/log4j-core.jar": 7})], created="2026-02-01"),
        Member("h.io/app:v2", [*base, ("two", {"/srv/a": 15, "/srv/log4j-core.jar": 7})], created="2026-03-01"),
        Member("h.io/tool:v1", [*old, ("one", {"/srv/a": 10, "/srv/log4j-core.jar": 7}), ("three", {"/etc/os": 5})],
               created="2026-02-15", packages=status.format("3.0.9"), base_name="docker.io/debian:11", base_layers=1),
        Member("h.io/nul:v1", [("empty", {}), ("empty", {})], created="2026-02-15"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def folder(members, tmp_path_factory):
    return write_fleet(members, tmp_path_factory.mktemp("fleet"))


@pytest.mark.parametrize("question", QUESTIONS)
def test_answers_keep_their_contract_also_when_empty(question, folder):
    columns = QUESTIONS[question].columns
    answer = query_fleet(folder, question, PATTERN.get(question))
    assert answer.dtypes.astype(str).to_dict() == columns
    if QUESTIONS[question].pattern:
        none = query_fleet(folder, question, "no such thing")
        assert none.empty and none.dtypes.astype(str).to_dict() == columns


def test_storage_is_the_sum_of_distinct_layers(members, folder):
    layers = {name: sum(files.values()) for member in members for name, files in member.layers}
    answer = query_fleet(folder, "storage").iloc[0]
    total = sum(layers[name] for member in members for name in {name for name, _ in member.layers})
    assert (answer["images"], answer["layers"], answer["measure"]) == (5, len(layers), "size")
    assert (answer["sum_of_images"], answer["stored"]) == (total, sum(layers.values()))
    assert answer["shared"] == total - sum(layers.values())


def test_sharing_splits_each_image_into_shared_and_its_own(folder):
    answer = query_fleet(folder, "sharing").set_index("reference")
    assert (answer["shared"] + answer["unique"] == answer["total"]).all()
    assert answer.loc["h.io/app:v1", ["total", "shared", "unique"]].tolist() == [157, 157, 0]
    assert answer.loc["h.io/app:v2", "unique"] == 22 and answer.loc["h.io/nul:v1", "total"] == 0
    assert answer.loc["h.io/app:v1", "base"] == "h.io/debian:12"


def test_similarity_is_symmetric_and_a_share_of_the_union(folder):
    answer = query_fleet(folder, "similarity")
    table = answer.pivot(index="reference", columns="other", values="similarity").fillna(0).astype(float)
    assert np.allclose(table, table.T) and table.to_numpy().max() <= 1
    assert table.loc["h.io/app:v1", "h.io/app:v2"] == pytest.approx(140 / (157 + 162 - 140))
    assert table.loc["h.io/app:v1", "h.io/tool:v1"] == pytest.approx(17 / (157 + 153 - 17))


def test_the_same_file_in_several_layers(folder):
    answer = query_fleet(folder, "files").set_index("path")
    assert list(answer.index) == ["/srv/log4j-core.jar"]  # /srv/a and /etc/os have other sizes
    assert answer.loc["/srv/log4j-core.jar", ["size", "images", "layers", "extra_bytes"]].tolist() == [7, 3, 2, 7]
    assert set(query_fleet(folder, "files", "/lib/*")["size"]) == {40, 41}


def test_where_is_log4j(folder):
    answer = query_fleet(folder, "where", "log4j")
    pd.testing.assert_frame_equal(answer, query_fleet(folder, "where", "log4j*"))
    assert set(answer["reference"]) == {"h.io/app:v1", "h.io/app:v2", "h.io/tool:v1"}
    assert set(answer["manager"]) == {"file"} and set(answer["package"]) == {"/srv/log4j-core.jar"}
    packages = query_fleet(folder, "where", "openssl", "3.0.9")
    assert list(packages["reference"]) == ["h.io/tool:v1"] and packages["from_base"].tolist() == [True]
    assert list(query_fleet(folder, "packages", "open*")["images"]) == [1, 1]


def test_bases_by_prefix_label_and_shape_and_the_saving_of_one_base(folder):
    answer = query_fleet(folder, "bases").set_index("base")
    assert answer.loc["h.io/debian:12", "images"] == 2 and answer.loc["h.io/debian:12", "base_rule"] == "prefix"
    assert answer.loc["docker.io/debian:11", "base_rule"] == "label"
    assert answer.loc["h.io/debian:12", ["size", "saving"]].tolist() == [140, 131]
    assert answer.loc["docker.io/debian:11", ["size", "saving"]].tolist() == [131, 140]
    assert answer.loc["h.io/debian:12", "created"] == pd.Timestamp("2026-01-01", tz="UTC")
    assert answer["age_days"].dropna().ge(0).all()


def test_equal_bases_get_one_stable_name(tmp_path):
    base, own = [("debian-0", {"/etc/os": 100})], [("one", {"/srv/a": 10})]
    names = [f"h.io/debian:{tag}" for tag in "dbeca"]
    write_fleet([*(Member(name, base) for name in names), Member("h.io/app:v1", base + own)], tmp_path / "fleet")
    assert set(query_fleet(tmp_path / "fleet", "bases").query("base_rule == 'prefix'")["base"]) == {max(names)}


def test_growth_follows_the_tags_over_time(folder):
    answer = query_fleet(folder, "growth")
    app = answer[answer["repository"] == "h.io/app"]
    assert list(app["tag"]) == ["v1", "v2"] and app["growth"].tolist() == [pd.NA, 5]


def test_waste_by_instruction(folder):
    answer = query_fleet(folder, "waste")
    assert answer[["instruction", "reason", "images", "copies", "bytes"]].to_numpy().tolist() == [
        ["COPY", "overwritten", 1, 1, 90]
    ]


def test_findings_by_base(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "fleet")
    images = query_fleet(folder, "sharing").set_index("reference")["image"]

    def report(*ids):
        found = [
            {
                "VulnerabilityID": i,
                "PkgName": "openssl",
                "InstalledVersion": "1",
                "Severity": severity,
                "FixedVersion": fixed,
            }
            for i, severity, fixed in ids
        ]
        results = [{"Target": "t", "Class": "os-pkgs", "Type": "debian", "Vulnerabilities": found}]
        return json.dumps(
            {"SchemaVersion": 2, "ArtifactName": "a", "ArtifactType": "container_image", "Results": results}
        )

    one = report(("CVE-2026-1", "CRITICAL", "2"), ("CVE-2026-2", "HIGH", ""))
    for reference, text in (
        ("h.io/app:v1", one),
        ("h.io/app:v2", one),
        ("h.io/tool:v1", report(("CVE-2026-3", "LOW", ""))),
    ):
        (tmp_path / "fleet" / f"{images[reference]}.trivy.json").write_text(text)
    answer = query_fleet(tmp_path / "fleet", "findings")
    assert answer.dtypes.astype(str).to_dict() == FINDINGS_BY_BASE
    assert answer.to_numpy().tolist() == [["h.io/debian:12", 2, 2, 1, 1, 1], ["docker.io/debian:11", 1, 1, 0, 0, 0]]
    assert query_fleet(folder, "findings").empty


def test_questions_without_data_are_refused(folder, tmp_path):
    with pytest.raises(ImagelabError, match=r"unknown question 'sise'; expected one of storage"):
        query_fleet(folder, "sise")
    with pytest.raises(ImagelabError, match="takes no pattern"):
        query_fleet(folder, "storage", "x")
    with pytest.raises(ImagelabError, match="where needs"):
        query_fleet(folder, "where")
    with pytest.raises(ImagelabError, match="has no index"):
        query_fleet(tmp_path, "storage")
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "x.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ImagelabError, match="cannot be queried"):
        query_fleet(tmp_path, "storage")


def test_names_with_special_characters(tmp_path):
    names = {"/ä'%_.so": 5, "/a\\b*$1": 6, "/[x](.so": 7}
    member = Member("h.io/a:v1", [("l", names)], raw={b"/\xff\xfe": 9})
    folder = write_fleet([member, Member("h.io/it's:v1", [("m", names)])], tmp_path / "it's a fleet")
    assert set(query_fleet(folder, "files")["path"]) == set(names)
    assert query_fleet(folder, "files", "/ä'*")["path"].tolist() == ["/ä'%_.so"]
    assert query_fleet(folder, "files", "/a\\b*$1")["path"].tolist() == ["/a\\b*$1"]
    assert query_fleet(folder, "files", "*.so")["path"].tolist() == ["/[x](.so", "/ä'%_.so"]
    assert "/\\xff\\xfe" in set(query_fleet(folder, "files", "*")["path"])


def test_charts_of_a_fleet(folder):
    heat = similarity_heatmap(query_fleet(folder, "similarity"))
    assert "h.io/app:v1" in heat.layout.title.text and "89%" in heat.layout.title.text
    names = list(heat.layout.xaxis.ticktext)
    assert abs(names.index("h.io/app:v1") - names.index("h.io/app:v2")) == 1
    assert "h.io/debian:12" in base_map(query_fleet(folder, "sharing")).layout.title.text
    empty = {name: pd.Series(dtype=dtype) for name, dtype in QUESTIONS["similarity"].columns.items()}
    assert similarity_heatmap(pd.DataFrame(empty)).data == ()
    evil = query_fleet(folder, "sharing").assign(reference="<img src=x onerror=alert(1)>")
    assert "<img" not in base_map(evil).to_json()


def test_embedded_examples_make_a_fleet(tmp_path):
    names = [name for name in il.examples() if name.startswith("service-")][:4]
    assert index_images([f"example:{name}" for name in names], tmp_path)["state"].eq("indexed").all()
    images = [il.load_image(f"example:{name}") for name in names]
    sharing = query_fleet(tmp_path, "sharing").set_index("reference")
    measure = sharing["measure"].iloc[0]  # content_size where all snapshots were made with it
    key = "digest" if measure == "content_size" else "diff_id"
    expected = il.layers(images).drop_duplicates(["reference", key]).groupby("reference")[measure].sum()
    for name in names:
        assert sharing.loc[f"example:{name}", "total"] == expected[name]
    counted = query_fleet(tmp_path, "packages")
    expected = il.packages(images).groupby(["manager", "name", "version"])["reference"].nunique()
    assert counted["images"].sum() == expected.sum()
    wasted = query_fleet(tmp_path, "waste")["bytes"].sum()
    assert wasted == il.waste(images)["bytes"].sum()


def test_unsupported_arguments_of_a_question_are_refused(folder):
    for question, more, match in (
        ("findings", {"pattern": "x"}, "no pattern"),
        ("packages", {"version": "1"}, "no version"),
        (["storage"], {}, "unknown question"),
    ):
        with pytest.raises(ImagelabError, match=match):
            query_fleet(folder, question, **more)


def test_images_with_published_facts_only(tmp_path, members):
    published = ["example:published-ubuntu-22.04-2023", "example:published-python-3.10-slim-2023"]
    index_images(published, tmp_path / "alone")
    bases = query_fleet(tmp_path / "alone", "bases")
    assert len(bases) == 2 and bases["base"].str.startswith("(unnamed) ").all() and bases["size"].notna().all()
    mixed = write_fleet(members, tmp_path / "mixed")
    index_images(published, mixed)  # without diff_ids, among images without digests
    sharing = query_fleet(mixed, "sharing").set_index("reference")
    assert len(sharing) == len(members) + 2 and set(sharing["measure"]) == {"size"}
    own = sharing.loc[published]
    assert own["layers"].tolist() == [1, 5] and own[["total", "unique"]].isna().all(axis=None)
    assert (own["shared"] == 0).all() and sharing["total"].notna().sum() == len(members)
    storage = query_fleet(mixed, "storage").iloc[0]
    assert storage["unknown_layers"] == 6
    similarity = query_fleet(mixed, "similarity")
    untold = similarity["reference"].isin(published)
    assert similarity.loc[untold, "similarity"].isna().all() and similarity.loc[~untold, "similarity"].notna().all()
    heat = similarity_heatmap(similarity).data[0]
    empty = [row for row, values in enumerate(heat.z) if np.isnan(values).any()]
    assert len(empty) == 2 and all("unknown" in heat.hovertext[row][row] for row in empty)
    for question in QUESTIONS:
        answer = query_fleet(mixed, question, PATTERN.get(question))
        assert answer.dtypes.astype(str).to_dict() == QUESTIONS[question].columns
        never = [name for name, dtype in QUESTIONS[question].columns.items() if dtype == "str"]
        assert answer[never].notna().all(axis=None), question
