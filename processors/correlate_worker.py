"""The correlation worker: signals in, situations kept, alerts told.

Order for each batch: state to its topic, alerts to Kafka and ClickHouse, then the acknowledgement. State goes first so
that a worker which died in between still knows, on its return, every alert that it may have told; it tells the live
ones again, under the same ids and versions.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections import defaultdict
from collections.abc import Callable

import orjson

from processors.alerts import from_detection, from_situation
from processors.correlate import Group, dump, restore
from processors.ingest_worker import sample_metrics
from processors.rulebook import Correlation, Detection, Rulebook
from processors.sink import alert_rows, evidence_rows
from schemas.alerts import ALERTS_TOPIC, STATE_TOPIC, Alert, Signal
from schemas.settings import Settings
from streams.batching import PartitionBatch
from streams.metrics import Metrics
from streams.outbox import Outbox
from streams.state import read_partition
from streams.store import Store
from streams.watermarks import SECOND_US, LowWatermark

log = logging.getLogger(__name__)

EXPIRE_EVERY_S = 10.0
GroupKey = tuple[str, str]


class CorrelateWorker:
    """Windows of the partitions of ``signals.v1`` that this worker owns."""

    def __init__(self, settings: Settings, rulebook: Rulebook, name: str) -> None:
        self.metrics = Metrics()
        self._settings, self._name = settings, name
        self._rules = rulebook.by_id()
        self._outbox = Outbox(settings.kafka_bootstrap, name)
        self._store = Store(settings, self.metrics.store_retries.inc)
        self._groups: dict[int, dict[GroupKey, Group]] = {}
        self._low = LowWatermark()
        self._next_expiry = 0.0

    async def handle(self, batch: PartitionBatch, ack: Callable[[], None]) -> None:
        """Process one batch of signals and acknowledge it once its effects are durable.

        Raises:
            DeliveryFailedError: Kafka gave up on a record; the caller must stop the worker.
        """
        started = time.perf_counter()
        partition = batch.partition
        alerts: list[Alert] = []
        if partition not in self._groups:
            alerts += await self._restore(partition)
        alone, grouped = self._read(batch)
        now = dt.datetime.now(dt.UTC)
        for signal in alone:
            rule = self._rules.get(signal.rule_id)
            if isinstance(rule, Detection):
                alerts.append(from_detection(rule, signal, now))
        for key, signals in grouped.items():
            group = self._group(partition, key, signals[0])
            if group is None:
                continue
            for situation in group.add(signals):
                alerts += from_situation(group, situation, now)
            self._keep(partition, key, group)
        self._expire()
        await self._outbox.delivered()
        await self._tell(alerts)
        self.metrics.stage_seconds.labels("correlate").observe(time.perf_counter() - started)
        ack()

    def _read(self, batch: PartitionBatch) -> tuple[list[Signal], dict[GroupKey, list[Signal]]]:
        """Signals that alert by themselves, and the others by correlation and group."""
        alone: list[Signal] = []
        grouped: dict[GroupKey, list[Signal]] = defaultdict(list)
        for record in batch:
            try:
                content = orjson.loads(record.value or b"")
                if "watermarks" in content:
                    self._low.report(content["watermarks"])
                    continue
                signal = Signal.from_content(content)
            except (ValueError, TypeError, KeyError) as error:
                self.metrics.broken_signals.inc()
                log.error("%s/%d/%d is no signal: %s", batch.topic, batch.partition, record.offset, error)
                continue
            if signal.correlation_id:
                # A drill never completes a live pattern, nor the other way round.
                live = "exercise" if signal.exercise else "live"
                grouped[signal.correlation_id, "\x1f".join([live, *signal.group.values()])].append(signal)
            else:
                alone.append(signal)
        return alone, grouped

    def _group(self, partition: int, key: GroupKey, signal: Signal) -> Group | None:
        group = self._groups[partition].get(key)
        if group is None:
            rule = self._rules.get(key[0])
            if not isinstance(rule, Correlation):
                return None
            group = self._groups[partition][key] = Group(rule, signal.group, signal.exercise)
        return group

    def _keep(self, partition: int, key: GroupKey, group: Group | None) -> None:
        state = dump(group) if group is not None and group.situations else None
        self._outbox.send(STATE_TOPIC, state, key="\x1e".join(key), partition=partition)

    async def _restore(self, partition: int) -> list[Alert]:
        """Read the partition's state back; returns the live alerts, to be told again."""
        started = time.monotonic()
        stored = await asyncio.to_thread(read_partition, self._settings.kafka_bootstrap, STATE_TOPIC, partition)
        groups: dict[GroupKey, Group] = {}
        alerts: list[Alert] = []
        now = dt.datetime.now(dt.UTC)
        for raw_key, state in stored.items():
            rule_id, _, values = raw_key.decode().partition("\x1e")
            rule = self._rules.get(rule_id)
            if isinstance(rule, Correlation):
                group = groups[rule_id, values] = restore(rule, state)
                for situation in group.situations:
                    if situation.alert_id:
                        alerts += from_situation(group, situation, now)
        self._groups[partition] = groups
        log.info(
            "partition %d: %d groups and %d alerts restored in %.1f s",
            partition,
            len(groups),
            len(alerts),
            time.monotonic() - started,
        )
        return alerts

    def _expire(self) -> None:
        """Give up what no event that is still in time can reach."""
        if time.monotonic() < self._next_expiry or self._low.value is None:
            return
        self._next_expiry = time.monotonic() + EXPIRE_EVERY_S
        horizon = self._low.value - self._settings.allowed_lateness_s * SECOND_US
        for partition, groups in self._groups.items():
            for key in [key for key, group in groups.items() if group.expire(horizon)]:
                self._keep(partition, key, groups[key])
                if not groups[key].situations:
                    del groups[key]
        self.metrics.groups.set(sum(map(len, self._groups.values())))

    async def _tell(self, alerts: list[Alert]) -> None:
        if not alerts:
            return
        latest = {(alert.alert_id, alert.version): alert for alert in alerts}
        for alert in latest.values():
            self._outbox.send(ALERTS_TOPIC, alert.model_dump_json().encode(), key=alert.alert_id)
            self.metrics.alerts.labels(alert.rule.id).inc()
        told = list(latest.values())
        await self._store.insert([("alert_evidence", evidence_rows(told)), ("alerts", alert_rows(told))])
        await self._outbox.delivered()
        now = time.time()
        for alert in told:
            self.metrics.alert_latency_seconds.observe(max(now - alert.published_at.timestamp(), 0.0))

    def partitions_changed(self) -> None:
        """To be called when partitions are assigned or revoked: state is read anew from its topic."""
        self._groups.clear()

    async def sample_metrics(self, lag: Callable[[], dict[tuple[str, int], int]], every_s: float = 5.0) -> None:
        """Write the metrics to ClickHouse for ever."""
        await sample_metrics(self.metrics, self._name, self._store, lag, every_s)

    def close(self) -> None:
        self._outbox.close()
