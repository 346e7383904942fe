"""List containers and what they are allowed to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from imagelab.core.errors import ImagelabError
from imagelab.core.frames import make_frame
from imagelab.core.json_fields import mapping, number, sequence, text, texts
from imagelab.images.tables.steps import timestamp
from imagelab.security.hardening.rules import Unknown

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
#: Docker's default capabilities (moby, oci/caps/defaults.go).
DEFAULT_CAPABILITIES = (
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
    "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
)  # fmt: skip


@dataclass(frozen=True)
class ContainerFacts:
    """A container's settings, from ``docker inspect``."""

    inspected: Mapping[str, Any]

    @classmethod
    def load(cls, reference: str) -> ContainerFacts:
        from imagelab.images.sources.daemon import inspect_containers

        return cls(inspect_containers(reference.removeprefix("container:"))[0])

    @classmethod
    def of(cls, inspected: Any) -> ContainerFacts:
        """The output of ``docker inspect`` from elsewhere; anything but a container is refused."""
        listed = isinstance(inspected, Mapping) and isinstance(inspected.get("State"), str)  # by docker ps
        if not isinstance(inspected, Mapping) or "HostConfig" not in inspected or listed:
            raise ImagelabError(
                "not the output of `docker inspect CONTAINER`: expected an object with HostConfig, not an image or a row "
                "of `docker ps`. Pass each item of its JSON list."
            )
        return cls(inspected)

    @property
    def config(self) -> dict[str, Any]:
        return mapping(self.inspected.get("Config"))

    @property
    def host(self) -> dict[str, Any]:
        host = mapping(self.inspected.get("HostConfig"))
        # before API 1.18 the memory limit was in Config
        return host and {"Memory": self.config.get("Memory")} | host

    @property
    def id(self) -> str | None:
        return text(self.inspected.get("Id")) or text(self.inspected.get("ID"))  # until Docker 1.2

    @property
    def name(self) -> str:
        return (text(self.inspected.get("Name")) or self.id or "").removeprefix("/")

    @property
    def state(self) -> str | None:
        """The state in one word; Docker before 1.9 has flags, combined as in moby's State.StateString."""
        state = mapping(self.inspected.get("State"))
        flags = (flag.lower() for flag in ("Paused", "Restarting", "Running", "Dead") if state.get(flag) is True)
        never = str(state.get("StartedAt", "0001-")).startswith("0001-")
        return text(state.get("Status")) or next(flags, None) or (("created" if never else "exited") if state else None)

    @property
    def is_windows(self) -> bool:
        return self.inspected.get("Platform") == "windows"

    def expect_linux(self) -> None:
        if self.is_windows:
            raise Unknown("not applicable on Windows")

    @property
    def options(self) -> list[str]:
        return texts(self.host.get("SecurityOpt"))

    @property
    def no_new_privileges(self) -> bool:
        return any(re.fullmatch(r"no-new-privileges(?:[:=]true)?", option) for option in self.options)

    @property
    def capabilities(self) -> tuple[str, ...]:
        """The bounding set: ALL, or names without ``CAP_``, from the defaults, ``--cap-drop`` and ``--cap-add``.

        Podman has fewer defaults and reports the set itself.
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
        """Host path, path inside, and whether it is writable, of bind mounts and Windows' named pipes.

        ``Mounts`` exists since Docker 1.8, its ``Type`` since 1.13; before that, only a volume has a driver.
        """
        if "Mounts" not in self.inspected:
            binds = [bind.split(":") for bind in texts(self.host.get("Binds")) if bind.startswith("/") and ":" in bind]
            return [(source, inside, "ro" not in mode) for source, inside, *mode in binds]
        found = [mapping(entry) for entry in sequence(self.inspected.get("Mounts"))]
        return [
            (str(entry.get("Source")), str(entry.get("Destination")), bool(entry.get("RW")))
            for entry in found
            if (entry.get("Type") or ("volume" if entry.get("Driver") or entry.get("Name") else "bind"))
            in ("bind", "npipe")
        ]


def containers(inspected: Mapping[str, Any] | Iterable[Mapping[str, Any]] | None = None) -> pd.DataFrame:
    """List the engine's containers, created or running, and what they are allowed to do.

    Parameters
    ----------
    inspected : mapping or iterable of mappings, optional
        The output of ``docker inspect``; the engine's containers if not given.

    Returns
    -------
    pandas.DataFrame
        ``CONTAINERS_COLUMNS``: reference (``container:NAME``, for `check_hardening`), container (id), image, state,
        created (UTC), user (as set; empty is root), read_only (root filesystem), privileged, no_new_privileges,
        capabilities (the bounding set, comma-separated; ``ALL`` if none is dropped, ``<NA>`` on Windows), network
        (mode), mounts (bind mounts, ``host:inside``), memory (bytes), cpus, pids; ``<NA>`` is without a limit.

    Raises
    ------
    DaemonUnavailable
    ImagelabError
        The argument is not the output of ``docker inspect`` for containers.
    """
    if inspected is None:
        from imagelab.images.sources.daemon import inspect_containers

        inspected = inspect_containers()
    single = isinstance(inspected, Mapping) or not isinstance(inspected, Iterable)
    found = map(ContainerFacts.of, [inspected] if single else inspected)
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
        "memory": int(memory) if not is_unlimited(memory) else None,
        "cpus": nano / 1e9 or (quota / (period or 100_000) if quota > 0 else None),
        "pids": int(pids) if not is_unlimited(pids) else None,
    }


def is_unlimited(value: Any) -> bool:
    """Whether a limit is not set; kernels report that as the largest number of pages."""
    return not 0 < (number(value) or 0) < 1 << 62
