"""What the stream says of alerts: raised, grown, gone on under another id, taken back."""

from __future__ import annotations

import datetime as dt
from typing import Any

from processors.lifecycle.groups import carry, join, leave, move
from processors.lifecycle.machine import REOPENED
from processors.lifecycle.marks import Parts, follow
from processors.lifecycle.memory import Memory
from processors.lifecycle.priority import priority
from processors.lifecycle.records import Told
from schemas.alerts import LEVELS, Alert
from schemas.lifecycle import AlertState, Done, Verb

STREAM = "stream"
HISTORY = dt.timedelta(hours=24)
"""An alert that is not known and changed last before that is taken in as told: a first start beside years of alerts
tells nobody of them."""
_ADVANCED = ("closed", "open", "acknowledged", "assigned", "in_progress")
"""Of two alerts that become one, the state further to the right goes on."""
_COPIED = (
    *("kind", "level", "exercise", "tlp", "confidence", "group", "story", "partners", "families", "countries"),
    *("places", "lat", "lon", "evidence_total", "first_event_at", "last_event_at", "published_at"),
)
_TAKEN_OVER = ("state", "acknowledged_until", "acknowledged_by", "assignee", "verdict", "closed_at", "closed_by")
_GROWN = "more partners, or a higher level than when it was closed"


def take(parts: Parts, alert: Alert, now: dt.datetime) -> None:
    """Take note of one version of an alert; a version that is known already changes nothing."""
    known = parts.memory.states.get(alert.alert_id)
    if known is not None and alert.version <= known.alert_version:
        return
    if alert.status == "open":
        _open(parts, alert, known, now)
    elif known is not None:
        _close(parts, alert, known, now)


def _of_stream(alert: Alert) -> dict[str, Any]:
    urgency, reasons = priority(
        alert.level, alert.confidence, alert.partners, alert.families, alert.rule.tags, alert.exercise
    )
    return {
        **{name: getattr(alert, name) for name in _COPIED},
        "alert_version": alert.version,
        "rule_id": alert.rule.id,
        "rule_title": alert.rule.title,
        "rule_version": alert.rule.version,
        "response": alert.rule.response,
        "tags": alert.rule.tags,
        "priority": urgency,
        "priority_reasons": reasons,
    }


def _open(parts: Parts, alert: Alert, known: AlertState | None, now: dt.datetime) -> None:
    memory, fields = parts.memory, _of_stream(alert)
    earlier = _earlier(memory, alert, known)
    fresh = AlertState(
        alert_id=alert.alert_id,
        revision=0,
        state="open",
        group_key="",
        raised_at=alert.created_at,
        updated_at=now,
        **fields,
    )
    verb: Verb | Done = "raised" if known is None else "updated"
    before = _heir(parts, known or fresh, earlier)
    state = before.model_copy(update={**fields, "revision": before.revision + 1, "updated_at": now})
    came_back = known is not None and (known.withdrawn or known.superseded_by is not None)
    if came_back:
        state = state.model_copy(update={"withdrawn": False, "superseded_by": None})
    closed = [each for each in (known, *earlier) if each is not None and each.state == "closed"]
    grown = state.state == "closed" and any(_has_grown(each, state) for each in closed)
    if grown or (came_back and state.state != "closed" and not earlier):
        state = state.model_copy(update=REOPENED)
        verb = "reopen"
    if state.is_active:
        state = state.model_copy(update={"group_key": join(memory, parts.roster, state, now)})
    if known is not None:  # it may come back in the group of one that it supersedes
        move(memory, state.alert_id, state.group_key, now)
    memory.put_state(state)
    if known is None and not earlier and alert.updated_at < now - HISTORY:
        memory.put_told(state.alert_id, Told(state.alert_version, True, history=True))
    for each in earlier:
        _pass_on(parts, each, state, now)
    details: dict[str, Any] = {"version": alert.version, "evidence_total": alert.evidence_total}
    if known is not None and known.priority != state.priority:
        details["priority"] = [known.priority, state.priority]
    if earlier:
        details["supersedes"] = [each.alert_id for each in earlier]
    text = "" if verb != "reopen" else _GROWN if grown else "the stream raised it again"
    memory.act(verb, now, known, state, by=STREAM, via="stream", text=text, details=details)
    for name in (state.alert_id, *(each.alert_id for each in earlier)):
        follow(parts, name, now)


def _earlier(memory: Memory, alert: Alert, known: AlertState | None) -> list[AlertState]:
    """Alerts that this one takes over from: those it names, and those that named it, or one that it names, before
    it was known. The version that names them may have been compacted away."""
    unknown = {alert.alert_id, *(each for each in alert.supersedes if each not in memory.states)}
    waiting = {each for name in unknown for each in memory.superseded.get(name, ())}
    taken = () if known is None else known.supersedes
    return [
        memory.states[each]
        for each in sorted({*alert.supersedes, *waiting} - {alert.alert_id, *taken})
        if each in memory.states and memory.states[each].superseded_by in (None, *unknown)
    ]


def _has_grown(closed: AlertState, state: AlertState) -> bool:
    """Whether there is more to an alert than those who closed it knew: a further partner, or a higher level."""
    if len(set(state.partners)) > len(set(closed.partners)):
        return True
    return _rank(state.level) > _rank(closed.level)


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else 0


def _heir(parts: Parts, state: AlertState, earlier: list[AlertState]) -> AlertState:
    """The state as it goes on from what became of those that it supersedes; the most advanced counts.

    One that is worked with already stays in its group and under its target. Whoever knows of an earlier one knows of
    its heir, though not yet what is new.
    """
    if not earlier:
        return state
    memory = parts.memory
    lives = state.revision > 0 and state.superseded_by is None
    candidates = (*((state,) if lives else ()), *earlier)
    first = max(candidates, key=lambda each: (_ADVANCED.index(each.state), each.updated_at, each.alert_id))
    place = state if lives else first
    gone = {each.alert_id for each in earlier}
    merged = {child for each in candidates for child in each.merged} - gone - {state.alert_id}
    target = place.merged_into
    for above in _above(parts, place):
        if above in gone or above in merged or above == state.alert_id:
            target = None
    known = [memory.told[each] for each in (state.alert_id, *sorted(gone)) if each in memory.told]
    if known:
        memory.put_told(state.alert_id, Told(0, any(each.active for each in known)))
    return state.model_copy(
        update={
            **{name: getattr(first, name) for name in _TAKEN_OVER},
            "group_key": place.group_key,
            "merged_into": target,
            "merged": sorted(merged),
            "revision": max(state.revision, *(each.revision for each in earlier)),
            "notes": sum(each.notes for each in candidates),
            "supersedes": sorted({*state.supersedes, *gone}),
            "raised_at": min(state.raised_at, *(each.raised_at for each in earlier)),
        }
    )


def _above(parts: Parts, state: AlertState) -> list[str]:
    """Ids of the alerts that this one was put under, the nearest first."""
    found: list[str] = []
    while state.merged_into is not None and state.merged_into in parts.memory.states:
        state = parts.memory.states[state.merged_into]
        found.append(state.alert_id)
    return found


def _pass_on(parts: Parts, earlier: AlertState, heir: AlertState, now: dt.datetime) -> None:
    """Mark an alert as superseded; its history, recipients, and what was merged into it go to its heir."""
    memory, name = parts.memory, heir.alert_id
    after = memory.change(
        earlier.alert_id,
        now,
        {"superseded_by": name, "merged": [], "merged_into": None, "acknowledged_until": None},
    )
    memory.act("updated", now, earlier, after, by=STREAM, via="stream", details={"superseded_by": name})
    if earlier.alert_id in memory.told:
        carry(memory, earlier.group_key, heir.group_key)
        memory.put_told(earlier.alert_id, None)
    both = [*memory.changes.get(earlier.alert_id, ()), *memory.changes.get(name, ())]
    if both:
        memory.put_changes(name, sorted(both, key=lambda each: (each.at, each.revision)))
    for child in earlier.merged:
        if child in memory.states and child != name:
            memory.change(child, now, {"merged_into": name})
            move(memory, child, heir.group_key, now)
    if earlier.merged_into in memory.states and earlier.merged_into != name:
        target = memory.states[earlier.merged_into]
        beside = set(target.merged) - {earlier.alert_id}
        now_under = {name} if heir.merged_into == target.alert_id else set()
        memory.change(target.alert_id, now, {"merged": sorted(beside | now_under)})
    elif earlier.merged_into == name:
        state = memory.states[name]
        memory.put_state(state.model_copy(update={"merged": sorted(set(state.merged) - {earlier.alert_id})}))
    leave(memory, earlier.group_key, earlier.alert_id, now)


def _close(parts: Parts, alert: Alert, known: AlertState, now: dt.datetime) -> None:
    """The stream took the alert back, or it goes on under another id."""
    memory = parts.memory
    if alert.status == "superseded" and known.superseded_by == alert.superseded_by:
        memory.put_state(known.model_copy(update={"alert_version": alert.version}))
        return
    fields: dict[str, Any] = {"alert_version": alert.version}
    if alert.status == "superseded":
        fields["superseded_by"] = alert.superseded_by
        successor = memory.states.get(alert.superseded_by or "")
        if successor is not None and successor.is_active:
            _late_heir(parts, known, successor, alert.version, now)
            return
    else:
        fields |= {"withdrawn": True, "superseded_by": None, "acknowledged_until": None}
    after = memory.change(known.alert_id, now, fields)
    verb: Done = "withdrawn" if after.withdrawn else "updated"
    details = {"version": alert.version, "superseded_by": after.superseded_by}
    memory.act(verb, now, known, after, by=STREAM, via="stream", details=details)
    follow(parts, known.alert_id, now)


def _late_heir(parts: Parts, known: AlertState, successor: AlertState, version: int, now: dt.datetime) -> None:
    """The successor came without naming this alert, as after a restart of correlation: it inherits now."""
    memory = parts.memory
    heir = _heir(parts, successor, [known])
    state = heir.model_copy(update={"revision": heir.revision + 1, "updated_at": now})
    memory.put_state(state)
    _pass_on(parts, known, state, now)
    memory.put_state(memory.states[known.alert_id].model_copy(update={"alert_version": version}))
    details = {"supersedes": [known.alert_id]}
    memory.act("updated", now, successor, state, by=STREAM, via="stream", details=details)
    follow(parts, successor.alert_id, now)
    follow(parts, known.alert_id, now)
