"""The load generator: well-formed, distinct, reproducible, in order and fast."""

from __future__ import annotations

import datetime as dt
import io
import time
from collections import Counter
from functools import cache
from typing import Any

import fastavro
import pytest

from deploy.demo.world import MIX, SHARES
from deploy.loadgen import EncodedRecord, encode_scenarios, generate_encoded
from schemas.events import MODELS
from schemas.registry import family_of, load_schema
from schemas.wire import unframe
from tests.demo.pipeline import EVENT_FAMILIES, SCHEMA_IDS

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)


@cache
def parsed(family: str) -> Any:
    return fastavro.parse_schema(load_schema(family))


def decode(record: EncodedRecord) -> tuple[str, dict[str, Any]]:
    family = family_of(record[0])
    schema_id, body = unframe(record[2])
    assert schema_id == SCHEMA_IDS[family]
    stream = io.BytesIO(body)
    event = fastavro.schemaless_reader(stream, parsed(family))
    assert stream.read() == b""
    return family, event  # type: ignore[return-value]


def test_copies_are_whole_events_with_ids_and_times_of_their_own() -> None:
    records = generate_encoded(3_000, 7, EVENT_FAMILIES, SCHEMA_IDS, until=NOW, spread_s=300, distinct=400)
    events = [decode(record) for record in records]
    for family, event in events[::37]:
        MODELS[family].model_validate(event)
    headers = [event["header"] for _, event in events]
    assert len({header["event_id"] for header in headers}) == 3_000
    times = [header["occurred_at"] for header in headers]
    assert times == sorted(times)
    assert (times[0], times[-1]) == (NOW - dt.timedelta(seconds=300), NOW)
    assert all(header["published_at"] == header["occurred_at"] for header in headers)


def test_the_same_arguments_give_the_same_bytes() -> None:
    args = (500, 7, EVENT_FAMILIES, SCHEMA_IDS)
    assert generate_encoded(*args, until=NOW, distinct=100) == generate_encoded(*args, until=NOW, distinct=100)
    assert generate_encoded(*args, until=NOW) != generate_encoded(500, 8, EVENT_FAMILIES, SCHEMA_IDS, until=NOW)


def test_partners_and_families_keep_their_proportions() -> None:
    counts = Counter(family_of(topic) for topic, _, _ in generate_encoded(20_000, 7, EVENT_FAMILIES, SCHEMA_IDS))
    for family in EVENT_FAMILIES:
        share = sum(SHARES[partner] * mix.get(family, 0) for partner, mix in MIX.items())
        assert counts[family] / 20_000 == pytest.approx(share, abs=0.015)


def test_only_the_families_asked_for_are_sent() -> None:
    records = generate_encoded(500, 7, ["tip_report", "watchlist_entry"], SCHEMA_IDS)
    assert {topic for topic, _, _ in records} == {"events.tip_report.v1", "events.watchlist_entry.v1"}
    with pytest.raises(ValueError, match="no simulated partner sends any of heartbeat"):
        generate_encoded(1, 7, ["heartbeat"], SCHEMA_IDS)


def test_times_that_need_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="outside the years 1979 to 3111"):
        generate_encoded(1, 7, ["tip_report"], SCHEMA_IDS, until=dt.datetime(1975, 1, 1, tzinfo=dt.UTC))


def test_the_key_is_the_first_identifier() -> None:
    records = generate_encoded(300, 7, EVENT_FAMILIES, SCHEMA_IDS)
    decoded = [(record[1].decode(), decode(record)[1]["header"]) for record in records]
    with_entities = [(key, header) for key, header in decoded if header["entities"]]
    assert len(with_entities) > 200
    assert all(key == header["entities"][0]["value"] for key, header in with_entities)


def test_scenarios_are_reproducible_and_in_order_of_event_time() -> None:
    records = encode_scenarios("run-1", SCHEMA_IDS, NOW)
    assert records == encode_scenarios("run-1", SCHEMA_IDS, NOW)
    times = [decode(record)[1]["header"]["occurred_at"] for record in records]
    assert times == sorted(times)


def test_half_a_million_take_well_under_a_minute() -> None:
    generate_encoded(1, 7, EVENT_FAMILIES, SCHEMA_IDS)  # loads the places
    started = time.process_time()
    generate_encoded(50_000, 7, EVENT_FAMILIES, SCHEMA_IDS, distinct=10_000)
    assert time.process_time() - started < 5
