"""Faust on whole partition batches: what a fetch brought for a partition reaches the agent as one message.

Stock Faust handles record by record (about 5,000 a second with nothing but the decode). Here the scheduler, a
documented setting, hands over runs of a partition's records, the schema passes them through untouched, and the
consumer commits the end of the acknowledged prefix of runs. Faust 0.15.3 commits past an unacknowledged message
(upstream issues #606, #315, #527); the private methods overridden below exist for that and are pinned by a contract
test.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import faust
from aiokafka.codec import has_gzip, has_lz4, has_snappy, has_zstd
from aiokafka.consumer import fetcher
from faust.transport.drivers import TRANSPORTS, aiokafka
from faust.transport.utils import DefaultSchedulingStrategy
from faust.types import TP

from schemas.settings import Settings

MAX_RECORDS = 5000
"""Records of one message at most: bounds memory and the latency of a busy partition's neighbours."""
MAX_FETCH_BYTES = 2 * 1024 * 1024
FETCH_MAX_WAIT_MS = 50
"""How long a fetch may wait for data. While busy partitions are being worked off, the client asks for the idle ones
alone and sends nothing else to that broker until the answer: Faust's fixed 1,500 ms held everything up for so long."""
STREAM_BUFFER_BATCHES = 8


class Record(Protocol):
    """A consumed Kafka record; ``timestamp`` is milliseconds since 1970 UTC. Its batch knows topic and partition."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class LeanRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """Hands on the records as the native parser made them: wrapping each took a fifth of the worker's CPU time."""

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        return record


class PartitionBatch(list[Any]):
    """Consecutive records of one partition; to Faust it looks like the last of them."""

    headers = key = checksum = None
    serialized_key_size = serialized_value_size = 0

    def __init__(self, records: Iterable[Any], topic: str, partition: int) -> None:
        super().__init__(records)
        last = self[-1]
        self.topic, self.partition = topic, partition
        self.offset: int = last.offset
        self.timestamp: int = last.timestamp
        self.timestamp_type = last.timestamp_type

    @property
    def value(self) -> PartitionBatch:
        return self

    def part(self, start: int, end: int) -> PartitionBatch:
        """The records from ``start`` up to ``end``, at least one, as a batch of their own."""
        return PartitionBatch(self[start:end], self.topic, self.partition)


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
    """The thread that fetches, with a short long-poll."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS
        return consumer


class BatchConsumer(aiokafka.Consumer):
    """Commits, per partition, the end of the unbroken prefix of acknowledged batches and nothing beyond."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._open: dict[TP, deque[int]] = defaultdict(deque)
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: Any) -> Any:
        self._open[tp].append(record.offset)
        return super()._to_message(tp, record)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        # A batch spans many offsets: what looks like a gap to Faust lies inside it.
        return

    def on_buffer_full(self, tp: TP) -> None:
        # Faust would pause the partition and, with all of them paused, sleep for a second. The stream's queue is
        # bounded and holds the fetcher back by itself.
        return

    def _new_offset(self, tp: TP) -> int | None:
        pending, acked, end = self._open[tp], self._acked_index[tp], None
        while pending and pending[0] in acked:
            end = pending.popleft()
            acked.discard(end)
        self._acked[tp][:] = sorted(acked)
        return None if end is None else end + 1

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await self.commit()
        await super().on_partitions_revoked(revoked)
        self._open.clear()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self._open.clear()
        await super().on_partitions_assigned(assigned, generation_id)


class Transport(aiokafka.Transport):
    Consumer = BatchConsumer


TRANSPORTS.aliases["batched"] = "streams.batching:Transport"


def batch_app(group: str, settings: Settings, instance: str) -> faust.App:
    """A Faust application of consumer group ``group`` whose agents receive :class:`PartitionBatch` values.

    Raises:
        RuntimeError: a compression codec is missing, so that one partner's batch could stop the worker.
    """
    missing = [
        name
        for name, present in (("gzip", has_gzip), ("snappy", has_snappy), ("lz4", has_lz4), ("zstd", has_zstd))
        if not present()
    ]
    if missing:
        raise RuntimeError(f"no codec for {', '.join(missing)}: install 'cramjam', then start the worker again")
    fetcher.PartitionRecords = LeanRecords
    datadir = settings.data_dir / "faust" / group
    datadir.mkdir(parents=True, exist_ok=True)
    return faust.App(
        group,
        broker=f"batched://{settings.kafka_bootstrap}",
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
