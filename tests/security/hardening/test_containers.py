"""Containers: what the check says is compared with what the container can really do."""

from __future__ import annotations

import json
import re

import pytest

import imagelab as il
from imagelab.core.errors import ImagelabError, ImageNotFound
from imagelab.security.hardening.check import check_hardening
from imagelab.security.hardening.container_rules import CONTAINER_RULES
from imagelab.security.hardening.containers import (
    CONTAINERS_COLUMNS,
    DEFAULT_CAPABILITIES,
    ContainerFacts,
    containers,
)

# linux/capability.h: the bit of each of Docker's defaults, and of three others.
BITS = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8,
    "NET_BIND_SERVICE": 10, "NET_ADMIN": 12, "NET_RAW": 13, "SYS_CHROOT": 18, "SYS_PTRACE": 19, "SYS_ADMIN": 21,
    "MKNOD": 27, "AUDIT_WRITE": 29, "SETFCAP": 31,
}  # fmt: skip
IMAGE = "localhost/busybox:static"
#: What the container tries: each line says what it may do.
TRY = """
(touch /probe) 2>/dev/null && echo write-root || echo no-write-root
(touch /tmp/probe) 2>/dev/null && echo write-tmp || echo no-write-tmp
(touch /tmp/owned && chown 1234 /tmp/owned) 2>/dev/null && echo chown || echo no-chown
(chroot / true) 2>/dev/null && echo chroot || echo no-chroot
(timeout 1 nc -l -p 80 < /dev/null) 2>&1 | grep -qi 'permission' && echo no-bind || echo bind
grep -E '^(CapBnd|NoNewPrivs|Uid)' /proc/self/status
"""
CASES = {
    "default": [],
    "read-only": ["--read-only", "--tmpfs", "/tmp"],
    "no-capabilities": ["--cap-drop=ALL"],
    "bind-only": ["--cap-drop=ALL", "--cap-add=NET_BIND_SERVICE"],
    "chown-dropped": ["--cap-drop=CHOWN", "--cap-drop=cap_sys_chroot"],
    "more": ["--cap-add=SYS_PTRACE", "--cap-add=NET_ADMIN"],
    "user": ["--user=1000:1000", "--tmpfs", "/tmp:mode=1777"],
    "no-new-privileges": ["--security-opt=no-new-privileges"],
    "hardened": [
        "--read-only",
        "--tmpfs",
        "/tmp",
        "--cap-drop=ALL",
        "--user=65534",
        "--security-opt=no-new-privileges",
        "--memory=32m",
        "--pids-limit=50",
        "--cpus=0.5",
        "--health-cmd=true",
        "--ulimit=nofile=1024",
        "--cgroupns=private",
    ],
}
#: Docker lets every container bind every port (it sets this to 0): only so does NET_BIND_SERVICE decide anything.
LOW_PORTS = ["--network=none", "--sysctl", "net.ipv4.ip_unprivileged_port_start=1024"]


@pytest.mark.engine
def test_low_ports_need_no_capability_by_default(modern):
    tries = "(timeout 1 nc -l -p 80 < /dev/null) 2>&1 | grep -ci permission; cat /proc/sys/net/ipv4/ip_unprivileged_port_start"
    options = ["--rm", "--network=none", "--cap-drop=ALL", "--user=1000"]
    assert modern.docker("run", *options, IMAGE, "/bin/sh", "-c", tries).split() == ["0", "0"]


@pytest.fixture
def engine_env(modern, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", modern.host)
    made = []
    yield modern, made
    for name in made:
        modern.docker("rm", "-f", name)


@pytest.mark.engine
@pytest.mark.parametrize("case", CASES)
def test_settings_agree_with_what_a_container_can_do(engine_env, case):
    engine, made = engine_env
    name = f"imagelab-hardening-{case}"
    made.append(name)
    did = engine.docker("run", "--name", name, *LOW_PORTS, *CASES[case], IMAGE, "/bin/sh", "-c", TRY)
    row = containers().set_index("reference").loc[f"container:{name}"]
    said = check_hardening(f"container:{name}").set_index("rule")["result"]

    def passed(rule):
        return said.loc[[rule]].iloc[0] == "passed"

    is_root = re.search(r"^Uid:\s+0\b", did, re.M) is not None
    assert passed("run as another user than root") == (not is_root)
    assert passed("read-only root filesystem") == row["read_only"]
    if is_root:
        assert ("no-write-root" in did) == row["read_only"]
    if case == "hardened":
        assert "no-write-root" in did and "\nwrite-tmp" in did
    held = set(row["capabilities"].split(", ")) - {""}
    bounding = int(re.search(r"^CapBnd:\s+(\w+)", did, re.M)[1], 16)
    assert held & set(BITS) == {word for word, bit in BITS.items() if bounding >> bit & 1}
    assert bounding.bit_count() == len(held)
    if is_root:
        assert ("no-chown" in did) == ("CHOWN" not in held) and ("no-chroot" in did) == ("SYS_CHROOT" not in held)
    else:
        assert "no-chown" in did and "no-chroot" in did
    assert ("no-bind" in did) == (not is_root or "NET_BIND_SERVICE" not in held)
    fewer = held < set(DEFAULT_CAPABILITIES)
    assert passed("capabilities dropped") == fewer
    limited = re.search(r"^NoNewPrivs:\s+1", did, re.M) is not None
    assert passed("no new privileges") == row["no_new_privileges"] == limited
    if case == "hardened":
        assert set(said) == {"passed"}, said[said != "passed"]
        assert (row["memory"], row["cpus"], row["pids"]) == (32 * 1024**2, 0.5, 50)


@pytest.mark.engine
def test_created_privileged_and_mounted(engine_env):
    engine, made = engine_env
    made.append("imagelab-hardening-open")
    options = [
        "--privileged",
        "--network=host",
        "--pid=host",
        "--ipc=host",
        "--uts=host",
        "-v",
        "/etc:/host:ro",
        "-v",
        "/var/run/docker.sock:/var/run/docker.sock",
        "-e",
        "DB_PASSWORD=hunter2",
    ]
    engine.docker("create", "--name", "imagelab-hardening-open", *options, IMAGE, "true")
    row = containers().set_index("reference").loc["container:imagelab-hardening-open"]
    assert row["state"] == "created" and row["privileged"] and row["capabilities"] == "ALL" and row["network"] == "host"
    found = check_hardening("container:imagelab-hardening-open").set_index("rule")
    failed = set(found.index[found["result"] == "failed"])
    assert failed >= {
        "not privileged",
        "capabilities dropped",
        "no engine socket",
        "no host paths",
        "own network",
        "own processes",
        "own IPC",
        "own host name",
        "no secrets in the environment",
    }
    assert "hunter2" not in found.to_csv()
    with pytest.raises(ImageNotFound):
        check_hardening("container:imagelab-no-such-container")


def facts(**host):
    return ContainerFacts({"Name": "/x", "Config": {}, "HostConfig": host})


def test_capabilities_as_moby_computes_them():
    assert facts().capabilities == tuple(sorted(DEFAULT_CAPABILITIES))
    assert facts(CapDrop=["ALL"], CapAdd=["CAP_CHOWN", "net_raw"]).capabilities == ("CHOWN", "NET_RAW")
    assert facts(CapAdd=["ALL"], CapDrop=["SYS_ADMIN"]).capabilities == ("ALL", "-SYS_ADMIN")
    assert facts(Privileged=True, CapDrop=["ALL"]).capabilities == ("ALL",)


def test_missing_and_wrong_fields():
    from imagelab.security.hardening.rules import run_rules

    for inspected in (
        {},
        {"Config": None, "HostConfig": [], "Mounts": "x"},
        {"HostConfig": {"CapAdd": 3, "SecurityOpt": None, "PortBindings": []}},
    ):
        frame = run_rules(CONTAINER_RULES, ContainerFacts(inspected), "x")
        assert len(frame) >= len(CONTAINER_RULES)
    assert list(CONTAINERS_COLUMNS)[:3] == ["reference", "container", "image"]


def test_limits_that_are_no_numbers():
    odd = {
        "Id": 5,
        "Config": {"User": []},
        "HostConfig": {"NanoCpus": "x", "PidsLimit": "9", "Memory": [], "CpuQuota": None},
    }
    row = containers(odd).iloc[0]
    assert row["pids"] == 9 and row[["memory", "cpus"]].isna().all() and row["user"] == ""
    assert containers([odd]).dtypes.astype(str).to_dict() == CONTAINERS_COLUMNS
    results = check_hardening(odd).set_index("rule")["result"]
    assert (results["process limit"], results["memory limit"]) == ("passed", "failed")


def inspected(**more):
    return {"Name": "/x", "State": {"Status": "running"}, "Config": {}, "HostConfig": {}} | more


def failed(document):
    found = check_hardening(document)
    return found[found["result"] == "failed"].groupby("rule")["evidence"].agg(list).to_dict()


def test_mounts_of_every_age():
    """Docker reports mounts since 1.8, and their type since 1.13."""
    sock = "/var/run/docker.sock"
    volume = {"Name": "data", "Source": "/var/lib/docker/volumes/data/_data", "Destination": "/data", "Driver": "local"}
    untyped = [{"Source": sock, "Destination": sock, "RW": True}, volume | {"RW": True}]
    pipe = r"\\.\pipe\docker_engine"
    for more in (
        {"HostConfig": {"Binds": [f"{sock}:{sock}:ro", "data:/data"]}},
        {"Mounts": untyped},
        {"Mounts": [{"Type": "npipe", "Source": pipe, "Destination": pipe, "RW": True}]},
    ):
        assert "no engine socket" in failed(inspected(**more))
        assert "/data" not in containers(inspected(**more))["mounts"].iloc[0]
    old = failed(inspected(HostConfig={"Binds": ["/etc:/host:ro"], "Memory": 0}, Config={"Memory": 1 << 25}))
    assert old["no host paths"] == ["mounts /etc at /host, read-only"]


def test_state_and_limits_of_every_age():
    def row(**more):
        return containers(inspected(**more)).iloc[0]

    assert row(State={"Running": True, "Paused": True})["state"] == "paused"
    assert row(State={"Running": False, "StartedAt": "2015-06-05T02:03:00Z"})["state"] == "exited"
    assert row(State={"Running": False, "StartedAt": "0001-01-01T00:00:00Z"})["state"] == "created"
    old = row(Config={"Memory": 1 << 25}, HostConfig={"Privileged": False})  # where API 1.17 had it
    assert old["memory"] == 1 << 25
    for unlimited in (9223372036854771712, 1e30, -1, 0):
        assert row(HostConfig={"Memory": unlimited, "PidsLimit": unlimited})[["memory", "pids"]].isna().all()
        rules = failed(inspected(HostConfig={"Memory": unlimited, "PidsLimit": unlimited}))
        assert {"memory limit", "process limit"} <= rules.keys()


def test_podman_tells_the_bounding_set():
    given = {"CapAdd": ["CAP_SYS_TIME"], "CapDrop": []}
    assert ContainerFacts(inspected(HostConfig=given, BoundingCaps=["CAP_CHOWN"])).capabilities == ("CHOWN",)
    assert ContainerFacts(inspected(HostConfig=given, BoundingCaps=None)).capabilities == ()
    assert ContainerFacts(inspected(HostConfig={"Privileged": True}, BoundingCaps=["CAP_X"])).capabilities == ("ALL",)


def test_settings_that_look_harmless():
    assert "health check" in failed(inspected(Config={"Healthcheck": {"Test": ["NONE"]}}))
    assert "seccomp and AppArmor on" in failed(inspected(HostConfig={"Privileged": True}))
    assert "seccomp and AppArmor on" in failed(inspected(HostConfig={}, AppArmorProfile="unconfined"))
    every = inspected(HostConfig={"PublishAllPorts": True}, Config={"ExposedPorts": {"80/tcp": {}}})
    assert failed(every)["ports on one interface"] == ["port 80/tcp is published on every interface"]
    assert "no secrets in the environment" in failed(inspected(Config={"Entrypoint": "run --password=hunter2"}))
    assert "run as another user than root" in failed(inspected(Config={"User": "ContainerAdministrator"}))


def test_windows_has_no_capabilities():
    windows = inspected(Platform="windows", HostConfig={"Isolation": "process"})
    results = check_hardening(windows).set_index("rule")["result"]
    rules = ["capabilities dropped", "no new privileges", "seccomp and AppArmor on"]
    assert set(results[rules]) == {"unknown"}
    assert containers(windows).iloc[0][["capabilities", "no_new_privileges"]].isna().all()


def test_only_containers_inspected_are_containers():
    assert len(check_hardening([inspected()])) == len(check_hardening(inspected()))  # as docker inspect prints it
    image = {"Id": "sha256:0", "RootFS": {"Type": "layers"}, "Config": {"User": "1"}}
    listed = inspected(State="running", HostConfig={"NetworkMode": "default"})
    for other in (image, listed, {}, [image], [inspected(), inspected()]):
        with pytest.raises(ImagelabError, match="docker inspect CONTAINER"):
            check_hardening(other)
    for other in (image, [listed], [1], "x", 5):
        with pytest.raises(ImagelabError, match="docker inspect CONTAINER"):
            containers(other)


def test_host_paths(field_security):
    import json

    assert "no host paths" not in failed(json.loads((field_security / "container-localtime.json").read_text()))

    def mounted(source, writable=False):
        mount = {"Type": "bind", "Source": source, "Destination": "/x", "RW": writable}
        return "no host paths" in failed(inspected(Mounts=[mount]))

    exposed = ["/etc", "/var/lib/docker", "/var/lib/docker/volumes/a/_data", "/etc/ssl/private/key.pem", "/home/ann/.ssh/id_rsa",
               "/root/.aws", "/home/ann/.docker/config.json", "/etc/kubernetes/pki", "/proc/sys", "/",
               "//etc//", "/etc/../root", "/var/lib/containers/storage", "/var/lib/etcd/member"]  # fmt: skip
    assert [source for source in exposed if not mounted(source)] == []
    harmless = [
        "/etc/localtime",
        "/etc/timezone",
        "/srv/data",
        "/home/ann/project",
        "/etc/app/config.yaml",
        "/var/libexec",
    ]
    assert [source for source in harmless if mounted(source)] == []
    assert mounted("/etc/localtime", writable=True) and mounted("/etc/app/config.yaml", writable=True)


def test_security_options():
    host = {"PidMode": "host", "SecurityOpt": ["label=disable"], "MaskedPaths": ["/proc/kcore"]}
    assert "seccomp and AppArmor on" not in failed(inspected(HostConfig=host))
    unmasked = failed(inspected(HostConfig={"MaskedPaths": []}))["seccomp and AppArmor on"]
    assert unmasked == ["security-opt systempaths=unconfined: nothing in /proc is masked"]
    assert failed(inspected(HostConfig={"PidMode": "container:db"}))["own processes"] == ["--pid=container:db"]


@pytest.mark.parametrize(
    ("rule", "wrong", "right"),
    [
        ("restart policy", {"RestartPolicy": {"Name": "always"}},
         {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 5}}),
        ("CPU limit", {"NanoCpus": 0, "CpuShares": 0}, {"CpuShares": 512}),
        ("ulimits set", {"Ulimits": None}, {"Ulimits": [{"Name": "nofile", "Hard": 1024}]}),
        ("own cgroup", {"CgroupnsMode": "host"}, {"CgroupnsMode": "private"}),
        ("default cgroup", {"CgroupParent": "/system"}, {"CgroupParent": ""}),
        ("not in the root group", {"GroupAdd": ["0"]}, {"GroupAdd": ["1000"]}),
        ("own bridge", {"NetworkMode": "default"}, {"NetworkMode": "app"}),
        ("safe sysctls", {"Sysctls": {"kernel.msgmax": "1"}}, {"Sysctls": {"net.ipv4.tcp_syncookies": "1"}}),
        ("logs kept", {"LogConfig": {"Type": "none"}}, {"LogConfig": {"Type": "json-file"}}),
        ("OOM killer on", {"OomKillDisable": True}, {"OomKillDisable": None, "OomScoreAdj": 0}),
        ("OOM killer on", {"OomScoreAdj": -500}, {"OomScoreAdj": 500}),
        ("no privileged ports", {"PortBindings": {"80/tcp": [{"HostPort": "80"}]}},
         {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}),
        ("no privileged ports", {"PortBindings": {"80/tcp": [{"HostPort": "1000-1030"}]}},
         {"PortBindings": {"80/tcp": [{"HostPort": "8000-8030"}]}}),
        ("ports on one interface", {"PortBindings": {"80/tcp": [{"HostIp": "[::]", "HostPort": "80"}]}},
         {"PortBindings": {"80/tcp": [{"HostIp": "::1", "HostPort": "80"}]}}),
    ],
)  # fmt: skip
def test_rules_of_section_5(rule, wrong, right):
    assert rule in failed(inspected(HostConfig={"Memory": 1} | wrong))
    assert rule not in failed(inspected(HostConfig={"Memory": 1} | right))


def test_propagation_and_group_0():
    mount = {"Type": "bind", "Source": "/srv", "Destination": "/x", "RW": False}
    assert failed(inspected(Mounts=[mount | {"Propagation": "rshared"}]))["no shared propagation"] == ["/srv: rshared"]
    assert "no shared propagation" not in failed(inspected(Mounts=[mount | {"Propagation": "rprivate"}]))
    assert failed(inspected(Config={"User": "1000:0"}))["not in the root group"] == ["runs with group 0"]
    assert "not in the root group" not in failed(inspected(Config={"User": "1000:1000"}))


def test_the_recorded_fix_passes_what_failed_before():
    """The files of ``data/scans/make.py harden``: a web page, built, run and checked twice."""
    before, after = json.loads(il.data_path("scans/page.json").read_text())
    assert before["page"] == after["page"] and after["health"] == "healthy"
    assert len(failed(before["inspect"])) > 10 and not len(failed(after["inspect"]))
    images = [il.load_image(f"snapshot:{il.data_path(f'scans/page-{when}.parquet')}") for when in ("before", "after")]
    wrong, left = (set(found[found["result"] == "failed"]["rule"]) for found in map(il.check_hardening, images))
    assert left == {"no shell", "no package manager"} and len(wrong - left) > 5
