"""When something is due next: one time for each thing, on heaps."""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import Iterator
from typing import Literal

Kind = Literal["silence", "expiry", "group", "forget_alert", "forget_notification"]
_ORDER: dict[Kind, int] = {"silence": 0, "expiry": 1, "group": 2, "forget_alert": 3, "forget_notification": 4}
"""Order of what is due at the same time."""
_Entry = tuple[dt.datetime, int, str, Kind]


class Timers:
    def __init__(self) -> None:
        self._silences: list[_Entry] = []
        self._others: list[_Entry] = []
        self._due: dict[tuple[Kind, str], dt.datetime] = {}

    def set(self, kind: Kind, key: str, due: dt.datetime | None) -> None:
        """``due`` (aware) replaces what was set before; None takes it away."""
        if due is None:
            self._due.pop((kind, key), None)
        elif self._due.get((kind, key)) != due:
            self._due[kind, key] = due
            heapq.heappush(self._heap(kind), (due, _ORDER[kind], key, kind))

    def due(self, now: dt.datetime) -> Iterator[tuple[Kind, str]]:
        """Take out what is due by ``now``, silences first, then the earliest first; what is set meanwhile is taken out
        as well. When the clock comes late, as after a restart, a group tells by the silences that hold now."""
        while (kind := self.next(now)) is not None:
            _, _, key, _ = heapq.heappop(self._heap(kind))
            del self._due[kind, key]
            yield kind, key

    def next(self, now: dt.datetime) -> Kind | None:
        """Kind of what :meth:`due` takes out next; None when nothing is due by ``now``."""
        return next((kind for due, _, _, kind in self._first() if due <= now), None)

    def earliest(self) -> dt.datetime | None:
        """When the next thing is due; None when nothing is."""
        return min((due for due, _, _, _ in self._first()), default=None)

    def _heap(self, kind: Kind) -> list[_Entry]:
        return self._silences if kind == "silence" else self._others

    def _first(self) -> Iterator[_Entry]:
        """The earliest silence and the earliest of the rest, where there are any."""
        for heap in (self._silences, self._others):
            while heap and self._due.get((heap[0][3], heap[0][2])) != heap[0][0]:
                heapq.heappop(heap)
            if heap:
                yield heap[0]
