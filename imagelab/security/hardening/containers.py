"""Containers of an engine, created or running: what they may do, and rules about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from imagelab.core.errors import ImagelabError
from imagelab.core.frames import make_frame
from imagelab.core.json_fields import mapping, number, sequence, text, texts
from imagelab.core.redact import mask_document
from imagelab.images.tables.steps import timestamp
from imagelab.security.hardening.rules import Evidence, Rule, Unknown, is_root

CONTAINERS_COLUMNS = {
    "reference": "string",
    "container": "string",
    "image": "string",
    "state": "string",
    "created": "datetime64[us, UTC]",
    "user": "string",
    "read_only": "boolean",
    "privileged": "boolean",
    "no_new_privileges": "boolean",
    "capabilities": "string",
    "network": "string",
    "mounts": "string",
    "memory": "Int64",
    "cpus": "Float64",
    "pids": "Int64",
}
#: What Docker leaves to a container unless told otherwise (moby, profiles and oci/caps defaults).
DEFAULT_CAPABILITIES = (
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
    "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
)  # fmt: skip
_SENSITIVE = re.compile(r"/(?:boot|dev|etc|lib|lib64|proc|root|sys|usr|var/lib/docker|var/run|run)?(?:/|$)")
_SOCKETS = ("docker.sock", "containerd.sock", "podman.sock", "crio.sock", "docker_engine")  # Windows' named pipe


@dataclass(frozen=True)
class ContainerFacts:
    """A container as the engine's inspect tells it."""

    inspected: Mapping[str, Any]

    @classmethod
    def load(cls, reference: str) -> ContainerFacts:
        from imagelab.images.sources.daemon import inspect_containers

        return cls(inspect_containers(reference.removeprefix("container:"))[0])

    @classmethod
    def of(cls, inspected: Any) -> ContainerFacts:
        """What was inspected elsewhere; refused where it is something else than a container."""
        listed = isinstance(inspected, Mapping) and isinstance(inspected.get("State"), str)  # by docker ps
        if not isinstance(inspected, Mapping) or "HostConfig" not in inspected or listed:
            raise ImagelabError(
                "not what `docker inspect CONTAINER` says: expected an object with HostConfig, not an image or a row "
                "of `docker ps`. Give each item of its JSON list."
            )
        return cls(inspected)

    @property
    def config(self) -> dict[str, Any]:
        return mapping(self.inspected.get("Config"))

    @property
    def host(self) -> dict[str, Any]:
        host = mapping(self.inspected.get("HostConfig"))
        # before API 1.18 the limit was the Config's
        return host and {"Memory": self.config.get("Memory")} | host

    @property
    def id(self) -> str | None:
        return text(self.inspected.get("Id")) or text(self.inspected.get("ID"))  # so until Docker 1.2

    @property
    def name(self) -> str:
        return (text(self.inspected.get("Name")) or self.id or "").removeprefix("/")

    @property
    def state(self) -> str | None:
        """Docker before 1.9 tells flags, which moby's State.StateString puts into one word."""
        told = mapping(self.inspected.get("State"))
        flags = (flag.lower() for flag in ("Paused", "Restarting", "Running", "Dead") if told.get(flag) is True)
        never = str(told.get("StartedAt", "0001-")).startswith("0001-")
        return text(told.get("Status")) or next(flags, None) or (("created" if never else "exited") if told else None)

    @property
    def is_windows(self) -> bool:
        return self.inspected.get("Platform") == "windows"

    def expect_linux(self) -> None:
        if self.is_windows:
            raise Unknown("Windows has nothing of the kind")

    @property
    def options(self) -> list[str]:
        return texts(self.host.get("SecurityOpt"))

    @property
    def no_new_privileges(self) -> bool:
        return any(re.fullmatch(r"no-new-privileges(?:[:=]true)?", option) for option in self.options)

    @property
    def capabilities(self) -> tuple[str, ...]:
        """The bounding set: ALL, or names without ``CAP_``, from the defaults, ``--cap-drop`` and ``--cap-add``.

        Podman, whose defaults are fewer, tells the set itself.
        """
        bounding, add, drop = (
            {name.upper().removeprefix("CAP_") for name in texts(value)}
            for value in (self.inspected.get("BoundingCaps"), self.host.get("CapAdd"), self.host.get("CapDrop"))
        )
        if self.host.get("Privileged"):
            return ("ALL",)
        if "BoundingCaps" in self.inspected:
            return tuple(sorted(bounding))
        if "ALL" in add:
            return ("ALL", *(f"-{name}" for name in sorted(drop - {"ALL"})))
        kept = set() if "ALL" in drop else set(DEFAULT_CAPABILITIES) - drop
        return tuple(sorted(kept | add))

    def mounts(self) -> list[tuple[str, str, bool]]:
        """Host path, path inside, writable; of bind mounts, and of Windows' named pipes.

        ``Mounts`` is there since Docker 1.8, their ``Type`` since 1.13: until then, only a volume has a driver.
        """
        if "Mounts" not in self.inspected:
            binds = [bind.split(":") for bind in texts(self.host.get("Binds")) if bind.startswith("/") and ":" in bind]
            return [(source, inside, "ro" not in mode) for source, inside, *mode in binds]
        found = [mapping(one) for one in sequence(self.inspected.get("Mounts"))]
        return [
            (str(one.get("Source")), str(one.get("Destination")), bool(one.get("RW")))
            for one in found
            if (one.get("Type") or ("volume" if one.get("Driver") or one.get("Name") else "bind")) in ("bind", "npipe")
        ]


def containers(inspected: Mapping[str, Any] | Iterable[Mapping[str, Any]] | None = None) -> pd.DataFrame:
    """The engine's containers, created or running, and what they may do.

    Parameters
    ----------
    inspected : mapping or iterable of mappings, optional
        What ``docker inspect`` says of containers; asked of the engine if not given.

    Returns
    -------
    pandas.DataFrame
        ``CONTAINERS_COLUMNS``: reference (``container:NAME``, for `check_hardening`), container (id), image, state,
        created (UTC), user (as set; empty is root), read_only (root filesystem), privileged, no_new_privileges,
        capabilities (the bounding set, as a comma-separated list; ``ALL`` where nothing is held back, ``<NA>`` on
        Windows), network (mode), mounts (bind mounts, ``host:inside``), memory (bytes), cpus, pids; ``<NA>`` is
        without a limit.

    Raises
    ------
    DaemonUnavailable
    ImagelabError
        Something else was given than what ``docker inspect`` says of containers.
    """
    if inspected is None:
        from imagelab.images.sources.daemon import inspect_containers

        inspected = inspect_containers()
    one = isinstance(inspected, Mapping) or not isinstance(inspected, Iterable)
    found = map(ContainerFacts.of, [inspected] if one else inspected)
    return make_frame([_row(facts) for facts in found], CONTAINERS_COLUMNS)


def _row(facts: ContainerFacts) -> dict[str, Any]:
    host = facts.host
    limits = ("NanoCpus", "CpuQuota", "CpuPeriod", "PidsLimit", "Memory")
    nano, quota, period, pids, memory = (number(host.get(key)) or 0 for key in limits)
    return {
        "reference": f"container:{facts.name}",
        "container": facts.id,
        "image": text(facts.config.get("Image")),
        "state": facts.state,
        "created": timestamp(text(facts.inspected.get("Created"))),
        "user": text(facts.config.get("User")) or "",
        "read_only": bool(host.get("ReadonlyRootfs")),
        "privileged": bool(host.get("Privileged")),
        "no_new_privileges": None if facts.is_windows else facts.no_new_privileges,
        "capabilities": None if facts.is_windows else ", ".join(facts.capabilities),
        "network": text(host.get("NetworkMode")),
        "mounts": ", ".join(f"{source}:{inside}" for source, inside, _ in facts.mounts()),
        "memory": int(memory) if not _is_unlimited(memory) else None,
        "cpus": nano / 1e9 or (quota / (period or 100_000) if quota > 0 else None),
        "pids": int(pids) if not _is_unlimited(pids) else None,
    }


def _setting(key: str, wrong: Callable[[Any], bool], say: str) -> Callable[[ContainerFacts], Iterator[Evidence]]:
    """A check of one of the host config's settings."""

    def check(facts: ContainerFacts) -> Iterator[Evidence]:
        if not facts.host:
            raise Unknown("the engine's inspect has no HostConfig")
        if wrong(facts.host.get(key)):
            yield Evidence(say.format(facts.host.get(key)))

    return check


def _is_host(mode: Any) -> bool:
    return bool(mode == "host")


def _is_unlimited(value: Any) -> bool:
    """Kernels say so with the largest number of pages."""
    return not 0 < (number(value) or 0) < 1 << 62


def user(facts: ContainerFacts) -> Iterator[Evidence]:
    name = text(facts.config.get("User")) or ""
    if is_root(name):
        yield Evidence(f"runs as {name or 'root (no user set)'}")


def capabilities(facts: ContainerFacts) -> Iterator[Evidence]:
    facts.expect_linux()
    held = facts.capabilities
    extra = sorted(set(held) - set(DEFAULT_CAPABILITIES))
    if extra:
        yield Evidence("holds more than Docker's defaults: " + ", ".join(extra))
    elif set(DEFAULT_CAPABILITIES) <= set(held):
        yield Evidence("none dropped: holds Docker's defaults, " + ", ".join(DEFAULT_CAPABILITIES))


def no_new_privileges(facts: ContainerFacts) -> Iterator[Evidence]:
    facts.expect_linux()
    if not facts.no_new_privileges:
        yield Evidence("security-opt no-new-privileges is not set")


def unconfined(facts: ContainerFacts) -> Iterator[Evidence]:
    facts.expect_linux()
    if facts.host.get("Privileged"):
        yield Evidence("--privileged turns both off")
    profile = text(facts.inspected.get("AppArmorProfile"))
    for option in dict.fromkeys([*facts.options, f"apparmor={profile}"]):
        if re.fullmatch(r"(?:seccomp|apparmor)[:=]unconfined|label[:=]disable", option):
            yield Evidence(f"security-opt {option}")


def socket(facts: ContainerFacts) -> Iterator[Evidence]:
    for source, inside, _ in facts.mounts():
        if source.endswith(_SOCKETS) or inside.endswith(_SOCKETS):
            yield Evidence(f"mounts {source} at {inside}: its holder is root on the host")


def host_paths(facts: ContainerFacts) -> Iterator[Evidence]:
    for source, inside, writable in facts.mounts():
        sensitive = _SENSITIVE.match(source.rstrip("/") + "/") and not source.endswith(_SOCKETS)
        if sensitive and (source.count("/") < 3 or writable):
            yield Evidence(f"mounts {source} at {inside}, {'writable' if writable else 'read-only'}")


def environment(facts: ContainerFacts) -> Iterator[Evidence]:
    for where, kind in mask_document({key: facts.config.get(key) for key in ("Env", "Entrypoint", "Cmd")})[1]:
        yield Evidence(f"{where}: {kind}")


def health(facts: ContainerFacts) -> Iterator[Evidence]:
    if sequence(mapping(facts.config.get("Healthcheck")).get("Test")) in ([], ["NONE"]):
        yield Evidence("no health check, of the image or of its own")


def published(facts: ContainerFacts) -> Iterator[Evidence]:
    bound = mapping(facts.host.get("PortBindings"))
    if facts.host.get("PublishAllPorts"):  # on ports that the engine chooses at each start
        bound = {inside: [{}] for inside in mapping(facts.config.get("ExposedPorts"))} | bound
    for inside, places in bound.items():
        for place in map(mapping, sequence(places)):
            if place.get("HostIp") in (None, "", "0.0.0.0", "::"):
                yield Evidence(f"port {inside} is published on every interface")


# fmt: off
CONTAINER_RULES = (
    Rule("run as another user than root", "4.1", None, "docker run --user, or USER in the image.", user),
    Rule("not privileged", "5.4", None, "Drop --privileged; add the one capability or device that is needed.",
         _setting("Privileged", bool, "--privileged")),
    Rule("capabilities dropped", "5.3", None, "--cap-drop=ALL, then --cap-add what it asks for.", capabilities),
    Rule("no new privileges", "5.25", None, "--security-opt no-new-privileges.", no_new_privileges),
    Rule("read-only root filesystem", "5.12", None, "--read-only, with --tmpfs or volumes where it writes.",
         _setting("ReadonlyRootfs", lambda value: not value, "the root filesystem is writable")),
    Rule("seccomp and AppArmor on", "5.21", None, "Keep the default profiles, or write narrower ones.", unconfined),
    Rule("no engine socket", "5.31", None, "Take the mount away; a filtering proxy where it cannot be.", socket),
    Rule("no host paths", "5.5", None, "Mount volumes, or the one folder that is needed, read-only.", host_paths),
    Rule("no devices", "5.17", None, "Drop --device.", _setting("Devices", bool, "devices: {}")),
    *(Rule(f"own {what}", cis, None, f"Drop --{flag}=host.", _setting(key, _is_host, f"--{flag}={{}}"))
      for what, cis, flag, key in (
          ("network", "5.9", "network", "NetworkMode"), ("processes", "5.15", "pid", "PidMode"),
          ("IPC", "5.16", "ipc", "IpcMode"),
          ("host name", "5.20", "uts", "UTSMode"), ("users", "5.30", "userns", "UsernsMode"))),
    Rule("memory limit", "5.10", None, "--memory.", _setting("Memory", _is_unlimited, "no limit")),
    Rule("process limit", "5.28", None, "--pids-limit.", _setting("PidsLimit", _is_unlimited, "no limit")),
    Rule("ports on one interface", "5.13", None, "-p 127.0.0.1:PORT:PORT, or the address that is meant.", published),
    Rule("health check", "5.26", None, "HEALTHCHECK in the image, or --health-cmd.", health),
    Rule("no secrets in the environment", None, None, "Mount a file: docker inspect shows all of it.", environment),
)
# fmt: on
