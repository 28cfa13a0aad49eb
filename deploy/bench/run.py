"""The throughput bench: Kafka to stored in ClickHouse with rules matched, beside peers on the same topics and rules."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
from aiokafka import AIOKafkaConsumer
from clickhouse_connect.driver.client import Client

from deploy.bench.latency import MAX_RATE, publish_steadily
from deploy.bench.measure import Measured, measure
from deploy.bench.workload import FAMILIES, write_rules
from deploy.embedded.platform import Platform
from deploy.loadgen import EncodedRecord, generate_encoded, produce_encoded
from deploy.prepare import prepare
from schemas.registry import load_schema, topic_of
from schemas.settings import Settings
from streams.store import connect

PEERS = ("plain-faust",)
PEER_SHARE = 10
"""A peer that is slower gets one part in ten of the events: its rate does not depend on their number."""


CHUNK = 500_000


def bench(
    events: int, rules: int, peers: list[str], seed: int, runs: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Run the bench on a platform of its own in a temporary folder; returns what ``tocsin bench --json`` prints.

    Raises:
        StalledError: a measured process died or stopped.
    """
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        data = Path(folder)
        say(f"drawing {rules} rules")
        rule_folder = write_rules(data / "rules", rules, seed)
        with Platform(data / "platform") as platform:
            say("starting Kafka, registry and ClickHouse")
            settings = platform.start()
            ids = prepare(settings).schema_ids
            say(f"filling the topics with {events:,} events")
            some = fill(settings, ids, events, seed)
            limits = measure_limits(settings, some, events)
            bed = Bed(settings, rule_folder, ids, seed, say)
            workload = {
                "events": events,
                "rules": rules,
                "correlations": min(rules, 10),
                "families": list(FAMILIES),
                "partitions": settings.topic_partitions,
                "seed": seed,
                "bytes_per_event": round(sum(len(value) for _, _, value in some) / len(some)),
            }
            ours = bed.tocsin(events, runs)
            workload["events_matched"] = bed.matched
            found = {peer: bed.plain_faust(max(events // PEER_SHARE, min(events, 20_000)), runs) for peer in peers}
            for figures in found.values():
                figures["tocsin_is_times_faster"] = round(ours["events_per_s"] / figures["events_per_s"], 1)
            return {"workload": workload, "tocsin": ours, "limits": limits, "peers": found}


def fill(settings: Settings, ids: dict[str, int], events: int, seed: int) -> list[EncodedRecord]:
    """Put ``events`` events into the topics, event time in order; returns some of them."""
    end = dt.datetime.now(dt.UTC)
    some: list[EncodedRecord] = []
    for start in range(0, events, CHUNK):
        count = min(CHUNK, events - start)
        left = events - start - count
        until = end - dt.timedelta(seconds=left / CHUNK * 60)
        some = generate_encoded(count, seed + start, FAMILIES, ids, until=until, spread_s=60.0)
        produce_encoded(settings.kafka_bootstrap, some)
    return some


def median(runs: list[Measured]) -> dict[str, Any]:
    """Median of each figure over the runs; the thirds are of the last run."""
    figures = [each.as_json() for each in runs]
    thirds = [each.pop("rss_mb_at_thirds") for each in figures][-1]
    found = {name: round(statistics.median(each[name] for each in figures)) for name in figures[-1]}
    return {**found, "rss_mb_at_thirds": thirds}


@dataclass
class Bed:
    """The platform, rules and schema ids on which each system is measured in turn."""

    settings: Settings
    rules: Path
    ids: dict[str, int]
    seed: int
    say: Callable[[str], None]
    matched: int = 0

    def tocsin(self, events: int, runs: int) -> dict[str, Any]:
        """An ingest worker from the start of the topics until every event is stored, then under a steady load."""
        measured = []
        latency: dict[str, float] = {}
        client = connect(self.settings)

        def count(what: str) -> int:
            return int(str(client.command(f"SELECT {what}")))

        for number in range(runs):
            self.say(f"measuring Tocsin, run {number + 1} of {runs}")
            for table in ("events", "feed_minutes", "signals", "quarantine", "pipeline_metrics"):
                client.command(f"TRUNCATE TABLE {table}")
            environment = worker_environment(self.settings, self.rules) | {"TOCSIN_INGEST_GROUP": f"bench-{number}"}
            argv = [sys.executable, "-m", "processors", "ingest", "--instance", f"bench-{number}"]
            log = self.settings.data_dir / "logs" / f"bench-{number}.log"
            with running(argv, environment, log) as process:
                measured.append(measure(process, lambda: count("count() FROM events"), events))
                self.matched = count("uniqExact(partner, event_id) FROM signals")
                if number == runs - 1:
                    rate = measured[-1].events / measured[-1].wall_s / 2
                    self.say(f"latency at {min(rate, MAX_RATE):,.0f} events/s")
                    more, since = publish_steadily(self.settings.kafka_bootstrap, self.ids, rate, self.seed + 1)
                    measure(process, lambda more=more: count("count() FROM events"), events + more)  # type: ignore[misc]
                    latency = _stored_latency(client, since)
        client.close()
        return {**median(measured), "latency_ms": latency}

    def plain_faust(self, events: int, runs: int) -> dict[str, Any]:
        """The plain Faust agent over the first ``events`` of the same topics, then under a steady load."""
        measured = []
        for number in range(runs):
            self.say(f"measuring plain-faust, run {number + 1} of {runs}")
            with self._plain(f"plain-faust-{number}", "earliest") as (process, state):
                measured.append(measure(process, lambda state=state: state["processed"], events))  # type: ignore[misc]
        rate = measured[-1].events / measured[-1].wall_s / 2
        self.say(f"latency of plain-faust at {rate:,.0f} events/s")
        with self._plain("plain-faust-latency", "latest") as (process, state):
            while not state["assigned"] and process.poll() is None:
                time.sleep(0.2)
            count, _ = publish_steadily(self.settings.kafka_bootstrap, self.ids, rate, self.seed + 2)
            measure(process, lambda: state["processed"], count)
            time.sleep(0.5)
        return {**median(measured), "latency_ms": state["latency_ms"]}

    @contextmanager
    def _plain(self, group: str, offset: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
        argv = [sys.executable, "-m", "deploy.bench.plain_faust", "--bootstrap", self.settings.kafka_bootstrap]
        argv += ["--rules", str(self.rules), "--group", group, "--offset", offset]
        state: dict[str, Any] = {"processed": 0, "assigned": False, "latency_ms": {}}
        with running(argv, dict(os.environ), None) as process:

            def read() -> None:
                assert process.stdout is not None
                for line in process.stdout:
                    if line.startswith(b"{"):
                        state.update(json.loads(line))

            threading.Thread(target=read, daemon=True).start()
            yield process, state


def _stored_latency(client: Client, since: dt.datetime) -> dict[str, float]:
    """From publication to the hand-over to ClickHouse, which follows within a checkpoint (a second at most)."""
    row = client.query(
        "SELECT quantiles(0.5, 0.95, 0.99)(dateDiff('millisecond', published_at, ingested_at)) FROM events "
        "WHERE published_at >= {since:DateTime64(3)}",
        parameters={"since": since},
    ).result_rows[0][0]
    return dict(zip(("p50", "p95", "p99"), map(round, row), strict=True))


def worker_environment(settings: Settings, rules: Path) -> dict[str, str]:
    """Environment of a worker that uses this platform and these rules."""
    named = {f"TOCSIN_{name.upper()}": str(value) for name, value in settings.model_dump().items() if value is not None}
    return {**os.environ, **named, "TOCSIN_RULES_PATH": str(rules)}


@contextmanager
def running(argv: list[str], environment: dict[str, str], log: Path | None) -> Iterator[subprocess.Popen[bytes]]:
    """A child that ends with the block."""
    with (log or Path(os.devnull)).open("wb") as errors:
        output = subprocess.PIPE if log is None else errors
        process = subprocess.Popen(argv, env=environment, stdout=output, stderr=errors)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def measure_limits(settings: Settings, records: list[EncodedRecord], total: int) -> dict[str, int]:
    """What the parts could do at best: fastavro decoding these records, and aiokafka fetching them."""
    parsed = {topic_of(family): fastavro.parse_schema(load_schema(family)) for family in FAMILIES}
    some = records[:20_000]
    started = time.perf_counter()
    for topic, _, value in some:
        fastavro.schemaless_reader(io.BytesIO(value[5:]), parsed[topic])
    decoded = len(some) / (time.perf_counter() - started)
    return {
        "fastavro_decode_per_s": round(decoded),
        "getmany_per_s": round(asyncio.run(_getmany(settings.kafka_bootstrap, total))),
    }


async def _getmany(bootstrap: str, total: int) -> float:
    consumer = AIOKafkaConsumer(
        *(topic_of(family) for family in FAMILIES),
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 * 1024 * 1024,
    )
    await consumer.start()
    try:
        seen, started = 0, time.perf_counter()
        while seen < total:
            batches = await consumer.getmany(timeout_ms=1000)
            seen += sum(map(len, batches.values()))
        return seen / (time.perf_counter() - started)
    finally:
        await consumer.stop()
