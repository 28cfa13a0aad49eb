"""Effects first, then the offset: collects what batches want stored and acknowledges them once it is.

Order of a checkpoint: rows into ClickHouse, records confirmed by Kafka, then every batch acknowledged, which lets Faust
commit. A crash in between repeats effects under the same keys and loses none.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

import pyarrow as pa

from streams.outbox import Outbox
from streams.store import Store

MAX_ROWS = 100_000
MAX_AGE_S = 1.0
IDLE_AGE_S = 0.2
RESTS = 2.0
"""Where nothing is behind, inserts take at most one part in so many and one of the time: each of them costs what it
costs beside its rows, now and when its part is merged."""


class Checkpoint:
    """Gathers effects of batches and flushes them by size or age, one flush at a time beside the processing.

    Few large flushes cost less than many, so what waits may be ``max_age_s`` old while the worker is ``behind``, else
    ``idle_age_s`` or, while more comes, ``RESTS`` times what the last flush took. :meth:`add` waits while twice
    ``max_rows`` are pending: that is the backpressure on the consumer.
    """

    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        on_flush: Callable[[int, float], None],
        behind: Callable[[], bool],
        max_rows: int = MAX_ROWS,
        max_age_s: float = MAX_AGE_S,
        idle_age_s: float = IDLE_AGE_S,
    ) -> None:
        self._store, self._outbox, self._on_flush, self._behind = store, outbox, on_flush, behind
        self._max_rows, self._max_age_s, self._idle_age_s = max_rows, max_age_s, idle_age_s
        self._tables: dict[str, list[pa.Table]] = defaultdict(list)
        self._acks: list[Callable[[], None]] = []
        self._rows = 0
        self._oldest: float | None = None
        self._latest = self._took_s = 0.0
        self._changed = asyncio.Condition()

    async def add(self, tables: dict[str, pa.Table], records: int, acks: Iterable[Callable[[], None]]) -> None:
        """Take in the effects of ``records`` Kafka records; ``acks`` are called once they are durable."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._rows < 2 * self._max_rows)
            for name, rows in tables.items():
                if rows.num_rows:
                    self._tables[name].append(rows)
            self._rows += records
            self._acks += acks
            self._latest = time.monotonic()
            self._oldest = self._oldest or self._latest
            self._changed.notify_all()

    async def run(self) -> None:
        """Flush for ever.

        Raises:
            DeliveryFailedError: Kafka gave up on a record; the caller must stop the worker without committing.
        """
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._acks)
            while not self._is_due():
                await asyncio.sleep(0.02)
            await self.flush()

    def _is_due(self) -> bool:
        now = time.monotonic()
        age = now - (self._oldest or now)
        if self._rows >= self._max_rows or age >= self._max_age_s:
            return True
        if self._behind() or age < self._idle_age_s:
            return False
        return now - self._latest >= self._idle_age_s or age >= RESTS * self._took_s

    async def flush(self) -> None:
        """Make everything gathered so far durable, then acknowledge it."""
        async with self._changed:
            tables, acks, rows = self._tables, self._acks, self._rows
            self._tables, self._acks, self._rows, self._oldest = defaultdict(list), [], 0, None
        started = time.monotonic()
        await self._store.insert([(name, pa.concat_tables(parts)) for name, parts in tables.items()])
        await self._outbox.delivered()
        for ack in acks:
            ack()
        self._took_s = time.monotonic() - started
        self._on_flush(rows, self._took_s)
        async with self._changed:
            self._changed.notify_all()
