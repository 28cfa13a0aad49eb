"""A real platform with its workers for tests, and the questions that tests ask of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from deploy.embedded.platform import Platform
from deploy.embedded.supervisor import Handle
from deploy.parts import EVENT_TOPICS, worker_parts
from deploy.prepare import prepare
from schemas.alerts import SIGNALS_TOPIC
from schemas.settings import Settings
from streams.progress import CommittedProgress
from streams.store import connect

LARGEST_RECORD = 12 * 1024 * 1024
Position = tuple[str, int, int]
"""Topic, partition, offset."""


def wait_until(condition: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """Ask every 0.2 s until the answer is true, and return it. Errors of the store count as "not yet".

    Raises:
        AssertionError: ``timeout_s`` seconds passed; it shows the last answer or error.
    """
    deadline = time.monotonic() + timeout_s
    last: Any = None
    while time.monotonic() < deadline:
        try:
            last = condition()
            if last:
                return last
        except Exception as error:  # any client error: the part asked may be restarting
            last = error
        time.sleep(0.2)
    raise AssertionError(f"not within {timeout_s:.0f} s: {what}; last answer: {last!r}")


@dataclass
class Stack:
    """A running platform. Tests that share one tell their events apart by ``source_system``."""

    platform: Platform
    settings: Settings
    schema_ids: dict[str, int]
    _producers: dict[str, Producer] = field(default_factory=dict)
    _asking: dict[str, CommittedProgress] = field(default_factory=dict)

    def clickhouse(self) -> Client:
        """A client with all rights."""
        return connect(self.settings)

    def reader(self) -> Client:
        """A client of the read-only user."""
        return connect(self.settings, reader=True)

    def rows(self, sql: str, **parameters: Any) -> list[Any]:
        """Result rows of a query."""
        return list(self._client.query(sql, parameters=parameters).result_rows)

    @cached_property
    def _client(self) -> Client:
        """One for all questions: to connect costs five times what the usual question does."""
        return self.clickhouse()

    def part(self, name: str) -> Handle:
        return self.platform.part(name)

    def wait_until(self, condition: Callable[[], Any], timeout_s: float, what: str) -> Any:
        """See :func:`wait_until`."""
        return wait_until(condition, timeout_s, what)

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        headers: Mapping[str, bytes] | None = None,
        partition: int | None = None,
        compression: str = "none",
    ) -> Position:
        """Send one record and wait for its position."""
        record = Outgoing(topic, value, key, headers or {}, partition, compression)
        return self.produce_all([record])[0]

    def produce_all(self, records: Sequence[Outgoing]) -> list[Position]:
        """Send records, each in batches of its compression, and wait for their positions.

        Raises:
            AssertionError: the broker refused one.
        """
        positions: list[Position | None] = [None] * len(records)
        refused: list[str] = []

        def noted(number: int) -> Callable[[KafkaError | None, Message], None]:
            def note(error: KafkaError | None, message: Message) -> None:
                if error is not None:
                    refused.append(f"{records[number].topic}: {error}")
                else:
                    positions[number] = (
                        str(message.topic()),
                        int(message.partition() or 0),
                        int(message.offset() or 0),
                    )

            return note

        for number, record in enumerate(records):
            producer = self._producer(record.compression)
            producer.produce(
                record.topic,
                record.value,
                record.key,
                -1 if record.partition is None else record.partition,
                headers=list(record.headers.items()),
                on_delivery=noted(number),
            )
            producer.poll(0)
        for producer in self._producers.values():
            assert producer.flush(60) == 0, "Kafka did not confirm every record within 60 s"
        assert not refused, refused[:3]
        return [each for each in positions if each is not None]

    def _producer(self, compression: str) -> Producer:
        if compression not in self._producers:
            self._producers[compression] = Producer(
                {
                    "bootstrap.servers": self.settings.kafka_bootstrap,
                    "compression.type": compression,
                    "enable.idempotence": True,
                    "linger.ms": 20,
                    "message.max.bytes": LARGEST_RECORD,
                    "partitioner": "murmur2_random",
                }
            )
        return self._producers[compression]

    def close(self) -> None:
        """Let go of the clients, which would complain once the servers are gone."""
        self._producers.clear()
        self._asking.clear()
        if (client := vars(self).pop("_client", None)) is not None:
            client.close()

    def ends(self, topic: str) -> dict[int, int]:
        """End offset of each partition."""
        consumer = Consumer({"bootstrap.servers": self.settings.kafka_bootstrap, "group.id": "tests-ends"})
        try:
            partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            return {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in partitions}
        finally:
            consumer.close()

    def read(self, topic: str, begin: Mapping[int, int]) -> list[Message]:
        """All messages from ``begin`` to the present ends."""
        ends = self.ends(topic)
        consumer = Consumer(
            {
                "bootstrap.servers": self.settings.kafka_bootstrap,
                "group.id": "tests-read",
                "fetch.message.max.bytes": LARGEST_RECORD,
                "enable.auto.commit": False,
            }
        )
        wanted = sum(ends[p] - begin.get(p, 0) for p in ends)
        found: list[Message] = []
        try:
            consumer.assign([TopicPartition(topic, p, begin.get(p, 0)) for p in ends])
            deadline = time.monotonic() + 60
            while len(found) < wanted and time.monotonic() < deadline:
                for message in consumer.consume(1000, timeout=0.5):
                    assert message.error() is None, message.error()
                    found.append(message)
        finally:
            consumer.close()
        assert len(found) == wanted, f"{topic}: read {len(found)} of {wanted} messages"
        return found

    def stored(self, source_system: str | None = None) -> int:
        """Events in the store, each once; of one source system or of all."""
        where = "" if source_system is None else " WHERE source_system = {source:String}"
        found = self.rows(f"SELECT count() FROM events FINAL{where}", source=source_system or "")
        return int(found[0][0])

    def lag(self) -> int:
        """Records of the event topics that ingest has not yet committed."""
        return self._lag(self.settings.ingest_group, *EVENT_TOPICS)

    def signals_lag(self) -> int:
        """Records of ``signals.v1`` that correlate has not yet committed; reports of watermarks keep coming."""
        return self._lag(self.settings.correlate_group, SIGNALS_TOPIC)

    def progress(self, group: str, *topics: str) -> CommittedProgress:
        """How far a group has come, kept for the next question about it: to connect costs more than to ask."""
        return self._asking.setdefault(group, CommittedProgress(self.settings, group, topics))

    def _lag(self, group: str, *topics: str) -> int:
        progress = self.progress(group, *topics)
        # Just started, the broker knows its groups a moment later than its topics.
        read = self.wait_until(lambda: (progress.read(),), 30, "committed offsets")[0]
        return sum(end - committed for committed, end in read.values())

    def wait_ingested(self, timeout_s: float = 60) -> None:
        """Wait until every record published so far has had its effects."""
        self.wait_until(lambda: self.lag() == 0, timeout_s, "every record ingested and committed")

    def alerts(self) -> list[dict[str, Any]]:
        """The newest version of every open alert, but for what the platform says of its own feeds."""
        rows = self.rows("SELECT record FROM alerts FINAL WHERE status = 'open' AND kind != 'platform'")
        return [json.loads(row[0]) for row in rows]


@dataclass(frozen=True)
class Outgoing:
    """A record to send; ``compression`` is librdkafka's name of a codec."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Mapping[str, bytes] = field(default_factory=dict)
    partition: int | None = None
    compression: str = "none"


@contextmanager
def running_stack(data_dir: Path, *, workers: bool = True, **fields: Any) -> Iterator[Stack]:
    """Start a platform on ``data_dir``, prepared and by default with its workers; ``fields`` are further settings."""
    with Platform(data_dir) as platform:
        platform.start()
        settings = platform.update_endpoints(**fields)
        prepared = prepare(settings)
        if workers:
            platform.add_parts(worker_parts(settings))
        stack = Stack(platform, settings, prepared.schema_ids)
        try:
            yield stack
        finally:
            stack.close()
