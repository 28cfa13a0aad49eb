"""The Faust wiring of all workers: which agent reads which topics, and what runs beside it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Coroutine
from typing import Any

import faust
from faust.types import TP

from processors.correlate_worker import CorrelateWorker
from processors.ingest_worker import TOPICS, IngestWorker
from processors.rulebook import Rulebook
from schemas.alerts import SIGNALS_TOPIC
from schemas.settings import Settings
from streams.batching import BatchConsumer, BatchSchema, batch_app

log = logging.getLogger(__name__)

EXIT_FAILED = 70


def ingest_app(settings: Settings, rulebook: Rulebook, instance: str = "0") -> faust.App:
    """Faust application that ingests every event topic. ``instance`` tells workers of the group apart."""
    name = f"ingest-{instance}"
    worker = IngestWorker(settings, rulebook, name)
    app = batch_app(settings.ingest_group, settings, name)
    _wire(app, worker, TOPICS, settings, name)

    @app.task  # type: ignore[untyped-decorator]
    async def checkpoints() -> None:
        await _or_stop("checkpoint", worker.run_checkpoints())

    @app.task  # type: ignore[untyped-decorator]
    async def watermarks() -> None:
        await _or_stop("watermarks", worker.report_watermarks(lambda topic, number: _idle(app, TP(topic, number))))

    return app


def correlate_app(settings: Settings, rulebook: Rulebook, instance: str = "0") -> faust.App:
    """Faust application that correlates the signals."""
    name = f"correlate-{instance}"
    app = batch_app(settings.correlate_group, settings, name)
    _wire(app, CorrelateWorker(settings, rulebook, name), (SIGNALS_TOPIC,), settings, name)
    return app


def _wire(
    app: faust.App, worker: IngestWorker | CorrelateWorker, topics: tuple[str, ...], settings: Settings, name: str
) -> None:
    async def consume(stream: Any) -> None:
        async for event in stream.noack().events():
            await _or_stop("batch", worker.handle(event.value, event.ack))

    app.agent(app.topic(*topics, schema=BatchSchema()), name=name)(consume)

    async def sample() -> None:
        await _or_stop("metrics", worker.sample_metrics(lambda: _lag(app)))

    port = worker.metrics.serve(settings.metrics_port)
    mark = settings.data_dir / "run" / f"{name}.json"
    mark.parent.mkdir(parents=True, exist_ok=True)

    async def revoked(*_: Any, **__: Any) -> None:
        worker.partitions_changed()

    async def assigned(*arguments: Any, **_: Any) -> None:
        worker.partitions_changed()
        partitions: set[TP] = arguments[1]
        content = {"pid": os.getpid(), "metrics_port": port, "partitions": len(partitions)}
        mark.write_text(json.dumps(content))

    app.task(sample)
    app.on_partitions_revoked.connect(revoked, weak=False)
    app.on_partitions_assigned.connect(assigned, weak=False)


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


def _idle(app: faust.App, tp: TP) -> bool:
    """Whether the partition has been read up to its end."""
    end = _consumer(app).highwater(tp)
    read = _consumer(app)._read_offset.get(tp)
    return end is not None and read is not None and read + 1 >= end


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
