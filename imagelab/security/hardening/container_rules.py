"""Rules for containers: section 5 of the CIS Docker Benchmark 1.7, as far as ``docker inspect`` can answer it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from imagelab.core.json_fields import mapping, mappings, number, sequence, text, texts
from imagelab.core.redact import mask_document
from imagelab.security.hardening.containers import DEFAULT_CAPABILITIES, ContainerFacts, is_unlimited
from imagelab.security.hardening.rules import Evidence, HardeningRule, Unknown, identity, is_root

#: Folders of the host that no container needs: their first level, and anything writable inside.
_SYSTEM = re.compile(r"/(?:boot|dev|etc|home|lib|lib64|proc|root|sys|usr|var/run|run)?(?:/|$)")
#: Paths that expose the host at any depth: engines' state, and credentials of the system and of homes.
_EXPOSING = re.compile(
    r"/(?:var/lib/(?:docker|containerd|kubelet|rancher)|etc/(?:ssl/private|shadow|gshadow|sudoers|ssh|kubernetes|pki/tls/private)"
    r"|proc/sys|sys/kernel|(?:root|home/[^/]+)/\.(?:ssh|aws|azure|kube|docker|gnupg|netrc|npmrc|pypirc|pgpass|config/gcloud))(?:/|$)"
)
_HARMLESS = ("/etc/localtime", "/etc/timezone")
_SOCKETS = ("docker.sock", "containerd.sock", "podman.sock", "crio.sock", "docker_engine")  # Windows' named pipe
#: Sysctls that affect only the container (Kubernetes' list of safe ones).
_SAFE_SYSCTL = re.compile(
    r"kernel\.shm_rmid_forced|net\.ipv4\.(?:ip_(?:local|unprivileged)_\w+|tcp_\w+|ping_group_range)"
)


def _setting(key: str, fails: Callable[[Any], bool], message: str) -> Callable[[ContainerFacts], Iterator[Evidence]]:
    """Make a check of one setting of HostConfig."""

    def check(facts: ContainerFacts) -> Iterator[Evidence]:
        if not facts.host:
            raise Unknown("docker inspect shows no HostConfig")
        if fails(facts.host.get(key)):
            yield Evidence(message.format(facts.host.get(key)))

    return check


def _is_shared(mode: Any) -> bool:
    """Whether a namespace is the host's or another container's."""
    return mode == "host" or str(mode).startswith("container:")


def user(facts: ContainerFacts) -> Iterator[Evidence]:
    name = text(facts.config.get("User")) or ""
    if is_root(name):
        yield Evidence(f"runs as {name or 'root (no user set)'}")


def capabilities(facts: ContainerFacts) -> Iterator[Evidence]:
    facts.expect_linux()
    granted = facts.capabilities
    extra = sorted(set(granted) - set(DEFAULT_CAPABILITIES))
    if extra:
        yield Evidence("more than Docker's defaults: " + ", ".join(extra))
    elif set(DEFAULT_CAPABILITIES) <= set(granted):
        yield Evidence("none dropped; it has Docker's defaults: " + ", ".join(DEFAULT_CAPABILITIES))


def no_new_privileges(facts: ContainerFacts) -> Iterator[Evidence]:
    facts.expect_linux()
    if not facts.no_new_privileges:
        yield Evidence("security-opt no-new-privileges is not set")


def unconfined(facts: ContainerFacts) -> Iterator[Evidence]:
    facts.expect_linux()
    if facts.host.get("Privileged"):
        yield Evidence("--privileged turns both off")
    if facts.host.get("MaskedPaths") == []:
        yield Evidence("security-opt systempaths=unconfined: nothing in /proc is masked")
    profile = text(facts.inspected.get("AppArmorProfile"))
    for option in dict.fromkeys([*facts.options, f"apparmor={profile}"]):
        if re.fullmatch(r"(?:seccomp|apparmor)[:=]unconfined", option):
            yield Evidence(f"security-opt {option}")


def socket(facts: ContainerFacts) -> Iterator[Evidence]:
    for source, inside, _ in facts.mounts():
        if source.endswith(_SOCKETS) or inside.endswith(_SOCKETS):
            yield Evidence(f"mounts {source} at {inside}: it gives root on the host")


def host_paths(facts: ContainerFacts) -> Iterator[Evidence]:
    for source, inside, writable in facts.mounts():
        if source.endswith(_SOCKETS) or (source in _HARMLESS and not writable):
            continue
        is_system = _SYSTEM.match(source.rstrip("/") + "/") and (source.count("/") < 3 or writable)
        if is_system or _EXPOSING.match(source):
            yield Evidence(f"mounts {source} at {inside}, {'writable' if writable else 'read-only'}")


def environment(facts: ContainerFacts) -> Iterator[Evidence]:
    for where, kind in mask_document({key: facts.config.get(key) for key in ("Env", "Entrypoint", "Cmd")})[1]:
        yield Evidence(f"{where}: {kind}")


def health(facts: ContainerFacts) -> Iterator[Evidence]:
    if sequence(mapping(facts.config.get("Healthcheck")).get("Test")) in ([], ["NONE"]):
        yield Evidence("no health check, in the image or for the container")


def published(facts: ContainerFacts) -> Iterator[Evidence]:
    bound = mapping(facts.host.get("PortBindings"))
    if facts.host.get("PublishAllPorts"):  # the engine chooses the ports at each start
        bound = {inside: [{}] for inside in mapping(facts.config.get("ExposedPorts"))} | bound
    for inside, places in bound.items():
        if any(place.get("HostIp") in (None, "", "0.0.0.0", "::") for place in mappings(places)):
            yield Evidence(f"port {inside} is published on every interface")


def low_ports(facts: ContainerFacts) -> Iterator[Evidence]:
    for inside, places in mapping(facts.host.get("PortBindings")).items():
        for port in texts([place.get("HostPort") for place in mappings(places)]):
            if 0 < (identity(port) or 0) < 1024:
                yield Evidence(f"port {port} of the host leads to {inside}")


def restart(facts: ContainerFacts) -> Iterator[Evidence]:
    policy = mapping(facts.host.get("RestartPolicy"))
    name, count = text(policy.get("Name")), number(policy.get("MaximumRetryCount")) or 0
    if name in ("always", "unless-stopped") or (name == "on-failure" and not 0 < count <= 5):
        yield Evidence(f"--restart {name}" + (f":{count:.0f}" if count else ""))


def cpu(facts: ContainerFacts) -> Iterator[Evidence]:
    keys = ("NanoCpus", "CpuQuota", "CpuShares", "CpusetCpus")
    if not any(facts.host.get(key) not in (None, 0, "", -1) for key in keys):
        yield Evidence("no limit and no share")


def propagation(facts: ContainerFacts) -> Iterator[Evidence]:
    for mount in mappings(facts.inspected.get("Mounts")):
        if mount.get("Propagation") in ("shared", "rshared"):
            yield Evidence(f"{text(mount.get('Source'))}: {mount['Propagation']}")


def group(facts: ContainerFacts) -> Iterator[Evidence]:
    name = text(facts.config.get("User")) or ""
    own = name.partition(":")[2]
    if not is_root(name) and own and (own == "root" or identity(own) == 0):
        yield Evidence(f"runs with group {own}")
    for added in texts(facts.host.get("GroupAdd")):
        if added == "root" or identity(added) == 0:
            yield Evidence(f"--group-add {added}")


def sysctls(facts: ContainerFacts) -> Iterator[Evidence]:
    for name, value in mapping(facts.host.get("Sysctls")).items():
        if not _SAFE_SYSCTL.fullmatch(name):
            yield Evidence(f"--sysctl {name}={value}")


def oom(facts: ContainerFacts) -> Iterator[Evidence]:
    if facts.host.get("OomKillDisable") is True:
        yield Evidence("--oom-kill-disable")
    if (score := number(facts.host.get("OomScoreAdj")) or 0) < 0:
        yield Evidence(f"--oom-score-adj {score:.0f}")


# fmt: off
CONTAINER_RULES = tuple(HardeningRule(name, severity, cis, None, advice, check) for name, severity, cis, advice, check in (
    ("run as another user than root", "medium", "4.1", "docker run --user, or USER in the image.", user),
    ("not in the root group", "low", "4.1", "Give the user a group of its own; drop --group-add 0.", group),
    ("not privileged", "critical", "5.5", "Drop --privileged; add the one capability or device that is needed.",
     _setting("Privileged", bool, "--privileged")),
    ("capabilities dropped", "medium", "5.4", "--cap-drop=ALL, then --cap-add what is needed.", capabilities),
    ("no new privileges", "medium", "5.26", "--security-opt no-new-privileges.", no_new_privileges),
    ("read-only root filesystem", "medium", "5.13", "--read-only, with --tmpfs or volumes for what is written.",
     _setting("ReadonlyRootfs", lambda value: not value, "the root filesystem is writable")),
    ("seccomp and AppArmor on", "high", "5.22", "Keep the default profiles, or write stricter ones.", unconfined),
    ("no engine socket", "critical", "5.32", "Remove the mount; if it must stay, use a filtering proxy.", socket),
    ("no host paths", "high", "5.6", "Mount volumes, or only the folder that is needed, read-only.", host_paths),
    ("no shared propagation", "medium", "5.20", "Drop :shared and :rshared from the mount.", propagation),
    ("no devices", "medium", "5.18", "Drop --device.", _setting("Devices", bool, "devices: {}")),
    *((f"own {what}", "high", cis, f"Drop --{flag}.", _setting(key, _is_shared, f"--{flag}={{}}"))
      for what, cis, flag, key in (
          ("network", "5.10", "network", "NetworkMode"), ("processes", "5.16", "pid", "PidMode"),
          ("IPC", "5.17", "ipc", "IpcMode"), ("host name", "5.21", "uts", "UTSMode"),
          ("users", "5.31", "userns", "UsernsMode"), ("cgroup", "5.25", "cgroupns", "CgroupnsMode"))),
    ("default cgroup", "low", "5.25", "Drop --cgroup-parent.", _setting("CgroupParent", bool, "--cgroup-parent={}")),
    ("own bridge", "low", "5.30", "Create a network, and use it with --network.",
     _setting("NetworkMode", lambda mode: mode in ("default", "bridge"), "the default bridge docker0")),
    ("memory limit", "medium", "5.11", "--memory.", _setting("Memory", is_unlimited, "no limit")),
    ("CPU limit", "low", "5.12", "--cpus or --cpu-shares.", cpu),
    ("process limit", "medium", "5.29", "--pids-limit.", _setting("PidsLimit", is_unlimited, "no limit")),
    ("ulimits set", "negligible", "5.19", "--ulimit nofile=… and nproc=…, or defaults for the engine.",
     _setting("Ulimits", lambda value: not value, "the engine's defaults apply")),
    ("OOM killer on", "medium", None, "Drop --oom-kill-disable and a negative --oom-score-adj.", oom),
    ("restart policy", "low", "5.15", "--restart on-failure:5, so that a crash loop ends.", restart),
    ("ports on one interface", "low", "5.14", "-p 127.0.0.1:PORT:PORT, or the address that is meant.", published),
    ("no privileged ports", "low", "5.8", "Publish a port from 1024 on, behind a proxy.", low_ports),
    ("safe sysctls", "medium", None, "Drop --sysctl, or set it on the host.", sysctls),
    ("logs kept", "low", "2.13", "Drop --log-driver none.",
     _setting("LogConfig", lambda value: mapping(value).get("Type") == "none", "--log-driver none")),
    ("health check", "low", "5.27", "HEALTHCHECK in the image, or --health-cmd.", health),
    ("no secrets in the environment", "high", None, "Mount a file: docker inspect shows the environment.", environment),
))
# fmt: on
