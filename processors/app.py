"""The Faust wiring of all workers: which agent reads which topics, and what runs beside it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import faust
from faust.types import TP

from processors.correlate_worker import CorrelateWorker
from processors.ingest_worker import TOPICS, IngestWorker
from processors.rulebook import Rulebook
from processors.ruleset import RuleSetWatcher
from schemas.alerts import SIGNALS_TOPIC
from schemas.settings import Settings
from streams.batching import BatchConsumer, BatchSchema, PartitionBatch, batch_app
from streams.gather import Ack, Gather

log = logging.getLogger(__name__)

EXIT_FAILED = 70


def ingest_app(settings: Settings, watcher: RuleSetWatcher, instance: str = "0") -> faust.App:
    """Faust application that ingests every event topic. ``instance`` tells workers of the group apart.

    Raises:
        RuleError: nothing is deployed, and the rule files cannot be used.
    """
    name = f"ingest-{instance}"
    app = batch_app(settings.ingest_group, settings, name)
    worker = IngestWorker(settings, watcher.current(), name, lambda where: _consumer(app).committed_metadata(where))
    gather = Gather(worker.handle)
    _wire(app, worker, gather.put, TOPICS, settings, name, watcher, worker.use)

    @app.task  # type: ignore[untyped-decorator]
    async def batches() -> None:
        await _or_stop("batch", gather.run())

    @app.task  # type: ignore[untyped-decorator]
    async def checkpoints() -> None:
        await _or_stop("checkpoint", worker.run_checkpoints())

    @app.task  # type: ignore[untyped-decorator]
    async def watermarks() -> None:
        await _or_stop("watermarks", worker.report_watermarks(lambda *where: _consumer(app).idle(TP(*where))))

    return app


def correlate_app(settings: Settings, watcher: RuleSetWatcher, instance: str = "0") -> faust.App:
    """Faust application that correlates the signals.

    Raises:
        RuleError: nothing is deployed, and the rule files cannot be used.
    """
    name = f"correlate-{instance}"
    # A group is read and written anew with each batch that touches it: few larger batches cost less than many.
    app = batch_app(settings.correlate_group, settings, name, fetch_min_bytes=65_536)
    worker = CorrelateWorker(settings, watcher, name)
    # It looks at the watcher itself, before each batch.
    _wire(app, worker, worker.handle, (SIGNALS_TOPIC,), settings, name, watcher, lambda rulebook: None)

    async def tell_waiting() -> None:
        await _or_stop("alerts", worker.tell_waiting())

    app.task(tell_waiting)
    return app


def _wire(
    app: faust.App,
    worker: IngestWorker | CorrelateWorker,
    take: Callable[[PartitionBatch, Ack], Coroutine[Any, Any, None]],
    topics: tuple[str, ...],
    settings: Settings,
    name: str,
    watcher: RuleSetWatcher,
    use: Callable[[Rulebook], None],
) -> None:
    mark = Mark(settings.data_dir / "run" / f"{name}.json", worker.metrics.serve(settings.metrics_port))

    def note_rules() -> None:
        if mark.content.get("rules") != worker.rules_version:
            worker.metrics.rules.clear()
            worker.metrics.rules.labels(worker.rules_version).set(1)
            mark.write(rules=worker.rules_version)
            log.info("rule set %s in force", worker.rules_version)

    async def consume(stream: Any) -> None:
        async for event in stream.noack().events():
            await _or_stop("batch", take(event.value, event.ack))
            note_rules()

    app.agent(app.topic(*topics, schema=BatchSchema()), name=name)(consume)

    async def sample() -> None:
        await _or_stop("metrics", worker.sample_metrics(lambda: _lag(app)))

    def switch(rulebook: Rulebook) -> None:
        use(rulebook)
        note_rules()

    async def rules() -> None:
        await _or_stop("rules", watcher.watch(switch))

    async def revoked(*_: Any, **__: Any) -> None:
        worker.partitions_revoked()

    async def assigned(*arguments: Any, **_: Any) -> None:
        partitions: set[TP] = arguments[1]
        worker.partitions_assigned((each.topic, each.partition) for each in partitions)
        mark.write(partitions=len(partitions))

    watcher.on_refused = worker.metrics.rules_refused.inc
    note_rules()
    app.task(sample)
    app.task(rules)
    app.on_partitions_revoked.connect(revoked, weak=False)
    app.on_partitions_assigned.connect(assigned, weak=False)


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
    except BaseException:
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
