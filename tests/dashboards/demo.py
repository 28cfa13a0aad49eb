"""An hour of the demo in the store, without a broker: its events through the workers' own functions, one after another.

Partners' traffic with some bad input, two rounds of the exercise, the alerts that the shipped rules conclude, and what
officers do with them under the shipped on-call policy. Only deliveries are not made: each counts as sent.
"""

from __future__ import annotations

import datetime as dt
import random
from collections import defaultdict
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.feather as feather

from deploy.demo.bad_input import bad_record
from deploy.demo.scenarios import event_of, scenarios
from deploy.loadgen import EncodedRecord, encode_scenarios, generate_encoded
from processors.alerts import Telling
from processors.conclude import Effects as Conclusions
from processors.correlator import Correlator
from processors.ingest import Ingest
from processors.lifecycle.effects import Effects
from processors.lifecycle.engine import Lifecycle
from processors.lifecycle_rows import action_rows, delivery_rows, silence_rows, state_rows
from processors.oncall import OnCall
from processors.sink import alert_rows, evidence_rows, metric_rows
from processors.validate import Limits
from schemas.lifecycle import Action, AlertState, Command, Delivery, Matcher, Silence
from schemas.oncall import load_oncall
from schemas.partners import load_partners
from schemas.registry import RegisteredSchema, schema_text, subject_of
from schemas.settings import Settings
from streams.batching import PartitionBatch
from streams.metrics import LifecycleMetrics, Metrics
from streams.watermarks import Watermarks
from tests.dashboards.engine import EngineClient
from tests.demo.pipeline import EVENT_FAMILIES, SCHEMA_IDS, Record, shipped_rules
from tests.processors.by_hand import read_alerts

MINUTE: Final = dt.timedelta(minutes=1)
MINUTES: Final = 55
STEP: Final = 5
"""Minutes that are published at once: a step a minute would take three times as long to make."""
TRAFFIC: Final = 3_000
SAMPLES: Final = 30
ROUNDS: Final = {20: "run-1", 45: "run-2"}
"""Minute, and the round of the exercise that is published then."""
DONE: Final[dict[int, tuple[dict[str, Any], ...]]] = {
    25: (
        {"verb": "acknowledge"},
        {"verb": "assign", "assignee": "mira"},
        {"verb": "start"},
        {"verb": "acknowledge"},
        {"verb": "start"},
        {"verb": "acknowledge"},
    ),
    35: (
        {"verb": "note", "text": "Asked the partner for the passenger list."},
        {"verb": "note", "text": "Nothing new."},
        {"verb": "close", "verdict": "true_positive"},
        {"verb": "close", "verdict": "false_positive", "text": "Twins with one surname."},
        {"verb": "close", "verdict": "benign"},
        {"verb": "close", "verdict": "exercise"},
    ),
}
"""Minute, and what is asked of the first alerts, one of each."""


class Demo:
    """Feeds the parts and keeps what has to be stored."""

    def __init__(self) -> None:
        settings = Settings()
        book = shipped_rules()
        lookup = {
            number: RegisteredSchema(number, schema_text(family), (subject_of(family),))
            for family, number in SCHEMA_IDS.items()
        }
        limits = Limits(load_partners(settings.partners_file), settings.max_future_s)
        lateness_s = settings.allowed_lateness_s
        self._ingest = Ingest(book, limits, Watermarks(), lookup.get, settings.max_event_bytes, lateness_s)
        self._correlator = Correlator(book, lateness_s)
        self._lifecycle = Lifecycle(OnCall(load_oncall(settings.oncall_file)))
        self._offsets: dict[str, count[int]] = defaultdict(count)
        self._depths = range(1, 1 + max(each.depth for each in book.correlations))
        self._commands, self._latest = count(1), 0
        self.tables = defaultdict[str, list[pa.Table]](list)
        self.alerts: dict[str, Telling] = {}
        self.states: dict[str, AlertState] = {}
        self.silences: dict[str, Silence] = {}
        self.actions: list[Action] = []
        self.deliveries: list[Delivery] = []

    def publish(self, records: Iterable[EncodedRecord], now: dt.datetime) -> None:
        """What the ingest and correlation workers make of the records, at ``now``."""
        topics: dict[str, list[Record]] = defaultdict(list)
        for topic, key, value in records:
            topics[topic].append(Record(next(self._offsets[topic]), int(now.timestamp() * 1000), key, value))
        for topic, batch in topics.items():
            outcome = self._ingest.process(PartitionBatch(batch, topic, 0), now)
            for name, rows in outcome.tables.items():
                self.tables[name].append(rows)
            self._latest = max([self._latest, *(signal.occurred_us for signal in outcome.signals)])
            self._conclude(self._correlator.add(outcome.signals, now), now)
        for depth in self._depths:
            self._conclude(self._correlator.advance(self._latest, now, depth), now)

    def _conclude(self, found: Conclusions, now: dt.datetime) -> None:
        while found.alerts or found.signals:
            for draft, alert in zip(found.alerts, read_alerts(found.alerts), strict=True):
                self.alerts[alert.alert_id] = draft.tell()
                self._keep(self._lifecycle.on_alert(alert, now))
            found = self._correlator.add(found.signals, now)

    def ask(self, now: dt.datetime, **fields: Any) -> None:
        """What comes of a person's request."""
        command = Command(command_id=f"demo-{next(self._commands)}", by="mira", via="desk", at=now, **fields)
        self._keep(self._lifecycle.on_command(command, now))

    def tick(self, now: dt.datetime) -> None:
        """What the clock brings about: who has to be told is told."""
        self._keep(self._lifecycle.tick(now))
        for each in [each for each in self._lifecycle.notifications.values() if each.status == "pending"]:
            if each.due_at <= now:
                told = each.model_dump(include={"notification_id", "kind", "person", "group_key", "alert_ids"})
                delivery = Delivery(
                    delivery_id=f"{each.notification_id}/1",
                    attempt=1,
                    at=now,
                    channel="log",
                    address="log",
                    outcome="sent",
                    took_ms=3,
                    **told,
                )
                self.deliveries.append(delivery)
                self._keep(self._lifecycle.settled(each.notification_id, "sent", "log", each.attempts + 1, now))

    def _keep(self, effects: Effects) -> None:
        self.states |= {state.alert_id: state for state in effects.states}
        self.silences |= {silence.silence_id: silence for silence in effects.silences}
        self.actions += effects.actions
        self.deliveries += effects.unheard

    def rows(self, now: dt.datetime) -> dict[str, pa.Table]:
        """Everything by table."""
        told = list(self.alerts.values())
        found = {name: pa.concat_tables(parts, promote_options="default") for name, parts in self.tables.items()}
        return found | {
            "alerts": alert_rows([each.head for each in told], [each.record() for each in told]),
            "alert_evidence": evidence_rows(told, set()),
            "alert_states": state_rows(list(self.states.values())),
            "alert_actions": action_rows(self.actions),
            "notifications": delivery_rows(self.deliveries),
            "silences": silence_rows(list(self.silences.values()), now),
            "pipeline_metrics": pa.concat_tables(_samples(now)),
        }


def _samples(now: dt.datetime) -> Iterable[pa.Table]:
    """Samples of two workers every 20 seconds of the last ten minutes, as often as counters need to show a rate."""
    ingest, lifecycle = Metrics(), LifecycleMetrics()
    for number in range(SAMPLES):
        for partition in range(2):
            ingest.lag.labels("events.tip_report.v1", str(partition)).set(number % 7)
        ingest.batch_records.observe(40)
        ingest.stage_seconds.labels("process").observe(0.02)
        ingest.checkpoint_seconds.observe(0.2)
        ingest.inserted("events", 0.05)
        lifecycle.states.labels("open", "P4").set(number)
        lifecycle.pending_notifications.set(number % 3)
        lifecycle.rows_waiting.set(number % 5)
        lifecycle.watchdog_age_seconds.set(20)
        for worker, metrics in (("ingest-0", ingest), ("lifecycle-0", lifecycle)):
            yield metric_rows(worker, now - (SAMPLES - 1 - number) * MINUTE / 3, metrics.samples())


def _bad(now: dt.datetime) -> list[EncodedRecord]:
    step = scenarios("run-1")[0].steps[0]
    made = [
        bad_record(reason, step.family, event_of(step, now, random.Random(1)), SCHEMA_IDS)
        for reason in ("undecodable", "occurred_in_future")
    ]
    return [(each.topic, each.key, each.value) for each in made]


def fill(engine: EngineClient, folder: Path, now: dt.datetime) -> None:
    """Put the hour that ends at ``now`` (aware) into the store; ``folder`` is for files on the way there."""
    demo = Demo()
    spread_s = MINUTES * 60.0
    traffic = generate_encoded(TRAFFIC, 5, EVENT_FAMILIES, SCHEMA_IDS, until=now, spread_s=spread_s)
    share = -(-TRAFFIC * STEP // MINUTES)
    for number, minute in enumerate(range(STEP, MINUTES + 1, STEP)):
        at = now - (MINUTES - minute) * MINUTE
        records = traffic[number * share : (number + 1) * share]
        if minute in ROUNDS:
            records += encode_scenarios(ROUNDS[minute], SCHEMA_IDS, at) + _bad(at)
        demo.publish(records, at)
        for alert_id, asked in zip(list(demo.states), DONE.get(minute, ()), strict=False):
            demo.ask(at, alert_id=alert_id, **asked)
        demo.tick(at)
        demo.tick(at + MINUTE)
    silence = Silence(
        silence_id="planned-work",
        matchers=[Matcher(field="level", value="medium")],
        author="mira",
        reason="planned work",
        starts_at=now,
        ends_at=now + 60 * MINUTE,
        created_at=now,
    )
    demo.ask(now, verb="silence", silence=silence)
    for name, rows in demo.rows(now).items():
        path = folder / f"{name}.arrow"
        feather.write_feather(rows, path, compression="uncompressed")
        columns = ", ".join(f"`{column}`" for column in rows.column_names)
        engine.query(f"INSERT INTO {name} ({columns}) SELECT {columns} FROM file('{path}', 'Arrow')")
