"""Convert CycloneDX XML to the JSON form, which `cyclonedx` reads."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from imagelab.core.errors import ScanFormatError
from imagelab.core.json_fields import Object, mapping, mappings, sequence
from imagelab.security.scans.fields import WORDS

#: Elements that contain a list; their children are its items.
_LISTS = WORDS["cyclonedx"]["lists"].split()


def cyclonedx_from_xml(data: bytes, name: str) -> dict[str, Any]:
    """The document as JSON has it.

    Raises
    ------
    ScanFormatError
        The XML is damaged, or declares a document type: entities could expand without limit.
    """
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ScanFormatError(f"{name}: CycloneDX XML with a document type declaration, which no scanner writes.")
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise ScanFormatError(f"{name}: damaged XML: {error}. Expected CycloneDX XML.") from error
    document = mapping(_value(root))
    version = root.tag.rpartition("/")[2].partition("}")[0]
    found = sequence(document.get("vulnerabilities"))
    for number, component in enumerate(mappings(document.get("components"))):  # until 1.3, an extension
        for item in mappings(component.get("vulnerabilities")):
            reference = component.setdefault("bom-ref", f"component-{number}")
            ratings = [_flat(rating) for rating in mappings(item.get("ratings"))]
            found.append(item | {"affects": [{"ref": reference}], "ratings": ratings})
    return document | {"bomFormat": "CycloneDX", "specVersion": version, "vulnerabilities": found}


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _value(element: ElementTree.Element) -> Any:
    if _tag(element) == "licenses":
        return [{_tag(child): _value(child)} for child in element]
    if _tag(element) in _LISTS and not (_tag(element) == "tools" and element.find("{*}components") is not None):
        return [_value(child) for child in element]
    if _tag(element) == "property":
        return {"name": element.get("name"), "value": element.text}
    children = {_tag(child): _value(child) for child in element}
    if not children and not (element.attrib and not (element.text or "").strip()):
        return element.text
    return {**element.attrib, **children}


def _flat(rating: Object) -> Object:
    """The extension nests the base score."""
    return rating | {"score": mapping(rating, "score").get("base", rating.get("score"))}
