"""Records that partners send by mistake, each with the reason under which quarantine must hold it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, Final

import fastavro

from deploy.demo.world import Event
from schemas.registry import load_schema, topic_of
from schemas.wire import PREFIX_BYTES, encode, frame

UNREGISTERED_ID: Final = 2_000_000_000
"""No registry numbers this far."""


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A Kafka record that ingest must refuse for ``reason`` (codes of ``streams.refusal.Reason``)."""

    reason: str
    topic: str
    key: bytes
    value: bytes


def bad_record(reason: str, family: str, event: Event, schema_ids: Mapping[str, int]) -> BadRecord:
    """Spoil a valid event so that it is refused for ``reason``, one of ``REASONS``.

    Raises:
        KeyError: the reason is not one of ``REASONS``, or ``schema_ids`` lacks a family.
    """
    topic, value = _MAKERS[reason](family, event, schema_ids)
    return BadRecord(reason, topic, event["header"]["event_id"].encode(), value)


@cache
def _parsed(family: str) -> Any:
    return fastavro.parse_schema(load_schema(family))


def _encode(family: str, event: Event, schema_ids: Mapping[str, int]) -> bytes:
    return encode(schema_ids[family], _parsed(family), event)


def _changed(event: Event, **header: Any) -> Event:
    return {**event, "header": {**event["header"], **header}}


def _json_text(family: str, event: Event, _: Mapping[str, int]) -> tuple[str, bytes]:
    """The partner's programmer forgot the serializer."""
    return topic_of(family), json.dumps(event, default=str).encode()


def _unregistered(family: str, event: Event, schema_ids: Mapping[str, int]) -> tuple[str, bytes]:
    """Encoded against another registry."""
    return topic_of(family), frame(UNREGISTERED_ID, _encode(family, event, schema_ids)[PREFIX_BYTES:])


def _truncated(family: str, event: Event, schema_ids: Mapping[str, int]) -> tuple[str, bytes]:
    value = _encode(family, event, schema_ids)
    return topic_of(family), value[: PREFIX_BYTES + 50]


def _future(family: str, event: Event, schema_ids: Mapping[str, int]) -> tuple[str, bytes]:
    """Local time sent as UTC."""
    ahead = event["header"]["occurred_at"] + timedelta(hours=2)
    return topic_of(family), _encode(family, _changed(event, occurred_at=ahead), schema_ids)


def _not_a_number(family: str, event: Event, schema_ids: Mapping[str, int]) -> tuple[str, bytes]:
    """A missing coordinate sent as NaN."""
    location = {"lat": math.nan, "lon": math.nan, "precision_m": None, "place": None, "country": None}
    return topic_of(family), _encode(family, _changed(event, location=location), schema_ids)


def _not_allowed(_: str, event: Event, schema_ids: Mapping[str, int]) -> tuple[str, bytes]:
    """A family that is not in the partner's agreement; cyber_detection is in that of CERTs alone."""
    header = event["header"]
    other = {"header": header, "detection_name": "Not ours to send", "severity": "LOW", "event_total": 1}
    return topic_of("cyber_detection"), _encode("cyber_detection", other, schema_ids)


def _wrong_topic(family: str, event: Event, schema_ids: Mapping[str, int]) -> tuple[str, bytes]:
    """The right record on the topic of another family."""
    other = "incident_report" if family != "incident_report" else "tip_report"
    return topic_of(other), _encode(family, event, schema_ids)


_MAKERS: Final[dict[str, Callable[[str, Event, Mapping[str, int]], tuple[str, bytes]]]] = {
    "not_confluent_framed": _json_text,
    "unknown_schema_id": _unregistered,
    "occurred_in_future": _future,
    "header_invalid": _not_a_number,
    "partner_not_allowed": _not_allowed,
    "schema_mismatch": _wrong_topic,
    "undecodable": _truncated,
}
REASONS: Final = tuple(_MAKERS)
