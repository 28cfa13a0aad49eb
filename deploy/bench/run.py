"""The whole bench: fill the topics once, then measure one system after the other on them."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
from aiokafka import AIOKafkaConsumer
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from deploy.bench.peers import Peer
from deploy.bench.tocsin import Say, Tocsin
from deploy.bench.workload import CORRELATIONS, FAMILIES, write_rules
from deploy.embedded.platform import Platform
from deploy.loadgen import EncodedRecord, generate_encoded, produce_encoded
from deploy.prepare import prepare
from schemas.registry import load_schema, topic_of
from schemas.settings import Settings
from streams.kafka import broker_credentials

PEER_SHARE = 10
"""A peer that is slower gets one part in ten of the events: its rate does not depend on their number."""
PEER_LEAST = 20_000
CHUNK = 500_000
CHUNK_S = 60.0
"""Seconds of event time over which that many events spread."""


class UnequalError(RuntimeError):
    """Two systems found different matches in the same events: one of them does not do the job."""


@dataclass(frozen=True)
class Plan:
    """What to measure. ``rules`` are numbers of detections; peers and latency are measured with the first of them."""

    events: int = 500_000
    rules: tuple[int, ...] = (100,)
    peers: tuple[str, ...] = ()
    partitions: int = 1
    workers: int = 1
    runs: int = 1
    seed: int = 7
    store: bool = True
    latency: bool = True


def bench(plan: Plan, say: Say) -> dict[str, Any]:
    """Run the bench on a platform of its own in a temporary folder; returns what ``tocsin bench --json`` prints.

    Raises:
        StalledError: a measured process died or stopped.
        UnequalError: the systems disagree.
    """
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        data = Path(folder)
        rules: dict[int, Path] = {}
        for count in plan.rules:
            say(f"drawing {count:,} rules")
            rules[count] = write_rules(data / f"rules-{count}", count, plan.seed)
        with Platform(data / "platform") as platform:
            say("starting Kafka, registry and ClickHouse")
            platform.start()
            settings = platform.update_endpoints(topic_partitions=plan.partitions, store=plan.store)
            return Bench(plan, settings, prepare(settings).schema_ids, rules, say).run()


@dataclass
class Bench:
    """One bench on a running platform."""

    plan: Plan
    settings: Settings
    ids: dict[str, int]
    rules: dict[int, Path]
    say: Say

    def run(self) -> dict[str, Any]:
        plan = self.plan
        first = self.rules[plan.rules[0]]
        part = min(max(plan.events // PEER_SHARE, PEER_LEAST), plan.events) if plan.peers else 0
        end = dt.datetime.now(dt.UTC)
        # Peers first, on a part that is then all that there is: so all of them handle the very same events.
        some = self._fill(0, part, end)
        peers = {name: Peer(name, self.settings, self.ids, plan.seed, self.say) for name in plan.peers}
        found = {name: peer.bench(first, part, plan.runs) for name, peer in peers.items()}
        some = self._fill(part, plan.events, end) or some
        limits = measure_limits(self.settings, some, plan.events)
        tocsin = Tocsin(self.settings, self.ids, plan.workers, plan.seed, self.say, plan.events)
        results: list[dict[str, Any]] = []
        # The first number of rules last: its steady loads add events to the topics.
        for count in reversed(plan.rules):
            ours = tocsin.bench(self.rules[count], plan.runs, plan.latency and count == plan.rules[0])
            workload = self._workload(count, some) | {"events_matched": ours["events_matched"]}
            results.insert(0, {"workload": workload, "tocsin": ours, "limits": limits})
        if part:
            self._compare(found, tocsin.matched_until(self._last_us(part, end)))
        figures: dict[str, Any] = {}
        for name, (measured, per_s) in found.items():
            latency = peers[name].latency(first, per_s) if plan.latency else {}
            times = round(results[0]["tocsin"]["events_per_s"] / measured["events_per_s"], 1)
            figures[name] = {**measured, "events": part, "latency_ms": latency, "tocsin_is_times_faster": times}
        return {**results[0], "peers": figures, "runs": results}

    def _fill(self, begin: int, end: int, now: dt.datetime) -> list[EncodedRecord]:
        """Put the events number ``begin`` to ``end`` into the topics, event time in order; returns some of them."""
        some: list[EncodedRecord] = []
        for start in range(begin, end, CHUNK):
            count = min(CHUNK, end - start)
            self.say(f"filling the topics with {count:,} events")
            some = generate_encoded(
                count,
                self.plan.seed + start,
                FAMILIES,
                self.ids,
                until=self._time_of(start + count, now),
                spread_s=(count - 1) / CHUNK * CHUNK_S,
            )
            produce_encoded(self.settings, some)
        return some

    def _time_of(self, number: int, now: dt.datetime) -> dt.datetime:
        return now - dt.timedelta(seconds=(self.plan.events - number) / CHUNK * CHUNK_S)

    def _last_us(self, number: int, now: dt.datetime) -> int:
        return int(self._time_of(number, now).timestamp() * 1_000_000)

    def _compare(self, found: dict[str, tuple[dict[str, Any], float]], ours: int) -> None:
        for name, (measured, _) in found.items():
            if measured["events_matched"] != ours:
                raise UnequalError(f"of the same events {name} matched {measured['events_matched']:,}, Tocsin {ours:,}")

    def _workload(self, rules: int, some: Sequence[EncodedRecord]) -> dict[str, Any]:
        return {
            "events": self.plan.events,
            "rules": rules,
            "correlations": min(rules, len(CORRELATIONS)),
            "families": list(FAMILIES),
            "partitions": self.plan.partitions,
            "workers": self.plan.workers,
            "store": self.plan.store,
            "seed": self.plan.seed,
            "bytes_per_event": round(sum(len(value) for _, _, value in some) / len(some)),
            "processors": os.cpu_count(),
        }


def measure_limits(settings: Settings, records: Sequence[EncodedRecord], total: int) -> dict[str, int]:
    """What the parts could do at best: fastavro decoding these records, and aiokafka fetching them."""
    parsed = {topic_of(family): fastavro.parse_schema(load_schema(family)) for family in FAMILIES}
    some = records[:20_000]
    started = time.perf_counter()
    for topic, _, value in some:
        fastavro.schemaless_reader(io.BytesIO(value[5:]), parsed[topic])
    decoded = len(some) / (time.perf_counter() - started)
    return {
        "fastavro_decode_per_s": round(decoded),
        "getmany_per_s": round(asyncio.run(_getmany(settings, total))),
    }


async def _getmany(settings: Settings, total: int) -> float:
    consumer = AIOKafkaConsumer(
        *(topic_of(family) for family in FAMILIES),
        bootstrap_servers=settings.kafka_bootstrap,
        **credentials_to_aiokafka_auth(broker_credentials(settings)),
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
