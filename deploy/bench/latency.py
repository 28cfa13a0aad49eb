"""Latency under a steady load: a process of its own publishes, and the store is asked what can already be read.

Every event says when it was due, not when it was sent, so a load generator or broker that falls behind counts as
latency. What can be read is found by asking ClickHouse again and again, and since when by its log of parts: nothing
came to be readable between the last part before an answer and the answer. Of two parts between two answers the later
one counts, so all figures are upper bounds.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from clickhouse_connect.driver.client import Client
from confluent_kafka import Producer

from deploy.bench.measure import StalledError
from deploy.bench.workload import FAMILIES
from deploy.loadgen import templates, varint
from streams.ids import uuid7

SHARES = (0.25, 0.5, 0.8)
"""Of the rate that was reached."""
SECONDS = 8.0
STEADY_AFTER_S = 2.0
MAX_RATE = 150_000
"""One process paces no more than this."""
SLICE_S = 0.005
ASK_EVERY_S = 0.2
"""Each question costs the store some ten milliseconds of the processors that are being measured."""
PATIENCE_S = 60.0
DISTINCT = 10_000

Latency = dict[str, int]


def publish_steadily(bootstrap: str, schema_ids: dict[str, int], rate: float, seed: int) -> dict[str, float]:
    """Publish for 8 s at ``rate`` events a second.

    Returns:
        ``count``; ``since``, seconds since 1970 UTC from which the load is steady; and ``behind_s``, by how much the
        publishing was late at worst.
    """
    count = int(rate * SECONDS)
    drafts = templates(min(count, DISTINCT), seed, FAMILIES, schema_ids, dt.datetime.now(dt.UTC))
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "linger.ms": 50,
            # The cheapest, for the generator shares the machine with what is measured.
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
            "partitioner": "murmur2_random",
        }
    )
    producer.list_topics(timeout=10)
    # Ids: one UUID of version 7, its last 48 bits a running number.
    first = uuid7()[:24].encode()
    start = time.time() + 0.1
    print("started", flush=True)
    sent, behind = 0, 0.0
    while sent < count:
        now = time.time()
        due = min(count, int((now - start) / SECONDS * count))
        # All of a slice were due at its beginning.
        stamp = varint(int((start + sent / count * SECONDS) * 1_000_000))
        behind = max(behind, now - start - sent / count * SECONDS)
        for number in range(sent, due):
            topic, key, head, precision, tail = drafts[number % len(drafts)]
            producer.produce(topic, b"%b%b%012x%b%b%b%b" % (head, first, number, stamp, precision, stamp, tail), key)
        sent = max(sent, due)
        producer.poll(0)
        time.sleep(SLICE_S)
    producer.flush(30)
    return {"count": count, "since": start + STEADY_AFTER_S, "behind_s": round(behind, 3)}


class Generator:
    """The load generator as a process of its own."""

    def __init__(self, bootstrap: str, schema_ids: dict[str, int], rate: float, seed: int) -> None:
        argv = [sys.executable, "-m", "deploy.bench.latency", bootstrap, json.dumps(schema_ids), str(rate), str(seed)]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def steady(self, then: Callable[[], None]) -> dict[str, float]:
        """Wait for the end, with a call of ``then`` once the load is steady; what :func:`publish_steadily` returned.

        Raises:
            RuntimeError: it failed; the reason is on standard error.
        """
        assert self._process.stdout is not None
        self._process.stdout.readline()
        time.sleep(STEADY_AFTER_S)
        then()
        return self.result()

    def result(self) -> dict[str, float]:
        """Wait for the end; what :func:`publish_steadily` returned.

        Raises:
            RuntimeError: it failed; the reason is on standard error.
        """
        output, _ = self._process.communicate()
        if self._process.returncode:
            raise RuntimeError("the load generator failed")
        return json.loads(output.splitlines()[-1])  # type: ignore[no-any-return]


def levels(per_s: float) -> dict[str, float]:
    """Name and rate of each load."""
    return {f"{share:.0%}": min(per_s * share, MAX_RATE) for share in SHARES}


def percentiles(seconds: Any) -> Latency:
    """p50, p95 and p99 in milliseconds; empty where there is nothing."""
    if not len(seconds):
        return {}
    found = np.percentile(np.asarray(seconds), (50, 95, 99), method="inverted_cdf")
    return {name: round(float(each) * 1000) for name, each in zip(("p50", "p95", "p99"), found, strict=True)}


@dataclass
class Watch:
    """What could be read from the store, and from when on.

    While the load is on, only counts are asked for, which costs the store next to nothing: one ingest worker stores
    events in the order in which they were ingested, so afterwards it is known which of them a count included.
    """

    client: Client
    _begin_ms: int = field(default_factory=lambda: int(time.time() * 1000))
    _stored: list[tuple[float, int]] = field(default_factory=list)
    _told: int = -1
    _alerts: dict[tuple[str, int], tuple[float, float]] = field(default_factory=dict)

    def ask(self) -> None:
        """Note what can be read now."""
        counts = self.client.query("SELECT (SELECT count() FROM events), (SELECT count() FROM alerts)").result_rows
        ((events, told),) = counts
        if not self._stored or events > self._stored[-1][1]:
            self._stored.append((time.time(), events))
        if told == self._told:
            return
        self._told = told
        rows = self.client.query(
            "SELECT alert_id, version, toUnixTimestamp64Milli(published_at) FROM alerts "
            "WHERE published_at >= fromUnixTimestamp64Milli({begin:Int64})",
            parameters={"begin": self._begin_ms},
        ).result_rows
        now = time.time()
        for alert, version, published in rows:
            self._alerts.setdefault((alert, version), (published / 1000, now))

    def wait(self, done: Callable[[], int], total: int) -> None:
        """Ask until ``done()`` reaches ``total``.

        Raises:
            StalledError: that took too long.
        """
        deadline = time.monotonic() + PATIENCE_S
        while done() < total:
            if time.monotonic() > deadline:
                raise StalledError(f"the load was not worked off within {PATIENCE_S:.0f} s")
            self.ask()
            time.sleep(ASK_EVERY_S)
        self.ask()

    def figures(self, since: float) -> dict[str, Latency]:
        """From publication to being readable, for ``event``, and for ``alert`` (from its last evidence, to the first
        version with it); of what was published from ``since`` on, seconds since 1970 UTC."""
        ingested, published = self.client.query(
            "SELECT toUnixTimestamp64Milli(ingested_at) AS at, toUnixTimestamp64Milli(published_at) FROM events "
            "WHERE published_at >= fromUnixTimestamp64Milli({begin:Int64}) ORDER BY at",
            parameters={"begin": self._begin_ms},
        ).result_columns
        self.client.command("SYSTEM FLUSH LOGS part_log")
        asked, counts = np.array(self._stored).T
        times = _latest(self._parts("events"), asked)
        # Of those ingested at one time all had to be there.
        places = counts[0] + np.searchsorted(np.array(ingested), np.array(ingested), side="right")
        seconds = times[np.searchsorted(counts, places)] - np.array(published) / 1000
        told_at = self._parts("alerts")
        first: dict[tuple[str, float], float] = {}
        for (alert, _), (last, asked_at) in self._alerts.items():
            seen = float(_latest(told_at, asked_at))
            first[alert, last] = min(seen, first.get((alert, last), seen))
        alerts = [seen - last for (_, last), seen in first.items() if last >= since]
        return {"event": percentiles(seconds[np.array(published) >= since * 1000]), "alert": percentiles(alerts)}

    def _parts(self, table: str) -> npt.NDArray[np.float64]:
        """When the parts of a table became readable, as far as the log says: seconds since 1970 UTC, in order."""
        rows = self.client.query(
            "SELECT toUnixTimestamp64Micro(event_time_microseconds) AS at FROM system.part_log "
            "WHERE database = currentDatabase() AND table = {table:String} AND event_type = 'NewPart' ORDER BY at",
            parameters={"table": table},
        ).result_rows
        return np.array([at for (at,) in rows]) / 1e6


def _latest(times: npt.NDArray[np.float64], until: Any) -> Any:
    """The latest of ``times``, which are in order, that is not after each of ``until``; one there is."""
    return times[np.searchsorted(times, until, side="right") - 1]


def main() -> None:
    parser = argparse.ArgumentParser(description="Publish bench events at a steady rate for 8 s.")
    parser.add_argument("bootstrap")
    parser.add_argument("schema_ids", type=json.loads, help="JSON: family to schema id")
    parser.add_argument("rate", type=float, help="events a second")
    parser.add_argument("seed", type=int)
    arguments = parser.parse_args()
    print(json.dumps(publish_steadily(arguments.bootstrap, arguments.schema_ids, arguments.rate, arguments.seed)))


if __name__ == "__main__":
    main()
