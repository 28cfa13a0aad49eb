"""The shipped rules over encoded records without a broker: the workers' own functions, called one after the other."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from deploy.loadgen import EncodedRecord
from processors.alerts import from_detection, from_situation
from processors.correlate import Group
from processors.ingest import Ingest
from processors.rulebook import Correlation, Detection, Rulebook, load
from processors.validate import Limits
from schemas.partners import load_partners
from schemas.registry import FAMILIES, RegisteredSchema, schema_text, subject_of
from schemas.settings import Settings
from streams.batching import PartitionBatch
from streams.refusal import Refusal
from streams.watermarks import Watermarks

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


def shipped_rules() -> Rulebook:
    return load([Settings().rules_path])


def run(records: Iterable[EncodedRecord], now: dt.datetime, batch: int = 5_000) -> Result:
    """Everything that the rules conclude from the records, one partition a topic, in the given order."""
    settings = Settings()
    book = shipped_rules()
    limits = Limits(load_partners(settings.partners_file), settings.max_future_s)
    schemas = {
        number: RegisteredSchema(number, schema_text(family), (subject_of(family),))
        for family, number in SCHEMA_IDS.items()
    }
    ingest = Ingest(book, limits, Watermarks(settings.allowed_lateness_s), schemas.get, settings.max_event_bytes)
    topics: dict[str, list[Record]] = defaultdict(list)
    for topic, key, value in records:
        topics[topic].append(Record(len(topics[topic]), 0, key, value))
    rules = book.by_id()
    groups: dict[Any, Group] = {}
    alerts: dict[str, dict[str, Any]] = {}
    result = Result()
    for topic, topic_records in topics.items():
        for start in range(0, len(topic_records), batch):
            outcome = ingest.process(PartitionBatch(topic_records[start : start + batch], topic, 0), now)
            result.stored += outcome.stored
            result.refused += outcome.refused
            result.late += sum(outcome.late.values())
            for signal in outcome.signals:
                result.matched_bases.add(signal.rule_id)
                found = []
                if not signal.correlation_id:
                    detection = rules[signal.rule_id]
                    assert isinstance(detection, Detection)
                    found = [from_detection(detection, signal, now)]
                else:
                    correlation = rules[signal.correlation_id]
                    assert isinstance(correlation, Correlation)
                    key = (correlation.meta.id, tuple(signal.group.values()), signal.exercise)
                    group = groups.setdefault(key, Group(correlation, signal.group, signal.exercise))
                    for situation in group.add([signal]):
                        found += from_situation(group, situation, now)
                for alert in found:
                    alerts[alert.alert_id] = alert.model_dump(mode="json")
    result.alerts = [alert for alert in alerts.values() if alert["status"] == "open"]
    return result
