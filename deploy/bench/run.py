"""The throughput bench: Kafka to stored in ClickHouse with rules matched, beside peers on the same topics and rules."""

from __future__ import annotations

import asyncio
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
from pathlib import Path
from typing import Any

import fastavro
from aiokafka import AIOKafkaConsumer

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
            records = generate_encoded(events, seed, FAMILIES, ids)
            produce_encoded(settings.kafka_bootstrap, records)
            limits = measure_limits(settings, records)
            ours = []
            for number in range(runs):
                say(f"measuring Tocsin, run {number + 1} of {runs}")
                ours.append(run_tocsin(settings, rule_folder, events, number))
            result: dict[str, Any] = {
                "workload": {
                    "events": events,
                    "rules": rules,
                    "correlations": min(rules, 10),
                    "families": list(FAMILIES),
                    "partitions": settings.topic_partitions,
                    "seed": seed,
                    "bytes_per_event": round(sum(len(value) for _, _, value in records) / len(records)),
                    "matched": matches(settings),
                },
                "tocsin": {**median(ours)},
                "limits": limits,
                "peers": {},
            }
            for peer in peers:
                share = max(events // PEER_SHARE, min(events, 20_000))
                found = []
                for number in range(runs):
                    say(f"measuring {peer}, run {number + 1} of {runs}")
                    found.append(run_plain_faust(settings, rule_folder, share, number))
                result["peers"][peer] = median(found)
                ratio = result["tocsin"]["events_per_s"] / result["peers"][peer]["events_per_s"]
                result["peers"][peer]["tocsin_is_times_faster"] = round(ratio, 1)
            return result


def median(runs: list[Measured]) -> dict[str, float]:
    """Median of each figure over the runs."""
    figures = [each.as_json() for each in runs]
    return {name: round(statistics.median(each[name] for each in figures)) for name in figures[0]}


def run_tocsin(settings: Settings, rules: Path, events: int, number: int) -> Measured:
    """One ingest worker from the start of the topics until every event is stored."""
    client = connect(settings)
    for table in ("events", "feed_minutes", "signals", "quarantine", "pipeline_metrics"):
        client.command(f"TRUNCATE TABLE {table}")
    environment = worker_environment(settings, rules) | {"TOCSIN_INGEST_GROUP": f"bench-{number}"}
    argv = [sys.executable, "-m", "processors", "ingest", "--instance", f"bench-{number}"]
    with running(argv, environment, settings.data_dir / "logs" / f"bench-{number}.log") as process:
        measured = measure(process, lambda: int(client.command("SELECT count() FROM events")), events)  # type: ignore[arg-type]
    client.close()
    return measured


def worker_environment(settings: Settings, rules: Path) -> dict[str, str]:
    """Environment of a worker that uses this platform and these rules."""
    named = {f"TOCSIN_{name.upper()}": str(value) for name, value in settings.model_dump().items() if value is not None}
    return {**os.environ, **named, "TOCSIN_RULES_PATH": str(rules)}


def matches(settings: Settings) -> int:
    """Events that met at least one rule in the last run."""
    client = connect(settings)
    try:
        return int(client.command("SELECT uniqExact(partner, event_id) FROM signals"))  # type: ignore[arg-type]
    finally:
        client.close()


def run_plain_faust(settings: Settings, rules: Path, events: int, number: int) -> Measured:
    """The plain Faust agent over the first ``events`` of the same topics."""
    argv = [sys.executable, "-m", "deploy.bench.plain_faust", "--bootstrap", settings.kafka_bootstrap]
    argv += ["--rules", str(rules), "--group", f"plain-faust-{number}"]
    with running(argv, dict(os.environ), None) as process:
        counts = {"processed": 0}

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(b"{"):
                    counts.update(json.loads(line))

        threading.Thread(target=read, daemon=True).start()
        return measure(process, lambda: counts["processed"], events)


@contextmanager
def running(argv: list[str], environment: dict[str, str], log: Path | None) -> Iterator[subprocess.Popen[bytes]]:
    """A child that ends with the block."""
    with log.open("wb") if log else open(os.devnull, "wb") as errors:
        process = subprocess.Popen(
            argv, env=environment, stdout=subprocess.PIPE if log is None else errors, stderr=errors
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def measure_limits(settings: Settings, records: list[EncodedRecord]) -> dict[str, int]:
    """What the parts could do at best: fastavro decoding these records, and aiokafka fetching them."""
    parsed = {topic_of(family): fastavro.parse_schema(load_schema(family)) for family in FAMILIES}
    some = records[:20_000]
    started = time.perf_counter()
    for topic, _, value in some:
        fastavro.schemaless_reader(io.BytesIO(value[5:]), parsed[topic])
    decoded = len(some) / (time.perf_counter() - started)
    return {
        "fastavro_decode_per_s": round(decoded),
        "getmany_per_s": round(asyncio.run(_getmany(settings.kafka_bootstrap, len(records)))),
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
