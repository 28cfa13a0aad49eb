"""Scenarios as timelines: at a time this happens, and between two times that person wants that message.

Times are texts, ``minutes:seconds`` or ``hours:minutes:seconds`` after the beginning.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from processors.lifecycle.effects import Effects
from processors.lifecycle.engine import Lifecycle
from processors.lifecycle.roster import Roster
from schemas.alerts import Alert, AlertRule
from schemas.lifecycle import Action, AlertState, Command, Delivery, Matcher, Notification, Silence

START = dt.datetime(2026, 3, 2, 3, 0, tzinfo=dt.UTC)


def seconds(text: str) -> int:
    total = 0
    for part in text.split(":"):
        total = total * 60 + int(part)
    return total


def make_alert(name: str, version: int = 1, at: dt.datetime = START, **fields: Any) -> Alert:
    """A live alert of one rule about one place; ``rule``, ``tags`` and every field of Alert may be given."""
    level = fields.pop("level", "high")
    rule_id, tags = fields.pop("rule", "rule-1"), fields.pop("tags", [])
    return Alert(
        **{
            "alert_id": name,
            "version": version,
            "rule": AlertRule(id=rule_id, title="Rule", version="1", level=level, tags=tags, type="event_count"),
            "kind": "correlation",
            "level": level,
            "exercise": False,
            "tlp": "AMBER",
            "confidence": 60,
            "group": {"place": "Northport"},
            "story": "Something happened.",
            "partners": ["customs-a"],
            "families": ["border_crossing"],
            "countries": ["NL"],
            "places": ["Northport"],
            "first_event_at": at,
            "last_event_at": at,
            "published_at": at,
            "created_at": at,
            "updated_at": at,
            "evidence_total": version,
            "evidence": [],
            **fields,
        }
    )


class Timeline:
    """Runs an engine on a clock of its own, delivers at once, and remembers everything.

    ``restarts``: after every step the engine is thrown away and restored from the records, and the last input is given
    to the new one again.
    """

    def __init__(self, roster: Roster, start: dt.datetime = START, restarts: bool = False) -> None:
        self.roster, self.start, self.now, self.restarts = roster, start, start, restarts
        self.engine = Lifecycle(roster)
        self.records: dict[str, bytes] = {}
        self.actions: list[Action] = []
        self.unheard: list[Delivery] = []
        self.sent: list[tuple[dt.datetime, Notification]] = []
        self.unreachable: set[str] = set()
        self._versions: dict[str, int] = {}
        self._commands = 0

    def at(self, text: str) -> Timeline:
        """Let everything happen that is due until then."""
        until = self.start + dt.timedelta(seconds=seconds(text))
        assert until >= self.now, "a timeline goes forward"
        while (due := self.engine.next_due()) is not None and due <= until:
            self.now = max(self.now, due)
            self._take(self.engine.tick(self.now))
            self._deliver()
        self.now = until
        self._deliver()
        return self

    def alert(self, name: str, **fields: Any) -> Timeline:
        self._versions[name] = version = fields.pop("version", self._versions.get(name, 0) + 1)
        alert = make_alert(name, version, self.now, **fields)
        self._take(self.engine.on_alert(alert, self.now))
        if self.restarts:
            assert not self.engine.on_alert(alert, self.now)
        return self

    def asks(self, verb: str, name: str = "", by: str = "mira", **fields: Any) -> Action:
        self._commands += 1
        command = Command(
            command_id=f"command-{self._commands}", verb=verb, alert_id=name, by=by, via="desk", at=self.now, **fields
        )
        answer = self._take(self.engine.on_command(command, self.now)).actions
        action = next(each for each in answer if each.command_id == command.command_id)
        if self.restarts:
            again = self.engine.on_command(command, self.now)
            assert again.actions == [action]
            assert not again.records
        return action

    def does(self, verb: str, name: str = "", by: str = "mira", **fields: Any) -> Timeline:
        action = self.asks(verb, name, by, **fields)
        assert action.accepted, action.reason
        return self

    def silence(self, since: str, until: str, partner: str | None = None, **fields: str) -> Timeline:
        """``fields``: what the silenced alerts have, as ``rule_id="rule-1"``."""
        moments = [self.start + dt.timedelta(seconds=seconds(text)) for text in (since, until)]
        silence = Silence(
            silence_id=f"silence-{self._commands}",
            matchers=[Matcher(field=name, value=value) for name, value in fields.items()],
            author="mira",
            reason="planned work",
            starts_at=moments[0],
            ends_at=moments[1],
            created_at=self.now,
            partner=partner,
        )
        return self.does("silence", silence=silence)

    def unreachable_are(self, *persons: str) -> Timeline:
        self.unreachable = set(persons)
        return self

    def state(self, name: str) -> AlertState:
        return self.engine.states[name]

    def waiting(self) -> list[Notification]:
        """What is neither sent nor given up."""
        return [each for each in self.engine.notifications.values() if each.status == "pending"]

    def verbs(self, name: str) -> list[str]:
        return [each.verb for each in self.actions if each.alert_id == name and each.accepted]

    def got(self, since: str = "0:00", until: str = "999:00:00", person: str | None = None) -> list[str]:
        """``person kind alerts`` of what was sent in this time, both ends included, by time and person."""
        low, high = (self.start + dt.timedelta(seconds=seconds(text)) for text in (since, until))
        return [
            f"{each.person} {each.kind} {','.join(sorted(each.alert_ids))}"
            for at, each in sorted(self.sent, key=lambda item: (item[0], item[1].person))
            if low <= at <= high and person in (None, each.person)
        ]

    def _take(self, effects: Effects) -> Effects:
        for key, value in effects.records.items():
            if value is None:
                self.records.pop(key, None)
            else:
                self.records[key] = value
        self.actions += effects.actions
        self.unheard += effects.unheard
        if self.restarts and effects:
            self.engine = Lifecycle(self.roster)
            self.engine.restore(self.records)
        return effects

    def _deliver(self) -> None:
        while waiting := self.engine.pending(self.now):
            for each in waiting:
                status: Literal["sent", "failed"] = "failed" if each.person in self.unreachable else "sent"
                if status == "sent":
                    self.sent.append((self.now, each))
                self._settle(each, status)

    def _settle(self, each: Notification, status: Literal["sent", "failed"]) -> None:
        outcome = (each.notification_id, status, "log", each.attempts + 1, self.now)
        self._take(self.engine.settled(*outcome))
        if self.restarts:
            assert not self.engine.settled(*outcome)
