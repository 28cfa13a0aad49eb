"""Events for tests on the real platform, told apart by their ``source_system``."""

from __future__ import annotations

import datetime as dt
from functools import cache
from typing import Any

import fastavro

from schemas.registry import load_schema
from schemas.wire import encode
from streams.ids import uuid7


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def event(source_system: str, **changes: Any) -> dict[str, Any]:
    """A valid tip report of tipline-uk; ``changes`` go into the header, except those named ``text``."""
    text = changes.pop("text", "A parked van.")
    moment = now()
    return {
        "header": {
            "event_id": uuid7(),
            "occurred_at": moment,
            "occurred_precision": "INSTANT",
            "published_at": moment,
            "partner": "tipline-uk",
            "source_system": source_system,
            "handling": handling(),
            "exercise": True,
            "confidence": 50,
            "location": location(),
            "entities": [],
            "summary": "",
            **changes,
        },
        "text": text,
    }


def handling(**changes: Any) -> dict[str, Any]:
    return {
        "tlp": "AMBER",
        "releasable_to": ["law-enforcement"],
        "purpose": "test",
        "legal_basis": None,
        "retain_days": 30,
        **changes,
    }


def location(**changes: Any) -> dict[str, Any]:
    return {"lat": 53.8, "lon": -1.55, "precision_m": 500, "place": "Leeds", "country": "GB", **changes}


@cache
def parsed(family: str) -> Any:
    return fastavro.parse_schema(load_schema(family))


def encoded(schema_id: int, content: dict[str, Any], family: str = "tip_report") -> bytes:
    """The event in Confluent wire format, by the family's present contract."""
    return encode(schema_id, parsed(family), content)
