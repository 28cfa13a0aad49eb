"""Kill -9, a broker restart and half a minute without ClickHouse: nothing lost, nothing twice, the same alerts.

The same encoded records go through two platforms beside each other, one left alone and one disturbed.
``TOCSIN_RECOVERY_EVENTS`` sets how many events there are.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deploy.demo.scenarios import expected
from deploy.loadgen import EncodedRecord, encode_scenarios, generate_encoded, produce_encoded
from deploy.parts import worker_part
from schemas.registry import FAMILIES
from schemas.settings import Settings
from tests.stack import Stack, running_stack

EVENTS = int(os.environ.get("TOCSIN_RECOVERY_EVENTS", "120000"))
RUNS = 20
"""Scenario runs strewn over the background, so that a kill meets situations half seen."""
KILLS = 5
STORE_AWAY_S = 30.0
SLICES = 10
RULES = Path(__file__).with_name("rules.yml")
DONE_S = 120.0

Evidence = frozenset[tuple[str, str, str]]


@dataclass
class Account:
    """What was done to the platforms, second by second: printed, so that pytest shows it with a failure or with -s."""

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


def last_of_all(schema_ids: dict[str, int], until: dt.datetime) -> list[EncodedRecord]:
    """One event well after all others: event time passes what absence waits for."""
    return generate_encoded(1, 12, ["tip_report"], schema_ids, until=until + dt.timedelta(seconds=240))


def rules_for(folder: Path) -> Path:
    """The shipped rules, and those of this test."""
    shutil.copytree(Settings().rules_path, folder / "rules")
    shutil.copy(RULES, folder / "rules" / "recovery.yml")
    return folder / "rules"


def slices(records: list[EncodedRecord]) -> Iterator[list[EncodedRecord]]:
    size = -(-len(records) // SLICES)
    return iter([records[start : start + size] for start in range(0, len(records), size)])


@dataclass(frozen=True)
class Result:
    """Events in the store after and before ``FINAL``, and the evidence of each open alert."""

    stored: int
    distinct: int
    rows: int
    signals: int
    alerts: dict[str, Evidence]
    records: list[dict[str, Any]]


def result(stack: Stack, until: dt.datetime) -> Result:
    def alerts() -> dict[str, Evidence]:
        return {
            each["alert_id"]: frozenset((e["partner"], e["event_id"], e["rule_id"]) for e in each["evidence"])
            for each in stack.alerts()
        }

    stack.wait_ingested(DONE_S)
    produce_encoded(stack.settings, last_of_all(stack.schema_ids, until))
    stack.wait_ingested(DONE_S)
    stack.wait_until(lambda: stack.signals_lag() < 20, DONE_S, "every signal correlated")
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


def undisturbed(
    folder: Path,
    rules: Path,
    schema_ids: dict[str, int],
    records: list[EncodedRecord],
    until: dt.datetime,
    account: Account,
) -> Result:
    """What comes of the records on a platform of their own that is left alone."""
    with running_stack(folder, rules_path=rules) as stack:
        assert stack.schema_ids == schema_ids, "the same bytes do not mean the same in both registries"
        for part in slices(records):
            produce_encoded(stack.settings, part)
        account.say(f"undisturbed: {len(records):,} records published")
        found = result(stack, until)
        account.say(f"undisturbed: {found.stored:,} events stored, {len(found.alerts)} alerts")
        return found


class Disturber:
    """Publishes slice by slice to a platform and does it harm."""

    def __init__(self, stack: Stack, records: list[EncodedRecord], account: Account) -> None:
        self._stack, self._slices, self._account = stack, slices(records), account
        self._rng = random.Random(time.time_ns())
        self._published = 0
        self.kills: list[tuple[int, int]] = []
        """Events committed, and published but not committed, at each kill of the ingest worker."""

    def publish(self) -> None:
        part = next(self._slices)
        produce_encoded(self._stack.settings, part)
        self._published += len(part)
        self._account.say(f"{len(part):,} records published")

    def publish_rest(self) -> None:
        with contextlib.suppress(StopIteration):
            while True:
                self.publish()

    def wait_for_a_commit(self) -> None:
        """Wait until the ingest worker commits something more, or has nothing left to commit."""
        before = self._stack.lag()
        self._stack.wait_until(lambda: (now := self._stack.lag()) == 0 or now < before, 60, "ingest commits")

    def kill(self, name: str) -> None:
        """Kill -9, at a random moment within a second from now once the worker has partitions."""
        pid = working_pid(self._stack, name)
        time.sleep(self._rng.uniform(0.0, 1.0))
        detail = ""
        if name == "ingest-0":
            lag = self._stack.lag()
            self.kills.append((self._published - lag, lag))
            detail = f", {self._published - lag:,} events committed, {lag:,} not"
        self._stack.part(name).kill()
        self._stack.wait_until(lambda: self._stack.part(name).pid != pid, 20, f"{name} gone")
        self._account.say(f"{name} (process {pid}) killed with -9{detail}")

    def kill_half_way(self) -> None:
        """Kill the ingest worker when it has committed some of its work and has some left."""
        self.wait_for_a_commit()
        self.publish()
        self.kill("ingest-0")

    @contextlib.contextmanager
    def away(self, name: str, seconds: float) -> Iterator[None]:
        """Stop a part and start it again, ``seconds`` later at the earliest."""
        part = self._stack.part(name)
        part.stop()
        stopped = time.monotonic()
        self._account.say(f"{name} stopped")
        yield
        time.sleep(max(0.0, seconds - (time.monotonic() - stopped)))
        part.start(90)
        self._account.say(f"{name} serves again after {time.monotonic() - stopped:.0f} s")

    @contextlib.contextmanager
    def second_workers(self) -> Iterator[None]:
        """One more worker of each kind takes over part of the partitions, and gives them back."""
        names = [f"{kind}-1" for kind in ("ingest", "correlate")]
        self._stack.platform.add_parts([worker_part(self._stack.settings, name[:-2], "1") for name in names])
        for name in names:
            working_pid(self._stack, name)
        self._account.say("two workers of each kind")
        yield
        for name in names:
            self._stack.part(name).stop()
        self._account.say("one worker of each kind")


def disturbed(stack: Stack, records: list[EncodedRecord], until: dt.datetime, account: Account) -> Result:
    harm = Disturber(stack, records, account)
    harm.publish()
    harm.kill("ingest-0")
    harm.kill_half_way()
    harm.publish()
    with harm.away("clickhouse", STORE_AWAY_S):
        harm.kill("ingest-0")
        harm.kill("correlate-0")
        harm.publish()
        working_pid(stack, "ingest-0")
    harm.kill_half_way()
    harm.wait_for_a_commit()
    harm.publish()
    with harm.away("kafka", 0):
        pass
    harm.kill("correlate-0")
    harm.kill_half_way()
    harm.publish()
    with harm.second_workers():
        harm.wait_for_a_commit()
        harm.publish()
        harm.wait_for_a_commit()
    harm.publish_rest()
    assert len(harm.kills) == KILLS
    assert all(lag for _, lag in harm.kills), f"the worker had nothing to do when it was killed: {harm.kills}"
    assert len({committed for committed, _ in harm.kills}) >= 3, f"no progress between the kills: {harm.kills}"
    found = result(stack, until)
    restarts = {name: stack.part(name).restarts for name in ("ingest-0", "correlate-0", "kafka", "clickhouse")}
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


def test_kills_and_outages_change_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("recovery")
    rules, until = rules_for(folder), dt.datetime.now(dt.UTC)
    account = Account()
    with ThreadPoolExecutor(1) as beside:
        with running_stack(folder / "disturbed", rules_path=rules) as stack:
            account.say("started")
            records = records_for(stack.schema_ids, until)
            # The disturbed one mostly waits for what was killed to come back.
            other = beside.submit(undisturbed, folder / "undisturbed", rules, stack.schema_ids, records, until, account)
            rough = disturbed(stack, records, until, account)
        plain = other.result()
    published = len(records) + 1
    assert (plain.stored, plain.distinct) == (published, published)
    assert (rough.stored, rough.distinct) == (published, published)
    assert rough.signals == plain.signals
    ours = {
        alert["alert_id"]: alert["rule"]["title"] for alert in plain.records if "Recovery" in alert["rule"]["title"]
    }
    titles = Counter(ours.values())
    account.say(f"alerts of the rules of this test: {dict(titles)}")
    assert len(titles) == 4
    wanted = list(itertools.chain.from_iterable(expected(f"recovery-{run}") for run in range(RUNS)))
    missing = [each for each in wanted if not any(each.met_by(alert) for alert in plain.records)]
    assert not missing, missing[:3]
    assert len(plain.alerts) == len(wanted) + len(ours)
    assert differing(plain.alerts, rough.alerts) == {}
