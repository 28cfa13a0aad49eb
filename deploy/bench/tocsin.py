"""Tocsin as the bench measures it: its workers, from Kafka to events stored, rules matched and signals correlated."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, KafkaException, TopicPartition

from deploy.bench.latency import ASK_EVERY_S, Generator, Watch, levels
from deploy.bench.measure import Measured, Processes, StalledError, measure, median, running
from deploy.embedded.checks import admin, http_get
from deploy.embedded.services import base_environment
from deploy.parts import EVENT_TOPICS
from deploy.prepare import deploy_files
from schemas.alerts import ALERTS_TOPIC, SIGNALS_TOPIC, STATE_TOPIC, Signal
from schemas.settings import Settings
from streams.kafka import client_config
from streams.progress import CommittedProgress
from streams.store import connect
from streams.topics import ensure_topics

OWN_TOPICS = (SIGNALS_TOPIC, STATE_TOPIC, ALERTS_TOPIC)
TABLES = ("events", "feed_minutes", "signals", "alerts", "alert_evidence", "quarantine", "pipeline_metrics")
DURABLE = "tocsin_checkpoint_records_total "
CORRELATED = "tocsin_batch_records_sum "
Say = Callable[[str], None]


@dataclass
class Tocsin:
    """Workers on a running platform whose event topics hold ``published`` events; whoever publishes more counts them.

    ``settings.store`` False leaves ClickHouse out: then progress is what the workers say.
    """

    settings: Settings
    ids: dict[str, int]
    workers: int
    seed: int
    say: Say
    published: int = 0

    def bench(self, rules: Path, runs: int, latency: bool) -> dict[str, Any]:
        """Measure ``runs`` times from the start of the topics, and in the last also under steady loads.

        Raises:
            StalledError: a worker died or stopped, or events were refused.
        """
        measured: list[Measured] = []
        found: dict[str, Any] = {}
        for number in range(runs):
            self.say(f"measuring Tocsin, run {number + 1} of {runs}")
            self._start_anew(rules)
            group = f"bench-{time.time_ns()}"
            with self._workers(group) as processes:
                measured.append(measure(processes, self._done(group), self.published, self._ready))
                matched = read_signals(self.settings)
                found = {"events_matched": len(matched), "signals": sum(matched.values())}
                if self.settings.store:
                    found |= {"alerts": self._count("alerts"), "refused": self._count("quarantine")}
                if latency and self.settings.store and number == runs - 1:
                    found["latency_ms"] = self._latency(measured[-1].per_s, processes, self._done(group))
            if found.get("refused"):
                raise StalledError(f"{found['refused']:,} events were refused: see the table quarantine")
        return {**median(measured), "latency_ms": {}, **found}

    def matched_until(self, last_us: int) -> int:
        """Events that met a rule in the last run, of those that occurred until ``last_us``, microseconds since 1970."""
        return sum(occurred <= last_us for _, _, occurred in read_signals(self.settings))

    def _workers(self, group: str) -> AbstractContextManager[Processes]:
        groups = {"ingest_group": group, "correlate_group": f"{group}-correlate"}
        settings = self.settings.model_copy(update=groups)
        commands = {}
        for mark in self._marks():
            mark.unlink(missing_ok=True)
            worker, _, instance = mark.stem.partition("-")
            commands[mark.stem] = [sys.executable, "-m", "processors", worker, "--instance", instance]
        return running(commands, environment(settings), settings.data_dir / "logs" / group)

    def _start_anew(self, rules: Path) -> None:
        """Put the rules in force, and empty tables and topics of signals, state and alerts."""
        deploy_files(self.settings.model_copy(update={"rules_path": rules}))
        client = admin(self.settings)
        for future in client.delete_topics(list(OWN_TOPICS)).values():
            future.result(30)
        while set(OWN_TOPICS) & set(client.list_topics(timeout=10).topics):
            time.sleep(0.1)
        ensure_topics(self.settings)
        store = connect(self.settings)
        for table in TABLES:
            store.command(f"TRUNCATE TABLE {table}")
        store.close()

    def _marks(self) -> list[Path]:
        """Files that a worker writes when it has been given partitions."""
        names = [*(f"ingest-{number}" for number in range(self.workers)), "correlate-0"]
        return [self.settings.data_dir / "run" / f"{name}.json" for name in names]

    def _ready(self) -> bool:
        return all(mark.is_file() for mark in self._marks())

    def _done(self, group: str) -> Callable[[], int]:
        """Events that have had all their effects; the last one counts when the signals are worked off as well."""
        ingest = CommittedProgress(self.settings, group, EVENT_TOPICS)
        correlate = CommittedProgress(self.settings, f"{group}-correlate", (SIGNALS_TOPIC,))
        client = connect(self.settings) if self.settings.store else None

        def done() -> int:
            handled = _stored(client) if client else self._made_durable()
            if handled >= self.published and self.workers > 1:
                # What a rebalance has repeated was counted twice.
                handled = sum(committed for committed, _ in ingest.read().values())
            if handled < self.published:
                return handled
            ends = sum(end for _, end in correlate.read().values())
            return self.published - (self._count_of(self._marks()[-1:], CORRELATED) < ends)

        return done

    def _made_durable(self) -> int:
        """Records whose effects are durable, by the ingest workers' own count."""
        return self._count_of(self._marks()[: self.workers], DURABLE)

    def _count_of(self, marks: list[Path], metric: str) -> int:
        total = 0.0
        for mark in marks:
            if mark.is_file():
                port = json.loads(mark.read_text())["metrics_port"]
                _, body = http_get(f"http://127.0.0.1:{port}/metrics")
                total += sum(float(line.split()[1]) for line in body.decode().splitlines() if line.startswith(metric))
        return int(total)

    def _count(self, table: str) -> int:
        client = connect(self.settings)
        try:
            return int(client.query(f"SELECT count() FROM {table} FINAL").result_rows[0][0])
        finally:
            client.close()

    def _latency(self, per_s: float, processes: Processes, done: Callable[[], int]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for number, (name, rate) in enumerate(levels(per_s).items()):
            self.say(f"latency at {rate:,.0f} events/s")
            watch = Watch(connect(self.settings))
            generator = Generator(self.settings.kafka_bootstrap, self.ids, rate, self.seed + 1 + number)
            while generator.running:
                watch.ask()
                time.sleep(ASK_EVERY_S)
            sent = generator.result()
            self.published += int(sent["count"])
            watch.wait(done, self.published)
            found[name] = {"rate_per_s": round(rate), **watch.figures(sent["since"]), "behind_s": sent["behind_s"]}
            watch.client.close()
        return {**found["50%"]["event"], **found}


def _stored(client: Client) -> int:
    return int(client.query("SELECT count() FROM events").result_rows[0][0])


def environment(settings: Settings) -> Mapping[str, str]:
    """Environment of a process that is to have these settings."""
    values = {name: value for name, value in settings.model_dump(mode="json").items() if value is not None}
    # Lists and maps are read as JSON.
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    return {**base_environment(), **{f"TOCSIN_{name.upper()}": text for name, text in texts.items()}}


def read_signals(settings: Settings) -> dict[tuple[str, str, int], int]:
    """How many signals each event has led to that met a rule: partner, id and event time in microseconds since 1970.

    Raises:
        StalledError: the topic cannot be read to its end.
    """
    found: dict[tuple[str, str, int], int] = {}
    consumer = Consumer({**client_config(settings), "group.id": "bench-read", "enable.auto.commit": False})
    try:
        partitions = [TopicPartition(SIGNALS_TOPIC, number, 0) for number in range(settings.topic_partitions)]
        ends = {each.partition: consumer.get_watermark_offsets(each, timeout=10)[1] for each in partitions}
        consumer.assign([each for each in partitions if ends[each.partition]])
        while any(ends.values()):
            messages = consumer.consume(10_000, timeout=10)
            if not messages:
                raise StalledError(f"{SIGNALS_TOPIC} cannot be read to its end")
            for message in messages:
                if error := message.error():
                    raise KafkaException(error)
                number, offset = message.partition() or 0, message.offset() or 0
                if offset + 1 >= ends[number]:
                    ends[number] = 0
                try:
                    signal = Signal.from_bytes(message.value() or b"")
                except ValueError:  # a report of watermarks
                    continue
                key = signal.partner, signal.event_id, signal.occurred_us
                found[key] = found.get(key, 0) + 1
    finally:
        consumer.close()
    return found
