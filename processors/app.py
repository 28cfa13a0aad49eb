"""The Faust wiring of all workers: which agent reads which topics, and what runs beside it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import faust
from faust.types import TP

from processors.correlate_worker import CorrelateWorker
from processors.feed_watch import FeedWatch
from processors.ingest_worker import TOPICS, IngestWorker
from processors.lifecycle_worker import LifecycleWorker
from processors.rulebook import Rulebook
from processors.ruleset import RuleSetWatcher
from schemas.alerts import ALERTS_TOPIC, SIGNALS_TOPIC
from schemas.lifecycle import COMMANDS_TOPIC, LIFECYCLE_TOPIC
from schemas.settings import Settings, mark_path
from streams.batching import BatchConsumer, BatchSchema, PartitionBatch, batch_app
from streams.gather import Ack, Gather
from streams.health import Health, serve
from streams.progress import CommittedProgress
from streams.state import StateError
from streams.topics import refuse_partitions

log = logging.getLogger(__name__)

EXIT_FAILED = 70
FETCH_MIN_BYTES = 1 << 20
"""For so much a broker waits a moment (``streams.fetcher``): an answer for each small batch costs it and us more."""
INGEST_RESTS = 1.0
"""A batch costs some milliseconds beside its records, so at a moderate load half of the time is for gathering them."""
CORRELATE_RESTS, CORRELATE_MAX_REST_S = 1.0, 0.15
"""A group is read and written anew with each turn that touches it, so few larger turns cost less than many; but a turn
costs half of what a round of ingest does, and alerts wait for it."""

Take = Callable[[PartitionBatch, Ack], Coroutine[Any, Any, None]]
"""Takes a batch in, with what is to be called once its effects are durable."""


def ingest_app(settings: Settings, watcher: RuleSetWatcher, instance: str = "0") -> faust.App:
    """Faust application that ingests every event topic. ``instance`` tells workers of the group apart.

    Raises:
        RuleError: nothing is deployed, and the rule files cannot be used.
    """
    name = f"ingest-{instance}"
    app = batch_app(settings.ingest_group, settings, name, fetch_min_bytes=FETCH_MIN_BYTES)
    worker = IngestWorker(settings, watcher.current(), name, lambda where: _consumer(app).committed_metadata(where))
    gather = Gather(worker.handle, rests=INGEST_RESTS)
    worker.behind = lambda: gather.behind
    _wire_rules(app, worker, gather.put, TOPICS, settings, name, watcher, worker.use)
    _run_beside(app, "batches", gather.run)
    _run_beside(app, "checkpoint", worker.run_checkpoints)
    _run_beside(app, "watermarks", lambda: worker.report_watermarks(lambda *where: _consumer(app).idle(TP(*where))))
    return app


def correlate_app(settings: Settings, watcher: RuleSetWatcher, instance: str = "0") -> faust.App:
    """Faust application that correlates the signals.

    Raises:
        RuleError: nothing is deployed, and the rule files cannot be used.
    """
    name = f"correlate-{instance}"
    app = batch_app(settings.correlate_group, settings, name, fetch_min_bytes=FETCH_MIN_BYTES)
    worker = CorrelateWorker(settings, watcher, name)
    gather = Gather(worker.handle, rests=CORRELATE_RESTS, max_rest_s=CORRELATE_MAX_REST_S)
    # It looks at the watcher itself, before each turn.
    _wire_rules(app, worker, gather.put, (SIGNALS_TOPIC,), settings, name, watcher, lambda rulebook: None)
    _run_beside(app, "batches", gather.run)
    _run_beside(app, "alerts", worker.tell_waiting)
    return app


def lifecycle_app(settings: Settings, instance: str = "0") -> faust.App:
    """Faust application that keeps the lifecycle of alerts and notifies people.

    Raises:
        ConfigError: ``oncall.yml`` or ``partners.yml`` cannot be used.
        TopicError: one of its topics has several partitions.
    """
    name = f"lifecycle-{instance}"
    refuse_partitions(settings, (ALERTS_TOPIC, COMMANDS_TOPIC, LIFECYCLE_TOPIC))
    app = batch_app(settings.lifecycle_group, settings, name)
    worker = LifecycleWorker(settings, name)
    watch = FeedWatch(settings, worker, lambda: _consumer(app).idle(TP(ALERTS_TOPIC, 0)))
    # An agent each, so that a command need not wait for all alerts that came before it.
    _wire(app, worker, worker.handle, [(ALERTS_TOPIC,), (COMMANDS_TOPIC,)], settings, name, lambda mark: None)
    tasks: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
        "clock": worker.run_clock,
        "rows": worker.store_rows,
        "policy": worker.reload_policy,
        "feeds": watch.watch_feeds,
        "watchdog": watch.fire_watchdog,
    }
    for what, work in tasks.items():
        _run_beside(app, what, work)

    async def drain(*_: Any, **__: Any) -> None:
        await worker.drain()

    app.on_before_shutdown.connect(drain, weak=False)
    return app


def _run_beside(app: faust.App, what: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def task() -> None:
        await _or_stop(what, work())

    task.__name__ = what
    app.task(task)


def _wire_rules(
    app: faust.App,
    worker: IngestWorker | CorrelateWorker,
    take: Take,
    topics: tuple[str, ...],
    settings: Settings,
    name: str,
    watcher: RuleSetWatcher,
    use: Callable[[Rulebook], None],
) -> None:
    def note_rules(mark: Mark) -> None:
        if mark.content.get("rules") != worker.rules_version:
            worker.metrics.rules.clear()
            worker.metrics.rules.labels(worker.rules_version).set(1)
            mark.write(rules=worker.rules_version)
            log.info("rule set %s in force", worker.rules_version)

    mark = _wire(app, worker, take, [topics], settings, name, note_rules)

    def switch(rulebook: Rulebook) -> None:
        use(rulebook)
        note_rules(mark)

    async def rules() -> None:
        await _or_stop("rules", watcher.watch(switch))

    watcher.on_refused = worker.metrics.rules_refused.inc
    note_rules(mark)
    app.task(rules)


def _wire(
    app: faust.App,
    worker: IngestWorker | CorrelateWorker | LifecycleWorker,
    take: Take,
    topics: Sequence[tuple[str, ...]],
    settings: Settings,
    name: str,
    after_batch: Callable[[Mark], None],
) -> Mark:
    """Connect a worker with one agent for each tuple of topics; the mark that says that it runs."""
    watched = [topic for each in topics for topic in each]
    health = Health(
        lambda mine: CommittedProgress(settings, str(app.conf.id), watched, mine=mine),
        lambda: worker.store.away,
    )
    port = serve(worker.metrics.registry, health, settings.metrics_port, settings.metrics_host)
    mark = Mark(mark_path(settings, name), port)

    async def consume(stream: Any) -> None:
        async for event in stream.noack().events():
            await _or_stop("batch", take(event.value, event.ack))
            after_batch(mark)

    for number, each in enumerate(topics):
        app.agent(app.topic(*each, schema=BatchSchema()), name=f"{name}-{number}" if number else name)(consume)

    async def sample() -> None:
        await _or_stop("metrics", worker.sample_metrics(lambda: _lag(app)))

    async def revoked(*_: Any, **__: Any) -> None:
        worker.partitions_revoked()

    async def assigned(*arguments: Any, **_: Any) -> None:
        partitions: set[TP] = arguments[1]
        worker.partitions_assigned((each.topic, each.partition) for each in partitions)
        health.assigned((each.topic, each.partition) for each in partitions)
        mark.write(partitions=len(partitions))

    app.task(sample)
    app.on_partitions_revoked.connect(revoked, weak=False)
    app.on_partitions_assigned.connect(assigned, weak=False)
    return mark


class Mark:
    """A file by which others see that the worker runs: pid, metrics port, partitions, version of its rules."""

    def __init__(self, path: Path, port: int) -> None:
        self._path, self._lock = path, threading.Lock()
        self.content: dict[str, Any] = {"pid": os.getpid(), "metrics_port": port, "partitions": 0}
        path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, **changes: Any) -> None:
        with self._lock:
            self.content |= changes
            complete = self._path.with_suffix(".tmp")
            complete.write_text(json.dumps(self.content))
            complete.replace(self._path)


async def _or_stop(what: str, work: Coroutine[Any, Any, None]) -> None:
    """Run; on an error end the process at once, uncommitted: the supervisor starts it again from the last commit.

    Faust would keep a process alive whose agent has died (upstream #523, #532).
    """
    try:
        await work
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        if isinstance(error, StateError):  # it says what to do, and a traceback below it would hide that
            log.critical("%s", error)
        else:
            log.critical("%s failed; the worker stops and will resume from its last commit", what, exc_info=True)
        logging.shutdown()
        sys.stderr.flush()
        os._exit(EXIT_FAILED)


def _lag(app: faust.App) -> dict[tuple[str, int], int]:
    """Records of each assigned partition that are not yet committed."""
    consumer = _consumer(app)
    lags = {}
    for tp in consumer.assignment():
        end, committed = consumer.highwater(tp), consumer._committed_offset.get(tp)
        if end is not None and committed is not None:
            lags[tp.topic, tp.partition] = max(end - committed, 0)
    return lags


def _consumer(app: faust.App) -> BatchConsumer:
    assert isinstance(app.consumer, BatchConsumer)
    return app.consumer
