"""Event time per partition: how far it has come, which events are late, and how far the slowest partition is."""

from __future__ import annotations

import numpy as np

SECOND_US = 1_000_000


class Watermarks:
    """Highest event time seen in each partition, microseconds since 1970 UTC."""

    def __init__(self, allowed_lateness_s: int) -> None:
        self._lateness = allowed_lateness_s * SECOND_US
        self.by_partition: dict[tuple[str, int], int] = {}

    def advance(self, topic: str, partition: int, occurred_us: np.ndarray) -> np.ndarray:
        """Take in the event times of a batch, in offset order; returns which of them are late.

        An event is late when it occurred more than the allowed lateness before the highest event time that came
        ahead of it in its partition.
        """
        if not len(occurred_us):
            return np.zeros(0, dtype=bool)
        before = self.by_partition.get((topic, partition), int(occurred_us[0]))
        ahead = np.maximum(np.maximum.accumulate(occurred_us), before)
        self.by_partition[topic, partition] = int(ahead[-1])
        late: np.ndarray = occurred_us < ahead - self._lateness
        return late

    def forget(self) -> None:
        """Drop what is known of partitions that this worker may no longer own."""
        self.by_partition.clear()


class LowWatermark:
    """The least event time that any partition still being read may produce, from what the workers report."""

    def __init__(self) -> None:
        self._reported: dict[str, int | None] = {}
        self.value: int | None = None

    def report(self, partitions: dict[str, int | None]) -> None:
        """Take in watermarks by partition name; None stands for a partition that is read to its end and idle."""
        self._reported.update(partitions)
        active = [each for each in self._reported.values() if each is not None]
        if active:
            # It never goes back: state once given up is gone.
            self.value = max(self.value or 0, min(active))
