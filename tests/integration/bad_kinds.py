"""Kinds of bad input, each with the reason and the field under which quarantine must hold it."""

from __future__ import annotations

import datetime as dt
import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import fastavro

from schemas.registry import load_schema
from schemas.wire import PREFIX_BYTES, frame
from tests.integration.events import encoded, event, handling, location, now, parsed

TOPIC = "events.tip_report.v1"


@dataclass(frozen=True)
class Kind:
    """``make`` gives a record's value; ``field`` is empty where the record has none that could be named."""

    name: str
    reason: str
    make: Callable[[], bytes | None]
    field: str = ""
    topic: str = TOPIC


def bad_kinds(ids: Mapping[str, int], source: str, rng: Random) -> list[Kind]:
    """All kinds; ``ids`` are the schema ids of the families."""
    tip = ids["tip_report"]

    def whole(**changes: Any) -> bytes:
        return encoded(tip, event(source, **changes))

    def header(name: str, reason: str, field: str, changes: Callable[[], dict[str, Any]]) -> Kind:
        return Kind(name, reason, lambda: whole(**changes()), f"header.{field}")

    def invalid(name: str, field: str, changes: Callable[[], dict[str, Any]]) -> Kind:
        return header(name, "header_invalid", field, changes)

    def not_allowed() -> bytes:
        content = {"header": event(source)["header"], "detection_name": "x", "severity": "LOW", "event_total": 1}
        return encoded(ids["cyber_detection"], content, "cyber_detection")

    def tampered(find: bytes, put: bytes, **changes: Any) -> bytes:
        value = whole(**changes)
        assert value.count(find) == 1
        return value.replace(find, put)

    def container() -> bytes:
        out = io.BytesIO()
        fastavro.writer(out, load_schema("tip_report"), [event(source)])
        return out.getvalue()

    def random_body() -> bytes:
        while True:
            body = rng.randbytes(200)
            if not _reads(body):
                return frame(tip, body)

    framed, undecodable = "not_confluent_framed", "undecodable"
    place = "location"
    return [
        Kind("truncated", undecodable, lambda: whole()[: PREFIX_BYTES + rng.randrange(1, 100)]),
        Kind("prefix without body", undecodable, lambda: frame(tip, b"")),
        Kind("random body", undecodable, random_body),
        Kind("invalid UTF-8", undecodable, lambda: tampered(b"MARK-HERE", b"\xff\xfeRK\xc3HERE", text="MARK-HERE")),
        # The symbol before the purpose: releasable_to is one string, so tlp lies right before it.
        Kind("unknown enum symbol", undecodable, lambda: tampered(b"\x04\x02\x1elaw", b"\x7e\x02\x1elaw")),
        Kind("wrong magic byte", framed, lambda: b"\x01" + whole()[1:]),
        Kind("empty value", framed, lambda: b""),
        Kind("tombstone", framed, lambda: None),
        Kind("three bytes", framed, lambda: b"\0\0\0"),
        Kind("JSON text", framed, lambda: json.dumps(event(source), default=str).encode()),
        Kind("Avro container", framed, container),
        Kind("unknown schema id", "unknown_schema_id", lambda: frame(2_000_000_000, whole()[PREFIX_BYTES:])),
        Kind("wrong topic", "schema_mismatch", whole, topic="events.incident_report.v1"),
        Kind("10 MB string", "oversize", lambda: whole(text="x" * 10_000_000)),
        header("unknown partner", "partner_unknown", "partner", lambda: {"partner": "nobody-xx"}),
        Kind("not allowed", "partner_not_allowed", not_allowed, "header.partner", "events.cyber_detection.v1"),
        header(
            "future", "occurred_in_future", "occurred_at", lambda: {"occurred_at": now() + dt.timedelta(minutes=20)}
        ),
        header(
            "too old",
            "too_old",
            "occurred_at",
            lambda: {"occurred_at": now() - dt.timedelta(days=8), "handling": handling(retain_days=7)},
        ),
        invalid("year 1850", "occurred_at", lambda: {"occurred_at": dt.datetime(1850, 1, 1, tzinfo=dt.UTC)}),
        invalid("published tomorrow", "published_at", lambda: {"published_at": now() + dt.timedelta(days=2)}),
        invalid("keep for no time", "handling.retain_days", lambda: {"handling": handling(retain_days=0)}),
        invalid("NaN", f"{place}.lat", lambda: {"location": location(lat=math.nan)}),
        invalid("infinite", f"{place}.lon", lambda: {"location": location(lon=math.inf)}),
        invalid("latitude 95", f"{place}.lat", lambda: {"location": location(lat=95.0)}),
        invalid("negative precision", f"{place}.precision_m", lambda: {"location": location(precision_m=-1)}),
        invalid("country in words", f"{place}.country", lambda: {"location": location(country="Germany")}),
        invalid("event id", "event_id", lambda: {"event_id": "4711"}),
        invalid("confidence 101", "confidence", lambda: {"confidence": 101}),
    ]


def _reads(body: bytes) -> bool:
    try:
        fastavro.schemaless_reader(io.BytesIO(body), parsed("tip_report"), None)
    except Exception:  # fastavro raises whatever the bytes lead it to
        return False
    return True


def odd_but_good(source: str) -> list[dict[str, Any]]:
    """Events at the edge of what the contract allows."""
    entity = {"type": "phone", "value": "", "role": None}
    return [
        event(source, text=""),
        event(source, text='quote " backslash \\ newline \n tab \t null \0 emoji \U0001f6a8 rtl \u202e'),
        event(source, text="x" * 1_000_000),
        event(source, location=None),
        event(source, location={"lat": 90.0, "lon": -180.0, "precision_m": None, "place": None, "country": None}),
        event(source, location=location(lat=-0.0, lon=180.0, precision_m=0)),
        event(source, occurred_at=now() + dt.timedelta(seconds=200)),
        event(source, occurred_at=dt.datetime(1900, 1, 2, tzinfo=dt.UTC), handling=handling(retain_days=100_000)),
        event(source, confidence=0),
        event(source, confidence=100, summary="\u00e4" * 5_000),
        event(source, entities=[{**entity, "value": f"+9990000{number}"} for number in range(300)]),
        event(source, entities=[entity]),
        event(source, handling=handling(releasable_to=[], purpose="", legal_basis="")),
    ]
