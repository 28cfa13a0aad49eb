"""The correlation worker: signals in, situations kept, alerts told.

Order for each turn: state to its topic, alerts to Kafka and ClickHouse, then the acknowledgement. State goes first so
that a worker which died in between still knows, on its return, every alert that it may have told; it tells the live
ones again, under the same ids and versions.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

import orjson

from processors.alerts import Draft, Telling
from processors.conclude import Effects
from processors.correlator import Correlator, StateKey, States
from processors.ingest_worker import WATERMARK_REPEAT_S, sample_metrics
from processors.rulebook import Rulebook
from processors.ruleset import RuleSetWatcher
from processors.sink import EvidenceKey, alert_rows, evidence_rows
from schemas.alerts import ALERTS_TOPIC, SIGNALS_TOPIC, STATE_TOPIC, Signal
from schemas.settings import Settings
from streams.batching import PartitionBatch
from streams.gather import Waiting
from streams.metrics import Metrics
from streams.outbox import Outbox
from streams.state import read_partition
from streams.store import Store
from streams.watermarks import LowWatermark, event_partitions

log = logging.getLogger(__name__)

LOWS_KEY = "\x1elows"
RETELL_S = 0.3
RETELL_FULL_S = 2.0
IDLE_S = 0.5
TICK_S = 0.05
MAX_STORED = 100_000
"""Pieces of evidence that are remembered as stored."""
Report = dict[str, Any]
"""``watermarks`` by partition, and ``furthest``, the highest event time seen in any of them."""


class Shard:
    """One partition of ``signals.v1``: its windows, and how far event time has come for each depth of correlation."""

    def __init__(self, correlator: Correlator, partitions: int) -> None:
        self.correlator = correlator
        self.lows = {1: LowWatermark(frozenset(event_partitions(partitions)))}
        self._expected = partitions

    def report(self, report: Report) -> None:
        """Take in how far event time has come: in partitions of event topics, or in one of this topic at a depth."""
        events: dict[str, int | None] = {}
        for name, mark in report["watermarks"].items():
            topic, _, depth = name.partition("#")
            if not depth:
                events[topic] = mark
                continue
            level = int(depth) + 1
            if level not in self.lows:
                names = (f"{SIGNALS_TOPIC}/{each}#{depth}" for each in range(self._expected))
                self.lows[level] = LowWatermark(frozenset(names))
            self.lows[level].report({name: mark})
        if events:
            self.lows[1].report(events, report.get("furthest"))

    def passed(self) -> dict[int, int]:
        """Event time by depth of correlation that has been passed; it never goes back, whoever reported it."""
        found = self.correlator.lows
        for depth, low in sorted(self.lows.items()):
            if low.value is not None:
                found[depth] = max(low.value, found.get(depth, low.value))
        return found


class Pace:
    """Tells of an alert at once, and of what becomes of it at most every ``RETELL_S`` seconds, or every
    ``RETELL_FULL_S`` where no more evidence can be shown; last words do not wait.

    What waits is in the state of its group, so whoever takes over tells it.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, Draft] = {}
        self._rests_until: dict[str, float] = {}

    def __bool__(self) -> bool:
        """Whether any alert waits."""
        return bool(self._waiting)

    def due(self, alerts: Iterable[Draft], now_s: float, at_once: Container[str] = ()) -> list[Draft]:
        """Which of these and of those that wait are to be told now; those whose ids are in ``at_once`` do not wait.
        ``now_s`` is any clock that only goes on."""
        self._waiting.update((alert.alert_id, alert) for alert in alerts)
        self._rests_until = {key: until for key, until in self._rests_until.items() if now_s < until}
        found = [
            alert
            for key, alert in self._waiting.items()
            if alert.status != "open" or key in at_once or key not in self._rests_until
        ]
        for alert in found:
            del self._waiting[alert.alert_id]
            self._rests_until[alert.alert_id] = now_s + (RETELL_FULL_S if alert.full else RETELL_S)
        return found


class CorrelateWorker:
    """Windows of the partitions of ``signals.v1`` that this worker owns, under the rules that ``watcher`` knows of."""

    def __init__(self, settings: Settings, watcher: RuleSetWatcher, name: str) -> None:
        self.metrics = Metrics()
        self._settings, self._name = settings, name
        self._watcher, self._book = watcher, watcher.current()
        self._known = _fingerprints(self._book)
        self._outbox = Outbox(settings, name)
        self.store = Store(settings, self.metrics.store_retries.inc, self.metrics.inserted)
        self._shards: dict[int, Shard] = {}
        self._stored: set[EvidenceKey] = set()
        self._pace = Pace()
        self._telling = asyncio.Lock()
        self._turned_at = 0.0
        self._passed: dict[int, tuple[dict[str, int], float]] = {}

    @property
    def rules_version(self) -> str:
        """Version of the rulebook in use."""
        return self._book.version

    async def handle(self, waiting: Sequence[Waiting]) -> None:
        """Process batches of signals together and acknowledge them once their effects are durable.

        Raises:
            DeliveryFailedError: Kafka gave up on a record; the caller must stop the worker.
        """
        started = time.perf_counter()
        waiting = [(batch, ack) for batch, ack in waiting if not batch.end.stale]
        signals: dict[int, list[Signal]] = defaultdict(list)
        reports: dict[int, list[Report]] = defaultdict(list)
        for batch, _ in waiting:
            self._read(batch, signals[batch.partition], reports[batch.partition])
        await self._switch({each.fingerprint for found in signals.values() for each in found})
        now = dt.datetime.now(dt.UTC)
        shards = {
            partition: self._shards.get(partition) or await self._take_over(partition, now) for partition in signals
        }
        if any(batch.end.stale for batch, _ in waiting):
            return  # another worker may write this state by now
        self._shards |= shards
        effects = Effects()
        for partition, shard in shards.items():
            effects.extend(self._advance(partition, shard, signals[partition], reports[partition], now))
        await self._outbox.delivered()
        forgotten = {partition: shard.correlator.forget() for partition, shard in shards.items()}
        # What a state no longer holds nobody tells again.
        await self._tell(effects, set().union(*(alerts for _, alerts in forgotten.values())))
        for partition, shard in shards.items():
            self._keep(partition, forgotten[partition][0])
            self._pass_on(partition, shard.passed())
            self._count(shard)
        self.metrics.groups.set(sum(size for each in self._shards.values() for _, size in each.correlator.sizes()))
        self.metrics.stage_seconds.labels("correlate").observe(time.perf_counter() - started)
        for batch, ack in waiting:
            self.metrics.batch_records.observe(len(batch))
            ack()
        self._turned_at = time.monotonic()

    def _advance(
        self, partition: int, shard: Shard, signals: list[Signal], reports: list[Report], now: dt.datetime
    ) -> Effects:
        """Take signals in, then let event time go on as far as it is reported; the states go to the outbox."""
        effects = shard.correlator.add(signals, now)
        self._keep(partition, shard.correlator.changed())
        for report in reports:
            shard.report(report)
        passed = shard.passed()
        if passed != shard.correlator.lows:
            # After the states that these signals led to, and before what is given up because of it: whatever part of
            # this survives a crash, a signal that comes again either finds its window or is known to be behind it.
            self._outbox.send(STATE_TOPIC, orjson.dumps(list(passed.items())), key=LOWS_KEY, partition=partition)
        for depth, low in passed.items():
            effects.extend(shard.correlator.advance(low, now, depth))
        self._keep(partition, shard.correlator.changed())
        return effects

    async def _switch(self, fingerprints: set[str]) -> None:
        """Go over to the rules in force, also where signals of new ones are the first that is heard of them."""
        if not fingerprints <= self._known:
            await asyncio.to_thread(self._watcher.refresh)
        if self._watcher.rulebook is not self._book:
            self._book = self._watcher.rulebook
            self._known = _fingerprints(self._book)
            for shard in self._shards.values():
                shard.correlator.use(self._book)
        # What is still unknown is of rules that are no longer in force: not to be asked for again.
        self._known |= fingerprints

    def _read(self, batch: PartitionBatch, signals: list[Signal], reports: list[Report]) -> None:
        """Add the signals, and the reports of watermarks among them."""
        for record in batch:
            value = record.value or b""
            try:
                if value.startswith(b"{"):
                    reports.append(orjson.loads(value))
                else:
                    signals.append(Signal.from_bytes(value))
            except (ValueError, TypeError, KeyError, IndexError) as error:
                self.metrics.broken_signals.inc()
                log.error("%s/%d/%d is no signal: %s", batch.topic, batch.partition, record.offset, error)

    def _keep(self, partition: int, states: States) -> None:
        for key, state in states.items():
            self._outbox.send(STATE_TOPIC, state, key=_state_name(key), partition=partition)

    async def _take_over(self, partition: int, now: dt.datetime) -> Shard:
        """Read the partition's state back, and tell again what its last owner may not have come to tell."""
        started = time.monotonic()
        shard = Shard(Correlator(self._book, self._settings.allowed_lateness_s), self._settings.topic_partitions)
        stored = await asyncio.to_thread(read_partition, self._settings, STATE_TOPIC, partition)
        lows = dict(orjson.loads(stored.pop(LOWS_KEY.encode(), b"[]")))
        effects = shard.correlator.restore({_state_key(raw): state for raw, state in stored.items()}, lows, now)
        seconds = time.monotonic() - started
        log.info("partition %d: %d states, %d alerts in %.1f s", partition, len(stored), len(effects.alerts), seconds)
        await self._tell(effects)
        return shard

    def _pass_on(self, partition: int, passed: dict[int, int]) -> None:
        """Tell the correlations above how far those below have come here; what they conclude went out before."""
        deepest = max((each.depth for each in self._book.correlations), default=1)
        report = {f"{SIGNALS_TOPIC}/{partition}#{depth}": low for depth, low in passed.items() if depth < deepest}
        before, at = self._passed.get(partition, ({}, 0.0))
        # Repeated, for a worker that has just taken over has not heard it.
        if report and (report != before or time.monotonic() - at > WATERMARK_REPEAT_S):
            self._passed[partition] = (report, time.monotonic())
            value = orjson.dumps({"watermarks": report})
            for each in range(self._settings.topic_partitions):
                self._outbox.send(SIGNALS_TOPIC, value, partition=each)

    def _count(self, shard: Shard) -> None:
        counts = shard.correlator.counts
        for (what, rule_id), number in counts.items():
            self.metrics.windows.labels(what, rule_id).inc(number)
        counts.clear()

    async def _tell(self, effects: Effects, at_once: Container[str] = ()) -> None:
        for signal in effects.signals:
            self._outbox.send(SIGNALS_TOPIC, signal.to_bytes(), key=signal.key)
        async with self._telling:
            due = self._pace.due(effects.alerts, time.monotonic(), at_once)
            if due:
                await self._store_and_send([each.tell() for each in due])

    async def tell_waiting(self) -> None:
        """For ever, tell alerts whose time has come while no batch did: an insert costs what it costs beside its rows,
        so while batches come they wait for those."""
        while True:
            await asyncio.sleep(TICK_S)
            if self._pace and time.monotonic() - self._turned_at >= IDLE_S:
                await self._tell(Effects())

    async def _store_and_send(self, told: list[Telling]) -> None:
        heads, records = [each.head for each in told], [each.record() for each in told]
        for head, record in zip(heads, records, strict=True):
            self._outbox.send(ALERTS_TOPIC, record, key=head.alert_id)
            self.metrics.alerts.labels(head.rule.id).inc()
        if len(self._stored) > MAX_STORED:
            self._stored.clear()
        rows = [("alert_evidence", evidence_rows(told, self._stored)), ("alerts", alert_rows(heads, records))]
        await self.store.insert(rows)
        await self._outbox.delivered()
        now = time.time()
        for head in heads:
            self.metrics.alert_latency_seconds.observe(max(now - head.published_at.timestamp(), 0.0))

    def partitions_revoked(self) -> None:
        """To be called when all partitions are taken away: their state is read anew from its topic."""
        self._shards.clear()
        self._pace = Pace()
        self._passed.clear()

    def partitions_assigned(self, partitions: Iterable[tuple[str, int]]) -> None:
        """To be called with all partitions that are ours now."""

    async def sample_metrics(self, lag: Callable[[], dict[tuple[str, int], int]], every_s: float = 5.0) -> None:
        """Write the metrics to ClickHouse for ever."""
        await sample_metrics(self.metrics, self._name, self.store, lag, every_s)

    def close(self) -> None:
        self._outbox.close()


def _fingerprints(book: Rulebook) -> set[str]:
    """What signals of these rules may carry: that of their correlation, or the version of a detection by itself."""
    return {each.fingerprint for each in book.correlations} | {each.meta.version for each in book.detections}


def _state_name(key: StateKey) -> str:
    """Key of a group's state in its topic; fingerprints are hexadecimal."""
    fingerprint, text, chunk = key
    return f"{fingerprint}#{chunk}\x1e{text}" if chunk else f"{fingerprint}\x1e{text}"


def _state_key(name: bytes) -> StateKey:
    first, _, text = name.decode().partition("\x1e")
    fingerprint, _, chunk = first.partition("#")
    return fingerprint, text, int(chunk or 0)
