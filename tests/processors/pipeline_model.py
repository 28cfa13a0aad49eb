"""The stream in one process, with everything that can go wrong: partitions read in any interleaving and slicing, events
that arrive late or twice, ingest and correlation workers that die between checkpoints or in the middle of one, groups
that move to another worker. Lateness, windows, state and the order of effects are the product's own code.
"""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass, field

import numpy as np

from processors.conclude import Effects
from processors.correlate_worker import Report, Shard
from processors.correlator import Correlator, StateKey
from processors.rulebook import Rulebook
from processors.signals import SignalMaker
from schemas.alerts import SIGNALS_TOPIC, Alert, Signal
from streams.watermarks import Watermarks, event_partitions
from tests.processors.by_hand import read_alerts

TOPIC = "events.tip_report.v1"
NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
Write = tuple[StateKey | None, bytes | dict[int, int] | None]
"""A record of the state topic: of a group, or (without key) how far event time has come."""


@dataclass(frozen=True)
class Event:
    """One event: its piece of evidence for each base rule that it meets, by rule id. ``at`` in microseconds."""

    at: int
    pieces: tuple[tuple[str, tuple[object, ...]], ...]


@dataclass
class Log:
    """A partition of ``signals.v1``: signals as bytes, reports as dicts."""

    records: list[bytes | Report] = field(default_factory=list)
    committed: int = 0
    states: dict[StateKey, bytes] = field(default_factory=dict)
    lows: dict[int, int] = field(default_factory=dict)


class Stream:
    """``event_logs`` are the event partitions, in offset order."""

    def __init__(self, book: Rulebook, event_logs: list[list[Event]], lateness_s: int, rng: random.Random) -> None:
        self.book, self.event_logs, self.rng, self.lateness_s = book, event_logs, rng, lateness_s
        self.maker = SignalMaker(book, lateness_s)
        self.logs = [Log() for _ in event_logs]
        self.shards: dict[int, Shard] = {}
        self.read = [0] * len(event_logs)
        self.saved: list[tuple[int, int | None]] = [(0, None)] * len(event_logs)
        self.watermarks = Watermarks()
        self.alerts: dict[str, Alert] = {}
        self.passed: dict[int, dict[str, int]] = {}
        self.deaths = 6

    def run(self) -> dict[str, frozenset[tuple[str, str, str]]]:
        """Play everything to its end; alert id -> evidence of the alerts that are open then."""
        while any(at < len(log) for at, log in zip(self.read, self.event_logs, strict=True)):
            self._ingest()
            self._correlate()
        for _ in range(3):  # reports are repeated: a worker that took over after the last one needs another
            self._end()
            self.passed.clear()
            while any(log.committed < len(log.records) for log in self.logs):
                self._correlate()
            self.deaths = 0
        return {
            key: frozenset((e.partner, e.event_id, e.rule_id) for e in alert.evidence)
            for key, alert in self.alerts.items()
            if alert.status == "open"
        }

    def _ingest(self) -> None:
        number = self.rng.randrange(len(self.event_logs))
        start = self.read[number]
        batch = self.event_logs[number][start : start + self.rng.randint(1, 6)]
        behind = self.watermarks.advance(TOPIC, number, np.array([each.at for each in batch], dtype=np.int64))
        for event, how_far in zip(batch, behind.tolist(), strict=True):
            for rule_id, piece in event.pieces:
                detection = self.book.by_id[rule_id]
                for signal in self.maker.of_event(detection, list(piece), how_far):  # type: ignore[arg-type]
                    self._send(signal)
        self.read[number] = start + len(batch)
        match self.rng.random():
            case dice if dice < 0.2 and self._dies():  # everything since the last checkpoint comes again
                self.read = [at for at, _ in self.saved]
                self.watermarks.by_partition = {
                    (TOPIC, each): mark for each, (_, mark) in enumerate(self.saved) if mark is not None
                }
            case dice if dice < 0.7:
                marks = self.watermarks.by_partition
                self.saved = [(at, marks.get((TOPIC, each))) for each, at in enumerate(self.read)]
                self._report()

    def _report(self) -> None:
        """What ingest workers say: nothing yet of partitions not begun, null of those read to their end."""
        report: dict[str, int | None] = dict.fromkeys(event_partitions(len(self.event_logs)))
        for number, log in enumerate(self.event_logs):
            name = f"{TOPIC}/{number}"
            mark = self.watermarks.by_partition.get((TOPIC, number))
            if mark is None and log:
                del report[name]
            elif self.read[number] < len(log) or self.rng.random() < 0.5:
                report[name] = mark
        for signals in self.logs:
            signals.records.append({"watermarks": report})

    def _end(self) -> None:
        """All is read: event time is where the partition that came farthest is."""
        latest = max(self.watermarks.by_partition.values(), default=None)
        report: Report = {"watermarks": dict.fromkeys(event_partitions(len(self.event_logs))), "furthest": latest}
        for signals in self.logs:
            signals.records.append(report)

    def _send(self, signal: Signal) -> None:
        self.logs[sum(signal.key.encode()) % len(self.logs)].records.append(signal.to_bytes())

    def _correlate(self) -> None:
        number = self.rng.randrange(len(self.logs))
        log = self.logs[number]
        shard = self.shards.get(number)
        if shard is None:
            shard = self.shards[number] = Shard(Correlator(self.book, self.lateness_s), len(self.event_logs))
            again = shard.correlator.restore(log.states, log.lows, NOW)
            if self._dies():  # before it tells again
                del self.shards[number]
                return
            self._tell(again)
        batch = log.records[log.committed : log.committed + self.rng.randint(1, 8)]
        effects = shard.correlator.add([Signal.from_bytes(each) for each in batch if isinstance(each, bytes)], NOW)
        writes: list[Write] = list(shard.correlator.changed().items())
        for report in (each for each in batch if isinstance(each, dict)):
            shard.report(report)
        passed = shard.passed()
        writes.append((None, passed))
        for depth, value in passed.items():
            effects.extend(shard.correlator.advance(value, NOW, depth))
        writes += shard.correlator.changed().items()
        if self._dies():  # while it writes: what was sent first is there, nothing was told
            self._write(log, writes[: self.rng.randint(0, len(writes))])
            del self.shards[number]
            return
        self._write(log, writes)
        if self._dies():  # before it tells what it knows
            del self.shards[number]
            return
        self._tell(effects)
        given_up: list[Write] = list(shard.correlator.forget()[0].items())
        if self._dies():  # while it forgets
            self._write(log, given_up[: self.rng.randint(0, len(given_up))])
            del self.shards[number]
            return
        self._write(log, given_up)
        self._pass_on(number, passed)
        if self._dies():  # before it commits
            del self.shards[number]
            return
        log.committed += len(batch)
        if self._dies():  # after all: another worker takes over
            del self.shards[number]

    def _dies(self) -> bool:
        # Each death makes work for the next worker; without an end to them the end would not come.
        dies = self.deaths > 0 and self.rng.random() < 0.2
        self.deaths -= dies
        return dies

    def _write(self, log: Log, writes: list[Write]) -> None:
        for key, state in writes:
            if key is None:
                log.lows = dict(state)  # type: ignore[arg-type]
            elif state is None:
                log.states.pop(key, None)
            else:
                log.states[key] = state  # type: ignore[assignment]

    def _tell(self, effects: Effects) -> None:
        for alert in read_alerts(effects.alerts):
            known = self.alerts.get(alert.alert_id)
            if known is None or alert.version >= known.version:
                self.alerts[alert.alert_id] = alert
        for signal in effects.signals:
            self._send(signal)

    def _pass_on(self, number: int, passed: dict[int, int]) -> None:
        deepest = max(each.depth for each in self.book.correlations)
        report = {f"{SIGNALS_TOPIC}/{number}#{depth}": low for depth, low in passed.items() if depth < deepest}
        if report and report != self.passed.get(number):
            self.passed[number] = report
            for log in self.logs:
                log.records.append({"watermarks": report})
