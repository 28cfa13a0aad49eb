"""The shipped rules over encoded records without a broker: the workers' own functions, called one after the other."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from deploy.loadgen import EncodedRecord
from processors.conclude import Effects
from processors.correlator import Correlator
from processors.ingest import Ingest
from processors.rule_files import load
from processors.rulebook import Rulebook
from processors.validate import Limits
from schemas.alerts import Alert
from schemas.partners import load_partners
from schemas.registry import FAMILIES, RegisteredSchema, schema_text, subject_of
from schemas.settings import Settings
from streams.batching import PartitionBatch
from streams.refusal import Refusal
from streams.watermarks import Watermarks
from tests.processors.by_hand import read_alerts

EVENT_FAMILIES = tuple(family for family in FAMILIES if family != "heartbeat")
SCHEMA_IDS = {family: number for number, family in enumerate(FAMILIES, 1)}


@dataclass
class Record:
    offset: int
    timestamp: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_type: int = 0


@dataclass
class Result:
    alerts: list[dict[str, Any]] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    stored: int = 0
    late: int = 0
    matched_bases: set[str] = field(default_factory=set)


@cache
def shipped_rules() -> Rulebook:
    return load([Settings().rules_path])


@cache
def _limits() -> Limits:
    return Limits(load_partners(Settings().partners_file), Settings().max_future_s)


def run(records: Iterable[EncodedRecord], now: dt.datetime, batch: int = 5_000) -> Result:
    """Everything that the rules conclude from the records, one partition a topic, in the given order."""
    settings = Settings()
    book = shipped_rules()
    schemas = {
        number: RegisteredSchema(number, schema_text(family), (subject_of(family),))
        for family, number in SCHEMA_IDS.items()
    }
    lateness_s = settings.allowed_lateness_s
    ingest = Ingest(book, _limits(), Watermarks(), schemas.get, settings.max_event_bytes, lateness_s)
    correlator = Correlator(book, lateness_s)
    topics: dict[str, list[Record]] = defaultdict(list)
    for topic, key, value in records:
        topics[topic].append(Record(len(topics[topic]), 0, key, value))
    alerts: dict[str, Alert] = {}
    result = Result()
    latest = 0
    for topic, topic_records in topics.items():
        for start in range(0, len(topic_records), batch):
            outcome = ingest.process(PartitionBatch(topic_records[start : start + batch], topic, 0), now)
            result.stored += outcome.stored
            result.refused += outcome.refused
            result.late += sum(outcome.late.values())
            result.matched_bases.update(signal.rule_id for signal in outcome.signals)
            latest = max([latest, *(signal.occurred_us for signal in outcome.signals)])
            _tell(correlator, correlator.add(outcome.signals, now), alerts, now)
    for depth in range(1, 1 + max((each.depth for each in book.correlations), default=0)):
        _tell(correlator, correlator.advance(latest, now, depth), alerts, now)
    result.alerts = [alert.model_dump(mode="json") for alert in alerts.values() if alert.status == "open"]
    return result


def _tell(correlator: Correlator, effects: Effects, alerts: dict[str, Alert], now: dt.datetime) -> None:
    while True:
        alerts.update((alert.alert_id, alert) for alert in read_alerts(effects.alerts))
        if not effects.signals:
            return
        effects = correlator.add(effects.signals, now)
