"""The pure parts of the batching transport, and the private surface of Faust that it stands on."""

from __future__ import annotations

import inspect
import itertools
import struct
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import faust
from aiokafka.consumer import fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streams import batching
from streams.batching import BatchConsumer, BatchEnd, PartitionBatch, PartitionRuns
from streams.records import LeanRecords, LeanResult


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


STOCK = (fetcher.PartitionRecords, fetcher.FetchResult)


def answer(sizes: list[int]) -> bytes:
    """A fetch's bytes: Kafka batches of these sizes, the third of each three a control batch."""
    found, offset = b"", 0
    for number, size in enumerate(sizes):
        builder = DefaultRecordBatchBuilder(2, 0, int(number % 2), 1, 0, 0, 100_000)
        for place in range(size):
            builder.append(place, 0, b"k", b"%d" % (offset + place), [])
        batch = builder.build()
        batch[:8] = struct.pack(">q", offset)
        if number % 3 == 2:
            batch[22] |= 0x20  # attributes: a control batch, which is skipped
            batch[17:21] = struct.pack(">I", calc_crc32c(bytes(batch[21:])))
        found += bytes(batch)
        offset += size
    return found


def turns(classes: tuple[Any, Any], data: bytes, start: int, most: list[int | None]) -> list[Any]:
    """The offsets and values of each turn, and the position after it."""
    records, result = classes
    tp = TP("t", 0)
    state = SimpleNamespace(paused=False, position=start)
    state.consumed_to = lambda offset: setattr(state, "position", offset)
    assignment = SimpleNamespace(active=True, state_value=lambda _: state)
    made = result(tp, assignment=assignment, partition_records=records(
        tp, MemoryRecords(data), [], start, None, None, True, fetcher.READ_UNCOMMITTED), backoff=0)  # fmt: skip
    found = []
    for each in most:
        taken = [(one.offset, one.value) for one in made.getall(each)] if made.has_more() else []
        found.append((taken, state.position))
    return found


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=6),
    st.integers(0, 5),
    st.lists(st.none() | st.integers(1, 7), min_size=1, max_size=12),
)
def test_records_are_handed_on_as_aiokafka_does_it(sizes: list[int], start: int, most: list[int | None]) -> None:
    # An answer begins with the batch that holds the offset asked for.
    data, start = answer(sizes), min(start, sizes[0] - 1)
    lean = turns((LeanRecords, LeanResult), data, start, most)
    stock = turns(STOCK, data, start, most)
    assert [each for each, _ in lean] == [each for each, _ in stock]
    # Where a turn ends with the last record but one that is skipped, aiokafka sees it at once or with the next turn.
    assert all(ours >= theirs for (_, ours), (_, theirs) in zip(lean, stock, strict=True))
    behind = itertools.accumulate(len(each) for each, _ in lean)
    everything = [offset for each, _ in turns(STOCK, data, start, [None]) for offset, _ in each]
    for (_, position), seen in zip(lean, behind, strict=True):
        assert not any(offset < position for offset in everything[seen:]), "a record would be skipped"


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
