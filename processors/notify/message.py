"""What a notification says: what, where, when, who is concerned, how sure, what to do, and where to look.

Nothing above TLP:GREEN goes to an outside channel (FIRST, TLP 2.0: AMBER stays within the recipient's organisation and
its clients). If one alert of a message is above it, an outside message says only that there are alerts, whether it is
an exercise, their priority, and where to look: it is the same whatever the alerts say.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from schemas.alerts import TLP_ORDER
from schemas.lifecycle import AlertState, Notification, NotificationKind

LISTED: Final = 10
"""Alerts that one message describes; the rest is counted."""
_OPEN: Final = frozenset(TLP_ORDER[: TLP_ORDER.index("GREEN") + 1])
_NAMESPACE: Final = uuid.UUID("6f3d3f0e-5f6b-5c39-9d0a-3c1f5f0b7a51")
_WORDS: Final[dict[NotificationKind, str]] = {
    "first": "Alert",
    "update": "Update",
    "escalation": "Escalation",
    "reopened": "Reopened",
    "resolved": "Resolved",
    "assigned": "Assigned to you",
    "watchdog": "Watchdog",
}
_SUBJECT: Final = 180
_STORY: Final = 2_000


@dataclass(frozen=True, slots=True)
class Message:
    """``subject`` is one line; ``text`` is plain; ``fields`` are JSON for machines. ``redacted`` says that the alerts'
    content was held back."""

    subject: str
    text: str
    fields: dict[str, Any]
    redacted: bool
    urgent: bool


def opaque(name: str) -> str:
    """An id that follows from ``name`` and shows nothing of it; ids of notifications may hold values of alerts."""
    return str(uuid.uuid5(_NAMESPACE, name))


def may_leave(states: Sequence[AlertState]) -> bool:
    """Whether all are TLP:GREEN or below; a label that is not known counts as RED."""
    return all(state.tlp in _OPEN for state in states)


def compose(
    notification: Notification,
    states: Sequence[AlertState],
    *,
    desk_url: str | None,
    outside: bool,
    time_zone: str = "UTC",
) -> Message:
    """The message of a notification for one channel, its alerts in the notification's order; times are told in UTC and
    in ``time_zone``."""
    places = {alert_id: place for place, alert_id in enumerate(notification.alert_ids)}
    told = sorted(states, key=lambda each: places.get(each.alert_id, len(places)))
    redacted = outside and not may_leave(told)
    exercise = bool(told) and all(state.exercise for state in told)
    if notification.kind == "watchdog":
        subject, body = "Watchdog: alerts reach you", _WATCHDOG.format(desk=desk_url or "the watch desk")
    elif redacted or not told:
        subject, body = _hidden(notification, desk_url)
    else:
        subject, body = _shown(notification, told, desk_url, ZoneInfo(time_zone))
    subject, body = _one_line(f"EXERCISE {subject}" if exercise else subject, _SUBJECT), _lines(body)
    if exercise:
        body = f"EXERCISE EXERCISE EXERCISE: this is a drill.\n\n{body}"
    fields = {
        "version": 1,
        "notification_id": opaque(notification.notification_id),
        "thread": opaque(notification.thread),
        "kind": notification.kind,
        "priority": notification.priority,
        "exercise": exercise,
        "subject": subject,
        "text": body,
        "desk_url": desk_url,
        "redacted": redacted,
        "alerts_total": _total(notification),
        "alerts_new": notification.news,
        "alerts": _records(notification, [] if redacted else told, desk_url),
    }
    return Message(subject, body, fields, redacted, notification.priority == "P1")


def trial_message(person: str, desk_url: str | None) -> Message:
    """A message that says no more than that the channel works."""
    text = f"This is a test of how {person} is told of alerts. Nothing has happened.\n{desk_url or ''}".strip()
    fields = {"version": 1, "kind": "test", "subject": "Test: alerts reach you", "text": text, "alerts": []}
    return Message("Test: alerts reach you", text, fields, redacted=False, urgent=False)


_WATCHDOG: Final = (
    "The way from the stream of alerts to you works. This message always comes; if one fails to come, alerts may fail\n"
    "to come too, so look at {desk} and at the lifecycle worker."
)


def link(desk_url: str | None, alert_id: str) -> str:
    """Where to look at an alert; the command that shows it when the desk's address is not known."""
    return f"{desk_url.rstrip('/')}/alerts/{quote(alert_id, safe='')}" if desk_url else f"tocsin alerts show {alert_id}"


def _hidden(notification: Notification, desk_url: str | None) -> tuple[str, str]:
    """From the notification's kind, priority and ids alone."""
    ids = notification.alert_ids
    word, count = _WORDS[notification.kind], _total(notification)
    what = "an alert" if count == 1 else f"{count} alerts"
    lines = [
        f"{word}: there {'is' if count == 1 else 'are'} {what} of priority {notification.priority}.",
        "The content is not sent this way. Look here (asks for your login):",
        *(link(desk_url, alert_id) for alert_id in ids[:LISTED]),
        *_rest(count, desk_url),
    ]
    return f"[{notification.priority}] {word}: {what}, see the watch desk", "\n".join(lines)


def _shown(
    notification: Notification, told: Sequence[AlertState], desk_url: str | None, zone: ZoneInfo
) -> tuple[str, str]:
    total, news = len(told) + notification.more, _news(notification)
    more = f" (and {total - 1} more)" if total > 1 else ""
    where = ", ".join(told[0].places[:2]) or ", ".join(told[0].countries[:3])
    title = f"{told[0].rule_title}{f', {where}' if where else ''}{more}"
    blocks = [_block(state, desk_url, zone) for state in told[:LISTED]]
    if len(blocks) > 1:
        marks = ["NEW " if state.alert_id in news else "" for state in told]
        blocks = [f"{number + 1} of {total}. {marks[number]}{block}" for number, block in enumerate(blocks)]
    if notification.by:
        blocks.insert(0, f"{_one_line(notification.by, 200)} assigned it to you.")
    if news:
        blocks.insert(0, f"New or changed since the last message: {len(news)} of {total}, told first.")
    blocks += _rest(total, desk_url)
    return f"[{notification.priority}] {_WORDS[notification.kind]}: {title}", "\n\n".join(blocks)


def _total(notification: Notification) -> int:
    return len(notification.alert_ids) + notification.more


def _news(notification: Notification) -> frozenset[str]:
    """Ids of what is new; none where everything is, and nothing has to be told apart."""
    if notification.news == _total(notification):
        return frozenset()
    return frozenset(notification.alert_ids[: notification.news])


def _block(state: AlertState, desk_url: str | None, zone: ZoneInfo) -> str:
    rows = [
        ("What", state.story or state.rule_title),
        ("Where", " / ".join(part for part in (", ".join(state.places), ", ".join(state.countries)) if part)),
        ("When", _span(state.first_event_at, state.last_event_at, zone)),
        ("Concerned", ", ".join(state.partners)),
        ("About", ", ".join(f"{name} {value}" for name, value in state.group.items())),
        ("How sure", f"confidence {state.confidence} of 100, {state.evidence_total} pieces of evidence"),
        ("Why urgent", "; ".join(state.priority_reasons)),
        ("What to do", state.response),
        ("State", _state_of(state)),
        ("Handling", f"TLP:{state.tlp.replace('_', '+')}"),
        ("Look", link(desk_url, state.alert_id)),
    ]
    head = f"{'EXERCISE ' if state.exercise else ''}{state.priority} {state.level}: {_one_line(state.rule_title, 200)}"
    return "\n".join([head, *(f"{name + ':':<12}{_one_line(text, _STORY)}" for name, text in rows if text)])


def _state_of(state: AlertState) -> str:
    if state.state == "closed":
        return f"closed as {(state.verdict or 'no verdict').replace('_', ' ')} by {state.closed_by or 'nobody'}"
    if state.withdrawn:
        return "withdrawn: with what came later the rule does not hold any more"
    if state.state == "acknowledged":
        until = f" until {_utc(state.acknowledged_until)}" if state.acknowledged_until else ""
        return f"acknowledged by {state.acknowledged_by or 'nobody'}{until}"
    return state.state.replace("_", " ") + (f", with {state.assignee}" if state.assignee else "")


def _rest(count: int, desk_url: str | None) -> list[str]:
    return [f"and {count - LISTED} more: {desk_url or 'tocsin alerts list'}"] if count > LISTED else []


def _records(notification: Notification, told: Sequence[AlertState], desk_url: str | None) -> list[dict[str, Any]]:
    """The listed alerts; without states only their ids and links."""
    if not told:
        return [{"alert_id": each, "url": link(desk_url, each)} for each in notification.alert_ids[:LISTED]]
    news = set(notification.alert_ids[: notification.news])
    return [
        state.model_dump(mode="json", include=_FIELDS)
        | {"url": link(desk_url, state.alert_id), "new": state.alert_id in news}
        for state in told[:LISTED]
    ]


_FIELDS: Final = {
    *("alert_id", "state", "verdict", "priority", "priority_reasons", "level", "rule_id", "rule_title", "exercise"),
    *("tlp", "confidence", "group", "story", "response", "tags", "partners", "families", "countries", "places"),
    *("lat", "lon", "evidence_total", "first_event_at", "last_event_at"),
}


def _span(first: datetime, last: datetime, zone: ZoneInfo) -> str:
    there = f" ({first.astimezone(zone):%H:%M} in {zone.key})" if zone.key != "UTC" else ""
    return f"{_utc(first)}{there}" + (f" until {_utc(last)}" if last > first else "")


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _one_line(text: str, longest: int) -> str:
    """Without control characters, so that no value of an event makes a header or a line of its own."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _lines(text: str) -> str:
    return "\n".join("".join(each for each in line if each.isprintable()) for line in text.split("\n"))
