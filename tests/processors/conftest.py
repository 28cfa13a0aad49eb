"""Batches made of events given as dicts, the way the worker would make them."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import fastavro
import pyarrow as pa
import pytest

from schemas.registry import RegisteredSchema, load_schema, schema_text, subject_of
from schemas.wire import encode
from streams.decode import Decoder

NOW = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)


def header(**changes: Any) -> dict[str, Any]:
    """A valid header of partner fiu-nl, with changes."""
    return {
        "event_id": str(uuid.uuid4()),
        "occurred_at": NOW,
        "occurred_precision": "INSTANT",
        "published_at": NOW,
        "partner": "fiu-nl",
        "source_system": "desk",
        "handling": {
            "tlp": "AMBER",
            "releasable_to": ["eu"],
            "purpose": "test",
            "legal_basis": None,
            "retain_days": 365,
        },
        "exercise": False,
        "confidence": 50,
        "location": {"lat": 52.37, "lon": 4.9, "precision_m": None, "place": None, "country": None},
        "entities": [],
        "summary": "",
        **changes,
    }


def table(family: str, events: list[dict[str, Any]]) -> pa.RecordBatch:
    """Events through the wire format and the decoder."""
    registered = RegisteredSchema(1, schema_text(family), (subject_of(family),))
    parsed = fastavro.parse_schema(load_schema(family))
    decoded = Decoder(family, {1: registered}.get, 1 << 20).decode([encode(1, parsed, event) for event in events])
    assert not decoded.refused
    return decoded.table


@pytest.fixture
def now() -> dt.datetime:
    return NOW
