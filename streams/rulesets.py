"""The topic ``rules.v1``: every rule set that was ever deployed, and which one is in force.

Compacted, one partition. Keys are ``version:<12 hex digits>`` for a rule set, which stays for ever, and ``current`` for
what names the one in force. Values mean nothing here.
"""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from schemas.alerts import RULES_TOPIC
from schemas.settings import Settings
from streams.kafka import client_config
from streams.state import read_partition
from streams.topics import MAX_RULES_BYTES

CURRENT = b"current"
DELIVERY_TIMEOUT_S = 30.0


class PublishError(RuntimeError):
    """Kafka did not take a rule set; the message says why."""


def version_key(version: str) -> bytes:
    """Key of the rule set of that version."""
    return f"version:{version}".encode()


def publish(settings: Settings, records: Sequence[tuple[bytes, bytes]]) -> None:
    """Append records in order; returns when the brokers have all of them. Blocks for ``DELIVERY_TIMEOUT_S`` at most.

    Raises:
        PublishError: a record is too large, or the brokers do not take it.
    """
    failed: list[str] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error.str())

    producer = Producer(
        {
            **client_config(settings),
            "enable.idempotence": True,
            "acks": "all",
            # The topic's limit is on whole record batches, with some 100 bytes around the records.
            "message.max.bytes": MAX_RULES_BYTES - 1024,
            "delivery.timeout.ms": int(DELIVERY_TIMEOUT_S * 1000),
            "log_level": 2,
        }
    )
    for key, value in records:
        try:
            producer.produce(RULES_TOPIC, value, key, 0, on_delivery=delivered)
        except KafkaException as error:
            producer.purge()
            raise PublishError(f"{len(value):,} bytes are more than Kafka may take: {error.args[0].str()}") from error
        producer.flush()
        if failed:
            raise PublishError(f"{RULES_TOPIC} on {settings.kafka_bootstrap}: {failed[0]}")


def read(settings: Settings) -> dict[bytes, bytes]:
    """The latest value of each key; empty where the topic does not exist. Blocks.

    Raises:
        KafkaException, TimeoutError: the brokers do not answer.
    """
    try:
        return read_partition(settings, RULES_TOPIC, 0)
    except KafkaException as error:
        if _missing(error):
            return {}
        raise


class End:
    """Asks where the topic ends, over one connection that is kept."""

    def __init__(self, settings: Settings) -> None:
        self._consumer = Consumer(
            {**client_config(settings), "group.id": "tocsin-rules", "enable.auto.commit": False, "log_level": 2}
        )

    def read(self) -> int:
        """Offset behind the last record, 0 where the topic does not exist. Blocks for 5 s at most.

        Raises:
            KafkaException: the brokers do not answer.
        """
        try:
            return int(self._consumer.get_watermark_offsets(TopicPartition(RULES_TOPIC, 0), timeout=5)[1])
        except KafkaException as error:
            if _missing(error):
                return 0
            raise


def _missing(error: KafkaException) -> bool:
    unknown = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)
    return error.args[0].code() in unknown
