"""Latency under a steady load: from the publication of an event to its handling, at half the rate that was reached."""

from __future__ import annotations

import datetime as dt
import time

from confluent_kafka import Producer

from deploy.bench.workload import FAMILIES
from deploy.loadgen import generate_encoded

SECONDS = 8.0
MAX_RATE = 20_000
"""One Python process paces no more than this."""
SLICE_S = 0.02
GENERATED_PER_S = 20_000


def publish_steadily(bootstrap: str, schema_ids: dict[str, int], rate: float, seed: int) -> tuple[int, dt.datetime]:
    """Publish for 8 s at ``rate`` events a second, at most 20,000; each event says when it was due.

    Returns:
        How many, and the time from which they count: two seconds in, when the load is steady.

    Raises:
        RuntimeError: the machine was too busy to make the events in time.
    """
    count = int(min(rate, MAX_RATE) * SECONDS)
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 5, "compression.type": "zstd"})
    # Events carry the times at which they are due, so they must all be made before the first of them.
    start = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=5 + count / GENERATED_PER_S)
    end = start + dt.timedelta(seconds=SECONDS)
    records = generate_encoded(count, seed, FAMILIES, schema_ids, until=end, spread_s=SECONDS)
    wait_s = start.timestamp() - time.time()
    if wait_s < 0:
        raise RuntimeError(f"making {count:,} events took {-wait_s:.1f} s too long: the machine is too busy to measure")
    time.sleep(wait_s)
    sent = 0
    while sent < count:
        due = min(count, int((time.time() - start.timestamp()) / SECONDS * count))
        for topic, key, value in records[sent:due]:
            producer.produce(topic, value, key)
        sent = max(due, sent)
        producer.poll(0)
        time.sleep(SLICE_S)
    producer.flush(30)
    return count, start + dt.timedelta(seconds=2)
