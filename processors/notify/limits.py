"""How often a channel may be used: a token bucket whose waiters are served by priority."""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable
from itertools import count


class TokenBucket:
    """``per_minute`` tokens come in evenly; a sixth of them (at least one) can be saved up for use at once.

    ``clock`` gives seconds, ``sleep`` waits for them. For one event loop.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]) -> None:
        self._rate = per_minute / 60.0
        self._most = max(1.0, per_minute / 6.0)
        self._tokens, self._at = self._most, clock()
        self._clock, self._sleep = clock, sleep
        self._waiting: list[tuple[int, int]] = []
        self._turns = count()

    def try_take(self) -> bool:
        """Take a token if there is one that nobody waits for."""
        self._refill()
        if self._waiting or self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    async def take(self, rank: int) -> None:
        """Take a token, waiting for it as long as it needs; of those who wait, the lowest ``rank`` goes first, then
        whoever came first."""
        ticket = (rank, next(self._turns))
        heapq.heappush(self._waiting, ticket)
        try:
            while self._waiting[0] != ticket or not self._has_one():
                # A little more than needed, or rounding would make another turn of the loop.
                await self._sleep(max(0.0, 1.0 - self._tokens) / self._rate + 0.001)
            self._tokens -= 1.0
        finally:
            self._waiting.remove(ticket)
            heapq.heapify(self._waiting)

    def _has_one(self) -> bool:
        self._refill()
        return self._tokens >= 1.0

    def _refill(self) -> None:
        now = self._clock()
        self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate)
        self._at = now
