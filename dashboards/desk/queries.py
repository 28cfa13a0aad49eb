"""What the alert page asks ClickHouse: state, history, deliveries, similar alerts. All with server-side parameters, as
the user who cannot write; every function blocks, and raises ``StoreAwayError`` when the store does not answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from dashboards.alerts import Store
from dashboards.desk.similar import Candidate, values_of
from schemas.alerts import Alert
from schemas.lifecycle import Action, AlertState, Delivery

MAX_ACTIONS: Final = 500
MAX_DELIVERIES: Final = 200
MAX_CANDIDATES: Final = 200
MAX_EVENTS: Final = 200
MAX_EARLIER: Final = 200
"""Ids that one situation has had; a bound against a chain that goes round in a circle as well."""
MAX_STATES: Final = 20_000
NEEDLES: Final = 200
"""multiSearchAny takes at most 255."""


def moment(milliseconds: int | str) -> datetime:
    """A time that was read as milliseconds since 1970."""
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def milliseconds(at: datetime) -> int:
    """A time as a parameter: milliseconds since 1970."""
    return round(at.timestamp() * 1000)


def state(store: Store, alert_id: str) -> AlertState | None:
    """The stored state, for alerts that the log has forgotten."""
    rows = store.rows("SELECT record FROM alert_states FINAL WHERE alert_id = {id:String} LIMIT 1", {"id": alert_id})
    return AlertState.model_validate_json(rows[0]["record"]) if rows else None


def earlier_ids(store: Store, alert_ids: Sequence[str]) -> list[str]:
    """All ids that the situation has had: those given, then what they superseded, and so on."""
    found = dict.fromkeys(alert_ids)
    asked = list(found)
    while asked and len(found) < MAX_EARLIER:
        rows = store.rows(
            "SELECT alert_id FROM alerts FINAL WHERE superseded_by IN {ids:Array(String)} ORDER BY alert_id "
            "LIMIT {limit:UInt32}",
            {"ids": asked, "limit": MAX_EARLIER},
        )
        asked = [row["alert_id"] for row in rows if row["alert_id"] not in found]
        found |= dict.fromkeys(asked)
    return list(found)


def history(store: Store, alert_ids: Sequence[str]) -> list[Action]:
    """What was done to an alert under all the ids that it has had, and what was refused; the latest first."""
    rows = store.rows(
        "SELECT action_id, command_id, alert_id, verb, by, via, toUnixTimestamp64Milli(at) AS at_ms, accepted, reason, "
        "before, after, revision, text, details FROM alert_actions FINAL WHERE alert_id IN {ids:Array(String)} "
        "ORDER BY at DESC, revision DESC, action_id LIMIT {limit:UInt32}",
        {"ids": list(alert_ids), "limit": MAX_ACTIONS},
    )
    return [_action(row) for row in rows]


def _action(row: dict[str, Any]) -> Action:
    at = moment(row.pop("at_ms"))
    before, after = row.pop("before") or None, row.pop("after") or None
    details = json.loads(row.pop("details") or "{}")
    return Action.model_validate(row | {"at": at, "before": before, "after": after, "details": details})


_DELIVERY: Final = (
    "delivery_id, notification_id, attempt, toUnixTimestamp64Milli(at) AS at_ms, kind, person, channel, address, "
    "outcome, error, took_ms, group_key, alert_ids, redacted"
)


def deliveries(store: Store, alert_ids: Sequence[str]) -> list[Delivery]:
    """Every attempt to tell somebody about an alert under any of its ids, the latest first."""
    where = "WHERE hasAny(alert_ids, {ids:Array(String)})"
    return _deliveries(store, where, {"ids": list(alert_ids), "limit": MAX_DELIVERIES})


def latest_deliveries(store: Store, limit: int = 50) -> list[Delivery]:
    """The last attempts of all."""
    return _deliveries(store, "", {"limit": limit})


def _deliveries(store: Store, where: str, parameters: dict[str, Any]) -> list[Delivery]:
    rows = store.rows(
        f"SELECT {_DELIVERY} FROM notifications FINAL {where} ORDER BY notifications.at DESC, attempt DESC "
        "LIMIT {limit:UInt32}",
        parameters,
    )
    return [Delivery.model_validate(row | {"at": moment(row.pop("at_ms"))}) for row in rows]


def candidates(store: Store, alert: Alert) -> list[Candidate]:
    """Alerts that share a value, an event or the rule with this one; see ``similar`` for their ranking."""
    values = values_of(alert)
    parameters = {
        "id": alert.alert_id,
        "rule": alert.rule.id,
        "values": values,
        "needles": [json.dumps(value, ensure_ascii=False) for value in values][:NEEDLES] or ["\x00"],
        "events": [item.event_id for item in alert.evidence][:MAX_EVENTS],
        "limit": MAX_CANDIDATES,
    }
    rows = store.rows(_CANDIDATES, parameters)
    # What they share is asked of these few only.
    shared = store.rows(_SHARED, parameters | {"ids": [row["id"] for row in rows]})
    by_id = {row["alert_id"]: row for row in shared}
    return [_candidate(row, by_id.get(row["id"])) for row in rows]


_CANDIDATES: Final = (
    "SELECT a.alert_id AS id, a.rule_id AS rule_id, a.rule_title AS rule_title, a.level AS level, "
    "a.exercise AS exercise, a.story AS story, a.group AS group, a.partners AS partners, "
    "toUnixTimestamp64Milli(a.last_event_at) AS last_ms, "
    "arrayFilter(v -> has({values:Array(String)}, v), mapValues(a.group)) AS grouped, s.state AS state, "
    "s.verdict AS verdict FROM (SELECT alert_id, rule_id, rule_title, level, exercise, story, group, partners, "
    "last_event_at FROM alerts FINAL WHERE status = 'open' AND alert_id != {id:String}) AS a "
    "LEFT JOIN (SELECT alert_id, 1 + max(event_id IN {events:Array(String)}) AS weight FROM alert_evidence "
    "WHERE event_id IN {events:Array(String)} OR multiSearchAny(matched, {needles:Array(String)}) GROUP BY alert_id) "
    "AS l ON l.alert_id = a.alert_id "
    "LEFT JOIN (SELECT alert_id, state, verdict FROM alert_states FINAL) AS s ON s.alert_id = a.alert_id "
    "WHERE l.weight > 0 OR notEmpty(grouped) OR a.rule_id = {rule:String} "
    "ORDER BY l.weight + 2 * notEmpty(grouped) DESC, a.last_event_at DESC LIMIT {limit:UInt32}"
)
_SHARED: Final = (
    "SELECT alert_id, countDistinctIf(event_id, event_id IN {events:Array(String)}) AS events, "
    "groupUniqArrayArray(20)(arrayFilter(n -> position(matched, n) > 0, {needles:Array(String)})) AS found "
    "FROM alert_evidence WHERE alert_id IN {ids:Array(String)} GROUP BY alert_id"
)


def _candidate(row: dict[str, Any], shared: dict[str, Any] | None) -> Candidate:
    found = [json.loads(each) for each in shared["found"] if each != "\x00"] if shared else []
    return Candidate(
        alert_id=row["id"],
        rule_id=row["rule_id"],
        rule_title=row["rule_title"],
        level=row["level"],
        exercise=bool(row["exercise"]),
        story=row["story"],
        group=dict(row["group"]),
        partners=tuple(row["partners"]),
        last_event_at=moment(row["last_ms"]),
        shared_values=tuple(dict.fromkeys([*row["grouped"], *found])),
        shared_events=int(shared["events"]) if shared else 0,
        state=row["state"],
        verdict=row["verdict"],
    )


def recent_states(store: Store, since: datetime) -> list[AlertState]:
    """States of alerts raised or changed since ``since``, the latest first, at most ``MAX_STATES``."""
    rows = store.rows(
        "SELECT record FROM alert_states FINAL "
        "WHERE greatest(raised_at, updated_at) >= fromUnixTimestamp64Milli({since:Int64}) "
        "ORDER BY raised_at DESC LIMIT {limit:UInt32}",
        {"since": milliseconds(since), "limit": MAX_STATES},
    )
    return [AlertState.model_validate_json(row["record"]) for row in rows]
