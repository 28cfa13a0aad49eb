"""The alert lifecycle: who works on an alert, who is told of it, and when. Pure: only arguments count.

**States** are those of the table in ``machine.py``. Acknowledging is not silencing: it stops escalation for a time, and
what changes is still told. When it expires or is given back, the persons of the step that escalation had come to are
told again at once, and escalation goes on from there. Of two officers who act at once the first one wins: a command
that names a ``revision`` is refused, with who did what meanwhile, when a person or the clock changed the alert since.
Evidence that grew meanwhile is no reason to refuse.

**The stream.** A new version of an alert updates it. A closed alert stays closed, unless a further partner joins or
its level rises: then it is reopened. A superseded alert goes on under its successor's id with state, assignee, notes,
merged alerts and group; those who were told of it hear of the successor in the same thread. A retracted one is
withdrawn. Alerts that are over (closed, withdrawn, superseded) are forgotten 30 days after their last change.

An alert that is not known yet and changed last more than 24 hours ago is history: it is taken in as if it had been told
of, and nobody is notified until it changes or somebody takes it on. So a first start beside many alerts wakes nobody;
neither do alerts that lay unread for a day.

**Grouping** is Alertmanager's. Alerts with the same policy and the same ``group_by`` values are one situation; exercise
and live alerts never share one. The first message waits ``group_wait``, what changes later is told at whole
``group_interval`` s after it, each message lists all alerts. Everybody who got a message gets every later update and
the end, in one thread, and the first message of a situation once. An alert that grows into another policy brings in
that policy's first step. When all alerts of a group are over, the situation ends with ``resolved``; when one of them
comes back it goes on as ``reopened``, and a new alert begins a new situation. A merged alert is told of with its
target, keeps its own state, and waits for nobody while the target is active.

**Escalation** runs while an alert is open, told, neither silenced nor inhibited. A step that nobody of was reached
(``settled`` failed) gives way to the next one at once. After the last step the policy starts over: at
``repeat_interval``, or at ``group_interval`` when no message got through at all. Who is on call is asked at the time
of the step.

**Assigning** an alert to somebody else sends that person a message at once, silenced or not, and they hear of later
updates and the end like everybody who got one. Assigning to oneself sends none.

**Silences and inhibition** keep an alert from being told and from escalating. When they end and it is still active,
what is untold is told then. That it is over is told even while they hold, to those who know of it.

**Repetition is harmless.** Versions that are known, commands that were answered and messages that are settled change
nothing when they come again; ids of actions and notifications follow from what caused them. An engine restored from
the records goes on as the one that wrote them would have.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Literal

from processors.lifecycle import intake, orders, telling
from processors.lifecycle.effects import Effects
from processors.lifecycle.groups import press, repair
from processors.lifecycle.inhibition import Inhibition
from processors.lifecycle.marks import CLOCK, Parts, follow, mark_all
from processors.lifecycle.memory import ALERT_KEPT, Memory
from processors.lifecycle.roster import Roster
from schemas.alerts import Alert
from schemas.lifecycle import AlertState, Command, Notification, Silence


class Lifecycle:
    """The engine. Every method that takes ``now`` (aware) gives what has to be written before its input counts as
    handled; ``now`` must not go back."""

    def __init__(self, roster: Roster) -> None:
        memory = Memory()
        self._parts = Parts(memory, roster, Inhibition(roster.inhibit_rules, memory.states))
        self._memory = memory

    @property
    def states(self) -> Mapping[str, AlertState]:
        return self._memory.states

    @property
    def silences(self) -> Mapping[str, Silence]:
        return self._memory.silences

    @property
    def notifications(self) -> Mapping[str, Notification]:
        """Those that are pending, or were settled in the last 7 days."""
        return self._memory.notifications

    def restore(self, records: Mapping[str, bytes]) -> None:
        """Start from the values of ``lifecycle-state.v1``, tombstones left out; keys of other kinds are ignored.

        Raises:
            StateError: a record is none of this version.
        """
        self._memory.restore(records)
        self._parts.inhibition = Inhibition(self._parts.roster.inhibit_rules, self._memory.states)
        repair(self._memory, self._parts.roster)

    def use(self, roster: Roster, now: dt.datetime) -> Effects:
        """Go on with another on-call policy: groups take it up when they next speak, inhibition at once. After
        ``restore`` it also spares ``tick`` the silences that began or ended meanwhile, one by one."""
        self._parts.roster = roster
        self._parts.inhibition = Inhibition(roster.inhibit_rules, self._memory.states)
        for each in self._memory.silences.values():
            self._memory.time_silence(each, now)
        mark_all(self._parts, self._active(), now)
        return self._memory.effects()

    def on_alert(self, alert: Alert, now: dt.datetime) -> Effects:
        """One version of an alert from the stream."""
        intake.take(self._parts, alert, now)
        return self._memory.effects()

    def on_command(self, command: Command, now: dt.datetime) -> Effects:
        """A person's request; among the actions is one with its ``command_id``, accepted or refused."""
        orders.carry_out(self._parts, command, now)
        return self._memory.effects()

    def settled(
        self,
        notification_id: str,
        status: Literal["sent", "failed"],
        channel: str,
        attempts: int,
        now: dt.datetime,
    ) -> Effects:
        """What became of a message. Failed: every channel of the person was tried. When it belongs to the step that is
        being called, the next step is told; else it is tried again, for a day. ``attempts``: all that were made, with
        those of earlier outcomes; an outcome that counts no more than is known has been heard before."""
        notification = self._memory.notifications.get(notification_id)
        if notification is None or notification.status != "pending" or attempts <= notification.attempts:
            return Effects()
        notification = notification.model_copy(update={"channel": channel, "attempts": attempts})
        again = telling.retried(self._memory, notification, now) if status == "failed" else None
        if again is not None:
            self._memory.put_notification(again)
            return self._memory.effects()
        notification = notification.model_copy(update={"status": status, "settled_at": now})
        self._memory.put_notification(notification)
        if status == "sent":
            telling.reached(self._memory, notification)
        else:
            telling.failed(self._memory, self._parts.roster, notification, now)
        return self._memory.effects()

    def tick(self, now: dt.datetime) -> Effects:
        """Everything that is due by ``now``: again at the same time, it is nothing."""
        for kind, key in self._memory.timers.due(now):
            if kind == "silence":
                self._silence(key, now)
            elif kind == "expiry":
                self._expire(key, now)
            elif kind == "group":
                telling.due(self._memory, self._parts.roster, key, now)
            elif kind == "forget_alert":
                self._parts.inhibition.drop(key)
                self._memory.forget_alert(key)
            else:
                self._memory.forget_notification(key)
        return self._memory.effects()

    def next_due(self) -> dt.datetime | None:
        """When ``tick`` has something to do; None: not before something happens."""
        return self._memory.timers.earliest()

    def pending(self, now: dt.datetime) -> list[Notification]:
        """Messages that are due and not settled, the most urgent first."""
        found = [self._memory.notifications[each] for each in self._memory.waiting]
        return sorted(
            (each for each in found if each.due_at <= now),
            key=lambda each: (each.priority, each.due_at, each.notification_id),
        )

    def _silence(self, silence_id: str, now: dt.datetime) -> None:
        silence = self._memory.silences[silence_id]
        if silence.ends_at + ALERT_KEPT <= now:
            self._memory.forget_silence(silence_id)
        else:
            self._memory.time_silence(silence, now)
        if self._memory.timers.next(now) != "silence":  # those that are due together mark once
            mark_all(self._parts, self._active(), now)

    def _expire(self, alert_id: str, now: dt.datetime) -> None:
        before = self._memory.states[alert_id]
        fields = {"state": "open", "acknowledged_until": None, "acknowledged_by": None}
        after = self._memory.change(alert_id, now, fields)
        text = f"{before.acknowledged_by} had acknowledged it" if before.acknowledged_by else ""
        self._memory.act("expired", now, before, after, by=CLOCK, via="clock", text=text)
        follow(self._parts, alert_id, now)
        press(self._memory, alert_id, now)

    def _active(self) -> list[str]:
        return [each.alert_id for each in self._memory.states.values() if each.is_active]
