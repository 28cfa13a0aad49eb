"""Producing from a worker: queue records, then wait until the brokers have every one of them."""

from __future__ import annotations

import asyncio
import time

from confluent_kafka import KafkaError, Message, Producer

from schemas.settings import Settings
from streams.kafka import client_config

Headers = list[tuple[str, str | bytes | None]]


class DeliveryFailedError(RuntimeError):
    """Records that Kafka did not take; names the first topic, partition and reason."""


class Outbox:
    """An idempotent producer (acks=all, zstd) whose :meth:`delivered` is a barrier before a commit.

    librdkafka retries for ``delivery_timeout_s``, so a broker restart is waited out. One instance serves one event
    loop; ``send`` does not block except while the local queue is full.
    """

    def __init__(self, settings: Settings, client_id: str, delivery_timeout_s: float = 120.0) -> None:
        self._failed: list[str] = []
        self._producer = Producer(
            {
                **client_config(settings),
                "client.id": client_id,
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "compression.type": "zstd",
                "linger.ms": 2,
                "message.max.bytes": 16 * 1024 * 1024,
                "queue.buffering.max.messages": 200_000,
                "queue.buffering.max.kbytes": 131_072,
                "delivery.timeout.ms": int(delivery_timeout_s * 1000),
            }
        )

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | str | None = None,
        partition: int = -1,
        headers: Headers | None = None,
    ) -> None:
        """Queue one record; ``partition`` -1 lets the key decide (murmur2, as the Java client hashes it)."""
        while True:
            try:
                self._producer.produce(
                    topic, value, key, partition, on_delivery=self._on_delivery, headers=headers or []
                )
                return
            except BufferError:
                self._producer.poll(0.1)

    async def delivered(self) -> None:
        """Wait until all records sent so far are in Kafka.

        Raises:
            DeliveryFailedError: at least one was given up on; nothing behind it may be committed.
        """
        if len(self._producer):
            await asyncio.to_thread(self._flush)
        else:
            self._producer.poll(0)
        if self._failed:
            failed, self._failed = self._failed, []
            raise DeliveryFailedError(f"{len(failed)} records not delivered; first: {failed[0]}")

    def _flush(self) -> None:
        while len(self._producer):
            self._producer.flush(1.0)

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed.append(f"{message.topic()}/{message.partition()}: {error.str()}")

    def close(self, timeout_s: float = 5.0) -> None:
        """Hand over what is still queued within ``timeout_s`` seconds."""
        deadline = time.monotonic() + timeout_s
        while len(self._producer) and time.monotonic() < deadline:
            self._producer.flush(0.5)
