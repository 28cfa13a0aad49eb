"""States, actions, silences and deliveries as the columns of their ClickHouse tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import orjson
import pyarrow as pa

from schemas.lifecycle import Action, AlertState, Delivery, Silence

_MS = pa.timestamp("ms", tz="UTC")
_TEXTS = pa.list_(pa.string())


def _table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema)


_STATES = pa.schema(
    [
        ("alert_id", pa.string()),
        ("revision", pa.uint64()),
        ("state", pa.string()),
        ("priority", pa.string()),
        ("priority_reasons", _TEXTS),
        ("acknowledged_until", _MS),
        ("acknowledged_by", pa.string()),
        ("assignee", pa.string()),
        ("verdict", pa.string()),
        ("closed_at", _MS),
        ("merged_into", pa.string()),
        ("silenced", pa.bool_()),
        ("inhibited_by", pa.string()),
        ("withdrawn", pa.bool_()),
        ("superseded_by", pa.string()),
        ("group_key", pa.string()),
        ("rule_id", pa.string()),
        ("level", pa.string()),
        ("exercise", pa.bool_()),
        ("raised_at", _MS),
        ("updated_at", _MS),
        ("record", pa.string()),
    ]
)
_EMPTY_WHERE_NONE = ("acknowledged_by", "assignee", "verdict", "merged_into", "inhibited_by", "superseded_by")


def state_rows(states: Sequence[AlertState]) -> pa.Table:
    """Rows of ``alert_states``; a higher revision replaces a lower one."""
    rows = []
    for state in states:
        row = {name: getattr(state, name, None) for name in _STATES.names}
        row |= {name: row[name] or "" for name in _EMPTY_WHERE_NONE}
        rows.append(row | {"silenced": bool(state.silences), "record": state.model_dump_json()})
    return _table(rows, _STATES)


_ACTIONS = pa.schema(
    [
        ("at", _MS),
        ("action_id", pa.string()),
        ("command_id", pa.string()),
        ("alert_id", pa.string()),
        ("verb", pa.string()),
        ("by", pa.string()),
        ("via", pa.string()),
        ("accepted", pa.bool_()),
        ("reason", pa.string()),
        ("before", pa.string()),
        ("after", pa.string()),
        ("revision", pa.uint64()),
        ("text", pa.string()),
        ("details", pa.string()),
    ]
)


def action_rows(actions: Sequence[Action]) -> pa.Table:
    """Rows of ``alert_actions``; a repetition has the same key."""
    rows = [
        {name: getattr(action, name) for name in _ACTIONS.names}
        | {"before": action.before or "", "after": action.after or ""}
        | {"details": orjson.dumps(action.details, default=str).decode()}
        for action in actions
    ]
    return _table(rows, _ACTIONS)


_SILENCES = pa.schema(
    [
        ("silence_id", pa.string()),
        ("version", pa.uint64()),
        ("matchers", pa.string()),
        ("author", pa.string()),
        ("reason", pa.string()),
        ("partner", pa.string()),
        ("starts_at", _MS),
        ("ends_at", _MS),
        ("created_at", _MS),
    ]
)


def silence_rows(silences: Sequence[Silence], now: dt.datetime) -> pa.Table:
    """Rows of ``silences``; ``version`` is the time of writing in milliseconds: what was written last counts."""
    rows = [
        {name: getattr(silence, name, None) for name in _SILENCES.names}
        | {"version": int(now.timestamp() * 1000), "partner": silence.partner or ""}
        | {"matchers": orjson.dumps([each.model_dump() for each in silence.matchers]).decode()}
        for silence in silences
    ]
    return _table(rows, _SILENCES)


_DELIVERIES = pa.schema(
    [
        ("at", _MS),
        ("delivery_id", pa.string()),
        ("notification_id", pa.string()),
        ("attempt", pa.uint16()),
        ("kind", pa.string()),
        ("person", pa.string()),
        ("channel", pa.string()),
        ("address", pa.string()),
        ("outcome", pa.string()),
        ("error", pa.string()),
        ("took_ms", pa.uint32()),
        ("group_key", pa.string()),
        ("alert_ids", _TEXTS),
        ("redacted", pa.bool_()),
    ]
)


def delivery_rows(deliveries: Sequence[Delivery]) -> pa.Table:
    """Rows of ``notifications``, one for each attempt."""
    return _table([{name: getattr(each, name) for name in _DELIVERIES.names} for each in deliveries], _DELIVERIES)
