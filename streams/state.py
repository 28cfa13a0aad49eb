"""Keyed state in a compacted topic: written before the offset it reflects is committed, read back on assignment."""

from __future__ import annotations

import logging
import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.settings import Settings
from streams.kafka import client_config

log = logging.getLogger(__name__)


class StateError(ValueError):
    """A record of a state topic that this version cannot read, as after going back to an older one."""

    def __init__(self, topic: str, record: str, reason: Exception) -> None:
        why = " ".join(str(reason).split()).partition(" [type=")[0]  # pydantic's tail repeats what was given
        super().__init__(
            f"{topic}: this version of Tocsin cannot read {record} ({why}). If a newer one wrote it, run that one, or "
            "restore a backup of before the upgrade (runbook 'Upgrade and roll-back')"
        )


def read_partition(settings: Settings, topic: str, partition: int, timeout_s: float = 120.0) -> dict[bytes, bytes]:
    """The latest value of each key of a compacted topic's partition, as of its end when called.

    Raises:
        TimeoutError: the end was not reached in ``timeout_s`` seconds.
        KafkaException: the brokers do not answer or the topic is missing.
    """
    consumer = Consumer(
        {
            **client_config(settings),
            "group.id": "tocsin-state-reader",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": False,
        }
    )
    where = TopicPartition(topic, partition, 0)
    try:
        low, end = consumer.get_watermark_offsets(where, timeout=30)
        values: dict[bytes, bytes] = {}
        if low >= end:
            return values
        where.offset = low
        consumer.assign([where])
        deadline = time.monotonic() + timeout_s
        while consumer.position([where])[0].offset < end:
            for message in consumer.consume(10_000, timeout=0.5):
                if message.error():
                    raise KafkaException(message.error())
                key, value = bytes(message.key() or b""), message.value()
                if value is None:
                    values.pop(key, None)
                else:
                    values[key] = bytes(value)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic}/{partition}: state not read to offset {end} within {timeout_s:.0f} s")
        log.info("%s/%d: read %d keys up to offset %d", topic, partition, len(values), end)
        return values
    finally:
        consumer.close()
