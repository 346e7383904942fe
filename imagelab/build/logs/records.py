"""Read build records: ``.dockerbuild`` archives, provenance, metadata files and traces."""

from __future__ import annotations

import base64
import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from imagelab.build.logs.protobuf import read_status_blob
from imagelab.build.logs.raw import read_events, read_time
from imagelab.build.logs.text import Vertex
from imagelab.core.errors import DockerfileError
from imagelab.core.json_fields import labels, mapping, mappings, string, strings
from imagelab.images.tables.provenance import Provenance, images_of, read_provenance


@dataclass
class Facts(Provenance):
    """What the log and the records of a build say about it; None or empty if they do not say it."""

    vertices: list[Vertex] | None = None
    more: str = ""  # what else the builder can show; empty: a build record


def read_document(document: Any, name: str) -> list[Facts]:
    """The facts in a JSON document, one for each target and platform; empty if its form is unknown."""
    if isinstance(document, list):  # one line, or one item, per span
        return _trace(document)
    top = mapping(document)
    if envelope := mapping(top, "dsseEnvelope") or (top if "payloadType" in top else {}):
        payload = base64.b64decode(string(envelope.get("payload")) or "")
        return read_document(json.loads(payload), name)
    if "FrontendAttrs" in top:
        return [_record(top)]
    if "BuildArgs" in top or "NumTotalSteps" in top:  # docker buildx history inspect --format json
        arguments = {f"build-arg:{item.get('Name')}": item.get("Value", "") for item in mappings(top.get("BuildArgs"))}
        config = mapping(top, "Config")
        other = {"force-network-mode": config.get("Network"), "target": top.get("Target")}
        if config.get("NoCache") or config.get("NoCacheFilter"):
            other["no-cache"] = ",".join(strings(config.get("NoCacheFilter")))
        materials = [
            {"uri": item.get("URI"), "digest": {"sha256": (strings(item.get("Digests")) or [""])[0][7:]}}
            for item in mappings(top.get("Materials"))
        ]
        return [Facts(labels(arguments | other), images_of(materials), revision=string(top.get("VCSRevision")))]
    # a metadata file; of bake, by target; of imagetools inspect, by platform; an in-toto statement
    own, nested = ("buildx.build.provenance", "predicate", "SLSA"), {"buildx.build.ref", "SLSA"}
    parts = [part for key, part in top.items() if key.startswith(own) or nested & mapping(part).keys()]
    if parts := [facts for part in parts for facts in read_document(part, name)]:
        return parts
    if "invocation" in top or "buildDefinition" in top:
        return [Facts(**vars(read_provenance(top)))]
    return _trace([top]) if "data" in top or "resourceSpans" in top else []


def read_archive(data: bytes, name: str) -> list[Facts]:
    """The builds in a ``.dockerbuild`` file, in the index's order."""
    blobs: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                if member.isfile() and (file := archive.extractfile(member)):
                    blobs[member.name.rpartition("/")[2]] = file.read()
        return [_build(found, blobs, name) for found in _manifests(json.loads(blobs["index.json"]), blobs, 0)]
    except (tarfile.TarError, KeyError, ValueError, RecursionError) as error:
        raise DockerfileError(f"{name} is a damaged build record: {str(error)[:200]}.") from error


def _blob(descriptor: Mapping[str, Any], blobs: Mapping[str, bytes]) -> bytes:
    return blobs[str(descriptor.get("digest")).removeprefix("sha256:")]


def _manifests(index: Any, blobs: Mapping[str, bytes], depth: int) -> Iterator[dict[str, Any]]:
    for descriptor in mappings(mapping(index).get("manifests")):
        document = mapping(json.loads(_blob(descriptor, blobs)))
        if "historyrecord" in str(mapping(document, "config").get("mediaType")):
            yield document
        elif depth < 3:
            yield from _manifests(document, blobs, depth + 1)


def _build(manifest: dict[str, Any], blobs: Mapping[str, bytes], name: str) -> Facts:
    facts = _record(mapping(json.loads(_blob(mapping(manifest, "config"), blobs))))
    attested: list[Facts] = []
    for layer in mappings(manifest.get("layers")):
        kind = str(layer.get("mediaType"))
        if "buildkit.status." in kind:
            facts.vertices = read_events(enumerate(read_status_blob(_blob(layer, blobs))), name)
        elif "in-toto" in kind:
            attested += read_document(json.loads(_blob(layer, blobs)), name)
    return merge([[facts], attested])


def merge(files: list[list[Facts]]) -> Facts:
    """One build's facts from several of its files; the first that has a fact wins.

    A file can have a provenance for each target and platform: the one with most of the build's steps comes first, and the
    operations of the others are kept.
    """
    vertices = next((facts.vertices for found in files for facts in found if facts.vertices), [])
    names = {vertex.id for vertex in vertices}, [vertex.name.rpartition("] ")[2] for vertex in vertices]

    def fit(facts: Facts) -> tuple[int, int]:
        return len(names[0] & facts.operations.keys()), sum(name in (facts.dockerfile or "") for name in names[1])

    merged = Facts()
    for found in files:
        best = [facts for facts in found if fit(facts) == max(map(fit, found))]
        common = [set(facts.attributes.items()) for facts in best]  # of builds that cannot be told apart
        for key, value in (vars(best[0]) | {"attributes": dict(set.intersection(*common))} if best else {}).items():
            if value and not getattr(merged, key):
                setattr(merged, key, value)
    every = [merged, *(facts for found in files for facts in found)]
    merged.operations = {vertex: step for facts in every[::-1] for vertex, step in facts.operations.items()}
    return merged


def _record(record: Mapping[str, Any]) -> Facts:
    attributes = labels(record.get("FrontendAttrs"))
    return Facts(attributes=attributes, revision=attributes.get("vcs:revision"))


def _trace(documents: list[Any]) -> list[Facts]:
    """The steps in the spans of a trace, as BuildKit, OTLP or Jaeger write them in JSON."""
    vertices: dict[str, Vertex] = {}
    for span in (span for document in documents for span in _spans(mapping(document))):
        pairs = mappings(span.get("Attributes") or span.get("attributes") or span.get("tags"))
        tags = {pair.get("Key") or pair.get("key"): pair.get("Value", pair.get("value")) for pair in pairs}
        tag = mapping(tags.get("vertex"))
        value = tag.get("stringValue") or tag.get("Value") or tags.get("vertex")
        name = span.get("Name") or span.get("name") or span.get("operationName")
        if not isinstance(value, str) or not isinstance(name, str) or name.startswith("cache request: "):
            continue
        vertex = vertices.setdefault(value, Vertex(value, name.removeprefix("load cache: ")))
        start, end = _interval(span)
        if name.startswith("load cache: "):
            vertex.cached = True
        if start:
            vertex.intervals[start] = end
    for vertex in vertices.values():
        vertex.finish()
    return [Facts(vertices=sorted(vertices.values(), key=lambda vertex: str(vertex.started)))] if vertices else []


def _spans(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "StartTime" in document:
        yield document
    for trace in mappings(document.get("data")):
        yield from mappings(trace.get("spans"))
    for resource in mappings(document.get("resourceSpans")):
        for scope in mappings(resource.get("scopeSpans")):
            yield from mappings(scope.get("spans"))


def _interval(span: Mapping[str, Any]) -> tuple[datetime | None, datetime | None]:
    if "StartTime" in span:
        return read_time(span["StartTime"]), read_time(span.get("EndTime"))
    if "startTimeUnixNano" in span:
        seconds = [float(span.get(key) or 0) / 1e9 for key in ("startTimeUnixNano", "endTimeUnixNano")]
    else:
        start = float(span.get("startTime") or 0) / 1e6
        seconds = [start, start + float(span.get("duration") or 0) / 1e6]
    return datetime.fromtimestamp(seconds[0], UTC), datetime.fromtimestamp(seconds[1], UTC)


def read_stream(text: str) -> list[Any] | None:
    """The documents of a text that is a sequence of JSON values, as BuildKit stores a trace; None if it is not."""
    decoder, documents, at = json.JSONDecoder(), [], 0
    while match := re.compile(r"\s*(?=\S)").match(text, at):
        try:
            document, at = decoder.raw_decode(text, match.end())
        except (ValueError, RecursionError):
            return None
        documents.append(document)
    return documents or None
