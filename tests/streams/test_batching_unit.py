"""The pure parts of the batching transport, and the private surface of Faust that it stands on."""

from __future__ import annotations

import inspect
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import faust
from aiokafka.consumer import fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka
from faust.types import TP

from streams import batching
from streams.batching import BatchConsumer, BatchEnd, PartitionBatch, PartitionRuns


def record(offset: int, partition: int = 0) -> Any:
    return SimpleNamespace(topic="t", partition=partition, offset=offset, timestamp=offset, timestamp_type=0)


def test_faust_has_the_private_surface_that_batching_overrides() -> None:
    assert faust.__version__ == "0.15.3"
    methods = {"_to_message": ["self", "tp", "record"], "_add_gap": ["self", "tp", "offset_from", "offset_to"],
               "_new_offset": ["self", "tp"], "ack": ["self", "message"],
               "_getmany": ["self", "active_partitions", "timeout"]}  # fmt: skip
    for name, parameters in methods.items():
        assert list(inspect.signature(getattr(aiokafka.Consumer, name)).parameters) == parameters, name
    assert inspect.iscoroutinefunction(aiokafka.Consumer._add_gap)
    made = inspect.getsource(Consumer.__init__)
    for attribute in ("_acked", "_acked_index", "_committed_offset", "_read_offset"):
        assert f"self.{attribute} =" in made, f"faust's Consumer no longer sets {attribute}"
    assert "self._new_offset(tp)" in inspect.getsource(Consumer), "commits no longer ask _new_offset"
    assert inspect.iscoroutinefunction(GroupCoordinator.fetch_committed_offsets)
    committing = inspect.getsource(aiokafka.AIOKafkaConsumerThread._commit)
    assert "await consumer.commit(aiokafka_offsets)" in committing, "metadata is no longer added at this point"


def test_aiokafka_makes_its_records_where_batching_replaces_them() -> None:
    assert list(inspect.signature(fetcher.PartitionRecords._consumer_record).parameters) == ["self", "tp", "record"]
    assert "PartitionRecords(" in inspect.getsource(fetcher.Fetcher), "the fetcher no longer looks the class up by name"
    parsed = inspect.getsource(fetcher.PartitionRecords._unpack_records)
    assert "self._consumer_record(tp, record)" in parsed


def test_stock_faust_still_needs_the_override() -> None:
    """Why ``_new_offset`` is overridden: stock Faust commits past a message that nobody acknowledged."""
    tp = TP("t", 0)
    stock: Any = object.__new__(aiokafka.Consumer)
    stock._acked, stock._acked_index = defaultdict(list, {tp: [1_499]}), defaultdict(set, {tp: {1_499}})
    stock._committed_offset, stock._gap = {tp: None}, {tp: None}
    assert stock._new_offset(tp) == 1_500


def consumer(*offsets: int) -> tuple[Any, TP, list[BatchEnd]]:
    tp = TP("t", 0)
    made: Any = object.__new__(BatchConsumer)
    ends = [BatchEnd(offset, metadata=f"at {offset}") for offset in offsets]
    made._open, made.metadata = defaultdict(batching.deque, {tp: batching.deque(ends)}), {}
    made._acked_index, made._acked = defaultdict(set), defaultdict(list)
    made._fetched, made._handed_on, made._read_up = {}, {}, set()
    return made, tp, ends


def test_only_the_unbroken_prefix_is_committed() -> None:
    made, tp, (first, second, third) = consumer(499, 999, 1_499)
    second.acked = third.acked = True
    assert made._new_offset(tp) is None
    first.acked = True
    assert made._new_offset(tp) == 1_500
    assert made.metadata[tp] == "at 1499"
    assert made._new_offset(tp) is None


def test_acknowledgements_behind_a_gap_are_kept_for_later() -> None:
    made, tp, (first, second, third) = consumer(499, 999, 1_499)
    first.acked = third.acked = True
    assert made._new_offset(tp) == 500
    assert made.metadata[tp] == "at 499"
    second.acked = True
    assert made._new_offset(tp) == 1_500


def test_a_partition_is_idle_once_all_that_was_fetched_is_acknowledged() -> None:
    made, tp, (first,) = consumer(499)
    made._read_up, made._fetched, made._handed_on = {tp}, {tp: 999}, {tp: 499}
    first.acked = True
    assert not made.idle(tp), "a batch waits to be handed on"
    made._open[tp].append(BatchEnd(999))
    made._handed_on[tp] = 999
    assert not made.idle(tp), "a batch is being worked on"
    made._open[tp][-1].acked = True
    assert made.idle(tp)
    made._read_up.clear()
    assert not made.idle(tp), "more has come"
    empty = TP("t", 1)
    made._read_up = {empty}
    assert made.idle(empty)


def test_runs_keep_order_bound_their_size_and_take_turns(monkeypatch: Any) -> None:
    monkeypatch.setattr(batching, "MAX_RECORDS", 3)
    many, few = TP("t", 0), TP("t", 1)
    records = {many: [record(n) for n in range(7)], few: [record(n, 1) for n in range(2)]}
    runs = list(PartitionRuns().iterate(records))
    assert [(tp.partition, [each.offset for each in run]) for tp, run in runs] == [
        (0, [0, 1, 2]),
        (1, [0, 1]),
        (0, [3, 4, 5]),
        (0, [6]),
    ]


def test_a_batch_looks_like_its_last_record() -> None:
    batch = PartitionBatch([record(5), record(6)], "t", 0)
    assert (batch.topic, batch.partition, batch.offset, batch.timestamp) == ("t", 0, 6, 6)
    assert batch.value is batch
