"""What the engine holds, and what of it changed since it last said so."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from processors.lifecycle.effects import Effects
from processors.lifecycle.records import KINDS, Change, Group, Handled, Stored, Told, read, written
from processors.lifecycle.timers import Timers
from schemas.lifecycle import Action, AlertState, Delivery, Done, Notification, Silence, Verb, Via

NAMESPACE = uuid.UUID("0f3c1f1e-5f0b-5a53-9d0a-7b1c6e2f4a90")
"""Ids of actions and notifications follow from what caused them, within this namespace (RFC 9562, section 5.5)."""
CHANGES_KEPT = 20
COMMANDS_KEPT = 10_000
ALERT_KEPT = dt.timedelta(days=30)
NOTIFICATION_KEPT = dt.timedelta(days=7)


def identifier(*parts: object) -> str:
    """A UUIDv5 over the parts."""
    return str(uuid.uuid5(NAMESPACE, "\x1f".join(map(str, parts))))


class Memory:
    """States, groups and the rest by id, with the indexes that keep every step independent of how many there are.

    ``members`` are the alerts of each group that are active, or known to be so by its recipients; ``pressing`` those of
    them that somebody still has to take on; ``inhibits`` are targets by the alert that inhibits them; ``superseded``
    are alerts by the one that they go on as; ``waiting`` are ids of pending notifications, ``threads`` the same by
    thread. Written through the ``put_`` methods alone.
    """

    def __init__(self) -> None:
        self._load(Stored())

    def _load(self, stored: Stored) -> None:
        self.states = stored.states
        self.silences = stored.silences
        self.notifications = stored.notifications
        self.groups = stored.groups
        self.told = stored.told
        self.changes = stored.changes
        self.handled = stored.handled
        self.commands = max((each.number for each in stored.handled.values()), default=0)
        self.members: dict[str, set[str]] = defaultdict(set)
        self.pressing: dict[str, set[str]] = defaultdict(set)
        self.inhibits: dict[str, set[str]] = defaultdict(set)
        self.superseded: dict[str, set[str]] = defaultdict(set)
        self.waiting: set[str] = set()
        self.threads: dict[str, set[str]] = defaultdict(set)
        self.timers = Timers()
        self._written: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        self._actions: list[Action] = []
        self._unheard: list[Delivery] = []

    def restore(self, records: Mapping[str, bytes]) -> None:
        """Start from records; groups have to be looked over afterwards (``groups.settle``)."""
        self._load(read(records))
        for state in self.states.values():
            self._index(state)
        for silence in self.silences.values():
            self.timers.set("silence", silence.silence_id, silence.starts_at)
        for notification in self.notifications.values():
            self._wait(notification)
        for group in self.groups.values():
            self._time(group)

    def effects(self) -> Effects:
        """What changed since the last call."""
        records = {f"{kind}/{name}": written(value) for kind in KINDS for name, value in self._written[kind].items()}
        found = Effects(
            states=[each for each in self._written["alert"].values() if each is not None],
            actions=self._actions,
            notifications=[each for each in self._written["notification"].values() if each is not None],
            silences=[each for each in self._written["silence"].values() if each is not None],
            unheard=self._unheard,
            records=records,
        )
        self._unheard = []
        self._written = {kind: {} for kind in KINDS}
        self._actions = []
        return found

    def _write(self, kind: str, name: str, value: BaseModel | Told | list[Change] | None) -> None:
        self._written[kind].pop(name, None)
        self._written[kind][name] = value

    def change(self, alert_id: str, now: dt.datetime, fields: Mapping[str, Any]) -> AlertState:
        """The alert's next revision, with ``fields`` changed."""
        before = self.states[alert_id]
        state = before.model_copy(update={**fields, "revision": before.revision + 1, "updated_at": now})
        self.put_state(state)
        return state

    def put_state(self, state: AlertState) -> None:
        before = self.states.get(state.alert_id)
        if before is not None and before.inhibited_by is not None:
            self.inhibits[before.inhibited_by].discard(state.alert_id)
        if before is not None and before.superseded_by is not None:
            self.superseded[before.superseded_by].discard(state.alert_id)
        self.states[state.alert_id] = state
        self._index(state)
        self._write("alert", state.alert_id, state)

    def _index(self, state: AlertState) -> None:
        if state.inhibited_by is not None:
            self.inhibits[state.inhibited_by].add(state.alert_id)
        if state.superseded_by is not None:
            self.superseded[state.superseded_by].add(state.alert_id)
        self.timers.set("expiry", state.alert_id, state.acknowledged_until if state.is_active else None)
        self.timers.set("forget_alert", state.alert_id, None if state.is_active else state.updated_at + ALERT_KEPT)

    def forget_alert(self, alert_id: str) -> None:
        """Give up an alert and everything that is known about it."""
        state = self.states.pop(alert_id)
        self.members[state.group_key].discard(alert_id)
        self.inhibits.pop(alert_id, None)
        if state.superseded_by is not None:
            self.superseded[state.superseded_by].discard(alert_id)
            if not self.superseded[state.superseded_by]:
                del self.superseded[state.superseded_by]
        self._write("alert", alert_id, None)
        if self.changes.pop(alert_id, None) is not None:
            self._write("changes", alert_id, None)
        self.put_told(alert_id, None)

    def put_told(self, alert_id: str, told: Told | None) -> None:
        """None: nobody knows of the alert, or no longer under this id."""
        if self.told.get(alert_id) == told:
            return
        if told is None:
            del self.told[alert_id]
        else:
            self.told[alert_id] = told
        self._write("told", alert_id, told)

    def put_group(self, group: Group) -> None:
        self.groups[group.key] = group
        self._time(group)
        self._write("group", group.key, group)

    def _time(self, group: Group) -> None:
        times = [each for each in (group.flush_at, group.escalate_at) if each is not None]
        if group.ended:
            times = [(group.flushed_at or group.begun_at) + ALERT_KEPT]
        self.timers.set("group", group.key, min(times, default=None))

    def forget_group(self, key: str) -> None:
        del self.groups[key]
        self.members.pop(key, None)
        self.pressing.pop(key, None)
        self._write("group", key, None)

    def put_notification(self, notification: Notification) -> None:
        self.notifications[notification.notification_id] = notification
        self._wait(notification)
        self._write("notification", notification.notification_id, notification)

    def _wait(self, notification: Notification) -> None:
        name, settled_at = notification.notification_id, notification.settled_at
        if notification.status == "pending":
            self.waiting.add(name)
            self.threads[notification.thread].add(name)
        else:
            self.waiting.discard(name)
            self.threads[notification.thread].discard(name)
            if not self.threads[notification.thread]:
                del self.threads[notification.thread]
        self.timers.set("forget_notification", name, settled_at + NOTIFICATION_KEPT if settled_at else None)

    def forget_notification(self, notification_id: str) -> None:
        del self.notifications[notification_id]
        self._write("notification", notification_id, None)

    def put_silence(self, silence: Silence, now: dt.datetime) -> None:
        self.time_silence(silence, now)
        self.silences[silence.silence_id] = silence
        self._write("silence", silence.silence_id, silence)

    def time_silence(self, silence: Silence, now: dt.datetime) -> None:
        """Set the timer to the next moment at which the silence begins, ends or may be forgotten.

        Raises:
            OverflowError: it ends at the end of time.
        """
        moments = (silence.starts_at, silence.ends_at, silence.ends_at + ALERT_KEPT)
        self.timers.set("silence", silence.silence_id, next((each for each in moments if each > now), moments[-1]))

    def forget_silence(self, silence_id: str) -> None:
        del self.silences[silence_id]
        self._write("silence", silence_id, None)

    def act(
        self,
        verb: Verb | Done,
        now: dt.datetime,
        before: AlertState | None,
        after: AlertState,
        *,
        by: str,
        via: Via,
        **more: Any,
    ) -> Action:
        """Note an action of an alert that is done; ``more`` are further fields of :class:`Action`."""
        fields = {
            "action_id": identifier(after.alert_id, verb, after.revision),
            "before": before.state if before else None,
            "after": after.state,
            "revision": after.revision,
            **more,
        }
        action = Action(alert_id=after.alert_id, verb=verb, by=by, via=via, at=now, **fields)
        self._actions.append(action)
        if via != "stream" or (before is not None and before.state != after.state):
            change = Change(revision=after.revision, verb=verb, by=by, at=now)
            self.put_changes(after.alert_id, [*self.changes.get(after.alert_id, ()), change])
        return action

    def put_changes(self, alert_id: str, changes: list[Change]) -> None:
        self.changes[alert_id] = changes[-CHANGES_KEPT:]
        self._write("changes", alert_id, self.changes[alert_id])

    def answer(self, action: Action) -> None:
        """Note the answer to a command, so that a repetition gets the same; the oldest are forgotten."""
        self.commands += 1
        self.handled.pop(action.command_id, None)
        self.handled[action.command_id] = Handled(number=self.commands, action=action)
        self._write("command", action.command_id, self.handled[action.command_id])
        while len(self.handled) > COMMANDS_KEPT:
            oldest = next(iter(self.handled))
            del self.handled[oldest]
            self._write("command", oldest, None)

    def nobody(self, delivery: Delivery) -> None:
        """Note that a step had nobody to tell."""
        self._unheard.append(delivery)

    def say(self, action: Action) -> None:
        """Add an action that changes nothing: a refusal, a silence, or a repetition."""
        self._actions.append(action)
