"""Whether parts serve, asked over their own protocols, and whether a consumer group gets on with its work."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from deploy.embedded.part import Check


def admin(bootstrap: str) -> AdminClient:
    """An admin client that retries fast and logs nothing.

    It has no Python callbacks (``logger``, ``error_cb``): the collector destroys an AdminClient with the interpreter
    locked, and waits for ever for a thread that wants to call back.
    """
    return AdminClient(_client_settings(bootstrap))


def _client_settings(bootstrap: str) -> dict[str, str | int | float | bool]:
    return {
        "bootstrap.servers": bootstrap,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 500,
        "socket.timeout.ms": 5000,
        "log_level": 0,
    }


def port_answers(host: str, port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def kafka_serves(bootstrap: str, cluster_id: str) -> Check:
    """Checks that the broker is registered, there is a controller, and that it is our cluster."""
    host, port = bootstrap.rsplit(":", 1)

    def check() -> bool | str:
        if not port_answers(host, int(port)):
            return f"{bootstrap} does not accept connections"
        found = admin(bootstrap).list_topics(timeout=3)
        if found.cluster_id != cluster_id:
            return f"{bootstrap} is another Kafka (cluster {found.cluster_id}, expected {cluster_id})"
        return bool(found.brokers) or "the broker is not registered yet"

    return check


def http_get(url: str, timeout_s: float = 3.0) -> tuple[int, bytes]:
    """Status and body of a GET without proxies. Raises OSError or http.client.HTTPException."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def registry_serves(url: str) -> Check:
    """Checks that the Confluent API lists its subjects, which reads the registry's storage."""

    def check() -> bool | str:
        status, body = http_get(f"{url}/subjects")
        return (status == 200 and isinstance(json.loads(body), list)) or f"/subjects answers {status}"

    return check


def clickhouse_serves(url: str) -> Check:
    """Checks ``/ping``, which ClickHouse answers with ``Ok.``."""

    def check() -> bool | str:
        status, body = http_get(f"{url}/ping")
        return (status == 200 and body.strip() == b"Ok.") or f"/ping answers {status} {body[:80]!r}"

    return check


class Unresponsive:
    """Liveness from a ready check: stalled when it has failed for ``limit_s`` seconds on end."""

    def __init__(self, check: Check, limit_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._check, self._limit_s, self._clock = check, limit_s, clock
        self._failing_since: float | None = None

    def reset(self) -> None:
        self._failing_since = None

    def __call__(self) -> bool | str:
        try:
            answer = self._check()
        except Exception as problem:
            answer = f"{type(problem).__name__}: {problem}"
        now = self._clock()
        if answer is True:
            self._failing_since = None
            return True
        if self._failing_since is None:
            self._failing_since = now
        failing = now - self._failing_since
        return True if failing < self._limit_s else f"no answer for {failing:.0f} s ({answer})"


class CommittedProgress:
    """Liveness of a consumer group: stalled when there is lag and the committed offsets do not move.

    A process can live while its agents are dead or its consumer loops on errors, so only committed offsets count. The
    group counts as stalled when no partition's commit moved for ``stall_s`` seconds while any has lag, or when one
    partition with lag stood still for four times as long while others moved. Times in which Kafka cannot be asked do
    not count.

    Args:
        bootstrap: Kafka's address.
        group: the consumer group.
        topics: what it reads; topics that do not exist yet have no lag.
        stall_s: seconds.
    """

    def __init__(
        self,
        bootstrap: str,
        group: str,
        topics: Sequence[str],
        stall_s: float = 45.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.group, self.topics, self.stall_s = group, tuple(topics), stall_s
        self._bootstrap, self._clock = bootstrap, clock
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
                {**_client_settings(self._bootstrap), "group.id": self.group, "enable.auto.commit": False}
            )
        known = self._consumer.list_topics(timeout=5).topics
        partitions = [
            TopicPartition(topic, number)
            for topic in self.topics
            if topic in known
            for number in known[topic].partitions
        ]
        found = {}
        for item in self._consumer.committed(partitions, timeout=5) if partitions else []:
            start, end = self._consumer.get_watermark_offsets(TopicPartition(item.topic, item.partition), timeout=5)
            found[item.topic, item.partition] = (max(item.offset, start), end)
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
