"""Python face of ``avro/header.avsc``: what every event starts with."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

from schemas.fields import Count32 as Metres
from schemas.fields import (
    Country,
    Days,
    Latitude,
    Longitude,
    NonEmpty,
    Percent,
    Text,
    UtcDatetime,
    UuidText,
)


class Contract(BaseModel):
    """Base of all contract models: frozen, no unknown fields, no silent change of type from number to text."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Tlp(StrEnum):
    """TLP 2.0 label (FIRST, 2022), least to most restricted. AMBER_STRICT stands for TLP:AMBER+STRICT."""

    CLEAR = "CLEAR"
    GREEN = "GREEN"
    AMBER = "AMBER"
    AMBER_STRICT = "AMBER_STRICT"
    RED = "RED"


class TimePrecision(StrEnum):
    """How exactly occurred_at is known."""

    INSTANT = "INSTANT"
    HOUR = "HOUR"
    DAY = "DAY"
    WEEK = "WEEK"
    MONTH = "MONTH"
    YEAR = "YEAR"


class EntityType(StrEnum):
    """Kind of identifier."""

    person = "person"
    document = "document"
    phone = "phone"
    account = "account"
    vehicle = "vehicle"
    device = "device"
    ip = "ip"
    domain = "domain"
    file_hash = "file_hash"
    organisation = "organisation"
    place = "place"
    other = "other"


def _tlp_symbol(value: Any) -> Any:
    """Accept the label as FIRST writes it: ``TLP:AMBER+STRICT`` and ``AMBER+STRICT``."""
    if isinstance(value, str) and not isinstance(value, Tlp):
        return value.removeprefix("TLP:").replace("+", "_")
    return value


TlpLabel = Annotated[Tlp, BeforeValidator(_tlp_symbol)]


class Handling(Contract):
    """What a receiver may do with the event; ``retain_days`` counts from occurred_at."""

    tlp: TlpLabel
    releasable_to: tuple[Text, ...] = ()
    purpose: Text = "counter-terrorism"
    legal_basis: Text | None = None
    retain_days: Days = 1825


class Location(Contract):
    """Where it happened: WGS 84 decimal degrees; ``precision_m`` is the radius that holds the true place."""

    lat: Latitude
    lon: Longitude
    precision_m: Metres | None = None
    place: Text | None = None
    country: Country | None = None


class Entity(Contract):
    """An identifier that the event is about."""

    type: EntityType
    value: Text
    role: Text | None = None


class EventHeader(Contract):
    """Starts the record of every family; all times are UTC."""

    event_id: UuidText
    occurred_at: UtcDatetime
    occurred_precision: TimePrecision = TimePrecision.INSTANT
    published_at: UtcDatetime
    partner: NonEmpty
    source_system: Text = "unknown"
    handling: Handling
    exercise: bool = False
    confidence: Percent = 50
    location: Location | None = None
    entities: tuple[Entity, ...] = ()
    summary: Text = ""


class Event(Contract):
    """Base of every family's event."""

    family: ClassVar[str]

    header: EventHeader
