"""Faust on whole partition batches: what a fetch brought for a partition reaches the agent as one message.

Stock Faust handles record by record (about 5,000 a second with nothing but the decode). Here the scheduler, a
documented setting, hands over runs of a partition's records, the schema passes them through untouched, and the
consumer commits the end of the acknowledged prefix of runs. Faust 0.15.3 commits past an unacknowledged message
(upstream issues #606, #315, #527); the private methods overridden below exist for that and are pinned by a contract
test.

A batch may carry a text that is committed with its end: what must be known to go on from there.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import faust
import numpy as np
import numpy.typing as npt
from aiokafka.codec import has_gzip, has_lz4, has_snappy, has_zstd
from aiokafka.consumer import consumer as consuming
from aiokafka.consumer import fetcher
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import TRANSPORTS, aiokafka
from faust.transport.utils import DefaultSchedulingStrategy
from faust.types import TP

from schemas.settings import Settings
from schemas.wire import prefixes_of
from streams.fetcher import Fetcher
from streams.kafka import broker_credentials
from streams.records import LeanRecords, LeanResult

MAX_RECORDS = 5000
"""Records of one message at most: bounds memory and the latency of a busy partition's neighbours."""
MAX_FETCH_BYTES = 2 * 1024 * 1024
STREAM_BUFFER_BATCHES = 8
END = "\0"
"""Closes the metadata of every commit. Whoever asks for offsets with librdkafka, as our own lag checks do, would else
read on behind it in memory (confluentinc/librdkafka#4649)."""


@dataclass(slots=True, eq=False)
class BatchEnd:
    """Offset of a batch's last record, and ``metadata`` (at most 4,096 bytes) to be committed with the one behind it.

    ``stale`` says that the partition was revoked meanwhile: whoever has it now reads the batch again, from the last
    commit. Outlives its batch, whose records may go once it is acknowledged.
    """

    offset: int
    metadata: str = ""
    acked: bool = False
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """Which rows of a batch are consecutive records of one partition: from ``start`` up to ``end``."""

    partition: int
    start: int
    end: int


class TopicBatch(list[Any]):
    """Records of one topic, run after run; those of a partition are in the order of their offsets."""

    def __init__(self, records: Iterable[Any], topic: str, runs: Iterable[Run]) -> None:
        super().__init__(records)
        self.topic, self.runs = topic, tuple(runs)

    @classmethod
    def joined(cls, batches: Sequence[TopicBatch]) -> TopicBatch:
        """Batches of one topic, at least one, as one."""
        if len(batches) == 1:
            return batches[0]
        runs, rows = [], 0
        for batch in batches:
            runs += [Run(each.partition, each.start + rows, each.end + rows) for each in batch.runs]
            rows += len(batch)
        whole = cls(itertools.chain.from_iterable(batches), batches[0].topic, runs)
        whole.values = list(itertools.chain.from_iterable(each.values for each in batches))
        whole.prefixes = set().union(*(each.prefixes for each in batches))
        return whole

    @cached_property
    def values(self) -> list[bytes | None]:
        return [record.value for record in self]

    @cached_property
    def prefixes(self) -> set[bytes]:
        """What names the schemas of the values."""
        return prefixes_of(self.values)

    @cached_property
    def offsets(self) -> npt.NDArray[np.int64]:
        return np.array([record.offset for record in self], dtype=np.int64)

    @cached_property
    def partitions(self) -> npt.NDArray[np.int64]:
        """Each record's partition."""
        return np.repeat([each.partition for each in self.runs], [each.end - each.start for each in self.runs])

    def part(self, start: int, end: int) -> TopicBatch:
        """The records from ``start`` up to ``end``, at least one, as a batch of their own."""
        runs = [
            Run(each.partition, max(each.start, start) - start, min(each.end, end) - start)
            for each in self.runs
            if each.start < end and each.end > start
        ]
        return TopicBatch(self[start:end], self.topic, runs)


class PartitionBatch(TopicBatch):
    """Consecutive records of one partition; to Faust it looks like the last of them."""

    headers = key = checksum = None
    serialized_key_size = serialized_value_size = 0

    def __init__(self, records: Iterable[Any], topic: str, partition: int) -> None:
        super().__init__(records, topic, ())
        self.runs = (Run(partition, 0, len(self)),)
        last = self[-1]
        self.partition = partition
        self.offset: int = last.offset
        self.end = BatchEnd(last.offset)
        self.timestamp: int = last.timestamp
        self.timestamp_type = last.timestamp_type

    @property
    def value(self) -> PartitionBatch:
        return self


class PartitionRuns(DefaultSchedulingStrategy):
    """Scheduler that yields runs of at most ``MAX_RECORDS``, one partition after the other, in turns."""

    def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, PartitionBatch]]:
        longest = max(map(len, records.values()), default=0)
        for start in range(0, longest, MAX_RECORDS):
            for tp, run in records.items():
                if start < len(run):
                    yield tp, PartitionBatch(run[start : start + MAX_RECORDS], tp.topic, tp.partition)


class BatchSchema(faust.Schema[None, PartitionBatch]):
    """Hands the batch to the agent as it is."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> None:
        return None

    def loads_value(self, app: Any, message: Any, **_: Any) -> PartitionBatch:
        return message.value  # type: ignore[no-any-return]


class BatchConsumerThread(aiokafka.AIOKafkaConsumerThread):
    """The thread that fetches as :class:`Fetcher` does, and commits with metadata, which Faust leaves empty."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_min_bytes = getattr(transport.app, "fetch_min_bytes", 1)
        commit, parent = consumer.commit, self.consumer

        async def commit_with_metadata(offsets: Mapping[Any, OffsetAndMetadata]) -> None:
            assert isinstance(parent, BatchConsumer)
            texts = parent.metadata
            await commit({tp: OffsetAndMetadata(each.offset, texts[tp] + END) for tp, each in offsets.items()})

        consumer.commit = commit_with_metadata
        return consumer


class BatchConsumer(aiokafka.Consumer):
    """Commits, per partition, the end of the unbroken prefix of acknowledged batches and nothing beyond.

    ``metadata`` is what goes with the latest commit of each partition.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._open: dict[TP, deque[BatchEnd]] = defaultdict(deque)
        self._fetched: dict[TP, int] = {}
        self._handed_on: dict[TP, int] = {}
        self._read_up: set[TP] = set()
        self._next_look = 0.0
        self.metadata: dict[TP, str] = {}
        super().__init__(*args, **kwargs)

    def idle(self, tp: TP) -> bool:
        """Whether the partition has been read to its end, as of a second ago, and every batch of it acknowledged."""
        handed_on = self._fetched.get(tp) == self._handed_on.get(tp)
        return tp in self._read_up and handed_on and all(end.acked for end in self._open[tp])

    async def committed_metadata(self, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
        """What was committed with the offset of each (topic, partition), empty where nothing was. Waits while brokers
        are away."""
        coordinator = self._thread._ensure_consumer()._coordinator
        wanted = [TopicPartition(*each) for each in partitions]
        found = await self._thread.call_thread(coordinator.fetch_committed_offsets, wanted)
        return {each: found[each].metadata.removesuffix(END) if each in found else "" for each in wanted}

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        records = await super()._getmany(active_partitions, timeout)
        self._fetched.update({tp: run[-1].offset for tp, run in records.items()})
        if time.monotonic() > self._next_look:
            self._next_look = time.monotonic() + 0.5
            # Now, because the next fetch begins when these records are handed on: positions include no others. They
            # count, not offsets of records, for what ends a transaction has an offset too.
            assigned = self._thread._ensure_consumer()._subscription.subscription.assignment
            states = {tp: assigned.state_value(tp) for tp in self.assignment()}
            self._read_up = {
                tp
                for tp, state in states.items()
                if state is not None
                and state.has_valid_position
                and state.highwater is not None
                and state.position >= state.highwater
            }
        return records

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: Any) -> Any:
        self._open[tp].append(record.end)
        self._handed_on[tp] = record.offset
        return super()._to_message(tp, record)

    def ack(self, message: Any) -> bool:
        # By the batch, not by its offset: one that was read before a rebalance must not acknowledge its second reading.
        message.value.end.acked = True
        return super().ack(message)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        # A batch spans many offsets: what looks like a gap to Faust lies inside it.
        return

    def on_buffer_full(self, tp: TP) -> None:
        # Faust would pause the partition and, with all of them paused, sleep for a second. The stream's queue is
        # bounded and holds the fetcher back by itself.
        return

    def _new_offset(self, tp: TP) -> int | None:
        pending, end = self._open[tp], None
        while pending and pending[0].acked:
            end = pending.popleft()
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        if end is None:
            return None
        self.metadata[tp] = end.metadata
        return end.offset + 1

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        if self.assignment():
            self.stop_flow()  # Faust does so later; no batch may follow those that are about to be stale
        await self.commit()
        self._forget()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self._forget()
        await super().on_partitions_assigned(assigned, generation_id)

    def _forget(self) -> None:
        for ends in self._open.values():
            for end in ends:
                end.stale = True
        for what in (self._open, self._fetched, self._handed_on, self._read_up):
            what.clear()


class Transport(aiokafka.Transport):
    Consumer = BatchConsumer


TRANSPORTS.aliases["batched"] = "streams.batching:Transport"


def batch_app(group: str, settings: Settings, instance: str, fetch_min_bytes: int = 1) -> faust.App:
    """A Faust application of consumer group ``group`` whose agents receive :class:`PartitionBatch` values.

    ``fetch_min_bytes`` is what a broker gathers for a moment before it answers, where anything comes at all.

    Raises:
        RuntimeError: a compression codec is missing, so that one partner's batch could stop the worker.
        SettingsError: Kafka's certificate or key is none.
    """
    missing = [
        name
        for name, present in (("gzip", has_gzip), ("snappy", has_snappy), ("lz4", has_lz4), ("zstd", has_zstd))
        if not present()
    ]
    if missing:
        raise RuntimeError(f"no codec for {', '.join(missing)}: install 'cramjam', then start the worker again")
    fetcher.PartitionRecords, fetcher.FetchResult = LeanRecords, LeanResult
    consuming.Fetcher = Fetcher
    datadir = settings.data_dir / "faust" / group
    datadir.mkdir(parents=True, exist_ok=True)
    app = faust.App(
        group,
        broker=f"batched://{settings.kafka_bootstrap}",
        broker_credentials=broker_credentials(settings),
        ConsumerScheduler=PartitionRuns,
        # An always-empty leader topic would hold back every fetch.
        topic_disable_leader=True,
        topic_allow_declare=False,
        store="memory://",
        web_enabled=False,
        datadir=str(datadir),
        # With few records a poll all but one of 2,000 partitions starved for 20 s; with no limit a backlog fills
        # memory.
        broker_max_poll_records=40_000,
        consumer_max_fetch_size=MAX_FETCH_BYTES,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=instance,
        stream_buffer_maxsize=STREAM_BUFFER_BATCHES,
        stream_wait_empty=False,
        broker_commit_every=1,
        broker_commit_interval=1.0,
        broker_session_timeout=10.0,
        broker_heartbeat_interval=2.0,
        stream_recovery_delay=0.0,
    )
    app.fetch_min_bytes = fetch_min_bytes  # type: ignore[attr-defined]
    return app
