"""Records and committed offsets of Kafka, to Avro files and back.

A topic that deletes by time gets its records back under the very offsets they had: what is missing before them is
filled up with empty records, which are deleted before the first real one is written. So alerts still name the right
records, refused records keep their key, and committed offsets fit as they are. Compacted topics are read as a whole by
their key; their records are numbered anew, and what was committed on them is translated.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import fastavro
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from deploy.backup.archive import Archive, BackupError, CommittedOffset, StoredPartition
from schemas.settings import Settings
from streams.kafka import client_config
from streams.topics import MIB, TopicSpec, ensure_topics

READ_S: Final = 60.0
FLUSH_S: Final = 120.0
LARGEST: Final = 16 * MIB
FILL_BATCH: Final = 10_000
QUEUED: Final = 500_000
CREATE_TIME: Final = {"message.timestamp.type": "CreateTime", "retention.ms": "-1"}
"""While records are written back, for topics that say something else: records keep their times, and none expires before
all are there."""
RECORD: Final = fastavro.parse_schema(
    {
        "type": "record",
        "name": "org.tocsin.backup.Record",
        "fields": [
            {"name": "offset", "type": "long"},
            {"name": "timestamp_ms", "type": "long"},
            {"name": "key", "type": ["null", "bytes"]},
            {"name": "value", "type": ["null", "bytes"]},
            {
                "name": "headers",
                "type": {
                    "type": "array",
                    "items": {
                        "type": "record",
                        "name": "org.tocsin.backup.Header",
                        "fields": [
                            {"name": "name", "type": "string"},
                            {"name": "value", "type": ["null", "bytes"]},
                        ],
                    },
                },
            },
        ],
    }
)
Where = tuple[str, int]
"""Topic and partition."""


def consumer(settings: Settings, group: str = "tocsin-backup") -> Consumer:
    """A consumer that joins no group and commits nothing by itself."""
    return Consumer(
        {
            **client_config(settings),
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.message.max.bytes": LARGEST,
            "log_level": 2,
        }
    )


def partitions_of(settings: Settings, topics: Iterable[str]) -> list[Where]:
    """Partitions of those of the topics that are there.

    Raises:
        KafkaException: no broker answers.
    """
    asking = consumer(settings)
    try:
        known = asking.list_topics(timeout=10).topics
        return [(topic, number) for topic in topics if topic in known for number in sorted(known[topic].partitions)]
    finally:
        asking.close()


def committed(settings: Settings, groups: Mapping[str, Sequence[str]]) -> list[CommittedOffset]:
    """What each group has committed on its topics.

    Raises:
        KafkaException: no broker answers.
    """
    found: list[CommittedOffset] = []
    for group, topics in groups.items():
        asking = consumer(settings, group)
        try:
            wanted = [TopicPartition(*where) for where in partitions_of(settings, topics)]
            found += [
                CommittedOffset(
                    group=group,
                    topic=each.topic,
                    partition=each.partition,
                    offset=each.offset,
                    metadata=each.metadata or "",
                )
                for each in (asking.committed(wanted, timeout=30) if wanted else ())
                if each.offset >= 0
            ]
        finally:
            asking.close()
    return found


def save(settings: Settings, archive: Archive, where: Where, compacted: bool) -> StoredPartition:
    """Write all records of a partition up to its present end into the archive.

    Raises:
        KafkaException: the brokers do not answer, or refuse.
        BackupError: no record came for ``READ_S`` seconds.
    """
    topic, partition = where
    name = f"topics/{topic}/{partition}.avro"
    reading = consumer(settings)
    try:
        low, end = reading.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
        seen = _Seen(end)
        with archive.path(name).open("wb") as file:
            fastavro.writer(file, RECORD, _read(reading, where, low, end, seen), codec="zstandard")
    finally:
        reading.close()
    archive.add(name, seen.count)
    return StoredPartition(topic=topic, partition=partition, begin=seen.first, end=end, compacted=compacted, file=name)


class _Seen:
    def __init__(self, end: int) -> None:
        self.first, self.count = end, 0


def _read(reading: Consumer, where: Where, low: int, end: int, seen: _Seen) -> Iterator[dict[str, Any]]:
    at = TopicPartition(*where, low)
    if low >= end:
        return
    reading.assign([at])
    idle = 0.0
    while reading.position([at])[0].offset < end:
        messages = reading.consume(5_000, timeout=0.5)
        idle = 0.0 if messages else idle + 0.5
        if idle >= READ_S:
            raise BackupError(f"{where[0]}/{where[1]}: no record came for {READ_S:.0f} s, {end} is its end; try again")
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            if (offset := int(message.offset() or 0)) < end:
                seen.first, seen.count = min(seen.first, offset), seen.count + 1
                yield _content(message, offset)


def _content(message: Message, offset: int) -> dict[str, Any]:
    headers: Any = message.headers() or []
    return {
        "offset": offset,
        "timestamp_ms": message.timestamp()[1],
        "key": message.key(),
        "value": message.value(),
        "headers": [{"name": name, "value": value} for name, value in headers],
    }


def delete(settings: Settings, names: Sequence[str]) -> None:
    """Remove topics; returns when they are gone.

    Raises:
        KafkaException: the brokers refuse.
        BackupError: they are still there after ``FLUSH_S`` seconds.
    """
    if not names:
        return
    admin = AdminClient({**client_config(settings), "log_level": 2})
    for future in admin.delete_topics(list(names)).values():
        future.result(FLUSH_S)
    deadline = time.monotonic() + FLUSH_S
    while left := partitions_of(settings, names):
        if time.monotonic() > deadline:
            raise BackupError(f"{left[0][0]} is still there {FLUSH_S:.0f} s after it was deleted; try again")
        time.sleep(0.2)


class Writer:
    """Puts records back into empty topics."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin = AdminClient({**client_config(settings), "log_level": 2})
        self._failed: KafkaError | None = None
        self._producer = Producer(
            {
                **client_config(settings),
                "enable.idempotence": True,
                "compression.type": "zstd",
                "linger.ms": 20,
                "batch.num.messages": 100_000,
                "queue.buffering.max.messages": QUEUED,
                "message.max.bytes": LARGEST,
                "log_level": 2,
            }
        )

    def make(self, specs: Sequence[TopicSpec]) -> None:
        """Make the topics such that records keep their times; ``ensure_topics`` ends that state."""
        changed = [
            TopicSpec(spec.name, spec.partitions, {key: CREATE_TIME.get(key, spec.config[key]) for key in spec.config})
            for spec in specs
        ]
        ensure_topics(self._settings, changed)

    def restore(self, folder: Path, stored: StoredPartition, offsets: Sequence[int]) -> dict[int, int]:
        """Write a partition's records. Returns what each of the committed ``offsets`` is now.

        Raises:
            BackupError: Kafka refused a record, or the partition does not end where it should.
        """
        topic, partition = stored.topic, stored.partition
        with (folder / stored.file).open("rb") as file:
            records: Iterator[Any] = iter(fastavro.reader(file))
            if stored.compacted:
                now, end = self._renumbered(topic, partition, records, sorted(offsets))
            else:
                self._kept(stored, records)
                now, end = {offset: max(offset, stored.begin) for offset in offsets}, stored.end
        self._flush(topic)
        asking = consumer(self._settings)
        try:
            found = asking.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)[1]
        finally:
            asking.close()
        if found != end:
            raise BackupError(
                f"{topic}/{partition} ends at {found}, not at {end}: somebody else writes to it. Stop all producers "
                "and workers, and restore again with --force"
            )
        return now

    def _kept(self, stored: StoredPartition, records: Iterator[Any]) -> None:
        topic, partition = stored.topic, stored.partition
        self._fill(topic, partition, stored.begin)
        if stored.begin:
            self._flush(topic)
            futures = self._admin.delete_records([TopicPartition(topic, partition, stored.begin)])
            for future in futures.values():
                future.result(FLUSH_S)
        at = stored.begin
        for record in records:
            # A gap inside is the mark of a transaction of a partner's; ingest refuses the empty record that fills it.
            self._fill(topic, partition, record["offset"] - at)
            self._send(topic, partition, record)
            at = record["offset"] + 1
        self._fill(topic, partition, stored.end - at)

    def _renumbered(
        self, topic: str, partition: int, records: Iterator[Any], offsets: list[int]
    ) -> tuple[dict[int, int], int]:
        now: dict[int, int] = {}
        written = 0
        for record in records:
            while offsets and offsets[0] <= record["offset"]:
                now[offsets.pop(0)] = written
            self._send(topic, partition, record)
            written += 1
        return now | dict.fromkeys(offsets, written), written

    def _send(self, topic: str, partition: int, record: Mapping[str, Any]) -> None:
        headers = [(each["name"], each["value"]) for each in record["headers"]]
        while True:
            try:
                self._producer.produce(
                    topic,
                    record["value"],
                    record["key"],
                    partition,
                    timestamp=record["timestamp_ms"],
                    headers=headers,
                    on_delivery=self._delivered,
                )
                break
            except BufferError:
                self._producer.poll(0.5)
        self._producer.poll(0)
        self._check(topic)

    def _fill(self, topic: str, partition: int, count: int) -> None:
        empty: list[dict[str, Any]] = [{} for _ in range(min(count, FILL_BATCH))]
        while count > 0:
            count -= self._producer.produce_batch(
                topic, empty[:count], partition=partition, on_delivery=self._delivered
            )
            self._producer.poll(0)
            while len(self._producer) > QUEUED - FILL_BATCH:
                self._producer.poll(0.1)
            self._check(topic)

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        self._failed = self._failed or error

    def _flush(self, topic: str) -> None:
        left = self._producer.flush(FLUSH_S)
        self._check(topic)
        if left:
            raise BackupError(f"{topic}: Kafka did not take {left:,} records within {FLUSH_S:.0f} s; is a broker down?")

    def _check(self, topic: str) -> None:
        if self._failed is not None:
            raise BackupError(f"{topic}: Kafka refused a record: {self._failed.str()}; nothing goes on from here")

    def commit(self, offsets: Sequence[CommittedOffset]) -> None:
        """Have the groups go on from there.

        Raises:
            KafkaException: a member of a group is at work.
        """
        for group in sorted({each.group for each in offsets}):
            of_group = [each for each in offsets if each.group == group]
            committing = consumer(self._settings, group)
            try:
                committing.commit(
                    offsets=[TopicPartition(e.topic, e.partition, e.offset, e.metadata) for e in of_group],
                    asynchronous=False,
                )
            finally:
                committing.close()
