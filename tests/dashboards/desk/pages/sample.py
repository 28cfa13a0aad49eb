"""A small watch: alerts of several rules, live and of an exercise, with their feeds, refused records and deliveries.

Everything in it is invented.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.alerts import Alert
from schemas.lifecycle import AlertState
from tests.dashboards.engine import EngineClient, alert_row, iso

Json = dict[str, Any]
PLACES = {
    "bpol-de": ("border_crossing", "DE", "Frankfurt (Oder)", 52.34, 14.55),
    "hub-ke": ("border_crossing", "KE", "Nairobi", -1.29, 36.82),
    "fiu-nl": ("financial_transaction", "NL", "Rotterdam", 51.92, 4.48),
    "rail-at": ("travel_booking", "AT", "Wien Hauptbahnhof", 48.18, 16.38),
    "tipline-uk": ("tip_report", "GB", "London", 51.5, -0.12),
}
VANISHED = "01955000-0000-5000-8000-000000000001"
TWO_BORDERS = "01955000-0000-5000-8000-000000000002"
EARLIER = "01955000-0000-5000-8000-000000000003"
DRILL = "01955000-0000-5000-8000-000000000004"
OLD_ID = "01955000-0000-5000-8000-000000000005"


def uuid7(at: datetime, number: int) -> str:
    """A UUIDv7 of a time."""
    digits = f"{round(at.timestamp() * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-{number:012d}"


def evidence(number: int, partner: str, at: datetime, *entities: tuple[str, str, str], **changes: Any) -> Json:
    """One piece of evidence of a partner."""
    family, country, place, lat, lon = PLACES[partner]
    item: Json = {
        "event_id": uuid7(at, number),
        "partner": partner,
        "family": family,
        "occurred_at": iso(at),
        "published_at": iso(at + timedelta(milliseconds=850)),
        "ingested_at": iso(at + timedelta(milliseconds=1220)),
        "tlp": "AMBER",
        "country": country,
        "place": place,
        "lat": lat,
        "lon": lon,
        "summary": f"{entities[0][0].capitalize()} {entities[0][1]} at {place}.",
        "rule_id": "b2a1",
        "rule_title": "A document is shown",
        "clauses": ["direction: ENTRY", "document_number|exists: true"],
        "matched": {entities[0][0]: entities[0][1]},
        "topic": f"events.{family}.v1",
        "partition": number % 4,
        "offset": 1000 + number,
        "exercise": False,
        "confidence": 80,
        "entities": [{"type": kind, "value": value, "role": role} for kind, value, role in entities],
    }
    return item | changes


def alert(alert_id: str, items: list[Json], **changes: Any) -> Json:
    """A record of an alert over this evidence."""
    happened = sorted(item["occurred_at"] for item in items)
    created = datetime.fromisoformat(max(item["ingested_at"] for item in items)) + timedelta(milliseconds=600)
    record: Json = {
        "alert_id": alert_id,
        "version": 2,
        "status": "open",
        "superseded_by": None,
        "supersedes": [],
        "rule": {
            "id": "listed-traveller-vanished",
            "title": "Listed traveller booked, then seen nowhere",
            "version": "1f3a9c77aa01",
            "level": "high",
            "tags": ["tocsin.watchlist", "tocsin.travel"],
            "description": "A listed document books a journey and does not turn up.",
            "type": "value_count",
            "timespan_s": 7200,
            "condition": "value_count(header.partner) gte 3 within 7200 s",
            "response": "Ask the border police at both ends, and hold the later traveller for second-line inspection.",
        },
        "kind": "correlation",
        "level": "high",
        "exercise": False,
        "tlp": "AMBER",
        "confidence": 82,
        "group": {"document_number": "X1234567"},
        "story": "Document X1234567 was seen by four partners within 40 minutes, from Rotterdam to Nairobi.",
        "partners": sorted({item["partner"] for item in items}),
        "families": sorted({item["family"] for item in items}),
        "countries": sorted({item["country"] for item in items}),
        "places": list(dict.fromkeys(item["place"] for item in items)),
        "lat": items[0]["lat"],
        "lon": items[0]["lon"],
        "first_event_at": happened[0],
        "last_event_at": happened[-1],
        "published_at": max(item["published_at"] for item in items),
        "created_at": iso(created),
        "updated_at": iso(created),
        "evidence_total": len(items),
        "evidence": items,
        "explain": {
            "type": "value_count",
            "bounds": [["gte", 3.0]],
            "observed": len({item["partner"] for item in items}),
            "timespan_s": 7200,
            "by_rule": {"A document is shown": len(items)},
        },
    }
    return record | changes


def records(now: datetime) -> list[Json]:
    """The alerts of the sample, as of ``now``."""
    document, phone, person = (
        ("document", "X1234567", "holder"),
        ("phone", "+49 30 5550143", "contact"),
        (
            "person",
            "JANSEN, MILA",
            "traveller",
        ),
    )
    account = ("account", "NL00 TEST 0123 4567 89", "payer")

    def at(minutes: float) -> datetime:
        return now - timedelta(minutes=minutes)

    vanished = [
        evidence(1, "fiu-nl", at(52), account, person, phone),
        evidence(2, "rail-at", at(41), document, person, phone),
        evidence(3, "bpol-de", at(30), document, person),
        evidence(4, "bpol-de", at(29), document, ("vehicle", "TST-AB 123", "driven")),
        evidence(5, "hub-ke", at(14), document, ("device", "IMEI 990000862471854", "carried")),
    ]
    borders = [evidence(6, "bpol-de", at(200), document, person), evidence(7, "hub-ke", at(190), document)]
    earlier = [evidence(8, "tipline-uk", at(60 * 80), phone, person), evidence(9, "rail-at", at(60 * 79), phone)]
    drill = [
        evidence(10 + n, "rail-at", at(300 - n), ("document", f"DRILL{n}", "holder"), exercise=True) for n in range(3)
    ]
    rule = {
        "id": "two-borders",
        "title": "One document at two distant borders",
        "version": "77aa011f3a9c",
        "level": "critical",
        "tags": ["tocsin.border"],
        "description": "The same document is shown at borders too far apart for the time between them.",
        "type": "value_count",
        "timespan_s": 7200,
        "condition": "value_count(geo.continent) gte 2 within 7200 s",
        "response": "Compare the chip data of both crossings.",
    }
    return [
        alert(VANISHED, vanished, supersedes=[OLD_ID]),
        alert(
            TWO_BORDERS, borders, rule=rule, level="critical", story="Document X1234567 at borders of two continents."
        ),
        alert(EARLIER, earlier, group={"phone": "+49 30 5550143"}, story="A phone named in a tip booked a journey."),
        alert(
            DRILL,
            drill,
            exercise=True,
            tlp="GREEN",
            group={"document_number": "DRILL0"},
            story="Drill: three bookings.",
        ),
        alert(OLD_ID, vanished[1:], status="superseded", superseded_by=VANISHED),
    ]


def put_alerts(client: EngineClient, made: list[Json]) -> None:
    """Alerts and their evidence."""
    client.insert("alerts", [alert_row(record) for record in made])
    kept = (
        *(
            "event_id",
            "rule_id",
            "rule_title",
            "partner",
            "family",
            "occurred_at",
            "published_at",
            "ingested_at",
            "tlp",
        ),
        *("country", "place", "lat", "lon", "summary", "topic", "partition", "offset"),
    )
    client.insert(
        "alert_evidence",
        [
            {name: item[name] for name in kept}
            | {"alert_id": record["alert_id"], "matched": json.dumps(item["matched"])}
            for record in made
            for item in record["evidence"]
        ],
    )


def state_row(state: AlertState) -> Json:
    """The row of ``alert_states`` for a state."""
    fields = json.loads(state.model_dump_json())
    same = (
        *("alert_id", "revision", "state", "priority", "priority_reasons", "acknowledged_until", "withdrawn"),
        *("group_key", "rule_id", "level", "exercise", "raised_at", "updated_at", "closed_at"),
    )
    texts = ("acknowledged_by", "assignee", "verdict", "merged_into", "inhibited_by", "superseded_by")
    return (
        {name: fields[name] for name in same}
        | {name: fields[name] or "" for name in texts}
        | {"silenced": bool(state.silences), "record": state.model_dump_json()}
    )


def put_feeds(client: EngineClient, now: datetime) -> None:
    """An hour of events and refused records; ``fiu-nl`` has been silent for half of it."""
    events: list[Json] = []
    for number, (partner, (family, country, place, lat, lon)) in enumerate(PLACES.items()):
        for index in range(120 + 30 * number):
            at = now - timedelta(seconds=3500 - index * 3500 / (120 + 30 * number))
            if partner == "fiu-nl" and at > now - timedelta(minutes=30):
                break
            events.append(
                {
                    "event_id": uuid7(at, 1_000_000 * number + index),
                    "partner": partner,
                    "family": family,
                    "occurred_at": iso(at - timedelta(seconds=20 * number)),
                    "published_at": iso(at),
                    "ingested_at": iso(at + timedelta(milliseconds=300 + 40 * (index % 7))),
                    "country": country,
                    "place": place,
                    "lat": lat,
                    "lon": lon,
                    "retain_days": 365,
                    "late": index % 50 == 49,
                    "topic": f"events.{family}.v1",
                    "offset": index,
                }
            )
    client.insert("events", events)
    raw = b"\x00\x00\x00\x00\x07\x02{broken}" + bytes(range(40))
    client.insert(
        "quarantine",
        [
            {
                "quarantined_at": iso(now - timedelta(minutes=index)),
                "kafka_at": iso(now - timedelta(minutes=index)),
                "partner": ("bpol-de", "rail-at", "")[index % 3],
                "family": ("border_crossing", "travel_booking", "")[index % 3],
                "reason": ("header_invalid", "undecodable")[index % 2],
                "field": ("header.occurred_at", "")[index % 2],
                "message": ("header.occurred_at is 3 days ahead; expected at most 5 min", "not Avro of schema 7")[
                    index % 2
                ],
                "topic": "events.border_crossing.v1",
                "partition": index % 4,
                "offset": 500 + index,
                "size": len(raw),
                "raw": raw.decode("latin-1"),
            }
            for index in range(12)
        ],
    )
    client.insert(
        "signals",
        [
            {
                "correlation_id": "two-borders",
                "rule_id": "b2a1",
                "group_key": "X1",
                "event_id": uuid7(now, index),
                "partner": "bpol-de",
                "occurred_at": iso(now - timedelta(hours=index)),
                "ingested_at": iso(now - timedelta(hours=index)),
            }
            for index in range(9)
        ],
    )


def put_deliveries(client: EngineClient, now: datetime) -> None:
    """Two attempts to tell somebody of :data:`VANISHED`."""
    client.insert(
        "notifications",
        [
            {
                "at": iso(now - timedelta(minutes=13, seconds=-number)),
                "delivery_id": f"d-{number}",
                "notification_id": "n-1",
                "attempt": number + 1,
                "kind": "first",
                "person": "mira",
                "channel": "smtp",
                "address": "m…@desk.example",
                "outcome": ("retry", "sent")[number],
                "error": ("451 try again later", "")[number],
                "took_ms": 120 + number,
                "group_key": "g",
                "alert_ids": [VANISHED],
                "redacted": True,
            }
            for number in range(2)
        ],
    )


def as_alert(record: Json) -> Alert:
    """The record as the model."""
    return Alert.model_validate(record)


def noon() -> datetime:
    """A fixed moment for tests that need no present."""
    return datetime(2026, 3, 1, 12, tzinfo=UTC)
