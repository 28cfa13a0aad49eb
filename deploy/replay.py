"""The very records that an alert rests on, fetched again and put through its rule again."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import fastavro
import orjson
from clickhouse_connect.driver.client import Client
from confluent_kafka import KafkaException

from deploy.backtest import COLUMNS, NAMES, event_of
from processors.offline import Offline
from processors.rule_files import RuleError
from processors.rule_tests import part_of
from processors.rulebook import Rulebook
from processors.ruleset import RuleSet, read_history
from processors.times import micros
from schemas.alerts import Alert, Evidence
from schemas.registry import Registry, RegistryError
from schemas.settings import Settings
from schemas.wire import unframe
from streams.fetch import Position, fetch

log = logging.getLogger(__name__)

Event = dict[str, Any]


@dataclass(frozen=True)
class Replayed:
    """What came of it: records found where, event ids found nowhere, whether the rule fired on them for the same
    group, and how many of the alert's pieces of evidence it found again."""

    from_kafka: int
    from_clickhouse: int
    gone: list[str]
    rule_version: str
    fires: bool
    evidence: int
    expected: int

    @property
    def message(self) -> str:
        """The outcome in one sentence."""
        where = f"{self.from_kafka} records from Kafka, {self.from_clickhouse} from ClickHouse"
        if not self.fires:
            return f"{where}: the rule (version {self.rule_version}) does NOT fire on them"
        found = f"{self.evidence} of {self.expected} pieces of evidence"
        return f"{where}: the rule (version {self.rule_version}) fires again, on {found}"


def replay(settings: Settings, client: Client, alert: Alert, book: Rulebook) -> Replayed:
    """Fetch the alert's evidence from Kafka, or from ClickHouse what Kafka holds no more, and run the rule on it.

    ``book`` is the rulebook to judge by; the rule must be in it.

    Raises:
        KeyError: the rule is not in the book.
    """
    events = _from_kafka(settings, alert.evidence)
    from_kafka = len(events)
    missing = [each.event_id for each in alert.evidence if each.event_id not in events]
    events |= _from_clickhouse(client, missing)
    rule = book.by_id[alert.rule.id]
    times = {each.event_id: micros(each.occurred_at) for each in alert.evidence}
    ordered = sorted(events, key=lambda each: (times[each], each))
    engine = Offline(part_of(book, rule))
    engine.add([events[each] for each in ordered], [times[each] for each in ordered], list(range(len(ordered))))
    found = engine.close(max(times.values(), default=0) + engine.undecided_us)
    same = [each for each in found if each.rule.meta.id == alert.rule.id and each.group == alert.group]
    again = {ordered[number] for each in same for number in each.numbers}
    return Replayed(
        from_kafka,
        len(events) - from_kafka,
        sorted(set(times) - set(events)),
        rule.meta.version,
        bool(same),
        len(again),
        len(times),
    )


def book_of(settings: Settings, alert: Alert) -> Rulebook:
    """As :func:`book_with`, of everything that was deployed.

    Raises:
        KafkaException, TimeoutError: the brokers do not answer.
        LookupError: no deployed rulebook has the rule.
    """
    return book_with(alert, read_history(settings).sets)


def book_with(alert: Alert, sets: Iterable[RuleSet]) -> Rulebook:
    """The first rulebook that has the alert's rule in the version that fired, else the first that has the rule.

    Rule sets that this version of the software cannot use are left out.

    Raises:
        LookupError: none has the rule.
    """
    other: Rulebook | None = None
    for each in sets:
        try:
            book = each.rulebook
        except RuleError as error:
            log.warning("rule set %s is left out: %s", each.version, error)
            continue
        rule = book.by_id.get(alert.rule.id)
        if rule and rule.meta.version == alert.rule.version:
            return book
        if rule and other is None:
            other = book
    if other is None:
        raise LookupError(f"rule {alert.rule.id} is in no deployed rule set that can be used")
    return other


def _from_kafka(settings: Settings, evidence: Iterable[Evidence]) -> dict[str, Event]:
    positions: dict[Position, Evidence] = {
        (each.topic, each.partition, each.offset): each for each in evidence if each.topic
    }
    try:
        values = fetch(settings, positions)
        read = _reader(settings)
        found = {positions[where].event_id: (positions[where].family, read(value)) for where, value in values.items()}
    except (KafkaException, RegistryError, ValueError):
        return {}  # ClickHouse holds them too
    return {
        event_id: {"family": family, **event}
        for event_id, (family, event) in found.items()
        if event["header"]["event_id"] == event_id
    }


def _reader(settings: Settings) -> Callable[[bytes], Event]:
    registry = Registry.of(settings)
    schemas: dict[int, Any] = {}

    def read(value: bytes) -> Event:
        schema_id, body = unframe(value)
        if schema_id not in schemas:
            schemas[schema_id] = fastavro.parse_schema(orjson.loads(registry.fetch(schema_id).text))
        event: Any = fastavro.schemaless_reader(io.BytesIO(body), schemas[schema_id])
        return orjson.loads(orjson.dumps(event))  # type: ignore[no-any-return]

    return read


def _from_clickhouse(client: Client, event_ids: list[str]) -> dict[str, Event]:
    if not event_ids:
        return {}
    sql = f"SELECT {', '.join(COLUMNS)} FROM events FINAL WHERE event_id IN {{ids:Array(String)}}"
    rows = client.query(sql, parameters={"ids": event_ids}).result_rows
    return {row[0]: event_of(dict(zip(NAMES, row, strict=True))) for row in rows}
