"""Whether a consumer group gets on with its work, by what it has committed in Kafka."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException, TopicPartition

from schemas.settings import Settings
from streams.kafka import Config, client_config

STALL_S = 45.0
"""A worker that has lag commits more often than this, whatever it has to do."""


def asking_config(access: Config) -> Config:
    """Of a client that only asks: it tries again fast and logs nothing. ``access`` leads to the brokers."""
    return {
        **access,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 500,
        "socket.timeout.ms": 5000,
        "log_level": 0,
    }


class CommittedProgress:
    """Liveness of a consumer group: stalled when there is lag and the committed offsets do not move.

    A process can live while its agents are dead or its consumer loops on errors, so only committed offsets count. The
    group counts as stalled when no partition's commit moved for ``stall_s`` seconds while any has lag, or when one
    partition with lag stood still for four times as long while others moved. Times in which Kafka cannot be asked do
    not count.

    Args:
        settings: lead to Kafka.
        group: the consumer group.
        topics: what it reads; topics that do not exist yet have no lag.
        stall_s: seconds.
        mine: the topics and partitions that count, where not all of the group's do.
    """

    def __init__(
        self,
        settings: Settings,
        group: str,
        topics: Sequence[str],
        stall_s: float = STALL_S,
        clock: Callable[[], float] = time.monotonic,
        mine: Callable[[], Collection[tuple[str, int]]] | None = None,
    ) -> None:
        self.group, self.topics, self.stall_s = group, tuple(topics), stall_s
        self._access, self._clock, self._mine = client_config(settings), clock, mine
        self._consumer: Consumer | None = None
        self._committed: dict[tuple[str, int], int] = {}
        self._moved_at: dict[tuple[str, int], float] = {}

    def reset(self) -> None:
        self._committed, self._moved_at = {}, {}

    def __call__(self) -> bool | str:
        try:
            offsets = self.read()
        except Exception:
            # A broker that is down is not the worker's fault; the time starts anew when it is back.
            self.reset()
            return True
        return self.judge(offsets)

    def read(self) -> dict[tuple[str, int], tuple[int, int]]:
        """Committed offset and end per topic and partition; without a commit, the first offset stands for it.

        Asks as a consumer that joins no group: AdminClient's list_consumer_group_offsets makes librdkafka 2.16 abort
        the whole process, or hang when destroyed, if the broker goes away meanwhile.

        Raises:
            confluent_kafka.KafkaException: Kafka cannot be asked.
        """
        if self._consumer is None:
            self._consumer = Consumer(
                {**asking_config(self._access), "group.id": self.group, "enable.auto.commit": False}
            )
        known = self._consumer.list_topics(timeout=5).topics
        mine = None if self._mine is None else self._mine()
        partitions = [
            TopicPartition(topic, number)
            for topic in self.topics
            if topic in known
            for number in known[topic].partitions
            if mine is None or (topic, number) in mine
        ]
        if not partitions:
            return {}
        starts, ends = self._at(partitions, OFFSET_BEGINNING), self._at(partitions, OFFSET_END)
        return {
            (each.topic, each.partition): (
                max(each.offset, starts[each.topic, each.partition]),
                ends[each.topic, each.partition],
            )
            for each in self._consumer.committed(partitions, timeout=5)
        }

    def _at(self, partitions: list[TopicPartition], where: int) -> dict[tuple[str, int], int]:
        """Where they begin or end: one question a broker, as asking for watermarks is one a partition."""
        assert self._consumer is not None
        wanted = [TopicPartition(each.topic, each.partition, where) for each in partitions]
        found = {}
        for each in self._consumer.offsets_for_times(wanted, timeout=5):
            if each.error is not None:
                raise KafkaException(each.error)
            found[each.topic, each.partition] = each.offset
        return found

    def judge(self, offsets: dict[tuple[str, int], tuple[int, int]]) -> bool | str:
        """True, or why the group counts as stalled, given committed offsets and ends of now."""
        now = self._clock()
        lagging = []
        for key, (committed, end) in offsets.items():
            if self._committed.get(key) != committed or committed >= end:
                self._committed[key], self._moved_at[key] = committed, now
            if committed < end:
                lagging.append(key)
        if not lagging:
            return True
        lag = sum(offsets[key][1] - offsets[key][0] for key in lagging)
        # Partitions without lag count as moved just now, so the clock of all runs from the last one that got lag.
        idle = now - max(self._moved_at[key] for key in lagging)
        if idle >= self.stall_s:
            return f"group {self.group} is {lag} events behind and has committed nothing for {idle:.0f} s"
        slowest = min(lagging, key=lambda key: self._moved_at[key])
        idle = now - self._moved_at[slowest]
        if idle >= 4 * self.stall_s:
            return f"group {self.group} has not moved on {slowest[0]}[{slowest[1]}] for {idle:.0f} s"
        return True
