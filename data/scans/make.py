"""Makes what stands beside it: real scanners' output where they need no database, else reports of public facts.

python data/scans/make.py            # everything; the engine holds the recipes' images
python data/scans/make.py facts      # the reports of facts.csv alone: no engine, no scanner
python data/scans/make.py harden     # a check, a fix and a second check, on an engine: no scanner
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import subprocess
import tempfile
import time
from pathlib import Path

import imagelab as il
from imagelab.security.compare import package_key
from imagelab.security.prove import apply_diff

HERE = Path(__file__).resolve().parent
VERSION = "facts.csv of imagelab: public facts, not a scan"
WHEN = "2026-03-01T00:00:00Z"
#: Containers to record: options of docker run, and what each then tries.
CONTAINERS = {
    "default": [],
    "non-root": ["--user=1000:1000"],
    "read-only": ["--read-only", "--tmpfs=/tmp"],
    "cap-drop": ["--cap-drop=ALL"],
    "bind-only": ["--cap-drop=ALL", "--cap-add=NET_BIND_SERVICE"],
    "privileged": ["--privileged"],
    "hardened": ["--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--user=65534", "--security-opt=no-new-privileges"],
}
LIMITS = ["--memory=64m", "--pids-limit=64", "--cpus=0.5", "--health-cmd=true"]
TRIES = {
    "write to /": "touch /probe",
    "write to /tmp": "touch /tmp/probe",
    "change an owner": "touch /tmp/own; chown 1234 /tmp/own",
    "change root": "chroot / true",
    "mount": "mount -t tmpfs none /tmp",
}
# fmt: off
KEPT = {
    "Config": ("User", "Env", "Cmd", "Image", "Healthcheck"),
    "HostConfig": (
        "Privileged", "ReadonlyRootfs", "CapAdd", "CapDrop", "SecurityOpt", "NetworkMode", "PidMode", "IpcMode", "UTSMode",
        "UsernsMode", "Memory", "NanoCpus", "CpuQuota", "CpuPeriod", "PidsLimit", "Devices", "PortBindings",
        "RestartPolicy", "Ulimits", "CgroupnsMode", "CgroupParent", "GroupAdd", "OomKillDisable", "OomScoreAdj", "Sysctls",
    ),
    "State": ("Status",),
}
# fmt: on
#: The binary packages of Debian's source packages that the facts name.
BINARIES = {
    "glibc": ("libc6", "libc-bin"),
    "systemd": ("libsystemd0", "libudev1"),
    "gcc-12": ("gcc-12-base", "libgcc-s1", "libstdc++6", "gcc-12", "cpp-12"),
    "perl": ("perl-base", "perl"),
    "util-linux": ("util-linux", "bsdutils", "mount", "libblkid1", "libmount1", "libsmartcols1", "libuuid1"),
    "apt": ("apt", "libapt-pkg6.0"),
    "shadow": ("passwd", "login"),
}
TRIVY = ["trivy", "image", "--quiet", "--format", "json", "--scanners", "secret,license", "--offline-scan"]
TRIVY += ["--image-config-scanners", "misconfig,secret", "--skip-check-update", "--skip-db-update"]


#: A service with packages of 2020 and 2021, and what it needs to build without a network.
PINNED = """FROM localhost/python:slim
RUN --mount=type=bind,source=wheels,target=/wheels pip install --no-index --find-links=/wheels \\
    requests==2.25.0 \\
    urllib3==1.26.4
COPY app.py /app/app.py
CMD ["python3", "/app/app.py"]
"""
#: A web page, served as a beginner would and then by the advice of `il.check_hardening`; what docker run adds each time.
SERVED = {
    "before": """FROM localhost/busybox:static
WORKDIR /www
COPY --chmod=777 . .
EXPOSE 8080
CMD httpd -f -p 8080
""",
    "after": """FROM localhost/busybox:static
LABEL org.opencontainers.image.title="page" org.opencontainers.image.version="1.0.0" \\
    org.opencontainers.image.revision="0123456" org.opencontainers.image.source="https://git.example/page" \\
    org.opencontainers.image.licenses="BSD-3-Clause"
WORKDIR /www
COPY index.html .
EXPOSE 8080
USER 65534:65534
HEALTHCHECK --interval=1s CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/"]
CMD ["httpd", "-f", "-p", "8080"]
""",
}
SERVED_OPTIONS = {
    "before": ["--publish=8080:8080", "--restart=always"],
    "after": [
        *("--network=imagelab-page", "--cgroupns=private", "--restart=on-failure:5", "--read-only", "--cap-drop=ALL"),
        *("--security-opt=no-new-privileges", "--memory=64m", "--cpus=0.5", "--pids-limit=64", "--ulimit=nofile=256"),
    ],
}
APP = "import requests\nimport urllib3\n\nprint(requests.__version__, urllib3.__version__)\n"


def facts() -> list[dict]:
    """`facts.csv`, each row with the binary packages it is about."""
    rows = list(csv.DictReader((HERE / "facts.csv").open()))
    return [row | {"binaries": BINARIES.get(row["package"], (row["package"],))} for row in rows]


def affected(image: il.Image) -> list[tuple[dict, dict]]:
    """(fact, package) for every package of the image that a fact is about and that is older than its fix."""
    from packaging.version import Version

    packages = il.packages(image).to_dict("records")
    return [
        (fact, package)
        for fact in facts()
        for package in packages
        if package["manager"] == {"deb": "dpkg", "pypi": "python"}[fact["type"]]
        and package_key(None, package["name"]) in {package_key(None, name) for name in fact["binaries"]}
        and (not fact["fixed_version"] or Version(package["version"]) < Version(fact["fixed_version"]))
    ]


def trivy_report(name: str) -> dict:
    """In the shape of Trivy's JSON."""
    image = il.load_image(f"example:{name}")
    layers = il.layers(image)
    results = {}
    for fact, package in affected(image):
        deb = fact["type"] == "deb"
        purl = (
            f"pkg:deb/debian/{package['name']}@{package['version']}"
            if deb
            else f"pkg:pypi/{package['name'].lower()}@{package['version']}"
        )
        item = {
            "VulnerabilityID": fact["id"],
            "VendorIDs": [fact["aliases"]] if fact["aliases"] else None,
            "PkgName": package["name"],
            "PkgPath": None if deb else package["path"].lstrip("/"),
            "PkgIdentifier": {"PURL": purl},
            "InstalledVersion": package["version"],
            "FixedVersion": fact["fixed_version"] or None,
            "Status": "fixed" if fact["fixed_version"] else "affected",
            "Layer": {"DiffID": layers["diff_id"].iloc[package["layer_index"]]},
            "SeveritySource": "debian" if deb else "ghsa",
            "PrimaryURL": fact["source"],
            "Severity": fact["severity"],
            "CVSS": {
                "ghsa": {
                    "V3Vector": fact["cvss_vector"] or None,
                    "V3Score": float(fact["cvss_score"]) if fact["cvss_score"] else None,
                }
            }
            if not deb
            else None,
        }
        key = ("os-pkgs", "debian") if deb else ("lang-pkgs", "python-pkg")
        results.setdefault(key, []).append({field: value for field, value in item.items() if value is not None})
    targets = {"debian": f"{name} (debian 12)", "python-pkg": "Python"}
    return {
        "SchemaVersion": 2,
        "Trivy": {"Version": VERSION},
        "CreatedAt": WHEN,
        "ArtifactName": f"example:{name}",
        "ArtifactType": "container_image",
        "Metadata": {
            "OS": {"Family": "debian", "Name": "12"},
            "DiffIDs": list(layers["diff_id"]),
            "RepoTags": list(image.tags),
        },
        "Results": [
            {"Target": targets[kind], "Class": of, "Type": kind, "Vulnerabilities": items}
            for (of, kind), items in results.items()
        ],
    }


def scout_report(name: str) -> dict:
    """In the shape of Docker Scout's SARIF: source packages, no layers, and a database of a month earlier."""
    rules, results, seen = [], [], set()
    for fact, package in affected(il.load_image(f"example:{name}")):
        deb = fact["type"] == "deb"
        purl = f"pkg:{'deb/debian' if deb else 'pypi'}/{fact['package']}@{package['version']}"
        if (fact["id"], purl) in seen or fact["id"] == "CVE-2026-27199":  # published on 2026-02-21
            continue
        seen.add((fact["id"], purl))
        fixed = fact["fixed_version"] or "not fixed"
        rules.append(
            {
                "id": fact["id"],
                "name": "OsPackageVulnerability",
                "helpUri": fact["source"],
                "properties": {"purls": [purl], "cvssV3_severity": fact["severity"]},
            }
        )
        said = {"Vulnerability": fact["id"], "Severity": fact["severity"], "Package": purl, "Fixed version": fixed}
        message = "".join(f"  {name} : {value} \n" for name, value in said.items())
        results.append(
            {"ruleId": fact["id"], "ruleIndex": len(rules) - 1, "kind": "fail", "message": {"text": message}}
        )
    driver = {"name": "docker scout", "fullName": "Docker Scout", "version": VERSION, "rules": rules}
    return {"version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def openvex(name: str) -> dict:
    """One decision, as its people would write it."""
    return {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": f"https://example.com/vex/{name}",
        "author": "the service's team",
        "timestamp": WHEN,
        "version": 1,
        "statements": [
            {
                "vulnerability": {"name": "CVE-2025-66221"},
                "products": [{"@id": "pkg:pypi/werkzeug@3.1.3"}],
                "status": "not_affected",
                "justification": "vulnerable_code_cannot_be_controlled_by_adversary",
                "impact_statement": "Windows device names; the service runs on Linux",
            }
        ],
    }


def write(name: str, content: dict | list | bytes) -> None:
    data = content if isinstance(content, bytes) else (json.dumps(content, indent=1) + "\n").encode()
    if name.endswith(".gz"):
        data = gzip.compress(data, mtime=0)
    (HERE / name).write_bytes(data)
    print(f"{name}  {len(data):,} bytes")


def run(*command: str, folder: Path) -> bytes:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=folder).stdout


def shortened(inspected: dict) -> dict:
    """What `docker inspect` shows of a container, without what differs between machines."""
    kept = {part: {key: inspected[part].get(key) for key in keys} for part, keys in KEPT.items()}
    return {"Name": inspected["Name"], "Created": WHEN, "Mounts": inspected["Mounts"], **kept}


def record_container(name: str, *options: str) -> dict:
    """Run it, note what it could do, and what the engine's inspect says of it."""
    name = f"imagelab-{name}"
    script = "; ".join(f"({command}) >/dev/null 2>&1 && echo yes || echo no" for command in TRIES.values())
    limits = LIMITS if name.endswith("hardened") else []
    start = [
        "docker",
        "run",
        "--name",
        name,
        "--network=none",
        *options,
        *limits,
        "localhost/busybox:static",
        "sh",
        "-c",
        script,
    ]
    try:
        answers = run(*start, folder=HERE).decode().split()
        (said,) = json.loads(run("docker", "inspect", name, folder=HERE))
    finally:
        run("docker", "rm", "-f", name, folder=HERE)
    return {
        "options": " ".join([*options, *limits]),
        "could": dict(zip(TRIES, [one == "yes" for one in answers], strict=True)),
        "inspect": shortened(said),
    }


def real() -> None:
    """The scanners' own output, on images of the engine and on Dockerfiles."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for variant in ("before", "after"):
            run("docker", "save", f"recipe/secret-mount:{variant}", "-o", "image.tar", folder=folder)
            report = json.loads(run(*TRIVY, "--input", "image.tar", folder=folder))
            write(f"secret-{variant}.trivy.json", report | {"ArtifactName": f"recipe/secret-mount:{variant}"})
            dockerfile = f"recipes/fix-dockerfile/{variant}/Dockerfile"
            write(
                f"fix-{variant}.hadolint.json",
                run("hadolint", "--no-fail", "--format", "json", dockerfile, folder=HERE.parent),
            )
        write("containers.json", [record_container(name, *options) for name, options in CONTAINERS.items()])
        image = "recipe/base-choice:service-distroless"
        run("docker", "save", image, "-o", "image.tar", folder=folder)
        syft = ("syft", "scan", "-q", "-o", "cyclonedx-json", "--source-name", image)
        write("service-distroless.syft.cdx.json.gz", run(*syft, "docker-archive:image.tar", folder=folder))


def matched(sbom: dict, advisories: list[dict]) -> dict:
    """Syft's SBOM with the advisories that are about its packages, as CycloneDX vulnerabilities."""
    from packaging.version import Version

    found = []
    for component in sbom["components"]:
        for advisory in advisories if str(component.get("purl")).startswith("pkg:pypi/") else ():
            (affected_package,) = advisory["affected"]
            events = affected_package["ranges"][0]["events"]
            fixes = [
                end["fixed"]
                for start, end in zip(events[::2], events[1::2], strict=True)
                if Version(start["introduced"]) <= Version(component["version"]) < Version(end["fixed"])
            ]
            if fixes and package_key(None, component["name"]) == affected_package["package"]["name"]:
                rating = {
                    "source": {"name": "PyPA"},
                    "method": "CVSSv31",
                    "vector": advisory.get("severity", [{}])[0].get("score"),
                }
                found.append(
                    {
                        "id": advisory["aliases"][0],
                        "source": {"name": "PyPA", "url": advisory["references"][0]["url"]},
                        "references": [{"id": name} for name in [advisory["id"], *advisory["aliases"][1:]]],
                        "ratings": [rating] if rating["vector"] else [],
                        "description": advisory["summary"],
                        "recommendation": f"Upgrade {component['name']} to version {fixes[0]}",
                        "published": advisory["published"],
                        "affects": [{"ref": component["bom-ref"]}],
                    }
                )
    sbom["metadata"]["tools"]["components"][0]["name"] = "syft + PyPA advisories"
    kept = {item["affects"][0]["ref"] for item in found}
    sbom["components"] = [item for item in sbom["components"] if item["bom-ref"] in kept]
    return {key: value for key, value in sbom.items() if key != "dependencies"} | {"vulnerabilities": found}


def fix() -> None:
    """Build a service with old packages, scan it, apply the diffs of `il.remediation`, build and scan again."""
    advisories = json.loads((HERE / "advisories.osv.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        folder, wheels = Path(scratch), ("requests==2.25.0", "requests==2.31.0", "urllib3==1.26.4", "urllib3==1.26.18")
        for name in (*wheels, "chardet==3.0.4", "idna==2.10", "certifi", "charset-normalizer==3.3.2"):
            options = "--no-deps", "--only-binary=:all:", "--python-version=3.11", "--dest=wheels"
            run("pip", "download", "--quiet", *options, name, folder=folder)
        (folder / "app.py").write_text(APP)
        text = PINNED
        for when in ("before", "after"):
            (folder / "Dockerfile").write_text(text)
            write(f"pinned-{when}.Dockerfile", text.encode())
            tag = f"imagelab-scans:{when}"
            run("docker", "build", "--quiet", "--network=none", f"--tag={tag}", ".", folder=folder)
            run("docker", "run", "--rm", "--network=none", tag, folder=folder)
            run("docker", "save", tag, "-o", "image.tar", folder=folder)
            syft = ("syft", "scan", "-q", "-o", "cyclonedx-json", "--source-name", f"pinned:{when}")
            sbom = json.loads(run(*syft, "docker-archive:image.tar", folder=folder))
            write(f"pinned-{when}.cdx.json", matched(sbom, advisories))
            if when == "before":
                image = il.load_image(f"docker-archive:{folder / 'image.tar'}")
                il.save_snapshot(image, HERE / "pinned-before.parquet")
                scan = il.read_scan(HERE / "pinned-before.cdx.json")
                while len(diffs := il.remediation(scan, image, dockerfile=text)["diff"].dropna()):
                    text = apply_diff(text, diffs.iloc[0])
            run("docker", "image", "rm", "--force", tag, folder=folder)


def harden() -> None:
    """Build and run the web page before and after the fix; each time, ask for the page and record image and container.

    The proxy of a service reaches the second container in its own network, so it publishes no port.
    """
    recorded = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "index.html").write_text("<p>hello</p>\n")
        run("docker", "network", "create", "imagelab-page", folder=folder)
        try:
            for when, options in SERVED_OPTIONS.items():
                name, tag = f"imagelab-page-{when}", f"imagelab-page:{when}"
                (folder / "Dockerfile").write_text(SERVED[when])
                write(f"page-{when}.Dockerfile", SERVED[when].encode())
                run("docker", "build", "--quiet", "--network=none", f"--tag={tag}", ".", folder=folder)
                il.save_snapshot(il.load_image(f"docker-daemon:{tag}"), HERE / f"page-{when}.parquet")
                run("docker", "run", "--detach", f"--name={name}", *options, tag, folder=folder)
                time.sleep(5)  # for the health check
                page = run("docker", "exec", name, "wget", "-q", "-O", "-", "http://127.0.0.1:8080/", folder=folder)
                (inspected,) = json.loads(run("docker", "inspect", name, folder=folder))
                health = inspected["State"].get("Health", {}).get("Status")
                recorded.append({"options": " ".join(options), "page": page.decode(), "health": health})
                recorded[-1]["inspect"] = shortened(inspected)
                run("docker", "rm", "--force", name, folder=folder)
                run("docker", "image", "rm", "--force", tag, folder=folder)
        finally:
            run("docker", "network", "rm", "imagelab-page", folder=folder)
    write("page.json", recorded)


def made_from_facts() -> None:
    for name in ("service-full", "service-slim", "service-distroless"):
        write(f"{name}.facts.trivy.json", trivy_report(name))
    write("service-slim.facts.scout.sarif", scout_report("service-slim"))
    write("service-slim.openvex.json", openvex("service-slim"))


def main() -> None:
    parts = {"facts": made_from_facts, "scans": real, "fix": fix, "harden": harden}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=parts, help="what to make; everything if not given")
    chosen = parser.parse_args().part
    for part in [chosen] if chosen else parts:
        parts[part]()


if __name__ == "__main__":
    main()
