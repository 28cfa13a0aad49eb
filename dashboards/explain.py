"""Words for what an alert rests on: times, places, values, and how its condition was met. Pure functions.

Times are aware UTC datetimes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from schemas.alerts import Alert, Evidence

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))
_OPERATORS: Final = {
    "gte": "at least",
    "gt": "more than",
    "lte": "at most",
    "lt": "less than",
    "eq": "exactly",
    "neq": "other than",
}
_SAID_ELSEWHERE: Final = {
    *("type", "condition", "group", "group_by", "bounds", "observed", "timespan_s", "by_rule", "rule_version"),
    *("situation", "met", "first_fired_us"),
}


def age(then: datetime, now: datetime) -> str:
    """Time between two moments in the largest whole unit: ``12 s``, ``5 min``, ``3 h``, ``2 d``."""
    seconds = max(0, int((now - then).total_seconds()))
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def stamp(time: datetime) -> str:
    """``2026-03-01 12:30:05 UTC``."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float) -> str:
    """``420 ms``, ``12.3 s``, ``1 min 5 s``, ``14 min``, ``2 h 5 min``, ``3 d 4 h``; a minus sign when it runs
    backwards."""
    sign, seconds = ("−" if seconds < 0 else ""), abs(seconds)
    if seconds < 0.9995:
        return f"{sign}{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{sign}{seconds:.1f} s".replace(".0 s", " s")
    if seconds < 599.5:
        minutes, rest = divmod(round(seconds), 60)
        return f"{sign}{minutes} min" + (f" {rest} s" if rest else "")
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{sign}{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{sign}{hours} h" + (f" {minutes} min" if minutes else "")
    days, hours = divmod(hours, 24)
    return f"{sign}{days} d" + (f" {hours} h" if hours else "")


def between(start: datetime, end: datetime) -> str:
    """The time from one moment to another."""
    return duration((end - start).total_seconds())


def as_text(value: object) -> str:
    """A matched or grouped value in one line."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Sequence):
        return ", ".join(as_text(each) for each in value)
    return json.dumps(value, ensure_ascii=False)


def in_order(alert: Alert) -> list[Evidence]:
    """The evidence by time of occurrence; ties by partner and event id, so that the order is always the same."""
    return sorted(alert.evidence, key=lambda item: (item.occurred_at, item.partner, item.event_id))


def place_of(item: Evidence) -> str:
    """``Vienna, AT``, or what of it is known."""
    return ", ".join(part for part in (item.place, item.country) if part)


def position_of(item: Evidence) -> str:
    """Where the event lies in Kafka: ``topic [partition] @ offset``."""
    return f"{item.topic} [{item.partition}] @ {item.offset}"


def clauses_of(item: Evidence) -> str:
    """The clauses of the base rule that the event met, as the rule writes them."""
    return "; ".join(item.clauses)


def matched_of(item: Evidence) -> tuple[tuple[str, str], ...]:
    """The fields that met the base rule, with their values."""
    return tuple((name, as_text(value)) for name, value in item.matched.items())


def steps_of(alert: Alert) -> list[tuple[str, datetime, str]]:
    """The moments in the making of the alert: name, time, and how long after the moment before."""
    which = "Event" if alert.evidence_total == 1 else "Last event"
    moments = [
        *([("First event happened", alert.first_event_at)] if alert.evidence_total != 1 else []),
        (f"{which} happened", alert.last_event_at),
        (f"{which} published", alert.published_at),
        *([(f"{which} ingested", max(item.ingested_at for item in alert.evidence))] if alert.evidence else []),
        ("Alert raised", alert.created_at),
    ]
    if alert.updated_at != alert.created_at:
        moments.append(("Last change", alert.updated_at))
    befores = [moments[0][1], *(at for _, at in moments)]
    return [
        (name, at, between(before, at) if number else "")
        for number, ((name, at), before) in enumerate(zip(moments, befores, strict=False))
    ]


def account_of(alert: Alert) -> list[tuple[str, str]]:
    """How the rule's condition was met, as (what, value) pairs, from the record's ``explain``."""
    explain = alert.explain
    pairs: list[tuple[str, str]] = []
    if alert.rule.condition:
        pairs.append(("Condition", alert.rule.condition))
    if "observed" in explain:
        bounds = [f"{_OPERATORS.get(op, op)} {as_text(number)}" for op, number in explain.get("bounds", [])]
        needed = f" (needed: {' and '.join(bounds)})" if bounds else ""
        pairs.append(("Observed", as_text(explain["observed"]) + needed))
    if alert.rule.timespan_s:
        pairs.append(("Window", duration(alert.rule.timespan_s)))
    if isinstance(explain.get("by_rule"), dict):
        counts = (f"{as_text(count)} × {title}" for title, count in explain["by_rule"].items())
        pairs.append(("Met by", "; ".join(counts)))
    situation = explain.get("situation")
    if isinstance(situation, dict) and situation.get("capped"):
        pairs.append(("Window full", "more events met the rule than the window keeps"))
    rest = {name: value for name, value in explain.items() if name not in _SAID_ELSEWHERE}
    return pairs + _flatten(rest)


def _flatten(value: object, path: str = "") -> list[tuple[str, str]]:
    """Nested JSON as (dotted path, text) pairs in its own order; lists of plain values stay on one line."""
    if isinstance(value, dict):
        return [pair for key, each in value.items() for pair in _flatten(each, f"{path}.{key}" if path else str(key))]
    if isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
        return [pair for index, each in enumerate(value, 1) for pair in _flatten(each, f"{path}[{index}]")]
    return [(path, as_text(value))]


def printable(text: str) -> str:
    """Text that is safe on a terminal: control characters and direction overrides show as escapes."""
    return "".join(
        character if character.isprintable() or character == "\n" else repr(character)[1:-1] for character in text
    )
