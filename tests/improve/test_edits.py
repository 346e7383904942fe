"""Edits as text: what the rules propose, for the cases that advice got wrong, and that no other byte changes."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagelab.build.dockerfile.syntax import parse
from imagelab.core.errors import DockerfileError, ImagelabError
from imagelab.core.terms import EXACT, LIKELY
from imagelab.improve import cleanup, toolchain
from imagelab.improve.advice import advise_build
from imagelab.improve.edits import Edit, Project, read_project, unified
from imagelab.improve.installers import INSTALLERS, installer_of, runs
from imagelab.improve.prove import Noise, changes
from imagelab.improve.rules import RULES, Walk
from tests.improve.test_projects import PROJECTS, PROJECTS_BY_NAME
from tests.improve.test_trial import PROVEN_RULES

MANIFESTS = {"package.json": '{"workspaces": ["packages/*"]}', "package-lock.json": "{}"}
BUILD_SYSTEM = '[build-system]\nrequires = ["setuptools"]\n'


def project(folder: Path, dockerfile: str, files: dict[str, str] | None = None) -> Project:
    for name, text in {"Dockerfile": dockerfile, **(files or {})}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
    return read_project(folder, None)


def applied(before: Project, *only: str) -> Project:
    walk = Walk(before, only=only)
    for edit, *_ in walk:
        walk.project = walk.project.apply(edit)
    return walk.project


def body(found: Project) -> list[str]:
    return found.text.splitlines()[1:]


@pytest.mark.parametrize(
    ("install", "files", "expected"),
    [
        pytest.param(
            "uv sync --frozen --no-dev",
            {"pyproject.toml": BUILD_SYSTEM, "uv.lock": "", "app/main.py": "1"},
            [
                "COPY pyproject.toml uv.lock ./",
                "RUN uv sync --frozen --no-dev --no-install-project",
                "COPY . .",
                "RUN uv sync --frozen --no-dev",
            ],
            id="uv installs the dependencies alone",
        ),
        pytest.param(
            "uv sync --frozen --no-dev",
            {"pyproject.toml": "[project]\n", "uv.lock": "", "app/main.py": "1"},
            ["COPY pyproject.toml uv.lock ./", "RUN uv sync --frozen --no-dev", "COPY . ."],
            id="uv does not install a virtual project",
        ),
        pytest.param(
            "npm ci",
            {**MANIFESTS, "packages/a/package.json": "{}", "packages/a/src/i.js": "1", ".npmrc": ""},
            [
                "COPY package.json .npmrc package-lock.json ./",
                "COPY packages/a/package.json packages/a/",
                "RUN npm ci",
                "COPY . .",
            ],
            id="npm needs the manifest of each workspace",
        ),
    ],
)
def test_dependencies_are_installed_before_the_sources(tmp_path, install, files, expected):
    before = project(tmp_path, f"FROM a\nWORKDIR /app\nCOPY . .\nRUN {install}\n", files)
    assert body(applied(before, "copy-before-install")) == ["WORKDIR /app", *expected]


def test_a_rule_that_claims_nothing_is_likely(tmp_path):
    before = project(tmp_path, "FROM a\nRUN make\n")
    assert Edit("new-rule", "why", before.build.steps[0], ()).confidence == LIKELY


def test_rules_without_a_manager_are_exact_only_if_a_test_builds_them(tmp_path):
    text = (
        "FROM a\nCOPY run.sh /app/run.sh\nRUN apt-get update\nRUN apt-get install -y jq\nRUN chmod 755 /app/run.sh\n"
        "RUN chown -R 1:1 /app\nRUN touch /big\nRUN rm /big\n"
    )
    found = {edit.rule: edit.confidence for rule in RULES for edit in rule(project(tmp_path, text, {"run.sh": ""}))}
    apt = project(tmp_path, "FROM a\nRUN apt-get update && apt-get install -y jq\n")
    found |= {edit.rule: edit.confidence for rule in RULES for edit in rule(apt)}
    rules = ("apt-cleanup", "apt-update-alone", "copy-chmod", "copy-chown", "delete-in-same-run")
    assert [found[rule] for rule in rules] == [EXACT] * len(rules)
    built = set().union(*(expected.proven for expected in PROJECTS_BY_NAME.values())) | PROVEN_RULES
    assert {rule for rule, confidence in found.items() if confidence == EXACT} <= built


def test_a_managers_rewrite_is_exact_only_if_a_test_project_builds_it():
    claimed = {(installer.name, rule) for installer in INSTALLERS for rule in installer.built}
    built = set()
    for name, expected in PROJECTS_BY_NAME.items():
        found = read_project(PROJECTS / name)
        managers = {installer_of(commands) for _, commands in runs(found, found.build.stages)}
        built |= {(manager.name, rule) for manager in managers if manager for rule in expected.proven}
    assert claimed <= built


def test_uv_pip_is_one_rule_and_needs_its_requirements(tmp_path):
    files = {"requirements.txt": "-r base.txt\n", "base.txt": "flask\n", "pyproject.toml": BUILD_SYSTEM}
    before = project(tmp_path, "FROM a\nCOPY . /app\nWORKDIR /app\nRUN uv pip install -r requirements.txt\n", files)
    found = [edit for rule in RULES for edit in rule(before) if edit.rule == "copy-before-install"]
    assert len(found) == 1
    assert body(applied(before, "copy-before-install"))[0] == "COPY requirements.txt base.txt /app/"


@pytest.mark.parametrize("line", ["./lib", "-e .", "file:lib", "lib @ file:///app/lib"])
def test_requirements_of_our_own_sources_stay_below_them(tmp_path, line):
    before = project(tmp_path, "FROM a\nWORKDIR /app\nCOPY . .\nRUN pip install -r r.txt\n", {"r.txt": f"{line}\n"})
    assert applied(before, "copy-before-install") == before


def test_a_package_managers_log_may_change_only_where_an_edit_calls_it(tmp_path):
    before = project(tmp_path, "FROM a\nCOPY . /x\nRUN apt-get update && apt-get install -y curl\n", {".git/HEAD": "x"})
    edits = {edit.rule: edit for edit, *_ in Walk(before)}
    log = "/var/log/apt/history.log"
    built = [
        SimpleNamespace(project=before, settings={}, paths=pd.Series({log: text})) for text in ("file|1", "file|2")
    ]
    assert changes(*built, [edits["apt-cleanup"]], Noise()) == []
    assert changes(*built, [edits["wide-copy"]], Noise()) == [f"changed {log}"]


def test_apt_lists_are_updated_in_every_run_that_installs(tmp_path):
    text = "FROM a\nRUN apt-get update\nRUN apt-get install -y curl\nRUN apt-get install -y \\\n    git \\\n    jq\n"
    assert body(applied(project(tmp_path, text))) == [
        "RUN apt-get update && apt-get install -y curl && apt-get clean && rm -rf /var/lib/apt/lists/*",
        "RUN apt-get update && apt-get install -y \\",
        "    git \\",
        "    jq \\",
        "    && apt-get clean && rm -rf /var/lib/apt/lists/*",
    ]


def test_a_mount_hides_the_lists_of_an_earlier_run_so_none_is_advised(tmp_path):
    advice = advise_build("FROM a\nRUN apt-get update\nRUN apt-get install -y curl\n")
    assert not advice["suggestion"].str.contains("type=cache").any()


def test_apk_keeps_no_cache():
    advice = advise_build("FROM a@sha256:0\nRUN apk add --no-cache gcc\nRUN apk update && apk add git\n")
    assert advice["suggestion"].tolist() == ["RUN apk add --no-cache git"]


def test_an_apk_update_alone_goes_where_the_add_needs_none(tmp_path):
    before = project(tmp_path, "FROM a\nRUN apk update\nRUN apk add \\\n  git\nRUN apk add jq\n")
    assert body(applied(before)) == ["RUN apk add --no-cache \\", "  git", "RUN apk add --no-cache jq"]


def test_rust_target_is_not_sent_and_dependencies_are_built_before_the_sources(tmp_path):
    files = {"Cargo.toml": '[package]\nname = "svc"\n', "Cargo.lock": "", "src/main.rs": "1", "target/debug/x": "1" * 9}
    before = project(tmp_path, "FROM rust:1\nWORKDIR /s\nCOPY . .\nRUN cargo build --release\n", files)
    found = applied(before)
    assert found.ignore_text == "target\n"
    assert body(found)[1:4] == [
        "COPY Cargo.toml Cargo.lock ./",
        "RUN --mount=type=cache,target=/usr/local/cargo/registry mkdir -p src && echo 'fn main() {}' > src/main.rs"
        " && cargo build --release && cargo clean --release -p svc && rm -r src",
        "COPY . .",
    ]


def test_declared_and_found_targets_of_a_crate_get_empty_sources(tmp_path):
    manifest = (
        '[package]\nname = "tool-kit"\n[lib]\npath = "src/core.rs"\n[[bin]]\nname = "t"\npath = "src/cli/t.rs"\n'
        '[[bench]]\nname = "speed"\nharness = false\n'
    )
    sources = ["src/core.rs", "src/cli/t.rs", "src/bin/u.rs", "src/bin/v/main.rs", "src/other.rs", "benches/speed.rs"]
    before = project(
        tmp_path, "FROM rust:1\nCOPY . .\nRUN cargo build\n", {"Cargo.toml": manifest, **dict.fromkeys(sources, "")}
    )
    empty = " && ".join(
        f"echo 'fn main() {{}}' > {path}" for path in ("benches/speed.rs", "src/bin/u.rs", "src/bin/v/main.rs")
    )
    assert body(applied(before, "copy-before-install"))[1] == (
        f"RUN mkdir -p benches src/bin src/bin/v src/cli src && {empty} && echo 'fn main() {{}}' > src/cli/t.rs"
        " && touch src/core.rs && cargo build && cargo clean -p tool-kit && rm -r benches src"
    )


@pytest.mark.parametrize(
    ("run", "files"),
    [
        ("yarn --frozen-lockfile --non-interactive", {"package.json": "{}", "yarn.lock": ""}),
        (
            "gem install bundler && bundle config set without test && bundle install",
            {"Gemfile": "", "Gemfile.lock": ""},
        ),
    ],
)
def test_installs_with_flags_or_settings_before_them_move_above_the_sources(tmp_path, run, files):
    before = project(tmp_path, f"FROM a\nWORKDIR /x\nCOPY . .\nRUN {run}\n", files | {"src/a": "1"})
    assert body(applied(before, "copy-before-install"))[1:] == [
        f"COPY {' '.join(files)} ./",
        f"RUN {run}",
        "COPY . .",
    ]


WEB = {"web/package.json": "{}", "web/package-lock.json": "", "requirements.txt": "a\n", "Pipfile": "", "m.py": ""}


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        pytest.param(
            ["cd web && npm ci && npm run build", "pip install -r requirements.txt"],
            [
                "COPY web/package.json web/package-lock.json web/",
                "RUN cd web && npm ci",
                "COPY requirements.txt ./",
                "RUN pip install -r requirements.txt",
                "COPY . .",
                "RUN cd web && npm run build",
            ],
            id="the folder of cd, and a build between the sources and the second install",
        ),
        pytest.param(
            ["npm ci --prefix web"],
            ["COPY web/package.json web/package-lock.json web/", "RUN npm ci --prefix web", "COPY . ."],
            id="the folder of an option",
        ),
        pytest.param(
            ["pip install pipenv && pipenv sync --system"],
            ["COPY Pipfile ./", "RUN pip install pipenv && pipenv sync --system", "COPY . ."],
            id="a manager that pip installs",
        ),
        pytest.param(
            ["<<EOF\nset -e\npip install -r requirements.txt\nEOF"],
            ["COPY requirements.txt ./", "RUN <<EOF", "set -e", "pip install -r requirements.txt", "EOF", "COPY . ."],
            id="a document",
        ),
    ],
)
def test_an_install_moves_above_the_sources_with_the_manifests_of_its_folder(tmp_path, runs, expected):
    text = "\n".join(["FROM a", "WORKDIR /app", "COPY . .", *(f"RUN {run}" for run in runs), ""])
    assert body(applied(project(tmp_path, text, WEB), "copy-before-install"))[1:] == expected


def test_a_deletion_passes_a_copy_and_no_run(tmp_path):
    rows = [(0, "/big", 2), (1, "/app/m", None), (2, "/app/x", None)]
    layers = pd.DataFrame(rows, columns=["layer_index", "path", "removed_layer_index"]).assign(
        kind="file", reason="deleted"
    )
    before = project(tmp_path, "FROM a\nRUN touch /big\nCOPY m /app/m\nRUN rm /big\n", {"m": ""})
    (edit,) = cleanup.deleted_later(replace(before, layers=layers, depth=3))
    assert body(before.apply(edit)) == ["RUN touch /big && rm /big", "COPY m /app/m"]
    for other in ("RUN rm /big && touch /x\n", "RUN /app/m\nRUN rm /big\n"):
        before = project(tmp_path, f"FROM a\nRUN touch /big\nCOPY m /app/m\n{other}", {"m": ""})
        depth = 2 + other.count("RUN")
        layers["removed_layer_index"] = [depth - 1, None, None]
        assert not list(cleanup.deleted_later(replace(before, layers=layers, depth=depth)))


def test_a_file_that_an_argument_names_is_copied_before_the_install(tmp_path):
    text = "FROM a\nARG FILE=requirements.txt\nCOPY . .\nRUN pip install -r ${FILE}\n"
    before = project(tmp_path, text, {"requirements.txt": "a\n", "src/m.py": "1"})
    assert body(applied(before, "copy-before-install"))[1:3] == [
        "COPY requirements.txt /",
        "RUN pip install -r ${FILE}",
    ]


@pytest.mark.parametrize("last", ["apt-get install -y jq # tools", "\\\n  apt-get install -y jq # tools"])
def test_a_comment_in_the_shell_stays_behind_the_commands(tmp_path, last):
    found = applied(project(tmp_path, f"FROM a\nRUN apt-get update && {last}\nRUN rm /x\n")).lines
    assert found[-2].endswith("&& apt-get clean && rm -rf /var/lib/apt/lists/* # tools") and found[-1] == "RUN rm /x"


@pytest.mark.parametrize(
    "url", ["https://h/moby/buildkit.git?ref=v1&subdir=docs", "https://h/a.git#v1", "git@h:a/b.git#main"]
)
def test_a_git_repository_has_no_checksum_to_add(url):
    assert "add-url" not in set(advise_build(f"FROM a\nADD {url} /x\n")["rule"])
    assert "add-url" in set(advise_build("FROM a\nADD https://h/a.tar.gz /x\n")["rule"])


def test_rows_about_the_same_lines_share_one_suggestion(tmp_path):
    text = "FROM a\nWORKDIR /app\nCOPY . .\nRUN pip install -r r.txt\nRUN useradd -m u && chown -R u:u /app\nRUN true\n"
    project(tmp_path, text, {"r.txt": "flask\n", "m.py": "1"})
    advice = advise_build(tmp_path / "Dockerfile", tmp_path)
    rows = advice[advice["rule"].isin(["copy-before-install", "cache-mount", "copy-chown"])]
    assert len(rows) == 3 and rows[["line", "end_line", "suggestion"]].drop_duplicates().shape[0] == 1
    assert rows["suggestion"].iloc[0].splitlines() == [
        "RUN useradd -m u",
        "COPY --chown=u:u r.txt ./",
        "RUN --mount=type=cache,target=/root/.cache/pip pip install -r r.txt"
        " && find /app ! -user u -exec chown u:u {} +",
        "COPY --chown=u:u . .",
    ]


def test_ignore_lines_stand_above_so_that_exceptions_keep_their_meaning(tmp_path):
    files = {
        ".dockerignore": "*.log\n!node_modules/keep\n",
        "node_modules/keep": "1",
        "node_modules/drop": "1",
        ".git/HEAD": "1",
        "package.json": "{}",
        "i.js": "1",
    }
    before = project(tmp_path, "FROM a\nWORKDIR /a\nCOPY . .\nRUN npm ci\n", files)
    after = applied(before, "wide-copy")
    assert after.ignore_text == ".git\nnode_modules\n*.log\n!node_modules/keep\n"
    assert set(before.sent) - set(after.sent) == {".git", ".git/HEAD", "node_modules/drop"}


def test_what_an_instruction_copies_by_name_is_sent(tmp_path):
    before = project(tmp_path, "FROM a\nCOPY . .\nCOPY .git/HEAD /version\n", {".git/HEAD": "1", "m.py": "1"})
    assert applied(before, "wide-copy") == before


def test_deletions_join_the_run_that_made_the_files(tmp_path):
    text = "FROM a\nRUN make big\n# gone\nRUN rm -rf /big\nCOPY x /x\nRUN rm /x\n"
    assert body(applied(project(tmp_path, text, {"x": "1"}), "delete-in-same-run")) == [
        "RUN make big && rm -rf /big",
        "# gone",
        "COPY x /x",
        "RUN rm /x",
    ]


def test_the_runs_between_a_download_and_its_deletion_become_one(tmp_path):
    text = "FROM a\nRUN fetch -o /tmp/a.tgz\nRUN tar xf /tmp/a.tgz \\\n    -C /opt\nLABEL a=b\nRUN rm -f /tmp/a.tgz\nCMD x\n"
    assert body(applied(project(tmp_path, text), "delete-in-same-run")) == [
        "RUN fetch -o /tmp/a.tgz && tar xf /tmp/a.tgz \\",
        "    -C /opt \\",
        "    && rm -f /tmp/a.tgz",
        "LABEL a=b",
        "CMD x",
    ]


@pytest.mark.parametrize(
    ("run", "above", "below"),
    [
        ("pip install -r r.txt && python manage.py collect", "pip install -r r.txt", "python manage.py collect"),
        ("pip install -r r.txt && pip install -e .", "pip install -r r.txt", "pip install -e ."),
        ("pip install -r r.txt \\\n  # and ours\n  && python \\\n  x.py", "pip install -r r.txt", "python \\\n  x.py"),
        ("set -e; pip install -r r.txt; python x.py", None, None),  # not a plain chain
        ("python x.py && pip install -r r.txt", None, None),  # what comes first needs the sources
    ],
)
def test_a_run_is_cut_where_it_needs_the_sources(tmp_path, run, above, below):
    before = project(tmp_path, f"FROM a\nWORKDIR /app\nCOPY . .\nRUN {run}\n", {"r.txt": "flask\n", "x.py": "1"})
    expected = f"FROM a\nWORKDIR /app\nCOPY r.txt ./\nRUN {above}\nCOPY . .\nRUN {below}\n" if above else before.text
    assert applied(before, "copy-before-install").text == expected


@pytest.mark.parametrize(
    ("run", "files"),
    [
        ("bundle install", {"Gemfile": "gemspec\n", "a.gemspec": "1"}),
        ("cargo build", {"Cargo.toml": "[workspace]\nmembers = ['a']\n", "a/src/main.rs": "1"}),
        ("go build ./...", {"go.mod": "module a\n", "vendor/modules.txt": "1"}),
        ("./mvnw package", {"pom.xml": "<modules/>", "mvnw": "1"}),
    ],
)
def test_an_install_that_needs_more_than_its_manifests_stays_below_the_sources(tmp_path, run, files):
    if "pom.xml" in files:
        files = {**files, "pom.xml": "<project><modules><module>a</module></modules></project>"}
    before = project(tmp_path, f"FROM a\nCOPY . .\nRUN {run}\n", files)
    assert applied(before, "copy-before-install") == before


@pytest.mark.parametrize("manager", ["gradle", "yarn"])
def test_folders_that_belong_to_the_manager_are_copied_once(tmp_path, manager):
    files = {
        "gradlew": "1",
        "gradle/w.jar": "1",
        "build.gradle": "",
        "package.json": "{}",
        "yarn.lock": "",
        ".yarn/y.cjs": "1",
    }
    command = {"gradle": "./gradlew build", "yarn": "yarn install"}[manager]
    found = body(applied(project(tmp_path, f"FROM a\nCOPY . /app\nWORKDIR /app\nRUN {command}\n", files)))
    folder = {"gradle": "gradle", "yarn": ".yarn"}[manager]
    assert [line for line in found if line.startswith(f"COPY {folder} ")] == [f"COPY {folder} /app/{folder}/"]


def test_downloads_lie_where_the_environment_says(tmp_path):
    text = "FROM a\nENV PIP_CACHE_DIR=/c\nRUN pip install x\nFROM golang:1\nCOPY --from=0 / /\nRUN go build x\n"
    found = applied(project(tmp_path, text), "cache-mount").text
    assert "target=/c pip" in found and "target=/go/pkg/mod" in found


def test_a_mount_that_hides_what_a_run_above_downloaded_is_its_mount_too(tmp_path):
    text = "FROM a\nCOPY go.mod ./\nRUN go mod download\nCOPY . .\nRUN go build ./...\n"
    before = project(tmp_path, text, {"go.mod": "module a\n", "main.go": ""})
    (mount,) = (edit for edit in cleanup.downloads(before) if edit.warm and edit.rule == "cache-mount")
    assert before.apply(mount).text.count("--mount=type=cache,target=/root/go/pkg/mod") == 2


def test_tools_that_npm_installs_globally_keep_no_downloads(tmp_path):
    text = "FROM a\nRUN npm i -g pnpm@9\nWORKDIR /app\nCOPY . .\nUSER node\nRUN pip install --user x\n"
    found = body(applied(project(tmp_path, text, {"m.js": "1"})))
    assert found[0] == "RUN --mount=type=cache,target=/root/.npm npm i -g pnpm@9"
    assert found[-1] == "RUN pip install --no-cache-dir --user x"  # a mount would belong to root


def test_next_keeps_its_cache(tmp_path):
    files = {"package.json": '{"dependencies": {"next": "15"}}', "pages/a.js": "1"}
    before = project(tmp_path, "FROM a\nWORKDIR /app\nCOPY . .\nRUN npm run build\n", files)
    assert body(applied(before, "cache-mount"))[-1] == "RUN --mount=type=cache,target=/app/.next/cache npm run build"


@pytest.mark.parametrize(
    ("copy", "runs", "expected"),
    [
        (
            "COPY a.tgz /tmp/",
            ["tar xf /tmp/a.tgz", "rm -f /tmp/a.tgz"],
            ["RUN --mount=type=bind,source=a.tgz,target=/tmp/a.tgz tar xf /tmp/a.tgz"],
        ),
        (
            "WORKDIR /w\nCOPY a.tgz ./",
            ["tar xf a.tgz \\\n    # not needed any more\n    && rm a.tgz \\\n    && ls"],
            ["WORKDIR /w", "RUN --mount=type=bind,source=a.tgz,target=/w/a.tgz tar xf a.tgz \\", "    && ls"],
        ),
        (
            "COPY src /tmp/src",
            ["cd /tmp/src && make install && rm -rf /tmp/src /var/lib/x"],
            ["RUN --mount=type=bind,source=src,target=/tmp/src,rw cd /tmp/src && make install && rm -rf /var/lib/x"],
        ),
        (
            "COPY --from=b /out/x.deb /tmp/",
            ["dpkg -i /tmp/x.deb && rm /tmp/x.deb"],
            ["RUN --mount=type=bind,from=b,source=/out/x.deb,target=/tmp/x.deb dpkg -i /tmp/x.deb"],
        ),
        ("COPY --from=b /out/*.deb /tmp/", ["dpkg -i /tmp/*.deb && rm /tmp/*.deb"], None),
        ("COPY src /tmp/src", ["make -C /tmp/src", "make -C /tmp/src install && rm -r /tmp/src"], None),
        ("COPY a.tgz /tmp/", ["tar xf /tmp/a.tgz && rm -f /tmp/*"], None),
    ],
)
def test_what_a_run_deletes_is_mounted_not_copied(tmp_path, copy, runs, expected):
    text = "\n".join(["FROM a", copy, *(f"RUN {run}" for run in runs), ""])
    before = project(tmp_path, text, {"a.tgz": "1", "src/Makefile": ""})
    assert body(applied(before, "bind-mount")) == (expected or body(before))


def test_one_copied_file_gets_its_mode_from_the_copy(tmp_path):
    before = project(tmp_path, "FROM a\nCOPY run.sh /run.sh\nRUN chmod +x /run.sh\n", {"run.sh": "1"})
    (tmp_path / "run.sh").chmod(0o640)
    assert body(applied(before, "copy-chmod")) == ["COPY --chmod=751 run.sh /run.sh"]


def test_a_copied_directory_gets_its_mode_from_the_copy(tmp_path):
    before = project(tmp_path, "FROM a\nWORKDIR /app\nCOPY bin bin\nRUN chmod -R 755 bin\n", {"bin/run": "1"})
    assert body(applied(before, "copy-chmod")) == ["WORKDIR /app", "COPY --chmod=755 bin bin"]


def test_an_account_is_made_above_the_copy_that_gives_files_to_it(tmp_path):
    text = (
        "FROM a\nENV DIR=/app\nCOPY . /app\nRUN ./setup\nRUN adduser -D u\nRUN mkdir /x && chown -R u: ${DIR} && ls\n"
    )
    assert body(applied(project(tmp_path, text, {"m": "1"}), "copy-chown"))[1:] == [
        "RUN adduser -D u",
        "COPY --chown=u:u . /app",
        "RUN ./setup && find ${DIR} ! -user u -exec chown u: {} +",
        "RUN mkdir /x && find ${DIR} ! -user u -exec chown u: {} + && ls",
    ]
    text = "FROM a\nCOPY m /etc/m\nRUN ./setup\nRUN mkdir /var/m && chown -R u /var/m /etc/m\n"
    assert body(applied(project(tmp_path, text, {"m": "1"}), "copy-chown"))[1:] == [
        "RUN ./setup && find /etc/m ! -user u -exec chown u {} +",  # /var/m is not there yet
        "RUN mkdir /var/m && find /var/m /etc/m ! -user u -exec chown u {} +",
    ]


def test_a_copied_file_gets_its_owner_from_the_copy_and_a_directory_alone_does_not(tmp_path):
    text = "FROM a\nCOPY --from=b /app.jar /app.jar\nRUN chown u:g /app.jar\n"
    assert body(applied(project(tmp_path, text))) == ["COPY --chown=u:g --from=b /app.jar /app.jar"]
    text = "FROM a\nCOPY src /app/src\nRUN chown u:g /app\n"
    assert body(applied(project(tmp_path, text, {"src/m": "1"}))) == text.splitlines()[1:]


def test_an_upgrade_keeps_no_lists_and_a_later_install_fetches_them(tmp_path):
    text = "FROM a\nRUN apt-get update && apt-get -y upgrade\nRUN apt-get install -y jq\n"
    clean = " && apt-get clean && rm -rf /var/lib/apt/lists/*"
    assert body(applied(project(tmp_path, text), "apt-cleanup")) == [
        f"RUN apt-get update && apt-get -y upgrade{clean}",
        f"RUN apt-get update && apt-get install -y jq{clean}",
    ]
    text = "FROM a\nRUN apt-get update\nRUN apt-get -y upgrade && apt-get clean\n"
    assert body(applied(project(tmp_path, text))) == [
        "RUN apt-get update && apt-get -y upgrade && apt-get clean && rm -rf /var/lib/apt/lists/*"
    ]


def test_clutter_that_an_exception_keeps_is_not_proposed(tmp_path):
    before = project(
        tmp_path, "FROM a\nCOPY . /srv\n", {".dockerignore": "*\n!.git\n!m.py\n", ".git/x": "1", "m.py": "1"}
    )
    assert applied(before) == before


def test_clutter_of_a_copied_directory_is_not_sent(tmp_path):
    files = {"api/m.py": "1", "api/__pycache__/m.pyc": "1", "web/__pycache__/n.pyc": "1"}
    before = project(tmp_path, "FROM a\nCOPY api /srv/api\n", files)
    (edit,) = (edit for rule in RULES for edit in rule(before) if edit.rule == "wide-copy")
    assert edit.lines == ("**/__pycache__",) and edit.touches == (r"^/srv/api/__pycache__(?:/|$)",) and edit.size == 1


def test_compilers_move_to_a_stage_of_their_own_and_the_other_packages_stay(tmp_path):
    text = (
        "FROM a AS base\nENV A=1\nRUN apt-get update \\\n    # to compile\n    && apt-get install -y gcc curl \\\n      make\n"
        "COPY . /src\nRUN adduser -D u\nRUN make -C /src install\nCOPY etc /etc/x\nUSER u\n"
    )
    before = project(tmp_path, text, {"etc/x": "1"})
    rows = [
        (0, "/usr"),
        (1, "/usr/bin/gcc"),
        (2, "/src/a.c"),
        (3, "/etc/passwd"),
        (4, "/opt/tool/bin"),
        (5, "/etc/x/x"),
    ]
    made = pd.DataFrame(rows, columns=["layer_index", "path"]).assign(kind="file", visible=True)
    (edit,) = toolchain.build_stage(replace(before, layers=made, depth=6))
    assert edit.packages and edit.made == ("/opt", "/src")
    assert before.apply(edit).text == (
        "FROM a AS base-image\nENV A=1\nFROM base-image AS build\n"
        + text.partition("ENV A=1\n")[2].partition("COPY etc")[0]
        + "\nFROM base-image AS base\nRUN apt-get update \\\n    # to compile\n    && apt-get install -y curl\nRUN adduser -D u\n"
        "COPY --from=build /opt /opt\nCOPY --from=build /src /src\nCOPY etc /etc/x\nUSER u\n"
    )


def test_a_folder_of_installed_packages_is_copied_whole(tmp_path):
    before = project(tmp_path, "FROM a\nRUN apk add --no-cache gcc\nRUN pip install a b\n")
    folder = "/usr/lib/python3/site-packages"
    rows = [
        (0, folder),
        (0, "/usr/bin"),
        (1, "/usr/bin/gcc"),
        (2, f"{folder}/a-1.0/x"),
        (2, f"{folder}/b/y"),
        (2, "/usr/bin/b"),
    ]
    made = pd.DataFrame(rows, columns=["layer_index", "path"]).assign(kind="file", visible=True)
    (edit,) = toolchain.build_stage(replace(before, layers=made, depth=3))
    assert edit.made == ("/usr/bin/b", folder)


def test_compilers_of_a_run_that_also_builds_are_purged_there(tmp_path):
    text = "FROM a\nCOPY . /src\nRUN apt-get update && apt-get install -y gcc libz1 && make -C /src\n"
    assert body(applied(project(tmp_path, text), "purge-compilers"))[1].endswith(
        " && make -C /src && apt-get purge -y --auto-remove -o APT::AutoRemove::SuggestsImportant=false gcc && apt-get clean"
    )


def test_a_dockerfile_outside_the_context_is_patched_where_it_lies(tmp_path):
    (tmp_path / "app").mkdir()
    project(tmp_path / "docker", "FROM a\nCOPY . /app\nRUN apt-get update && apt-get install -y jq\n")
    (tmp_path / "app" / ".tox").mkdir()
    before = read_project(tmp_path / "app", tmp_path / "docker" / "Dockerfile")
    after = applied(before)
    subprocess.run(["git", "apply"], input=unified(before, after).encode(), cwd=tmp_path, check=True)
    assert (tmp_path / "docker" / "Dockerfile").read_text() == after.text != before.text
    assert (tmp_path / "app" / ".dockerignore").read_text() == ".tox\n"


def test_a_project_that_is_already_good_gets_no_proposal(tmp_path):
    text = (
        "FROM a AS build\nWORKDIR /app\nCOPY requirements.txt ./\n"
        "RUN --mount=type=cache,target=/root/.cache/pip pip install -r requirements.txt\nCOPY src src\n"
        'FROM b\nCOPY --from=build --chown=1:1 /app /app\nUSER 1\nCMD ["x"]\n'
    )
    assert applied(project(tmp_path, text, {"requirements.txt": "a\n", "src/m.py": "1"})).text == text


def test_a_folder_without_a_dockerfile_says_so(tmp_path):
    with pytest.raises(DockerfileError, match="no such Dockerfile; expected one in the context"):
        read_project(tmp_path)


def test_unknown_rules_are_refused():
    with pytest.raises(ImagelabError, match="unknown rule nope; the rules are wide-copy"):
        Walk(Project("Dockerfile", "FROM a\n"), only=["nope"])


LINES = (
    "RUN apt-get update",
    "RUN apt-get update \\\n  # why\n    && apt-get install -y curl",
    "RUN apt-get install -y git",
    "RUN pip install -r requirements.txt",
    "RUN <<EOF\napt-get update\napt-get install -y jq\nEOF",
    'RUN ["pip", "install", "x"]',
    "run npm ci  # not a comment",
    "COPY . .",
    "COPY --chown=1:1 src /app/src",
    "WORKDIR /app",
    "RUN useradd u && chown -R u /app",
    "RUN rm -rf /tmp/x",
    "RUN apk add \\\n gcc",
    "# a comment",
    "",
    "ENV A=1 \\\n  B=2",
    "FROM b AS c",
    "RUN cargo build --release",
)


@given(
    st.lists(st.sampled_from(LINES), min_size=1, max_size=9),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
@settings(max_examples=150)
def test_an_edit_changes_no_byte_outside_its_lines(lines, end, closed):
    text = "FROM a\n" + "\n".join(lines) + ("\n" if closed else "")
    before = Project("Dockerfile", text.replace("\n", end))
    for edit in (edit for rule in RULES for edit in rule(before)):
        after = before.apply(edit).text
        touched = {n for change in edit.changes for n in range(change.start, change.stop)}
        kept = [line for n, line in enumerate(before.text.splitlines(keepends=True)) if n not in touched]
        rest = iter(after.splitlines(keepends=True))
        last_moves = max(change.stop for change in edit.changes) >= len(before.lines)
        for line in kept[:-1] if last_moves and not closed else kept:
            assert any(line == other for other in rest)
        parse(after)
        assert ("\r\n" in after) is ("\r\n" in before.text)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("tool", [["patch", "-p1", "--binary"], ["git", "apply"]])
def test_patch_and_git_apply_take_the_diff(tmp_path, tool, end):
    text = "FROM a\nWORKDIR /app\nCOPY . .\nRUN pip install -r r.txt".replace("\n", end)
    before = project(tmp_path, text, {"r.txt": "flask\n", "m.py": "1", ".git_/x": "", ".tox/x": "1"})
    after = applied(before)
    subprocess.run(tool, input=unified(before, after).encode(), cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "Dockerfile").read_bytes() == after.text.encode()
    assert (tmp_path / ".dockerignore").read_text() == ".tox\n"
