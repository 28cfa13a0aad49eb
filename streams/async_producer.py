"""The partner's producer for asyncio.

Not confluent-kafka's own AIOProducer: it collects events for up to a second before they reach the queue, and has no
bound that a publisher would wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import KafkaError, Message

from schemas.events import Event
from streams.producer import DeliveryFailed, PartnerProducer, ProducerStats

_PAUSE_S: Final = 0.005
_POLL_S: Final = 0.1


class AsyncPartnerProducer:
    """``PartnerProducer`` whose waiting does not block the event loop; takes the same arguments.

    async with AsyncPartnerProducer(partner="fiu-nl") as producer:
        await producer.publish("financial_transaction", event)
    """

    def __init__(self, partner: str, *, block_timeout_s: float = 60.0, **options: Any) -> None:
        """See ``PartnerProducer``."""
        self._inner = PartnerProducer(partner, block_timeout_s=block_timeout_s, **options)
        self._block_timeout_s = block_timeout_s
        self._poller: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except DeliveryFailed as failed:
            if error is None:
                raise
            error.add_note(str(failed))

    async def start(self, timeout_s: float = 10.0) -> None:
        """Begin to serve delivery reports, and see ``PartnerProducer.start``; called by ``async with``."""
        if self._poller is None:
            self._poller = asyncio.create_task(self._serve_deliveries())
        try:
            await asyncio.to_thread(self._inner.start, timeout_s)
        except BaseException:
            await self._stop_serving()
            raise

    def event(self, family: str, **fields: Any) -> Event:
        """See ``PartnerProducer.event``."""
        return self._inner.event(family, **fields)

    async def publish(
        self, family: str, event: Event | Mapping[str, Any], *, key: str | None = None, confirm: bool = False
    ) -> str:
        """Queue one event and return its id; with ``confirm`` wait until the broker has it.

        Raises:
            As ``PartnerProducer.publish``; with ``confirm`` also DeliveryFailed for this event, which ``close`` then
            does not raise again.
        """
        if self._inner.knows(family):
            outgoing = self._inner.prepare(family, event, key=key)
        else:
            outgoing = await asyncio.to_thread(self._inner.prepare, family, event, key=key)
        loop = asyncio.get_running_loop()
        confirmed: asyncio.Future[None] = loop.create_future()

        def delivered(error: KafkaError | None, message: Message) -> None:
            self._inner.record_delivery(error, message, raised=True)
            if error is None:
                loop.call_soon_threadsafe(_settle, confirmed, None)
            else:
                failed = DeliveryFailed({(message.topic() or "?", message.partition() or 0, error.str()): 1})
                loop.call_soon_threadsafe(_settle, confirmed, failed)

        if self._poller is None:  # used without ``async with``
            self._poller = asyncio.create_task(self._serve_deliveries())
        callback = delivered if confirm else self._inner.record_delivery
        deadline = loop.time() + self._block_timeout_s
        while not self._inner.offer(outgoing, callback):
            if loop.time() >= deadline:
                raise self._inner.queue_full()
            await asyncio.sleep(_PAUSE_S)
        if confirm:
            await confirmed
        return outgoing.event_id

    async def flush(self, timeout_s: float = 60.0) -> None:
        """See ``PartnerProducer.flush``."""
        await asyncio.to_thread(self._inner.flush, timeout_s)

    async def close(self, timeout_s: float = 60.0) -> None:
        """See ``PartnerProducer.close``."""
        try:
            await asyncio.to_thread(self._inner.close, timeout_s)
        finally:
            await self._stop_serving()

    @property
    def stats(self) -> ProducerStats:
        """See ``PartnerProducer.stats``."""
        return self._inner.stats

    async def _stop_serving(self) -> None:
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)
            self._poller = None

    async def _serve_deliveries(self) -> None:
        while True:
            await asyncio.to_thread(self._inner.poll, _POLL_S)


def _settle(future: asyncio.Future[None], error: DeliveryFailed | None) -> None:
    if future.done():  # the waiting task was cancelled
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
