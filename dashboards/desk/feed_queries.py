"""What the pages of feeds, rules, quarantine and exercises ask ClickHouse; see ``queries`` for the manners."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from dashboards.alerts import Store
from dashboards.desk.queries import milliseconds, moment

SPARK_MINUTES: Final = 60
MAX_REFUSED: Final = 500
_SINCE: Final = "fromUnixTimestamp64Milli({since:Int64})"


@dataclass(frozen=True, slots=True)
class Feed:
    """One partner's events of one family. ``rate`` is events a second over the last five minutes; lags are medians and
    95th percentiles in milliseconds of events published within the hour, ``None`` without any; ``minutes`` counts
    events of each of the last 60 minutes, the oldest first."""

    partner: str
    family: str
    rate: float
    hour: int
    late: int
    exercise: int
    occurred_to_published_ms: tuple[float, float] | None
    published_to_ingested_ms: tuple[float, float] | None
    last_ingested_at: datetime | None
    minutes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Refusals:
    """Refused records of one partner and family within the hour, by reason."""

    partner: str
    family: str
    reasons: dict[str, int]


def feeds(store: Store, now: datetime) -> list[Feed]:
    """Every feed that ever delivered, by partner and family."""
    since = now - timedelta(minutes=SPARK_MINUTES)
    minutes = _minutes(store, since)
    lags = _lags(store, since)
    known = store.rows(
        "SELECT partner, family, toUnixTimestamp(max(minute)) AS last_s FROM feed_minutes "
        "GROUP BY partner, family ORDER BY partner, family"
    )
    found = []
    for row in known:
        key = (row["partner"], row["family"])
        counts, late, drills = minutes.get(key, ({}, 0, 0))
        first = int(since.timestamp()) // 60 + 1
        line = tuple(counts.get(first + index, 0) for index in range(SPARK_MINUTES))
        delay, transport, last = lags.get(key, (None, None, None))
        found.append(
            Feed(
                *key,
                rate=sum(line[-5:]) / (240 + now.timestamp() % 60),
                hour=sum(line),
                late=late,
                exercise=drills,
                occurred_to_published_ms=delay,
                published_to_ingested_ms=transport,
                last_ingested_at=last or moment(int(row["last_s"]) * 1000),
                minutes=line,
            )
        )
    return found


def _minutes(store: Store, since: datetime) -> dict[tuple[str, str], tuple[dict[int, int], int, int]]:
    """Counts by minute number since 1970, and how many were late and of exercises, by partner and family."""
    rows = store.rows(
        "SELECT partner, family, exercise, intDiv(toUnixTimestamp(minute), 60) AS at, uniqMerge(events) AS n, "
        f"uniqIfMerge(late) AS behind FROM feed_minutes WHERE minute > {_SINCE} "
        "GROUP BY partner, family, exercise, minute",
        {"since": milliseconds(since)},
    )
    found: dict[tuple[str, str], tuple[dict[int, int], int, int]] = {}
    for row in rows:
        key = (row["partner"], row["family"])
        counts, late, drills = found.get(key, ({}, 0, 0))
        count = int(row["n"])
        counts[int(row["at"])] = counts.get(int(row["at"]), 0) + count
        found[key] = (counts, late + int(row["behind"]), drills + (count if row["exercise"] else 0))
    return found


def _lags(store: Store, since: datetime) -> dict[tuple[str, str], tuple[Any, Any, datetime]]:
    # Event ids are UUIDv7, which begin with the time of their making: by the table's order that finds the hour's events
    # without a look at the others.
    rows = store.rows(
        "SELECT partner, family, quantiles(0.5, 0.95)(dateDiff('millisecond', occurred_at, published_at)) AS delay, "
        "quantiles(0.5, 0.95)(dateDiff('millisecond', published_at, ingested_at)) AS transport, "
        "toUnixTimestamp64Milli(max(ingested_at)) AS last_ms "
        f"FROM events WHERE event_id >= {{floor:String}} AND published_at >= {_SINCE} GROUP BY partner, family",
        {"floor": uuid7_floor(since), "since": milliseconds(since)},
    )
    return {
        (row["partner"], row["family"]): (tuple(row["delay"]), tuple(row["transport"]), moment(row["last_ms"]))
        for row in rows
    }


def uuid7_floor(at: datetime) -> str:
    """The lowest UUIDv7 made at ``at`` (RFC 9562, 5.7: the first 48 bits are milliseconds since 1970)."""
    digits = f"{milliseconds(at):012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-000000000000"


def refusals(store: Store, since: datetime) -> list[Refusals]:
    """Refused records since ``since`` by partner and family; partner is empty where it could not be told."""
    rows = store.rows(
        "SELECT partner, family, reason, uniqMerge(records) AS n FROM quarantine_minutes "
        f"WHERE minute >= {_SINCE} GROUP BY partner, family, reason ORDER BY partner, family, n DESC, reason",
        {"since": milliseconds(since)},
    )
    found: dict[tuple[str, str], dict[str, int]] = {}
    for row in rows:
        found.setdefault((row["partner"], row["family"]), {})[row["reason"]] = int(row["n"])
    return [Refusals(*key, reasons) for key, reasons in found.items()]


@dataclass(frozen=True, slots=True)
class Refused:
    """One refused record; ``raw_hex`` holds its first bytes as hexadecimal digits."""

    at: datetime
    partner: str
    family: str
    reason: str
    field: str
    message: str
    event_id: str
    topic: str
    partition: int
    offset: int
    size: int
    raw_hex: str


@dataclass(frozen=True, slots=True)
class QuarantineFilter:
    """Which refused records to list; empty for no restriction."""

    partner: str = ""
    reason: str = ""
    topic: str = ""
    text: str = ""
    limit: int = 100


def quarantine(store: Store, choice: QuarantineFilter, bytes_shown: int = 4096) -> list[Refused]:
    """The newest refused records that the filter lets through."""
    conditions = [f"{name} = {{{name}:String}}" for name in ("partner", "reason", "topic") if getattr(choice, name)]
    if choice.text:
        conditions.append("positionCaseInsensitiveUTF8(message, {text:String}) > 0")
    rows = store.rows(
        "SELECT toUnixTimestamp64Milli(quarantined_at) AS at_ms, partner, family, reason, field, message, event_id, "
        "topic, partition, offset, size, hex(substring(raw, 1, {bytes:UInt32})) AS raw_hex FROM quarantine FINAL "
        f"WHERE {' AND '.join(conditions) or '1'} ORDER BY quarantined_at DESC, topic, partition, offset "
        "LIMIT {limit:UInt32}",
        {
            "partner": choice.partner,
            "reason": choice.reason,
            "topic": choice.topic,
            "text": choice.text,
            "limit": min(choice.limit, MAX_REFUSED),
            "bytes": bytes_shown,
        },
    )
    return [Refused(at=moment(row.pop("at_ms")), **row) for row in rows]


@dataclass(frozen=True, slots=True)
class RuleWork:
    """What a rule did in a period, by how its alerts were closed (``open`` for not closed)."""

    rule_id: str
    title: str
    alerts: int
    exercises: int
    verdicts: dict[str, int]
    last_at: datetime | None


def rule_alerts(store: Store, since: datetime) -> list[RuleWork]:
    """Alerts of each rule since ``since`` with their closing verdicts; drills are counted apart."""
    rows = store.rows(
        "SELECT a.rule_id AS rule_id, any(a.rule_title) AS title, a.exercise AS exercise, "
        "if(s.state = 'closed', s.verdict, 'open') AS verdict, count() AS n, "
        "toUnixTimestamp64Milli(max(a.last_event_at)) AS last_ms "
        "FROM (SELECT alert_id, rule_id, rule_title, exercise, last_event_at FROM alerts FINAL "
        f"WHERE status = 'open' AND created_at >= {_SINCE}) AS a "
        "LEFT JOIN (SELECT alert_id, state, verdict FROM alert_states FINAL) AS s ON s.alert_id = a.alert_id "
        "GROUP BY rule_id, exercise, verdict ORDER BY rule_id, verdict",
        {"since": milliseconds(since)},
    )
    found: dict[str, RuleWork] = {}
    for row in rows:
        known = found.get(row["rule_id"]) or RuleWork(row["rule_id"], row["title"], 0, 0, {}, None)
        count, last = int(row["n"]), moment(row["last_ms"])
        verdicts = dict(known.verdicts)
        if not row["exercise"]:
            verdicts[row["verdict"]] = verdicts.get(row["verdict"], 0) + count
        found[known.rule_id] = RuleWork(
            known.rule_id,
            known.title,
            known.alerts + (0 if row["exercise"] else count),
            known.exercises + (count if row["exercise"] else 0),
            verdicts,
            max(last, known.last_at) if known.last_at else last,
        )
    return list(found.values())


def rule_signals(store: Store, since: datetime) -> dict[str, int]:
    """Signals by rule since ``since``: of base rules, and of the correlations that they fed."""
    rows = store.rows(
        "SELECT rule_id, correlation_id, uniq(event_id, group_key) AS n FROM signals "
        f"WHERE occurred_at >= {_SINCE} GROUP BY GROUPING SETS ((rule_id), (correlation_id))",
        {"since": milliseconds(since)},
    )
    return {
        row["rule_id"] or row["correlation_id"]: int(row["n"])
        for row in rows
        if row["rule_id"] or row["correlation_id"]
    }


@dataclass(frozen=True, slots=True)
class Drill:
    """An alert of an exercise; times of its making, and what became of it."""

    alert_id: str
    rule_title: str
    level: str
    story: str
    partners: tuple[str, ...]
    last_event_at: datetime
    created_at: datetime
    state: str
    verdict: str
    acknowledged_at: datetime | None


def drills(store: Store, since: datetime, limit: int = 200) -> list[Drill]:
    """Alerts of exercises since ``since``, the latest first, with the first acknowledgement of each."""
    rows = store.rows(
        "SELECT a.alert_id AS alert_id, a.rule_title AS rule_title, a.level AS level, a.story AS story, "
        "a.partners AS partners, toUnixTimestamp64Milli(a.last_event_at) AS last_ms, "
        "toUnixTimestamp64Milli(a.created_at) AS created_ms, s.state AS state, s.verdict AS verdict, "
        "d.first_ms AS first_ms "
        "FROM (SELECT * EXCEPT record FROM alerts FINAL WHERE status = 'open' AND exercise "
        f"AND created_at >= {_SINCE}) AS a "
        "LEFT JOIN (SELECT alert_id, state, verdict FROM alert_states FINAL) AS s ON s.alert_id = a.alert_id "
        "LEFT JOIN (SELECT alert_id, min(toUnixTimestamp64Milli(at)) AS first_ms FROM alert_actions "
        "WHERE verb = 'acknowledge' AND accepted GROUP BY alert_id) AS d ON d.alert_id = a.alert_id "
        "ORDER BY a.created_at DESC, a.alert_id LIMIT {limit:UInt32}",
        {"since": milliseconds(since), "limit": limit},
    )
    return [
        Drill(
            alert_id=row["alert_id"],
            rule_title=row["rule_title"],
            level=row["level"],
            story=row["story"],
            partners=tuple(row["partners"]),
            last_event_at=moment(row["last_ms"]),
            created_at=moment(row["created_ms"]),
            state=row["state"],
            verdict=row["verdict"],
            acknowledged_at=moment(row["first_ms"]) if row["first_ms"] else None,
        )
        for row in rows
    ]
