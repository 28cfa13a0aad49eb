"""When something is due next: one time for each thing, on a heap."""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import Iterator
from typing import Literal

Kind = Literal["silence", "expiry", "group", "forget_alert", "forget_notification"]
_ORDER: dict[Kind, int] = {"silence": 0, "expiry": 1, "group": 2, "forget_alert": 3, "forget_notification": 4}
"""Order of what is due at the same time: a silence that begins hides what a group would tell."""


class Timers:
    def __init__(self) -> None:
        self._heap: list[tuple[dt.datetime, int, str, Kind]] = []
        self._due: dict[tuple[Kind, str], dt.datetime] = {}

    def set(self, kind: Kind, key: str, due: dt.datetime | None) -> None:
        """``due`` (aware) replaces what was set before; None takes it away."""
        if due is None:
            self._due.pop((kind, key), None)
        elif self._due.get((kind, key)) != due:
            self._due[kind, key] = due
            heapq.heappush(self._heap, (due, _ORDER[kind], key, kind))

    def due(self, now: dt.datetime) -> Iterator[tuple[Kind, str]]:
        """Take out what is due by ``now``, the earliest first; what is set meanwhile is taken out as well."""
        while (earliest := self.earliest()) is not None and earliest <= now:
            _, _, key, kind = heapq.heappop(self._heap)
            del self._due[kind, key]
            yield kind, key

    def next(self, now: dt.datetime) -> Kind | None:
        """Kind of what :meth:`due` takes out next; None when nothing is due by ``now``."""
        earliest = self.earliest()
        return None if earliest is None or earliest > now else self._heap[0][3]

    def earliest(self) -> dt.datetime | None:
        """When the next thing is due; None when nothing is."""
        while self._heap:
            due, _, key, kind = self._heap[0]
            if self._due.get((kind, key)) == due:
                return due
            heapq.heappop(self._heap)
        return None
