"""Whatever a batch holds, each record is stored, refused with a reason, or both of neither; nothing raises."""

from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.demo.world import background
from processors import ingest as module
from processors.ingest import Ingest
from processors.rule_files import load
from processors.validate import Limits
from schemas.partners import load_partners
from schemas.registry import RegisteredSchema, load_schema, schema_text, subject_of, topic_of
from schemas.settings import Settings
from schemas.wire import encode
from streams.batching import PartitionBatch, TopicBatch
from streams.refusal import Reason
from streams.watermarks import Watermarks

FAMILY, PARTNER = "travel_booking", "platform-ie"
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
SETTINGS = Settings()
BOOK = load([SETTINGS.rules_path])
LIMITS = Limits(load_partners(SETTINGS.partners_file), 300)
PARSED = load_schema(FAMILY)
EVENTS = [event for _, event in itertools.islice(background(PARTNER, [FAMILY], 3, lambda: NOW), 30)]
VALUES = [encode(1, PARSED, event) for event in EVENTS]


def new_ingest() -> Ingest:
    registered = RegisteredSchema(1, schema_text(FAMILY), (subject_of(FAMILY),))
    return Ingest(BOOK, LIMITS, Watermarks(), {1: registered}.get, 1 << 20, 3600)


def records(values: list[bytes]) -> PartitionBatch:
    found = [
        SimpleNamespace(offset=n, timestamp=0, timestamp_type=0, key=None, value=value, headers=())
        for n, value in enumerate(values)
    ]
    return PartitionBatch(found, topic_of(FAMILY), 0)


def test_partners_may_give_their_events_the_same_id() -> None:
    header = pa.StructArray.from_arrays(
        [pa.array(["e1", "e1", "e2"]), pa.array(["a", "b", "a"])], ["event_id", "partner"]
    )
    origin: Any = SimpleNamespace(partitions=np.array([0, 3, 1]))
    events: Any = SimpleNamespace(header=header)
    matches: Any = [(None, np.array([0, 1])), (None, np.array([1]))]
    assert module._partitions(events, matches, origin) == {("a", "e1"): 0, ("b", "e1"): 3}


def test_a_clean_batch_is_stored_whole() -> None:
    outcome = new_ingest().process(records(VALUES), NOW)
    assert outcome.stored == len(VALUES) == outcome.tables["events"].num_rows
    assert not outcome.refused


@pytest.mark.parametrize("micros", [2**63 - 1, -(2**63), 253_402_300_800_000_000])
def test_a_time_beyond_the_calendar_is_refused_and_named(micros: int) -> None:
    raw = load_schema(FAMILY)
    for field in raw["fields"]:
        if field["name"] == "departs_at":
            field["type"] = ["null", "long"]
    broken = encode(1, raw, {**EVENTS[1], "departs_at": micros})
    outcome = new_ingest().process(records([VALUES[0], broken, VALUES[2]]), NOW)
    (refusal,) = outcome.refused
    assert (refusal.index, refusal.reason, refusal.field) == (1, Reason.UNDECODABLE, "departs_at")
    assert outcome.stored == 2


@given(st.lists(st.tuples(st.sampled_from(VALUES), st.integers(0, 400), st.integers(0, 255)), max_size=8))
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_never_raise(changes: list[tuple[bytes, int, int]]) -> None:
    damaged = []
    for value, at, byte in changes:
        body = bytearray(value)
        body[at % len(body)] = byte
        damaged.append(bytes(body))
    outcome = new_ingest().process(records([VALUES[0], *damaged, VALUES[1]]), NOW)
    refused = [each.index for each in outcome.refused]
    assert len(refused) == len(set(refused))
    assert outcome.stored + len(refused) == len(damaged) + 2
    assert 0 not in refused
    assert len(damaged) + 1 not in refused


def fail_on(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let the building of rows fail wherever that event is among them."""
    real = module.event_rows

    def fails(batch: Any, *rest: Any) -> Any:
        if EVENTS[number]["header"]["event_id"] in batch.header.field("event_id").to_pylist():
            raise RuntimeError("library failure")
        return real(batch, *rest)

    monkeypatch.setattr(module, "event_rows", fails)


def test_a_record_on_which_a_library_fails_is_isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_on(monkeypatch, 7)
    outcome = new_ingest().process(records(VALUES), NOW)
    (refusal,) = outcome.refused
    assert refusal.index == 7
    assert "library failure" in refusal.message
    assert outcome.stored == len(VALUES) - 1
    assert outcome.tables["quarantine"].column("raw").to_pylist() == [VALUES[7]]


def test_a_fault_of_ours_is_not_blamed_on_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("our bug")

    monkeypatch.setattr(module, "event_rows", fails)
    with pytest.raises(RuntimeError, match="our bug"):
        new_ingest().process(records(VALUES * 5), NOW)


def test_late_events_are_marked_and_join_no_window() -> None:
    early = {**EVENTS[0], "header": {**EVENTS[0]["header"], "occurred_at": NOW - dt.timedelta(hours=2)}}
    outcome = new_ingest().process(records([VALUES[1], encode(1, PARSED, early)]), NOW)
    assert outcome.tables["events"].column("late").to_pylist() == [False, True]
    assert outcome.late == {PARTNER: 1}
    late_ids = {early["header"]["event_id"]}
    assert not [each for each in outcome.signals if each.correlation_id and each.event_id in late_ids]


def at(number: int, hours_ago: float) -> dict[str, Any]:
    moved = NOW - dt.timedelta(hours=hours_ago)
    return {**EVENTS[number], "header": {**EVENTS[number]["header"], "occurred_at": moved}}


def test_isolating_a_record_makes_none_before_it_late(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_on(monkeypatch, 1)
    outcome = new_ingest().process(records([encode(1, PARSED, at(0, 3)), encode(1, PARSED, at(1, 0))]), NOW)
    assert outcome.tables["events"].column("late").to_pylist() == [False]


def test_another_rulebook_keeps_the_watermarks() -> None:
    first = new_ingest()
    first.process(records([encode(1, PARSED, at(0, 0))]), NOW)
    second = first.under(load([SETTINGS.rules_path / "tips"]))
    outcome = second.process(records([encode(1, PARSED, at(1, 3))]), NOW)
    assert outcome.tables["events"].column("late").to_pylist() == [True]


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, len(VALUES) - 1)), min_size=1, max_size=25, unique_by=lambda e: e[1]
    ),
    st.data(),
)
def test_partitions_together_come_to_the_same_as_one_by_one(drawn: list[tuple[int, int]], data: st.DataObject) -> None:
    broken = data.draw(st.sets(st.integers(0, len(drawn) - 1), max_size=2))
    by_partition: dict[int, list[bytes]] = {}
    for place, (partition, event) in enumerate(drawn):
        moved = EVENTS[event] | {"header": EVENTS[event]["header"] | {"occurred_at": NOW - dt.timedelta(hours=event)}}
        value = encode(1, PARSED, moved)
        by_partition.setdefault(partition, []).append(value[:40] if place in broken else value)
    batches = [
        PartitionBatch(records(values), topic_of(FAMILY), partition) for partition, values in by_partition.items()
    ]
    apart, together = new_ingest(), new_ingest()
    singles = [apart.process(each, NOW) for each in batches]
    whole = together.process(TopicBatch.joined(batches), NOW)
    assert Counter(whole.signals) == Counter(signal for each in singles for signal in each.signals)
    assert whole.late == sum((each.late for each in singles), Counter())
    for name in {name for each in singles for name in each.tables}:
        parts = [each.tables[name] for each in singles if name in each.tables]
        rows = [Counter(map(repr, each.to_pylist())) for each in (whole.tables[name], pa.concat_tables(parts))]
        assert rows[0] == rows[1], name
    marks = [(topic_of(FAMILY), each.partition) for each in batches]
    assert [apart._watermarks.metadata(*each) for each in marks] == [
        together._watermarks.metadata(*each) for each in marks
    ]
