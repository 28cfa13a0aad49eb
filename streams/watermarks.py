"""Event time per partition: how far it has come, which events are late, and how far the slowest partition is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import orjson

from schemas.registry import FAMILIES, topic_of

SECOND_US = 1_000_000


class Watermarks:
    """Highest event time seen in each partition, microseconds since 1970 UTC."""

    def __init__(self) -> None:
        self.by_partition: dict[tuple[str, int], int] = {}

    def advance(self, topic: str, partition: int, occurred_us: np.ndarray) -> np.ndarray:
        """Take in the event times of a batch, in offset order; returns how far each lies behind, in microseconds:
        behind the highest event time that came ahead of it in its partition, 0 where there is none higher. How the
        events are cut into batches makes no difference."""
        if not len(occurred_us):
            return np.zeros(0, dtype=np.int64)
        before = self.by_partition.get((topic, partition), int(occurred_us[0]))
        ahead = np.maximum(np.maximum.accumulate(occurred_us), before)
        self.by_partition[topic, partition] = int(ahead[-1])
        behind: np.ndarray = ahead - occurred_us
        return behind

    def metadata(self, topic: str, partition: int) -> str:
        """What is to be committed with the next offset, so that :meth:`restore` goes on from there."""
        mark = self.by_partition.get((topic, partition))
        return "" if mark is None else orjson.dumps({"watermark_us": mark}).decode()

    def restore(self, topic: str, partition: int, metadata: str) -> None:
        """Set a partition back to where :meth:`metadata` was taken. Text that is not ours says nothing."""
        self.by_partition.pop((topic, partition), None)
        try:
            self.by_partition[topic, partition] = int(orjson.loads(metadata)["watermark_us"])
        except (ValueError, TypeError, KeyError):
            return

    def forget(self) -> None:
        """Drop what is known of partitions that this worker may no longer own."""
        self.by_partition.clear()


def event_partitions(partitions: int) -> Iterator[str]:
    """Names of all partitions of all event topics: ``events.tip_report.v1/0`` and so on."""
    return (f"{topic_of(family)}/{number}" for family in FAMILIES for number in range(partitions))


class LowWatermark:
    """The least event time that any partition still being read may produce, from what workers report.

    ``value`` is None until every one of ``expected`` has been reported: the slowest may be the one not yet heard of.
    When all are read to their end, nothing holds back any more, and event time is where the furthest of them came.
    """

    def __init__(self, expected: Iterable[str]) -> None:
        self._unheard = set(expected)
        self._reported: dict[str, int | None] = {}
        self._furthest: int | None = None
        self.value: int | None = None

    def report(self, partitions: dict[str, int | None], furthest: int | None = None) -> None:
        """Take in watermarks by partition name, and the highest of all that the reporter has seen; None stands for a
        partition that is read to its end and idle."""
        self._unheard.difference_update(partitions)
        self._reported.update(partitions)
        if furthest is not None:
            self._furthest = max(furthest, self._furthest or furthest)
        if self._unheard:
            return
        low = min((each for each in self._reported.values() if each is not None), default=self._furthest)
        if low is not None:
            # It never goes back: state once given up is gone.
            self.value = max(self.value or 0, low)
