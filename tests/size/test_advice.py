"""Advice: no byte twice, the right rule, and what it predicts is what a rebuild saves."""

import re
from dataclasses import replace
from datetime import date

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imagelab as il
from imagelab.core.errors import ImagelabError
from imagelab.core.frames import make_frame
from imagelab.core.model import HistoryEntry, Layer
from imagelab.size.accepted import ACCEPTED_COLUMNS, in_force
from imagelab.size.advice_rules import BUILD_PACKAGES, RULES, RUNTIME_PACKAGES
from tests.support.images import image_of, layer_tar, sha256

PATHS = {
    "apt-lists": "/var/lib/apt/lists/deb_Packages",
    "apt-cache": "/var/cache/apt/pkgcache.bin",
    "apk-cache": "/var/cache/apk/APKINDEX.tar.gz",
    "dnf-cache": "/var/cache/dnf/repo.solv",
    "pip-cache": "/root/.cache/pip/http/a/b",
    "npm-cache": "/root/.npm/_cacache/x",
    "conda-cache": "/opt/conda/pkgs/x.conda",
    "cargo-cache": "/usr/local/cargo/registry/src/x.rs",
    "go-cache": "/root/.cache/go-build/aa/x",
    "git": "/app/.git/objects/pack/x.pack",
    "virtual-environment": "/app/.venv/lib/python3.11/site-packages/x.so",
    "copied-node-modules": "/app/node_modules/x/index.js",
    "context-leftovers": "/app/.github/workflows/ci.yml",
    "bytecode": "/usr/lib/python3/dist-packages/x/__pycache__/x.cpython-311.pyc",
    "static-libraries": "/usr/lib/x86_64-linux-gnu/libz.a",
    "headers": "/usr/include/zlib.h",
    "test-suites": "/usr/lib/python3/dist-packages/numpy/tests/test_x.py",
    "documentation": "/usr/share/doc/zlib/copyright",
    "locales": "/usr/share/locale/de/LC_MESSAGES/x.mo",
    "logs": "/var/log/apt/history.log",
    "temporary-files": "/tmp/build/x",
}


def built(layers, instructions):
    image = image_of([layer_tar(entries) for entries in layers])
    return replace(image, history=tuple(HistoryEntry(None, text, empty_layer=False) for text in instructions))


BY_PATH = [rule.name for rule in RULES if rule.paths]  # of build tools, the packages decide


@pytest.mark.parametrize("rule", BY_PATH)
def test_each_rule_matches_its_own_file_only(rule):
    entries = [
        (path.encode(), "file", b"x" * 100)
        for path in (PATHS[rule], "/usr/bin/python3.11", "/app/main.py", "/etc/passwd")
    ]
    image = built([entries], ["COPY . / # buildkit"])
    found = il.advise(image)
    assert found["rule"].tolist() == [rule]
    assert found["bytes"].tolist() == [100] and found["paths"].tolist() == [PATHS[rule]]


def test_every_rule_is_tried():
    assert PATHS.keys() == set(BY_PATH)


BUILDS = "gcc-12 g++ build-essential libc6-dev linux-libc-dev make binutils-common cpp-12"
RUNS = "libc6 libgcc-s1 libstdc++6 gcc-12-base python3 perl-base libssl3 curl"


@pytest.mark.parametrize("name", BUILDS.split())
def test_build_tools_are_recognised(name):
    assert re.search(BUILD_PACKAGES, name) and not re.search(RUNTIME_PACKAGES, name)


@pytest.mark.parametrize("name", RUNS.split())
def test_runtime_packages_are_not_build_tools(name):
    assert not re.search(BUILD_PACKAGES, name) or re.search(RUNTIME_PACKAGES, name)


NAMES = st.sampled_from([path.encode() for path in PATHS.values()] + [b"/app/a", b"/app/b", b"/usr/bin/c"])
FILES = st.tuples(NAMES, st.sampled_from(["file"]), st.sampled_from([b"", b"a" * 10, b"b" * 10, b"c" * 1000]))
WHITEOUTS = NAMES.map(lambda name: (b"/.wh.".join(name.rsplit(b"/", 1)), "file", b""))


@settings(max_examples=60)
@given(st.lists(st.lists(st.one_of(FILES, WHITEOUTS), max_size=8), min_size=1, max_size=4), st.booleans())
def test_no_byte_is_counted_twice(layers, digests):
    image = built(layers, [f"COPY --link {n} / # buildkit" for n in range(len(layers))])
    found = il.advise(image, digests=digests)
    stored = il.files(image)
    assert found["bytes"].sum() <= stored["size"].sum()
    in_vain = found[found["rule"].isin(["deleted-later", "overwritten-later", "rewritten-unchanged"])]
    assert in_vain["bytes"].sum() == il.waste(image)["bytes"].sum()
    per_layer = stored.groupby("layer_index")["size"].sum()
    assert (found.groupby("layer_index")["bytes"].sum().reindex(per_layer.index, fill_value=0) <= per_layer).all()


@settings(max_examples=30)
@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 3000), min_size=1), st.data())
def test_the_prediction_equals_the_saving_of_a_rebuild(sizes, data):
    """Random files, some deleted later; the rebuild never writes those."""
    doomed = data.draw(st.sets(st.sampled_from(sorted(sizes))))
    written = [(f"srv/{name}".encode(), "file", name.encode() * size) for name, size in sizes.items()]
    whiteouts = [(f"srv/.wh.{name}".encode(), "file", b"") for name in doomed]
    before = built([written, whiteouts], ["RUN make # buildkit", "RUN rm # buildkit"])
    kept = [entry for entry in written if entry[0][4:].decode() not in doomed]
    after = built([kept, []], ["RUN make && rm # buildkit", "RUN true # buildkit"])
    saved = il.efficiency(before)["stored"][0] - il.efficiency(after)["stored"][0]
    found = il.advise(before)
    assert found.loc[found["rule"] == "deleted-later", "bytes"].sum() == saved


def test_rewrites_by_chmod():
    files = [(f"app/{n}".encode(), "file", b"x" * 500) for n in range(3)]
    image = built([files, files], ["COPY app /app # buildkit", "RUN /bin/sh -c chmod -R 755 /app # buildkit"])
    likely = il.advise(image).iloc[0]
    assert (likely["rule"], likely["bytes"], likely["confidence"]) == ("rewritten-unchanged", 1500, "likely")
    exact = il.advise(image, digests=True).iloc[0]
    assert (exact["rule"], exact["bytes"], exact["confidence"]) == ("rewritten-unchanged", 1500, "exact")


def test_accepted_findings_are_counted_apart(tmp_path):
    image = built([[(path.encode(), "file", b"x" * 9) for path in PATHS.values()]], ["COPY . / # buildkit"])
    file = tmp_path / "accepted.toml"
    file.write_text(
        '[[accept]]\nrule = "documentation"\nreason = "wanted"\n'
        '[[accept]]\nrule = "*"\npath = "/var/log"\nreason = "small"\nexpires = 2100-01-01\n'
        '[[accept]]\nrule = "locales"\nreason = "late"\nexpires = 2020-01-01\n'
    )
    found = il.advise(image, accepted=file).set_index("rule")
    assert found.loc[found["accepted"], "accepted_reason"].to_dict() == {"documentation": "wanted", "logs": "small"}
    assert len(found) == len(BY_PATH)


BAD = (
    "not toml [",
    "accept = 3",
    "[[accept]]\nrule = 'x'",
    "[[accept]]\nrule='x'\nreason='y'\nexpires='soon'",
    "[[accept]]\nrul='x'",
    "[[accept]]\nrule='logs'\nreason='y'\npath='var/log'",
)


@pytest.mark.parametrize("text", BAD)
def test_a_bad_file_of_accepted_findings_is_refused(tmp_path, text):
    file = tmp_path / "accepted.toml"
    file.write_text(text)
    with pytest.raises(ImagelabError, match="accept"):
        il.read_accepted(file)
    with pytest.raises(ImagelabError):
        il.read_accepted(tmp_path / "absent.toml")


def test_expiry_counts_days():
    entry = make_frame([{"rule": "logs", "reason": "r", "expires": "2026-06-30"}], ACCEPTED_COLUMNS)
    assert len(in_force(entry, date(2026, 6, 30))) == 1 and in_force(entry, date(2026, 7, 1)).empty


def test_a_path_accepts_the_files_at_or_below_it_and_no_other(tmp_path):
    """However many and small they are: the rest of the finding stays open, and no byte is counted twice."""
    pages = {f"usr/share/man/man1/{n}.1": 10 for n in range(7)} | {"usr/share/manual/x": 500, "usr/share/doc/y": 300}
    image = built([[(path.encode(), "file", b"x" * size) for path, size in pages.items()]], ["RUN apt-get # buildkit"])
    file = tmp_path / "accepted.toml"

    def split(path):
        file.write_text(f'[[accept]]\nrule = "documentation"\npath = "{path}"\nreason = "wanted"\n')
        found = il.advise(image, accepted=file)
        assert found["bytes"].sum() == il.advise(image)["bytes"].sum() == 370
        return found.groupby("accepted")[["bytes", "files"]].sum().T.to_dict("list")

    accepted, rest, everything = [70, 7], [300, 1], [370, 8]
    assert split("/usr/share/man") == split("/usr/share/man/") == split("*.1") == {True: accepted, False: rest}
    assert split("/usr/share/man/man[1-8]/*") == {True: accepted, False: rest}
    assert split("/usr/share/man/man1/0.1") == {True: [10, 1], False: [360, 7]}
    assert split("/usr/share/ma") == {False: everything} and split("/") == {True: everything}


def test_some_compilers_of_an_image_are_accepted(tmp_path):
    """Its files are not among the largest, which ``paths`` shows."""
    file = tmp_path / "accepted.toml"
    file.write_text('[[accept]]\nrule = "build-tools"\npath = "/usr/bin/*-gcc*"\nreason = "r"\n')
    whole = il.advise("example:multi-stage-before").set_index("rule").loc["build-tools"]
    found = il.advise("example:multi-stage-before", accepted=file)
    listed = il.files("example:multi-stage-before")
    compilers = listed[(listed["kind"] == "file") & listed["path"].str.contains("^/usr/bin/.*-gcc")]
    assert found.loc[found["accepted"], ["bytes", "files"]].values.tolist() == [[compilers["size"].sum(), 6]]
    rest = found[(found["rule"] == "build-tools") & ~found["accepted"]]
    assert rest["bytes"].sum() + compilers["size"].sum() == whole["bytes"] and rest["accepted_reason"].isna().all()


def test_an_unknown_rule_is_refused_with_similar_names(tmp_path):
    file = tmp_path / "accepted.toml"
    file.write_text('[[accept]]\nrule = "logs"\nreason = "r"\n[[accept]]\nrule = "documentatoin"\nreason = "r"\n')
    with pytest.raises(ImagelabError, match=r"accept entry 2.*'documentatoin'.*documentation"):
        il.read_accepted(file)
    made = make_frame([{"rule": "build-tool", "reason": "r"}], ACCEPTED_COLUMNS)
    with pytest.raises(ImagelabError, match=r"'build-tool'.*build-tools"):
        il.advise("example:base-busybox", accepted=made)


def test_the_files_that_apt_leaves_are_those_the_advice_removes():
    debconf = ("config.dat", "config.dat-old", "templates.dat", "templates.dat-old")
    kept = [(f"var/cache/debconf/{name}".encode(), "file", b"x" * 5) for name in debconf]
    found = il.advise(built([[*kept, (b"var/cache/apt/archives/a.deb", "file", b"x" * 9)]], ["RUN apt-get # buildkit"]))
    assert found[["rule", "bytes", "files"]].values.tolist() == [["apt-cache", 19, 3]]
    assert "/var/cache/debconf/*-old" in found["suggestion"][0]


def test_a_base_among_the_images_is_known_as_in_the_history():
    base = [(b"var/cache/apt/pkgcache.bin", "file", b"x" * 200)]
    made = [layer_tar(base), layer_tar([(b"var/log/x", "file", b"y" * 100)])]
    pair = [
        replace(image_of(made[:count], name), layers=tuple(Layer(sha256(tar)) for tar in made[:count]))
        for count, name in ((1, "base"), (2, "app"))
    ]
    found = il.advise(pair)
    assert found.loc[found["reference"] == "app", ["rule", "from_base"]].values.tolist() == [
        ["apt-cache", True],
        ["logs", False],
    ]


@pytest.mark.parametrize(
    ("command", "rule"),
    [
        ("COPY . /app # buildkit", "virtual-environment"),
        ("COPY --chown=app . /app # buildkit", "virtual-environment"),
        ("/bin/sh -c #(nop) COPY dir:0a1b in /app ", "virtual-environment"),
        ("COPY /opt/venv /opt/venv # buildkit", "bytecode"),  # --from=builder, which BuildKit leaves out
        ("COPY --chown=app /opt/venv /opt/venv # buildkit", "bytecode"),
        ("RUN /bin/sh -c make COPY # buildkit", "bytecode"),
    ],
)
def test_files_of_a_stage_are_not_leftovers_of_the_context(command, rule):
    made = image_of([layer_tar([(b"opt/venv/lib/x/__pycache__/x.pyc", "file", b"x")])])
    made = replace(made, history=(HistoryEntry(None, command, empty_layer=False),))
    assert il.advise(made)["rule"].tolist() == [rule]


def test_accepted_findings_are_a_frame_of_their_own():
    with pytest.raises(ImagelabError, match=r"il\.read_accepted gives"):
        il.advise("example:base-busybox", accepted=pd.DataFrame({"rule": ["x"]}))


def test_bytes_kept_by_another_hardlink_are_not_saved():
    cached = (b"opt/conda/pkgs/x/share/a", "file", b"x" * 300)
    inside = (b"opt/conda/pkgs/x/share/b", "hardlink", cached[0])
    outside = (b"opt/conda/share/a", "hardlink", cached[0])
    for links, bytes_ in (([inside], [300]), ([inside, outside], [])):
        assert il.advise(image_of([layer_tar([cached, *links])]))["bytes"].tolist() == bytes_
