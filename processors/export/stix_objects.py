"""The STIX 2.1 objects that do not depend on one alert: ids, TLP 2.0 markings, our extensions, entities as objects.

Ids of domain and relationship objects are UUIDv5 in a namespace of ours, so that an export can be repeated; STIX 2.1
section 2.9 recommends UUIDv4 for them and forbids only the namespace of the cyber-observable objects. Those get their
ids from the library, as section 2.9 has it.
"""

from __future__ import annotations

import ipaddress
import re
import uuid
from typing import Any, Final

import stix2  # type: ignore[import-untyped]
from stix2.properties import StringProperty  # type: ignore[import-untyped]

from processors.export.tlp import known
from schemas.alerts import EvidenceEntity

NAMESPACE: Final = uuid.UUID("4be3ba3f-7b02-5a4c-8f6f-5b1c0a7b7a44")
SINCE: Final = "2026-01-01T00:00:00.000Z"
"""``created`` of what has no moment of its own: organisations, persons and places that events name."""

_TLP_EXTENSION: Final = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d"


def _marking(identifier: str, level: str) -> Any:
    return stix2.MarkingDefinition(
        id=f"marking-definition--{identifier}",
        created="2022-10-01T00:00:00.000Z",
        name=f"TLP:{level.upper()}",
        extensions={_TLP_EXTENSION: {"extension_type": "property-extension", "tlp_2_0": level}},
    )


MARKINGS: Final[dict[str, Any]] = {
    "CLEAR": _marking("94868c89-83c2-464b-929b-a1a8aa3c8487", "clear"),
    "GREEN": _marking("bab4a63c-aed9-4cf5-a766-dfca5abac2bb", "green"),
    "AMBER": _marking("55d920b0-5e8b-4f79-9ee9-91f868d9b421", "amber"),
    "AMBER_STRICT": _marking("939a9414-2ddd-4d32-a0cd-375ea402b003", "amber+strict"),
    "RED": _marking("e828b379-4e03-4974-9ac4-e53a884c97c1", "red"),
}
"""The marking definitions of TLP 2.0 with the ids that OASIS published for them: cti-stix-common-objects,
``extension-definition-specifications/tlp-2.0`` on GitHub. The library knows those of TLP 1.0 only."""


def marked(tlp: str) -> list[str]:
    """``object_marking_refs`` of an object of this level."""
    return [MARKINGS[known(tlp)].id]


def stix_id(kind: str, *parts: str) -> str:
    """The id of a domain or relationship object: the same parts give the same id."""
    return f"{kind}--{uuid.uuid5(NAMESPACE, chr(31).join((kind, *parts)))}"


TOCSIN: Final = stix2.Identity(
    id=stix_id("identity", "tocsin"),
    created=SINCE,
    modified=SINCE,
    name="Tocsin",
    description="Correlates events of partner organisations into alerts.",
    identity_class="system",
    object_marking_refs=marked("CLEAR"),
)


def _extension(name: str, kind: str, description: str, schema: str) -> Any:
    return stix2.ExtensionDefinition(
        id=stix_id("extension-definition", name),
        created_by_ref=TOCSIN.id,
        created=SINCE,
        modified=SINCE,
        name=name,
        description=description,
        schema=schema,
        version="1.0.0",
        extension_types=[kind],
        object_marking_refs=marked("CLEAR"),
    )


ENTITY_EXTENSION: Final = _extension(
    "tocsin-entity",
    "new-sco",
    "What an event names and STIX has no object for: a document, a phone, a vehicle, a device, a person, an event.",
    "Object type tocsin-entity, a cyber-observable object. entity_type (string, required): person, document, phone, "
    "account, vehicle, device, ip, domain, file_hash, organisation, place or event. value (string, required): as the "
    "partner gave it. ID contributing properties: entity_type, value.",
)
EVIDENCE_EXTENSION: Final = _extension(
    "tocsin-evidence",
    "property-extension",
    "What a partner's event was and which base rule it met with which values.",
    "Property extension of observed-data. event_id, partner, family, summary, rule_id, rule_title, topic (strings); "
    "partition, offset (integers): where the record lies in Kafka; clauses (list of strings): the rule's conditions "
    "that it met; matched (list of {field, value}, strings); entities (list of {type, value, role, ref}): what the "
    "event names, ref being the id of the object that stands for it; location_ref (identifier).",
)


class _Entity:
    """What STIX has no cyber-observable object for."""


TocsinEntity: Any = stix2.CustomObservable(
    "tocsin-entity",
    [("entity_type", StringProperty(required=True)), ("value", StringProperty(required=True))],
    ["entity_type", "value"],
    ENTITY_EXTENSION.id,
)(_Entity)
"""Registered with the library by this, so that it reads such objects back."""

_HASHES: Final = {32: "MD5", 40: "SHA-1", 64: "SHA-256", 128: "SHA-512"}
_HEX: Final = re.compile(r"[0-9a-f]+")
_MAC: Final = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
_HOST_LABEL: Final = re.compile(r"(xn--[a-z0-9-]*|(?!..--)[a-z0-9-]*)(?<!-)")


def observable(entity: EvidenceEntity, tlp: str) -> Any:
    """The cyber-observable object of an entity; one of our own type where STIX has none, or does not take the value."""
    marking = marked(tlp)
    value = entity.value.strip().lower()
    if entity.type == "ip" and (address := _address(value)):
        kind = stix2.IPv4Address if address.version == 4 else stix2.IPv6Address
        return kind(value=str(address), object_marking_refs=marking)
    if entity.type == "domain" and _is_host(host := value.removesuffix(".")):
        return stix2.DomainName(value=host, object_marking_refs=marking)
    if entity.type == "file_hash" and _HEX.fullmatch(value) and (algorithm := _HASHES.get(len(value))):
        return stix2.File(hashes={algorithm: value}, object_marking_refs=marking)
    if entity.type == "account" and value:
        return stix2.UserAccount(user_id=entity.value, object_marking_refs=marking)
    if entity.type == "device" and _MAC.fullmatch(value.replace("-", ":")):
        return stix2.MACAddress(value=value.replace("-", ":"), object_marking_refs=marking)
    return other_entity(entity.type, entity.value, tlp)


def other_entity(kind: str, value: str, tlp: str) -> Any:
    """The object of our own type."""
    return TocsinEntity(entity_type=kind, value=value, object_marking_refs=marked(tlp))


def _address(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return None
    return address if "%" not in value else None


def _is_host(value: str) -> bool:
    """Whether it is a name as RFC 1034 section 3.5 and RFC 5890 section 2.3.1 have it, in ASCII."""
    labels = value.split(".")
    return len(value) <= 253 and all(
        0 < len(label) <= 63 and label[0] != "-" and _HOST_LABEL.fullmatch(label) for label in labels
    )
