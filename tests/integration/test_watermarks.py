"""Lateness is judged alike before and after a worker is killed."""

from __future__ import annotations

import datetime as dt
from uuid import uuid4

import orjson
from confluent_kafka import Consumer, TopicPartition

from streams.watermarks import event_partitions
from tests.integration.events import encoded, event, now
from tests.stack import Stack

TOPIC = "events.tip_report.v1"


def test_an_event_is_late_also_when_the_worker_was_killed_meanwhile(stack: Stack) -> None:
    source = uuid4().hex[:8]
    partition = 1

    def publish(hours_ago: float, text: str) -> None:
        occurred = now() - dt.timedelta(hours=hours_ago)
        content = event(source, occurred_at=occurred, published_at=now(), text=text)
        stack.produce(TOPIC, encoded(stack.schema_ids["tip_report"], content), partition=partition)

    publish(0, "sets the watermark")
    publish(3, "late in the first life")
    stack.wait_ingested()
    consumer = Consumer({"bootstrap.servers": stack.settings.kafka_bootstrap, "group.id": stack.settings.ingest_group})
    for _ in range(50):  # librdkafka would now and then read on behind a text that has no end
        (committed,) = consumer.committed([TopicPartition(TOPIC, partition)], timeout=10)
        assert set(orjson.loads(committed.metadata)) == {"watermark_us"}
    consumer.close()

    before = stack.part("ingest-0").pid
    stack.part("ingest-0").kill()
    publish(3, "late in the second life")
    publish(0.5, "in time")
    stack.wait_until(lambda: stack.stored(source) == 4, 60, "every event stored by the second life")
    assert stack.part("ingest-0").pid != before
    found = stack.rows(
        "SELECT JSONExtractString(payload, 'text'), late FROM events FINAL WHERE source_system = {s:String}", s=source
    )
    assert {text: bool(late) for text, late in found} == {
        "sets the watermark": False,
        "late in the first life": True,
        "late in the second life": True,
        "in time": False,
    }


def test_every_partition_is_reported_to_every_correlator(stack: Stack) -> None:
    ends = stack.ends("signals.v1")
    wanted = set(event_partitions(stack.settings.topic_partitions))

    def reported() -> bool:
        found: dict[int, set[str]] = {}
        for message in stack.read("signals.v1", ends):
            value = message.value() or b""
            if value.startswith(b"{"):
                found.setdefault(message.partition() or 0, set()).update(orjson.loads(value)["watermarks"])
        return set(found) == set(ends) and all(wanted <= names for names in found.values())

    stack.wait_until(reported, 20, "reports that name every partition, although nothing happens")
