"""Kill -9, a broker restart and half a minute without ClickHouse: nothing lost, nothing twice, the same alerts.

The same encoded records go through two platforms, one left alone and one disturbed. ``TOCSIN_RECOVERY_EVENTS`` sets
how many events there are.
"""

from __future__ import annotations

import datetime as dt
import itertools
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from deploy.demo.scenarios import expected
from deploy.embedded.checks import CommittedProgress
from deploy.loadgen import EncodedRecord, encode_scenarios, generate_encoded, produce_encoded
from schemas.registry import FAMILIES
from schemas.settings import Settings
from tests.stack import Stack, running_stack

EVENTS = int(os.environ.get("TOCSIN_RECOVERY_EVENTS", "300000"))
RUNS = 20
"""Scenario runs strewn over the background, so that a kill meets situations half seen."""
KILLS = 5
STORE_AWAY_S = 30.0
SLICES = 8
DONE_S = 120.0

Evidence = frozenset[tuple[str, str, str]]


@dataclass
class Account:
    """What was done to a platform, second by second."""

    started: float = field(default_factory=time.monotonic)
    lines: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.lines.append(f"{time.monotonic() - self.started:6.1f} s  {text}")
        print(self.lines[-1], flush=True)


def records_for(schema_ids: dict[str, int], until: dt.datetime) -> list[EncodedRecord]:
    """Background events with the scenarios' events spread among them: the same for the same arguments."""
    rng = random.Random(4)
    strewn = [each for run in range(RUNS) for each in encode_scenarios(f"recovery-{run}", schema_ids, until)]
    rng.shuffle(strewn)
    families = [family for family in FAMILIES if family != "heartbeat"]
    background = generate_encoded(EVENTS - len(strewn), 11, families, schema_ids, until=until)
    step = len(background) // len(strewn)
    mixed: list[EncodedRecord] = []
    for number, each in enumerate(strewn):
        mixed += [*background[number * step : (number + 1) * step], each]
    return mixed + background[len(strewn) * step :]


def slices(records: list[EncodedRecord]) -> Iterator[list[EncodedRecord]]:
    size = -(-len(records) // SLICES)
    return iter([records[start : start + size] for start in range(0, len(records), size)])


def signals_lag(settings: Settings) -> int:
    progress = CommittedProgress(settings.kafka_bootstrap, settings.correlate_group, ["signals.v1"])
    return sum(end - committed for committed, end in progress.read().values())


@dataclass(frozen=True)
class Result:
    """Events in the store after and before ``FINAL``, and the evidence of each open alert."""

    stored: int
    distinct: int
    rows: int
    signals: int
    alerts: dict[str, Evidence]
    records: list[dict[str, Any]]


def result(stack: Stack) -> Result:
    def alerts() -> dict[str, Evidence]:
        return {
            each["alert_id"]: frozenset((e["partner"], e["event_id"], e["rule_id"]) for e in each["evidence"])
            for each in stack.alerts()
        }

    stack.wait_ingested(DONE_S)
    stack.wait_until(lambda: signals_lag(stack.settings) < 20, DONE_S, "every signal correlated")
    before = alerts()
    while True:  # watermarks keep coming, so the lag of signals never rests at zero
        time.sleep(3)
        now = alerts()
        if now == before:
            break
        before = now
    distinct, rows = stack.rows("SELECT uniqExact(partner, event_id), count() FROM events")[0]
    signals = stack.rows("SELECT count() FROM signals FINAL")[0][0]
    return Result(stack.stored(), distinct, rows, signals, now, stack.alerts())


def working_pid(stack: Stack, name: str) -> int:
    """Process id of a worker that has partitions."""
    handle = stack.part(name)

    def ready() -> int:
        return (handle.state == "ready" and handle.pid) or 0

    return int(stack.wait_until(ready, 60, f"{name} at work"))


def undisturbed(stack: Stack, records: list[EncodedRecord], account: Account) -> Result:
    for part in slices(records):
        produce_encoded(stack.settings.kafka_bootstrap, part)
    account.say(f"undisturbed: {len(records):,} records published")
    found = result(stack)
    account.say(f"undisturbed: {found.stored:,} events stored, {len(found.alerts)} alerts")
    return found


def disturbed(stack: Stack, records: list[EncodedRecord], account: Account) -> Result:
    """Publish slice by slice; before each slice is worked off, something happens."""
    rng = random.Random(time.time_ns())
    parts = slices(records)
    platform = stack.platform
    behind: list[int] = []

    def publish() -> None:
        part = next(parts)
        produce_encoded(stack.settings.kafka_bootstrap, part)
        account.say(f"{len(part):,} records published")

    def kill(name: str) -> None:
        pid = working_pid(stack, name)
        time.sleep(rng.uniform(0.0, 1.0))
        if name == "ingest-0":
            behind.append(stack.lag())
        platform.part(name).kill()
        stack.wait_until(lambda: platform.part(name).pid != pid, 20, f"{name} gone")
        account.say(f"{name} (process {pid}) killed with -9, {behind[-1]:,} events not committed")

    publish()
    kill("ingest-0")
    publish()
    kill("ingest-0")
    publish()
    platform.part("clickhouse").stop()
    away = time.monotonic()
    account.say("ClickHouse stopped")
    kill("ingest-0")
    kill("correlate-0")
    publish()
    working_pid(stack, "ingest-0")
    time.sleep(max(0.0, STORE_AWAY_S - (time.monotonic() - away)))
    platform.part("clickhouse").start(60)
    account.say(f"ClickHouse back after {time.monotonic() - away:.0f} s")
    publish()
    kill("ingest-0")
    publish()
    working_pid(stack, "ingest-0")
    platform.part("kafka").stop()
    account.say("broker stopped")
    platform.part("kafka").start(90)
    account.say("broker started")
    publish()
    kill("correlate-0")
    kill("ingest-0")
    for _ in range(SLICES - 7):
        publish()
    assert len(behind) == KILLS
    assert all(behind), f"the worker had nothing to do when it was killed: {behind}"
    found = result(stack)
    restarts = {name: platform.part(name).restarts for name in ("ingest-0", "correlate-0", "kafka", "clickhouse")}
    account.say(f"disturbed: {found.stored:,} events stored, {len(found.alerts)} alerts, restarts {restarts}")
    assert restarts["ingest-0"] >= KILLS
    assert restarts["correlate-0"] >= 2
    return found


def differing(one: dict[str, Evidence], other: dict[str, Evidence]) -> dict[str, tuple[int, int]]:
    return {
        each: (len(one.get(each, ())), len(other.get(each, ())))
        for each in one.keys() | other.keys()
        if one.get(each) != other.get(each)
    }


def test_kills_and_outages_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, capfd: pytest.CaptureFixture[str]
) -> None:
    with capfd.disabled():
        print()
        account = Account()
        with running_stack(tmp_path_factory.mktemp("undisturbed")) as stack:
            schema_ids = stack.schema_ids
            records = records_for(schema_ids, dt.datetime.now(dt.UTC))
            plain = undisturbed(stack, records, account)
        with running_stack(tmp_path_factory.mktemp("disturbed")) as stack:
            assert stack.schema_ids == schema_ids, "the same bytes do not mean the same in both registries"
            rough = disturbed(stack, records, account)
    published = len(records)
    assert (plain.stored, plain.distinct) == (published, published)
    assert (rough.stored, rough.distinct) == (published, published)
    assert rough.signals == plain.signals
    wanted = list(itertools.chain.from_iterable(expected(f"recovery-{run}") for run in range(RUNS)))
    missing = [each for each in wanted if not any(each.met_by(alert) for alert in plain.records)]
    assert not missing, missing[:3]
    assert len(plain.alerts) == len(wanted)
    assert differing(plain.alerts, rough.alerts) == {}
