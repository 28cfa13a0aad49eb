"""Between a stream and its worker: all batches of a topic that wait are worked on as one.

What a batch costs beside its records is a few milliseconds, so hundreds of small batches a second would fill the
processor. An idle worker takes each batch as it comes; the more wait, the more it takes together. Where a busy worker
finds little waiting, a rest after each round of the topics lets more of it gather.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from streams.batching import PartitionBatch

MAX_JOINED = 20_000
"""Records that are worked on together: bounds memory, and how long the event loop is held."""

Ack = Callable[[], None]
Waiting = tuple[PartitionBatch, Ack]


class Gather:
    """Hands what was :meth:`put` to ``handle``, one topic at a time, oldest first. One task puts, one runs.

    After a round of all topics that waited it rests ``rests`` times as long as that took, at most ``max_rest_s``
    seconds.
    """

    def __init__(
        self,
        handle: Callable[[list[Waiting]], Awaitable[None]],
        max_joined: int = MAX_JOINED,
        rests: float = 0.0,
        max_rest_s: float = 0.25,
    ) -> None:
        self._handle, self._max_joined, self._rests, self._max_rest_s = handle, max_joined, rests, max_rest_s
        self._waiting: deque[Waiting] = deque()
        self._records = 0
        self._crowded = self._handling = False
        self._changed = asyncio.Condition()

    async def put(self, batch: PartitionBatch, ack: Ack) -> None:
        """Let a batch wait for its turn; blocks while ``max_joined`` records wait already."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._records < self._max_joined)
            self._waiting.append((batch, ack))
            self._records += len(batch)
            self._changed.notify_all()

    async def run(self) -> None:
        """Hand on for ever; an exception of ``handle`` ends it."""
        rested_at = 0.0
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._waiting)
            await asyncio.sleep(max(rested_at - time.monotonic(), 0.0))
            await self._until_no_more_comes()
            begun = time.monotonic()
            crowded = False
            for topic in dict.fromkeys(batch.topic for batch, _ in self._waiting):
                await self._turn(topic)
                crowded |= self._crowded
            ended = time.monotonic()
            # Who is behind gathers enough while it works.
            rested_at = ended if crowded else ended + min(self._rests * (ended - begun), self._max_rest_s)

    async def _turn(self, topic: str) -> None:
        await self._until_no_more_comes()
        async with self._changed:
            taken = self._take(topic)
            self._changed.notify_all()
        self._crowded = sum(len(batch) for batch, _ in taken) >= self._max_joined // 4
        self._handling = True
        await self._handle(taken)
        self._handling = False

    @property
    def behind(self) -> bool:
        """Whether so much waited lately that what comes is handled later than it could be."""
        return self._crowded and (self._handling or bool(self._waiting))

    async def _until_no_more_comes(self) -> None:
        """The stream hands over one batch each time the event loop comes round."""
        before = 0
        while before < len(self._waiting) and self._records < self._max_joined:
            before = len(self._waiting)
            for _ in range(4):
                await asyncio.sleep(0)

    def _take(self, topic: str) -> list[Waiting]:
        records = 0
        taken: list[Waiting] = []
        left: deque[Waiting] = deque()
        for batch, ack in self._waiting:
            # What is full stays full, so that no later batch of a partition overtakes an earlier one.
            if batch.topic == topic and records < self._max_joined:
                taken.append((batch, ack))
                records += len(batch)
            else:
                left.append((batch, ack))
        self._waiting = left
        self._records -= records
        return taken
