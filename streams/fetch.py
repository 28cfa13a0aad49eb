"""Single records of Kafka by their position."""

from __future__ import annotations

import time
from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.settings import Settings
from streams.kafka import client_config

Position = tuple[str, int, int]
"""Topic, partition, offset."""


def fetch(settings: Settings, positions: Iterable[Position], timeout_s: float = 30.0) -> dict[Position, bytes]:
    """The values of the records at these positions; those that Kafka no longer holds are left out.

    Raises:
        KafkaException: the brokers do not answer, or a topic is unknown.
    """
    consumer = Consumer(
        {
            **client_config(settings),
            "group.id": "tocsin-fetch",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 50,
            "max.partition.fetch.bytes": 65536,
        }
    )
    found: dict[Position, bytes] = {}
    deadline = time.monotonic() + timeout_s
    try:
        for topic, partition, offset in sorted(set(positions)):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
            if not low <= offset < high:
                continue
            consumer.assign([TopicPartition(topic, partition, offset)])
            while time.monotonic() < deadline:
                message = consumer.poll(0.5)
                if message is None:
                    continue
                if message.error():
                    raise KafkaException(message.error())
                # A compacted or aborted record leaves a gap: then the next one comes.
                value = message.value()
                if message.offset() == offset and value is not None:
                    found[topic, partition, offset] = bytes(value)
                break
        return found
    finally:
        consumer.close()
