"""The ingest worker: Faust agent over all event topics, effects and acknowledgements around :class:`Ingest`."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

import orjson

from processors.ingest import Ingest, Outcome
from processors.rulebook import Rulebook
from processors.sink import metric_rows
from processors.validate import Limits
from schemas.alerts import QUARANTINE_TOPIC, SIGNALS_TOPIC
from schemas.partners import load_partners
from schemas.registry import FAMILIES, topic_of
from schemas.settings import Settings
from streams.batching import TopicBatch
from streams.checkpoint import Checkpoint
from streams.decode import Decoder
from streams.gather import Waiting
from streams.metrics import Metrics
from streams.outbox import Headers, Outbox
from streams.records import Record
from streams.refusal import Refusal
from streams.registry_cache import RegistryCache
from streams.store import Store
from streams.watermarks import Watermarks

log = logging.getLogger(__name__)

TOPICS = tuple(topic_of(family) for family in FAMILIES)
WATERMARK_EVERY_S = 1.0
WATERMARK_REPEAT_S = 5.0
"""How often a report is repeated although nothing changed: correlators that have just started wait for it."""
Partition = tuple[str, int]
Committed = Callable[[Iterable[Partition]], Awaitable[dict[Partition, str]]]
"""Gives the metadata that was committed with the offset of each partition."""


class IngestWorker:
    """Feeds batches through :class:`Ingest` and makes their effects durable before they are acknowledged."""

    def __init__(self, settings: Settings, rulebook: Rulebook, name: str, committed: Committed) -> None:
        self.metrics = Metrics()
        self._settings, self._name = settings, name
        self._schemas = RegistryCache(settings)
        self._watermarks = Watermarks()
        self._outbox = Outbox(settings, name)
        self.store = Store(settings, self.metrics.store_retries.inc, self.metrics.inserted)
        self._ingest = Ingest(
            rulebook,
            Limits(load_partners(settings.partners_file), settings.max_future_s),
            self._watermarks,
            self._schemas.get,
            settings.max_event_bytes,
            settings.allowed_lateness_s,
            settings.store,
        )
        self._checkpoint: Checkpoint | None = None
        self._committed = committed
        self._assigned: set[Partition] = set()
        self._restored: set[Partition] = set()
        self._processed: set[Partition] = set()
        self.rules_version = rulebook.version
        self.behind: Callable[[], bool] = lambda: False
        """Says whether more waits than can be handled at once."""

    def use(self, rulebook: Rulebook) -> None:
        """Go on under another rulebook from the next batch on; takes seconds, so it is called in a thread."""
        self._ingest = self._ingest.under(rulebook)
        self.rules_version = rulebook.version

    async def run_checkpoints(self) -> None:
        """Flush effects for ever; started beside the agent, on its event loop."""
        await self._checkpoints().run()

    def _checkpoints(self) -> Checkpoint:
        if self._checkpoint is None:
            self._checkpoint = Checkpoint(self.store, self._outbox, self._flushed, lambda: self.behind())
        return self._checkpoint

    async def handle(self, waiting: Sequence[Waiting]) -> None:
        """Process batches of one topic together; they are acknowledged later, once their effects are durable."""
        topic = waiting[0][0].topic
        for each, _ in waiting:
            await self._restore_watermarks((topic, each.partition))
        await self._schemas.ensure(set().union(*(Decoder.schema_ids(each.prefixes) for each, _ in waiting)))
        # The watermark of a partition that was revoked meanwhile may be another by now.
        waiting = [(each, ack) for each, ack in waiting if not each.end.stale]
        if not waiting:
            return
        batches, acks = zip(*waiting, strict=True)
        batch = TopicBatch.joined(batches)
        started = time.perf_counter()
        outcome = self._ingest.process(batch, dt.datetime.now(dt.UTC))
        for each in batches:
            each.end.metadata = self._watermarks.metadata(topic, each.partition)
            self._processed.add((topic, each.partition))
        self.metrics.stage_seconds.labels("process").observe(time.perf_counter() - started)
        for signal in outcome.signals:
            self._outbox.send(SIGNALS_TOPIC, signal.to_bytes(), key=signal.key)
        for refusal in outcome.refused:
            self._quarantine(batch, refusal, outcome.family)
        self._count(batch, outcome)
        await self._checkpoints().add(outcome.tables, len(batch), acks)

    def _quarantine(self, batch: TopicBatch, refusal: Refusal, family: str) -> None:
        record: Record = batch[refusal.index]
        partition = int(batch.partitions[refusal.index])
        where = f"{batch.topic}/{partition}/{record.offset}"
        facts = {
            "reason": refusal.reason.value,
            "field": refusal.field,
            "message": refusal.message,
            "partner": refusal.partner,
            "family": family,
            "topic": batch.topic,
            "partition": str(partition),
            "offset": str(record.offset),
            "schema_id": str(refusal.schema_id),
            "event_id": refusal.event_id,
        }
        headers: Headers = [(name, value.encode("utf-8", "replace")) for name, value in facts.items()]
        self._outbox.send(QUARANTINE_TOPIC, record.value or b"", key=where, headers=headers)

    def _count(self, batch: TopicBatch, outcome: Outcome) -> None:
        metrics = self.metrics
        metrics.batch_records.observe(len(batch))
        metrics.records.labels(outcome.family, "accepted").inc(outcome.stored)
        if outcome.refused:
            metrics.records.labels(outcome.family, "refused").inc(len(outcome.refused))
        for refusal in outcome.refused:
            metrics.refused.labels(refusal.partner or "unknown", refusal.reason.value).inc()
        for signal in outcome.signals:
            metrics.signals.labels(signal.rule_id).inc()
        for partner, count in outcome.late.items():
            metrics.late.labels(partner, outcome.family).inc(count)
        if outcome.latency_s is not None:
            metrics.ingest_latency_seconds.observe(max(outcome.latency_s, 0.0))

    def _flushed(self, records: int, seconds: float) -> None:
        self.metrics.checkpoint_records.inc(records)
        self.metrics.checkpoint_seconds.observe(seconds)

    def partitions_revoked(self) -> None:
        """To be called when all partitions are taken away, before they or others are assigned."""
        self._assigned, self._restored, self._processed = set(), set(), set()
        self._watermarks.forget()

    def partitions_assigned(self, partitions: Iterable[Partition]) -> None:
        """To be called with all partitions that are ours now; their first batches may have come before."""
        self._assigned = set(partitions)

    async def _restore_watermarks(self, first: Partition) -> None:
        """Before the first batch of a partition: go on from what was committed with its offset."""
        while first not in (restored := self._restored):
            found = await self._committed(({first} | self._assigned) - restored)
            if restored is self._restored:
                for (topic, number), metadata in found.items():
                    self._watermarks.restore(topic, number, metadata)
                restored.update(found)

    async def report_watermarks(self, idle: Callable[[str, int], bool]) -> None:
        """Tell the correlators how far event time has come, for ever; ``idle`` says that a partition is read up."""
        last: dict[str, int | None] = {}
        told_at = 0.0
        while True:
            await asyncio.sleep(WATERMARK_EVERY_S)
            report = {f"{topic}/{number}": self._mark(topic, number, idle) for topic, number in sorted(self._assigned)}
            if report and (report != last or time.monotonic() >= told_at + WATERMARK_REPEAT_S):
                last, told_at = report, time.monotonic()
                furthest = max(self._watermarks.by_partition.values(), default=None)
                value = orjson.dumps({"watermarks": report, "furthest": furthest})
                for partition in range(self._settings.topic_partitions):
                    self._outbox.send(SIGNALS_TOPIC, value, partition=partition)

    def _mark(self, topic: str, partition: int, idle: Callable[[str, int], bool]) -> int | None:
        """The partition's watermark; None where nothing holds the others up: idle, or without a valid event so far.
        0 where events wait of which nothing is known yet, for they may be of any age."""
        if idle(topic, partition):
            return None
        unknown = None if (topic, partition) in self._processed else 0
        return self._watermarks.by_partition.get((topic, partition), unknown)

    async def sample_metrics(self, lag: Callable[[], dict[tuple[str, int], int]], every_s: float = 5.0) -> None:
        """Write the metrics to ClickHouse for ever."""
        await sample_metrics(self.metrics, self._name, self.store, lag, every_s)

    def close(self) -> None:
        self._outbox.close()


async def sample_metrics(
    metrics: Metrics,
    worker: str,
    store: Store,
    lag: Callable[[], dict[tuple[str, int], int]],
    every_s: float,
) -> None:
    """Sample ``metrics`` into ``pipeline_metrics`` every ``every_s`` seconds, for ever."""
    while True:
        await asyncio.sleep(every_s)
        metrics.lag.clear()  # of a partition that another worker has by now
        for (topic, partition), value in lag().items():
            metrics.lag.labels(topic, str(partition)).set(value)
        await store.insert([("pipeline_metrics", metric_rows(worker, dt.datetime.now(dt.UTC), metrics.samples()))])
