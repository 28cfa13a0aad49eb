"""The on-call policy at work: which route an alert takes, whom each escalation step tells, and a preview of both.

Pure; times come in as aware datetimes and go out in UTC. :class:`OnCall` is the roster of processors/lifecycle.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from processors.lifecycle.matchers import matches
from processors.lifecycle.roster import InhibitRule, Route
from processors.rotations import Shift, on_call, shifts
from schemas.lifecycle import AlertState, Matcher
from schemas.oncall import WATCHDOG, OnCallPolicy, Schedule
from schemas.oncall_model import EscalationPolicy, RouteRule

DEFAULT_ROUTE: Final = "default route"


class UnknownScheduleError(LookupError):
    """No such schedule; the message names those there are."""


@dataclass(frozen=True, slots=True)
class WatchdogDuty:
    """Who hears the watchdog (a person's id, or ``watchdog`` for its own channel), and how often in seconds."""

    person: str
    every_s: float


@dataclass(frozen=True, slots=True)
class Planned:
    """One message that an alert would bring about while nobody acknowledges it: ``step`` counts from 0, ``channels``
    are in the order in which they are tried, ``why`` is the reason in words."""

    due_at: datetime
    step: int
    person: str
    name: str
    channels: tuple[str, ...]
    why: str


class OnCall:
    """Answers from one policy; a changed file makes a new one."""

    def __init__(self, policy: OnCallPolicy) -> None:
        self.policy = policy
        self._schedules = {each.id: each for each in policy.schedules}
        self._policies = {each.id: each for each in policy.escalation_policies}
        self._routes = [(each, self._route_of(each)) for each in policy.routes]
        default = policy.default_route
        self._default = Route(
            default.policy, default.group_by, default.group_wait, default.group_interval, default.repeat_interval
        )
        self.inhibit_rules: tuple[InhibitRule, ...] = tuple(
            InhibitRule(each.name, each.source, each.target, each.equal, each.within_km, each.within)
            for each in policy.inhibit_rules
        )

    @property
    def watchdog(self) -> WatchdogDuty | None:
        """What the watchdog is to do; ``None`` when the file has none."""
        dog = self.policy.watchdog
        return None if dog is None else WatchdogDuty(dog.person or WATCHDOG, dog.every)

    def route(self, state: AlertState) -> Route:
        """The first route whose matchers all hold, else the default route."""
        return self._taken(state)[1]

    def persons(self, policy: str, step: int, at: datetime) -> tuple[str, ...]:
        """Ids of people that this step tells at ``at``, each once; () when there is no such step.

        A step whose schedules have nobody at ``at`` tells the people of the next step that has somebody, rather than
        nobody. A policy that the file has no longer is read as the default route's.
        """
        for later in range(step, self._steps(policy)):
            found = tuple(dict.fromkeys(person for person, _ in self._told(policy, later, at)))
            if found:
                return found
        return ()

    def knows(self, person: str) -> bool:
        """Whether the file has a person of that id."""
        return self.policy.person(person) is not None

    def timeout_s(self, policy: str, step: int) -> float | None:
        """Seconds until the next step; ``None`` when there is no next one."""
        if not 0 <= step < self._steps(policy) - 1:
            return None
        steps = self._policy(policy).steps
        return steps[step % len(steps)].timeout

    def who(self, schedule: str, at: datetime) -> str | None:
        """Id of the person on call; ``None`` when nobody is.

        Raises:
            UnknownScheduleError: no such schedule.
        """
        return on_call(self.policy, self._schedule(schedule), at)[0]

    def shifts(self, schedule: str, start: datetime, end: datetime) -> list[Shift]:
        """Shifts of a schedule from ``start`` to ``end``, without gap or overlap (processors/rotations.py).

        Raises:
            UnknownScheduleError: no such schedule.
        """
        return shifts(self.policy, self._schedule(schedule), start, end)

    def shift(self, schedule: str, at: datetime, span: timedelta = timedelta(days=35)) -> Shift:
        """The shift that holds at ``at``, looked for no further than ``span`` on either side.

        Raises:
            UnknownScheduleError: no such schedule.
        """
        return next(each for each in self.shifts(schedule, at - span, at + span) if each.start <= at < each.end)

    def preview(self, state: AlertState, at: datetime) -> list[Planned]:
        """Who would get what and when, if the alert was raised at ``at`` and nobody acknowledged it."""
        name, route = self._taken(state)
        policy = self._policy(route.policy)
        due = at.astimezone(UTC) + timedelta(seconds=route.group_wait_s)
        planned: list[Planned] = []
        for step in range(self._steps(policy.id)):
            told = dict(reversed([*self._told_or_later(policy.id, step, due)]))
            for person in self.persons(policy.id, step, due):
                why = f"{name}; policy {policy.id}, step {step + 1}: {told[person]}"
                planned.append(Planned(due, step, person, self._name(person), self._channels(person), why))
            due += timedelta(seconds=self.timeout_s(policy.id, step) or 0.0)
        return planned

    def _route_of(self, rule: RouteRule) -> Route:
        default = self.policy.default_route
        return Route(
            rule.policy,
            default.group_by if rule.group_by is None else rule.group_by,
            default.group_wait if rule.group_wait is None else rule.group_wait,
            default.group_interval if rule.group_interval is None else rule.group_interval,
            default.repeat_interval if rule.repeat_interval is None else rule.repeat_interval,
        )

    def _taken(self, state: AlertState) -> tuple[str, Route]:
        for rule, route in self._routes:
            if matches(rule.matchers, state):
                return f"route {rule.name} ({', '.join(map(matcher_text, rule.matchers))})", route
        return DEFAULT_ROUTE, self._default

    def _policy(self, policy: str) -> EscalationPolicy:
        return self._policies.get(policy) or self._policies[self.policy.default_route.policy]

    def _steps(self, policy: str) -> int:
        found = self._policy(policy)
        return len(found.steps) * (found.repeat + 1)

    def _told(self, policy: str, step: int, at: datetime) -> list[tuple[str, str]]:
        """(person, why) of one step's targets; a schedule with nobody gives none."""
        steps = self._policy(policy).steps
        told = []
        for target in steps[step % len(steps)].targets:
            schedule = self._schedules.get(target)
            person, why = (target, "named in it") if schedule is None else on_call(self.policy, schedule, at)
            if person is not None:
                told.append((person, why if schedule is None else f"schedule {target}, {why}"))
        return told

    def _told_or_later(self, policy: str, step: int, at: datetime) -> list[tuple[str, str]]:
        for later in range(step, self._steps(policy)):
            if told := self._told(policy, later, at):
                return told if later == step else [(each, f"nobody is on call, so {why}") for each, why in told]
        return []

    def _schedule(self, schedule: str) -> Schedule:
        try:
            return self._schedules[schedule]
        except KeyError:
            known = ", ".join(self._schedules) or "none"
            raise UnknownScheduleError(f"no schedule {schedule!r}; there is {known}") from None

    def _name(self, person: str) -> str:
        found = self.policy.person(person)
        return found.name if found else person

    def _channels(self, person: str) -> tuple[str, ...]:
        return tuple(f"{each.kind} {each.address}".strip() for each in self.policy.channels_of(person))


def matcher_text(matcher: Matcher) -> str:
    """A matcher as the file writes it."""
    return f"{matcher.field}{matcher.op}{matcher.value}"
