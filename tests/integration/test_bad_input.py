"""Ten thousand records with every kind of bad input mixed in: the good stored once, the bad kept with their reason."""

from __future__ import annotations

import base64
import json
from collections import Counter
from random import Random
from typing import cast
from uuid import uuid4

import pytest

from schemas.alerts import QUARANTINE_TOPIC
from tests.integration.bad_kinds import TOPIC, Kind, bad_kinds, odd_but_good
from tests.integration.events import encoded, event
from tests.stack import Outgoing, Position, Stack

RECORDS = 10_000
BAD_OF_EACH_KIND = 25
LARGE_ONES = 3
DOUBLES = 100
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
Headers = list[tuple[str, bytes | None]]
COLUMNS = "topic, partition, offset, reason, field, message, partner, size, base64Encode(raw)"


@pytest.fixture(scope="module")
def source() -> str:
    return f"bad-input-{uuid4().hex[:8]}"


def bad_records(kinds: list[Kind], rng: Random) -> list[tuple[Outgoing, Kind]]:
    found = []
    for kind in kinds:
        for _ in range(LARGE_ONES if kind.reason == "oversize" else BAD_OF_EACH_KIND):
            record = Outgoing(
                kind.topic, kind.make(), rng.randbytes(4), {"partner": b"tipline-uk"}, None, rng.choice(CODECS)
            )
            found.append((record, kind))
    return found


def test_good_events_are_stored_once_and_bad_ones_kept_with_their_reason(stack: Stack, source: str) -> None:
    rng = Random(20)
    tip = stack.schema_ids["tip_report"]
    worker = stack.part("ingest-0")
    pid, restarts = worker.pid, worker.restarts
    kinds = bad_kinds(stack.schema_ids, source, rng)
    assert len(kinds) >= 20
    bad = bad_records(kinds, rng)
    odd = odd_but_good(source)
    plain = [event(source, text=f"tip {number}") for number in range(RECORDS - len(bad) - len(odd) - DOUBLES)]
    good = [*plain, *odd]
    sent = [Outgoing(TOPIC, encoded(tip, each), None, {}, None, rng.choice(CODECS)) for each in good]
    doubles = [
        Outgoing(TOPIC, encoded(tip, each), rng.randbytes(4), {}, None, rng.choice(CODECS))
        for each in rng.sample(plain, DOUBLES)
    ]
    mixed: list[tuple[Outgoing, Kind | None]] = [*bad, *((each, None) for each in (*sent, *doubles))]
    rng.shuffle(mixed)
    begin = stack.ends(QUARANTINE_TOPIC)

    positions = stack.produce_all([record for record, _ in mixed])
    assert len(positions) == RECORDS
    expected: dict[Position, tuple[Outgoing, Kind]] = {
        position: (record, kind) for position, (record, kind) in zip(positions, mixed, strict=True) if kind
    }

    stack.wait_until(lambda: stack.stored(source) >= len(good), 60, f"{len(good)} good events stored")
    ids = {row[0] for row in stack.rows("SELECT event_id FROM events FINAL WHERE source_system = {s:String}", s=source)}
    assert ids == {each["header"]["event_id"] for each in good}
    assert stack.stored(source) == len(good)

    def held() -> dict[Position, tuple[str, str, str, str, int, bytes]]:
        rows = stack.rows(f"SELECT {COLUMNS} FROM quarantine FINAL")
        return {(row[0], row[1], row[2]): (*row[3:8], base64.b64decode(row[8])) for row in rows}

    in_store = stack.wait_until(lambda: (found := held()).keys() >= expected.keys() and found, 30, "quarantine filled")
    assert not in_store.keys() & set(positions) - expected.keys(), "a good event is in quarantine"
    wrong: Counter[tuple[str, str, str, str]] = Counter()
    for position, (record, kind) in expected.items():
        reason, field, message, partner, size, raw = in_store[position]
        if (reason, field) != (kind.reason, kind.field):
            wrong[kind.name, reason, field, message] += 1
        assert raw == (record.value or b""), f"{kind.name}: other bytes in quarantine than sent"
        assert size == len(record.value or b"")
        assert message
        assert partner == ("nobody-xx" if kind.reason == "partner_unknown" else "tipline-uk")
    assert not wrong, wrong

    on_topic = {}
    for message in stack.read(QUARANTINE_TOPIC, begin):
        headers = {name: (value or b"").decode() for name, value in cast("Headers", message.headers() or [])}
        place = (headers["topic"], int(headers["partition"]), int(headers["offset"]))
        on_topic[place] = (headers["reason"], headers["field"], headers["message"], message.value())
    for position, (record, kind) in expected.items():
        reason, field, message, value = on_topic[position]
        assert (reason, field) == (kind.reason, kind.field)
        assert message == in_store[position][2]
        assert value == (record.value or b"")

    assert (worker.pid, worker.restarts) == (pid, restarts), "the ingest worker was started again"


def test_odd_texts_come_back_as_they_were(stack: Stack, source: str) -> None:
    tip = stack.schema_ids["tip_report"]
    own = f"{source}-odd"
    odd = odd_but_good(own)
    stack.produce_all([Outgoing(TOPIC, encoded(tip, each)) for each in odd])
    stack.wait_until(lambda: stack.stored(own) == len(odd), 30, "odd events stored")
    rows = stack.rows(
        "SELECT event_id, payload, confidence, entities.value, lat, lon, summary "
        "FROM events FINAL WHERE source_system = {s:String}",
        s=own,
    )
    found = {row[0]: row[1:] for row in rows}
    for each in odd:
        header = each["header"]
        place = header["location"] or {"lat": None, "lon": None}
        payload, confidence, values, lat, lon, summary = found[header["event_id"]]
        assert json.loads(payload)["text"] == each["text"]
        assert (confidence, summary) == (header["confidence"], header["summary"])
        assert list(values) == [entity["value"] for entity in header["entities"]]
        assert (lat, lon) == (place["lat"], place["lon"])


def test_of_two_events_with_one_id_the_first_stays(stack: Stack, source: str) -> None:
    tip = stack.schema_ids["tip_report"]
    own = f"{source}-first"
    first = event(own, text="first")
    later = {**first, "text": "later"}
    for content in (first, later, later):
        stack.produce(TOPIC, encoded(tip, content), b"one-key")
    last = event(own, text="last")
    stack.produce(TOPIC, encoded(tip, last), b"one-key")
    stack.wait_until(lambda: stack.stored(own) == 2, 30, "both ids stored")
    rows = stack.rows("SELECT event_id, payload FROM events FINAL WHERE source_system = {s:String}", s=own)
    assert {row[0]: json.loads(row[1])["text"] for row in rows} == {
        first["header"]["event_id"]: "first",
        last["header"]["event_id"]: "last",
    }
