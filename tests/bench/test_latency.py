"""The steady load on the real platform: every event arrives, and what is readable is found with its delay."""

from __future__ import annotations

import time

from deploy.bench.latency import SECONDS, STEADY_AFTER_S, Generator, Watch
from tests.stack import Stack

RATE = 50


def test_the_delay_of_what_a_generator_publishes_is_seen(stack: Stack) -> None:
    before = stack.rows("SELECT count() FROM events")[0][0]
    client = stack.clickhouse()
    watch = Watch(client)
    generator = Generator(stack.settings.kafka_bootstrap, stack.schema_ids, RATE, 5)
    while generator.running:
        watch.ask()
        time.sleep(0.1)
    sent = generator.result()
    assert sent["count"] == RATE * SECONDS
    watch.wait(lambda: stack.rows("SELECT count() FROM events")[0][0] - before, RATE * int(SECONDS))
    figures = watch.figures(sent["since"])
    client.close()
    assert 0 < figures["event"]["p50"] <= figures["event"]["p99"] < 60_000
    steady = stack.rows(
        "SELECT count() FROM events WHERE published_at >= fromUnixTimestamp64Milli({since:Int64})",
        since=int(sent["since"] * 1000),
    )
    assert steady[0][0] >= RATE * (SECONDS - STEADY_AFTER_S) * 0.8
