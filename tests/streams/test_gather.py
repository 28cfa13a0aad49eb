"""What waits for a worker is worked on together, in order, and no more of it waits than is allowed."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.batching import PartitionBatch, Run, TopicBatch
from streams.gather import Gather, Waiting


def batch(topic: str, partition: int, first: int, count: int = 1) -> PartitionBatch:
    records = [
        SimpleNamespace(offset=first + each, timestamp=0, timestamp_type=0, value=b"%d/%d" % (partition, first + each))
        for each in range(count)
    ]
    return PartitionBatch(records, topic, partition)


class Worker:
    """Notes what it was given; the first time it waits until it is let go."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, list[tuple[int, int]]]] = []
        self.go = asyncio.Event()

    async def handle(self, waiting: list[Waiting]) -> None:
        self.taken.append((waiting[0][0].topic, [(each.partition, each.offset) for each, _ in waiting]))
        for _, ack in waiting:
            ack()
        await self.go.wait()


async def test_what_comes_while_the_worker_is_busy_is_taken_together_by_topic() -> None:
    worker, acked = Worker(), []
    gather = Gather(worker.handle)
    running = asyncio.create_task(gather.run())
    await gather.put(batch("a", 0, 0), lambda: acked.append(0))
    await asyncio.sleep(0.01)
    for number, each in enumerate((batch("a", 1, 7), batch("b", 0, 3), batch("a", 0, 1), batch("a", 2, 5)), 1):
        await gather.put(each, lambda number=number: acked.append(number))
    worker.go.set()
    await asyncio.sleep(0.01)
    assert worker.taken == [("a", [(0, 0)]), ("a", [(1, 7), (0, 1), (2, 5)]), ("b", [(0, 3)])]
    assert acked == [0, 1, 3, 4, 2]
    running.cancel()


async def test_no_more_waits_than_is_allowed_and_nothing_overtakes() -> None:
    worker = Worker()
    gather = Gather(worker.handle, max_joined=10)
    running = asyncio.create_task(gather.run())
    await gather.put(batch("a", 0, 0), lambda: None)
    await asyncio.sleep(0.01)
    for first in (1, 6):
        await gather.put(batch("a", 0, first, 5), lambda: None)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(gather.put(batch("a", 0, 11), lambda: None), 0.05)
    worker.go.set()
    await gather.put(batch("a", 0, 11), lambda: None)
    await asyncio.sleep(0.01)
    assert [offset for _, each in worker.taken for _, offset in each] == [0, 5, 10, 11]
    running.cancel()


async def test_a_worker_rests_in_proportion_to_its_turn_and_takes_what_came_meanwhile() -> None:
    taken: list[int] = []

    async def handle(waiting: list[Waiting]) -> None:
        taken.append(len(waiting))
        await asyncio.sleep(0.05)

    gather = Gather(handle, rests=2.0)
    running = asyncio.create_task(gather.run())
    for first in range(8):
        await gather.put(batch("a", 0, first), lambda: None)
        await asyncio.sleep(0.012)
    while sum(taken) < 8:
        await asyncio.sleep(0.01)
    # A turn and its rest take 0.15 s, all puts 0.1 s where nothing else fills the machine; without rests it is 0.05 s.
    assert taken[0] == 1
    assert len(taken) <= 3
    running.cancel()


async def test_it_rests_after_all_topics_that_waited_unless_it_is_behind() -> None:
    taken: list[tuple[str, float]] = []

    async def handle(waiting: list[Waiting]) -> None:
        taken.append((waiting[0][0].topic, time.monotonic()))
        await asyncio.sleep(0.05)

    gather = Gather(handle, max_joined=8, rests=2.0)
    for topic in ("a", "b"):
        await gather.put(batch(topic, 0, 0), lambda: None)
    running = asyncio.create_task(gather.run())
    await asyncio.sleep(0.08)
    await gather.put(batch("a", 0, 1, 2), lambda: None)
    while len(taken) < 3:
        await asyncio.sleep(0.01)
    # So much waited that there is no time to rest.
    await gather.put(batch("b", 0, 1), lambda: None)
    while len(taken) < 4:
        await asyncio.sleep(0.01)
    assert [topic for topic, _ in taken] == ["a", "b", "a", "b"]
    first, second, third, fourth = (at for _, at in taken)
    assert second - first < third - second
    assert third - second >= 0.05 + 0.2 - 0.01
    assert fourth - third < third - second
    running.cancel()


async def test_it_is_behind_while_much_waits_or_is_worked_on() -> None:
    worker = Worker()
    gather = Gather(worker.handle, max_joined=8)
    running = asyncio.create_task(gather.run())
    await gather.put(batch("a", 0, 0), lambda: None)
    await asyncio.sleep(0.01)
    assert not gather.behind
    await gather.put(batch("a", 0, 1, 4), lambda: None)
    worker.go.set()
    worker.go = asyncio.Event()
    await asyncio.sleep(0.01)
    assert gather.behind
    worker.go.set()
    await asyncio.sleep(0.01)
    assert not gather.behind
    running.cancel()


async def test_an_error_of_the_worker_ends_it() -> None:
    async def fail(waiting: list[Waiting]) -> None:
        raise ValueError(waiting[0][0].topic)

    gather = Gather(fail)
    await gather.put(batch("a", 0, 0), lambda: None)
    with pytest.raises(ValueError, match="a"):
        await gather.run()


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), min_size=1, max_size=5), st.data())
def test_joined_batches_know_where_each_record_came_from(sizes: list[tuple[int, int]], data: st.DataObject) -> None:
    first = dict.fromkeys(range(3), 0)
    batches = []
    for partition, count in sizes:
        batches.append(batch("t", partition, first[partition], count))
        first[partition] += count
    joined = TopicBatch.joined(batches)
    start = data.draw(st.integers(0, len(joined) - 1))
    part = joined.part(start, data.draw(st.integers(start + 1, len(joined))))
    for each in (joined, part):
        shown = [b"%d/%d" % pair for pair in zip(each.partitions.tolist(), each.offsets.tolist(), strict=True)]
        assert shown == each.values
        assert [row for run in each.runs for row in range(run.start, run.end)] == list(range(len(each)))
        assert all(isinstance(run, Run) and run.start < run.end for run in each.runs)
