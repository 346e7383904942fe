"""What BuildKit refuses is refused, or its step says why; what it takes is taken. The builder itself decides."""

import subprocess

import pytest

from imagelab.build.dockerfile import syntax
from imagelab.build.dockerfile.read import read_dockerfile
from imagelab.build.dockerfile.syntax import parse
from imagelab.core.errors import DockerfileError

BASE = "FROM localhost/busybox:static AS base\n"
REFUSED = [
    *(f"{BASE}{line}\n" for line in (
        "COPY x", "COPY", 'COPY ["x"]', "ADD x", "ENV", "ENV =x", "LABEL =x", "LABEL", "ARG", "ARG A = b", "USER", "WORKDIR",
        "EXPOSE", "EXPOSE 80,81", "EXPOSE 80 # web", "EXPOSE 80/icmp", "EXPOSE 70000", "EXPOSE 90-80", "VOLUME []",
        'VOLUME ["/a", ""]', "SHELL", "SHELL /bin/sh", "STOPSIGNAL", 'STOPSIGNAL ["SIGTERM"]',
        "STOPSIGNAL TERM # x", "MAINTAINER", "HEALTHCHECK", "HEALTHCHECK curl x", "HEALTHCHECK NONE x", "HEALTHCHECK CMD",
        "HEALTHCHECK --interval=5 CMD x", "HEALTHCHECK --retries=-1 CMD x", "HEALTHCHECK --interval=$I CMD x",
        "RUN --cap=x true", "ENV --x=y A=b", "COPY --chown a b", "COPY --chown=a --chown=b a b", "COPY --link=maybe a b",
        "COPY --Link a b", "ADD --from=x a b", "COPY --keep-git-dir a b", "COPY --chmod=999 a b", "COPY --chmod=u a b",
        "COPY --from=base a b", "COPY --from=0 a b", "COPY --from=7 a b", "COPY --from=-1 a b", "COPY --from=$WHO a b",
        "COPY --from=Upper a b", "COPY http://localhost/x y", 'COPY "a b" c', "COPY a <<EOF\nx\nEOF", "ONBUILD --x RUN y",
        "RUN --network=some true", "RUN --mount=type=some,target=/x true", "RUN --mount=type=cache,target=/ true",
        "RUN --mount=target=/ true", "RUN --mount=type=cache,target=/x,sharing=some true",
        "RUN --mount=type=bind,target=/x,sharing=shared true", "RUN --mount=type=cache,target=/x,size=1 true",
        "RUN --mount=type=tmpfs,target=/x,size=big true", "RUN --mount=type=cache,target=/x,uid=root true",
        "RUN --mount=type=cache,target=/x,ro=yes true", "RUN --mount=type=cache,target=/x,mode=9 true",
        "RUN --mount=type=bind,where=a,target=/x true", "RUN --mount=type=secret true", "RUN --mount=target=/x,from=$A true",
        "RUN --mount=target=/x,from=base true", f"LABEL a={'x' * 66_000}", "ONBUILD ENV A",
    )),
    "RUN true\nFROM scratch\n", "FROM scratch AS 1a\n", "FROM scratch AS a/b\n", "FROM --platform=$NOPE scratch\n",
    "FROM --platform=a/b/c/d scratch\n", "FROM --as=x scratch\n", "FROM --platform scratch\n", "FROM Ubuntu\n", "FROM a:$NOPE\n",
    "FROM scratch\nCOPY --from=later a b\nFROM scratch AS later\n", "FROM scratch\nCOPY --from=1 a b\nFROM scratch\n",
    f"{BASE}RUN --mount=from=later,target=/x true\nFROM scratch AS later\n", f"{BASE}ONBUILD COPY --x a b\nFROM base\n",
    f"{BASE}ONBUILD RUNN x\nFROM base\n", "FROM scratch AS One\nFROM One\n",
    "FROM scratch AS a\nFROM scratch\nCOPY --from=a x y\nFROM scratch AS a\n",
]  # fmt: skip
TAKEN = [
    *(f"{BASE}{line}\n" for line in (
        "RUN", "CMD", "CMD []", "ENTRYPOINT", "ENV A=", "ENV $NOPE=b", "ARG --x A", "EXPOSE 80 81/UDP 82-84/tcp 1:2 $NOPE",
        'EXPOSE "80" 127.0.0.1:80:80', "STOPSIGNAL sigrtmin+3", "STOPSIGNAL 9", "USER a b", 'WORKDIR ""',
        "HEALTHCHECK --interval=1h30m2.5s --timeout=0 --retries=+3 CMD x", "HEALTHCHECK --x NONE", "healthcheck none",
        "COPY --chown= --link --chmod=u+x,g=rx a b", "COPY --chmod=00755 --exclude=a --exclude=b a b", "COPY --from= a b",
        "ADD --keep-git-dir --unpack=false a b", "COPY -- a b", "COPY a b c", "COPY [\"a b\", \"c\"]", "COPY \"a\" 'b'",
        "RUN --mount=type=cache,dst=/x,id=$HOME,ro --mount=type=tmpfs,target=/y,size=1.5k true",
        "RUN --mount=type=secret,target=/x,required --mount=type=ssh,required=1 true", "RUN --mount=type=bind,target=x,rw true",
        "RUN --mount=TYPE=Cache,Target=/x,sharing=SHARED,from= --network=none true", "ONBUILD RUNN x", "ONBUILD COPY x",
        "ARG ${A:?no}", "WORKDIR /w\nRUN --mount=target=. --mount=type=cache true",
        "ONBUILD RUN <<EOF\ntrue\nEOF\nRUN true", "ONBUILD COPY <<A <<\"B\" /x/\na\nA\n$b\nB",
    )),
    "FROM --platform=linux/arm/v7 scratch AS B-b_c.d\n", "FROM --platform= scratch\n", "ARG B=base\n" + BASE + "FROM $B\n",
    f"{BASE}ONBUILD RUN <<-EOF\n\techo $HOME\n\tEOF\nFROM base\n", f"{BASE}FROM scratch\nCOPY --from=BASE a b\n",
    f"{BASE}FROM base AS two\nRUN --mount=target=/x,from=Base true\n",
]  # fmt: skip


#: The base image's ENV may make these what they should be.
UNSURE = [
    "VOLUME $NOPE",
    "EXPOSE ${NOPE}/tcp 80",
    "STOPSIGNAL $NOPE",
    "COPY --chmod=$NOPE a b",
    "RUN --mount=type=$NOPE,target=/x y",
]


def refused(text):
    try:
        build = parse(text)
    except DockerfileError:
        return True
    return any(step.error for step in (*build.before, *(step for stage in build.stages for step in stage.steps)))


@pytest.mark.parametrize("text", REFUSED)
def test_what_buildkit_refuses(text):
    assert refused(text)


@pytest.mark.parametrize("text", TAKEN)
def test_what_buildkit_takes(text):
    assert not refused(text)


@pytest.mark.parametrize("line", UNSURE)
def test_what_only_the_base_image_can_tell_is_taken(line):
    assert not refused(f"FROM a\n{line}\n")


@pytest.mark.engine
def test_buildkit_decides(modern, tmp_path):
    (tmp_path / "a").touch()
    command = ["docker", "buildx", "build", "--check", "--network=none", "-f", "-", str(tmp_path)]
    wrong = []
    for text, taken in [*((text, False) for text in REFUSED), *((text, True) for text in TAKEN)]:
        done = subprocess.run(command, env=modern.env, input=text.encode(), capture_output=True, check=False)
        if (b"ERROR: " not in done.stderr) != taken or b"failed to do request" in done.stderr:
            wrong.append((text[-200:], done.stderr[-300:]))
    assert not wrong


def test_the_frame_says_why():
    frame = read_dockerfile("FROM scratch\nCOPY x\nEXPOSE 80,81\nCOPY --from=0 a b\nCOPY a b\n").instructions
    assert frame["error"].fillna("").str.contains("two arguments|invalid port|circular").tolist() == [0, 1, 1, 1, 0]
    assert frame["expanded"].isna().tolist() == [False, True, True, True, False]


def test_words_are_split_at_every_space_as_buildkit_does():
    frame = read_dockerfile("FROM scratch\nCOPY a\\ b c/\nCOPY 'a' \"b\"\n").instructions
    assert frame["expanded"].tolist()[1:] == ["a b c/", "a b"]


def test_a_document_in_a_trigger():
    text = 'FROM a AS base\nONBUILD RUN <<EOF\nmake\nEOF\nONBUILD COPY <<"X" /x\n$y\nX\nUSER u\nFROM base\nRUN true\n'
    frame = read_dockerfile(text).instructions
    assert frame["line"].tolist() == [1, 2, 5, 8, 9, 9, 9, 10]
    assert frame["end_line"].tolist()[:4] == [1, 4, 7, 8]
    assert frame["heredocs"][frame["onbuild"]].tolist() == ["<<EOF\nmake\nEOF\n", "<<X\n$y\nX\n"]
    assert frame["instruction"].tolist()[5:] == ["RUN", "COPY", "RUN"]


def test_mounts_know_stages_by_name_only():
    graph = read_dockerfile("FROM a\nFROM b\nRUN --mount=from=0,target=/x true\nCOPY --from=0 a b\n").graph
    assert graph["source_is_stage"].tolist() == [False, False, False, True]


@pytest.mark.parametrize("lines", [20, 40, 80])
@pytest.mark.parametrize("double", ["$A{0}$A{0}", "${{A{0}//x/xx}}", "${{A{0}}}${{A{0}}}"])
def test_variables_that_double_are_refused_at_the_limit_of_all_text(monkeypatch, double, lines):
    """The text that exists does not grow with the number of lines."""
    monkeypatch.setattr(syntax, "MAX_EXPANDED", 20_000)
    text = "FROM a\nARG A0=xxxxxxxxxx\n" + "".join(f"ENV A{line + 1}={double.format(line)}\n" for line in range(lines))
    steps = parse(text).stages[0].steps
    assert sum(len(word) for step in steps for word in step.words) < 20_000 + 20 * lines
    assert "expand to more than 20,000 bytes" in str([step.error for step in steps])
