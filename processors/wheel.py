"""Which groups are due when, in event time: thousands a second go in, few ever come out."""

from __future__ import annotations

import heapq

TICK_US = 1_000_000


class Wheel:
    """Keys by the second of event time at which they are due. A key may be in it several times."""

    def __init__(self) -> None:
        self._ticks: list[int] = []
        self._keys: dict[int, list[str]] = {}

    def add(self, due_us: int, key: str) -> None:
        """``due_us``: microseconds since 1970 UTC."""
        tick = due_us // TICK_US
        keys = self._keys.get(tick)
        if keys is None:
            self._keys[tick] = [key]
            heapq.heappush(self._ticks, tick)
        else:
            keys.append(key)

    def due(self, low_us: int) -> list[str]:
        """Take out every key whose second has begun before ``low_us``; some may not be quite due."""
        found: list[str] = []
        while self._ticks and self._ticks[0] * TICK_US < low_us:
            found += self._keys.pop(heapq.heappop(self._ticks))
        return found

    def earliest(self) -> str | None:
        """Take out one key of those that are due first; None when there is none."""
        while self._ticks:
            keys = self._keys[self._ticks[0]]
            if keys:
                return keys.pop()
            del self._keys[heapq.heappop(self._ticks)]
        return None
