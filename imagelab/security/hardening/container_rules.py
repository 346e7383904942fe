"""Rules for containers: section 5 of the CIS Docker Benchmark 1.7, as far as ``docker inspect`` can answer it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from typing import Any

from imagelab.core.json_fields import mapping, mappings, number, sequence, text, texts
from imagelab.core.redact import mask_document
from imagelab.security.hardening.containers import DEFAULT_CAPABILITIES, ContainerFacts, is_unlimited
from imagelab.security.hardening.rules import Evidence, identity, is_root, load_rules

#: Folders of the host that no container needs: their first level, and anything writable inside.
_SYSTEM = re.compile(r"/(?:boot|dev|etc|home|lib|lib64|proc|root|sys|usr|var/run|run)?(?:/|$)")
#: Paths that expose the host at any depth: engines' state, and credentials of the system and of homes.
_EXPOSING = re.compile(
    r"/(?:var/lib/(?:docker|container(?:d|s)|crio|buildkit|kubelet|rancher|etcd)|etc/(?:ssl/private|shadow|gshadow|sudoers|ssh|kubernetes|pki/tls/private)"
    r"|proc/sys|sys/kernel|(?:root|home/[^/]+)/\.(?:ssh|aws|azure|kube|docker|gnupg|netrc|npmrc|pypirc|pgpass|config/gcloud))(?:/|$)"
)
_HARMLESS = ("/etc/localtime", "/etc/timezone")
_SOCKETS = (
    *("docker.sock", "containerd.sock", "podman.sock", "crio.sock", "cri-dockerd.sock", "buildkitd.sock"),
    "docker_engine",  # Windows' named pipe
)
#: Sysctls that affect only the container (Kubernetes' list of safe ones).
_SAFE_SYSCTL = re.compile(
    r"kernel\.shm_rmid_forced|net\.ipv4\.(?:ip_(?:local|unprivileged)_\w+|tcp_\w+|ping_group_range)"
)


#: When the value of a setting is wrong; a shared namespace is the host's or another container's.
_WRONG: dict[str, Callable[[Any], bool]] = {
    "set": bool,
    "unset": lambda value: not value,
    "shared": lambda mode: mode == "host" or str(mode).startswith("container:"),
    "default_bridge": lambda mode: mode in ("default", "bridge"),
    "unlimited": is_unlimited,
    "no_log": lambda value: mapping(value).get("Type") == "none",
}


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
        path = "/" + posixpath.normpath(source).lstrip("/")
        is_system = _SYSTEM.match(path.rstrip("/") + "/") and (path.count("/") < 3 or writable)
        if is_system or _EXPOSING.match(path):
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
        # unset, or a spelling of 0.0.0.0 or ::
        if any(re.fullmatch(r"[\[\]0:.]*", text(place.get("HostIp")) or "") for place in mappings(places)):
            yield Evidence(f"port {inside} is published on every interface")


def low_ports(facts: ContainerFacts) -> Iterator[Evidence]:
    for inside, places in mapping(facts.host.get("PortBindings")).items():
        for port in texts([place.get("HostPort") for place in mappings(places)]):
            if 0 < (identity(port.partition("-")[0]) or 0) < 1024:  # a range has its first port
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


CONTAINER_RULES = load_rules("containers", globals() | _WRONG)
